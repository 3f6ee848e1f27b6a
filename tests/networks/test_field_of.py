"""The field of networks is measured, or the reason told why they have none."""

import re

import pytest
import torch
from torch import nn

from lemmse.fields import as_field
from lemmse.networks import PatchMLP, field_of

SHAPE = (1, 14, 14)


def chain(*sizes, mode="zeros", **options):
    torch.manual_seed(0)
    layers, inner = [], [4] * (len(sizes) - 1)
    for before, after, size in zip([1, *inner], [*inner, 1], sizes, strict=True):
        padding = size // 2 * options.get("dilation", 1)
        layers += [nn.Conv2d(before, after, size, padding=padding, padding_mode=mode, **options)]
        layers += [nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Strided(nn.Module):
    """A stride-2 convolution of size 4, and a pixel shuffle."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(1, 8, 4, stride=2, padding=1)
        self.up = nn.Sequential(nn.Conv2d(8, 4, 1), nn.PixelShuffle(2))

    def forward(self, z):
        return self.up(torch.tanh(self.down(z)))


@pytest.mark.parametrize("mode", ["circular", "zeros", "reflect", "replicate"])
def test_convolutions_of_every_padding(mode):
    measured = field_of(chain(3, 3, mode=mode), SHAPE)
    assert measured.finite
    assert not measured.obstacles
    assert measured.field.padding == mode
    assert torch.equal(measured.field.mask, as_field(5).mask)


def test_holes_and_blind_spots():
    dilated = field_of(chain(3, dilation=2), SHAPE)
    assert dilated.field.mask[0, 0].int().sum() == 9
    assert str(dilated) == "field 5 x 5, of which 9 pixels are seen, period 1, zeros padding"
    blind = chain(3)
    with torch.no_grad():
        blind[0].weight[..., 1, 1] = 0
    assert not field_of(blind, SHAPE).field.mask[0, 0, 1, 1]


def test_strides_have_a_period_and_a_shape_for_each_phase():
    measured = field_of(Strided(), SHAPE)
    assert measured.field.period == 2
    mask = torch.zeros(2, 2, 5, 5).bool()
    for a in range(2):
        for b in range(2):
            mask[a, b, 1 - a : 5 - a, 1 - b : 5 - b] = True
    assert torch.equal(measured.field.mask, mask)
    assert measured.field.padding == "zeros"


def test_networks_with_a_noise_level_and_functions():
    measured = field_of(PatchMLP(1, 5, width=4, depth=1), SHAPE, sigma=0.3)
    assert (measured.field.patch_size, measured.field.padding) == (5, "circular")
    assert field_of(lambda z: z + z.roll(1, 3), (2, 9, 9)).field.mask.sum() == 2


class Where(nn.Module):
    def forward(self, z):
        return z * torch.arange(z.shape[3]).to(z)


class MeanPadded(nn.Module):
    """Pads with the mean of the image."""

    def forward(self, z):
        padded = nn.functional.pad(z - z.mean(), (1,) * 4) + z.mean()
        return nn.functional.avg_pool2d(padded, 3, 1)


OBSTACLES = {
    "group norm": (nn.Sequential(chain(3), nn.GroupNorm(1, 1)), "GroupNorm normalises over pixels"),
    "too large": (chain(15), "larger than that; try larger images"),
    "dropout": (nn.Sequential(chain(3), nn.Dropout(0.5)), "random.*training mode"),
    "batch norm": (nn.Sequential(chain(3), nn.BatchNorm2d(1)), "other images of a batch.*eval"),
    "positions": (Where(), "knows where a pixel is"),
    "constant": (lambda z: torch.ones_like(z), "does not depend on the image"),
    "mean padding": (MeanPadded(), "fits no padding|depends on"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_networks_without_a_field_say_why(name):
    network, message = OBSTACLES[name]
    measured = field_of(network, SHAPE)
    assert measured.field is None
    assert re.search(message, str(measured))


def test_images_too_small_for_the_period_are_named():
    network = nn.Sequential(nn.AvgPool2d(4), nn.Tanh(), nn.Upsample(scale_factor=4))
    told = str(field_of(network, (1, 16, 16)))
    assert re.search("any shift up to 3, .* larger than 16 x 16 images can show", told)
    assert field_of(network, (1, 24, 24)).field.period == 4


def test_outputs_of_another_size_are_refused():
    with pytest.raises(ValueError, match="network: expected an output"):
        field_of(lambda z: z[..., ::2, ::2], SHAPE)

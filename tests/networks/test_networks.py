"""Networks: exactly local, exactly equivariant; and what measures it finds the cheats."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lemmse.networks import PatchMLP, ResNet, Skip, UNet, receptive_field
from lemmse.operators import Blur, Identity, Mask
from lemmse.training import Problem

SMALL = {PatchMLP: {"width": 6, "depth": 1}, ResNet: {"width": 6, "depth": 1}, UNet: {"width": 4}}
CASES = [
    (architecture, patch_size, channels)
    for architecture in SMALL
    for patch_size, channels in ((1, 1), (3, 3), (5, 1), (5, 3), (7, 1), (9, 1), (11, 1))
]


def small(architecture, patch_size, channels=1, seed=0):
    """A small network with random weights, in float64."""
    torch.manual_seed(seed)
    return architecture(channels, patch_size, **SMALL[architecture]).double()


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- the constraint


@pytest.mark.parametrize(("architecture", "patch_size", "channels"), CASES)
def test_gradient_is_zero_outside_the_patch_and_not_at_its_corners(
    architecture, patch_size, channels
):
    network = small(architecture, patch_size, channels)
    z = image(2, channels, 13, 14).requires_grad_()
    network(z, 0.3)[:, :, 6, 7].sum().backward()
    seen = (z.grad != 0).any(0).any(0)
    reach = patch_size // 2
    inside = torch.zeros(13, 14, dtype=torch.bool)
    inside[6 - reach : 7 + reach, 7 - reach : 8 + reach] = True
    assert not seen[~inside].any()
    assert seen[inside].all()  # the corners among them


@pytest.mark.parametrize(("architecture", "patch_size", "channels"), CASES)
def test_commutes_with_all_shifts(architecture, patch_size, channels):
    network = small(architecture, patch_size, channels)
    z = image(1, channels, 11, 12)
    output = network(z, 0.3)
    shifts = [(row, column) for row in range(11) for column in range(12)]
    shifted = torch.cat([z.roll(shift, (2, 3)) for shift in shifts])
    expected = torch.cat([output.roll(shift, (2, 3)) for shift in shifts])
    torch.testing.assert_close(network(shifted, 0.3), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("patch_size", [1, 5, 9])
def test_helper_measures_what_the_tests_above_do(architecture, patch_size):
    field = receptive_field(small(architecture, patch_size), (1, 11, 12), sigma=0.3)
    assert field.size == (patch_size, patch_size)
    assert field.mask.sum() == patch_size**2
    assert field.equivariance_error < 1e-12


@pytest.mark.parametrize("architecture", SMALL)
def test_padding_once_equals_padding_in_every_layer(architecture):
    # `valid` on a crop gives the pixels of the whole image whose patch lies inside the crop.
    network = small(architecture, 5)
    z = image(1, 1, 12, 13)
    whole = network(z, 0.2)
    torch.testing.assert_close(network.valid(z, 0.2), whole[..., 2:-2, 2:-2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", SMALL)
def test_a_batch_is_its_images_each_with_its_sigma(architecture):
    network = small(architecture, 3)
    z, sigma = image(3, 1, 8, 8), torch.tensor([0.01, 0.3, 1.0], dtype=torch.float64)
    one_by_one = torch.cat([network(z[i : i + 1], sigma[i].item()) for i in range(3)])
    torch.testing.assert_close(network(z, sigma), one_by_one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", SMALL)
def test_marks_of_zeros_stay_local_and_are_seen(architecture):
    torch.manual_seed(0)
    network = architecture(1, 5, marks_zeros=True, **SMALL[architecture]).double()
    assert receptive_field(network, (1, 8, 9), sigma=0.3).size == (5, 5)
    z = image(1, 1, 9, 9)
    z[0, 0, 4, 4] = 1e-13
    almost = network(z, 0.3)
    z[0, 0, 4, 4] = 0
    changed = ((network(z, 0.3) - almost).abs() > 1e-9)[0, 0]
    assert changed[2:7, 2:7].all()
    assert changed.sum() == 25


# ---------------------------------------------------------------- cheats are found


class GroupNormed(nn.Module):
    """3 x 3, but normalised over all pixels."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.GroupNorm(1, 4), nn.Tanh()
        )

    def forward(self, z):
        return self.layers(z).sum(1, keepdim=True)


class Pooled(nn.Module):
    """Circular, but at half resolution inside."""

    def forward(self, z):
        return functional.interpolate(functional.avg_pool2d(z, 2).tanh(), scale_factor=2)


def test_normalisation_over_pixels_sees_everything():
    field = receptive_field(GroupNormed().double(), (1, 8, 8))
    assert field.mask.all()
    assert field.size == (8, 8)


def test_zero_padding_is_local_but_not_equivariant():
    network = nn.Conv2d(1, 1, 3, padding=1).double()
    field = receptive_field(network, (1, 8, 8))
    assert field.size == (3, 3)
    assert field.equivariance_error > 1e-3


def test_stride_is_not_equivariant():
    assert receptive_field(Pooled(), (1, 8, 8)).equivariance_error > 1e-3


def test_a_field_that_is_no_square():
    field = receptive_field(lambda z: z + z.roll(2, 3), (1, 8, 9))
    assert field.size == (1, 5)
    assert field.mask.nonzero().tolist() == [[4, 2], [4, 4]]


def test_a_network_that_does_not_look_has_an_empty_field():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.ones(()))

        def forward(self, z):
            return self.value + 0 * z.detach()

    field = receptive_field(Constant(), (1, 8, 8))
    assert not field.mask.any()
    assert field.size == (0, 0)


def test_network_that_changes_the_size_is_refused():
    with pytest.raises(ValueError, match=r"\(B, C, 8, 8\) .*, got \(64, 1, 4, 4\)"):
        receptive_field(lambda z: z[..., ::2, ::2], (1, 8, 8))


# ---------------------------------------------------------------- the skip connection


@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0])
@pytest.mark.parametrize(
    ("operator", "preinverse"),
    [
        (Identity(), None),
        (Mask.central(5, (12, 12)), None),
        (Mask.central(5, (12, 12)), "pinv"),
        (Blur.gaussian(1.0, (12, 12)), None),
        (Blur.gaussian(1.0, (12, 12)), "tikhonov"),
    ],
    ids=["denoising", "inpainting", "inpainting-aware", "blur", "blur-aware"],
)
def test_skip_is_the_least_squares_fit(operator, preinverse, sigma):
    images = image(4, 1, 12, 12)
    images = images + images.roll(1, 3)  # neighbours that know of each other
    problem = Problem.of(images, operator, preinverse)
    skip = Skip.fit(images, problem.clean(), problem.preinverse).double()
    generator = torch.Generator().manual_seed(0)
    many = images.repeat(1500, 1, 1, 1)
    z = problem.measured(many, torch.full((len(many),), sigma), generator)
    level = torch.tensor(sigma, dtype=torch.float64)
    left = many - skip(z, level)
    # The residual of the best affine fit has mean zero, is uncorrelated with z, and has size e.
    error = skip.error(level)
    assert left.mean().abs() < 3e-3 * error.sqrt()
    covariance = (left * (z - z.mean())).mean()
    assert covariance.abs() < 5e-3 * (error * skip.variance(level)).sqrt()
    torch.testing.assert_close(left.square().mean(), error, rtol=1e-2, atol=0)
    torch.testing.assert_close(
        skip.standardised(z, level).var(), torch.ones_like(error), rtol=1e-2, atol=0
    )


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PatchMLP(1, 4), "odd, got 4"),
        (lambda: UNet(0, 5), "channels: expected a positive integer, got 0"),
        (lambda: ResNet(1, 5, width=2.5), "width: expected a positive integer, got 2.5"),
        (
            lambda: PatchMLP(1, 5)(torch.rand(1, 3, 8, 8), 0.1),
            r"\(B, 1, H, W\), got \(1, 3, 8, 8\)",
        ),
        (lambda: PatchMLP(1, 5)(torch.rand(1, 1, 4, 8), 0.1), "at least 5 x 5"),
        (lambda: PatchMLP(1, 5)(torch.rand(1, 1, 8, 8), 0.0), "number > 0.*got 0.0"),
        (lambda: PatchMLP(1, 5)(torch.rand(1, 1, 8, 8), 1.5), r"\(0, 1.0\], got 1.5"),
        (lambda: PatchMLP(1, 5)(torch.rand(1, 1, 8, 8), float("nan")), "number > 0.*got nan"),
        (lambda: PatchMLP(1, 5)(torch.rand(2, 1, 8, 8), torch.ones(3)), "each of 2 images"),
        (lambda: PatchMLP(1, 5)(torch.ones(1, 1, 8, 8, dtype=torch.int64), 0.1), "floating-point"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

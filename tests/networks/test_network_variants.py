"""Networks that pad, stride, pool, dilate or are blind: their fields, crops, and training."""

import pytest
import torch

from lemmse.fields import as_field
from lemmse.networks import PatchMLP, ResNet, Skip, UNet, field_of
from lemmse.training import Problem, Settings, loss, random_crops, train

THIN = {"width": 4, "depth": 1}


def holes():
    """Every second pixel of 9 x 9."""
    mask = torch.zeros(9, 9)
    mask[::2, ::2] = 1
    return mask


def cells(patch_size, stride):
    """What each phase sees that shares its cell with the others."""
    mask = torch.zeros(stride, stride, patch_size, patch_size)
    side = patch_size - stride + 1
    for row in range(stride):
        for column in range(stride):
            top, left = stride - 1 - row, stride - 1 - column
            mask[row, column, top : top + side, left : left + side] = 1
    return mask


def blind(patch_size):
    mask = torch.ones(patch_size, patch_size)
    mask[patch_size // 2, patch_size // 2] = 0
    return mask


CASES = {
    "resnet zeros": (lambda: ResNet(1, 5, padding="zeros", **THIN), as_field(5, "zeros")),
    "resnet reflect": (lambda: ResNet(1, 5, padding="reflect", **THIN), as_field(5, "reflect")),
    "unet replicate": (
        lambda: UNet(1, 5, width=4, padding="replicate"),
        as_field(5, "replicate"),
    ),
    "mlp zeros": (lambda: PatchMLP(1, 3, padding="zeros", **THIN), as_field(3, "zeros")),
    "stride": (lambda: ResNet(1, 7, stride=2, **THIN), as_field(field=cells(7, 2))),
    "stride 3": (lambda: ResNet(1, 5, stride=3, **THIN), as_field(field=cells(5, 3))),
    "stride, zeros": (
        lambda: ResNet(1, 7, stride=2, padding="zeros", **THIN),
        as_field(padding="zeros", field=cells(7, 2)),
    ),
    "pooling": (lambda: UNet(1, 7, width=4, pooling=2), as_field(field=cells(7, 2))),
    "pooling, zeros": (
        lambda: UNet(1, 7, width=4, pooling=2, padding="zeros"),
        as_field(padding="zeros", field=cells(7, 2)),
    ),
    "dilation": (lambda: ResNet(1, 9, dilation=2, **THIN), as_field(field=holes())),
    "blind": (lambda: PatchMLP(1, 5, blind=True, **THIN), as_field(field=blind(5))),
    "blind, zeros": (
        lambda: PatchMLP(1, 3, blind=True, padding="zeros", **THIN),
        as_field(padding="zeros", field=blind(3)),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    make, field = CASES[request.param]
    return make().double().eval(), field


def test_the_field_is_what_the_arguments_say(case):
    network, field = case
    side = 18 if field.period == 3 else 14
    found = field_of(network, (1, side, side), sigma=0.3).field
    assert found.padding == field.padding
    assert torch.equal(found.mask, field.mask)
    assert (network.patch_size, network.stride) == (field.patch_size, field.period)


def test_crops_are_computed_where_they_are_valid(case):
    network, field = case
    side = 12
    z = torch.rand(1, 1, side, side, dtype=torch.float64)
    if field.padding != "circular":
        with pytest.raises(ValueError, match="valid: expected a network with circular padding"):
            network.valid(z, 0.3)
        with pytest.raises(ValueError, match="crop: expected None for a network with"):
            train(network, Problem.of(z), Settings(steps=1, crop=4), progress=False)
        return
    m = network.margin
    whole = network(z, 0.3)
    expected = whole[..., m : side - m, m : side - m]
    torch.testing.assert_close(network.valid(z, 0.3), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["stride", "stride 3", "pooling", "dilation", "blind"])
def test_the_mean_loss_over_all_crops_is_that_of_the_image(name):
    network = CASES[name][0]().double()
    s = network.stride
    side = 4 * s if s > 1 else 9
    x = torch.rand(1, 1, side, side, dtype=torch.float64)
    z = x + 0.1 * torch.rand(x.shape, dtype=torch.float64)
    places = [(r, c) for r in range(0, side, s) for c in range(0, side, s)]
    m, losses = network.margin, []
    for row, column in places:
        inner = x.roll((-row, -column), (2, 3))[..., :s, :s]
        outer = z.roll((m - row, m - column), (2, 3))[..., : s + 2 * m, : s + 2 * m]
        losses.append((network.valid(outer, 0.3) - inner).square().mean())
    whole = (network(z, 0.3) - x).square().mean()
    torch.testing.assert_close(torch.stack(losses).mean(), whole, rtol=0, atol=1e-12)


def test_crops_begin_at_multiples_of_the_stride():
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(64.0).view(1, 1, 8, 8).expand(500, 1, 8, 8)
    inner, outer = random_crops(x, x, 4, 2, generator, stride=2)
    first = inner[:, 0, 0, 0].long()
    assert set((first // 8).tolist()) == set((first % 8).tolist()) == {0, 2, 4, 6}
    assert torch.equal(outer[:, :, 2:-2, 2:-2], inner)
    network = ResNet(1, 7, stride=2, **THIN)
    with pytest.raises(ValueError, match="crop: expected a multiple of the stride 2, got 3"):
        train(network, Problem.of(x[:4]), Settings(steps=1, crop=3), progress=False)


def test_every_variant_learns(case):
    network, field = case
    x = torch.rand(8, 1, 1, 1, generator=torch.Generator().manual_seed(0)).expand(8, 1, 12, 12)
    crop = None if field.padding != "circular" else 2 * field.period
    settings = Settings(steps=30, batch=8, crop=crop, learning_rate=0.01, sigma=0.2, records=3)
    losses = train(network.float(), Problem.of(x), settings, progress=False).column("loss")
    assert losses[-1] < losses[0]


def test_the_blind_guess_is_the_mean():
    skip = Skip((0.4, 0.5, 0.04, 0.05, 0.03, 0.01, 1.0)).blind()
    z, sigma = torch.rand(3, 4), torch.tensor(0.3)
    assert torch.allclose(skip(z, sigma), torch.tensor(0.4))
    assert torch.allclose(skip.error(sigma), torch.tensor(0.04))


def test_the_noisy_loss_is_the_clean_one_and_the_noise():
    """For a network that cannot see the pixel itself; the expectation over many draws."""
    torch.manual_seed(0)
    network = PatchMLP(1, 3, blind=True, **THIN)
    x = torch.rand(2, 1, 6, 6).repeat(4000, 1, 1, 1)
    sigma = torch.full((len(x),), 0.3)
    values = []
    for problem in (Problem.of(x), Problem.self_supervised(x)):
        generator = torch.Generator().manual_seed(1)
        values.append(loss(network, problem, x, sigma, None, generator))
    error = network.skip.error(sigma[0])
    expected = (values[0] * error + 0.3**2) / (error + 0.3**2)
    torch.testing.assert_close(values[1], expected, rtol=0.01, atol=0)
    assert Problem.self_supervised(x[:2]).description() != Problem.of(x[:2]).description()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNet(1, 5, padding="mirror"), "padding: expected one of .*got 'mirror'"),
        (lambda: ResNet(1, 7, stride=2, padding="reflect"), "for stride 2, got 'reflect'"),
        (lambda: ResNet(1, 5, stride=2), "patch_size of 3 and multiples of 4 more.*got 5"),
        (lambda: ResNet(1, 7, dilation=2), "multiples of 4 more.*dilation 2, got 7"),
        (lambda: UNet(1, 5, pooling=2), "for stride 2 and dilation 1, got 5"),
        (lambda: UNet(1, 7, pooling=2)(torch.rand(1, 1, 9, 8), 0.1), "multiples of the stride 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

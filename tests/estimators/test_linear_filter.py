"""The best linear filter against the normal equations written out pixel by pixel."""

import pytest
import torch
from brute_force import pixels_of_patch
from torch.nn import functional

from lemmse.estimators import LEMMSE, LinearFilter
from lemmse.fields import as_field
from lemmse.operators import Blur, Identity, Mask, Tomography, materialise

SIZE = (5, 6)
CASES = {
    "denoising": (Identity(), None, 1),
    "blur agnostic": (Blur.gaussian(1.0, SIZE), None, 1),
    "blur aware, colour": (Blur.gaussian(1.0, SIZE), "tikhonov", 2),
    "inpainting aware": (Mask.central(2, SIZE), "pinv", 1),
    "tomography": (Tomography([0, 45, 90], SIZE), "tikhonov", 1),
}


def normal_equations(images, operator, kind, patch_size, sigma):
    """Weights and offset of the best affine function, all expectations in float64."""
    shape = tuple(images.shape[1:])
    pre = operator.preinverse(kind, shape, 0.01)
    y = operator.A(images)
    noise = materialise(pre.apply, tuple(y.shape[1:]))  # B, one row a pixel
    z = pre.apply(y).flatten(1)
    rows, targets, spread = [], [], 0
    for n in range(SIZE[0] * SIZE[1]):
        pixels = pixels_of_patch(*divmod(n, SIZE[1]), (patch_size, patch_size), shape)
        rows.append(z[:, pixels])
        targets.append(images.flatten(2)[:, :, n])
        spread = spread + noise[pixels] @ noise[pixels].T
    v, x = torch.cat(rows), torch.cat(targets)
    count = SIZE[0] * SIZE[1]
    design = torch.cat([torch.ones(len(v), 1, dtype=v.dtype), v], 1)
    gram = design.T @ design / len(v)
    gram[1:, 1:] += sigma**2 * spread / count
    return torch.linalg.lstsq(gram, design.T @ x / len(v), driver="gelsd").solution


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sigma", [0.05, 0.7])
def test_filter_solves_the_normal_equations(name, sigma):
    operator, kind, channels = CASES[name]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(7, channels, *SIZE, generator=generator, dtype=torch.float64)
    weights = normal_equations(images, operator, kind, 3, sigma)
    y = operator.measure(images[:2], sigma, generator)
    found = LinearFilter(images, operator, kind, patch_size=3)(y, sigma)
    z = operator.preinverse(kind, tuple(images.shape[1:]), 0.01).apply(y)
    for n in range(SIZE[0] * SIZE[1]):
        pixels = pixels_of_patch(*divmod(n, SIZE[1]), (3, 3), tuple(images.shape[1:]))
        expected = weights[0] + z.flatten(1)[:, pixels] @ weights[1:]
        assert torch.allclose(found.flatten(2)[:, :, n], expected, atol=1e-9)


FIELDS = {
    "zeros": {"padding": "zeros", "patch_size": 3},
    "reflect": {"padding": "reflect", "patch_size": 3},
    "period 2, replicate": {"padding": "replicate", "period": 2, "patch_size": 3},
    "blind, zeros": {
        "padding": "zeros",
        "field": torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]),
    },
}


@pytest.mark.parametrize("task", ["denoising", "blur aware, colour", "inpainting aware"])
@pytest.mark.parametrize("name", FIELDS)
def test_filter_of_a_field_solves_its_normal_equations(name, task):
    """Every phase by itself, with the rows of what is seen cut from the padded image."""
    operator, kind, channels = CASES[task]
    images = torch.rand(
        7, channels, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    shape, sigma = tuple(images.shape[1:]), 0.3
    field = as_field(**FIELDS[name])
    pre = operator.preinverse(kind, shape, 0.01)
    noise = materialise(pre.apply, shape)
    mode = {"zeros": "constant"}.get(field.padding, field.padding)

    def seen(t, n):
        """Rows (B, d) of what is seen at a pixel, and which phase that is."""
        row, column = divmod(n, SIZE[1])
        window = functional.pad(t, (1, 1, 1, 1), mode=mode)[..., row : row + 3, column : column + 3]
        phase = row % field.period, column % field.period
        return (window * field.mask[phase]).flatten(1), phase

    z = pre.apply(operator.A(images))
    columns = noise.T.reshape(-1, *shape)  # B e for each unit vector e
    y = operator.measure(images[:2], sigma, torch.Generator().manual_seed(1))
    found = LinearFilter(images, operator, kind, **FIELDS[name])(y, sigma)
    shown = pre.apply(y)
    for phase in {seen(z, n)[1] for n in range(30)}:
        mine = [n for n in range(30) if seen(z, n)[1] == phase]
        v = torch.cat([seen(z, n)[0] for n in mine])
        x = torch.cat([images.flatten(2)[:, :, n] for n in mine])
        spread = sum(seen(columns, n)[0].T @ seen(columns, n)[0] for n in mine) / len(mine)
        design = torch.cat([torch.ones(len(v), 1, dtype=v.dtype), v], 1)
        gram = design.T @ design / len(v)
        gram[1:, 1:] += sigma**2 * spread
        weights = torch.linalg.lstsq(gram, design.T @ x / len(v), driver="gelsd").solution
        for n in mine:
            expected = weights[0] + seen(shown, n)[0] @ weights[1:]
            assert torch.allclose(found.flatten(2)[:, :, n], expected, atol=1e-9)


def test_one_pixel_is_the_affine_guess_of_denoising():
    """With P = 1: m + v / (v + sigma^2) (y - m), from the mean and variance of all pixels."""
    x = torch.rand(9, 1, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, variance = x.mean(), x.var(correction=0)
    expected = mean + variance / (variance + 0.3**2) * (x - mean)
    assert torch.allclose(LinearFilter(x, patch_size=1)(x, 0.3), expected, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_the_formula_has_the_smaller_risk_on_its_training_images(sigma):
    x = torch.rand(6, 1, *SIZE, generator=torch.Generator().manual_seed(2)).round()
    many = x.repeat(50, 1, 1, 1)  # the risk is a mean over the noise
    y = many + sigma * torch.randn(many.shape, generator=torch.Generator().manual_seed(3))
    risks = [
        (kind(x, patch_size=3)(y, sigma) - many).square().mean() for kind in (LEMMSE, LinearFilter)
    ]
    assert risks[0] < 0.9 * risks[1]


def test_each_image_has_its_noise_level():
    x = torch.rand(4, 1, *SIZE, generator=torch.Generator().manual_seed(4))
    several = LinearFilter(x, patch_size=3)(x[:2], [0.1, 0.7])
    for i, sigma in enumerate((0.1, 0.7)):
        alone = LinearFilter(x, patch_size=3)(x[[i]], sigma)
        assert torch.allclose(several[[i]], alone, atol=1e-6)


def test_wrong_input_is_refused():
    x = torch.rand(4, 1, *SIZE)
    with pytest.raises(ValueError, match="patch_size"):
        LinearFilter(x, patch_size=4)
    with pytest.raises(ValueError, match="real measurements"):
        LinearFilter(x, patch_size=3)(x[..., :3], 0.1)


def test_the_sigma_gradient_is_right():
    x = torch.rand(5, 1, *SIZE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = LinearFilter(x, patch_size=3)
    sigma = torch.tensor([0.2, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(found, (x[:2].clone().requires_grad_(), sigma))

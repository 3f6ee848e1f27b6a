"""Operators of other libraries: any precision, measured rounding, and what is refused by name."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lemmse.operators import Blur, MatrixOperator, as_operator, materialise, preinverse
from lemmse.operators.materialise import is_single

SHAPE = (1, 8, 8)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class CircularBlur(nn.Module):
    """Convolves as deepinv does: circular padding, then conv2d, in the precision of its kernel."""

    def __init__(self, kernel):
        super().__init__()
        self.register_buffer("filter", kernel)

    def A(self, x):
        h, w = self.filter.shape
        padded = functional.pad(x, (w // 2, w - 1 - w // 2, h // 2, h - 1 - h // 2), "circular")
        return functional.conv2d(padded, self.filter.flip(0, 1)[None, None])

    def A_adjoint(self, y):
        h, w = self.filter.shape
        padded = functional.pad(y, (w // 2, w - 1 - w // 2, h // 2, h - 1 - h // 2), "circular")
        return functional.conv2d(padded, self.filter[None, None])


class RotatingScanner(nn.Module):
    """A Radon transform with single-precision coordinates, whatever the module is cast to."""

    def __init__(self, angles, size):
        super().__init__()
        angle = torch.deg2rad(torch.tensor(angles, dtype=torch.float32))
        rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1)
        rotation = functional.pad(rotation.reshape(-1, 2, 2), (0, 1))
        self.register_buffer("rotation", rotation)
        grids = functional.affine_grid(rotation, [len(angles), 1, size, size], align_corners=True)
        self.register_buffer("grids", grids)

    def A(self, x):
        sums = [
            functional.grid_sample(x, g.expand(len(x), -1, -1, -1), align_corners=True).sum(2)
            for g in self.grids[:, None]
        ]
        return torch.stack(sums, -1)

    def A_adjoint(self, y):
        x = torch.zeros(len(y), 1, *self.grids.shape[1:3], dtype=y.dtype)
        return torch.func.vjp(self.A, x)[1](y)[0]


class Hidden:
    """Its numbers are out of sight, in a closure, in single precision."""

    def __init__(self, matrix):
        self.forward = lambda x: x.flatten(1) @ matrix.T
        self.backward = lambda y: (y @ matrix).reshape(-1, *SHAPE)

    def A(self, x):
        return self.forward(x)

    def A_adjoint(self, y):
        return self.backward(y)


KERNEL = torch.tensor([[0.1, 0.2, 0.05], [0.2, 0.9, 0.1], [0.0, 0.1, 0.3]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_a_foreign_blur_agrees_with_brute_force(dtype, precision):
    physics = CircularBlur(KERNEL.to(dtype))
    operator = as_operator(physics, SHAPE)
    exact = Blur(KERNEL.to(dtype).double(), (8, 8))
    tolerance = (
        3e-2 if dtype == torch.bfloat16 else 1e-4 if torch.float32 in (dtype, precision) else 1e-11
    )
    x = random(3, *SHAPE).to(precision)
    y = operator.A(x)
    assert y.dtype == precision
    torch.testing.assert_close(y, exact.A(x), rtol=tolerance, atol=tolerance)
    for kind in ("adjoint", "pinv", "tikhonov"):
        if dtype == torch.bfloat16 and kind == "pinv":
            continue  # rounding to 8 bits leaves little of an inverse
        b = preinverse(physics, kind, SHAPE)
        z = b.apply(y)
        assert z.dtype == precision
        reference = exact.preinverse(kind, SHAPE).apply(exact.A(x))
        torch.testing.assert_close(z, reference, rtol=10 * tolerance, atol=10 * tolerance)


def test_numbers_out_of_sight_or_mixed_are_no_obstacle():
    matrix = random(20, 64).float()
    operator = as_operator(Hidden(matrix), SHAPE)
    x = random(2, *SHAPE)
    torch.testing.assert_close(
        operator.A(x), x.flatten(1) @ matrix.double().T, rtol=1e-5, atol=1e-5
    )
    physics = CircularBlur(KERNEL.double())
    physics.level = nn.Parameter(torch.tensor(0.1))  # comes first among its numbers
    reference = Blur(KERNEL.double(), (8, 8)).A(x)
    torch.testing.assert_close(as_operator(physics, SHAPE).A(x), reference)
    moved = as_operator(CircularBlur(KERNEL), SHAPE).double()
    torch.testing.assert_close(moved.A(x), reference)


@pytest.mark.parametrize("cast", [torch.float32, torch.float64])
def test_rank_of_an_operator_whose_numbers_were_rounded(cast):
    """Its smallest singular values are rounding errors of its coordinates, which are no rank."""
    angles = [180 * i / 10 for i in range(10)]
    physics = RotatingScanner(angles, 12).to(cast)
    s = torch.linalg.svdvals(materialise(physics.A, (1, 12, 12)))
    spurious = int(((s / s[0] < 1e-6) & (s / s[0] > 1e-10)).sum())
    assert spurious > 0
    b = preinverse(physics, "pinv", (1, 12, 12)).noise.matrix
    reference = torch.linalg.pinv(materialise(physics.A, (1, 12, 12)), rtol=1e-6)
    torch.testing.assert_close(b, reference, rtol=1e-8, atol=1e-8 * reference.abs().max().item())
    assert b.abs().max() < 1e4


def test_rank_of_an_operator_whose_angles_were_rounded():
    """All its numbers are in double precision, but follow from cosines in single precision."""
    physics = RotatingScanner([180 * i / 10 for i in range(10)], 12)
    rotation = physics.rotation.double()
    size = [len(rotation), 1, 12, 12]
    physics.grids = functional.affine_grid(rotation, size, align_corners=True)
    del physics.rotation
    assert not is_single(physics.grids)
    matrix = materialise(physics.A, (1, 12, 12))
    s = torch.linalg.svdvals(matrix) / torch.linalg.matrix_norm(matrix, 2)
    assert ((s < 1e-6) & (s > 1e-10)).any()
    b = preinverse(physics, "pinv", (1, 12, 12)).noise.matrix
    reference = torch.linalg.pinv(matrix, rtol=1e-6)
    torch.testing.assert_close(b, reference, rtol=1e-8, atol=1e-8 * reference.abs().max().item())


def test_rank_of_an_operator_that_computes_in_single_precision():
    """Neither its numbers nor its results show it, but its rounding is measured."""
    low_rank = random(30, 6, seed=1) @ random(6, 64, seed=2)

    class Inside(Hidden):
        def A(self, x):
            return (super().A(x.float()).double() + super().A(x.float()).double() / 3) * 0.75

        def A_adjoint(self, y):
            return super().A_adjoint(y.float()).double()

    b = preinverse(Inside(low_rank.float()), "pinv", SHAPE).noise.matrix
    reference = torch.linalg.pinv(low_rank, rtol=1e-10)
    torch.testing.assert_close(b, reference, rtol=1e-3, atol=1e-5)


def test_an_operator_that_measures_nothing():
    nothing = MatrixOperator(lambda x: 0 * x, (8, 8))
    assert nothing.A_dagger(nothing.A(random(1, *SHAPE))).abs().max() == 0


def test_exact_numbers_keep_their_small_singular_values():
    small = torch.diag(torch.tensor([1.0] * 63 + [2.0**-25], dtype=torch.float64))
    assert MatrixOperator(small, (8, 8)).svd[1].numel() == 64
    assert MatrixOperator(small.tolist(), (8, 8)).svd[1].numel() == 64
    blur = Blur.gaussian(1.5, (8, 8))
    foreign = preinverse(CircularBlur(blur.kernel.value), "pinv", SHAPE)
    rank = torch.linalg.matrix_rank(foreign.noise.matrix, rtol=1e-13).item()
    assert rank == int((blur.inverse_transfer.value != 0).sum())


@pytest.mark.parametrize(
    ("numbers", "single"),
    [
        ([0.25, 1.0, 7.0], False),
        ([1 / 3], False),
        ([np.float32(1 / 3)], True),
        ([0.5, np.float32(0.1)], True),
        ([0.1, np.float32(0.1)], False),
        ([0.0], False),
        ([1e30], False),
        ([2.0**100], False),
    ],
)
def test_numbers_rounded_to_single_precision_are_recognised(numbers, single):
    assert is_single(torch.tensor([float(n) for n in numbers], dtype=torch.float64)) == single


# What is refused


class TensorList(list):
    pass


class Foreign:
    """An operator that goes wrong in one of its methods."""

    def __init__(self, A=None, A_adjoint=None):
        self.functions = {"A": A or (lambda x: x), "A_adjoint": A_adjoint or (lambda y: y)}

    def A(self, x):
        return self.functions["A"](x)

    def A_adjoint(self, y):
        return self.functions["A_adjoint"](y)


def two_channels(x):
    """As an operator on complex images does that wants two channels."""
    return torch.view_as_complex(x.movedim(1, -1).contiguous())


@pytest.mark.parametrize(
    ("physics", "message"),
    [
        (Foreign(A=lambda x: x.sum(0, keepdim=True)), "same first dimension"),
        (Foreign(A=lambda x: x - x.mean(0)), "each entry of a batch by itself"),
        (Foreign(A=lambda x: torch.fft.fft(x, dim=0).real), "each entry of a batch by itself"),
        (Foreign(A_adjoint=lambda y: y.flip(0)), "A_adjoint to treat each entry"),
        (Foreign(A=lambda x: x / 0), "NaN or Inf"),
        (Foreign(A_adjoint=lambda y: y * math.nan), "A_adjoint returns"),
        (Foreign(A=lambda x: TensorList([x])), "got TensorList|got a TensorList"),
        (Foreign(A=lambda x: None), "got NoneType"),
        (Foreign(A=lambda x: x > 0), "real or complex numbers"),
        (Foreign(A=lambda x: x.sum((1, 2, 3))), "same first dimension"),
        (Foreign(A=two_channels), r"Foreign.A to take .* it raised RuntimeError"),
        (Foreign(A=lambda x: x.expand(-1, 2, -1, -1)), r"images of shape \(1, 8, 8\)"),
        (Foreign(A_adjoint=lambda y: y + 0j), "real images"),
        (Foreign(A_adjoint=lambda y: y[..., 1:]), "images of shape"),
    ],
)
def test_objects_that_go_wrong_are_refused_by_name(physics, message):
    with pytest.raises(ValueError, match=message):
        as_operator(physics, SHAPE)


@pytest.mark.parametrize("method", ["A_adjoint", "A_dagger", "A_tikhonov"])
def test_measurements_of_another_shape_are_refused(method):
    operator = as_operator(CircularBlur(KERNEL), SHAPE)
    good = random(2, *SHAPE)
    assert getattr(operator, method)(good).shape == good.shape
    for y in (random(2, 2, 8, 8), random(2, 1, 8, 9), random(1, 8, 8), good + 0j, good * math.nan):
        with pytest.raises(ValueError, match="expected"):
            getattr(operator, method)(y)


class GaussianNoise(nn.Module):
    pass


class Coloured(GaussianNoise):
    pass


class PoissonNoise(nn.Module):
    pass


def test_noise_that_is_not_gaussian_is_warned_about(recwarn):
    physics = CircularBlur(KERNEL)
    for noise in (None, GaussianNoise(), Coloured()):
        physics.noise_model = noise
        as_operator(physics, SHAPE)
    assert not recwarn.list
    physics.noise_model = PoissonNoise()
    with pytest.warns(UserWarning, match="CircularBlur has PoissonNoise"):
        as_operator(physics, SHAPE)

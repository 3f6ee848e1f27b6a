"""Operators x inputs x modes, drawn at random: the plain call's numbers, or a sentence."""

import contextlib
import random as dice

import numpy as np
import pytest
import torch

from lemmse.operators import MRI, Blur, Identity, Mask, MatrixOperator, Tomography, as_operator

CASES = 120
SIZES = [(1, 1), (1, 5), (4, 4), (5, 6), (7, 3)]


class Foreign(torch.nn.Module):
    """Somebody else's operator, in a precision of its own."""

    def __init__(self, dtype, size):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        gain = torch.rand(size, generator=generator, dtype=torch.float64) + 0.5
        self.register_buffer("gain", gain.to(dtype))

    def A(self, x):
        return x * self.gain

    def A_adjoint(self, y):
        return y * self.gain


def draw_operator(rng, size, channels):
    kind = rng.choice(["identity", "mask", "blur", "mri", "tomography", "matrix", "whole", "else"])
    generator = torch.Generator().manual_seed(rng.randrange(1000))
    pixels = size[0] * size[1]
    if kind == "identity":
        return Identity()
    if kind == "mask":
        return Mask.random(rng.random(), size, rng.randrange(9))
    if kind == "blur":
        return Blur.gaussian(rng.choice([0.1, 0.5, 1.0, 9.0]), size)
    if kind == "mri":
        mask = torch.rand(size, generator=generator) > 0.5
        mask[0, 0] = True
        return MRI(mask, size)
    if kind == "tomography":
        return Tomography([0.0, 77.0, 90.0][: rng.randint(1, 3)], size)
    if kind == "matrix":
        return MatrixOperator(torch.randn(3, pixels, generator=generator), size)
    if kind == "whole":
        shape = (channels, *size)
        return MatrixOperator(torch.randn(4, channels * pixels, generator=generator), shape)
    dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16, torch.float16])
    return as_operator(Foreign(dtype, size), (channels, *size))


def spoilt(rng, t):
    """The same input with something wrong with it, and in forms that are right."""
    return rng.choice(
        [
            lambda: t,
            lambda: t * rng.choice([0.0, 1e-30, 1e30]),
            lambda: t.to(rng.choice([torch.float16, torch.bfloat16, torch.int64, torch.bool])),
            lambda: t * torch.nan,
            lambda: t[..., :-1],
            lambda: t[0],
            lambda: t[:0],
            lambda: t.repeat(1, 2, *[1] * (t.ndim - 2)),
            lambda: t.mT if t.ndim > 2 else t.T,
            lambda: t.numpy(),
            lambda: t + 0j,
            lambda: t.real,
            lambda: t.expand(3, *t.shape[1:]) if len(t) == 1 else t[1:],
            lambda: None,
        ]
    )()


@contextlib.contextmanager
def mode(rng):
    choice = rng.choice(["plain", "bfloat16", "float16", "inference", "double", "meta", "no_grad"])
    with contextlib.ExitStack() as stack:
        if choice in ("bfloat16", "float16"):
            stack.enter_context(torch.autocast("cpu", getattr(torch, choice)))
        if choice == "inference":
            stack.enter_context(torch.inference_mode())
        if choice == "no_grad":
            stack.enter_context(torch.no_grad())
        if choice == "meta":
            stack.enter_context(torch.device("meta"))
        if choice == "double":
            torch.set_default_dtype(torch.float64)
            stack.callback(torch.set_default_dtype, torch.float32)
        yield


def draw_call(rng, operator, shape):
    """A call of an operator or of one of its pre-inverses, with an input that may be spoilt."""
    generator = torch.Generator().manual_seed(rng.randrange(1000))
    dtype = rng.choice([torch.float32, torch.float64])
    x = torch.rand(rng.randint(1, 3), *shape, generator=generator, dtype=dtype)
    y = operator.A(x)
    name = rng.choice(["A", "A_adjoint", "A_dagger", "A_tikhonov", "measure", "preinverse"])
    if name == "A":
        image = spoilt(rng, x)
        return lambda: operator.A(image)
    if name == "measure":
        sigma = rng.choice([0, 0.1, [0.1], np.ones(len(x)), torch.ones(len(x), 1, 1, 1), -1, "s"])
        return lambda: operator.measure(x, sigma, torch.Generator().manual_seed(0))
    given = spoilt(rng, y)
    if name != "preinverse":
        return lambda: getattr(operator, name)(given)
    numbers = y[0].numel() * (2 if y.is_complex() else 1)
    pixels = x[0].numel()
    matrix = torch.rand(pixels, numbers, generator=generator)
    kind = rng.choice([None, "adjoint", "pinv", "tikhonov", "fbp", matrix, matrix.numpy(), "no"])
    return lambda: operator.preinverse(kind, shape).apply(given)


def outcome(call):
    """The result, or the message of the ValueError."""
    try:
        return call()
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(CASES))
def test_the_plain_numbers_or_a_sentence(seed):
    rng = dice.Random(seed)
    shape = (rng.randint(1, 3), *rng.choice(SIZES))
    operator = draw_operator(rng, shape[1:], shape[0])
    call = draw_call(rng, operator, shape)
    plain = outcome(call)
    with mode(rng):
        result = outcome(call)
    if isinstance(plain, str):
        assert result == plain
        assert len(plain) > 20
        return
    assert torch.isfinite(plain).all()
    assert result.dtype == plain.dtype
    assert torch.equal(result, plain)

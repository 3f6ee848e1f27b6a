"""Operators in every mode of torch: autocast, inference, default dtypes and devices, copies."""

import copy
import io
import pickle

import pytest
import torch

from lemmse.operators import (
    MRI,
    Blur,
    Identity,
    Mask,
    MatrixOperator,
    Tomography,
    as_operator,
    preinverse,
)

SIZE = (6, 6)
SHAPE = (1, *SIZE)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, device="cpu", dtype=torch.float32)


class Scaled(torch.nn.Module):
    """A foreign operator."""

    def __init__(self):
        super().__init__()
        self.register_buffer("gain", random(*SIZE, seed=3))
        self.weight = torch.nn.Parameter(torch.ones((), device="cpu"))

    def A(self, x):
        return torch.einsum("bchw,hv->bcvw", x, self.gain)

    def A_adjoint(self, y):
        return torch.einsum("bcvw,hv->bchw", y, self.gain)


SCALED = Scaled()  # an object of somebody else's, made in no special mode


def double(y):
    return -2 * y


MAKERS = {
    "identity": Identity,
    "mask-central": lambda: Mask.central(3, SIZE),
    "mask-random": lambda: Mask.random(0.4, SIZE),
    "blur-gaussian": lambda: Blur.gaussian(1.0, SIZE),
    "blur-motion": lambda: Blur.motion(3, 20.0, SIZE),
    "blur-disk": lambda: Blur.disk(1.3, SIZE),
    "mri": lambda: MRI.cartesian(2, SIZE, seed=1),
    "tomography": lambda: Tomography([0.0, 40.0, 130.0], SIZE),
    "matrix": lambda: MatrixOperator(random(9, 36), SIZE),
    "matrix-list": lambda: MatrixOperator([[0.1] * 36, [0.3] * 36], SIZE),
    "matrix-callable": lambda: MatrixOperator(lambda x: x.cumsum(-1) / 3, SIZE),
    "foreign": lambda: as_operator(SCALED, SHAPE),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def kinds(operator):
    """All kinds of pre-inverse of an operator."""
    y = operator.A(random(1, *SHAPE))
    numbers = y.numel() * (2 if y.is_complex() else 1)
    same = [None, Mask.central(2, SIZE)] if y.shape[1:] == SHAPE and not y.is_complex() else []
    callables = [double] if same else []
    return [*operator.maps_to_images(0.05), random(36, numbers), *same, *callables]


def numbers_of(operator):
    """Everything an operator computes, noise apart."""
    x = random(2, *SHAPE)
    y = operator.A(x)
    generator = torch.Generator().manual_seed(1)
    results = [y, operator.measure(x, 0.1, generator)]
    results += [operator.A_adjoint(y), operator.A_dagger(y), operator.A_tikhonov(y)]
    results += [operator.A_vjp(x, y)]
    results += [preinverse(operator, kind, SHAPE).apply(y) for kind in kinds(operator)]
    return results


def assert_same(results, expected):
    assert len(results) == len(expected)
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == right.dtype
        assert result.device == right.device
        assert torch.equal(result, right)


@every
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_number(make, low):
    operator = make()
    expected = numbers_of(operator)
    with torch.autocast("cpu", low):
        assert_same(numbers_of(operator), expected)
        assert_same(numbers_of(make()), expected)
        assert torch.is_autocast_enabled("cpu")


@every
def test_inference_mode_changes_no_number_and_leaves_nothing_behind(make):
    expected = numbers_of(make())
    with torch.inference_mode():
        operator = make()
        assert_same(numbers_of(operator), expected)
        inverses = [preinverse(operator, kind, SHAPE) for kind in kinds(operator)]
    x = random(2, *SHAPE).requires_grad_()
    y = operator.A(x)
    for inverse in inverses:
        inverse.apply(y).square().sum().backward(retain_graph=True)
    assert x.grad.abs().sum() > 0
    assert_same(numbers_of(operator), expected)


@every
def test_a_default_dtype_changes_no_number(make):
    expected = numbers_of(make())
    for default in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(default)
        try:
            results = numbers_of(make())
        finally:
            torch.set_default_dtype(torch.float32)
        assert_same(results, expected)


@every
def test_a_default_device_changes_no_number(make):
    """On the device "meta" there are no numbers: whatever is made there by mistake is noticed."""
    expected = numbers_of(make())
    with torch.device("meta"):
        operator = make()
        results = numbers_of(operator)
    assert_same(results, expected)


def copies(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    yield torch.load(buffer, weights_only=False)
    yield pickle.loads(pickle.dumps(thing))
    yield copy.deepcopy(thing)


@every
def test_operators_and_preinverses_are_copied_and_moved(make):
    operator = make()
    expected = numbers_of(operator)
    for copied in copies(operator):
        assert_same(numbers_of(copied), expected)
        copied.load_state_dict(operator.state_dict())
        assert_same(numbers_of(copied.to("cpu").float().eval().train()), expected)
    y = expected[0]
    for kind in kinds(operator):
        inverse = preinverse(operator, kind, SHAPE)
        for copied in copies(inverse):
            assert torch.equal(copied.apply(y), inverse.apply(y))


@every
@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_in_words(make, low):
    operator = make()
    x = random(2, *SHAPE)
    y = operator.A(x)
    with pytest.raises(ValueError, match=r"float32 or torch\.float64"):
        operator.A(x.to(low))
    if not y.is_complex():
        for kind in kinds(operator):
            with pytest.raises(ValueError, match=r"expected y .*float64"):
                preinverse(operator, kind, SHAPE).apply(y.to(low))


@every
def test_every_preinverse_checks_the_measurement(make):
    operator = make()
    y = operator.A(random(2, *SHAPE))
    for kind in kinds(operator):
        inverse = preinverse(operator, kind, SHAPE)
        assert inverse.apply(y).shape == (2, *SHAPE)
        for wrong in (
            y.repeat(1, 2, *[1] * (y.ndim - 2)),
            y[..., 1:],
            y[0],
            y[:0],
            y.flatten(),
            y * torch.nan,
            y.int() if not y.is_complex() else y.real,
            y + 0j if not y.is_complex() else y.imag,
            y.numpy(),
            None,
        ):
            with pytest.raises(ValueError, match="expected"):
                inverse.apply(wrong)


def test_a_preinverse_does_not_mix_up_channels_and_batch():
    """64 numbers for each channel, and two channels: not two images."""
    inverse = preinverse(Blur.gaussian(1.0, (8, 8)), torch.eye(64), (1, 8, 8))
    with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\)"):
        inverse.apply(torch.rand(1, 2, 8, 8))

"""Whatever mode torch is in, an estimator computes the numbers of a plain call."""

import pytest
import torch
from variety import ESTIMATORS, FEW, answers, build, images, measurement

pytestmark = pytest.mark.usefixtures("small_index")
EVERY = pytest.mark.parametrize("name", ESTIMATORS)


class DefaultDtype:
    def __enter__(self):
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_):
        torch.set_default_dtype(torch.float32)


class RoughProducts:
    """Where the CPU can, products of float32 matrices are rounded to bfloat16."""

    def __enter__(self):
        torch.set_float32_matmul_precision("medium")

    def __exit__(self, *_):
        torch.set_float32_matmul_precision("highest")


MODES = {
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", torch.float16),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "default dtype": DefaultDtype,
    "default device": lambda: torch.device("meta"),
    "rough products": RoughProducts,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "operator", "kind"), FEW)
def test_built_and_called_inside_a_mode(name, operator, kind, mode):
    y = measurement(operator)
    x = images()
    wanted = answers(build(name, operator, kind, x=x), y, 0.3)
    called = build(name, operator, kind, x=x)
    with MODES[mode]():
        built = build(name, operator, kind, x=x)
        inside = answers(built, y, 0.3), answers(called, y, 0.3)
    outside = answers(built, y, 0.3), answers(called, y, 0.3)
    for found in (*inside, *outside):
        for a, b in zip(found, wanted, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("mode", ["autocast bfloat16", "default dtype", "rough products",
                                  "default device"])  # fmt: skip
@EVERY
def test_gradients_taken_inside_a_mode(name, mode):
    def gradients(estimate):
        y = measurement().requires_grad_()
        sigma = torch.full((), 0.3, requires_grad=True, device="cpu", dtype=torch.float32)
        loss = sum(a.sum() for a in answers(estimate, y, sigma))
        return torch.autograd.grad(loss, (y, sigma))

    estimate, plain = build(name), build(name)
    wanted = gradients(plain)
    y, x = measurement(), images()
    with MODES[mode]():
        estimate = build(name, x=x)
        leaf = y.clone().requires_grad_()
        sigma = torch.full((), 0.3, requires_grad=True, device="cpu", dtype=torch.float32)
        loss = sum(a.sum() for a in answers(estimate, leaf, sigma))
        found = torch.autograd.grad(loss, (leaf, sigma))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@EVERY
def test_gradients_after_inference_mode(name):
    """Everything that came from inference mode: estimator, measurements, noise level."""
    plain, leaf = build(name), measurement().requires_grad_()
    [wanted] = torch.autograd.grad(plain(leaf, 0.3).sum(), leaf)
    sigma = torch.tensor(0.3, requires_grad=True)
    [wanted_sigma] = torch.autograd.grad(plain(measurement(), sigma).sum(), sigma)
    with torch.inference_mode():
        estimate = build(name, x=images())
        y = measurement()
        level = torch.tensor(0.3)
        assert not estimate(y, level).requires_grad
    [found] = torch.autograd.grad(estimate(leaf, level).sum(), leaf)
    torch.testing.assert_close(found, wanted)
    [found] = torch.autograd.grad(estimate(y, sigma).sum(), sigma)
    torch.testing.assert_close(found, wanted_sigma)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@EVERY
def test_half_precision_measurements_are_answered_in_single(name, dtype):
    estimate, y = build(name), measurement().to(dtype)
    for a, b in zip(answers(estimate, y, 0.3), answers(estimate, y.float(), 0.3), strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
@EVERY
def test_measurements_that_are_no_real_numbers_are_refused(name, dtype):
    with pytest.raises(ValueError, match=f"expected y to hold real or complex.*{dtype}"):
        build(name)((measurement() * 255).to(dtype), 0.3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
@EVERY
def test_training_images_in_low_precision_are_refused(name, dtype):
    with pytest.raises(ValueError, match=f"training images.*{dtype}"):
        build(name, x=images().to(dtype))


@EVERY
def test_what_is_no_dense_real_tensor_is_refused(name):
    y = measurement()
    for bad in (y.numpy(), y.tolist(), y.to_sparse(), y + 0j, y.to("meta"), y * float("nan")):
        with pytest.raises(ValueError, match="expected") as error:
            build(name)(bad, 0.3)
        assert len(str(error.value)) < 300

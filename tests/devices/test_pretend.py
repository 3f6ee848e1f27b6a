"""The pretend accelerator refuses what CUDA refuses, and computes what the CPU computes."""

import io
from copy import deepcopy

import numpy as np
import pretend
import pytest
import torch


@pytest.fixture
def device():
    with pretend.accelerator() as device:
        yield device


@pytest.fixture
def x(device):
    return torch.rand(3, 4, generator=torch.Generator(device).manual_seed(0), device=device)


def test_the_device_exists_inside_only(device):
    assert torch.zeros(2, device=device).device == torch.device("shadow", 0)
    assert torch.zeros(2, device=device).device != device  # as cuda:0 is not cuda


REFUSED = {
    "two devices": lambda x: x + torch.rand(3, 4),
    "a product": lambda x: x @ torch.rand(4, 3),
    "scalar in a list": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "vector of the CPU, scalar of the accelerator": lambda x: torch.rand(3) + x[0, 0],
    "into the CPU": lambda x: torch.tensor(1.0).add_(x[0, 0]),
    "index from the accelerator": lambda x: torch.rand(3)[(x[0] > 2).nonzero()[:, 0]],
    "comparison": lambda x: torch.equal(x, torch.rand(3, 4)),
    "numpy": lambda x: x.numpy(),
    "numpy's function": lambda x: np.asarray(x),
    "numpy's operator": lambda x: np.ones(4) * x[0],
    "generator of the CPU": lambda x: torch.rand(3, generator=torch.Generator(), device=x.device),
    "forgotten device": lambda x: torch.rand(3, generator=torch.Generator(x.device)),
    "generator of the CPU, in place": lambda x: x.normal_(generator=torch.Generator()),
    "CPU's module": lambda x: torch.nn.Linear(4, 2)(x),
    "histogram": lambda x: torch.histogram(x),
    "product of integers": lambda x: x.long() @ x.long().T,
    "least squares by a decomposition": lambda x: torch.linalg.lstsq(x, x, driver="gelsd"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_cuda_refuses(case, x):
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        REFUSED[case](x)


ALLOWED = {
    "a scalar of the CPU": lambda x: x * torch.tensor(2.0),
    "a scalar of the CPU where": lambda x: torch.where(x > 0.5, x, torch.tensor(0.0)),
    "numbers": lambda x: 2 * x + np.float64(3) - np.float32(1),
    "index of the CPU": lambda x: x[torch.tensor([0, 2])],
    "index by a list": lambda x: x[:, [0, 2]],
    "index by an array": lambda x: x[np.array([0, 2])],
    "index by a mask": lambda x: x[x > 0.5],
    "copying": lambda x: x.clone().copy_(torch.ones(3, 4)),
    "tensor of numbers": lambda x: torch.tensor([x[0, 0], x[1, 1], 2.0], device=x.device),
    "tensor like another": lambda x: x.new_tensor([1.0, x[0, 0]]),
    "array": lambda x: torch.as_tensor(np.ones(3), device=x.device),
    "a vector times a matrix": lambda x: x[:, 0] @ x,
    "a view in place": lambda x: x.clone().unsqueeze_(1).transpose_(0, 2),
    "conjugate": lambda x: (torch.fft.fft(x) * torch.fft.fft(x).conj()[[1, 0, 2]]).imag,
    "spectrum": lambda x: torch.view_as_real(torch.fft.fft2(x)),
    "eigenvalues": lambda x: torch.linalg.eigvalsh(x @ x.T),
    "vmap": lambda x: torch.func.vmap(torch.sum)(x),
    "vjp": lambda x: torch.func.vjp(torch.square, x)[1](x)[0],
    "random": lambda x: torch.randn(4, generator=torch.Generator(x.device), device=x.device),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_computes_what_the_cpu_computes(case, x):
    expected = ALLOWED[case](x.cpu())
    result = ALLOWED[case](x)
    assert result.device.type == "shadow"
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=0)


def test_values_are_assigned_in_place(x):
    x[0], x[:, 1], x[x > 0.5] = 1.0, torch.zeros(3, device=x.device), 0.25
    assert x[0].tolist() == [0.25, 0.0, 0.25, 0.25]
    assert f"{x[0, 0]:.1f}" == "0.2"


def test_a_generator_has_a_state(device):
    generator = torch.Generator(device).manual_seed(3)
    state = generator.get_state()
    first = torch.rand(2, generator=generator, device=device)
    generator.set_state(state)
    assert isinstance(generator, torch.Generator)
    assert torch.equal(torch.rand(2, generator=generator, device=device), first)


def test_gradients_and_second_derivatives(x):
    y = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(y.pow(3).sum(), y, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y)
    assert second.device == x.device
    torch.testing.assert_close(second.cpu(), 6 * x.cpu())


def test_a_module_moves_trains_and_is_saved(device):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    optimizer = torch.optim.Adam(module.parameters())  # made before: the parameters stay the same
    module.to(device)
    before = deepcopy(module)
    module(torch.ones(2, 4, device=device)).sum().backward()
    optimizer.step()
    assert not torch.equal(module[0].weight, before[0].weight)
    file = io.BytesIO()
    torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, map_location="cpu", weights_only=True)
    assert saved["module"]["0.weight"].device.type == "cpu"
    before.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    assert torch.equal(module[0].weight, before[0].weight)
    assert before.double().cpu()[0].weight.dtype == torch.float64


def test_autocast_computes_products_in_half_precision(x):
    with torch.autocast("shadow", torch.bfloat16):
        assert (x @ x.T).dtype == torch.bfloat16
        assert (x @ x.T).exp().dtype == torch.float32
        assert torch.nn.functional.linear(x, x).dtype == torch.bfloat16
        assert (x.double() @ x.double().T).dtype == torch.float64
        with torch.autocast("shadow", enabled=False):
            assert (x @ x.T).dtype == torch.float32


def test_default_device(device):
    torch.set_default_device(device)
    try:
        x = torch.rand(3) + torch.tensor([1.0, 2.0, 3.0])
        y = torch.rand(3, generator=torch.Generator(device))
    finally:
        torch.set_default_device(None)
    assert (x + y).device.type == "shadow"


def test_inference_mode(x):
    with torch.inference_mode():
        assert (x @ x.T).device == x.device

"""The order in which devices are preferred, and the guard against torch's modes."""

import threading

import pytest
import torch

from lemmse.devices import device, plain_mode


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_device_prefers_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device() == torch.device(expected)


def product():
    x = torch.linspace(0, 1, 300 * 300, dtype=torch.float32).view(300, 300)
    return x @ x


def modes():
    """Every mode that changes what torch computes."""
    return {
        "autocast bfloat16": torch.autocast("cpu", torch.bfloat16),
        "autocast float16": torch.autocast("cpu", torch.float16),
        "inference": torch.inference_mode(),
        "default device": torch.device("meta"),
    }


@pytest.mark.parametrize("mode", modes())
def test_the_guard_computes_as_outside_the_mode(mode):
    wanted = product()
    with modes()[mode], plain_mode():
        inside = product()
        assert torch.ones(2).device.type == "cpu"
    assert torch.equal(inside, wanted)
    assert not inside.is_inference()
    assert not inside.requires_grad


def test_the_guard_leaves_the_mode_as_it_was():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(KeyError), plain_mode():
            raise KeyError
        assert torch.is_inference_mode_enabled()
        assert product().dtype == torch.bfloat16
    assert torch.is_grad_enabled()
    with torch.no_grad(), plain_mode():
        assert not torch.is_grad_enabled()


def test_products_keep_their_precision_until_the_last_thread_has_left():
    """Where the CPU has bfloat16 products, "medium" rounds all matrices of float32 to it."""
    wanted, entered, leave, found = product(), threading.Event(), threading.Event(), []

    def stay():
        with plain_mode():
            entered.set()
            leave.wait()
            found.append(product())

    torch.set_float32_matmul_precision("medium")
    try:
        outside = product()
        thread = threading.Thread(target=stay)
        thread.start()
        entered.wait()
        with plain_mode():
            found.append(product())
        leave.set()
        thread.join()
        assert torch.equal(product(), outside)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(torch.equal(result, wanted) for result in found)
    assert torch.equal(product(), wanted)

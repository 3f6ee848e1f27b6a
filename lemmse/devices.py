"""Which device to compute on, how precisely, and whatever mode torch is in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# The kinds of device whose autocast could round what we compute.
AUTOCAST = ("cpu", "cuda", "mps", "xpu")


def device() -> torch.device:
    """The fastest device of this machine: cuda, else mps, else cpu.

    Returns:
        A `torch.device` without an index.

    Example:
        >>> from lemmse.devices import device
        >>> device().type in ("cuda", "mps", "cpu")
        True
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precise(device: torch.device) -> torch.dtype:
    """The best precision of a device: float64, which Apple's GPUs (mps) lack.

    Example:
        >>> precise(torch.device("cpu"))
        torch.float64
    """
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def plain_mode() -> Iterator[None]:
    """Computes as torch does in its plain state; a context, or a decorator of a function.

    Inside, autocast is off, tensors are ordinary ones also in inference mode (where no gradient is
    recorded, as outside), new tensors are on the CPU unless a device is named, and products of
    float32 matrices are not rounded to 16 or 19 bits (TF32, bfloat16). The default dtype is left
    alone, since it belongs to all threads: exact code names its dtypes.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), plain_mode():
        ...     print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
        torch.float32
    """
    with ExitStack() as stack:
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # leaving inference mode switches gradients on
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_FULL_PRODUCTS)
        yield


class _FullProducts:
    """Full precision of float32 matrix products, while any thread is inside.

    The setting belongs to the process: the first thread to come changes it, the last to go puts it
    back.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[tuple[object, str]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            backends = (torch.backends.mkldnn.matmul, torch.backends.cuda.matmul)
            self._before = [
                (backend, backend.fp32_precision)
                for backend in backends
                if backend.fp32_precision in ("tf32", "bf16")
            ]
            for backend, _ in self._before:
                backend.fp32_precision = "ieee"

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for backend, precision in self._before:
                    backend.fp32_precision = precision


_FULL_PRODUCTS = _FullProducts()

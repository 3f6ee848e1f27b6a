"""Which device to compute on, and how precisely."""

import torch


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

"""Which device to compute on."""

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

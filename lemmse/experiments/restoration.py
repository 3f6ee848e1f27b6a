"""Networks with physics inside against the truth: PSNR at the one noise level of their task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..metrics import psnr
from ..training import Probe
from ..zoo import PhysicsSpec
from . import comparison

IMAGES = 100
"""The PSNR on a card is a mean over the first so many images of each split."""

PROBED = 16
"""In training it is measured on the first so many test images."""


def measurement(spec: PhysicsSpec, split: str, count: int = IMAGES) -> tuple[Tensor, Tensor]:
    """The first images of a split, and what is measured of them at the noise level of the task.

    The noise is the same for all networks of a data set and a task, on every machine.

    Returns:
        The truth x, (count, C, H, W), and the measurement y.

    Example:
        >>> x, y = measurement(PhysicsSpec("photos-grey", "tomography", "svd"), "test", 2)
        >>> y.shape
        torch.Size([2, 1, 46, 24])
    """
    return comparison.measurement(spec, split, spec.sigma, count)


def probe(spec: PhysicsSpec, device: torch.device | str = "cpu") -> Probe:
    """Measures networks in training: their PSNR against a few test images, in dB."""
    truth, y = (t.to(device) for t in measurement(spec, "test", PROBED))

    def fidelity(network: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            return {"psnr": psnr(network(y, spec.sigma), truth).mean().item()}

    return fidelity


def scores(network: nn.Module, spec: PhysicsSpec, device: torch.device | str = "cpu") -> dict:
    """What the card says of a trained network, in the form of `comparison.summary`.

    Returns:
        ``psnr[split][sigma]["network_truth"]``, the mean PSNR in dB, and ``psnr_images``.
    """
    means = {}
    for split in comparison.SPLITS:
        truth, y = (t.to(device) for t in measurement(spec, split))
        with torch.no_grad():
            values = psnr(network(y, spec.sigma), truth)
        means[split] = {str(spec.sigma): {"network_truth": round(values.mean().item(), 2)}}
    return {"psnr": means, "psnr_images": IMAGES}

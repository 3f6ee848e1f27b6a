"""Which circular shifts of an image come near a training image: all correlations by FFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, distributed

from ..reduction import processes

IMAGES_AT_ONCE = 256  # correlation planes that stay in the cache


class Correlations:
    r"""Distances from all circular shifts of an image to some images, for the shifts that matter.

    .. math:: \|T_s z - k\|^2 / 2 = \|z\|^2 / 2 + \|k\|^2 / 2 - (z \star k)[s], \qquad
        z \star k = F^{-1}(F z \cdot \overline{F k})

    summed over channels. They are computed in float32 and compared with room for its rounding: of
    a transform, less than that of a dot product of as many numbers (Higham, Accuracy and Stability
    of Numerical Algorithms, 2002, section 24.1).

    Args:
        images: k, but for an image that was taken off all of them, (m, C, H, W).
        removed: that image, (C, H, W), in the best precision.
    """

    def __init__(self, images: Tensor, removed: Tensor):
        # Shifts leave the means where they are: without them fewer digits cancel.
        mean = images.mean((0, 2, 3), dtype=removed.dtype) + removed.mean((1, 2))
        self.mean = mean[:, None, None]
        parts = [x + (removed - self.mean) for x in images.split(IMAGES_AT_ONCE)]
        norm = torch.cat([x.flatten(1).norm(dim=1) for x in parts])
        self.radius = norm.max().item()
        self.half_square = (norm.square() / 2).float()
        spectra = [torch.fft.rfft2(x.float()).conj().resolve_conj() for x in parts]
        self.spectra = torch.cat(spectra)
        self.skipped = torch.finfo(images.dtype).eps

    def near(self, z: Tensor, precision: Tensor, details: bool) -> Tensor:
        r"""Marks the shifts that may carry weight, (H, W), on all processes together.

        The others have together at most the rounding of the images' precision, or its square where
        variances are wanted, since their root shows.

        Args:
            z: (C, H, W), in the best precision there is.
            precision: :math:`1 / \sigma^2`, ().
            details: whether variances are wanted.
        """
        z = z.detach() - self.mean.to(z)
        spectrum = torch.fft.rfft2(z.float())
        least = torch.full_like(z[0], torch.inf, dtype=torch.float32)
        parts = self.spectra.split(IMAGES_AT_ONCE), self.half_square.split(IMAGES_AT_ONCE)
        for spectra, half_square in zip(*parts, strict=True):
            product = (spectrum * spectra).sum(1)
            correlation = torch.fft.irfft2(product, s=z.shape[1:])
            half = half_square[:, None, None] - correlation
            least = torch.minimum(least, half.amin(0))
        unit = torch.finfo(torch.float32).eps / 2
        rounding = (z.numel() + 64) * unit * (z.norm() + self.radius).square().item()
        pairs = len(self.spectra) * least.numel()
        skipped = self.skipped**2 if details else self.skipped
        margin = math.log(pairs / skipped) / precision.item()
        marks = least <= least.min() + margin + 2 * rounding
        if processes() > 1:
            marks = marks.int()
            distributed.all_reduce(marks, distributed.ReduceOp.MAX)
        return marks.bool()

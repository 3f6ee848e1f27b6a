"""What a network learns to solve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..datasets import checksum
from ..operators import Identity, Operator, PreInverse, as_operator


@dataclass(frozen=True)
class Problem:
    """What a network learns to solve: from z = B y, or from y itself, back to x.

    Attributes:
        images: the training images x, (N, C, H, W).
        operator: A.
        preinverse: B; None: the network is given y, which need not be an image.
        noisy_targets: whether networks are to predict z instead of x; see `self_supervised`.

    Example:
        >>> problem = Problem.of(torch.rand(10, 1, 8, 8))
        >>> problem.measured(problem.images, torch.full((10,), 0.1), None).shape
        torch.Size([10, 1, 8, 8])
    """

    images: Tensor
    operator: Operator
    preinverse: PreInverse | None
    noisy_targets: bool = False

    @classmethod
    def self_supervised(cls, images: Tensor) -> Problem:
        r"""Denoising without clean targets: a network is to predict y itself from y.

        For a network that does not see the pixel itself (`PatchMLP` with ``blind``), y[n] is the
        clean x[n] and noise of mean zero, independent of what is seen. So

        .. math:: E |\phi(y)[n] - y[n]|^2 = E |\phi(y)[n] - x[n]|^2 + \sigma^2

        and both losses have the same minimum. Other networks learn to return y.

        Args:
            images: (N, C, H, W), of which only noisy copies are shown, new ones in every batch.

        Raises:
            ValueError: the images are no batch.

        Source:
            Batson and Royer, Noise2Self: blind denoising by self-supervision, ICML 2019.

        Example:
            >>> Problem.self_supervised(torch.rand(2, 1, 8, 8)).description()["targets"]
            'noisy'
        """
        return replace(cls.of(images), noisy_targets=True)

    @classmethod
    def direct(cls, images: Tensor, operator: object) -> Problem:
        """A problem for networks that hold the operator and are given the measurement itself.

        Args:
            images: (N, C, H, W).
            operator: A.

        Raises:
            ValueError: the images are no batch, or the operator does not fit them.

        Example:
            >>> from lemmse.operators import Tomography
            >>> problem = Problem.direct(torch.rand(2, 1, 8, 8), Tomography([0, 90], (8, 8)))
            >>> problem.measured(problem.images, torch.full((2,), 0.1), None).shape
            torch.Size([2, 1, 12, 2])
        """
        _check_batch(images)
        return cls(images, as_operator(operator, tuple(images.shape[1:])), None)

    @classmethod
    def of(
        cls,
        images: Tensor,
        operator: object = None,
        preinverse: object = None,
        regularisation: float = 0.01,
    ) -> Problem:
        """Takes what the estimators take.

        Args:
            images: (N, C, H, W).
            operator: A; None: denoising.
            preinverse: see `lemmse.operators.preinverse`.
            regularisation: lambda of "tikhonov".

        Raises:
            ValueError: the images are no batch, or operator or pre-inverse do not fit them.
        """
        _check_batch(images)
        shape = tuple(images.shape[1:])
        operator = as_operator(Identity() if operator is None else operator, shape)
        return cls(images, operator, operator.preinverse(preinverse, shape, regularisation))

    def measured(self, x: Tensor, sigma: Tensor, generator: torch.Generator | None) -> Tensor:
        """What the network sees: z = B (A x + sigma e), or y = A x + sigma e."""
        return self._seen(self.operator.measure(x, sigma, generator))

    def description(self) -> dict[str, str]:
        """What tells this problem from others, in words: see `response` for the rest.

        Returns:
            A checksum of the images, the names of A and B, and of the targets if they are noisy.
        """
        return {
            "images": checksum(self.images),
            "operator": type(self.operator).__name__,
            "preinverse": "none" if self.preinverse is None else self.preinverse.name,
            **({"targets": "noisy"} if self.noisy_targets else {}),
        }

    def response(self) -> Tensor:
        """B (A x + e) for fixed random x and e: whatever A and B hold, it is in these numbers.

        Returns:
            A tensor on the CPU, the same up to rounding on every machine.

        Example:
            >>> from lemmse.operators import Blur
            >>> x = torch.rand(2, 1, 8, 8)
            >>> kinds = [Problem.of(x, Blur.gaussian(std, (8, 8))) for std in (1.0, 1.1)]
            >>> (kinds[0].response() - kinds[1].response()).abs().max() > 0.01
            tensor(True)
        """
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(2, *self.images.shape[1:], generator=generator)
        y = self.operator.A(x.to(self.images))
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        return self._seen(y + noise.to(y.device)).cpu()

    def clean(self) -> Tensor:
        """B A x, or A x, for all training images."""
        return self._seen(self.operator.A(self.images))

    def _seen(self, y: Tensor) -> Tensor:
        return y if self.preinverse is None else self.preinverse.apply(y)


def _check_batch(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images: expected shape (N, C, H, W), N > 0, got {got}")

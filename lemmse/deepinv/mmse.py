"""MMSE and LE-MMSE as denoisers of deepinv, made as ``deepinv.models.MMSE`` is made."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from deepinv.datasets.base import batch_as_dict
from torch import Tensor
from torch.utils.data import DataLoader

from .. import estimators
from ..operators.checks import describe
from .models import Denoiser


class MMSE(Denoiser):
    r"""The best of all denoisers under the empirical distribution of a data set.

    .. math:: D(y, \sigma) = \sum_k w_k x_k, \qquad w_k \propto e^{-\|y - x_k\|^2 / 2 \sigma^2}

    The same function as ``deepinv.models.MMSE``; see `lemmse.MMSE`.

    Args:
        dataloader: images x as a tensor (N, C, H, W), or a loader of batches of them, alone, first
            in a tuple, or under the key "x".
        device: where the images are kept.
        dtype: as for `lemmse.MMSE`.

    Raises:
        ValueError: as for `lemmse.MMSE`.

    Example:
        >>> x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> bool((MMSE(x)(x[:2], 0.01) - x[:2]).abs().max() < 1e-6)
        True
    """

    def __init__(
        self,
        dataloader: Tensor | DataLoader,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(estimators.MMSE(images_of(dataloader, device), dtype=dtype))


class LEMMSE(Denoiser):
    r"""The best denoiser that applies one and the same function to every P x P patch.

    .. math:: D(y, \sigma)[n] = \sum_{k, n'} w_{k, n'} x_k[n'], \qquad
        w_{k, n'} \propto e^{-\|\Pi_n y - \Pi_{n'} x_k\|^2 / 2 \sigma^2}

    What a convolutional denoiser of receptive field P, trained well on the data set, computes; see
    `lemmse.LEMMSE`.

    Args:
        dataloader, device, dtype: as for `MMSE`.
        patch_size: P, odd.

    Raises:
        ValueError: as for `lemmse.LEMMSE`.

    Source: Nguyen, Do, Pauwels, Weiss, arXiv 2601.10334.

    Example:
        >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> LEMMSE(x, patch_size=3)(x[:2], 0.1).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        dataloader: Tensor | DataLoader,
        patch_size: int = 5,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        images = images_of(dataloader, device)
        super().__init__(estimators.LEMMSE(images, patch_size=patch_size, dtype=dtype))


def images_of(dataloader: Tensor | DataLoader, device: torch.device | str) -> Tensor:
    """Returns all images of a data loader, or a tensor, on a device.

    Raises:
        ValueError: it is no loader, or gives no batches of images of one shape.

    Example:
        >>> images_of(DataLoader(torch.zeros(5, 1, 2, 2), batch_size=2), "cpu").shape
        torch.Size([5, 1, 2, 2])
    """
    if isinstance(dataloader, Tensor):
        return dataloader.to(device)
    wanted = "expected a tensor of images, or a loader of batches of them, all of one shape"
    if not isinstance(dataloader, Iterable) or isinstance(dataloader, str):
        raise ValueError(f"{wanted}, got {describe(dataloader)}")
    try:
        return torch.cat([batch_as_dict(batch)["x"].to(device) for batch in dataloader])
    except Exception as error:  # the loader may be anybody's, and give anything
        raise ValueError(f"{wanted}, got {type(error).__name__}: {error}") from error

"""The loss of a batch: noise levels, crops, weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks import LocalNetwork
from .problem import Problem

SIGMA_MIN = 0.005
"""The smallest noise level trained on."""


def sample_sigma(count: int, generator: torch.Generator, largest: float = 1.0) -> Tensor:
    """Noise levels to train at: half of them uniform, half log-uniform, from 0.005 to the largest.

    Uniform sampling alone, as in [LE], leaves 5 % of the samples to sigma < 0.05, where the formula
    is hardest to learn.

    Args:
        count: how many.
        generator: for them.
        largest: the largest noise level; 1 in [LE].

    Example:
        >>> sample_sigma(4, torch.Generator().manual_seed(0)).shape
        torch.Size([4])
    """
    u, choice = torch.rand(2, count, generator=generator, device=generator.device)
    uniform, log_uniform = largest * (1 - u), largest ** (1 - u) * SIGMA_MIN**u
    return torch.where(choice < 0.5, uniform, log_uniform).clamp_min(SIGMA_MIN)


def random_crops(
    x: Tensor, z: Tensor, crop: int, margin: int, generator: torch.Generator, stride: int = 1
) -> tuple[Tensor, Tensor]:
    """Squares of x at random places, and what a local network has to see of z to estimate them.

    Places are uniform over the torus, so each pixel of x is in a crop with the same probability:
    the mean loss over crops has the expectation, and its gradient the expectation of the gradient,
    of the mean loss over the image. (With a stride: uniform over its multiples.)

    Args:
        x, z: (B, C, H, W).
        crop: side c of the squares.
        margin: m, what is seen around them: (P - 1)/2, less with a stride.
        generator: for the places.
        stride: s; the first row and column of a square are multiples of it.

    Returns:
        (B, C, c, c) of x and (B, C, c + 2 m, c + 2 m) of z, with the same centres.

    Example:
        >>> x = torch.arange(16.0).view(1, 1, 4, 4)
        >>> a, b = random_crops(x, x, 1, 1, torch.Generator().manual_seed(0))
        >>> bool(a[0, 0, 0, 0] == b[0, 0, 1, 1])
        True
    """
    corners = torch.rand(2, len(x), generator=generator, device=x.device)
    size = torch.tensor(x.shape[2:], device=x.device)
    row, column = (corners * size[:, None]).long() // stride * stride
    return torus_window(x, row, column, crop), torus_window(
        z, row - margin, column - margin, crop + 2 * margin
    )


def torus_window(x: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Squares of the torus with these upper left corners, one an image."""
    steps = torch.arange(side, device=x.device)
    rows = (row[:, None] + steps) % x.shape[2]
    columns = (column[:, None] + steps) % x.shape[3]
    which = torch.arange(len(x), device=x.device)[:, None, None]
    return x[which, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def loss(
    network: nn.Module,
    problem: Problem,
    x: Tensor,
    sigma: Tensor,
    crop: int | None,
    generator: torch.Generator,
    precision: str = "float32",
) -> Tensor:
    r"""The loss of one batch, whose expectation LE-MMSE minimises among local networks.

    .. math:: \frac{1}{|\text{pixels}|} \sum_{b, n}
        \frac{|\phi(z_b, \sigma_b)[n] - x_b[n]|^2}{e(\sigma_b)}, \qquad
        z_b = B (A x_b + \sigma_b \epsilon_b)

    with :math:`e(\sigma)` the error of the network's own affine guess (`networks.Skip`), so that
    all noise levels count alike. For one sigma, a constant weight does not move the minimum.
    Where the targets are the noisy images themselves, z stands for x, and e + sigma^2 for e.

    Args:
        network: a local network; any other network(z, sigma) has e = 1 and crop None.
        problem: what is to be solved.
        x: images, (B, C, H, W).
        sigma: their noise levels, (B,).
        crop: see `Settings`.
        generator: for noise and crops.
        precision: of the products inside the network, see `Settings`. What it is shown is exact.
    """
    z = problem.measured(x, sigma, generator)
    target = z if problem.noisy_targets else x
    if crop is not None:
        target, z = random_crops(target, z, crop, network.margin, generator, network.stride)
    with torch.autocast(z.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        output = network(z, sigma) if crop is None else network.valid(z, sigma)
    weight = 1.0
    if isinstance(network, LocalNetwork):
        error = network.skip.error(sigma)
        error = error + sigma.square() if problem.noisy_targets else error
        weight = 1 / error[:, None, None, None]
    return ((output.float() - target).square() * weight).mean()

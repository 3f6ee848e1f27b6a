"""Exercises of chapter 12: training towards a known function."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _coverage(height, width, crop):
    """Counts, over all corners at which the crop fits, how often it holds each pixel."""
    counts = torch.zeros(height, width, dtype=torch.float64)
    corners = [(r, s) for r in range(height - crop + 1) for s in range(width - crop + 1)]
    for row, column in corners:
        counts[row : row + crop, column : column + crop] += 1
    return counts / len(corners)


def _without_last_corner(height, width, crop):
    counts = torch.zeros(height, width)
    for row in range(height - crop):
        for column in range(width - crop):
            counts[row : row + crop, column : column + crop] += 1
    return counts / ((height - crop) * (width - crop))


def _touched(height, width, crop):
    """As if a crop held only the pixel at its corner."""
    chance = torch.zeros(height, width)
    chance[: height - crop + 1, : width - crop + 1] = 1
    return chance / chance.sum()


HOLDS = "returns probabilities that add up to the number of pixels in a crop"
TURNS = "treats the first and the last row alike"


@exercise(
    "12.1",
    "how often a crop that does not wrap holds each pixel",
    reference=_coverage,
    hint="count the corners at which the crop holds the pixel, and divide by the number of corners "
    "at which it fits; pixels near the border are in fewer crops",
    properties=[
        Property(
            HOLDS,
            lambda case: close(case.result.sum(), float(case["crop"] ** 2)),
            "a crop always holds crop * crop pixels",
        ),
        Property(
            TURNS,
            lambda case: close(case.result[0], case.result[-1]),
            "the corner runs from 0 to height - crop, both included",
        ),
    ],
    wrong=[
        (
            lambda height, width, crop: (
                torch.ones(height, width) * crop**2 / ((height - crop + 1) * (width - crop + 1))
            ),
            HOLDS,
        ),
        (_touched, HOLDS),
        (_without_last_corner, TURNS),
        (
            lambda height, width, crop: torch.full((height, width), crop**2 / (height * width)),
            AGREES,
        ),
        (lambda height, width, crop: _coverage(width, height, crop), KIND),
    ],
)
def _(generator):
    height = torch.randint(7, 9, (1,), generator=generator).item()
    crop = torch.randint(2, 4, (1,), generator=generator).item()
    return {"height": height, "width": height - 2, "crop": crop}


def _shares(decays):
    """Runs the recursion on the unit vectors."""
    mean = torch.zeros(len(decays) + 1, dtype=decays.dtype)
    mean[0] = 1
    for i, decay in enumerate(decays, start=1):
        mean = decay * mean
        mean[i] += 1 - decay
    return mean


def _without_first(decays):
    shares = _shares(decays)
    shares[0] = 0
    return shares


def _own_decay_too(decays):
    enters = torch.cat([torch.ones(1), 1 - decays])
    later = torch.cat([torch.ones(1), decays]).flip(0).cumprod(0).flip(0)
    return enters * later


ONE = "returns shares that add up to 1"
LAST = "gives the last weights the share 1 - d_m"


@exercise(
    "12.2",
    "shares of the weights in their running mean",
    reference=_shares,
    hint="theta_i enters with 1 - d_i (theta_0 with 1) and is multiplied by d_{i+1}, ..., d_m",
    properties=[
        Property(
            ONE,
            lambda case: close(case.result.sum(), 1.0),
            "a mean of equal weights is that weight; the initial weights have a share as well",
        ),
        Property(
            LAST,
            lambda case: close(case.result[-1], 1 - case["decays"][-1]),
            "the last weights are not multiplied by any decay",
        ),
    ],
    wrong=[
        (_without_first, ONE),
        (_own_decay_too, ONE),
        (lambda decays: _shares(decays)[1:], KIND),
        (lambda decays: _shares(decays).flip(0), LAST),
        (lambda decays: _shares(decays.mean().expand_as(decays)), LAST),
    ],
)
def _(generator):
    return {"decays": 0.3 + 0.6 * torch.rand(4, generator=generator)}

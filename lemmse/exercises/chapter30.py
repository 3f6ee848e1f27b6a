"""Exercises of chapter 30: sampling images."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _step(x, estimate, sigma, following, eta, e):
    ratio = following / sigma
    fresh = eta * following * math.sqrt(1 - ratio**2)
    return estimate + ratio * math.sqrt(1 - eta**2 * (1 - ratio**2)) * (x - estimate) + fresh * e


def _fresh(sigma, following, eta):
    return eta * following * (1 - following**2 / sigma**2) ** 0.5


def _total_noise(case):
    """The noise level after the step, if x - estimate is noise of level sigma."""
    zero = torch.zeros_like(case["x"])
    base = case.call(x=zero, estimate=zero, e=zero)
    kept = case.call(x=zero + case["sigma"], estimate=zero, e=zero) - base
    fresh = case.call(x=zero, estimate=zero, e=zero + 1) - base
    return (kept.square() + fresh.square()).sqrt()


_LAST = "returns the estimate when the next level is 0"
_FIXED = "leaves an image alone that equals its estimate, when no noise is added"
_QUIET = "ignores e when eta is 0"
_LEVEL = "leaves noise of the next level, old and fresh noise together"


@exercise(
    "30.1",
    "a sampling step with fresh noise",
    reference=_step,
    hint="b = eta sigma' sqrt(1 - sigma'^2 / sigma^2), then a from a^2 sigma^2 + b^2 = sigma'^2",
    properties=[
        Property(
            _LAST,
            lambda case: close(case.call(following=0.0), case["estimate"]),
            "nothing of x - estimate is kept and no noise is added: both are multiplied by "
            "something that vanishes with the next level",
        ),
        Property(
            _FIXED,
            lambda case: close(
                case.call(x=case["estimate"], eta=0.0, e=0 * case["e"]), case["estimate"]
            ),
            "only the difference x - estimate shrinks; the estimate is kept as it is",
        ),
        Property(
            _QUIET,
            lambda case: close(
                case.call(eta=0.0, e=case["e"] + 1), case.call(eta=0.0, e=case["e"])
            ),
            "the factor of e is proportional to eta",
        ),
        Property(
            _LEVEL,
            lambda case: close(
                _total_noise(case), torch.full_like(case["x"], case["following"]), tolerance=1e-4
            ),
            "independent noises add by their squares: a^2 sigma^2 + b^2 = sigma'^2",
        ),
    ],
    wrong=[
        (
            lambda x, estimate, sigma, following, eta, e: (
                estimate + 0.5 * (x - estimate) + _fresh(sigma, following, eta) * e
            ),
            _LAST,
        ),
        (
            lambda x, estimate, sigma, following, eta, e: (
                estimate + following / sigma * x + _fresh(sigma, following, eta) * e
            ),
            _FIXED,
        ),
        (
            lambda x, estimate, sigma, following, eta, e: (
                estimate + following / sigma * (x - estimate) + _fresh(sigma, following, 1.0) * e
            ),
            _QUIET,
        ),
        (
            lambda x, estimate, sigma, following, eta, e: (
                estimate + following / sigma * (x - estimate) + _fresh(sigma, following, eta) * e
            ),
            _LEVEL,
        ),
        (
            lambda x, estimate, sigma, following, eta, e: (
                estimate
                + following / sigma * (1 - eta**2) ** 0.5 * (x - estimate)
                + following * eta * e
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    x, estimate, e = torch.randn(3, 2, 2, generator=generator)
    level, part, eta = (0.2 + 0.6 * torch.rand(3, generator=generator)).tolist()
    return {
        "x": x,
        "estimate": estimate,
        "sigma": level,
        "following": part * level,
        "eta": eta,
        "e": e,
    }


def _nearest(v, images):
    count, height, width = images.shape
    reach = len(v) // 2
    best = (math.inf, None)
    for k in range(count):
        for row in range(height):
            for column in range(width):
                rows = [(row + i) % height for i in range(-reach, reach + 1)]
                columns = [(column + i) % width for i in range(-reach, reach + 1)]
                difference = images[k][rows][:, columns] - v
                best = min(best, (float(difference.square().mean().sqrt()), (k, row, column)))
    return best


def _rolled(v, images, start=None, scale=lambda squares, size: (squares / size).sqrt()):
    """The same by shifting the images, with the mistakes that readers make."""
    size = len(v)
    start = size // 2 if start is None else start
    squares = torch.zeros_like(images)
    for i in range(size):
        for j in range(size):
            squares += (images.roll((start - i, start - j), (1, 2)) - v[i, j]).square()
    best = int(squares.argmin())
    _, height, width = images.shape
    place = best // (height * width), best // width % height, best % width
    return float(scale(squares.flatten()[best], size**2)), place


def _without_wrap(v, images):
    reach = len(v) // 2
    inner = images.unfold(1, len(v), 1).unfold(2, len(v), 1)
    differences = (inner - v).square().mean((3, 4)).sqrt()
    best = int(differences.argmin())
    _, height, width = differences.shape
    place = best // (height * width), best // width % height + reach, best % width + reach
    return float(differences.flatten()[best]), place


def _cut(images, k, row, column, size):
    reach = size // 2
    moved = images[k].roll((reach - row, reach - column), (0, 1))
    return moved[:size, :size].clone()


_OWN = "finds a patch that was cut out of an image, and its centre"
_WRAP = "finds a patch that crosses the border of an image"
_DOUBLE = "returns twice the distance when all values are doubled"


def _finds(case, k, row, column):
    v = _cut(case["images"], k, row, column, len(case["v"]))
    distance, place = case.call(v=v)
    return close(distance, 0.0, tolerance=1e-3) and tuple(map(int, place)) == (k, row, column)


@exercise(
    "30.2",
    "the nearest training patch",
    reference=_nearest,
    hint="all patches of all images at all centres, circular; the root of the mean of the squared "
    "differences, then the smallest",
    properties=[
        Property(
            _OWN,
            lambda case: _finds(case, 1, 2, 3),
            "its distance is 0, and the place is (image, row, column) of the pixel in its middle",
        ),
        Property(
            _WRAP,
            lambda case: _finds(case, 0, 0, case["images"].shape[2] - 1),
            "boundaries are circular: beyond the last column comes the first one",
        ),
        Property(
            _DOUBLE,
            lambda case: close(
                case.call(v=2 * case["v"], images=2 * case["images"])[0],
                2 * case.result[0],
                tolerance=1e-4,
            ),
            "take the root of the mean squared difference",
        ),
    ],
    wrong=[
        (lambda v, images: _rolled(v, images, start=0), _OWN),
        (lambda v, images: (_nearest(v, images)[0], _nearest(v, images)[1][::-1]), _OWN),
        (_without_wrap, _WRAP),
        (lambda v, images: _rolled(v, images, scale=lambda squares, size: squares / size), _DOUBLE),
        (lambda v, images: _rolled(v, images, scale=lambda squares, size: squares.sqrt()), AGREES),
    ],
    tolerance=1e-4,
)
def _(generator):
    images = torch.rand(2, 4, 5, generator=generator)
    v = _cut(images, 0, 1, 2, 3) + 0.1 * torch.randn(3, 3, generator=generator)
    return {"v": v, "images": images}

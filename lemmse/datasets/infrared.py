"""Synthetic infrared scenes: temperature maps with warm bodies whose outlines are known.

Nothing here was measured. A scene is drawn from a seed, pixel by pixel in kelvin:

- background: one level from 282 to 290 K, a gradient of at most 2 K from the centre to the border
  on each axis, a smooth warm or cool spot (up to 1.5 K), a straight edge such as a wall (a step up
  to 3 K) and a cool rectangle such as a window (1 to 4 K colder than what is round it);
- one to four warm bodies, each in front of those before: ellipses, rectangles, or bent limbs. The
  hottest end of a body is 3 to 23 K warmer than the warmest background that it covers, its other
  end up to 30 % of that cooler. Half their length is 1 to 6 pixels, small ones being more frequent.

A value is the mean temperature over the square footprint of one detector element. The camera adds
the blur of its optics, a Gaussian of standard deviation `OPTICS` pixels, and the noise of its
sensor, white and Gaussian, of standard deviation `NETD` (noise-equivalent temperature difference):

>>> from lemmse import datasets
>>> x = datasets.load("infrared", "test", n=2)
>>> y = camera().measure(x, SIGMA)

Images are linear in temperature, 0 for `COLDEST` and 1 for `HOTTEST`, so that `SIGMA`, the noise
in the unit of the images, is `NETD / (HOTTEST - COLDEST)`. What is left out: emissivity and
reflections, the air between, the curvature of Planck's law, fixed-pattern noise and drift of the
sensor, and light from outside the frame (the blur wraps round, as everywhere in this package).
"""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..operators import Blur
from ..operators.checks import REAL, check_tensor

SIZE = 32  # pixels a side
COUNTS = {"train": 10_000, "test": 2_000}
SEEDS = {"train": 23_001, "test": 23_002}
COLDEST, HOTTEST = 270.0, 320.0  # kelvin, the temperatures of the values 0 and 1
OPTICS = 1.2  # standard deviation of the blur, pixels
NETD = 0.5  # standard deviation of the sensor's noise, kelvin
SIGMA = NETD / (HOTTEST - COLDEST)
SHAPES = ("ellipse", "rectangle", "limb")
BODIES = 4  # at most, in a scene
WINDOW, STRIDE, QUANTILE = 20, 4, 0.4  # of the surroundings from which a contrast is taken
CHUNK = 128  # scenes drawn at once, to stay in the processor's cache
BACKGROUND_DRAWS, BODY_DRAWS = 19, 11  # random numbers a scene, and a body, takes


@dataclass(frozen=True)
class Scenes:
    """Synthetic temperature maps and what is in them.

    Attributes:
        kelvin: (N, 1, H, W) float32, temperatures.
        labels: (N, 1, H, W) uint8, 0 for background, 1, 2, ... for the body whose outline holds the
            pixel's centre (the front one of several; a body that others hide has no pixel).
    """

    kelvin: Tensor
    labels: Tensor

    @property
    def masks(self) -> Tensor:
        """(N, 1, H, W) bool, where a warm body is."""
        return self.labels > 0


def scenes(split: str = "train", n: int | None = None, size: int = SIZE) -> Scenes:
    """Draw the first n scenes of a split.

    Only sums, products, quotients and square roots are taken, which every processor rounds alike:
    the scenes are the same on every machine.

    Args:
        split: "train" or "test", which have different seeds.
        n: how many, at most 10,000 of "train" and 2,000 of "test"; None: all.
        size: pixels a side, the same scenes seen by a finer or coarser detector. (A body may get
            a slightly different temperature, for it depends on the pixels that the body covers.)

    Raises:
        ValueError: unknown split; n or size not a positive integer, or n too large.

    Example:
        >>> found = scenes("test", n=3)
        >>> found.kelvin.shape, found.masks.dtype
        (torch.Size([3, 1, 32, 32]), torch.bool)
    """
    if split not in COUNTS:
        raise ValueError(f"split: expected one of {', '.join(COUNTS)}, got {split!r}")
    n = COUNTS[split] if n is None else n
    for name, value, most in (("n", n, COUNTS[split]), ("size", size, 1024)):
        if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= most:
            raise ValueError(f"{name}: expected an integer from 1 to {most}, got {value!r}")
    source = np.random.RandomState(SEEDS[split])  # a stream that numpy has frozen
    draws = source.random_sample((n, BACKGROUND_DRAWS + BODIES * BODY_DRAWS))
    parts = [_draw(draws[start : start + CHUNK], size) for start in range(0, n, CHUNK)]
    kelvin, labels = (np.concatenate(part)[:, None] for part in zip(*parts, strict=True))
    return Scenes(torch.from_numpy(kelvin.astype(np.float32)), torch.from_numpy(labels))


def to_kelvin(images: Tensor) -> Tensor:
    """Temperatures of images in [0, 1]: ``270 K + 50 K x``.

    Example:
        >>> to_kelvin(torch.tensor([0.0, 0.5, 1.0]))
        tensor([270., 295., 320.])
    """
    return COLDEST + (HOTTEST - COLDEST) * images


def from_kelvin(kelvin: Tensor) -> Tensor:
    """Images of temperatures, the inverse of `to_kelvin`; 270 to 320 K become [0, 1].

    Example:
        >>> from_kelvin(torch.tensor([270.0, 295.0, 320.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return (kelvin - COLDEST) / (HOTTEST - COLDEST)


def camera(size: int = SIZE) -> Blur:
    """The optics: a Gaussian blur of `OPTICS` pixels; ``camera().measure(x, SIGMA)`` adds noise.

    Args:
        size: pixels a side.

    Example:
        >>> camera().measure(torch.zeros(1, 1, 32, 32), SIGMA).shape
        torch.Size([1, 1, 32, 32])
    """
    return Blur.gaussian(OPTICS, (size, size))


def contrast(kelvin: Tensor) -> Tensor:
    """By how much every pixel is warmer than its surroundings.

    What is subtracted is the 40 % quantile of the `WINDOW` x `WINDOW` pixels around, computed at
    every fourth pixel and interpolated; beyond the border the picture is reflected.

    Args:
        kelvin: (N, 1, H, W), temperatures; H and W multiples of 4, at least 12.

    Returns:
        (N, 1, H, W), in kelvin.

    Raises:
        ValueError: no real tensor of that shape, or NaN or infinity.

    Example:
        >>> contrast(torch.full((1, 1, 32, 32), 285.0)).abs().max()
        tensor(0.)
    """
    check_tensor(kelvin, "kelvin", REAL, ("N", 1, "H", "W"))
    height, width = kelvin.shape[2:]
    if height % STRIDE or width % STRIDE or min(height, width) < 12:
        raise ValueError(
            f"kelvin: expected sides that are multiples of {STRIDE}, at least 12, got "
            f"{height} x {width}"
        )
    margin = (WINDOW - STRIDE) // 2
    padded = functional.pad(kelvin, (margin,) * 4, mode="reflect")
    windows = functional.unfold(padded, WINDOW, stride=STRIDE)
    quantile = windows.kthvalue(int(QUANTILE * WINDOW**2), 1).values
    coarse = quantile.view(-1, 1, height // STRIDE, width // STRIDE)
    return kelvin - functional.interpolate(coarse, scale_factor=STRIDE, mode="bilinear")


class Infrared:
    """Synthetic temperature maps of warm bodies: 10,000 train, 2,000 test, 32 x 32.

    See :mod:`lemmse.datasets.infrared`.
    """

    name = "infrared"
    title = "Infrared (synthetic)"
    licence = "MIT, as the package that draws them"
    source = "synthetic: drawn by lemmse.datasets.infrared, not measured"

    def count(self, split: str) -> int:
        """How many images a split has."""
        return COUNTS[split]

    def path(self, split: str) -> Path:
        """The program that draws the scenes, the same for both splits."""
        return Path(__file__)

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n scenes: (n, 1, 32, 32) float32 in [0, 1]."""
        return from_kelvin(scenes(split, n).kelvin).numpy()


class _Grid:
    """Pixel centres in a frame of 32 x 32 units, and the side of a pixel in these units."""

    def __init__(self, size: int):
        self.pixel = SIZE / size
        centres = (np.arange(size) + 0.5) * self.pixel - SIZE / 2
        self.x, self.y = centres[None, None, :], centres[None, :, None]

    def coverage(self, distance: np.ndarray) -> np.ndarray:
        """Share of a pixel inside an outline at a signed distance, negative inside."""
        return np.clip(0.5 - distance / self.pixel, 0.0, 1.0)


def _draw(draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Temperatures and labels, (n, size, size), of rows of uniform random numbers."""
    grid = _Grid(size)
    background = _background(draws[:, :BACKGROUND_DRAWS], grid)
    kelvin = background.copy()
    labels = np.zeros(kelvin.shape, np.uint8)
    wanted = 1 + (BODIES * draws[:, 0]).astype(int)
    for number in range(BODIES):
        start = BACKGROUND_DRAWS + number * BODY_DRAWS
        distance, along, contrast, drop = _body(draws[:, start : start + BODY_DRAWS], grid)
        share = grid.coverage(distance)
        share[number >= wanted] = 0
        behind = np.where(share > 0, background, 0.0).max((1, 2), keepdims=True)
        body = behind + contrast * (1 - drop * (1 + np.clip(along, -1, 1)) / 2)
        kelvin = np.where(share > 0, kelvin + share * (body - kelvin), kelvin)
        labels[share >= 0.5] = number + 1
    return kelvin, labels


def _background(draws: np.ndarray, grid: _Grid) -> np.ndarray:
    u = iter(draws.T[:, :, None, None])
    next(u)  # the number of bodies
    kelvin = _between(next(u), 282, 290)
    kelvin = kelvin + _between(next(u), -2, 2) / 16 * grid.x
    kelvin = kelvin + _between(next(u), -2, 2) / 16 * grid.y
    x, y = grid.x - _between(next(u), -16, 16), grid.y - _between(next(u), -16, 16)
    width = _between(next(u), 4, 12)
    fall = 1 + (x * x + y * y) / (width * width)
    kelvin = kelvin + _between(next(u), -1.5, 1.5) / (fall * fall)
    across, _ = _turned(grid, *(_between(next(u), -10, 10) for _ in range(2)), next(u))
    kelvin = kelvin + _between(next(u), -3, 3) * grid.coverage(across)
    centre = [_between(next(u), -14, 14) for _ in range(2)]
    half = [_between(next(u), 2, 6) for _ in range(2)]
    along, across = _turned(grid, *centre, next(u))
    window = grid.coverage(_to_rectangle(along, across, *half))
    return kelvin - np.where(next(u) < 0.5, 1.0, 0.0) * _between(next(u), 1, 4) * window


def _body(draws: np.ndarray, grid: _Grid) -> tuple[np.ndarray, ...]:
    """Signed distance, place along the body in [-1, 1], contrast in kelvin, share that it drops."""
    u = iter(draws.T[:, :, None, None])
    kind = (len(SHAPES) * next(u)).astype(int)
    x, y, turn = _between(next(u), -13, 13), _between(next(u), -13, 13), next(u)
    draw = next(u)
    length = 1 + 5 * draw * draw
    width = np.maximum(0.9, length * _between(next(u), 0.4, 1))
    bend, side = _between(next(u), 0, 1), next(u)
    draw = next(u)
    contrast, drop = 3 + 20 * draw * draw, _between(next(u), 0, 0.3)
    along, across = _turned(grid, x, y, turn)
    distance = np.choose(
        kind,
        [
            _to_ellipse(along, across, length, width),
            _to_rectangle(along, across, length, width),
            _to_limb(along, across, length, np.maximum(0.8, 0.3 * length), bend, side),
        ],
    )
    return distance, along / length, contrast, drop


def _between(u: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * u


def _turned(grid: _Grid, x, y, turn) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates about (x, y) on axes turned by an angle, from -90 to 90 degrees.

    With ``t = 2 turn - 1`` the axis is ``(1 - t^2, 2 t) / (1 + t^2)``: no sine, no cosine.
    """
    t = 2 * turn - 1
    norm = 1 + t * t
    cosine, sine = (1 - t * t) / norm, 2 * t / norm
    dx, dy = grid.x - x, grid.y - y
    return cosine * dx + sine * dy, cosine * dy - sine * dx


def _to_ellipse(along, across, length, width) -> np.ndarray:
    """Signed distance to an ellipse, to first order: (q - 1) / |grad q| with q = 1 on it."""
    p, r = along / length, across / width
    q = np.sqrt(p * p + r * r)
    slope = np.sqrt((p / length) * (p / length) + (r / width) * (r / width))
    return (q - 1) * q / np.maximum(slope, 1e-9)


def _to_rectangle(along, across, length, width) -> np.ndarray:
    return np.maximum(np.abs(along) - length, np.abs(across) - width)


def _to_limb(along, across, length, radius, bend, side) -> np.ndarray:
    """Signed distance to two stretches that meet at the origin, `radius` thick to each side.

    One runs to -length on the axis; the other, as long, is turned by up to 90 degrees.
    """
    bend = np.where(side < 0.5, bend, -bend)
    norm = 1 + bend * bend
    cosine, sine = (1 - bend * bend) / norm, 2 * bend / norm
    first = _to_stretch(-along, across, length)
    second = _to_stretch(cosine * along + sine * across, cosine * across - sine * along, length)
    return np.minimum(first, second) - radius


def _to_stretch(along, across, length) -> np.ndarray:
    beyond = along - np.clip(along, 0, length)
    return np.sqrt(beyond * beyond + across * across)

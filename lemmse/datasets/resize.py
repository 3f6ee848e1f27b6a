"""Squares of a photograph scaled to one size, in integer arithmetic of our own.

Libraries change the order of their passes or their rounding from version to version, which moves
pixels by some grey levels. What is built in must not depend on that.
"""

from __future__ import annotations

import numpy as np

BITS = 22  # of a weight's fraction: times 255, a sum of weights fits into 32 bits
REACH = 2.0  # pixels of the scaled image on each side that the bicubic filter sees
TALL = 2  # height over width from which on columns are scaled before rows


def squares_scaled(image: np.ndarray, squares: np.ndarray, size: int) -> np.ndarray:
    """Cuts squares out of an image and scales them with an antialiased bicubic filter.

    Rows are scaled first, then columns; the other way round in an image more than twice as high as
    wide. In between, and at the end, values are rounded to integers from 0 to 255.

    Args:
        image: (H, W, C) uint8.
        squares: (n, 3), left edge, upper edge and side of each square, in pixels.
        size: pixels a side of the result.

    Returns:
        (n, C, size, size) uint8, the same on every machine.

    Source:
        Keys, Cubic convolution interpolation for digital image processing, IEEE Transactions on
        Acoustics, Speech, and Signal Processing 29(6), 1981, with a = -1/2. The conventions are
        those of Pillow 13, whose results these are bit by bit.

    Example:
        >>> image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
        >>> squares_scaled(image, np.array([[0.0, 0.0, 16.0]]), 2)[0, 0]
        array([[ 66,  73],
               [182, 189]], dtype=uint8)
    """
    height, width = image.shape[:2]
    # In float64 sums of these integers are exact, in whatever order they are taken.
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float64)
    x, y, side = squares.T
    columns = zip(*weights(x, x + side, width, size), strict=True)
    rows = zip(*weights(y, y + side, height, size), strict=True)
    result = np.empty((len(squares), len(planes), size, size), np.uint8)
    for k, ((left, across), (top, down)) in enumerate(zip(columns, rows, strict=True)):
        part = planes[:, top : top + down.shape[1], left : left + across.shape[1]]
        down, across = down[:, : part.shape[1]], across[:, : part.shape[2]].T
        if height > TALL * width:
            result[k] = rounded(rounded(down @ part) @ across)
        else:
            result[k] = rounded(down @ rounded(part @ across))
    return result


def weights(
    start: np.ndarray, end: np.ndarray, length: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """What each pixel of a scaled interval takes from the pixels of a line.

    Args:
        start, end: (n,), the intervals in pixels; taken in float32.
        length: pixels of the line.
        size: pixels of the scaled interval.

    Returns:
        The first pixel of each interval that counts, (n,), and the weights of it and those after
        it, (n, size, m), integers that stand for multiples of 2**-22; zeros at the end.
    """
    start, end = start.astype(np.float32), end.astype(np.float32)
    scale = (end - start).astype(np.float64)[:, None] / size
    stretch = np.maximum(scale, 1.0)
    centre = start.astype(np.float64)[:, None] + (np.arange(size) + 0.5) * scale
    first = np.maximum((centre - REACH * stretch + 0.5).astype(int), 0)
    count = np.minimum((centre + REACH * stretch + 0.5).astype(int), length) - first
    taps = np.arange(count.max())
    position = (taps + first[..., None] - centre[..., None] + 0.5) * (1 / stretch)[..., None]
    weight = np.where(taps < count[..., None], bicubic(np.abs(position)), 0.0)
    total = np.zeros(centre.shape)
    for tap in taps:  # one after the other, because the order shows in the last bit
        total += weight[..., tap]
    weight /= total[..., None]
    whole = np.trunc(weight * 2.0**BITS + np.where(weight < 0, -0.5, 0.5))
    reach = int((first - first[:, :1] + len(taps)).max())
    dense = np.zeros((*centre.shape, reach))
    np.put_along_axis(dense, (first - first[:, :1])[..., None] + taps, whole, axis=2)
    return first[:, 0], dense


def bicubic(distance: np.ndarray) -> np.ndarray:
    """The cubic kernel of Keys with a = -1/2, at distances of at least 0."""
    d = distance
    near = (1.5 * d - 2.5) * d * d + 1
    far = (((d - 5) * d + 8) * d - 4) * -0.5
    return np.where(d < 1, near, np.where(d < REACH, far, 0.0))


def rounded(sums: np.ndarray) -> np.ndarray:
    """Sums of pixels times weights as integers from 0 to 255."""
    return np.clip(np.floor(sums * 2.0**-BITS + 0.5), 0, 255)

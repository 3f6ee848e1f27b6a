"""Scaling in integers: against exact fractions, against Pillow, and at its edges."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from lemmse.datasets.resize import BITS, squares_scaled, weights


def keys_cubic(d):
    """The kernel, in fractions."""
    d = abs(d)
    if d < 1:
        return Fraction(3, 2) * d**3 - Fraction(5, 2) * d**2 + 1
    return -(d**3) / 2 + Fraction(5, 2) * d**2 - 4 * d + 2 if d < 2 else Fraction(0)


def exact_line(values, start, end, size):
    """One line scaled in fractions, without any rounding."""
    start, end = Fraction(float(np.float32(start))), Fraction(float(np.float32(end)))
    scale = (end - start) / size
    stretch = max(scale, Fraction(1))
    result = []
    for i in range(size):
        centre = start + (i + Fraction(1, 2)) * scale
        first = max(0, int(centre - 2 * stretch + Fraction(1, 2)))
        last = min(len(values), int(centre + 2 * stretch + Fraction(1, 2)))
        w = [keys_cubic((x - centre + Fraction(1, 2)) / stretch) for x in range(first, last)]
        result.append(sum(a * int(b) for a, b in zip(w, values[first:last], strict=True)) / sum(w))
    return result


@pytest.mark.parametrize(
    ("start", "end"), [(0.0, 40.0), (3.2, 21.7), (30.1, 40.0), (0.0, 5.0), (11.5, 12.5)]
)
def test_a_line_is_scaled_as_by_exact_fractions(start, end):
    line = np.random.default_rng(0).integers(0, 256, 40)
    first, dense = weights(np.array([start]), np.array([end]), 40, 8)
    reach = min(dense.shape[2], 40 - first[0])
    ours = dense[0][:, :reach] @ line[first[0] : first[0] + reach] / 2.0**BITS
    exact = np.array([float(v) for v in exact_line(line, start, end, 8)])
    assert np.abs(ours - exact).max() < 255 * 20 * 2.0 ** -(BITS + 1)
    np.testing.assert_allclose(dense.sum(2) / 2.0**BITS, 1, atol=20 * 2.0**-BITS)


@pytest.mark.parametrize("size", [(50, 70), (60, 40)])
def test_squares_are_those_of_pillow_to_one_grey_level(size):
    """Its versions differ in images more than twice as high as wide, which are not tried here."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    side = rng.uniform(8, 40, 20)
    places = [rng.uniform(0, length - side) for length in (size[1], size[0])]
    squares = np.stack([*places, side], 1)
    ours = squares_scaled(image, squares, 16)
    for (x, y, s), scaled in zip(squares, ours, strict=True):
        box = (x, y, x + s, y + s)
        theirs = Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC, box=box)
        difference = np.abs(np.asarray(theirs).transpose(2, 0, 1).astype(int) - scaled)
        assert difference.max() <= 1


def test_columns_come_first_in_tall_images():
    tall = np.random.default_rng(4).integers(0, 256, (90, 40, 3), np.uint8)
    squares = np.array([[0.0, 0.0, 40.0], [20.3, 47.1, 15.0]])
    turned = squares_scaled(tall.transpose(1, 0, 2), squares[:, [1, 0, 2]], 16)
    assert np.array_equal(squares_scaled(tall, squares, 16), turned.transpose(0, 1, 3, 2))


def test_flat_images_stay_flat_and_squares_of_the_size_stay_as_they_are():
    flat = np.full((20, 30, 1), 131, np.uint8)
    assert (squares_scaled(flat, np.array([[1.3, 2.4, 15.5]]), 8) == 131).all()
    image = np.random.default_rng(2).integers(0, 256, (20, 30, 2), np.uint8)
    same = squares_scaled(image, np.array([[3.0, 5.0, 8.0], [22.0, 12.0, 8.0]]), 8)
    assert np.array_equal(same[0], image[5:13, 3:11].transpose(2, 0, 1))
    assert np.array_equal(same[1], image[12:20, 22:30].transpose(2, 0, 1))


def test_a_square_does_not_depend_on_those_beside_it():
    image = np.random.default_rng(3).integers(0, 256, (50, 60, 3), np.uint8)
    squares = np.array([[0.0, 0.0, 50.0], [20.3, 7.1, 11.0], [9.9, 0.4, 33.3]])
    together = squares_scaled(image, squares, 16)
    for k, square in enumerate(squares):
        assert np.array_equal(squares_scaled(image, square[None], 16)[0], together[k])

"""The border-aware denoiser of Kamb and Ganguli (arXiv 2412.20292) is LE-MMSE with zero padding.

Written from their description, in float64: a network that pads with zeros can tell how far a pixel
is from each edge, as far as its patch reaches beyond it. So a pixel is denoised with what lies in
the image of its patch, compared with the patches of those training pixels that are cut off by the
edges in the same way; all others, of an edge, a corner or the interior, have no say.
"""

import pytest
import torch

import lemmse


def cut_off(place, side, reach):
    """How much of a patch is missing before and after, along one axis."""
    return max(0, reach - place), max(0, place + reach - side + 1)


def border_aware(images, y, sigma, patch_size):
    images, y = images.double(), y.double()
    height, width = y.shape
    reach = patch_size // 2
    estimate = torch.empty_like(y)
    for r in range(height):
        for c in range(width):
            kind = cut_off(r, height, reach), cut_off(c, width, reach)
            (top, bottom), (left, right) = kind

            def window(image, row, column, top=top, bottom=bottom, left=left, right=right):
                rows = slice(row - reach + top, row + reach + 1 - bottom)
                return image[..., rows, column - reach + left : column + reach + 1 - right]

            squares, values = [], []
            for row in range(height):
                for column in range(width):
                    if (cut_off(row, height, reach), cut_off(column, width, reach)) != kind:
                        continue
                    difference = window(images, row, column) - window(y, r, c)
                    squares.append(difference.square().sum((-2, -1)))
                    values.append(images[:, row, column])
            weights = torch.softmax(-torch.cat(squares) / (2 * sigma**2), 0)
            estimate[r, c] = weights @ torch.cat(values)
    return estimate


@pytest.mark.parametrize("patch_size", [3, 5])
def test_zero_padding_contains_the_border_aware_denoiser(patch_size):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 6, 7, generator=generator)
    estimate = lemmse.LEMMSE(images, patch_size=patch_size, padding="zeros")
    for sigma in (0.05, 0.3):
        y = images[:1] + sigma * torch.randn(1, 1, 6, 7, generator=generator)
        wanted = border_aware(images[:, 0], y[0, 0], sigma, patch_size)
        assert (estimate(y, sigma)[0, 0] - wanted).abs().max() <= 1e-5

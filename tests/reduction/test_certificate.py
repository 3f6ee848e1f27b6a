"""What the index skips is what it may skip, at any scale of the images and of sigma."""

import math

import pytest
import torch

import lemmse
from lemmse.estimators import local
from lemmse.reduction import index


@pytest.fixture(autouse=True)
def _always_indexed(monkeypatch):
    monkeypatch.setattr(local, "LEAST_INDEXED", 0)
    monkeypatch.setattr(index, "BLOCK", 16)


def photos(count, split="train"):
    return lemmse.datasets.load("photos-grey", split=split, n=count)[:, :, 8:20, 4:16].clone()


def assert_equal_to_exact(images, y, sigma, patch_size, scale):
    pruned = lemmse.LEMMSE(images, patch_size=patch_size)(y, sigma)
    exact = lemmse.LEMMSE(images, patch_size=patch_size, exact=True)(y, sigma)
    assert pruned.isfinite().all()
    torch.testing.assert_close(pruned, exact, rtol=0, atol=4e-6 * scale)


@pytest.mark.parametrize("sigma", [1e-5, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize("patch_size", [1, 5])
def test_constant_images(sigma, patch_size):
    images = torch.full((16, 1, 12, 12), 0.5)
    assert_equal_to_exact(images, photos(1, "test"), sigma, patch_size, 1)


@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0])
@pytest.mark.parametrize("sigma", [1e-5, 1e-4, 1e-3, 1e-2, 0.3])
@pytest.mark.parametrize("patch_size", [1, 3])
def test_images_of_any_scale(scale, sigma, patch_size):
    """Sigma itself, and in proportion to the scale; noise, so that no two patches tie."""
    y = photos(1, "test")
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    for level in (sigma, sigma * scale):
        assert_equal_to_exact(photos(6) * scale, y * scale, level, patch_size, scale)


def test_far_from_all_keys():
    """Distances beside which the margin is below the rounding of float32."""
    images = photos(4) * 1e-3
    y = photos(1, "test") + 1000
    for sigma in (1e-4, 1e-2, 1.0):
        assert_equal_to_exact(images, y, sigma, 3, 1e-3)


def test_small_sigma_far_from_zero_is_right():
    """Float64 keys of images far from zero, where rounding decides who is nearest."""
    images = 300 + photos(6)
    y = images[2:3] + 1e-5
    assert (lemmse.LEMMSE(images, patch_size=3)(y, 1e-5) - images[2:3]).abs().max() < 2e-4


@pytest.mark.parametrize("memory", [0, 1 << 30])
@pytest.mark.parametrize("dark_first", [True, False])
def test_order_of_the_images_changes_nothing(memory, dark_first, monkeypatch):
    """The first chunk of keys says nothing of the others; a blur [1, -1] that is seen adjointly."""
    monkeypatch.setattr("lemmse.estimators.patchwise.CHUNK_BYTES", 1 << 14)
    images = torch.cat([torch.zeros(12, 1, 8, 8), photos(4)[..., :8, :8]])
    if not dark_first:
        images = images[torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    kernel = torch.tensor([[1.0, -1.0]])
    blur = lemmse.operators.Blur(kernel, (8, 8))
    y = blur.measure(photos(1, "test")[..., :8, :8], 1e-3, torch.Generator().manual_seed(1))
    estimate = lemmse.LEMMSE(images, blur, "adjoint", patch_size=3, memory=memory)
    reference = lemmse.LEMMSE(
        images.flip(0), blur, "adjoint", patch_size=3, memory=0, dtype=torch.float64
    )
    error = (estimate(y, 1e-3) - reference(y, 1e-3)).abs().max().item()
    assert error <= 1e-6 if memory == 0 else error <= 1e-4, error
    assert math.isfinite(error)

"""Synthetic infrared scenes: what the documentation of the generator promises."""

import time

import numpy as np
import pytest
import torch

from lemmse import datasets
from lemmse.datasets import infrared
from lemmse.operators import Blur

CHECKSUM = {
    "train": "2ec2bdb2f7548782ac2889fe703520f3b87e32e70f4005f9259d33da5d64f88f",
    "test": "91c67d1e19af61b58cd498fc13b664d18197a2905b703a432a84b5eb13e9c7bf",
}


@pytest.fixture(scope="module")
def some():
    return infrared.scenes("train", 600)


def backgrounds(n):
    """Scenes of the training split without their bodies, in kelvin."""
    row = infrared.BACKGROUND_DRAWS + infrared.BODIES * infrared.BODY_DRAWS
    draws = np.random.RandomState(infrared.SEEDS["train"]).random_sample((n, row))
    grid = infrared._Grid(infrared.SIZE)
    background = infrared._background(draws[:, : infrared.BACKGROUND_DRAWS], grid)
    return torch.from_numpy(background)[:, None]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_images_are_these_on_every_machine(split):
    x = datasets.load("infrared", split, n=64)
    assert x.shape == (64, 1, 32, 32)
    assert x.dtype == torch.float32
    assert datasets.checksum(x) == CHECKSUM[split]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_prefix_is_a_prefix(split):
    n = infrared.CHUNK + 7
    whole, part = infrared.scenes(split, n), infrared.scenes(split, 5)
    assert torch.equal(whole.kelvin[:5], part.kelvin)
    assert torch.equal(whole.labels[:5], part.labels)
    assert torch.equal(datasets.load("infrared", split, n), infrared.from_kelvin(whole.kelvin))


def test_the_splits_share_no_scene(some):
    images = torch.cat([some.kelvin, infrared.scenes("test", 300).kelvin])
    assert len({image.numpy().tobytes() for image in images}) == 900


def test_a_thousand_scenes_are_quick():
    start = time.process_time()
    infrared.scenes("train", 1000)
    assert time.process_time() - start < 2


def test_temperatures_are_in_the_range_of_the_unit_interval(some):
    images = infrared.from_kelvin(some.kelvin)
    assert images.min() > 0.02
    assert images.max() < 1
    assert images.max() > 0.85  # the range is used
    assert torch.allclose(infrared.to_kelvin(images), some.kelvin, atol=1e-4)
    assert pytest.approx(0.5 / 50) == infrared.SIGMA


def test_every_body_is_warmer_than_the_background_behind_it(some):
    """By at least 3 K less 30 %, less what the pixels at the rim share with the background."""
    background = backgrounds(600)
    assert torch.allclose(background[some.labels == 0].float().min(), some.kelvin.min(), atol=1)
    excess = some.kelvin - background
    assert excess.min() > -1e-3
    assert excess[some.masks].min() > 0.5 * 0.7 * 3
    assert excess[some.masks].max() < 23.01 + 10  # a cool window may be behind
    inside = torch.nn.functional.max_pool2d((~some.masks).float(), 3, 1, 1) == 0
    assert excess[inside].min() > 0.7 * 3 - 1e-3


def test_background_pixels_away_from_bodies_are_the_background(some):
    far = torch.nn.functional.max_pool2d(some.masks.float(), 5, 1, 2) == 0
    background = backgrounds(600)
    assert torch.allclose(some.kelvin[far], background[far].float(), atol=1e-3)
    assert background.min() > 270
    assert background.max() < 297


def test_labels_number_one_to_four_bodies_of_different_sizes(some):
    numbers = some.labels.flatten(1).max(1).values
    assert set(numbers.tolist()) <= set(range(5))
    assert all((numbers == k).sum() > 60 for k in (1, 2, 3, 4))
    areas = torch.stack([(some.labels == k).flatten(1).sum(1) for k in (1, 2, 3, 4)]).float()
    areas = areas[areas > 0]
    assert (areas < 10).float().mean() > 0.2
    assert (areas > 50).float().mean() > 0.05
    assert torch.equal(some.masks, some.labels > 0)


@pytest.mark.parametrize("shape", infrared.SHAPES)
def test_the_outline_is_where_the_distance_changes_sign(shape):
    """The area inside, and the length of the rim, against the formulas of geometry."""
    grid = infrared._Grid(1024)
    x, y = grid.x + 0 * grid.y, grid.y + 0 * grid.x
    a, b = 6.0, 3.0
    distance = {
        "ellipse": lambda: infrared._to_ellipse(x, y, a, b),
        "rectangle": lambda: infrared._to_rectangle(x, y, a, b),
        "limb": lambda: infrared._to_limb(x, y, a, b, 0.0, 0.0),
    }[shape]()
    pi = torch.pi
    area = {"ellipse": pi * a * b, "rectangle": 4 * a * b, "limb": 4 * a * b + pi * b * b}[shape]
    assert (distance < 0).sum() * grid.pixel**2 == pytest.approx(area, rel=0.005)
    assert grid.coverage(distance).sum() * grid.pixel**2 == pytest.approx(area, rel=0.005)


def test_a_finer_detector_sees_the_same_scenes(some):
    fine = infrared.scenes("train", 20, size=128).kelvin
    coarse = torch.nn.functional.avg_pool2d(fine, 4)
    assert (coarse - some.kelvin[:20]).abs().mean() < 0.15


def test_the_camera_blurs_and_adds_its_noise():
    x = datasets.load("infrared", "test", n=40)
    camera = infrared.camera()
    assert isinstance(camera, Blur)
    y = camera.measure(x, infrared.SIGMA, torch.Generator().manual_seed(0))
    noise = infrared.to_kelvin(y) - infrared.to_kelvin(camera.A(x))
    assert noise.std().item() == pytest.approx(infrared.NETD, rel=0.02)
    impulse = torch.zeros(1, 1, 32, 32)
    impulse[..., 16, 16] = 1
    seen = camera.A(impulse)[0, 0]
    offsets = torch.arange(32) - 16
    assert (seen.sum(0) * offsets**2).sum().item() == pytest.approx(infrared.OPTICS**2, rel=0.01)


def test_it_says_that_it_is_synthetic():
    description = datasets.describe("infrared", "test")
    assert "synthetic" in description["title"]
    assert "synthetic" in description["source"]
    assert description["count"] == 2000
    assert description["path"].endswith("infrared.py")
    assert "ynthetic" in infrared.__doc__.splitlines()[0]
    assert "ynthetic" in infrared.Infrared.__doc__.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "val"}, "split: expected one of train, test, got 'val'"),
        ({"split": "test", "n": 2001}, "n: expected an integer from 1 to 2000, got 2001"),
        ({"n": 0}, "n: expected"),
        ({"n": 2.0}, "n: expected"),
        ({"n": True}, "n: expected"),
        ({"n": 1, "size": 0}, "size: expected an integer from 1 to 1024, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        infrared.scenes(**arguments)
    if "size" not in arguments and arguments.get("n") != 2.0:
        with pytest.raises(ValueError, match=r"split|n:"):
            datasets.load("infrared", arguments.get("split", "train"), arguments.get("n"))


def test_a_contrast_is_what_exceeds_the_quantile_of_the_surroundings(some):
    kelvin = some.kelvin[:2]
    found = infrared.contrast(kelvin)
    around = np.pad(kelvin[:, 0].numpy(), ((0, 0), (8, 8), (8, 8)), mode="reflect")
    coarse = np.empty((2, 8, 8), np.float32)
    for i in range(8):
        for j in range(8):
            window = around[:, 4 * i : 4 * i + 20, 4 * j : 4 * j + 20].reshape(2, -1)
            coarse[:, i, j] = np.sort(window)[:, 159]  # 40 % of 400 pixels are not warmer
    fine = torch.nn.functional.interpolate(
        torch.from_numpy(coarse)[:, None], scale_factor=4, mode="bilinear"
    )
    assert torch.equal(found, kelvin - fine)


def test_a_contrast_does_not_know_the_level(some):
    kelvin = some.kelvin[:2].double()
    torch.testing.assert_close(infrared.contrast(kelvin + 7), infrared.contrast(kelvin))


@pytest.mark.parametrize("shape", [(1, 1, 32, 30), (1, 1, 8, 8), (1, 2, 32, 32), (32, 32)])
def test_a_contrast_says_what_it_expects(shape):
    with pytest.raises(ValueError, match="kelvin"):
        infrared.contrast(torch.zeros(shape))

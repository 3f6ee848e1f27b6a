"""Faces: those of scikit-image, and FFHQ as a person puts it there."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.datasets import faces


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of one's own with data sets, empty."""
    monkeypatch.setenv("LEMMSE_DATA", str(tmp_path))
    monkeypatch.setenv("LEMMSE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put(folder, count, side=32):
    folder.mkdir(parents=True)
    for k in range(count):
        pixels = np.full((side, side, 3), 10 * k, np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:05d}.png")


def test_the_faces_are_those_of_scikit_image():
    theirs = torch.tensor(skimage.data.lfw_subset()[:100]).float()
    assert torch.equal(datasets.load("faces")[:, 0], theirs[:80])
    assert torch.equal(datasets.load("faces", "test")[:, 0], theirs[80:])
    assert datasets.load("faces", n=3).shape == (3, 1, 25, 25)


def test_another_file_is_refused(monkeypatch, tmp_path):
    (tmp_path / faces.FILE).write_bytes(b"x")
    monkeypatch.setattr(faces, "photographs", lambda: tmp_path)
    with pytest.raises(ValueError, match="expected sha256"):
        datasets.load("faces")


def test_ffhq_that_is_not_there_says_what_to_do(own, capsys):
    description = datasets.describe("ffhq32")
    assert (description["path"], description["count"]) == (None, 60_000)
    with pytest.raises(FileNotFoundError, match=r"ffhq32.train; nothing can download"):
        datasets.load("ffhq32", n=1)
    assert main(["data", "fetch", "ffhq32"]) == 2
    assert "how to run it" in capsys.readouterr().err


def test_ffhq_is_read_where_it_was_put(own):
    put(own / "ffhq32" / "train", 3)
    put(own / "ffhq32" / "test", 2)
    assert datasets.describe("ffhq32")["count"] == 3
    images = datasets.load("ffhq32", n=2)
    assert images.shape == (2, 3, 32, 32)
    assert images[:, 0, 0, 0].tolist() == pytest.approx([0, 10 / 255])
    assert zoo.parse("ffhq32/denoising/patchmlp-p5-n10000").dataset == "ffhq32"


def test_ffhq_of_another_size_is_refused(own):
    put(own / "ffhq32" / "train", 1, side=16)
    put(own / "ffhq32" / "test", 1, side=16)
    with pytest.raises(ValueError, match="expected images of 32 x 32, got 16 x 16"):
        datasets.load("ffhq32")

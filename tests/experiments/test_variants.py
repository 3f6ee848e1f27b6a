"""Networks of other fields against their own formula and the plain one, at random pixels."""

import json

import pytest
import torch

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.estimators import LEMMSE, LinearFilter
from lemmse.experiments import comparison, variants
from lemmse.zoo import VariantSpec

NAMES = [f"photos-grey/denoising/resnet-p3-zeros-n8{seed}" for seed in ("", "-s1")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two small models of one problem."""
    out = tmp_path_factory.mktemp("zoo")
    steps = ["--steps", "4", "--batch", "4"]
    assert main(["train", *NAMES, "--out", str(out), "--checkpoints", str(out / "c"), *steps]) == 0
    return out


@pytest.fixture
def fewer(monkeypatch):
    """A quarter of the images, one noise level."""
    monkeypatch.setattr(variants, "IMAGES", 16)
    monkeypatch.setattr(variants, "SIGMAS", (0.2,))


def reproduce(folder, out, *models):
    words = ["reproduce", "variants", "--folder", str(folder), "--out", str(out)]
    return main([*words, "--models", *(models or NAMES)])


def test_every_number_by_other_means(folder, tmp_path, fewer):
    out = tmp_path / "a.json"
    assert reproduce(folder, out) == 0
    results = json.loads(out.read_text())["results"]
    assert set(results) == set(NAMES)
    entry = results[NAMES[1]]
    assert (entry["images"], entry["pixels"]) == (16, 32)
    assert entry["sha256"] == zoo.card(NAMES[1], folder)["sha256"]
    assert entry["field"] == "field 3 x 3, period 1, zeros padding"
    cell = entry["mse"]["test"]["0.2"]

    truth, y = comparison.measurement(VariantSpec.parse(NAMES[1]), "test", 0.2, 16)
    images = datasets.load("photos-grey", n=16)
    answers = {
        "network": zoo.load(NAMES[1], folder)(y, 0.2).detach(),
        "own": LEMMSE(images[:8], patch_size=3, padding="zeros")(y, 0.2),
        "plain": LEMMSE(images[:8], patch_size=3)(y, 0.2),
        "other": LEMMSE(images[8:], patch_size=3, padding="zeros")(y, 0.2),
        "linear": LinearFilter(images[:8], patch_size=3, padding="zeros")(y, 0.2),
        "affine": LinearFilter(images[:8], patch_size=1)(y, 0.2),
        "truth": truth,
    }
    pixels = variants.sampled_pixels(("test", 0.2), 1, (32, 32))
    for i in (0, 7, 8, 15):  # both groups of images
        for part, where in zip(("border", "interior"), pixels[i // 8].split(32), strict=True):
            rows, columns = where.T
            edge = (rows % 31 == 0) | (columns % 31 == 0)
            assert edge.all() if part == "border" else not edge.any()
            assert set(cell[part]) == set(variants.KINDS)
            for kind in variants.KINDS:
                one, two = (answers[name][i, :, rows, columns] for name in kind.split("_"))
                expected = (one - two).square().mean().item()
                assert cell[part][kind][i] == pytest.approx(expected, rel=2e-3, abs=1e-9), kind


def test_cells_that_are_there_are_kept(folder, tmp_path, fewer, monkeypatch):
    out = tmp_path / "a.json"
    assert reproduce(folder, out, NAMES[0]) == 0
    before = json.loads(out.read_text())["results"][NAMES[0]]
    measured, real = [], comparison.answer
    monkeypatch.setattr(
        variants,
        "answer",
        lambda net, spec, y, sigma: measured.append(sigma) or real(net, spec, y, sigma),
    )
    assert reproduce(folder, out) == 0
    assert measured == [0.2, 0.2]  # only the second model, on both splits
    assert json.loads(out.read_text())["results"][NAMES[0]] == before


def test_what_cannot_be_computed_is_said(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert reproduce(tmp_path / "empty", tmp_path / "a.json") == 2
    assert "there are no variants" in capsys.readouterr().err


def test_paired_differences_count_standard_errors():
    right = torch.tensor([1.0, 2.0, 3.0, 4.0])
    wrong = right + torch.tensor([1.0, 2.0, 1.0, 2.0])
    spread = (wrong - right).std().item() / 2
    assert variants.paired(right.tolist(), wrong.tolist()) == pytest.approx(1.5 / spread)
    assert variants.level([0.001, 0.001]) == pytest.approx(30)

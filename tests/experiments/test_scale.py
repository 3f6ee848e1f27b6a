"""The comparison at random pixels, with baselines."""

import json

import pytest
import torch

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.estimators import LEMMSE, LinearFilter
from lemmse.experiments import comparison, record, scale
from lemmse.metrics import psnr
from lemmse.operators import Blur
from lemmse.zoo import Spec

NAMES = [f"photos-grey/blur/{kind}-p3-aware-n8" for kind in ("patchmlp", "resnet")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two small models of one problem."""
    out = tmp_path_factory.mktemp("zoo")
    steps = ["--steps", "4", "--batch", "4", "--crop", "2"]
    assert main(["train", *NAMES, "--out", str(out), "--checkpoints", str(out / "c"), *steps]) == 0
    return out


@pytest.fixture
def fewer(monkeypatch):
    """Half the images, two noise levels."""
    monkeypatch.setattr(scale, "IMAGES", 16)
    monkeypatch.setattr(scale, "SIGMAS", (0.2, 1.0))


def reproduce(folder, out, *models):
    words = ["reproduce", "scale", "--folder", str(folder), "--out", str(out)]
    return main([*words, "--models", *(models or NAMES)])


def test_every_number_by_other_means(folder, tmp_path, fewer):
    out = tmp_path / "a.json"
    assert reproduce(folder, out) == 0
    entry = json.loads(out.read_text())["results"][NAMES[1]]
    assert (entry["images"], entry["pixels"]) == (16, 64)
    assert entry["sha256"] == zoo.card(NAMES[1], folder)["sha256"]
    cell = entry["psnr"]["test"]["0.2"]
    assert set(cell) == set(scale.KINDS)

    truth, y = comparison.measurement(Spec.parse(NAMES[1]), "test", 0.2, 16)
    images = datasets.load("photos-grey", n=16)
    blur = Blur.gaussian(1.0, (32, 32))
    aware = {"preinverse": "tikhonov", "regularisation": 0.01}
    answers = {
        "network": zoo.load(NAMES[1], folder)(blur.A_tikhonov(y, 0.01), 0.2).detach(),
        "formula": LEMMSE(images[:8], blur, patch_size=3, **aware)(y, 0.2),
        "other": LEMMSE(images[8:], blur, patch_size=3, **aware)(y, 0.2),
        "linear": LinearFilter(images[:8], blur, patch_size=3, **aware)(y, 0.2),
        "affine": LinearFilter(images[:8], blur, patch_size=1, **aware)(y, 0.2),
        "crossed": LEMMSE(images[:8], blur, patch_size=3)(y, 0.2),
        "truth": truth,
    }
    pixels = scale.sampled_pixels("test", 0.2, (32, 32))
    for kind in scale.KINDS:
        one, two = (answers[name] for name in kind.split("_"))
        for i in (0, 7, 8, 15):  # both groups of images
            rows, columns = pixels[i // scale.TOGETHER].T
            a, b = (t[i : i + 1, :, rows, columns][..., None] for t in (one, two))
            assert cell[kind][i] == pytest.approx(psnr(a, b).item(), abs=0.02), kind


def test_cells_that_are_there_are_kept(folder, tmp_path, fewer, monkeypatch):
    out = tmp_path / "a.json"
    assert reproduce(folder, out, NAMES[0]) == 0
    before = json.loads(out.read_text())["results"][NAMES[0]]
    measured = []
    real = comparison.answer
    monkeypatch.setattr(
        scale,
        "answer",
        lambda net, spec, y, sigma: measured.append(sigma) or real(net, spec, y, sigma),
    )
    assert reproduce(folder, out) == 0
    assert sorted(measured) == [0.2, 0.2, 1.0, 1.0]  # only the second model
    assert json.loads(out.read_text())["results"][NAMES[0]] == before


def test_pixels_are_distinct_and_differ_between_places():
    one, two = (scale.sampled_pixels("train", sigma, (28, 20)) for sigma in (0.1, 0.2))
    flat = one[..., 0] * 20 + one[..., 1]
    assert all(len(group.unique()) == scale.PIXELS for group in flat)
    assert flat.max() < 28 * 20
    assert one[..., 1].max() == 19
    assert not torch.equal(one, two)
    assert torch.equal(one, scale.sampled_pixels("train", 0.1, (28, 20)))


def test_no_others_where_the_data_set_is_too_small():
    count = datasets.describe("photos-grey")["count"]
    assert scale.other_formula(Spec("photos-grey", "denoising", images=count // 2 + 1)) is None
    others = scale.other_formula(Spec("photos-grey", "denoising", patch_size=3, images=5))
    expected = LEMMSE(datasets.load("photos-grey", n=10)[5:], patch_size=3)
    y = datasets.load("photos-grey", "test", 1)
    assert torch.equal(others(y, 0.3), expected(y, 0.3))


def test_no_other_physics_for_denoising_and_the_exact_inverse():
    assert scale.crossed(Spec("photos-grey", "blur", "pinv")) is None
    aware = Spec("cifar10", "inpainting", "aware", 7, 10_000, "unet")
    assert scale.crossed(aware) == Spec("cifar10", "inpainting", "agnostic", 7, 10_000, "unet")


def test_small_models_belong_to_the_other_comparison():
    chosen = [Spec.parse(name) for name in scale.chosen(None, None)]
    assert all(spec.images >= zoo.MANY or spec.task not in zoo.STUDIED for spec in chosen)
    assert set(scale.chosen(None, None)) | set(comparison.few(None)) == set(zoo.names(None, Spec))


@pytest.mark.skipif(not record.shipped(scale.NAME).exists(), reason="not computed yet")
def test_shipped_results_are_of_the_shipped_weights():
    results = scale.results()
    for name, entry in results.items():
        assert entry["sha256"] == zoo.card(name)["sha256"], name
        assert entry["images"] == scale.IMAGES
        for split in scale.SPLITS:
            for sigma in scale.SIGMAS:
                cell = entry["psnr"][split][str(sigma)]
                assert set(cell) <= set(scale.KINDS)
                assert all(len(values) == scale.IMAGES for values in cell.values())


def test_excess_risk_is_none_where_the_network_is_the_formula():
    cell = {"network_truth": [20.0, 30.0], "formula_truth": [20.0, 30.0]}
    assert scale.excess_risk(cell) == 0

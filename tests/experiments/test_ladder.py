"""The ladder of training lengths."""

from dataclasses import replace

import pytest
import torch

from lemmse.experiments import comparison, ladder, scale
from lemmse.metrics import psnr
from lemmse.zoo import Spec


@pytest.fixture
def small(monkeypatch):
    """One problem with 8 photographs, two widths, few steps."""
    tiny = {"patchmlp": {"width": 4, "depth": 1}}, {"patchmlp": {"width": 6, "depth": 1}}
    for name, value in {
        "PROBLEMS": {"denoising": Spec("photos-grey", "denoising", patch_size=3, images=8)},
        "WIDTHS": {"narrow": (tiny[0], (2, 4)), "wide": (tiny[1], (2,))},
        "SIGMAS": (0.5,),
        "TRAINING": replace(ladder.TRAINING, batch=4, records=2, precision="float32"),
        "QUICK": ("denoising | narrow | 2",),
    }.items():
        monkeypatch.setattr(ladder, name, value)
    monkeypatch.setattr(scale, "IMAGES", 8)


def test_rungs_are_trainings_of_their_own(small, tmp_path):
    out = tmp_path / "ladder.json"
    found = ladder.run(out)
    assert list(found) == [
        "denoising | narrow | 2",
        "denoising | wide | 2",
        "denoising | narrow | 4",
    ]
    assert all(len(cell["loss"]) == 2 for cell in found.values())
    assert [path.name for path in tmp_path.iterdir()] == ["ladder.json"]  # no checkpoint is left
    assert ladder.run(out, quick=True) == found == ladder.results(out)


def test_an_interrupted_training_goes_on(small, tmp_path, monkeypatch):
    whole = ladder.run(tmp_path / "whole.json", quick=True)["denoising | narrow | 2"]
    real = scale.nearness

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(scale, "nearness", interrupt)
    out = tmp_path / "killed.json"
    with pytest.raises(KeyboardInterrupt):
        ladder.run(out, quick=True)
    checkpoint = tmp_path / "ladder-narrow-2-0.pt"
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    monkeypatch.setattr(scale, "nearness", real)
    assert ladder.run(out, quick=True)["denoising | narrow | 2"]["psnr"] == whole["psnr"]


def test_it_measures_at_the_pixels_of_the_scale(small, tmp_path):
    spec = ladder.PROBLEMS["denoising"]
    samples = ladder.samples_of(spec)
    found = ladder.compute("denoising", "narrow", 2, samples, tmp_path / "c.pt")
    truth, y = comparison.measurement(spec, "test", 0.5, 8)
    pixels = scale.sampled_pixels("test", 0.5, (32, 32))[0]
    a, b = (
        t[:, :, pixels[:, 0], pixels[:, 1]][..., None]
        for t in (comparison.formula(spec)(y, 0.5), truth)
    )
    cell = found["psnr"]["test"]["0.5"]
    assert cell["formula_truth"] == pytest.approx(psnr(a, b).tolist(), abs=2e-3)


def test_the_six_cells_have_five_rungs_each():
    assert len(ladder.cells()) == len(set(ladder.cells())) == 6 * 5
    steps = [int(cell.split(" | ")[2]) for cell in ladder.cells()]
    assert steps[-6:] == [max(steps)] * 6  # the longest last, the others problem by problem
    assert [cell.split(" | ")[0] for cell in ladder.cells()[:24:4]] == list(ladder.PROBLEMS)

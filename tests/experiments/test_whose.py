"""Whose formula: networks of two disjoint training sets against both formulas."""

from dataclasses import replace

import pytest
import torch

from lemmse import datasets
from lemmse.estimators import LEMMSE
from lemmse.experiments import record, whose
from lemmse.metrics import psnr


@pytest.fixture
def small(monkeypatch):
    """Photographs, 6 and 8 a set, networks of a few steps."""
    for name, value in {
        "DATASET": "photos-grey",
        "COUNTS": (6, 8),
        "LARGEST": 8,
        "SETS": {"A": 0, "B": 8},
        "SIGMAS": (0.2,),
        "IMAGES": 3,
        "PATCH_SIZE": 3,
        "WIDTH": 4,
        "QUICK": ("denoising 6",),
        "TRAINING": replace(whose.TRAINING, steps=2, batch=4, precision="float32"),
    }.items():
        monkeypatch.setattr(whose, name, value)


def test_every_group_is_measured_and_kept(small, tmp_path):
    out = tmp_path / "whose.json"
    found = whose.run(out)
    assert set(found) == {"denoising 6", "inpainting 6", "denoising 8", "inpainting 8"}
    for cell in found.values():
        for group in ("own", "other", "new"):
            kinds = cell[group]["0.2"]
            assert set(kinds) == {"own_formula", "other_formula", "truth", "formulas"}
            assert all(len(values) == 2 * 3 for values in kinds.values())  # both networks
    assert whose.run(out, quick=True) == found == whose.results(out)


def test_the_formulas_are_those_of_disjoint_sets(small):
    found = whose.compute("denoising 6")
    x = datasets.load("photos-grey", n=16)
    first, second = x[:6], x[8:14]
    generator = torch.Generator().manual_seed(200)  # of sigma 0.2 and the set A
    y = first[:3] + 0.2 * torch.randn(first[:3].shape, generator=generator)
    apart = psnr(LEMMSE(first, patch_size=3)(y, 0.2), LEMMSE(second, patch_size=3)(y, 0.2))
    # Images of A are the first network's own ones, and the second network's other ones.
    assert found["own"]["0.2"]["formulas"][:3] == pytest.approx(apart.tolist(), abs=2e-3)
    assert found["other"]["0.2"]["formulas"][:3] == pytest.approx(apart.tolist(), abs=2e-3)
    own, other = (found[group]["0.2"]["truth"] for group in ("own", "other"))
    assert own[:3] != other[:3]  # not the same network


def test_a_file_of_other_settings_is_refused(small, tmp_path, monkeypatch):
    out = tmp_path / "whose.json"
    record.Record(whose.NAME, out, whose.settings()).add({})
    monkeypatch.setattr(whose, "WIDTH", 5)
    with pytest.raises(ValueError, match="other settings"):
        whose.run(out)

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


@pytest.fixture
def made():
    """Outputs and formulas on images of A, of B and new ones, and the cell they would give."""
    torch.manual_seed(0)
    f, phi = ({name: torch.rand(3, 5, 1, 4, 4) for name in "AB"} for _ in range(2))
    phi = {name: f[name] + 0.3 * phi[name] for name in "AB"}
    cell = {group: {"0.2": whose._empty()} for group in ("own", "other", "new")}
    for place, where in enumerate(("A", "B", "new")):
        for name, other in ("AB", "BA"):
            group = "new" if where == "new" else "own" if where == name else "other"
            truth = torch.zeros(5, 1, 4, 4)
            numbers = phi[name][place], f[name][place], f[other][place], truth
            whose._add(cell[group]["0.2"], *numbers)
    return f, phi, cell


@pytest.mark.parametrize(("group", "places"), [("new", [2]), ("own", [0, 1])])
def test_the_slope_is_that_of_the_inner_product(made, group, places):
    f, phi, cell = made
    ours, theirs = (t["A"][places] - t["B"][places] for t in (phi, f))
    value, error = whose.slope(cell, 0.2, group)
    assert value == pytest.approx(float((ours * theirs).sum() / theirs.square().sum()), rel=1e-3)
    assert 0 < error < 0.5


def test_nearer_counts_an_image_once(made):
    f, phi, cell = made
    near, far = (
        torch.stack([psnr(phi[n][2], f[m][2]) for n, m in pairs])
        for pairs in (("AA", "BB"), ("AB", "BA"))
    )
    gains = (near - far).mean(0)
    value, error = whose.nearer(cell, 0.2, "new")
    assert value == pytest.approx(float(gains.mean()), abs=1e-3)
    assert error == pytest.approx(float(gains.std() / 5**0.5), abs=1e-3)

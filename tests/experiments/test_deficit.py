"""What keeps the ResNet from the formula."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from lemmse.experiments import deficit, ladder, scale
from lemmse.networks.base import ResidualBlock
from lemmse.zoo import Spec

SIZES = {"width": 4, "depth": 1}


@pytest.fixture
def small(monkeypatch):
    """Eight photographs, one noise level, narrow networks of a few steps, one seed."""
    spec = Spec("photos-grey", "denoising", patch_size=3, images=8, architecture="resnet")
    changes = {kind: (SIZES | size, how) for kind, (size, how) in deficit.CHANGES.items()}
    changes["four times the steps"] = (SIZES, {"steps": 8})
    for name, value in {
        "RESNET": spec,
        "CHANGES": changes,
        "OTHERS": {"PatchMLP": replace(spec, architecture="patchmlp")},
        "TRAINING": replace(deficit.TRAINING, steps=2, batch=4),
        "SEEDS": (0,),
    }.items():
        monkeypatch.setattr(deficit, name, value)
    monkeypatch.setattr(ladder, "SIGMAS", (0.5,))
    monkeypatch.setattr(scale, "IMAGES", 8)


def test_every_change_changes_something(small, tmp_path):
    out = tmp_path / "deficit.json"
    found = deficit.run(out)
    assert list(found) == deficit.cells()
    levels = [tuple(cell["psnr"]["test"]["0.5"]) for cell in found.values()]
    assert len(set(levels)) == len(levels)
    assert deficit.run(out) == found == deficit.results(out)


def test_what_is_changed(small):
    problem = deficit.RESNET.pose(torch.rand(4, 1, 8, 8))
    count = {
        kind: sum(p.numel() for p in deficit.fresh(kind, problem, 0).parameters())
        for kind in deficit.CHANGES
    }
    plain = count["as it is"]
    same = ("3 x 3 blocks that do not normalise", "32-bit products", "four times the steps")
    assert all(count[kind] == plain for kind in same)
    assert all(count[kind] > plain for kind in ("two more blocks", "two last layers"))


def test_a_block_that_does_not_normalise_feels_the_size():
    torch.manual_seed(0)
    h, embedding = torch.rand(1, 4, 5, 5), torch.rand(1, 32)
    steps = {}
    for normalised in (True, False):
        block = ResidualBlock(4, 4, 3, normalised=normalised)
        with torch.no_grad():
            block.modulation.weight.zero_()
            block.modulation.bias.zero_()
            steps[normalised] = [
                block(scale * h, embedding) - scale * h[..., 1:-1, 1:-1] for scale in (1, 3)
            ]
    assert_close(*steps[True], atol=1e-4, rtol=1e-4)
    assert (steps[False][0] - steps[False][1]).abs().max() > 0.01

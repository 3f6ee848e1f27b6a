"""The report on a network: right where the answer is known, plain where there is none."""

import math

import pytest
import torch
from torch import nn

import lemmse
from lemmse.operators import Mask


def photos(count, split="train"):
    return lemmse.datasets.load("photos-grey", split=split, n=count)[:, :, :10, :11].clone()


class Formula(nn.Module):
    """A network that is exactly its formula, but for a constant."""

    def __init__(self, estimate):
        super().__init__()
        self.estimate = estimate

    def forward(self, z, sigma):
        return self.estimate(z, sigma) + 0.01


@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_a_formula_is_explained_by_itself(padding):
    images, others = photos(6), photos(10, "test")
    network = Formula(lemmse.LEMMSE(images, patch_size=3, padding=padding, dtype=torch.float64))
    report = lemmse.explain(network, images, sigma=[0.3], test_images=others, count=2)
    assert report.applies
    assert report.measured.field.padding == padding
    assert report.measured.field.patch_size == 3
    for row in report.rows:
        if row["who"] == "network":
            for part in ("all", "border", "interior"):
                assert math.isclose(row[part], 40.0, abs_tol=0.1)
    assert {row["who"] for row in report.rows} == {"network", "affine", "linear", "other"}
    assert {row["split"] for row in report.rows} == {"train", "test"}
    text = str(report)
    assert "field 3 x 3, period 1" in text
    assert "test 0.3 best linear filter" in text
    assert len(report.figure().axes) == 4


def test_what_is_missing_is_said():
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 3, padding=1).double()
    known = Mask.central(3, (10, 11))
    report = lemmse.explain(network, photos(5).double(), known, "pinv", sigma=0.2, count=2)
    assert "it needs 7 test images" in str(report)
    assert "other" not in {row["who"] for row in report.rows}


def test_networks_without_a_field_are_not_explained():
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.GroupNorm(1, 1))
    report = lemmse.explain(network, photos(4), count=2)
    assert not report.applies
    assert not report.rows
    assert "GroupNorm normalises over pixels" in str(report)
    assert "does not apply" in str(report)
    with pytest.raises(ValueError, match="a network with a field"):
        report.figure()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="test_images"):
        lemmse.explain(nn.Identity(), photos(4), test_images=photos(4)[..., :5])
    with pytest.raises(ValueError, match="count to be an integer"):
        lemmse.explain(nn.Identity(), photos(4), count=0)

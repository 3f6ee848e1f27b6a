"""Draws the two pictures of the README and the introduction.

Everything is computed from the built-in photographs and the trained networks of the package. Run:
python book/scripts/draw_picture.py
"""

from pathlib import Path

import torch

import lemmse

STATIC = Path(__file__).parents[1] / "_static"
CHOSEN = (20, 7, 23)  # a nose, a wheel, a floodlight
SIGMA = 0.2


def main() -> None:
    """Computes the estimates and writes the figures."""
    lemmse.plots.use_style()
    train = lemmse.datasets.load("photos-grey", n=1000)
    truth = lemmse.datasets.load("photos-grey", split="test", n=50)[list(CHOSEN)]
    y = truth + SIGMA * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    formula = lemmse.LEMMSE(train, patch_size=5)(y, SIGMA)
    networks(truth, y, formula).savefig(STATIC / "networks.png", dpi=150)
    estimators(truth, y, train, formula).savefig(STATIC / "estimators.png", dpi=150)


def networks(truth, y, formula):
    """The claim: two networks and the formula; under a network its PSNR against the formula."""
    columns = {"truth": truth, "measurement": y}
    for name in ("UNet", "ResNet"):
        columns[name] = lemmse.zoo.load(f"photos-grey/denoising/{name.lower()}-p5")(y, SIGMA)
    columns["LE-MMSE"] = formula
    compared = [[None, None, target, target, None] for target in formula]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return lemmse.plots.show_images(rows, titles=list(columns), psnr_to=compared, size=1.5)


def estimators(truth, y, train, formula):
    """What the constraints do: three formulas; under each its PSNR against the truth."""
    columns = {
        "truth": truth,
        "measurement": y,
        "MMSE": lemmse.MMSE(train)(y, SIGMA),
        "E-MMSE": lemmse.EquivariantMMSE(train)(y, SIGMA),
        "LE-MMSE": formula,
    }
    return lemmse.plots.show_images(columns, psnr_to=truth, size=1.5)


if __name__ == "__main__":
    main()

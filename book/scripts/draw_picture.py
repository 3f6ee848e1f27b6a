"""Draws the picture of the README and the introduction: three estimators on noisy photographs.

Everything is computed from the built-in photographs. Run: python book/scripts/draw_picture.py
"""

from pathlib import Path

import torch

import lemmse

OUT = Path(__file__).parents[1] / "_static" / "estimators.png"
CHOSEN = (20, 7, 23)  # a nose, a wheel, a floodlight
SIGMA = 0.2


def main() -> None:
    """Computes the estimates and writes the figure."""
    lemmse.plots.use_style()
    train = lemmse.datasets.load("photos-grey", n=1000)
    truth = lemmse.datasets.load("photos-grey", split="test", n=50)[list(CHOSEN)]
    y = truth + SIGMA * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    figure = lemmse.plots.show_images(
        {
            "truth": truth,
            "measurement": y,
            "MMSE": lemmse.MMSE(train)(y, SIGMA),
            "E-MMSE": lemmse.EquivariantMMSE(train)(y, SIGMA),
            "LE-MMSE": lemmse.LEMMSE(train, patch_size=5)(y, SIGMA),
        },
        psnr_to=truth,
        size=1.5,
    )
    figure.savefig(OUT, dpi=150)


if __name__ == "__main__":
    main()

"""Train the small networks of the book's first scene, lemmse/plots/scenes/networks.json.

Everything comes from the built-in photographs. Six networks of about four thousand weights, five
minutes in all on one core. Run:
python book/scripts/train_scene_networks.py
"""

import json

import torch

from lemmse import datasets
from lemmse.networks import PatchMLP, Skip
from lemmse.plots.scenes import SHIPPED, network_data
from lemmse.training import Problem, Settings, train
from sync_notebooks import ROOT

IMAGES = (24, 100)  # training images in the introduction and chapter 7; in chapter 10
SIZES = (3, 5, 7)
WIDTH, DEPTH = 16, 1
SETTINGS = Settings(steps=2500, batch=64, crop=8, learning_rate=4e-3, ema=0.995)


def main() -> None:
    """Trains all and writes the file."""
    kept = {str(n): {str(size): trained(n, size) for size in SIZES} for n in IMAGES}
    file = ROOT / "lemmse" / "plots" / "scenes" / SHIPPED
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def trained(n, size):
    """One network, as it is stored."""
    images = datasets.load("photos-grey", n=n)
    problem = Problem.of(images)
    torch.manual_seed(size)
    network = PatchMLP(1, size, WIDTH, DEPTH, Skip.fit(images, images, problem.preinverse))
    train(network, problem, SETTINGS)
    return network_data(network)


if __name__ == "__main__":
    main()

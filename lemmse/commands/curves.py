"""The command `curves`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..experiments import data_efficiency
from .chosen import cell_bar


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "curves",
        help="measure how much data networks with physics inside need, and fully learned ones",
        description="Train small networks on 10, 25, 50 and 100 % of the images, each from several "
        "seeds, and write their PSNR on test images: the results of chapter 21. An interrupted run "
        "goes on where it was.",
    )
    add = command.add_argument
    add("--seeds", type=int, nargs="+", default=data_efficiency.SEEDS, help="[%(default)s]")
    add("--out", type=Path, default=data_efficiency.RESULTS, help="results to write [%(default)s]")
    command.set_defaults(run=draw_curves)


def draw_curves(args: argparse.Namespace) -> None:
    """The command `curves`."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    seeds = tuple(args.seeds)
    with cell_bar("curves", len(data_efficiency.cells(seeds))) as advance:
        found = data_efficiency.measure(args.out, seeds, advance)
    print("\nPSNR on test images in dB, against the number of training images")
    print(data_efficiency.table(found))
    print(f"\nresults: {args.out}")

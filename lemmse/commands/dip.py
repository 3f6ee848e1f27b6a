"""The command `dip`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..devices import device
from ..experiments import figures
from .chosen import cell_bar


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "dip",
        help="compute the figures of the deep inverse prior",
        description="Compute the data of a figure of part V and write it as JSON: 1 the width that "
        "the theorem needs and the width needed in practice; 2 the probability of success against "
        "n and the step; 3 an image; 4 the error along the iterations. An interrupted run goes on "
        "where it was.",
    )
    add = command.add_argument
    add("--figure", type=int, choices=figures.FIGURES, required=True, help="which one")
    add("--out", type=Path, help="results to write [the package's own]")
    command.set_defaults(run=compute)


def compute(args: argparse.Namespace) -> None:
    """The command `dip`."""
    out = figures.path(args.figure) if args.out is None else args.out
    out.parent.mkdir(parents=True, exist_ok=True)
    count = len(figures.FIGURES[args.figure].cells())
    with cell_bar(f"figure {args.figure}", count) as advance:
        figures.compute(args.figure, out, device(), advance)
    print(f"results: {out}")

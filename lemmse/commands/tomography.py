"""The command `tomography`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..experiments import tomography
from .chosen import cell_bar


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "tomography",
        help="measure LE-MMSE on the data of scanners with faults (chapter 22)",
        description="Measure LE-MMSE for tomography, from 1,000 photographs, on scans whose angles "
        "or axis are not those of the model and whose detector saturates, and write the squared "
        "errors at the sampled pixels of 64 test photographs. About ten minutes on one core. An "
        "interrupted run goes on where it was.",
    )
    command.add_argument("--out", type=Path, default=tomography.RESULTS, help="[%(default)s]")
    command.set_defaults(run=measure_tomography)


def measure_tomography(args: argparse.Namespace) -> None:
    """The command `tomography`."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with cell_bar("tomography") as advance:
        for name in tomography.measure(args.out):
            advance(name)
    print("PSNR in dB; fault / keys / pre-inverse")
    for name, errors in tomography.results(args.out)["squared_error"].items():
        print(f"{tomography.psnr_of(errors):6.2f}  {name}")
    print(f"\nresults: {args.out}")

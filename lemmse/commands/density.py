"""The command `density`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..devices import device
from ..experiments import density
from .chosen import cell_bar, check_count, chosen_models


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "density",
        help="compare models with LE-MMSE on other data, against the density of the patches",
        description="Measure test images of a data set, also one that the models were not trained "
        "on, and write PSNR(network, LE-MMSE), PSNR(network, truth), PSNR(LE-MMSE, truth), the "
        "log-density, and the squared difference of network and LE-MMSE against it. Images of "
        "another size are cut out of the centre, or zeros are put around them. An interrupted run "
        "goes on where it was.",
    )
    add = command.add_argument
    add("names", nargs="*", default=["*"], help="names or patterns [all models that are there]")
    add("--on", required=True, metavar="DATASET", help="the data set whose test images to use")
    add("--sigma", type=float, nargs="+", default=density.SIGMAS, help="[%(default)s]")
    add("--images", type=int, default=density.IMAGES, help="how many [%(default)s]")
    add("--folder", type=Path, help="where the models lie [the package's own]")
    add("--out", type=Path, default=density.RESULTS, help="results to write [%(default)s]")
    command.set_defaults(run=measure_density)


def measure_density(args: argparse.Namespace) -> None:
    """The command `density`."""
    names = chosen_models(args.names, args.folder)
    check_count(args.images)
    if not all(0 < sigma <= 1 for sigma in args.sigma):
        raise ValueError(f"--sigma: expected numbers in (0, 1], got {args.sigma}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with cell_bar("density") as advance:
        results = density.measure(
            names, args.on, args.sigma, args.out, args.folder, args.images, device(), advance
        )
    for sigma in args.sigma:
        print(f"\n{args.on}, sigma = {sigma}, means over {args.images} images; PSNR in dB")
        print(density.table({name: results[name] for name in names}, args.on, sigma))
    print(f"\nresults: {args.out}")

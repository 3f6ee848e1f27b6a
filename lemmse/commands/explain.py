"""The command `explain`."""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from .. import datasets, explanation
from ..devices import device
from ..files import make_folder, replaced, write_json
from . import estimate

OPERATORS = ("denoising", "inpainting", "blur")
"""What measures images on the grid of the image, as a network with a field needs it."""

LONGEST = 300
"""Letters of an error of a person's own code that are shown."""


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "explain",
        help="what does your own network compute? its field, its formula, and how near they are",
        description="Measure which pixels a network of your own sees, build the formula for its "
        "training images, and compare both on training and test images, beside baselines. The "
        "network is called as network(z) or network(z, sigma) with images (B, C, H, W).",
    )
    option = command.add_argument
    option(
        "--network",
        required=True,
        metavar="MODULE:FUNCTION",
        help="what makes the network, called without arguments; of a module that Python finds "
        "from this folder",
    )
    option("--weights", type=Path, help="its weights, a .safetensors file [those it is made with]")
    option("--dataset", required=True, help="what it was trained on; folder:<path> is your own")
    option("--images", type=int, default=1000, help="on how many images [%(default)s]")
    option("--operator", choices=OPERATORS, default="denoising", help="what measures [%(default)s]")
    usual = estimate.USUAL
    option("--size", type=int, help=f"inpainting: hidden square, pixels [{usual['size']}]")
    option("--std", type=float, help=f"blur: std in pixels [{usual['std']}]")
    option(
        "--preinverse",
        choices=("identity", "pinv", "tikhonov", "adjoint"),
        default="identity",
        help="what the network is shown of a measurement [%(default)s]",
    )
    option("--sigma", type=float, nargs="+", default=[0.1, 0.2, 0.5], help="levels [.1 .2 .5]")
    option("--count", type=int, default=explanation.SHOWN, help="images compared [%(default)s]")
    option("--out", type=Path, help="folder for report.txt, rows.json and picture.png")
    command.set_defaults(run=explain)


def explain(args: argparse.Namespace) -> None:
    """The command `explain`."""
    for sigma in args.sigma:
        if not 0 < sigma < float("inf"):
            raise ValueError(f"--sigma: expected positive numbers, got {sigma}")
    if args.count < 1:
        raise ValueError(f"--count: expected a positive number, got {args.count}")
    estimate.fill_in(args)
    network = loaded(args.network, args.weights)
    images = datasets.load(args.dataset, "train", args.images)
    # As many others as the third baseline takes, where the data set has them.
    available = datasets.describe(args.dataset, "test")["count"]
    others = datasets.load(args.dataset, "test", min(available, args.count + args.images))
    operator = estimate.OPERATORS[args.operator](args, tuple(images.shape[2:]))
    if args.out is not None:
        make_folder(args.out)
    if isinstance(network, nn.Module):
        network.to(device()).eval()
    report = explanation.explain(
        network,
        images.to(device()),
        operator,
        args.preinverse,
        args.sigma,
        others.to(device()),
        args.count,
    )
    print(report)
    if args.out is not None:
        write(report, args.out)


def write(report: explanation.Report, folder: Path) -> None:
    """Writes the text, the numbers, and the picture if there is one."""
    with replaced(folder / "report.txt") as path:
        path.write_text(f"{report}\n", encoding="utf-8")
    write_json(folder / "rows.json", [finite(row) for row in report.rows])
    if report.applies:
        with replaced(folder / "picture.png") as path:
            report.figure().savefig(path)
    print(f"report: {folder}")


def finite(row: dict) -> dict:
    """A row for a file of JSON, which has no infinite numbers and no NaN: there they are null.

    Example:
        >>> finite({"who": "network", "all": float("inf"), "border": 30.0})
        {'who': 'network', 'all': None, 'border': 30.0}
    """
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def loaded(place: str, weights: Path | None) -> Callable[..., torch.Tensor]:
    """The network that a function makes, with weights of a file.

    Files of weights are data; no code in them is ever run. The function is a person's own code.

    Args:
        place: ``module:function``.
        weights: a ``.safetensors`` file; None: the weights it is made with.

    Raises:
        ValueError: there is no such function, it fails or makes no network, or the file is none or
            does not fit.

    Example:
        >>> loaded("torch.nn:Identity", None)
        Identity()
    """
    module, separator, name = place.partition(":")
    if not (module and separator and name):
        raise ValueError(f"--network: expected module:function, got {place!r}")
    try:
        network = getattr(importlib.import_module(module), name)()
    except (Exception, SystemExit) as error:  # it is somebody else's code: anything can happen
        told = f"{type(error).__name__}: {error}"[:LONGEST]
        raise ValueError(
            f"--network: {place} cannot be called without arguments: {told}"
        ) from error
    if not callable(network):
        raise ValueError(f"--network: expected {place} to make a network, got {network!r:.60}")
    if weights is not None:
        fill(network, weights)
    return network


def fill(network: object, path: Path) -> None:
    """Puts the weights of a file into a network.

    Raises:
        ValueError: the file is no safetensors file, or of another network.
    """
    if not isinstance(network, nn.Module):
        raise ValueError(f"--weights: expected a torch module, got {type(network).__name__}")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file")
    try:
        state = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected a safetensors file (safetensors.torch.save_file writes one; files "
            f"that may hold code are not read): {error}"
        ) from error
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: it is of another network: {error}"[:LONGEST]) from error

"""The command `estimate`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .. import datasets, estimators, metrics, operators
from . import drawing
from .processes import joined_processes, rank

BATCH = 4  # images estimated between two steps of the progress bar
ANGLES = 16  # at most so many angles for a pixel of the image's side

OPERATORS: dict[str, Callable[[argparse.Namespace, tuple[int, int]], operators.Operator]] = {
    "denoising": lambda args, size: operators.Identity(),
    "inpainting": lambda args, size: operators.Mask.central(args.size, size),
    "blur": lambda args, size: operators.Blur.gaussian(std(args.std, size), size),
    "mri": lambda args, size: operators.MRI.cartesian(args.acceleration, size, seed=args.seed),
    "tomography": lambda args, size: operators.Tomography(angles(args.angles, size), size),
}
ESTIMATORS: dict[str, Callable[[Tensor, operators.Operator, argparse.Namespace], Callable]] = {
    "lemmse": lambda images, operator, args: estimators.LEMMSE(
        images,
        operator,
        preinverse=args.preinverse,
        patch_size=args.patch_size,
        regularisation=args.regularisation,
        symmetry=args.symmetry,
    ),
    "lmmse": lambda images, operator, args: estimators.LocalMMSE(
        images,
        operator,
        preinverse=args.preinverse,
        patch_size=args.patch_size,
        regularisation=args.regularisation,
    ),
    "emmse": lambda images, operator, args: estimators.EquivariantMMSE(
        images, operator, preinverse=args.preinverse, regularisation=args.regularisation
    ),
    "mmse": lambda images, operator, args: estimators.MMSE(images, operator),
}
PREINVERSES = ("identity", "pinv", "tikhonov", "adjoint", "fbp")
USUAL_PREINVERSE = {"mri": "pinv", "tomography": "fbp"}  # the other operators: identity

# What an option is if it is not given, and with which choices of another one it means anything.
USUAL = {
    "size": 15,
    "std": 1.0,
    "acceleration": 4.0,
    "angles": 30,
    "patch_size": 5,
    "regularisation": 0.01,
    "count": 8,
    "seed": 0,
}
OF = {
    "size": ("operator", ("inpainting",)),
    "std": ("operator", ("blur",)),
    "acceleration": ("operator", ("mri",)),
    "angles": ("operator", ("tomography",)),
    "preinverse": ("estimator", ("lemmse", "lmmse", "emmse")),
    "patch_size": ("estimator", ("lemmse", "lmmse")),
    "symmetry": ("estimator", ("lemmse",)),
    "regularisation": ("preinverse", ("tikhonov",)),
}


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "estimate",
        help="restore an image of your own, or measure test images, estimate them, and draw them",
        description="Measure test images, estimate them from the measurements, print the PSNR and "
        "draw truth, measurement and estimate. With --input: restore that image.",
    )
    option = command.add_argument
    names = ", ".join(datasets.NAMES)
    option(
        "--dataset",
        default="photos-grey",
        help=f"{names} folder:<path> or fastmri:<path> [%(default)s]",
    )
    option("--images", type=int, default=1000, help="number of training images [%(default)s]")
    option(
        "--input",
        type=Path,
        help="restore this image, for lemmse of any size; the result goes to --out",
    )
    option("--operator", choices=OPERATORS, default="denoising", help="what measures [%(default)s]")
    option("--size", type=int, help=f"inpainting: hidden square, pixels [{USUAL['size']}]")
    option("--std", type=float, help=f"blur: std in pixels [{USUAL['std']}]")
    option(
        "--acceleration", type=float, help=f"mri: 1 / share of columns [{USUAL['acceleration']}]"
    )
    option("--angles", type=int, help=f"tomography: number in 180 degrees [{USUAL['angles']}]")
    option(
        "--preinverse",
        choices=PREINVERSES,
        help="what turns measurements into images before the estimator sees them "
        "[mri: pinv, tomography: fbp, else identity]",
    )
    option("--regularisation", type=float, help=f"tikhonov: lambda [{USUAL['regularisation']}]")
    option("--patch-size", type=int, help=f"lemmse, lmmse: side [{USUAL['patch_size']}]")
    option("--sigma", type=float, default=0.1, help="standard deviation of the noise [%(default)s]")
    option("--count", type=int, help=f"number of test images [{USUAL['count']}]")
    option("--seed", type=int, help=f"of noise and mri mask [{USUAL['seed']}]")
    option("--estimator", choices=ESTIMATORS, default="lemmse", help="which one [%(default)s]")
    option("--symmetry", choices=("d4",), help="lemmse: treat flips and quarter turns alike")
    option("--posterior", action="store_true", help="the posterior standard deviation, too")
    option("--out", type=Path, default=Path("result.png"), help="picture to write [%(default)s]")
    option("--save", type=Path, help="also write the arrays to this .npz file")
    command.epilog = (
        "Under torchrun (torchrun --nproc-per-node 4 -m lemmse estimate ...) the training set is "
        "shared by the processes; the first one reports."
    )
    command.set_defaults(run=estimate)


def estimate(args: argparse.Namespace) -> None:
    """The command `estimate`."""
    check_options(args)
    drawing.check_places(args.out, args.save, image=args.input is not None)
    with joined_processes() as where:
        arrays = estimated(args, where)
    if rank() == 0:
        drawing.write(args.out, args.save, arrays)
        if "truth" in arrays:
            report(arrays)


def check_options(args: argparse.Namespace) -> None:
    """Puts the usual values where nothing was given.

    Raises:
        ValueError: an option that means nothing beside the others, sigma or seed out of their
            range, or an output that would overwrite the input.
    """
    if not 0 < args.sigma < float("inf"):
        raise ValueError(f"--sigma: expected a positive number, got {args.sigma}")
    if args.seed is not None and not 0 <= args.seed < 2**63:
        raise ValueError(f"--seed: expected an integer from 0 to 2^63 - 1, got {args.seed}")
    if args.input is not None:
        if args.out.exists() and args.input.exists() and args.out.samefile(args.input):
            raise ValueError(f"--out: expected another file than --input, got {args.out} for both")
        if args.operator in ("mri", "tomography"):
            raise ValueError(f"--input: expected an image, and {args.operator} measures none")
        for name in ("count", "seed"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name}: nothing is drawn for an image of --input")
        if args.posterior and args.save is None:
            raise ValueError("--posterior: with --input it is written to --save; give that, too")
    fill_in(args)
    args.preinverse = args.preinverse or USUAL_PREINVERSE.get(args.operator, "identity")


def fill_in(args: argparse.Namespace) -> None:
    """Puts the usual values where nothing was given, of the options that a command has.

    Raises:
        ValueError: an option that means nothing beside the others.
    """
    for name, (other, choices) in OF.items():
        if getattr(args, name, None) is None or not hasattr(args, other):
            continue
        chosen = getattr(args, other)
        if chosen not in choices:
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option}: only of --{other} {' or '.join(choices)}, got {chosen or 'the usual'}"
            )
    for name, value in USUAL.items():
        if getattr(args, name, value) is None:
            setattr(args, name, value)


def estimated(args: argparse.Namespace, where: torch.device) -> dict[str, Tensor]:
    """Truth (of test images), measurement and estimate, and the standard deviation if asked for."""
    train = datasets.load(args.dataset, "train", args.images)
    operator = OPERATORS[args.operator](args, tuple(train.shape[2:]))
    if args.input is not None:
        return restored(args, train, operator, where)
    truth = datasets.load(args.dataset, "test", args.count)
    # The noise is drawn on the CPU: the same measurements on every machine.
    noise = torch.Generator().manual_seed(args.seed)
    arrays = {"truth": truth, "measurement": operator.measure(truth, args.sigma, noise)}
    estimator = ESTIMATORS[args.estimator](train.to(where), operator, args)

    means, deviations = [], []
    total = len(arrays["measurement"])
    with tqdm(total=total, desc=args.estimator, unit="image", disable=rank() > 0) as bar:
        for batch in arrays["measurement"].split(BATCH):
            mean, deviation = apply(estimator, batch.to(where), args.sigma, args.posterior)
            means.append(mean.cpu())
            deviations.append(deviation.cpu())
            bar.update(len(batch))
    arrays["estimate"] = torch.cat(means)
    if args.posterior:
        arrays["deviation"] = torch.cat(deviations)
    return arrays


def restored(
    args: argparse.Namespace, train: Tensor, operator: operators.Operator, where: torch.device
) -> dict[str, Tensor]:
    """Measurement and estimate of a person's image, and the standard deviation if asked for."""
    y = own_image(args.input, tuple(train.shape[1:]), any_size=args.estimator == "lemmse")
    estimator = ESTIMATORS[args.estimator](train.to(where), operator, args)
    options = {}
    if args.estimator == "lemmse":
        options["progress"] = rank() == 0
        if y.shape[1:] != train.shape[1:] and args.preinverse != "identity":
            options["operator"] = OPERATORS[args.operator](args, tuple(y.shape[2:]))
    start = time.perf_counter()
    mean, deviation = apply(estimator, y.to(where), args.sigma, args.posterior, **options)
    if rank() == 0:
        height, width = y.shape[2:]
        print(f"{width} x {height} pixels restored in {time.perf_counter() - start:.1f} s")
    arrays = {"measurement": y, "estimate": mean.cpu()}
    return arrays | {"deviation": deviation.cpu()} if args.posterior else arrays


def own_image(path: Path, shape: tuple[int, int, int], any_size: bool) -> Tensor:
    """The image of a person, (1, C, H, W), of the channels and the size of the training images."""
    image = datasets.read_image(path)
    channels, height, width = image.shape[1:]
    if channels != shape[0]:
        raise ValueError(
            f"{path}: expected {shape[0]} channels like the training images, got {channels}"
        )
    if not any_size and (height, width) != shape[1:]:
        raise ValueError(
            f"{path}: expected {shape[2]} x {shape[1]} pixels like the training images for this "
            f"estimator, got {width} x {height}; resize it, or take --estimator lemmse"
        )
    return image


def apply(
    estimator, y: Tensor, sigma: float, posterior: bool, **options: object
) -> tuple[Tensor, Tensor]:
    """Posterior mean and, if asked for (else empty), standard deviation, (B, C, H, W) each."""
    if not posterior:
        return estimator(y, sigma, **options), torch.empty(0)
    result = estimator.posterior(y, sigma, **options)
    return result.mean, result.variance.sqrt()


def std(value: float, size: tuple[int, int]) -> float:
    """The blur's standard deviation: beyond the image's side it is a mean over all pixels."""
    if value > max(size):
        raise ValueError(f"--std: expected at most the side {max(size)} of the images, got {value}")
    return value


def angles(count: int, size: tuple[int, int]) -> list[float]:
    """So many angles evenly spread over 180 degrees, from 0."""
    most = ANGLES * max(size)
    if not 1 <= count <= most:
        raise ValueError(
            f"--angles: expected a number from 1 to {most} (that is {ANGLES} for each of the "
            f"{max(size)} pixels of the side), got {count}"
        )
    return [180.0 * i / count for i in range(count)]


def report(arrays: dict[str, Tensor]) -> None:
    """Print the PSNR of every image, and their mean."""
    truth = arrays["truth"]
    columns = {"estimate": metrics.psnr(arrays["estimate"], truth)}
    measurement = arrays["measurement"]
    if measurement.shape == truth.shape and not measurement.is_complex():
        columns = {"measurement": metrics.psnr(measurement, truth), **columns}
    print("image" + "".join(f"{name:>14}" for name in columns) + "   (PSNR, dB)")
    rows = [*zip(*columns.values(), strict=True), [column.mean() for column in columns.values()]]
    for name, row in zip([*range(len(truth)), "mean"], rows, strict=True):
        print(f"{name:>5}" + "".join(f"{value:14.2f}" for value in row))

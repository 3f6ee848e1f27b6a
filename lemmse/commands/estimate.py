"""The command `estimate`."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from .. import datasets, estimators, metrics, operators, plots
from ..devices import device
from ..files import replaced

BATCH = 4  # images estimated between two steps of the progress bar

OPERATORS: dict[str, Callable[[argparse.Namespace, tuple[int, int]], operators.Operator]] = {
    "denoising": lambda args, size: operators.Identity(),
    "inpainting": lambda args, size: operators.Mask.central(args.size, size),
    "blur": lambda args, size: operators.Blur.gaussian(args.std, size),
    "mri": lambda args, size: operators.MRI.cartesian(args.acceleration, size, seed=args.seed),
    "tomography": lambda args, size: operators.Tomography(angles(args.angles), size),
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


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "estimate",
        help="measure test images, estimate them, and draw the result",
        description="Measure test images, estimate them from the measurements, print the PSNR and "
        "draw truth, measurement and estimate.",
    )
    option = command.add_argument
    names = ", ".join(datasets.NAMES)
    option(
        "--dataset",
        default="photos-grey",
        help=f"{names} folder:<path> or fastmri:<path> [%(default)s]",
    )
    option("--images", type=int, default=1000, help="number of training images [%(default)s]")
    option("--operator", choices=OPERATORS, default="denoising", help="what measures [%(default)s]")
    option("--size", type=int, default=15, help="inpainting: hidden square, pixels [%(default)s]")
    option("--std", type=float, default=1.0, help="blur: std in pixels [%(default)s]")
    option(
        "--acceleration", type=float, default=4.0, help="mri: 1 / share of columns [%(default)s]"
    )
    option("--angles", type=int, default=30, help="tomography: number in 180 degrees [%(default)s]")
    option(
        "--preinverse",
        choices=PREINVERSES,
        help="what turns measurements into images before the estimator sees them "
        "[mri: pinv, tomography: fbp, else identity]",
    )
    option("--regularisation", type=float, default=0.01, help="lambda of tikhonov [%(default)s]")
    option("--patch-size", type=int, default=5, help="lemmse, lmmse: side of a patch [%(default)s]")
    option("--sigma", type=float, default=0.1, help="standard deviation of the noise [%(default)s]")
    option("--count", type=int, default=8, help="number of test images [%(default)s]")
    option("--seed", type=int, default=0, help="seed of noise and mri mask [%(default)s]")
    option("--estimator", choices=ESTIMATORS, default="lemmse", help="which one [%(default)s]")
    option("--symmetry", choices=("d4",), help="lemmse: treat flips and quarter turns alike")
    option("--posterior", action="store_true", help="draw the posterior standard deviation, too")
    option("--out", type=Path, default=Path("result.png"), help="figure to write [%(default)s]")
    option("--save", type=Path, help="also write the arrays to this .npz file")
    command.epilog = (
        "Under torchrun (torchrun --nproc-per-node 4 -m lemmse estimate ...) the training set is "
        "shared by the processes; the first one reports."
    )
    command.set_defaults(run=estimate)


def estimate(args: argparse.Namespace) -> None:
    """The command `estimate`."""
    if not 0 < args.sigma < float("inf"):
        raise ValueError(f"--sigma: expected a positive number, got {args.sigma}")
    check_out(args.out, tuple(f".{kind}" for kind in Figure().canvas.get_supported_filetypes()))
    if args.save is not None:
        check_out(args.save, (".npz",))
    if args.symmetry is not None and args.estimator != "lemmse":
        raise ValueError(f"--symmetry: only lemmse has one, got --estimator {args.estimator}")
    args.preinverse = args.preinverse or USUAL_PREINVERSE.get(args.operator, "identity")
    with joined_processes() as (where, first):
        arrays = estimated(args, where, quiet=not first)
    if first:
        report(arrays)
        write(args, arrays)


@contextmanager
def joined_processes() -> Iterator[tuple[torch.device, bool]]:
    """Joins the other processes that torchrun started, if it did.

    Yields:
        The device of this process, and whether it is the first of all.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield device(), True
        return
    where = device()
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    torch.distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield where, torch.distributed.get_rank() == 0
    finally:
        torch.distributed.destroy_process_group()


def estimated(args: argparse.Namespace, where: torch.device, quiet: bool) -> dict[str, Tensor]:
    """Truth, measurement and estimate, and the standard deviation if it was asked for."""
    train = datasets.load(args.dataset, "train", args.images)
    truth = datasets.load(args.dataset, "test", args.count)
    operator = OPERATORS[args.operator](args, tuple(truth.shape[2:]))
    # The noise is drawn on the CPU: the same measurements on every machine.
    noise = torch.Generator().manual_seed(args.seed)
    measurement = operator.measure(truth, args.sigma, noise)
    estimator = ESTIMATORS[args.estimator](train.to(where), operator, args)

    means, deviations = [], []
    with tqdm(total=len(truth), desc=args.estimator, unit="image", disable=quiet) as bar:
        for batch in measurement.split(BATCH):
            mean, deviation = apply(estimator, batch.to(where), args.sigma, args.posterior)
            means.append(mean.cpu())
            deviations.append(deviation.cpu())
            bar.update(len(batch))
    arrays = {"truth": truth, "measurement": measurement, "estimate": torch.cat(means)}
    if args.posterior:
        arrays["deviation"] = torch.cat(deviations)
    return arrays


def write(args: argparse.Namespace, arrays: dict[str, Tensor]) -> None:
    """Write the figure, and the arrays if they were asked for."""
    if args.save is not None:
        with replaced(args.save) as path:
            np.savez_compressed(path, **{name: array.numpy() for name, array in arrays.items()})
        print(f"arrays: {args.save}")
    with replaced(args.out) as path:
        draw(arrays).savefig(path)
    print(f"figure: {args.out}")


def apply(estimator, y: Tensor, sigma: float, posterior: bool) -> tuple[Tensor, Tensor]:
    """Posterior mean and, if asked for (else empty), standard deviation, (B, C, H, W) each."""
    if not posterior:
        return estimator(y, sigma), torch.empty(0)
    result = estimator.posterior(y, sigma)
    return result.mean, result.variance.sqrt()


def angles(count: int) -> list[float]:
    """So many angles evenly spread over 180 degrees, from 0."""
    if count < 1:
        raise ValueError(f"--angles: expected a positive number, got {count}")
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


def draw(arrays: dict[str, Tensor]) -> Figure:
    """Rows of images: truth, measurement, estimate, and the standard deviation if there is one.

    Measurements that are no images are scaled to [0, 1]; complex ones (k-space) are shown as
    their absolute value to the power of 0.3, lowest frequency in the middle.
    """
    truth, measurement = arrays["truth"], arrays["measurement"]
    rows = {"truth": truth, "measurement": measurement, "estimate": arrays["estimate"]}
    nothing = [None] * len(truth)
    compared = [nothing, truth, truth]
    if measurement.is_complex():
        rows["measurement"] = rescaled(torch.fft.fftshift(measurement, (-2, -1)).abs() ** 0.3)
    elif measurement.shape != truth.shape:
        rows["measurement"] = rescaled(measurement)
    if rows["measurement"] is not measurement:
        compared[1] = nothing
    if "deviation" in arrays:
        deviation = arrays["deviation"]
        rows[f"std (white: {deviation.max():.2g})"] = rescaled(deviation)
        compared.append(nothing)
    return plots.show_images(list(rows.values()), row_labels=list(rows), psnr_to=compared)


def rescaled(images: Tensor) -> Tensor:
    """Images divided by their common largest value, so that they can be shown."""
    return images / images.max().clamp_min(torch.finfo(images.dtype).tiny)


def check_out(path: Path, endings: tuple[str, ...]) -> None:
    """ValueError if a file cannot be written there: asked before the computation, not after."""
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(endings)}")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"{path}: expected a file in an existing folder")

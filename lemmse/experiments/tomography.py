"""A tomograph that is not quite the one in the model, and what LE-MMSE makes of its data.

The scan of chapters 22 and 23: 24 angles, photographs of 32 x 32 pixels, sigma = 0.5. The real
scanner may differ from its model (`Fault`). The other methods are computed there; LE-MMSE has a
covariance of its own at every pixel here and takes long, so its errors are shipped (`results`), for
some pixels of 64 test photographs. `run` computes them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import datasets
from ..estimators import LEMMSE
from ..operators import Tomography
from . import record
from .record import Bar, Cell, machine, silent

NAME = "tomography"
TITLE = "LE-MMSE on the data of scanners with faults"
CHAPTERS = "22, 23"
COST = "7 minutes"
OPTIONS = ()

SIZE = (32, 32)
ANGLES = np.arange(24) * 7.5
SIGMA = 0.5
IMAGES = 1000
PATCH_SIZE = 5
REGULARISATION = 3.0
PHOTOGRAPHS = 64
PIXELS = 64
"""LE-MMSE is measured at so many pixels of each of so many test photographs."""

DRAWS = 16
"""So many draws of the angle errors; photograph i has draw i modulo this number."""


@dataclass(frozen=True)
class Fault:
    """How the real scanner differs from its model.

    Attributes:
        jitter: standard deviation of the error of each angle, in degrees.
        centre: the axis of rotation projects so many pixels beside the middle of the detector.
        saturation: beta >= 0 of the detector's response to a line sum a,
            (1 - exp(-beta a)) / beta; 0 is the linear one, a itself.

    Example:
        >>> Fault(jitter=2.0).name, Fault().name
        ('jitter 2', 'none')
    """

    jitter: float = 0.0
    centre: float = 0.0
    saturation: float = 0.0

    @property
    def name(self) -> str:
        """The errors that are there, in words."""
        there = [f"{name} {value:g}" for name, value in vars(self).items() if value]
        return ", ".join(there) or "none"


def saturated(line_sums: Tensor, beta: float) -> Tensor:
    """The detector's response, (1 - exp(-beta a)) / beta; a itself for beta = 0, or a < 0.

    Images have no negative line sums, but estimates may. The response goes on along its tangent
    there: so its slope is nowhere above one, and no estimate makes it explode.

    Example:
        >>> saturated(torch.tensor([1.0]), 0.0), saturated(torch.tensor([-9.0, 1e9]), 0.5)
        (tensor([1.]), tensor([-9.,  2.]))
    """
    if not beta:
        return line_sums
    return torch.where(
        line_sums > 0, -torch.expm1(-beta * line_sums.clamp_min(0)) / beta, line_sums
    )


def slope(line_sums: Tensor, beta: float) -> Tensor:
    """The derivative of the response, exp(-beta a); 1 for a < 0.

    Example:
        >>> slope(torch.tensor([-1.0, 0.0, 1e9]), 0.5)
        tensor([1., 1., 0.])
    """
    return (-beta * line_sums.clamp_min(0)).exp()


class Scanner(Tomography):
    """A tomograph whose detector saturates, so that A is not linear.

    ``A`` is (1 - exp(-beta a)) / beta of the line sums a, less ``origin``, and ``A_vjp`` the
    adjoint of its derivative; the adjoint and the inverses are those of the line sums.

    Args:
        angles: in degrees.
        centre: see `operators.Tomography`.
        saturation: beta >= 0; 0 is a linear detector.
        origin: a measurement (1, 1, D, angles) from which others are counted; None: zero.
        size: (H, W).

    Example:
        >>> scan = Scanner([0.0], saturation=0.1)
        >>> scan.A(torch.full((1, 1, 32, 32), 100.0)).max().item()
        10.0
    """

    def __init__(
        self,
        angles: object = ANGLES,
        centre: float = 0.0,
        saturation: float = 0.0,
        origin: Tensor | None = None,
        size: tuple[int, int] = SIZE,
    ):
        super().__init__(angles, size, centre)
        self.saturation = saturation
        self.origin = origin

    def A(self, x: Tensor) -> Tensor:
        """See the class."""
        y = saturated(super().A(x), self.saturation)
        return y if self.origin is None else y - self.origin.to(y)

    def A_vjp(self, x: Tensor, v: Tensor) -> Tensor:
        """A^T diag(t) v, for the slopes t of the response at the line sums of x."""
        return self.A_adjoint(slope(super().A(x), self.saturation) * v)


def scanners(fault: Fault, photographs: int = PHOTOGRAPHS) -> list[Scanner]:
    """The real scanner: one, or with angle errors one for each draw that photographs meet."""
    if not fault.jitter:
        return [Scanner(ANGLES, fault.centre, fault.saturation)]
    errors = np.random.default_rng(22).standard_normal((DRAWS, len(ANGLES)))[:photographs]
    return [
        Scanner(ANGLES + fault.jitter * error, fault.centre, fault.saturation) for error in errors
    ]


def without_noise(images: Tensor, fault: Fault) -> Tensor:
    """What the real scanner measures of images (B, 1, H, W), without noise, (B, m) in float64.

    Example:
        >>> without_noise(torch.ones(1, 1, 32, 32), Fault()).shape
        torch.Size([1, 1104])
    """
    images, scans = images.double(), scanners(fault, len(images))
    parts = [scan.A(images[i :: len(scans)]).flatten(1) for i, scan in enumerate(scans)]
    y = parts[0].new_empty(len(images), parts[0].shape[1])
    for i, part in enumerate(parts):
        y[i :: len(scans)] = part
    return y


def measured(images: Tensor, fault: Fault, sigma: float = SIGMA, seed: int = 0) -> Tensor:
    """The same with noise, which depends on the seed only.

    Returns:
        (B, m); ``view(-1, 1, 46, 24)`` has the shape that `operators.Tomography` measures.
    """
    y = without_noise(images, fault)
    generator = torch.Generator().manual_seed(seed)
    return y + sigma * torch.randn(y.shape, generator=generator, dtype=y.dtype)


def sampled_pixels() -> Tensor:
    """The pixels at which LE-MMSE is measured, (row, column), int64 (PIXELS, 2)."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(SIZE[0] * SIZE[1], generator=generator)[:PIXELS]
    return torch.stack([drawn // SIZE[1], drawn % SIZE[1]], 1)


@dataclass(frozen=True)
class Case:
    """One estimator on the data of one scanner.

    Attributes:
        fault: of the real scanner.
        keys: "model", A x_k of the faultless scanner; or "saturated", the response of the real
            detector to these line sums.
        preinverse: "fbp"; "tikhonov l" with lambda = l; "wiener", the best diagonal in the singular
            vectors; or "relinearised", Tikhonov's inverse of the derivative of the saturated
            response at the grey image, applied to the difference from the scan of that image.
    """

    fault: Fault = Fault()
    keys: str = "model"
    preinverse: str = f"tikhonov {REGULARISATION:g}"

    @property
    def name(self) -> str:
        """Fault, keys and pre-inverse."""
        return f"{self.fault.name} / {self.keys} / {self.preinverse}"


JITTERS = (0.0, 1.0, 2.0, 4.0, 8.0)
CENTRES = (0.0, 0.125, 0.25, 0.5, 1.0)
SATURATIONS = (0.0, 0.01, 0.02, 0.05, 0.1)
CASES = list(
    dict.fromkeys(
        [Case(Fault(jitter=value)) for value in JITTERS]
        + [Case(Fault(centre=value)) for value in CENTRES]
        + [Case(Fault(saturation=value)) for value in SATURATIONS]
        + [Case(Fault(saturation=value), "saturated") for value in SATURATIONS[1:]]
        + [Case(Fault(saturation=beta), "saturated", "relinearised") for beta in SATURATIONS[1:]]
        + [Case(preinverse=b) for b in ("fbp", "tikhonov 1", "tikhonov 10", "wiener")]
    )
)


def preinverse_matrix(kind: str, images: Tensor, beta: float = 0.0, sigma: float = SIGMA) -> Tensor:
    """B of a `Case` as a matrix (H*W, m), float64.

    Raises:
        ValueError: it is none of the kinds.
    """
    if kind == "fbp":
        return Scanner().backprojection.value
    matrix, strength = Scanner().matrix.value, REGULARISATION
    if kind == "relinearised":
        grey = images.double().mean()
        matrix = (-beta * grey * matrix.sum(1)).exp()[:, None] * matrix
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    if kind == "wiener":
        power = (images.flatten(1).double() @ vh.T).square().mean(0)
        return vh.T * (s * power / (s**2 * power + sigma**2)) @ u.T
    if kind.startswith("tikhonov "):
        strength = float(kind.split()[1])
    elif kind != "relinearised":
        raise ValueError(f"preinverse: expected one of those of `Case`, got {kind!r}")
    return vh.T * (s / (s**2 + strength)) @ u.T


def le_mmse(case: Case, images: Tensor) -> LEMMSE:
    """The estimator of a case, from training images (N, 1, H, W) in float64.

    LE-MMSE needs A only in the A x_k, so that it need not be linear; B is linear.
    """
    beta = case.fault.saturation
    known = Scanner(saturation=beta if case.keys == "saturated" else 0.0)
    if case.preinverse == "relinearised":
        known.origin = known.A(images.mean().expand(1, 1, *SIZE))
    b = preinverse_matrix(case.preinverse, images, beta)
    return LEMMSE(images, known, preinverse=b, patch_size=PATCH_SIZE)


def squared_errors(case: Case, photographs: int = PHOTOGRAPHS) -> list[float]:
    """The mean squared error of LE-MMSE at the sampled pixels of each test photograph."""
    estimator = le_mmse(case, datasets.load("photos-grey", "train", IMAGES).double())
    truth = datasets.load("photos-grey", "test", PHOTOGRAPHS).double()
    y = measured(truth, case.fault)[:photographs].view(-1, 1, *estimator.operator.measurement_shape)
    if estimator.operator.origin is not None:
        y = y - estimator.operator.origin
    pixels = sampled_pixels()
    estimate = estimator.at(y, SIGMA, pixels)[..., 0]
    row, column = pixels.T
    return (estimate - truth[:photographs, 0, row, column]).square().mean(1).tolist()


QUICK = [Case(), Case(Fault(centre=0.5))]
"""The cases of the quick version."""


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold.

    Example:
        >>> len(results()["squared_error"][Case().name]) == PHOTOGRAPHS
        True
    """
    return record.read(NAME, path)


def settings() -> dict:
    """What was computed, beside the cases."""
    return {
        "angles": ANGLES.tolist(),
        "sigma": SIGMA,
        "images": IMAGES,
        "patch size": PATCH_SIZE,
        "photographs": PHOTOGRAPHS,
        "pixels": PIXELS,
        "draws": DRAWS,
    }


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
) -> dict:
    """Measures LE-MMSE in all cases that the file does not hold yet, and writes it after each.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: measure only `QUICK`.
        device: "cpu", where the published results were computed, in float64.
        bar: see `record.Bar`.

    Returns:
        ``squared_error``, for each case a list with `squared_errors`; and ``machine``, where the
        last one was computed.

    Raises:
        ValueError: a file of other settings.
    """
    file = record.Record(NAME, out, settings())
    return file.work([_cell(case) for case in (QUICK if quick else CASES)], bar)


def _cell(case: Case) -> Cell:
    def compute(results: dict) -> dict:
        errors = [float(f"{value:.5g}") for value in squared_errors(case)]
        return {"squared_error": {case.name: errors}, "machine": machine("cpu")}

    return Cell(case.name, lambda found: case.name in found.get("squared_error", {}), compute)


def psnr_of(errors: list[float]) -> float:
    """PSNR in dB of mean squared errors, for values in [0, 1].

    Example:
        >>> round(psnr_of([0.01, 0.03]), 1)
        17.0
    """
    return -10 * math.log10(sum(errors) / len(errors))

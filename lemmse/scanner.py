"""A tomograph that is not quite the one in the model, and what LE-MMSE makes of its data.

The scan of chapter 22: 24 angles, photographs of 32 x 32 pixels, sigma = 0.5. The real scanner may
differ from its model (`Fault`). The other methods are computed in the chapter itself; LE-MMSE has a
covariance of its own at every pixel here and takes long, so its errors are shipped (`results`), for
some pixels of 64 test photographs. `python -m lemmse tomography` computes them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import datasets
from .comparison import machine
from .files import write_json
from .operators import Tomography
from .patches import extract, patch_pixels

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

RESULTS = Path(__file__).parent / "results" / "tomography.json"
LOCATIONS_AT_ONCE = 64
QUERIES_AT_ONCE = 256  # the weights of these on 1,000 images are 1 MB


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


def scan_matrix(angles: object = ANGLES, centre: float = 0.0, size: int = SIZE[0]) -> Tensor:
    """The matrix of a scan with its axis of rotation off centre.

    It is that of `operators.Tomography`, with detector cell d at ``u = d - D // 2 + centre``.

    Args:
        angles: in degrees.
        centre: in pixels.
        size: height and width of the images.

    Returns:
        (D * angles, size * size), float64, D the number of detector cells.

    Example:
        >>> torch.equal(scan_matrix([0.0], centre=1.0, size=4)[:-1], scan_matrix([0.0], size=4)[1:])
        True
    """
    cells = math.ceil(math.sqrt(2) * size)
    along = torch.arange(cells).double() - cells // 2
    u, v = along[:, None] + centre, along
    pixel = torch.arange(size) - size // 2
    parts = []
    for theta in np.deg2rad(np.asarray(angles, dtype=float)):
        row = -np.sin(theta) * u + np.cos(theta) * v
        column = np.cos(theta) * u + np.sin(theta) * v
        near = [(1 - (at[..., None] - pixel).abs()).clamp_min(0) for at in (row, column)]
        parts.append(torch.einsum("dvr,dvc->drc", *near))
    return torch.stack(parts, 1).flatten(2).flatten(0, 1)


def saturated(line_sums: Tensor, beta: float) -> Tensor:
    """The detector's response, (1 - exp(-beta a)) / beta; a itself for beta = 0.

    Example:
        >>> saturated(torch.tensor([1.0]), 0.0), saturated(torch.tensor([1e9]), 0.5)
        (tensor([1.]), tensor([2.]))
    """
    return -torch.expm1(-beta * line_sums) / beta if beta else line_sums


def matrices(fault: Fault) -> list[Tensor]:
    """The matrices of the real scanner: one, or with angle errors one for each draw."""
    if not fault.jitter:
        return [scan_matrix(centre=fault.centre)]
    errors = np.random.default_rng(22).standard_normal((DRAWS, len(ANGLES)))
    return [scan_matrix(ANGLES + fault.jitter * error, fault.centre) for error in errors]


def without_noise(images: Tensor, fault: Fault) -> Tensor:
    """What the real scanner measures of images (B, 1, H, W), without noise, (B, m).

    Example:
        >>> without_noise(torch.ones(1, 1, 32, 32), Fault()).shape
        torch.Size([1, 1104])
    """
    vectors, scans = images.flatten(1).double(), matrices(fault)
    y = vectors.new_empty(len(vectors), len(scans[0]))
    for i, scan in enumerate(scans):
        y[i :: len(scans)] = vectors[i :: len(scans)] @ scan.T
    return saturated(y, fault.saturation)


def measured(images: Tensor, fault: Fault, sigma: float = SIGMA, seed: int = 0) -> Tensor:
    """The same with noise, which depends on the seed only.

    Returns:
        (B, m); ``view(-1, 1, 46, 24)`` has the shape that `operators.Tomography` measures.
    """
    y = without_noise(images, fault)
    generator = torch.Generator().manual_seed(seed)
    return y + sigma * torch.randn(y.shape, generator=generator, dtype=y.dtype)


def sampled_pixels(photographs: int = PHOTOGRAPHS) -> Tensor:
    """The pixels at which LE-MMSE is measured, row * W + column, (photographs, PIXELS)."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randperm(SIZE[0] * SIZE[1], generator=generator) for _ in range(photographs)]
    return torch.stack(draws)[:, :PIXELS]


def le_mmse_at(patches: Tensor, seen: Tensor, values: Tensor, b: Tensor, sigma: float) -> Tensor:
    """LE-MMSE of some patches of z = B y, for a B of any kind.

    It is `estimators.LEMMSE` without the other pixels, for square images of one channel, and it
    takes B A x_k itself, so that A need not be linear.

    Args:
        patches: (Q, P * P).
        seen: B A x_k of the training images, (N, H*W), float64.
        values: the training images x_k, (N, H*W).
        b: B as a matrix (H*W, m), float64.
        sigma: standard deviation of the noise in y.

    Returns:
        (Q,), float32.

    Raises:
        ValueError: the noise of a patch of z has a singular covariance.

    Source: [LE], the LE-MMSE theorem, with a covariance of its own at every location.
    """
    side = math.isqrt(b.shape[0])
    pixels = patch_pixels(math.isqrt(patches.shape[1]), (side, side))
    queries = patches.float().split(QUERIES_AT_ONCE)
    top = [query.new_full((len(query), 1), -torch.inf) for query in queries]
    sums = [query.new_zeros(len(query), 2) for query in queries]  # of w_k x_k and of w_k
    for part in torch.arange(len(pixels)).split(LOCATIONS_AT_ONCE):
        noise = b[pixels[part]]
        factor, failed = torch.linalg.cholesky_ex(noise @ noise.mT)
        if failed.any():
            raise ValueError("expected a B whose patches have noise of full rank")
        whiten = torch.linalg.inv(factor).mT / sigma
        keys = seen[:, pixels[part]].transpose(0, 1) @ whiten
        centre = keys.mean(1, keepdim=True)
        keys, whiten, centre = (keys - centre).float(), whiten.float(), centre.float()
        log_det = factor.diagonal(dim1=1, dim2=2).log().sum(1).float()
        bias = -keys.square().sum(2) / 2 - log_det[:, None]
        for i, location in enumerate(part):
            value = values[:, location].float()
            columns = torch.stack([value, torch.ones_like(value)], 1)
            for query, high, total in zip(queries, top, sums, strict=True):
                _add(query @ whiten[i] - centre[i], keys[i].T, bias[i], columns, high, total)
    sums = torch.cat(sums)
    return sums[:, 0] / sums[:, 1]


def _add(query: Tensor, keys: Tensor, bias: Tensor, columns: Tensor, top: Tensor, sums: Tensor):
    """Adds the keys of one location to the sums, relative to the largest logit, both in place."""
    logits = torch.addmm(bias, query, keys)
    norm = query.square().sum(1, keepdim=True) / 2
    highest = torch.maximum(top, logits.amax(1, keepdim=True) - norm)
    # An exponential that underflows takes torch twenty times as long on a CPU.
    weights = logits.sub_(highest + norm).clamp_min_(-80).exp_()
    sums.mul_((top - highest).exp_()).addmm_(weights, columns)
    top.copy_(highest)


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
        return Tomography(ANGLES, SIZE).backprojection.value
    matrix, strength = scan_matrix(), REGULARISATION
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


def squared_errors(case: Case, photographs: int = PHOTOGRAPHS) -> list[float]:
    """The mean squared error of LE-MMSE at the sampled pixels of each test photograph."""
    images = datasets.load("photos-grey", "train", IMAGES).double()
    truth = datasets.load("photos-grey", "test", PHOTOGRAPHS).double()
    pixels = sampled_pixels()[:photographs]
    beta = case.fault.saturation
    b = preinverse_matrix(case.preinverse, images, beta)
    known = Fault(saturation=beta if case.keys == "saturated" else 0.0)
    seen, y = without_noise(images, known), measured(truth, case.fault)[:photographs]
    if case.preinverse == "relinearised":
        origin = without_noise(images.mean().expand(1, 1, *SIZE), known)
        seen, y = seen - origin, y - origin
    seen, z = seen @ b.T, y @ b.T
    patches = extract(z.view(-1, 1, *SIZE), PATCH_SIZE)
    index = pixels[..., None].expand(-1, -1, PATCH_SIZE**2)
    queries = patches.gather(1, index).flatten(0, 1)
    estimate = le_mmse_at(queries, seen, images.flatten(1), b, SIGMA).view(pixels.shape)
    error = estimate - truth[:photographs].flatten(1).gather(1, pixels)
    return error.square().mean(1).tolist()


def results(path: Path = RESULTS) -> dict:
    """The published results; see `measure` for what they hold.

    Example:
        >>> len(results()["squared_error"][Case().name]) == PHOTOGRAPHS
        True
    """
    return json.loads(path.read_text())


def measure(path: Path = RESULTS, cases: list[Case] | None = None) -> Iterator[str]:
    """Measures LE-MMSE in all cases that the file does not hold yet, and writes it after each.

    Args:
        path: JSON to read and to write.
        cases: None for all.

    Yields:
        The name of each case after it was measured. The file then has ``squared_error``, for each
        case a list with `squared_errors`, and ``machine``, where the last one was computed.
    """
    content = results(path) if path.exists() else {"machine": {}, "squared_error": {}}
    for case in CASES if cases is None else cases:
        if case.name not in content["squared_error"]:
            errors = [float(f"{value:.5g}") for value in squared_errors(case)]
            content["squared_error"][case.name] = errors
            content["machine"] = machine("cpu")
            write_json(path, content)
            yield case.name


def psnr_of(errors: list[float]) -> float:
    """PSNR in dB of mean squared errors, for values in [0, 1].

    Example:
        >>> round(psnr_of([0.01, 0.03]), 1)
        17.0
    """
    return -10 * math.log10(sum(errors) / len(errors))

"""Exercises of chapter 9: pre-inverses and degenerate Gaussians."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _offsets(patch_size):
    """Row and column of every element of a patch, (P*P, 2), in row-major order."""
    return [(i, j) for i in range(patch_size) for j in range(patch_size)]


def _toeplitz(spectrum, patch_size):
    height, width = spectrum.shape
    rows = torch.arange(height, dtype=spectrum.dtype)[:, None] / height
    columns = torch.arange(width, dtype=spectrum.dtype) / width
    places = _offsets(patch_size)
    covariance = spectrum.new_zeros(len(places), len(places))
    for a, (i, j) in enumerate(places):
        for b, (k, m) in enumerate(places):
            wave = torch.cos(2 * math.pi * (rows * (i - k) + columns * (j - m)))
            covariance[a, b] = (spectrum * wave).mean()
    return covariance


def _toeplitz_unnormalised(spectrum, patch_size):
    return _toeplitz(spectrum, patch_size) * spectrum.numel()


def _toeplitz_of_amplitude(spectrum, patch_size):
    return _toeplitz(spectrum.sqrt(), patch_size)


def _toeplitz_by_number(spectrum, patch_size):
    """Takes the difference of the numbers of the elements instead of that of their places."""
    autocovariance = torch.fft.ifft2(spectrum).real.flatten()
    number = torch.arange(patch_size**2)
    return autocovariance[(number[:, None] - number) % spectrum.numel()]


def _toeplitz_transposed(spectrum, patch_size):
    return _toeplitz(spectrum.T, patch_size)


@exercise(
    "9.1",
    "the covariance of stationary noise in a patch",
    reference=_toeplitz,
    hint="the entry (i, j) is S at row difference and column difference of the two places, "
    "both taken modulo the size of the image",
    properties=[
        Property(
            "returns the identity for white noise",
            lambda case: close(
                case.call(spectrum=torch.ones_like(case["spectrum"])),
                torch.eye(case["patch_size"] ** 2, dtype=torch.float64),
            ),
            "S is the inverse FFT of the spectrum, with its factor 1 / (H W); "
            "white noise has S = 1 at the origin and 0 elsewhere",
        ),
        Property(
            "has the mean of the spectrum on its diagonal",
            lambda case: close(
                torch.as_tensor(case.result).diagonal(),
                case["spectrum"].mean().expand(case["patch_size"] ** 2),
            ),
            "the spectrum is |b|^2 already: neither its square nor its root enters",
        ),
    ],
    wrong=[
        (_toeplitz_unnormalised, "returns the identity for white noise"),
        (_toeplitz_of_amplitude, "has the mean of the spectrum on its diagonal"),
        (_toeplitz_by_number, AGREES),
        (_toeplitz_transposed, AGREES),
    ],
    tolerance=1e-8,
)
def _(generator):
    kernel = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    return {"spectrum": torch.fft.fft2(kernel).abs().square(), "patch_size": 3}


def _log_density(v, mean, q, sigma):
    basis, singular, _ = torch.linalg.svd(q, full_matrices=False)
    keep = singular > 1e-9 * singular.max()
    coordinates = (basis[:, keep].T @ (v - mean)) / (sigma * singular[keep])
    normal = torch.distributions.Normal(0.0, 1.0)
    return normal.log_prob(coordinates).sum() - (sigma * singular[keep]).log().sum()


def _log_density_full_dimension(v, mean, q, sigma):
    """Counts the dimension of v instead of the rank."""
    rank = int(torch.linalg.matrix_rank(q))
    lost = (len(v) - rank) / 2 * math.log(2 * math.pi * sigma**2)
    return _log_density(v, mean, q, sigma) - lost


def _log_density_without_determinant(v, mean, q, sigma):
    singular = torch.linalg.svdvals(q)
    return _log_density(v, mean, q, sigma) + singular[singular > 1e-9].log().sum()


def _log_density_twice_the_determinant(v, mean, q, sigma):
    singular = torch.linalg.svdvals(q)
    return _log_density(v, mean, q, sigma) - singular[singular > 1e-9].log().sum()


def _log_density_wrong_metric(v, mean, q, sigma):
    """Takes the plain distance instead of the one in the metric of the covariance."""
    inverse = torch.linalg.pinv(q @ q.T)
    right, wrong = (v - mean) @ inverse @ (v - mean), (v - mean) @ (v - mean)
    return _log_density(v, mean, q, sigma) + (right - wrong) / (2 * sigma**2)


_HIDDEN = "is indifferent to one more hidden pixel"
_SCALED = "loses rank * log 2 when v, the mean and Q are doubled"


def _with_hidden_pixel(case):
    zero = torch.zeros(1, dtype=torch.float64)
    return case.call(
        v=torch.cat([case["v"], zero]),
        mean=torch.cat([case["mean"], zero]),
        q=torch.cat([case["q"], torch.zeros(1, case["q"].shape[1], dtype=torch.float64)]),
    )


def _doubled(case):
    return case.call(v=2 * case["v"], mean=2 * case["mean"], q=2 * case["q"])


@exercise(
    "9.2",
    "the log-density of a degenerate Gaussian",
    reference=_log_density,
    hint="-|W (v - mean)|^2 / (2 sigma^2) - r/2 log(2 pi sigma^2) - 1/2 log pdet(Q Q^T), "
    "with W made of the r eigenvalues that are not zero, and pdet their product",
    properties=[
        Property(
            _HIDDEN,
            lambda case: close(_with_hidden_pixel(case), case.result),
            "the factor log(2 pi sigma^2) / 2 belongs to each of the r = rank Q dimensions "
            "of the subspace, not to each of the len(v) numbers",
        ),
        Property(
            _SCALED,
            lambda case: close(
                _doubled(case),
                case.result - int(torch.linalg.matrix_rank(case["q"])) * math.log(2),
            ),
            "the distance is measured in units of the noise, and half the logarithm of the "
            "pseudo-determinant of Q Q^T is subtracted once",
        ),
    ],
    wrong=[
        (_log_density_full_dimension, _HIDDEN),
        (_log_density_without_determinant, _SCALED),
        (_log_density_twice_the_determinant, _SCALED),
        (_log_density_wrong_metric, _SCALED),
        (lambda v, mean, q, sigma: _log_density(v, 0 * mean, q, sigma), AGREES),
    ],
    tolerance=1e-6,
)
def _(generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    # Four numbers, two or three dimensions: a product of two factors has their common rank.
    rank = 2 + int(torch.randint(2, (1,), generator=generator))
    q = normal(4, rank) @ normal(rank, 6)
    return {"v": q @ normal(6), "mean": q @ normal(6), "q": q, "sigma": 0.5}


def _same_pattern(mask, patch_size, row, column):
    height, width = mask.shape
    reach = range(-(patch_size // 2), patch_size // 2 + 1)

    def pattern(i, j):
        return [bool(mask[(i + a) % height, (j + b) % width]) for a in reach for b in reach]

    wanted = pattern(row, column)
    return torch.tensor([[pattern(i, j) == wanted for j in range(width)] for i in range(height)])


def _same_count(mask, patch_size, row, column):
    """Compares how many pixels are visible, not which."""
    p = patch_size // 2
    padded = torch.nn.functional.pad(mask[None, None].double(), (p,) * 4, mode="circular")
    count = torch.nn.functional.avg_pool2d(padded, patch_size, 1)[0, 0]
    return (count - count[row, column]).abs() < 1e-9


def _same_pattern_without_wrapping(mask, patch_size, row, column):
    """Treats what lies beyond the frame as hidden."""
    p = patch_size // 2
    padded = torch.nn.functional.pad(mask.bool(), (p,) * 4)
    windows = padded.unfold(0, patch_size, 1).unfold(1, patch_size, 1).flatten(2)
    return (windows == windows[row, column]).all(2)


_ROLLED = "rolls its answer along when mask, row and column are rolled"


def _rolled(case):
    height, width = case["mask"].shape
    return case.call(
        mask=case["mask"].roll((1, 2), (0, 1)),
        row=(case["row"] + 1) % height,
        column=(case["column"] + 2) % width,
    )


@exercise(
    "9.3",
    "all locations with one visibility pattern",
    reference=_same_pattern,
    hint="two patterns are the same if they agree at every one of the P * P places; "
    "a different arrangement of as many visible pixels is another subspace",
    properties=[
        Property(
            "contains the location itself",
            lambda case: bool(torch.as_tensor(case.result)[case["row"], case["column"]]),
            "the pattern at (row, column) equals itself",
        ),
        Property(
            _ROLLED,
            lambda case: close(_rolled(case), torch.as_tensor(case.result).roll((1, 2), (0, 1))),
            "boundaries are circular: beyond the last row comes the first one",
        ),
    ],
    wrong=[
        (
            lambda mask, patch_size, row, column: torch.zeros_like(mask, dtype=torch.bool),
            "contains the location itself",
        ),
        (_same_pattern_without_wrapping, _ROLLED),
        (_same_count, AGREES),
    ],
)
def _(generator):
    # A hidden rectangle on a torus; the location lies in the middle of a side or at a corner of it,
    # just outside, where its pattern has companions or look-alikes.
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[:3, :4] = False
    row, column = [(3, 1), (3, 4), (7, 2), (1, 4)][int(torch.randint(4, (1,), generator=generator))]
    down, right = torch.randint(8, (2,), generator=generator).tolist()
    return {
        "mask": mask.roll((down, right), (0, 1)),
        "patch_size": 3,
        "row": (row + down) % 8,
        "column": (column + right) % 8,
    }

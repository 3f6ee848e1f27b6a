"""Exercises of chapter 5: translation equivariance."""

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


class _Filter:
    """A small layer whose name a reader can understand: a weighted sum of shifted copies."""

    def __init__(self, taps, circular, scale=None):
        """Taps as (row, column, weight); scale: a factor for each pixel, after the filter."""
        self.taps, self.circular, self.scale = taps, circular, scale

    def __call__(self, x):
        """Filter an image (H, W)."""
        total = torch.zeros_like(x)
        for row, column, weight in self.taps:
            moved = x.roll((row, column), (0, 1))
            if not self.circular:
                moved[:row], moved[:, :column] = 0, 0
            total += weight * moved
        return total.relu() if self.scale is None else total.relu() * self.scale

    def __repr__(self):
        """The kind of the layer."""
        if self.scale is not None:
            return "a filter followed by a factor that depends on the position"
        boundary = "circular" if self.circular else "zero"
        return f"a filter with {boundary} padding and a ReLU"


def _taps(generator):
    """Four taps of random weights."""
    weights = torch.randn(4, generator=generator).tolist()
    return [(i // 2, i % 2, weight) for i, weight in enumerate(weights)]


def _gap(phi, x, shift):
    rows = (torch.arange(x.shape[0]) - shift[0]) % x.shape[0]
    columns = (torch.arange(x.shape[1]) - shift[1]) % x.shape[1]
    shifted = x[rows][:, columns]
    return float((phi(shifted) - phi(x)[rows][:, columns]).abs().max())


@exercise(
    "5.1",
    "the largest violation of equivariance",
    reference=_gap,
    hint="compare phi(T_s x) with T_s phi(x), entry by entry, and take the largest absolute value",
    properties=[
        Property(
            "returns 0 for a filter with circular padding",
            lambda case: close(case.call(phi=_Filter([(0, 1, 0.5), (1, 0, -0.3)], True)), 0.0),
            "the output has to be shifted too, by the same shift, with wrap-around (roll)",
        ),
        Property(
            "returns 0 for the shift (0, 0)",
            lambda case: close(case.call(shift=(0, 0)), 0.0),
            "use the shift that was given",
        ),
        Property(
            "never returns a negative number",
            lambda case: case.result >= 0 and case.call(phi=lambda x: -case["phi"](x)) >= 0,
            "take absolute values before the maximum",
        ),
    ],
    wrong=[
        (
            lambda phi, x, shift: (phi(x.roll(shift, (0, 1))) - phi(x)).abs().max(),
            "returns 0 for a filter with circular padding",
        ),
        (
            lambda phi, x, shift: (phi(x.roll(shift, (0, 1))) - phi(x).roll(shift, (0, 1))).sum(),
            "never returns a negative number",
        ),
        (
            lambda phi, x, shift: (
                (phi(x.roll(shift, (0, 1))) - phi(x).roll(shift, (0, 1))).abs().mean()
            ),
            AGREES,
        ),
        (
            lambda phi, x, shift: (
                (phi(x.roll(shift[::-1], (0, 1))) - phi(x).roll(shift[::-1], (0, 1))).abs().max()
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    x = torch.rand(5, 6, generator=generator)
    place = torch.linspace(0.5, 1.5, 6) if torch.rand(1, generator=generator) < 0.5 else None
    phi = _Filter(_taps(generator), circular=place is not None, scale=place)
    shift = tuple(torch.randint(1, 5, (2,), generator=generator).tolist())
    if shift[0] == shift[1]:
        shift = (shift[0], shift[1] % 4 + 1)
    return {"phi": phi, "x": x, "shift": shift}


def _logits(y, x, sigma):
    height, width = x.shape
    logits = torch.empty(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            moved = x.roll((row, column), (0, 1))
            logits[row, column] = -((y - moved) ** 2).sum() / (2 * sigma**2)
    return logits


def _product(y, x):
    return torch.fft.ifft2(torch.fft.fft2(y) * torch.fft.fft2(x).conj()).real


def _energies(y, x):
    return y.square().sum() + x.square().sum()


@exercise(
    "5.2",
    "the logits of all shifts by one cross-correlation",
    reference=_logits,
    hint="-(|y|^2 + |x|^2 - 2 correlation) / (2 sigma^2): the signs, both factors 2, sigma squared",
    properties=[
        Property(
            "returns 0 at the shift by which y was made from x, if there is no noise",
            lambda case: close(
                case.call(y=case["x"].roll((2, 1), (0, 1)))[2, 1] * case["sigma"] ** 2, 0.0
            ),
            "at that shift the distance vanishes: is the conjugate on the transform of x, and are "
            "both squared norms there?",
        ),
        Property(
            "returns no logit above 0",
            lambda case: bool((case.result <= 1e-9).all()),
            "a logit is minus a squared distance over a positive number",
        ),
    ],
    wrong=[
        (
            lambda y, x, sigma: -(_energies(y, x) - 2 * _product(x, y)) / (2 * sigma**2),
            "returns 0 at the shift by which y was made from x, if there is no noise",
        ),
        (
            lambda y, x, sigma: _product(y, x) / sigma**2,
            "returns 0 at the shift by which y was made from x, if there is no noise",
        ),
        (
            lambda y, x, sigma: (_energies(y, x) - 2 * _product(y, x)) / (2 * sigma**2),
            "returns no logit above 0",
        ),
        (lambda y, x, sigma: -(_energies(y, x) - 2 * _product(y, x)) / (2 * sigma), AGREES),
        (lambda y, x, sigma: -(_energies(y, x) - 2 * _product(y, x)) / sigma**2, AGREES),
    ],
)
def _(generator):
    x = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    sigma = 0.1 + 0.4 * torch.rand(1, generator=generator).item()
    return {"y": x.roll((1, 3), (0, 1)) + sigma * noise, "x": x, "sigma": sigma}


def _symmetrise(phi, y):
    height, width = y.shape
    moved = [
        phi(y.roll((-row, -column), (0, 1))).roll((row, column), (0, 1))
        for row in range(height)
        for column in range(width)
    ]
    return torch.stack(moved).mean(0)


def _average(phi, y, back):
    height, width = y.shape
    shifts = [(row, column) for row in range(height) for column in range(width)]
    moved = [phi(y.roll(s, (0, 1))).roll((back * s[0], back * s[1]), (0, 1)) for s in shifts]
    return torch.stack(moved).mean(0)


@exercise(
    "5.3",
    "an estimator averaged over all shifts",
    reference=_symmetrise,
    hint="all H * W shifts, each once, and the mean of what comes back",
    properties=[
        Property(
            "returns a result that shifts along with y",
            lambda case: close(
                case.call(y=case["y"].roll((1, 2), (0, 1))), case.result.roll((1, 2), (0, 1))
            ),
            "after phi the output must be shifted back, by the opposite of the shift before",
        ),
    ],
    wrong=[
        (lambda phi, y: _average(phi, y, 0), "returns a result that shifts along with y"),
        (lambda phi, y: _average(phi, y, 1), "returns a result that shifts along with y"),
        (lambda phi, y: _average(phi, y, -1) * y.numel(), AGREES),
    ],
)
def _(generator):
    place = torch.rand(3, 4, generator=generator)
    y = torch.rand(3, 4, generator=generator)
    return {"phi": _Filter(_taps(generator), circular=False, scale=place), "y": y}

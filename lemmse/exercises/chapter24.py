"""Exercises of chapter 24: infrared imaging."""

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _otsu(values):
    """Tries every cut between two neighbouring values, one after the other."""
    best, found = -1.0, None
    for threshold in values.unique()[:-1]:
        warm = values > threshold
        share = warm.float().mean()
        gap = values[warm].mean() - values[~warm].mean()
        between = share * (1 - share) * gap**2
        if between > best:
            best, found = between, warm
    return found


def _halfway(values):
    return values > (values.min() + values.max()) / 2


def _above_mean(values):
    return values > values.mean()


def _unweighted(values):
    """The largest gap between the two means, whatever the sizes of the groups."""
    best, found = -1.0, None
    for threshold in values.unique()[:-1]:
        warm = values > threshold
        gap = values[warm].mean() - values[~warm].mean()
        if gap > best:
            best, found = gap, warm
    return found


def _random_values(generator):
    """Values for which no other threshold that comes to mind cuts where Otsu's does."""
    while True:
        values = torch.rand(16, generator=generator) ** 2
        right = _otsu(values)
        others = (_halfway(values), _above_mean(values), _unweighted(values))
        if not any(torch.equal(mask, right) for mask in others):
            return values


UNITS = "gives the same mask in kelvin and in any other linear unit"
NOT_EMPTY = "leaves no group empty"


@exercise(
    "24.1",
    "Otsu's threshold",
    reference=_otsu,
    hint="for each cut: share of warm pixels times share of the others times the square of the "
    "difference of their means; keep the cut where this is largest",
    properties=[
        Property(
            NOT_EMPTY,
            lambda case: bool(case.result.any()) and not bool(case.result.all()),
            "a cut lies between two values, so that there are pixels on both sides",
        ),
        Property(
            UNITS,
            lambda case: close(
                case.call(values=270 + 50 * case["values"]).float(), case.result.float()
            ),
            "a fixed number, such as 0.5, has a unit; shares and ratios have none",
        ),
    ],
    wrong=[
        (lambda values: values > values.max(), NOT_EMPTY),
        (lambda values: values > 0.5, UNITS),
        (_halfway, AGREES),
        (_above_mean, AGREES),
        (_unweighted, AGREES),
        (lambda values: ~_otsu(values), AGREES),
    ],
)
def _(generator):
    return {"values": _random_values(generator)}


def _photometry(residual, body, blur):
    seen = blur(body[None, None])[0, 0]
    return (seen * residual).sum() / seen.square().sum()


def _mean_inside(residual, body, blur):
    return (body * residual).sum() / body.sum()


def _unblurred_norm(residual, body, blur):
    seen = blur(body[None, None])[0, 0]
    return (seen * residual).sum() / body.square().sum()


EXACT = "returns the missing temperature exactly when there is no noise"
LINEAR = "is linear in the residual"


@exercise(
    "24.2",
    "the temperature that a body lacks, from the residual",
    reference=_photometry,
    hint="least squares for one unknown: minimise |r - c (A m)|^2 over c; first blur the mask",
    properties=[
        Property(
            EXACT,
            lambda case: close(
                case.call(residual=3 * case["blur"](case["body"][None, None])[0, 0]),
                torch.tensor(3.0),
                1e-4,
            ),
            "with r = c A m the answer is c: compare the residual with the blurred mask, and "
            "divide by what the blurred mask gives with itself",
        ),
        Property(
            LINEAR,
            lambda case: close(case.call(residual=2 * case["residual"]), 2 * case.result),
            "no threshold and no absolute value; doubling the residual doubles the answer",
        ),
    ],
    wrong=[
        (_mean_inside, EXACT),
        (_unblurred_norm, EXACT),
        (lambda residual, body, blur: _photometry(residual, body, blur).abs(), AGREES),
        (
            lambda residual, body, blur: (
                (body * residual).sum() / (body * blur(body[None, None])[0, 0]).sum()
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    def blur(image):
        return 0.5 * image + 0.25 * (image.roll(1, -1) + image.roll(-1, -1))

    body = torch.zeros(4, 4)
    body[1:3, 1] = 1
    seen = blur(body[None, None])[0, 0]
    residual = -2.0 * seen + 0.5 * torch.randn(4, 4, generator=generator)
    return {"residual": residual, "body": body, "blur": blur}

"""Exercises of chapter 7: LE-MMSE, one function for every patch."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _squares(v, keys):
    return (v[:, None, :] - keys[None, :, :]).square().sum(2)


def _logits(v, keys, sigma):
    return -_squares(v, keys) / (2 * sigma**2)


@exercise(
    "7.1",
    "logits between query patches and training patches",
    reference=_logits,
    hint="-||v - k||^2 / (2 sigma^2): the square of sigma, and the factor 2",
    properties=[
        Property(
            "returns 0 where query and training patch are equal",
            lambda case: close(case.call(v=case["keys"]).diagonal(), torch.zeros(3), 1e-3),
            "all three terms of ||v||^2 - 2 v.k + ||k||^2 are needed",
        ),
        Property(
            "returns no logit above 0",
            lambda case: bool((case.result <= 1e-6).all()),
            "mind the sign: a distant patch must get a small weight",
        ),
    ],
    wrong=[
        (
            lambda v, keys, sigma: -_squares(keys, v) / (2 * sigma**2),
            KIND,
        ),
        (
            lambda v, keys, sigma: v @ keys.T / sigma**2,
            "returns 0 where query and training patch are equal",
        ),
        (
            lambda v, keys, sigma: _squares(v, keys) / (2 * sigma**2),
            "returns no logit above 0",
        ),
        (lambda v, keys, sigma: -_squares(v, keys).sqrt() / (2 * sigma**2), AGREES),
        (lambda v, keys, sigma: -_squares(v, keys) / (2 * sigma), AGREES),
    ],
)
def _(generator):
    keys = torch.rand(3, 4, generator=generator)
    noise = 0.1 * torch.randn(2, 4, generator=generator)
    sigma = 0.1 + 0.3 * torch.rand(1, generator=generator).item()
    return {"v": keys[:2] + noise, "keys": keys, "sigma": sigma}


def _cut(image, row, column, reach):
    """The patch around a pixel, (C, P, P), with circular boundaries."""
    _, height, width = image.shape
    rows = torch.arange(row - reach, row + reach + 1) % height
    columns = torch.arange(column - reach, column + reach + 1) % width
    return image[:, rows][:, :, columns]


def _one_patch(v, images, sigma, margin=0, offset=0):
    """LE-MMSE of a patch; a margin leaves out the border, an offset takes the wrong pixel."""
    reach = v.shape[-1] // 2
    _, _, height, width = images.shape
    rows, columns = range(margin, height - margin), range(margin, width - margin)
    places = [(row, column) for row in rows for column in columns]
    keys = torch.stack([_cut(x, *place, reach) for x in images for place in places])
    values = torch.stack([x[:, row, column - offset] for x in images for row, column in places])
    weights = torch.softmax(-(keys - v).square().flatten(1).sum(1) / (2 * sigma**2), 0)
    return weights @ values


@exercise(
    "7.2",
    "LE-MMSE of one patch",
    reference=_one_patch,
    hint="all pixels n' of all images take part, those at the border with patches that wrap "
    "around; check the factor 2 sigma^2, and that the centre of each patch is what is averaged",
    properties=[
        Property(
            "returns the mean pixel of the training images when the noise is enormous",
            lambda case: close(
                case.call(sigma=1e4), case["images"].mean((0, 2, 3)), tolerance=1e-4
            ),
            "every pixel of every image has a patch, also at the border (circular), so with "
            "equal weights all H W N pixels count alike",
        ),
        Property(
            "returns the centre of a training patch when there is hardly any noise",
            lambda case: close(
                case.call(v=_cut(case["images"][0], 0, 0, 1), sigma=1e-3),
                case["images"][0][:, 0, 0],
            ),
            "the patch around pixel n' must be paired with the value at the same pixel n'; "
            "subtract the largest logit before the exponential",
        ),
    ],
    wrong=[
        (
            lambda v, images, sigma: _one_patch(v, images, sigma, margin=1),
            "returns the mean pixel of the training images when the noise is enormous",
        ),
        (
            lambda v, images, sigma: _one_patch(v, images[:1], sigma),
            "returns the mean pixel of the training images when the noise is enormous",
        ),
        (
            lambda v, images, sigma: _one_patch(v, images, sigma, offset=1),
            "returns the centre of a training patch when there is hardly any noise",
        ),
        (lambda v, images, sigma: _one_patch(v, images, sigma / 2**0.5), AGREES),
    ],
)
def _(generator):
    images = torch.rand(2, 1, 3, 4, generator=generator)
    v = _cut(images[1], 2, 3, 1) + 0.2 * torch.randn(1, 3, 3, generator=generator)
    return {"v": v, "images": images, "sigma": 0.3}


def _summary(logits, values):
    weights = torch.softmax(logits, 0)
    mean = weights @ values
    return mean, weights @ (values - mean).square(), 1 / weights.square().sum()


def _naive_summary(logits, values):
    weights = logits.exp() / logits.exp().sum()
    mean = weights @ values
    return mean, weights @ values.square() - mean**2, 1 / weights.square().sum()


@exercise(
    "7.3",
    "mean, variance and effective sample size",
    reference=_summary,
    hint="weights from a softmax; the variance is sum w (t - mean)^2, weighted like the mean; the "
    "effective sample size is 1 / sum w^2",
    properties=[
        Property(
            "returns the same when a constant is subtracted from all logits",
            lambda case: close(
                torch.stack(list(case.call(logits=case["logits"] - 1000.0))),
                torch.stack(list(case.result)),
                tolerance=1e-4,
            ),
            "subtract the largest logit before the exponential, or use torch.softmax",
        ),
        Property(
            "counts 5 effective samples when all 5 logits are equal",
            lambda case: close(case.call(logits=torch.zeros(5))[2], 5.0),
            "1 / sum of the squared weights",
        ),
        Property(
            "returns a variance of 0 when all values are equal",
            lambda case: close(case.call(values=torch.full((5,), 0.7))[1], 0.0, tolerance=1e-6),
            "the variance is measured from the weighted mean",
        ),
    ],
    wrong=[
        (_naive_summary, "returns the same when a constant is subtracted from all logits"),
        (
            lambda logits, values: (
                *_summary(logits, values)[:2],
                logits.softmax(0).square().sum(),
            ),
            "counts 5 effective samples when all 5 logits are equal",
        ),
        (
            lambda logits, values: (
                _summary(logits, values)[0],
                logits.softmax(0) @ values.square(),
                _summary(logits, values)[2],
            ),
            "returns a variance of 0 when all values are equal",
        ),
        (
            lambda logits, values: (
                _summary(logits, values)[0],
                values.var(),
                _summary(logits, values)[2],
            ),
            AGREES,
        ),
    ],
    tolerance=1e-4,
)
def _(generator):
    logits = -3 * torch.rand(5, generator=generator)
    return {"logits": logits, "values": torch.rand(5, generator=generator)}

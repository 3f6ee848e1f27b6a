"""Exercises of chapter 4: the MMSE estimator of a finite set of images."""

import math

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _weights(y, measured, sigma):
    """Posterior probabilities of the training images, in float64."""
    squared = torch.stack([(y.double() - a.double()).square().sum() for a in measured])
    return torch.softmax(-squared / (2 * sigma**2), 0)


def _estimate(y, measured, images, sigma):
    weights = _weights(y, measured, sigma)
    return sum(w * x for w, x in zip(weights, images.double(), strict=True))


def _unnormalised(y, measured, images, sigma):
    likelihoods = torch.exp(-(measured - y).square().sum(1) / (2 * sigma**2))
    return torch.einsum("k,kchw->chw", likelihoods, images) / len(images)


def _underflows(y, measured, images, sigma):
    likelihoods = torch.exp(-(measured - y).square().sum(1) / (2 * sigma**2))
    return torch.einsum("k,kchw->chw", likelihoods, images) / likelihoods.sum()


def _compares_images(y, measured, images, sigma):
    return _estimate(y, images.flatten(1), images, sigma)


def _averages_measurements(y, measured, images, sigma):
    return _estimate(y, measured, measured.view_as(images), sigma)


def _without_two(y, measured, images, sigma):
    return _estimate(y, measured, images, sigma / math.sqrt(2))


BOUNDED = "stays between the smallest and the largest training value at every pixel"
SEPARATE = "doubles when the images are doubled and the measurements A x_k are not"


@exercise(
    "4.1",
    "the MMSE estimate for any forward operator",
    reference=_estimate,
    hint="log w_k = -||y - A x_k||^2 / (2 sigma^2) + const: mind the square and the factor 2",
    properties=[
        Property(
            SEPARATE,
            lambda case: close(case.call(images=2 * case["images"]), 2 * case.result, 1e-4),
            "y is compared with A x_k, the rows of `measured`; what is averaged is x_k",
        ),
        Property(
            BOUNDED,
            lambda case: bool(
                (case.result >= case["images"].amin(0) - 1e-4).all()
                and (case.result <= case["images"].amax(0) + 1e-4).all()
            ),
            "the weights are probabilities: divide by their sum",
        ),
    ],
    wrong=[
        (_underflows, KIND),
        (_unnormalised, BOUNDED),
        (_compares_images, SEPARATE),
        (_averages_measurements, SEPARATE),
        (_without_two, AGREES),
    ],
    tolerance=1e-4,
)
def _(generator):
    images = torch.rand(4, 1, 2, 2, generator=generator)
    images[..., 1, 1] = 0.5
    # The last sensor sees that pixel alone, alike in all images, and is broken: it reads 10 too
    # much. That changes no weight, but exp underflows.
    matrix = torch.eye(4)
    matrix[:3] += 0.5 * torch.rand(3, 4, generator=generator)
    measured = images.flatten(1) @ matrix.T
    y = measured[0] + 0.3 * torch.randn(4, generator=generator)
    y[3] += 10
    return {"y": y, "measured": measured, "images": images, "sigma": 0.3}


def _log_density(y, measured, sigma):
    size = len(y)
    squared = torch.stack([(y.double() - a.double()).square().sum() for a in measured])
    mixture = torch.logsumexp(-squared / (2 * sigma**2), 0) - math.log(len(measured))
    return mixture - size / 2 * math.log(2 * math.pi * sigma**2)


def _log_of_sum(y, measured, sigma):
    densities = torch.exp(-(measured - y).square().sum(1) / (2 * sigma**2))
    constant = len(y) / 2 * math.log(2 * math.pi * sigma**2)
    return torch.log(densities.mean()) - constant


def _without_count(y, measured, sigma):
    return _log_density(y, measured, sigma) + math.log(len(measured))


def _without_constant(y, measured, sigma):
    return _log_density(y, measured, sigma) + len(y) / 2 * math.log(2 * math.pi * sigma**2)


def _constant_of_one_number(y, measured, sigma):
    return _log_density(y, measured, sigma) + (len(y) - 1) / 2 * math.log(2 * math.pi * sigma**2)


def _nearest_only(y, measured, sigma):
    squared = (measured - y).square().sum(1).min()
    constant = len(y) / 2 * math.log(2 * math.pi * sigma**2)
    return -squared / (2 * sigma**2) - constant


REPEATED = "does not change when every training image is there twice"
DOUBLED = "loses m log 2 when y, all A x_k and sigma are doubled"


@exercise(
    "4.2",
    "the log-density of a measurement",
    reference=_log_density,
    hint="every image takes part in the sum, not the nearest one alone",
    properties=[
        Property(
            REPEATED,
            lambda case: close(
                case.call(measured=torch.cat([case["measured"]] * 2)), case.result, 1e-4
            ),
            "the sum over the images is divided by N",
        ),
        Property(
            DOUBLED,
            lambda case: close(
                case.call(y=2 * case["y"], measured=2 * case["measured"], sigma=2 * case["sigma"]),
                case.result - len(case["y"]) * math.log(2),
                1e-4,
            ),
            "a Gaussian density in m dimensions has the factor (2 pi sigma^2)^(-m/2)",
        ),
    ],
    wrong=[
        (_log_of_sum, KIND),
        (_without_count, REPEATED),
        (_without_constant, DOUBLED),
        (_constant_of_one_number, DOUBLED),
        (_nearest_only, AGREES),
    ],
)
def _(generator):
    size, sigma = 400, 0.5
    centre = torch.rand(size, generator=generator)
    # Two images so close together that both count, and one far away.
    offsets = torch.tensor([0.0, 0.02, 1.0])[:, None] * torch.randn(3, size, generator=generator)
    y = centre + sigma * torch.randn(size, generator=generator)
    return {"y": y, "measured": centre + offsets, "sigma": sigma}


def _expected_error(weights, images):
    weights, images = weights.double(), images.double().flatten(1)
    mean = (weights[:, None] * images).sum(0)
    return sum(w * (x - mean).square().sum() for w, x in zip(weights, images, strict=True))


def _second_moment(weights, images):
    return (weights * images.flatten(1).square().sum(1)).sum()


def _about_the_mean_image(weights, images):
    return (weights * (images - images.mean(0)).flatten(1).square().sum(1)).sum()


def _unweighted(weights, images):
    mean = torch.einsum("k,kchw->chw", weights, images)
    return (images - mean).square().flatten(1).sum(1).mean()


def _mean_over_values(weights, images):
    return _expected_error(weights, images) / images[0].numel()


BRIGHTER = "gives the same number when all images are brightened by 1"
CERTAIN = "gives 0 when one weight is 1"


def _is_zero_when_certain(case):
    certain = torch.zeros_like(case["weights"])
    certain[0] = 1
    return close(case.call(weights=certain), 0.0, 1e-4)


@exercise(
    "4.3",
    "the squared error that the posterior expects",
    reference=_expected_error,
    hint="||x_k - estimate||^2 is a sum over all values of the image, not their mean",
    properties=[
        Property(
            BRIGHTER,
            lambda case: close(case.call(images=case["images"] + 1), case.result, 1e-4),
            "measure distances from the estimate, sum_k w_k x_k, not from zero",
        ),
        Property(
            CERTAIN,
            _is_zero_when_certain,
            "distances from the estimate sum_k w_k x_k, averaged with the same weights w_k",
        ),
    ],
    wrong=[
        (_second_moment, BRIGHTER),
        (_about_the_mean_image, CERTAIN),
        (_unweighted, CERTAIN),
        (_mean_over_values, AGREES),
    ],
    tolerance=1e-4,
)
def _(generator):
    weights = torch.softmax(2 * torch.randn(3, generator=generator), 0)
    return {"weights": weights, "images": torch.rand(3, 1, 2, 2, generator=generator)}

"""All estimators on small problems of all kinds, for tests that hold for every one of them."""

import torch

import lemmse
from lemmse import operators as ops

SIZE = (5, 6)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4, channels=1, dtype=torch.float32):
    return torch.rand(count, channels, *SIZE, generator=generator(), dtype=torch.float64).to(dtype)


OPERATORS = {
    "denoising": ops.Identity,
    "inpainting": lambda: ops.Mask.central(2, SIZE),
    "blur": lambda: ops.Blur.gaussian(1.0, SIZE),
    "MRI": lambda: ops.MRI.cartesian(2, SIZE),
    "tomography": lambda: ops.Tomography([0.0, 40.0, 100.0], SIZE),
}

# Which pre-inverses go with an operator.
PREINVERSES = {
    "denoising": [None],
    "inpainting": [None, "pinv"],
    "blur": [None, "tikhonov"],
    "MRI": ["adjoint"],
    "tomography": ["tikhonov"],
}

ESTIMATORS = {
    "LEMMSE": lambda x, a, b, **k: lemmse.LEMMSE(x, a, b, patch_size=3, **k),
    "LEMMSE streamed": lambda x, a, b, **k: lemmse.LEMMSE(x, a, b, patch_size=3, memory=0, **k),
    "LEMMSE d4": lambda x, a, b, **k: lemmse.LEMMSE(x, a, b, patch_size=3, symmetry="d4", **k),
    "LocalMMSE": lambda x, a, b, **k: lemmse.LocalMMSE(x, a, b, patch_size=3, **k),
    "EquivariantMMSE": lambda x, a, b, **k: lemmse.EquivariantMMSE(x, a, b, **k),
    "MMSE": lambda x, a, b, **k: lemmse.MMSE(x, a, **k),
    "LinearMMSE": lambda x, a, b, dtype=None: lemmse.estimators.LinearMMSE(x, a),
    "Wiener": lambda x, a, b, dtype=None: lemmse.estimators.LinearMMSE(x, a, stationary=True),
}

# The pairs that differ: the last three see y itself, whatever the pre-inverse.
PROBLEMS = [
    (name, operator, kind)
    for name in ESTIMATORS
    for operator, kinds in PREINVERSES.items()
    for kind in (kinds[:1] if name in ("MMSE", "LinearMMSE", "Wiener") else kinds)
]

# Of these, enough to have every estimator with shared and with separate whitenings.
FEW = [p for p in PROBLEMS if p[1:] in (("blur", "tikhonov"), ("tomography", "tikhonov"))]
FEW += [p for p in PROBLEMS if p[1:] == ("MRI", "adjoint") and "LEMMSE" not in p[0]]


def build(name, operator="denoising", kind=None, **options):
    """An estimator; "LEMMSE" uses an index only under the fixture `small_index`."""
    return ESTIMATORS[name](options.pop("x", images()), OPERATORS[operator](), kind, **options)


def measurement(operator="denoising", batch=2, sigma=0.3, dtype=torch.float32):
    x = torch.rand(batch, 1, *SIZE, generator=generator(1), dtype=torch.float64)
    return OPERATORS[operator]().measure(x.to(dtype), sigma, generator(2))


def answers(estimate, y, sigma):
    """The mean and the log-density."""
    if not hasattr(estimate, "posterior"):
        return estimate(y, sigma), estimate.log_density(y, sigma)
    posterior = estimate.posterior(y, sigma)
    return posterior.mean, posterior.log_density

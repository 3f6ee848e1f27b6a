"""Random calls of random estimators, held against plain float64 calls that skip nothing.

    PYTHONPATH=.:tests python tests/estimators/fuzz.py --minutes 5 --seed 0

prints every case that disagrees; `test_fuzz.py` runs some fixed ones.
"""

import argparse
import contextlib
import math
import random
import time
import warnings

import numpy as np
import torch
from test_modes import MODES

import lemmse
from lemmse import operators as ops
from lemmse.estimators import LinearMMSE, local
from lemmse.reduction import index


class Doubling:
    """A forward operator of another library: two copies of the image, the second half as bright."""

    def A(self, x):
        return torch.cat([x, 0.5 * x], 2)

    def A_adjoint(self, y):
        half = y.shape[2] // 2
        return y[:, :, :half] + 0.5 * y[:, :, half:]


OPERATORS = {
    "identity": (lambda size, r: None, [None, "pinv", "eye"]),
    "mask": (lambda size, r: ops.Mask.random(r.choice([0.2, 0.6]), size), [None, "pinv"]),
    "blur": (
        lambda size, r: ops.Blur.gaussian(r.choice([0.5, 1.0]), size),
        [None, "adjoint", "pinv", "tikhonov", "eye"],
    ),
    "MRI": (lambda size, r: ops.MRI.cartesian(2, size), ["adjoint", "tikhonov"]),
    "tomography": (
        lambda size, r: ops.Tomography(list(range(0, 180, r.choice([20, 60]))), size),
        ["adjoint", "tikhonov", "fbp"],
    ),
    "matrix": (
        lambda size, r: ops.MatrixOperator(
            torch.rand(9, math.prod(size), dtype=torch.float64), size
        ),
        ["adjoint", "pinv", "tikhonov"],
    ),
    "foreign": (lambda size, r: Doubling(), ["adjoint", "pinv"]),
}

ESTIMATORS = ["LEMMSE", "LEMMSE d4", "LocalMMSE", "EquivariantMMSE", "MMSE", "LinearMMSE", "Wiener"]

SIGMAS = {
    "number": lambda s: s[0],
    "numpy": lambda s: np.float64(s[0]),
    "0-d": lambda s: torch.tensor(s[0], dtype=torch.float64),
    "list": list,
    "array": np.array,
    "column": lambda s: torch.tensor(s, dtype=torch.float64).view(-1, 1, 1, 1),
}


def training_images(r, g):
    """A few images with equal and flat ones among them, in some unit."""
    shape = (r.choice([1, 1, 3]), r.choice([5, 6, 7]), r.choice([5, 6]))
    x = torch.rand(r.choice([1, 2, 5, 9]), *shape, generator=g, dtype=torch.float64)
    if r.random() < 0.5:
        x = (x * 4).round() / 4
    if r.random() < 0.3:
        x[0] = x[0, :1, :1, :1]
    if r.random() < 0.2:
        x[-1] = 0
    unit, offset = r.choice([1, 1, 1, 1e-5, 255, 65535]), r.choice([0, 0, 0, 300])
    return ((x + offset) * unit).float(), unit


def build(name, x, operator, kind, options, dtype):
    if name in ("LinearMMSE", "Wiener"):
        return LinearMMSE(x, operator, stationary=name == "Wiener")
    if name == "MMSE":
        return lemmse.MMSE(x, operator, dtype=dtype)
    if name == "EquivariantMMSE":
        return lemmse.EquivariantMMSE(x, operator, kind, dtype=dtype)
    patch_size = options["patch_size"]
    if name == "LocalMMSE":
        return lemmse.LocalMMSE(x, operator, kind, patch_size, dtype=dtype)
    rest = {key: options[key] for key in ("tolerance", "exact", "memory") if key in options}
    symmetry = "d4" if name == "LEMMSE d4" else None
    return lemmse.LEMMSE(x, operator, kind, patch_size, dtype=dtype, symmetry=symmetry, **rest)


def case(seed):
    """One random case, as a dictionary."""
    r, g = random.Random(seed), torch.Generator().manual_seed(seed)
    x, unit = training_images(r, g)
    size = tuple(x.shape[2:])
    operator = r.choice(list(OPERATORS))
    make, kinds = OPERATORS[operator]
    torch.manual_seed(seed)  # the random matrix
    forward, kind = make(size, r), r.choice(kinds)
    batch = r.choice([1, 2, 3])
    levels = [unit * 10 ** r.uniform(-5, 2) for _ in range(batch)]
    sigma_kind = r.choice(list(SIGMAS))
    if sigma_kind in ("number", "numpy", "0-d"):
        levels = levels[:1] * batch
    truth = x[torch.randint(len(x), (batch,), generator=g)].double()
    if r.random() < 0.5:
        truth = truth.roll(1, -1) + unit * 0.1 * torch.rand(truth.shape, generator=g).double()
    plain = ops.Identity() if forward is None else ops.as_operator(forward, tuple(x.shape[1:]))
    y = plain.measure(truth, levels, g)
    low = r.choice([None, None, None, torch.float16, torch.bfloat16])
    precision = r.choice([torch.float32, torch.float64])
    y = y.to(precision.to_complex() if y.is_complex() else low or precision)
    return {
        "estimator": r.choice(ESTIMATORS),
        "operator": operator,
        "kind": torch.eye(math.prod(size)) if kind == "eye" else kind,
        "forward": forward,
        "x": x,
        "unit": unit,
        "y": y,
        "levels": levels,
        "sigma": sigma_kind,
        "mode": r.choice(["plain", *MODES]),
        "built inside": r.random() < 0.5,
        "dtype": r.choice([torch.float32, torch.float32, torch.float64]),
        "options": {
            "patch_size": r.choice([1, 3, 5]),
            **r.choice([{}, {"exact": True}, {"memory": 0}, {"tolerance": 1e-3}]),
        },
    }


def call(estimate, y, sigma):
    if not hasattr(estimate, "posterior"):
        return {"mean": estimate(y, sigma), "log_density": estimate.log_density(y, sigma)}
    posterior = estimate.posterior(y, sigma)
    assert torch.equal(posterior.mean, estimate(y, sigma)) or torch.allclose(
        posterior.mean, estimate(y, sigma), rtol=1e-4, atol=1e-5 * estimate.images.abs().max()
    ), "posterior and call differ"
    return {k: getattr(posterior, k) for k in ("mean", "variance", "log_density", "weight")}


def gradients(estimate, y, levels):
    """Of a sum over the estimate and of the log-density, in y and in the noise levels."""
    leaves = y.detach().clone().requires_grad_(), levels.clone().requires_grad_()
    posterior = getattr(estimate, "posterior", None)
    log_density = posterior(*leaves).log_density if posterior else estimate.log_density(*leaves)
    found = {}
    for name, value in {"estimate": estimate(*leaves), "log-density": log_density}.items():
        found[name, "y"], found[name, "sigma"] = torch.autograd.grad(value.sum(), leaves)
    return found


def complaints(c):
    """What is wrong with the answers of a case: a list, empty if all is well."""
    if not c["y"].isfinite().all():
        return []  # too large for 16 bits
    arguments = (c["forward"], c["kind"], c["options"])
    exact_options = {"patch_size": c["options"]["patch_size"], "exact": True, "memory": 0}
    exact = build(
        c["estimator"], c["x"].double(), c["forward"], c["kind"], exact_options, torch.float64
    )
    y = c["y"].to(torch.complex128 if c["y"].is_complex() else torch.float64)
    wanted = call(exact, y, torch.tensor(c["levels"], dtype=torch.float64))
    sigma = SIGMAS[c["sigma"]](c["levels"])
    mode = MODES.get(c["mode"], contextlib.nullcontext)
    estimate = build(c["estimator"], c["x"], *arguments, c["dtype"])
    with mode():
        if c["built inside"]:
            estimate = build(c["estimator"], c["x"], *arguments, c["dtype"])
        found = call(estimate, c["y"], sigma)
    levels = torch.tensor(c["levels"], dtype=torch.float64)
    slopes = {}
    # With little noise, gradients jump from key to key; in half precision they are rounded to it.
    single = c["y"].dtype.itemsize >= 4 and c["mode"] not in ("inference", "no gradients")
    if single and min(c["levels"]) >= 0.05 * c["unit"]:
        slopes = gradients(exact, y, levels)
        with mode():
            rounded = gradients(estimate, c["y"], levels)
    spread = (c["x"].max() - c["x"].min()).item()
    largest = c["x"].abs().max().item()
    skipped = c["options"].get("tolerance", 0)
    # The keys of an index are rounded to float32 once and for all.
    rounding = 1e-6 * c["unit"] / min(c["levels"])
    # One rounding of the answer, what skipping may take, and 1e-4 of the range of the images
    # (1e-3 at noise levels below a hundredth of them, as the tests of exactness allow).
    share = 1e-4 if min(c["levels"]) >= 0.01 * c["unit"] else 1e-3
    bound = {
        "mean": (share + skipped) * spread + 1e-6 * largest,
        "variance": (2 * share + skipped) * spread**2 + 1e-6 * spread**2,
        "weight": 5e-3 + skipped,
    }
    wrong = []
    for field, value in found.items():
        reference = wanted[field].to(value.device)
        if not value.isfinite().all():
            wrong.append(f"{field} not finite")
            continue
        error = (value.double() - reference).abs()
        limit = bound.get(field, 5e-3 + rounding + skipped + 1e-5 * reference.abs())
        if (error > limit).any():
            wrong.append(
                f"{field} off by {error.max():.2e}, allowed {torch.as_tensor(limit).max():.2e}"
            )
        if field == "variance" and (value < 0).any():
            wrong.append("negative variance")
    for name, reference in slopes.items():
        error = (rounded[name] - reference).abs().max()
        # Relative to the largest one, and to the terms that cancel in it.
        terms = spread * (c["x"][0].numel() if name[1] == "sigma" else 1) / min(c["levels"])
        size = reference.abs().max() + (terms if name[0] == "estimate" else 1 / min(c["levels"]))
        if not error <= (2e-3 + 10 * skipped) * size:
            wrong.append(f"gradient {name} off by {error:.2e}, of {size:.2e}")
    return wrong


def described(c):
    return {
        k: tuple(v.shape) if isinstance(v, torch.Tensor) else v
        for k, v in c.items()
        if k not in ("forward",)
    } | {"y dtype": c["y"].dtype}


def small_blocks():
    """Indexes small sets, too, in many blocks."""
    local.LEAST_INDEXED, index.BLOCK = 0, 16


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    small_blocks()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    end, seed, bad = time.time() + 60 * options.minutes, options.seed, 0
    while time.time() < end:
        c = case(seed)
        try:
            wrong = complaints(c)
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        if wrong:
            bad += 1
            print(seed, wrong, described(c), flush=True)
        seed += 1
    print(f"{seed - options.seed} cases, {bad} bad")


if __name__ == "__main__":
    main()

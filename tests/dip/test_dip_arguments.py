"""Bad arguments of the deep inverse prior: refused in words, whatever is wrong with them."""

import math

import pytest
import torch

from lemmse.dip import ConvolutionalPrior, TwoLayer, constants, descend, flow
from lemmse.operators import Blur

RUNS, N, M = 2, 5, 3


def vectors(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


NETWORK = TwoLayer.draw(n=N, d=2, k=30, generator=torch.Generator().manual_seed(0), runs=RUNS)
IMAGES = ConvolutionalPrior.draw((1, 8, 8), torch.Generator().manual_seed(0), runs=RUNS, width=2)
A, Y = vectors(M, N), vectors(M)
BLUR = Blur.gaussian(1.0, (8, 8))


def broken(t, value=math.nan):
    t = t.clone()
    t.flatten()[1] = value
    return t


@pytest.mark.parametrize("run", [descend, flow])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": vectors(M, N + 1)}, r"A: expected a matrix \(m, 5\)"),
        ({"A": vectors(RUNS + 1, M, N)}, r"A: expected .* \(2, m, 5\)"),
        ({"A": vectors(N)}, "A: expected a real matrix"),
        ({"A": broken(A)}, "finite values in A"),
        ({"A": broken(A, math.inf)}, "finite values in A"),
        ({"A": A.float()}, "A: expected the type"),
        ({"A": A.int()}, "A: expected a real matrix"),
        ({"A": A.tolist()}, "A: expected a real matrix"),
        ({"network": IMAGES}, "images are vectors, or an Operator"),
        ({"y": broken(Y)}, "finite values in y"),
        ({"y": vectors(M + 1)}, "y: expected"),
        ({"y": Y.tolist()}, "y: expected a tensor, got list"),
        ({"truth": broken(vectors(N))}, "finite values in truth"),
        ({"truth": vectors(N + 1)}, "truth: expected"),
        ({"step": math.nan}, "step: expected positive"),
        ({"step": 0.0}, "step: expected positive"),
        ({"step": torch.ones(RUNS + 1)}, "step: expected"),
        ({"iterations": 0}, "iterations"),
        ({"iterations": 2.5}, "iterations"),
        ({"record": 1}, "record"),
    ],
)
def test_descent_explains(run, change, message):
    arguments = {"network": NETWORK, "A": A, "y": Y, "step": 0.1, "iterations": 2}
    assert torch.isfinite(run(**arguments).loss).all()
    with pytest.raises(ValueError, match=message):
        run(**arguments | change)


@pytest.mark.parametrize(
    "y", [vectors(1, 8, 9).float(), vectors(1, 8, 8).float() * math.nan, vectors(64).float()]
)
def test_descent_with_an_operator_explains(y):
    with pytest.raises(ValueError, match="y"):
        descend(IMAGES, BLUR, y, 0.1, 2)


def test_an_operator_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected x .*\(B, C, 8, 9\)"):
        descend(IMAGES, Blur.gaussian(1.0, (8, 9)), torch.zeros(1, 8, 8), 0.1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": vectors(M, N + 1)}, "A: expected a matrix"),
        ({"A": vectors(RUNS + 1, M, N)}, "as many matrices as runs"),
        ({"A": broken(A)}, "finite values in A"),
        ({"A": A * 0}, "not zero"),
        ({"A": None}, "A: expected a matrix"),
        ({"y": broken(Y)}, "finite values in y"),
        ({"y": vectors(M + 1)}, "expected y"),
        ({"y": None}, "y: expected a tensor"),
        ({"truth": broken(vectors(N))}, "finite values in truth"),
        ({"truth": vectors(N + 1)}, "truth: expected"),
        ({"step": -0.1}, "step: expected positive"),
        ({"step": math.nan}, "step: expected positive"),
        ({"step": torch.ones(RUNS + 1)}, "step: expected a number"),
        ({"step": "large"}, "step: expected a number"),
        ({"samples": -1}, "samples: expected an integer"),
        ({"samples": 1.5}, "samples: expected an integer"),
        ({"samples": True}, "samples: expected an integer"),
    ],
)
def test_constants_explain(change, message):
    arguments = {"A": A, "network": NETWORK, "y": Y, "samples": 0}
    assert (constants(**arguments).sigma_A > 0).all()
    with pytest.raises(ValueError, match=message):
        constants(**arguments | change)

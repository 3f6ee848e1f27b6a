"""Noise levels in every form, and messages that stay short."""

import numpy as np
import pytest
import torch

from lemmse.operators.checks import describe, noise_levels

CPU = torch.device("cpu")
ONE = [
    0.3,
    np.float32(0.3),
    np.float64(0.3),
    np.array(0.3),
    [0.3],
    torch.tensor(0.3),
    torch.tensor([0.3], dtype=torch.float64),
    torch.full((1, 1, 1, 1), 0.3),
    torch.tensor(0.3, dtype=torch.bfloat16),
]
EACH = [
    [0.1, 1, 0.3],
    (0.1, 1.0, 0.3),
    np.array([0.1, 1.0, 0.3]),
    np.array([[0.1], [1.0], [0.3]], dtype=np.float32),
    torch.tensor([0.1, 1.0, 0.3]),
    torch.tensor([0.1, 1.0, 0.3]).reshape(3, 1, 1, 1),
    [torch.tensor(0.1), torch.tensor(1.0), torch.tensor(0.3)],
]


@pytest.mark.parametrize("sigma", ONE, ids=describe)
def test_one_level_serves_all_images(sigma):
    levels = noise_levels(sigma, 3, torch.float64, CPU)
    assert levels.dtype == torch.float64
    torch.testing.assert_close(levels, torch.full((3,), 0.3).double(), rtol=3e-3, atol=0)


@pytest.mark.parametrize("sigma", EACH, ids=describe)
def test_one_level_for_each_image(sigma):
    levels = noise_levels(sigma, 3, torch.float32, CPU)
    torch.testing.assert_close(levels, torch.tensor([0.1, 1.0, 0.3]))


def test_a_list_keeps_double_precision_and_integers_are_numbers():
    assert noise_levels([0.1], 1, torch.float64, CPU).item() == 0.1
    assert noise_levels(torch.tensor([1, 2]), 2, torch.float32, CPU).tolist() == [1, 2]
    assert noise_levels(np.uint16(2), 2, torch.float32, CPU).tolist() == [2, 2]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 1, 1, 1)])
def test_gradients_flow_back(shape):
    sigma = torch.full(shape, 0.5, requires_grad=True)
    noise_levels(sigma, 3, torch.float64, CPU).sum().backward()
    assert sigma.grad.sum() == 3
    entries = [torch.tensor(0.5, requires_grad=True) for _ in range(3)]
    noise_levels(entries, 3, torch.float64, CPU)[1].backward()
    assert entries[0].grad == 0
    assert entries[1].grad == 1


@pytest.mark.parametrize(
    "sigma",
    [
        None,
        "0.1",
        True,
        [True, False, True],
        np.array([True]),
        torch.tensor([True]),
        0.1 + 0j,
        [0.1j],
        np.complex64(1),
        torch.tensor(0.1 + 0j),
        -0.1,
        0.0,
        float("nan"),
        float("inf"),
        [0.1, 0.2],
        [],
        [[0.1], [0.1, 0.2]],
        torch.rand(1, 3),
        torch.rand(3, 3),
        torch.rand(3, 2, 1, 1),
        [0.1, float("nan"), 0.1],
        [torch.rand(2), torch.rand(1), torch.rand(1)],
        {},
        range(2),
        1e-60,  # zero in float32
        1e60,
    ],
    ids=describe,
)
def test_other_levels_are_refused(sigma):
    with pytest.raises(ValueError, match="expected sigma"):
        noise_levels(sigma, 3, torch.float32, CPU)


def test_zero_where_it_is_allowed():
    assert noise_levels([0, 1], 2, torch.float32, CPU, zero=True).tolist() == [0, 1]
    with pytest.raises(ValueError, match=">= 0"):
        noise_levels(-1e-9, 2, torch.float32, CPU, zero=True)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_levels_out_of_proportion_are_refused(scale):
    for factor in (2e-12, 1.0, 5e11):
        assert noise_levels(factor * scale, 1, torch.float64, CPU, scale=scale) > 0
    for factor in (5e-13, 2e12):
        with pytest.raises(ValueError, match="factor of 1e"):
            noise_levels(factor * scale, 1, torch.float64, CPU, scale=scale)
    assert noise_levels(0.1, 1, torch.float64, CPU, scale=0.0) == 0.1


def test_messages_stay_short():
    images = [torch.rand(1, 28, 28) for _ in range(200)]
    assert describe(images) == "a list of 200 entries (Tensor)"
    assert len(describe(list(range(10**5)))) < 100
    assert len(describe("x" * 10**5)) < 100
    assert describe(np.zeros((2, 3))) == "a float64 array of shape (2, 3)"
    with pytest.raises(ValueError, match="expected sigma") as error:
        noise_levels(torch.rand(1000) - 0.5, 1000, torch.float32, CPU)
    assert len(str(error.value)) < 300

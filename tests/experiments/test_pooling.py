"""What a network keeps that pools, and LE-MMSE of that."""

import torch
from torch.testing import assert_close

from lemmse.experiments import pooling
from lemmse.networks import UNet


def test_the_kept_numbers_are_orthonormal_functions_of_the_patch():
    # Column m of the matrix: what is kept at one pixel of an image that is 1 at pixel m only.
    matrix = pooling.kept(torch.eye(64).view(64, 1, 8, 8))[:, :, 3, 4].mT
    assert_close(matrix @ matrix.T, torch.eye(10))


def test_the_network_depends_on_what_is_kept_and_on_nothing_else():
    torch.manual_seed(0)
    network = UNet(1, 7, width=8, pooling=2).double()
    images = torch.rand(40, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    network(images, 0.3)[:, 0, 3, 4].sum().backward()
    gradients = images.grad.flatten(1)
    matrix = pooling.kept(torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8))[:, :, 3, 4]
    assert torch.linalg.matrix_rank(gradients, rtol=1e-9) == 10
    within = gradients @ matrix @ matrix.T
    assert_close(within, gradients)


def test_against_all_pairs_in_float64():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 1, 6, 8, generator=generator)
    y = x[:2] + 0.2 * torch.randn(2, 1, 6, 8, generator=generator)
    pixels = torch.tensor([[0, 0], [3, 5]])
    matrix = pooling.kept(torch.eye(48, dtype=torch.float64).view(48, 1, 6, 8)).flatten(2)
    keys = torch.einsum("nm,mkl->nlk", x.double().flatten(1), matrix).flatten(0, 1)
    expected = []
    for row, column in pixels.tolist():
        queries = y.double().flatten(1) @ matrix[:, :, row * 8 + column]
        weights = torch.softmax(-torch.cdist(queries, keys).square() / 0.08, 1)
        expected.append(weights @ x.double().flatten())
    found = pooling.KeptLEMMSE(x).at(y, 0.2, pixels)
    assert_close(found[..., 0].double(), torch.stack(expected, 1), atol=1e-5, rtol=0)

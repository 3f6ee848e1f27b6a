"""Physics networks: against normal equations, optimality conditions and each other."""

import copy
import math

import numpy as np
import pytest
import torch

from lemmse.experiments.tomography import Scanner
from lemmse.networks import (
    LISTA,
    FullyLearned,
    RegularisedInverse,
    SVDNet,
    UnrolledGradient,
    UnrolledISTA,
    UnrolledProximal,
    decompose,
    haar,
    inverse_haar,
)
from lemmse.networks.decomposition import gradient_matrix, gradient_spectrum, squared_norm
from lemmse.operators import MRI, Blur, Identity, Mask, MatrixOperator, Tomography, materialise
from lemmse.operators.materialise import real_vectors

SHAPE = (1, 6, 8)
SIZE = SHAPE[1:]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


OPERATORS = {
    "identity": Identity(),
    "mask": Mask.random(0.3, SIZE),
    "blur": Blur.gaussian(1.0, SIZE),
    "crooked blur": Blur(random(3, 4), SIZE),
    "mri": MRI.cartesian(2, SIZE),
    "tomography": Tomography([0.0, 20.0, 45.0, 90.0, 130.0], SIZE),
    "matrix": MatrixOperator(random(20, 48), SIZE),
    "whole": MatrixOperator(random(30, 48), SHAPE),
}
EVERY = pytest.mark.parametrize("name", OPERATORS)
PENALTIES = pytest.mark.parametrize("penalty", ["identity", "gradient"])


def dense(operator, shape=SHAPE):
    """A as a numpy matrix; complex measurements count as real ones."""
    return materialise(operator.A, shape).numpy()


def measurement(operator, shape=SHAPE, batch=2, sigma=0.1):
    generator = torch.Generator().manual_seed(5)
    return operator.measure(random(batch, *shape, seed=4), sigma, generator)


def differences(size):
    """D by hand: circular differences to the next row and the next column."""
    height, width = size
    rows = []
    for i in range(height):
        for j in range(width):
            for neighbour in (((i + 1) % height, j), (i, (j + 1) % width)):
                row = np.zeros((height, width))
                row[neighbour] += 1
                row[i, j] -= 1
                rows.append(row.ravel())
    return np.array(rows)


def networks(operator, shape=SHAPE):
    return {
        "inverse": RegularisedInverse(operator, shape),
        "gradient penalty": RegularisedInverse(operator, shape, "gradient"),
        "svd": SVDNet(operator, shape),
        "gradient": UnrolledGradient(operator, shape, 3),
        "ista": UnrolledISTA(operator, shape, 3),
        "lista": LISTA(operator, shape, 3),
        "proximal": UnrolledProximal(operator, shape, 2, width=4),
    }


# ---------------------------------------------------------------- the closed form


@PENALTIES
@EVERY
@pytest.mark.parametrize("sigma", [0.01, 0.7])
def test_regularised_inverse_solves_the_normal_equations(name, penalty, sigma):
    operator = OPERATORS[name]
    network = RegularisedInverse(operator, SHAPE, penalty, precision=2.5)
    a = dense(operator)
    d = np.eye(48) if penalty == "identity" else differences(SIZE)
    weight = sigma**2 * np.exp(network.log_precision.item())
    y = measurement(operator)
    expected = np.linalg.solve(a.T @ a + weight * d.T @ d, a.T @ real_vectors(y).numpy().T).T
    got = network(y, sigma).detach().flatten(1).numpy()
    assert np.abs(got - expected).max() < 1e-10 * max(1, np.abs(expected).max())
    matrix = network.matrix(sigma)
    layer = real_vectors(operator.measured(y)) @ matrix.T
    np.testing.assert_allclose(layer.numpy(), expected, atol=1e-10, rtol=1e-10)


@EVERY
def test_both_forms_of_the_inverse_agree(name):
    a, weight = dense(OPERATORS[name]), 0.3**2
    matrix = RegularisedInverse(OPERATORS[name], SHAPE).matrix(0.3).numpy()
    columns = np.linalg.solve(a @ a.T + weight * np.eye(len(a)), a).T
    if name == "mri":  # entries that were not sampled do not count
        columns = columns * (np.abs(a).sum(1) > 0)
    np.testing.assert_allclose(matrix, columns, atol=1e-10)


def test_difference_penalty_against_differences_by_hand():
    d = differences(SIZE)
    np.testing.assert_allclose(gradient_matrix(SIZE).numpy(), d.T @ d, atol=1e-14)
    values = np.sort(gradient_spectrum(SIZE).numpy().ravel())
    np.testing.assert_allclose(values, np.linalg.eigvalsh(d.T @ d), atol=1e-12)


def test_gradient_penalty_keeps_constant_images():
    for name in ("identity", "blur", "tomography", "mask"):
        operator = OPERATORS[name]
        x = torch.full((1, *SHAPE), 0.7, dtype=torch.float64)
        network = RegularisedInverse(operator, SHAPE, "gradient")
        torch.testing.assert_close(network(operator.A(x), 0.5).detach(), x, rtol=0, atol=1e-9)


def test_gradient_penalty_needs_an_operator_that_sees_constant_images():
    for operator in (
        Blur(torch.tensor([[1.0, -1.0]]), SIZE),
        MatrixOperator(random(20, 48) @ (torch.eye(48).double() - 1 / 48), SIZE),
    ):
        with pytest.raises(ValueError, match="constant images"):
            RegularisedInverse(operator, SHAPE, "gradient")


def test_float32_stays_accurate_for_an_ill_conditioned_blur():
    operator = Blur.gaussian(2.0, (32, 32))
    y = operator.measure(random(2, 1, 32, 32), 0.01, torch.Generator().manual_seed(0))
    for network in (
        RegularisedInverse(operator, (1, 32, 32), precision=0.01),
        SVDNet(operator, (1, 32, 32), precision=0.01),
    ):
        exact = network(y, 0.01).detach()  # gains up to 500
        single = network(y.float(), 0.01).detach()
        assert single.dtype == torch.float32
        assert (single - exact).abs().max() < 2e-4 * exact.abs().max()


# ---------------------------------------------------------------- decomposition and SVD network


@EVERY
def test_decomposition_is_the_singular_value_decomposition(name):
    operator = OPERATORS[name]
    a = dense(operator)
    d = decompose(operator, SHAPE)
    s = np.linalg.svd(a, compute_uv=False)
    s = s[s > 1e-10 * s.max()]
    ours = d.singular_values[d.singular_values > 0].flatten().sort(descending=True).values
    np.testing.assert_allclose(ours.numpy(), s, rtol=1e-9)
    # U diag(s) V^T = A: analysis of A x gives s times analysis of x along V.
    x = random(2, *SHAPE)
    back = d.synthesis(d.analysis(operator.A(x)) / (d.singular_values + (d.singular_values == 0)))
    np.testing.assert_allclose(
        back.flatten(1).numpy(), x.flatten(1).numpy() @ np.linalg.pinv(a, 1e-10) @ a, atol=1e-9
    )


def test_for_a_circular_blur_v_is_the_fourier_transform():
    operator = OPERATORS["crooked blur"]
    network = SVDNet(operator, SHAPE)
    transfer = operator.transfer.value
    torch.testing.assert_close(network.singular_values, transfer.abs(), rtol=0, atol=1e-13)
    x = random(2, *SHAPE)
    spectrum = torch.fft.fft2(x, norm="ortho")
    torch.testing.assert_close(network.synthesis(spectrum), x)
    coefficients = network.analysis(operator.A(x))
    torch.testing.assert_close(coefficients, transfer.abs() * spectrum)
    # The numerical decomposition of the same matrix is the same network.
    numerical = SVDNet(MatrixOperator(dense_tensor(operator), SIZE), SHAPE)
    torch.testing.assert_close(network.matrix(0.3), numerical.matrix(0.3), rtol=0, atol=1e-11)


def dense_tensor(operator):
    return torch.from_numpy(dense(operator))


def test_fourier_network_has_one_number_for_a_frequency_and_its_negative():
    network = SVDNet(OPERATORS["blur"], SHAPE)
    assert network.log_precision.numel() == (48 + 4) // 2
    with torch.no_grad():
        network.log_precision.copy_(random(26))
    gains = network.gains(0.3)
    assert torch.equal(gains, gains.flip(0, 1).roll((1, 1), (0, 1)))
    assert len(gains.unique()) == 26


@pytest.mark.parametrize("name", ["blur", "tomography", "mri", "mask"])
def test_svd_network_with_the_true_variances_is_the_linear_mmse(name):
    operator, sigma = OPERATORS[name], 0.4
    network = SVDNet(operator, SHAPE)
    s = network.singular_values
    variance = 0.1 + torch.rand(s.shape, generator=torch.Generator().manual_seed(1)).double()
    if network.decomposition.pairs is not None:
        variance = (variance + variance.flip(0, 1).roll((1, 1), (0, 1))) / 2
    network.set_prior_variance(variance)
    live = s > 0
    torch.testing.assert_close(network.prior_variance[live], variance[live], rtol=1e-5, atol=0)
    # The covariance with these variances along V, and nothing where A transmits nothing.
    a = dense(operator)
    y = operator.example_measurement(SHAPE)

    def along_v(y):
        coefficients = network.analysis(y) / (s + ~live)
        return network.synthesis(variance * coefficients)

    c = materialise(along_v, y.shape[1:], y.is_complex()).numpy() @ a
    np.testing.assert_allclose(c, c.T, atol=1e-9)
    linear = c @ a.T @ np.linalg.inv(a @ c @ a.T + sigma**2 * np.eye(len(a)))
    y = measurement(operator)
    expected = real_vectors(operator.measured(y)).numpy() @ linear.T
    np.testing.assert_allclose(network(y, sigma).detach().flatten(1).numpy(), expected, atol=1e-6)


def test_gains_vanish_where_the_singular_values_do():
    kernel = torch.tensor([[0.5, 0.5]], dtype=torch.float64)  # zero at the Nyquist frequency
    network = SVDNet(Blur(kernel, SIZE), SHAPE)
    gains = network.gains(0.0)
    assert (gains[:, 4] == 0).all()
    assert (gains[:, :4] > 0).all()
    assert torch.isfinite(network.prior_variance[:, :4]).all()
    assert torch.isnan(network.prior_variance[:, 4]).all()
    network(random(1, *SHAPE), 0.0).sum().backward()
    assert torch.isfinite(network.log_precision.grad).all()
    hidden = SVDNet(OPERATORS["mask"], SHAPE).gains(0.1) == 0
    assert torch.equal(hidden[0], OPERATORS["mask"].mask.value[0] == 0)


@EVERY
def test_without_noise_the_closed_form_is_the_pseudo_inverse(name):
    operator = OPERATORS[name]
    y = measurement(operator, sigma=0.0)
    network = RegularisedInverse(operator, SHAPE)
    torch.testing.assert_close(network(y, 0.0).detach(), operator.A_dagger(y), rtol=1e-8, atol=1e-8)


# ---------------------------------------------------------------- unrolled networks


@EVERY
def test_squared_norm(name):
    expected = np.linalg.norm(dense(OPERATORS[name]), 2) ** 2
    assert squared_norm(OPERATORS[name], SHAPE) == pytest.approx(expected, rel=1e-10)


@EVERY
def test_gradient_descent_converges_to_the_closed_form(name):
    operator = OPERATORS[name]
    unrolled = UnrolledGradient(operator, SHAPE, 20, shared=True, precision=2.0)
    unrolled.layers = 4000
    sigma = 0.3 * unrolled.lipschitz**0.5
    y = measurement(operator)
    expected = RegularisedInverse(operator, SHAPE, precision=2.0)(y, sigma)
    with torch.no_grad():
        torch.testing.assert_close(unrolled(y, sigma), expected, rtol=1e-6, atol=1e-9)


def test_gradient_descent_diverges_beyond_its_largest_step():
    operator = OPERATORS["tomography"]
    y = measurement(operator)
    norms = {}
    for step in (1.9, 2.1):
        network = UnrolledGradient(operator, SHAPE, 400, shared=True, precision=1e-6)
        network.log_step.data.fill_(math.log(step))
        assert network.alpha.item() == pytest.approx(step / network.lipschitz)
        norms[step] = network.iterates(y, 0.1).detach().flatten(1).norm(dim=1)
    assert norms[1.9][-1] < 3 * norms[1.9][50]
    assert norms[2.1][-1] > 1e6 * norms[2.1][50]


def test_free_steps_do_not_stay_equal():
    network = UnrolledGradient(OPERATORS["tomography"], SHAPE, 3)
    y = measurement(OPERATORS["tomography"])
    (network(y, 0.3) - 1).square().sum().backward()
    gradient = network.log_step.grad
    assert gradient.unique().numel() == 3
    assert gradient.max() - gradient.min() > 1e-2 * gradient.abs().max()


def test_steps_go_through_an_operator_that_is_not_linear():
    """The step is down the gradient of |y - A(f)|^2 / 2, as autograd has it."""
    operator = Scanner([0.0, 20.0, 45.0, 90.0], saturation=0.3, size=SIZE)
    y = operator.A(random(2, *SHAPE, seed=1).abs())
    for network in (UnrolledProximal(operator, SHAPE, 1), UnrolledGradient(operator, SHAPE, 1)):
        network.double()
        f = random(2, *SHAPE, seed=2).abs().requires_grad_()
        (gradient,) = torch.autograd.grad((operator.A(f) - y).square().sum() / 2, f)
        with torch.no_grad():
            network.log_step.fill_(0.7)
            step = network.towards_data(0, f, y / math.sqrt(network.lipschitz))
        torch.testing.assert_close(step, -network.alpha * gradient)


@pytest.mark.parametrize("dictionary", ["wavelet", "identity"])
@pytest.mark.parametrize("name", ["blur", "tomography", "mri"])
def test_ista_descends_to_the_minimiser_of_the_lasso(name, dictionary):
    operator, sigma = OPERATORS[name], 0.2
    network = UnrolledISTA(operator, SHAPE, 3000, True, dictionary, threshold=0.5)
    transform = haar if dictionary == "wavelet" else lambda x: x
    y = measurement(operator, batch=1)
    weight = network.weight(sigma)
    with torch.no_grad():
        iterates = network.iterates(y, sigma)[:, 0]
    residual = operator.A(iterates) - y
    objective = residual.abs().square().flatten(1).sum(1) / 2
    objective += weight * transform(iterates).abs().flatten(1).sum(1)
    assert (objective.diff() < 1e-9).all()
    assert objective[-1] < objective[0] - 0.1
    # Subgradient: A^T (A f - y) equals -weight * sign where a coefficient is not zero, else less.
    f = iterates[-1:]
    gradient = transform(operator.A_adjoint(operator.A(f) - y))
    c = transform(f)
    on = c.abs() > 1e-9
    assert on.any()
    assert (~on).any()
    assert (gradient + weight * c.sign())[on].abs().max() < 1e-5 * weight
    assert gradient[~on].abs().max() <= weight * (1 + 1e-6)


@pytest.mark.parametrize("dictionary", ["wavelet", "identity"])
@pytest.mark.parametrize("shared", [True, False])
@EVERY
def test_lista_starts_as_ista(name, shared, dictionary):
    operator = OPERATORS[name]
    y = measurement(operator)
    ista = UnrolledISTA(operator, SHAPE, 4, shared, dictionary, threshold=0.3)
    lista = LISTA(operator, SHAPE, 4, shared, dictionary, threshold=0.3)
    with torch.no_grad():
        expected = ista.iterates(y, 0.2)
        torch.testing.assert_close(lista.iterates(y, 0.2), expected, rtol=1e-5, atol=1e-5)


def test_proximal_network_without_corrections_is_gradient_descent():
    operator = OPERATORS["blur"]
    proximal = UnrolledProximal(operator, SHAPE, 4, width=4)
    for layer in proximal.corrections.last:
        torch.nn.init.zeros_(layer.weight)
    plain = UnrolledGradient(operator, SHAPE, 4, shared=True, precision=1e-30)
    y = measurement(operator)
    torch.testing.assert_close(proximal(y, 0.1).detach(), plain(y, 0.1).detach())


def test_iterates_end_with_the_estimate():
    network = UnrolledISTA(OPERATORS["blur"], SHAPE, 4)
    y = measurement(OPERATORS["blur"])
    assert torch.equal(network.iterates(y, 0.1)[-1], network(y, 0.1))


# ---------------------------------------------------------------- wavelets


@pytest.mark.parametrize("size", [(8, 8), (6, 8), (4, 2), (5, 7)])
def test_haar_is_orthonormal_and_inverted(size):
    x = random(3, 2, *size)
    torch.testing.assert_close(inverse_haar(haar(x)), x)
    torch.testing.assert_close(haar(inverse_haar(x)), x)
    matrix = materialise(lambda x: haar(x), size)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size[0] * size[1]).double())


def test_haar_of_a_constant_is_one_number():
    c = haar(torch.ones(16, 16, dtype=torch.float64))
    assert c[0, 0] == 16
    assert c.count_nonzero() == 1


# ---------------------------------------------------------------- all of them


@EVERY
def test_noise_levels_gradients_and_precision(name):
    operator = OPERATORS[name]
    y = measurement(operator, batch=3)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    for kind, network in networks(operator).items():
        accuracy = 1e-5 if kind == "proximal" else 1e-9  # its corrections work in float32
        if kind == "proximal":  # with step 1, the identity would undo the first correction
            network.log_step.data.fill_(-0.2)
        together = network(y, levels)
        alone = torch.cat([network(y[i : i + 1], float(levels[i])) for i in range(3)])
        torch.testing.assert_close(together, alone, rtol=accuracy, atol=accuracy, msg=kind)
        assert together.shape == (3, *SHAPE)
        together.square().sum().backward()
        for parameter in network.parameters():
            assert parameter.grad is not None, kind
            assert parameter.grad.abs().max() > 0, kind
        single = network(y.to(torch.complex64 if y.is_complex() else torch.float32), 0.3)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), network(y, 0.3), rtol=1e-3, atol=1e-3)


@EVERY
def test_state_holds_trained_numbers_only(name):
    operator = OPERATORS[name]
    y = measurement(operator)
    for kind, network in networks(operator).items():
        state = network.state_dict()
        assert set(state) == {key for key, _ in network.named_parameters()}, kind
        if kind not in ("lista", "proximal"):
            assert sum(value.numel() for value in state.values()) <= 48
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.1).add_(0.01)
        again = networks(operator)[kind]
        again.load_state_dict(copy.deepcopy(network.state_dict()))
        assert torch.equal(again(y, 0.3), network(y, 0.3)), kind
        assert torch.equal(copy.deepcopy(network)(y, 0.3), network(y, 0.3)), kind


@pytest.mark.parametrize(
    "operator",
    [
        Blur.gaussian(1.0, SIZE),
        MRI.cartesian(2, SIZE),
        Tomography([0.0, 45.0, 90.0], SIZE),
        Mask.random(0.2, SIZE),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_channels_are_treated_alike(operator):
    y = measurement(operator, (3, *SIZE))
    for kind, network in networks(operator, (3, *SIZE)).items():
        if kind == "proximal":
            continue  # its corrections mix the channels
        grey = networks(operator)[kind]
        expected = torch.cat([grey(y[:, c : c + 1], 0.3) for c in range(3)], 1)
        torch.testing.assert_close(network(y, 0.3), expected, rtol=1e-6, atol=1e-6, msg=kind)


def test_whole_images_of_several_channels():
    shape = (2, 4, 4)
    mask = Mask((random(*shape) > 0).int())
    matrix = MatrixOperator(random(20, 32), shape)
    for operator in (mask, matrix):
        a = dense(operator, shape)
        y = measurement(operator, shape)
        for penalty in ("identity", "gradient"):
            network = RegularisedInverse(operator, shape, penalty)
            d = np.eye(32) if penalty == "identity" else np.kron(np.eye(2), differences((4, 4)))
            expected = np.linalg.solve(a.T @ a + 0.09 * d.T @ d, a.T @ y.flatten(1).numpy().T).T
            got = network(y, 0.3).detach().flatten(1).numpy()
            np.testing.assert_allclose(got, expected, atol=1e-7)
        for network in networks(operator, shape).values():
            assert network(y, 0.3).shape == (2, *shape)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_numbers_of_parameters():
    blur = OPERATORS["blur"]
    assert count(RegularisedInverse(blur, SHAPE)) == 1
    assert count(SVDNet(OPERATORS["matrix"], SHAPE)) == 20
    for kind in (UnrolledGradient, UnrolledISTA):
        assert count(kind(blur, SHAPE, 7)) == 14
        assert count(kind(blur, SHAPE, 7, shared=True)) == 2
    one = count(LISTA(OPERATORS["matrix"], SHAPE, 3))
    assert one == 48 * 20 + 48 * 48 + 48
    assert count(LISTA(OPERATORS["matrix"], SHAPE, 3, shared=False)) == 3 * one
    # The learned counterpart has the corrections of the proximal network, and no steps.
    for shared in (False, True):
        proximal = UnrolledProximal(blur, SHAPE, 4, 8, shared)
        learned = FullyLearned(SHAPE, SHAPE, 4, 8, shared)
        assert count(proximal) == count(learned) + (1 if shared else 4)
    dense_layer = FullyLearned((1, 12, 5), SHAPE, 4, 8)
    learned = FullyLearned(SHAPE, SHAPE, 4, 8)
    assert count(dense_layer) == count(learned) + 60 * 48 + 48


def test_fully_learned_network_on_images_and_on_other_measurements():
    for shape, image_shape in (
        (SHAPE, SHAPE),
        ((1, 12, 5), SHAPE),
        ((20,), (3, *SIZE)),
        ((3, 20), (3, *SIZE)),
    ):
        network = FullyLearned(shape, image_shape, 2, 4)
        y = random(3, *shape)
        levels = torch.tensor([0.1, 0.2, 0.9])
        output = network(y, levels)
        assert output.shape == (3, *image_shape)
        assert output.dtype == torch.float64
        torch.testing.assert_close(output[1:2], network(y[1:2], 0.2), rtol=1e-5, atol=1e-5)
        output.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
    alike = FullyLearned((3, 20), (3, *SIZE), 2, 4)
    assert alike.dense.weight.shape == (48, 20)


def test_a_foreign_operator():
    class Foreign:
        def A(self, x):
            return x.flip(-1).flatten(1)[:, ::2]

        def A_adjoint(self, y):
            x = torch.zeros(len(y), 48, dtype=y.dtype)
            x[:, ::2] = y
            return x.reshape(-1, *SHAPE).flip(-1)

    y = random(2, 24)
    for network in networks_of_foreign(Foreign()):
        assert network(y, 0.5).shape == (2, *SHAPE)
    torch.testing.assert_close(SVDNet(Foreign(), SHAPE)(y, 1.0), Foreign().A_adjoint(y) / 2)


def networks_of_foreign(operator):
    return (SVDNet(operator, SHAPE), UnrolledISTA(operator, SHAPE, 2), LISTA(operator, SHAPE, 2))


BLUR = OPERATORS["blur"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: RegularisedInverse(BLUR, (1, 8, 8)),
        lambda: RegularisedInverse(BLUR, SIZE),
        lambda: RegularisedInverse(3, SHAPE),
        lambda: RegularisedInverse(BLUR, SHAPE, "laplacian"),
        lambda: RegularisedInverse(BLUR, SHAPE, precision=0.0),
        lambda: SVDNet(BLUR, SHAPE, precision=-1),
        lambda: UnrolledGradient(BLUR, SHAPE, 0),
        lambda: UnrolledGradient(BLUR, SHAPE, precision=0),
        lambda: UnrolledISTA(BLUR, SHAPE, 2.5),
        lambda: UnrolledISTA(BLUR, SHAPE, dictionary="fourier"),
        lambda: UnrolledISTA(BLUR, SHAPE, threshold=0),
        lambda: UnrolledISTA(Identity(), (1, 5, 8)),
        lambda: LISTA(Identity(), (1, 8, 5)),
        lambda: LISTA(BLUR, SHAPE, threshold=-1.0),
        lambda: UnrolledProximal(BLUR, SHAPE, width=0),
        lambda: UnrolledProximal(Identity(), (1, 2, 8)),
        lambda: FullyLearned((0, 3), SHAPE),
        lambda: FullyLearned(SHAPE, SIZE),
        lambda: FullyLearned(SHAPE, (1, 2, 2)),
        lambda: FullyLearned(SHAPE, SHAPE, layers=0),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match=r"expected|got"):
        make()


def test_bad_calls():
    y = random(2, *SHAPE)
    trained = [*networks(BLUR).values(), FullyLearned(SHAPE, SHAPE, 2, 4)]
    for network in trained:
        for bad in (y[0], y[:, :, :4], y.int(), y + 0j, y * torch.nan, [1.0]):
            with pytest.raises(ValueError, match="y"):
                network(bad, 0.1)
        for sigma in (-0.1, torch.nan, torch.tensor([0.1, 0.2, 0.3]), "0.1", None):
            with pytest.raises(ValueError, match="sigma"):
                network(y, sigma)
    for network in trained[-2:]:
        with pytest.raises(ValueError, match="sigma"):
            network(y, 0.0)
    with pytest.raises(ValueError, match="y"):
        SVDNet(OPERATORS["mri"], SHAPE)(y, 0.1)
    with pytest.raises(ValueError, match="sigma"):
        trained[2].gains(-1.0)
    for variance in (torch.ones(3), torch.zeros(SIZE), 1.0):
        with pytest.raises(ValueError, match="variance"):
            trained[2].set_prior_variance(variance)


def test_standardised_measurements_are_what_the_dense_layer_sees():
    y = 5 + 3 * random(4, 20)
    network, plain = FullyLearned((20,), SHAPE, 1, 4), FullyLearned((20,), SHAPE, 1, 4)
    network.standardise(y)
    plain.load_state_dict({**network.state_dict(), "unit": torch.tensor([0.0, 1.0])})
    unit = (y - y.mean()) / y.std(correction=0)
    torch.testing.assert_close(network(y, 0.1), plain(unit, 0.1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="differ"):
        network.standardise(torch.ones(2, 20))

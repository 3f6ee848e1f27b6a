"""Deep inverse priors: networks, descent, the theorem's constants, and the figures' data."""

import math

import pytest
import torch
from torch.nn import functional as F

from lemmse.dip import (
    ACTIVATIONS,
    ConvolutionalPrior,
    Discrepancy,
    LossThreshold,
    TheoremTime,
    TwoLayer,
    constants,
    descend,
    flow,
    random_problem,
    wilson,
)
from lemmse.operators import Blur


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def two_layer(n=3, d=4, k=6, seed=0, runs=1, **options):
    return TwoLayer.draw(n, d, k, generator(seed), runs, **options)


def small_prior(runs=2, dtype=torch.float64):
    return ConvolutionalPrior.draw((2, 4, 4), generator(), runs, width=3, levels=1, dtype=dtype)


def problem(m, n, k, condition=1.0, noise=0.02, seed=0, runs=3, activation="tanh"):
    """A network, A, the truth and the noise of every run."""
    g = generator(seed)
    A, truth = random_problem(m, n, condition, g, runs)
    network = TwoLayer.draw(n, 1, k, g, runs, activation)
    eps = noise * torch.randn(runs, m, generator=g, dtype=torch.float64)
    return network, A, truth, eps


def measured(A, truth, eps):
    return (A @ truth[..., None])[..., 0] + eps


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one, other, **tolerance)


# Activations


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_and_their_bounds(name):
    phi = ACTIVATIONS[name]
    h = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    slope, curvature = phi.slope(h), phi.curvature(h)
    for values, derivative in ((phi.value(h), slope), (slope, curvature)):
        difference = (values[2:] - values[:-2]) / (h[2:] - h[:-2])
        assert_same(difference, derivative[1:-1], atol=1e-6, rtol=0)
    assert slope.abs().max() == pytest.approx(phi.max_slope, rel=1e-3)
    assert slope.abs().max() <= phi.max_slope
    assert curvature.abs().max() == pytest.approx(phi.max_curvature, rel=1e-6)
    assert curvature.abs().max() <= phi.max_curvature * (1 + 1e-12)


# Networks


def test_two_layers_are_the_formula():
    network = two_layer(runs=2)
    assert_same(network.u.norm(dim=1), torch.ones(2).double())
    for run in range(2):
        hidden = torch.tanh(network.start[run] @ network.u[run])
        assert_same(network.output()[run], network.V[run] @ hidden / 6**0.5)
    assert set(network.V.unique().tolist()) == {-1.0, 1.0}


def test_uniform_outer_weights_have_variance_one_and_are_bounded():
    V = two_layer(n=100, k=1000, outer="uniform").V
    assert V.abs().max() <= 3**0.5
    assert V.mean().abs() < 0.02
    assert V.square().mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("network", [two_layer(runs=2), small_prior()], ids=["two", "conv"])
def test_jacobian_against_finite_differences(network):
    jacobian, step = network.jacobian(), 1e-5
    directions = torch.randn(5, *network.start.shape, generator=generator(), dtype=torch.float64)
    for direction in directions:
        shifted = [network.output((network.start + s * direction)[:, None]) for s in (step, -step)]
        difference = (shifted[0] - shifted[1]).flatten(1) / (2 * step)
        product = (jacobian @ direction.flatten(1)[..., None])[..., 0]
        assert_same(difference, product, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("network", [two_layer(runs=2), small_prior()], ids=["two", "conv"])
def test_pullback_gram_and_change_agree_with_the_jacobian(network):
    jacobian = network.jacobian()
    v = torch.randn(network.output()[:, None].shape, generator=generator(), dtype=torch.float64)
    expected = (v.flatten(1)[:, None] @ jacobian)[:, 0]
    assert_same(network.pullback(network.start[:, None], v).flatten(1), expected)
    assert_same(network.gram(), jacobian @ jacobian.mT)
    theta = network.start + 0.3
    change = torch.linalg.matrix_norm(network.jacobian(theta) - jacobian, 2)
    assert_same(network.change(theta), change)


def test_jacobian_of_two_layers_in_closed_form():
    network = two_layer()
    slopes = 1 - torch.tanh(network.start[0] @ network.u[0]).square()
    expected = torch.einsum("jk,k,d->jkd", network.V[0], slopes, network.u[0]) / 6**0.5
    assert_same(network.jacobian()[0], expected.flatten(1))


@pytest.mark.parametrize("draw", [two_layer, lambda runs: small_prior(runs)], ids=["two", "conv"])
def test_first_runs_do_not_depend_on_the_size_of_the_batch(draw):
    few, many = draw(runs=2), draw(runs=40)
    assert torch.equal(few.start, many.start[:2])
    assert torch.equal(few.output(), many.select(torch.tensor([0, 1])).output())
    assert not torch.equal(many.output()[0], many.output()[1])


@pytest.mark.parametrize("network", [two_layer(runs=2), small_prior(runs=2)])
def test_linearised_is_the_output_and_the_pullback(network):
    theta = torch.stack([network.start, network.start + 0.1], dim=1)
    output, pullback = network.linearised(theta)
    torch.testing.assert_close(output, network.output(theta))
    v = torch.randn(output.shape, generator=generator(), dtype=output.dtype)
    torch.testing.assert_close(pullback(v), network.pullback(theta, v))


def test_convolutional_prior_interpolates_and_continues_circularly():
    prior = ConvolutionalPrior.draw((1, 8, 16), generator(), 1, 3, 1, dtype=torch.float64)
    x = F.interpolate(prior.u, scale_factor=2, mode="bilinear", align_corners=False)
    x = F.pad(x, (1, 1, 1, 1), mode="circular")
    inner, last = prior.start[0].split([81, 3])
    expected = 0.5 + F.conv2d(F.conv2d(x, inner.view(3, 3, 3, 3)).tanh(), last.view(1, 3, 1, 1))
    torch.testing.assert_close(prior.output(), expected)


def test_convolutional_prior_batches_networks_side_by_side():
    prior = small_prior(runs=3)
    theta = torch.stack([prior.start, prior.start + 0.1], dim=1)
    images = prior.output(theta)
    assert images.shape == (3, 2, 2, 4, 4)
    for run in range(3):
        for trial in range(2):
            assert_same(images[run, trial].flatten(), prior.single(run, theta[run, trial]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_layer(n=0), "at least 1"),
        (lambda: two_layer(outer="normal"), "signs, uniform"),
        (lambda: two_layer(activation="relu"), "'relu'"),
        (
            lambda: TwoLayer(torch.ones(1, 3, 2), torch.ones(1, 3), torch.ones(1, 4, 3), "tanh"),
            r"\(1, 3\)",
        ),
        (lambda: ConvolutionalPrior.draw((1, 10, 10), generator()), "divisible by 2"),
        (
            lambda: ConvolutionalPrior(
                torch.ones(1, 3), torch.ones(1, 3, 2, 2), (1, 4, 4), ACTIVATIONS["tanh"]
            ),
            "start: expected",
        ),
        (lambda: random_problem(2, 3, 0.5, generator()), "at least 1"),
        (lambda: wilson(3, 2), "3 of 2"),
        (lambda: Discrepancy(0.1, factor=0.5), "factor"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Descent


def test_descent_is_gradient_descent_on_the_loss():
    network, A, y = two_layer(), torch.randn(2, 3, generator=generator()).double(), torch.ones(2)
    found = descend(network, A, y.double(), 0.1, 20, record=range(21), keep_outputs=True)
    W = network.start[0].clone().requires_grad_()
    path = 0.0
    for t in range(21):
        x = network.V[0] @ torch.tanh(W @ network.u[0]) / 6**0.5
        loss = (A @ x - y).square().sum() / 2
        assert_same(found.loss[t, 0], loss.detach())
        assert_same(found.outputs[t, 0], x.detach())
        assert_same(found.distance[t, 0], (W - network.start[0]).norm().detach())
        assert found.length[t].item() == pytest.approx(path)
        (gradient,) = torch.autograd.grad(loss, W)
        path += 0.1 * gradient.norm().item()
        if t < 20:
            W = (W - 0.1 * gradient).detach().requires_grad_()
    assert_same(found.theta[0], W.detach())
    assert found.stopped.tolist() == [20]
    assert not found.satisfied.any()


def test_only_the_component_along_the_input_moves():
    network = two_layer(d=5, runs=3)
    A, y = torch.eye(3).double(), torch.ones(3).double()
    full = descend(network, A, y, 0.5, 50)
    reduced = descend(network.reduced(), A, y, 0.5, 50)
    for name in ("loss", "distance", "length", "output"):
        assert_same(getattr(full, name), getattr(reduced, name))
    moved = full.theta - network.start
    assert_same(moved, (moved @ network.u[:, :, None]) @ network.u[:, None, :])


def test_batch_of_runs_equals_runs_one_by_one():
    network, A, truth, eps = problem(4, 5, 30, condition=2.0, runs=6)
    y, step = measured(A, truth, eps), torch.linspace(0.3, 1.0, 6).double()
    threshold = torch.logspace(-6, -1, 6).double()
    args = {"record": [5, 50], "truth": truth}
    batch = descend(network, A, y, step, 400, LossThreshold(threshold), **args)
    assert len(set(batch.stopped.tolist())) > 3  # they leave at different times
    for run in range(6):
        one = torch.tensor([run])
        alone = descend(
            network.select(one),
            A[run],
            y[run],
            step[run].item(),
            400,
            LossThreshold(threshold[run].item()),
            record=[5, 50],
            truth=truth[run],
        )
        assert batch.stopped[run] == alone.stopped[0]
        assert batch.satisfied[run] == alone.satisfied[0]
        assert_same(batch.output[run], alone.output[0])
        assert_same(batch.theta[run], alone.theta[0])
        for name in ("loss", "distance", "length", "error"):
            assert_same(getattr(batch, name)[-1, run], getattr(alone, name)[-1, 0])
            second = min(
                1, len(alone.iterations) - 1
            )  # iteration 5, or the last if that is earlier
            assert_same(getattr(batch, name)[1, run], getattr(alone, name)[second, 0])


def test_trials_equal_separate_runs():
    network, A, truth, eps = problem(4, 4, 30, runs=3)
    y = measured(A, truth, eps)
    steps = torch.tensor([[0.1, 0.7, 1.2]]).double()
    several = torch.stack([y, y + 1, y - 1], 1)
    together = descend(network, A, several, steps, 60, LossThreshold(1e-3), truth=truth)
    assert together.loss.shape[1:] == (3, 3)
    for trial in range(3):
        alone = descend(
            network, A, several[:, trial], steps[0, trial].item(), 60, LossThreshold(1e-3)
        )
        assert_same(together.stopped[:, trial], alone.stopped)
        assert_same(together.output[:, trial], alone.output)
        assert_same(together.loss[-1, :, trial], alone.loss[-1])


def test_descent_with_an_operator_on_images():
    prior = small_prior(runs=2)
    blur = Blur.gaussian(0.7, (4, 4))
    y = torch.rand(2, 4, 4, generator=generator(), dtype=torch.float64)
    found = descend(prior, blur, y, 0.05, 200)
    assert (found.loss[-1] < 0.3 * found.loss[0]).all()
    matrix = blur.A(torch.eye(16).double().reshape(16, 1, 4, 4)).reshape(16, 16).T
    theta = prior.start.clone().requires_grad_()
    loss = (prior.output(theta[:, None])[:, 0].flatten(2) @ matrix.T - y.flatten(1)).square().sum()
    (gradient,) = torch.autograd.grad(loss / 2, theta)
    first = descend(prior, blur, y, 0.05, 1)
    assert_same(first.theta, prior.start - 0.05 * gradient)


def test_diverging_runs_leave_and_the_others_go_on():
    network = two_layer(n=4, k=40, runs=3, activation="softplus")
    step = torch.tensor([0.5, 1e6, 0.5]).double()
    found = descend(network, torch.eye(4).double(), torch.ones(4).double(), step, 300)
    assert found.diverged.tolist() == [False, True, False]
    assert found.loss[-1, [0, 2]].max() < 1e-6
    assert found.stopped[1] < 10


def test_flow_is_the_limit_of_small_steps():
    network, A, truth, eps = problem(4, 4, 30, condition=2.0)
    y = measured(A, truth, eps)
    exact = flow(network, A, y, 0.05, 40).output
    errors = [
        (descend(network, A, y, 2.0 / steps, steps).output - exact).norm() for steps in (200, 400)
    ]
    assert errors[1] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)
    assert_same(flow(network, A, y, 0.1, 20).output, exact, atol=1e-6, rtol=0)


def test_recorded_iterations():
    args = two_layer(), torch.eye(3).double(), torch.ones(3).double(), 0.1
    assert descend(*args, 30, record=range(0, 31, 10)).iterations.tolist() == [0, 10, 20, 30]
    assert descend(*args, 100, record=4).iterations.tolist() == [0, 1, 10, 100]
    assert descend(*args, 7, record=[3]).iterations.tolist() == [0, 3, 7]
    seen = []
    descend(*args, 5, progress=seen.append)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"A": torch.ones(2)}, "A: expected"),
        ({"A": [[1.0]]}, "A: expected"),
        ({"y": torch.ones(4).double()}, r"y: expected \(3\)"),
        ({"truth": torch.ones(2).double()}, "truth: expected"),
        ({"step": 0.0}, "step"),
        ({"step": math.nan}, "step"),
        ({"step": torch.ones(3)}, "step"),
        ({"iterations": 0}, "iterations"),
        ({"record": 1}, "record"),
    ],
)
def test_bad_descents_are_refused(changed, message):
    arguments = {"A": torch.eye(3).double(), "y": torch.ones(3).double(), "step": 0.1}
    arguments |= {"iterations": 5, "network": two_layer(runs=2)}
    with pytest.raises(ValueError, match=message):
        descend(**(arguments | changed))


# Stopping rules


def test_stopping_rules_stop_at_the_first_iteration_that_satisfies_them():
    network, A, truth, eps = problem(5, 5, 100, noise=0.1)
    y, noise = measured(A, truth, eps), eps.norm(dim=1)
    whole = descend(network, A, y, 1.0, 300, record=range(301))
    for rule, fires in (
        (LossThreshold(1e-2), whole.loss <= 1e-2),
        (Discrepancy(noise), whole.residual <= noise),
        (Discrepancy(noise, factor=2.0), whole.residual <= 2 * noise),
    ):
        found = descend(network, A, y, 1.0, 300, rule)
        assert found.satisfied.all()
        assert_same(found.stopped, fires.long().argmax(0))
        rows = whole.loss.gather(0, found.stopped[None])[0]
        assert_same(found.loss[-1], rows)
    both = descend(network, A, y, 1.0, 300, [LossThreshold(1e-9), Discrepancy(noise)])
    assert_same(both.stopped, descend(network, A, y, 1.0, 300, Discrepancy(noise)).stopped)
    times = torch.tensor([0.0, 7.0, 12.0])
    assert descend(network, A, y, 1.0, 300, TheoremTime(times)).stopped.tolist() == [0, 7, 12]


# Constants


def test_constants_of_a_tiny_case_by_brute_force():
    network, A, truth, eps = problem(2, 2, 5, condition=3.0, runs=1)
    found = constants(A, network, measured(A, truth, eps))
    angles = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    v = torch.stack([angles.cos(), angles.sin()])
    lengths = (network.jacobian()[0].T @ v).norm(dim=0)
    assert lengths.min() == pytest.approx(found.sigma_0.item(), rel=1e-6)
    assert lengths.max() == pytest.approx(found.norm_J0.item(), rel=1e-6)
    assert (A[0] @ v).norm(dim=0).min() == pytest.approx(found.sigma_A.item(), rel=1e-6)
    assert (A[0] @ v).norm(dim=0).max() == pytest.approx(found.norm_A.item(), rel=1e-6)
    residual = (A[0] @ network.output()[0] - measured(A, truth, eps)[0]).norm()
    assert_same(found.residual[0], residual)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_lipschitz_constant_of_the_jacobian_is_a_bound_and_attained(name):
    network = two_layer(n=2, d=3, k=3, outer="uniform", activation=name)
    bound, g = network.lipschitz(), generator(1)
    for _ in range(200):
        one, other = (3 * torch.randn(2, 1, 3, 3, generator=g, dtype=torch.float64)).unbind()
        other = one + torch.rand(1, generator=g).double() * (other - one)
        change = torch.linalg.matrix_norm(network.jacobian(one) - network.jacobian(other), 2)
        assert (change <= bound * (one - other).flatten(1).norm(dim=1) * (1 + 1e-9)).all()
    h = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    top = h[network.phi.curvature(h).abs().argmax()]
    neuron = network.V[0].norm(dim=0).argmax()
    step = 1e-4 * network.u[0]
    one = network.start.clone()
    one[0, neuron] = top * network.u[0] - step / 2
    other = one.clone()
    other[0, neuron] += step
    change = torch.linalg.matrix_norm(network.jacobian(one) - network.jacobian(other), 2)
    assert (change / 1e-4).item() == pytest.approx(bound.item(), rel=1e-4)


def test_L_bounds_the_change_of_the_gradient_on_the_ball():
    network, A, truth, eps = problem(3, 3, 20, condition=2.0, runs=1)
    y, g = measured(A, truth, eps), generator(2)
    found = constants(A, network, y)
    start, radius = network.start[:, None], found.R.item()

    def gradient(theta):
        residual = network.output(theta) @ A[0].T - y[:, None]
        return residual, network.pullback(theta, residual @ A[0])

    for _ in range(300):
        points = torch.randn(2, *start.shape, generator=g, dtype=torch.float64)
        points *= radius * torch.rand(2, generator=g)[:, None, None, None, None] / points[0].norm()
        one, other = start + points[0], start + points[1] * points[0].norm() / points[1].norm()
        residual, slope = gradient(one)
        if residual.norm() <= found.residual:
            change = (gradient(other)[1] - slope).norm() / (other - one).norm()
            assert change <= found.L * (1 + 1e-9)
    assert found.smoothness_sampled <= found.L
    assert found.lipschitz_sampled <= found.lipschitz
    hessian = torch.func.jacfwd(lambda theta: gradient(theta)[1])(start).reshape(20, 20)
    largest = torch.linalg.matrix_norm(hessian, 2)
    found = constants(A, network, y, samples=400)
    assert found.smoothness_sampled.item() == pytest.approx(largest.item(), rel=1e-3)


def test_constants_follow_the_formulas():
    network, A, truth, eps = problem(4, 4, 3000, condition=2.0)
    y = measured(A, truth, eps)
    c = constants(A, network, y, truth=truth)
    assert_same(c.step, 1 / c.L)
    assert_same(c.nu, torch.full((3,), 2.0).double())
    assert_same(c.R, c.sigma_0 / (2 * c.lipschitz))
    assert_same(c.R_prime, 4 * c.residual / (c.sigma_A * c.sigma_0))
    assert_same(c.rate, 1 - c.mu / c.L)
    bound = torch.minimum(c.norm_J0 + c.sigma_0 / 2, network.bound())
    assert_same(c.L, c.norm_A**2 * bound**2 + c.norm_A * c.lipschitz * c.residual)
    assert (c.injectivity_sampled >= c.injectivity).all()
    half = constants(A, network, y, step=0.5 / c.L)
    assert_same(half.nu, torch.full((3,), 4 / 3).double())
    limit = constants(A, network, y, step=0.0)
    assert_same(limit.nu, torch.ones(3).double())
    assert_same(limit.rate, (-2 * c.mu).exp())
    steps = constants(A, network, y, step=1.5 / c.L)
    assert not steps.holds.any()
    assert constants(A, network, y, samples=0).lipschitz_sampled.isnan().all()


def test_the_sharper_radius_lies_between_half_of_R_prime_and_R_prime():
    network, A, truth, eps = problem(4, 4, 10_000)
    c = constants(A, network, measured(A, truth, eps))
    assert c.holds.all()
    assert (c.R_prime / 2 < c.radius_sharp).all()
    assert (c.radius_sharp < c.R_prime).all()
    few = constants(*(problem(4, 4, 20)[i] for i in (1, 0)), torch.ones(4).double())
    assert few.radius_sharp.isinf().all()


def test_hypotheses_fail_without_full_row_rank_or_a_formula():
    network, A, truth, eps = problem(5, 5, 4)
    found = constants(A, network, measured(A, truth, eps))
    assert (found.sigma_0 == 0).all()
    assert not found.holds.any()
    prior = ConvolutionalPrior.draw((1, 4, 4), generator(), runs=2, width=3, levels=1)
    found = constants(torch.eye(16).double(), prior, torch.ones(16).double(), samples=4)
    assert found.lipschitz.isnan().all()
    assert all(t.isnan().all() for t in (found.nu, found.R_prime, found.radius_sharp))
    assert not found.holds.any()
    assert (found.lipschitz_sampled > 0).all()
    assert (found.smoothness_sampled > 0).all()


@pytest.mark.parametrize(
    ("A", "y", "step", "message"),
    [
        (torch.eye(4), torch.ones(4), None, "A: expected"),
        (torch.ones(2, 2, 3), torch.ones(2), None, "as many matrices"),
        (torch.eye(3), torch.ones(4), None, "expected y"),
        (torch.zeros(2, 3), torch.ones(2), None, "not zero"),
        (torch.eye(3), torch.ones(3), -1.0, "step"),
    ],
)
def test_bad_constants_are_refused(A, y, step, message):
    with pytest.raises(ValueError, match=message):
        constants(A, two_layer(), y, step)


# The theorem

CASES = {
    "square": problem(4, 4, 10_000, runs=2),
    "ill-conditioned": problem(3, 3, 20_000, condition=3.0, runs=1),
    "more measurements": problem(6, 4, 12_000, condition=1.5, runs=2),
    "fewer measurements": problem(3, 5, 12_000, runs=2),
    "softplus": problem(4, 4, 5_000, runs=2, activation="softplus"),
}


@pytest.mark.parametrize("case", CASES)
def test_inequalities_of_the_theorem_where_its_hypotheses_hold(case):
    network, A, truth, eps = CASES[case]
    y, noise = measured(A, truth, eps), eps.norm(dim=1)
    for share in (1.0, 0.3):
        largest = constants(A, network, y, samples=0).largest_step
        c = constants(A, network, y, share * largest, samples=0)
        assert c.holds.all()
        found = descend(network, A, c.y, c.step, 80, truth=truth, record=range(81))
        assert (found.length <= c.R_prime).all()
        assert (found.distance <= found.length * (1 + 1e-9)).all()
        assert (found.length <= c.radius_sharp).all()
        assert (found.loss <= c.loss_bound(found.iterations) * (1 + 1e-9) + 1e-26).all()
        assert (found.error <= c.error_bound(found.iterations, noise)).all()
        assert c.error_bound(found.iterations, noise).isfinite().all() == (case[0] != "f")


def test_without_full_rank_the_theorem_names_no_time():
    network, A, truth, eps = problem(6, 6, 4)  # fewer neurons than pixels: sigma_0 = 0
    found = constants(A, network, measured(A, truth, eps), samples=0)
    assert (found.sigma_0 == 0).all()
    assert found.stopping_time(1e-3).isinf().all()


def test_error_near_the_truth_after_the_stopping_time():
    network, A, truth, eps = problem(4, 4, 8_000, noise=0.2)
    c, noise = constants(A, network, measured(A, truth, eps)), eps.norm(dim=1)
    T = c.stopping_time(noise)
    assert (c.residual_bound(T)[range(3), range(3)] <= noise).all()
    assert (c.residual_bound(T - 1)[range(3), range(3)] > noise).all()
    stop = descend(network, A, c.y, c.step, 1000, TheoremTime(T))
    assert_same(stop.stopped, T.long())
    clean = (A @ truth[..., None])[..., 0]
    after = descend(network, A, c.y, c.step, int(T.max()) + 100, record=range(0, 1000, 10))
    late = after.iterations >= T.max()
    assert late.sum() > 5
    images = stop.output[:, None] @ A.mT
    assert ((images[:, 0] - clean).norm(dim=1) <= 2 * noise).all()
    assert (after.residual[late] <= noise).all()
    assert c.stopping_time(0.0).isinf().all()
    assert (c.stopping_time(1e3) == 0).all()


def test_theorem_holds_for_the_flow():
    network, A, truth, eps = problem(3, 3, 3_000)
    c = constants(A, network, measured(A, truth, eps), step=0.0)
    assert c.holds.all()
    found = flow(network, A, c.y, 0.25, 80, record=range(81))
    assert (found.loss <= c.loss_bound(0.25 * found.iterations) * (1 + 1e-6) + 1e-20).all()
    assert (found.distance <= c.R_prime).all()


# Figures


def test_wilson_interval():
    low, high = wilson(torch.tensor([0, 25, 50]), 50)
    assert low.tolist() == pytest.approx([0, 0.3664, 0.9287], abs=1e-4)
    assert high.tolist() == pytest.approx([0.0713, 0.6336, 1], abs=1e-4)

"""Our operators as deepinv's physics: noise, adjoint, exact inverses, the layout of k-space."""

import copy

import deepinv as dinv
import pytest
import torch

from lemmse import deepinv as ours
from lemmse.operators import MRI, Blur, Identity, Mask, MatrixOperator, Tomography, materialise

SIZE = (6, 7)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


OPERATORS = {
    "identity": (Identity(), (2, *SIZE)),
    "mask": (Mask.random(0.4, SIZE, seed=3), (2, *SIZE)),
    "blur": (Blur.gaussian(1.0, SIZE), (2, *SIZE)),
    "mri": (MRI.cartesian(2, SIZE, seed=1), (1, *SIZE)),
    "tomography": (Tomography([0.0, 40.0, 85.0], SIZE), (2, *SIZE)),
    "matrix": (MatrixOperator(random(11, 42, seed=6), (1, *SIZE)), (1, *SIZE)),
}
operators = pytest.mark.parametrize(("operator", "shape"), OPERATORS.values(), ids=OPERATORS.keys())


@operators
def test_deepinv_finds_the_adjoint_right(operator, shape):
    physics = ours.Physics(operator, 0.1)
    assert isinstance(physics, dinv.physics.LinearPhysics)
    x = random(2, *shape)
    assert physics.adjointness_test(x).abs() < 1e-10
    matrix = materialise(physics.operator.A, shape)
    norm = physics.compute_sqnorm(x, max_iter=2000, tol=1e-9, verbose=False)
    torch.testing.assert_close(
        norm.double(), torch.linalg.matrix_norm(matrix, 2) ** 2, rtol=1e-3, atol=0
    )


@operators
def test_the_vector_jacobian_product_is_that_of_autograd(operator, shape):
    physics = ours.Physics(operator, 0.1)
    x = random(2, *shape)
    v = random(*physics.A(x).shape, seed=1)
    _, pullback = torch.func.vjp(physics.A, x)
    torch.testing.assert_close(physics.A_vjp(x, v), pullback(v)[0], rtol=0, atol=1e-12)


@operators
def test_noise_where_there_are_measurements(operator, shape):
    physics = ours.Physics(operator, [0.5, 2.0], generator=torch.Generator().manual_seed(0))
    x = random(2, *shape).float()
    draws = torch.stack([physics(x) - physics.A(x) for _ in range(300)])
    deviation = draws.std(0)
    measured = physics.operator.measured(torch.ones_like(deviation)) != 0
    assert (deviation[~measured] == 0).all()
    for level, image, which in zip([0.5, 2.0], deviation, measured, strict=True):
        assert abs(image[which].mean() / level - 1) < 0.02


def test_unsampled_k_space_is_exactly_zero():
    mri = MRI.cartesian(2, (8, 8), seed=1)
    y = ours.Physics(mri, 0.3)(torch.rand(2, 1, 8, 8))
    sampled = torch.fft.fftshift(mri.mask.value).bool()
    assert (y[:, :, ~sampled] == 0).all()
    assert (y[:, :, sampled] != 0).all()


@operators
def test_the_pseudo_inverse_is_exact(operator, shape):
    physics = ours.Physics(operator, 0.1)
    y = physics.A(random(2, *shape))
    matrix = materialise(physics.operator.A, shape)
    wanted = torch.linalg.lstsq(matrix, y.flatten(1).T, rcond=1e-9, driver="gelsd").solution.T
    torch.testing.assert_close(physics.A_dagger(y).flatten(1), wanted, rtol=0, atol=1e-6)


def dense_prox(physics, z, y, gamma):
    matrix = materialise(physics.operator.A, z.shape[1:])
    gram = matrix.T @ matrix + torch.eye(matrix.shape[1], dtype=matrix.dtype) / gamma
    rhs = matrix.T @ y.flatten(1).T + z.flatten(1).T / gamma
    return torch.linalg.solve(gram, rhs).T.reshape(z.shape)


@operators
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 1e4])
def test_the_proximal_operator_is_exact(operator, shape, gamma):
    physics = ours.Physics(operator, 0.1)
    z, x = random(2, *shape), random(2, *shape, seed=1)
    y = physics.A(x) + 0.1 * random(*physics.A(x).shape, seed=2)
    wanted = dense_prox(physics, z, y, gamma)
    for weight in (gamma, torch.tensor(gamma), torch.full((2, 1, 1, 1), gamma)):
        got = physics.prox_l2(z, y, weight, solver="CG", max_iter=1)
        torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-7)
    fidelity = dinv.optim.L2().prox(z, y, physics, gamma=gamma)
    torch.testing.assert_close(fidelity, wanted, rtol=1e-7, atol=1e-7)
    for start, number in ((None, 0.0), (0, 0.0), (0.5, 0.5)):
        wanted = dense_prox(physics, torch.full_like(z, number), y, gamma)
        torch.testing.assert_close(physics.prox_l2(start, y, gamma), wanted, rtol=1e-7, atol=1e-7)


@operators
def test_a_weight_for_each_image_and_its_gradient(operator, shape):
    physics = ours.Physics(operator, 0.1)
    z, y = random(2, *shape).requires_grad_(), physics.A(random(2, *shape, seed=1)).detach()
    y.requires_grad_()
    gamma = torch.tensor([0.5, 20.0], dtype=torch.float64, requires_grad=True)
    both = physics.prox_l2(z, y, gamma)
    for i in range(2):
        alone = dense_prox(physics, z[i : i + 1], y[i : i + 1], gamma[i].item())
        torch.testing.assert_close(both[i : i + 1], alone, rtol=0, atol=1e-8)
    assert torch.autograd.gradcheck(physics.prox_l2, (z, y, gamma), atol=1e-6, fast_mode=True)
    value, pullback = torch.func.vjp(physics.prox_l2, z.detach(), y.detach(), gamma.detach())
    weights = random(*value.shape, seed=3)
    wanted = torch.autograd.grad((both * weights).sum(), (z, y, gamma))
    for got, expected in zip(pullback(weights), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_no_second_derivative_in_the_weight():
    physics, y = ours.Physics(Blur.gaussian(1.0, SIZE), 0.1), random(1, 1, *SIZE)
    gamma = torch.tensor([2.0], requires_grad=True)
    value = physics.prox_l2(torch.zeros_like(y), y, gamma).square().sum()
    (slope,) = torch.autograd.grad(value, gamma, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize(
    "gamma", [0.0, -1, float("nan"), torch.ones(3), "1", torch.ones(2, 1, 6, 7)]
)
def test_bad_weights(gamma):
    physics, y = ours.Physics(Blur.gaussian(1.0, SIZE), 0.1), random(2, 1, *SIZE)
    with pytest.raises(ValueError, match="gamma to be a number > 0"):
        physics.prox_l2(y, y, gamma)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (5, 7)])
def test_k_space_is_that_of_deepinv(size):
    mri = MRI((random(*size, seed=5) > 0).double(), size)
    physics = ours.Physics(mri, 0.1)
    centred = torch.fft.fftshift(mri.mask.value)[None, None]
    theirs = dinv.physics.MRI(centred)
    x = random(2, 1, *size)
    complex_x = torch.cat([x, torch.zeros_like(x)], 1)
    torch.testing.assert_close(physics.A(x), theirs.A(complex_x), rtol=0, atol=1e-12)
    y = random(2, 2, *size, seed=1)
    wanted = theirs.A_adjoint(y)[:, :1]  # the real part: images are real
    torch.testing.assert_close(physics.A_adjoint(y), wanted, rtol=0, atol=1e-12)
    natural = physics.operator.natural(y)
    torch.testing.assert_close(physics.operator.laid_out(natural), y, rtol=0, atol=1e-12)
    unsampled = mri.A(x)
    torch.testing.assert_close(
        physics.operator.natural(physics.A(x)), unsampled, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("mask", ["all", "even", "odd"])
def test_mri_of_complex_images_is_that_of_deepinv(mask):
    size = (6, 8)
    chosen = torch.ones(size) if mask == "all" else (random(*size, seed=2) > 0).float()
    if mask == "even":
        natural = torch.fft.ifftshift(chosen)
        chosen = torch.fft.fftshift(natural * natural.flip(0, 1).roll((1, 1), (0, 1)))
    theirs, mine = dinv.physics.MRI(chosen), ours.ComplexImageMRI(chosen)
    x, y = random(3, 2, *size), random(3, 2, *size, seed=1)
    for name in ("A", "A_adjoint", "A_dagger"):
        got, wanted = (getattr(one, name)(x if name == "A" else y) for one in (mine, theirs))
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    wanted = theirs.prox_l2(torch.zeros_like(x), y, 1 / 0.3)
    torch.testing.assert_close(mine.A_tikhonov(y, 0.3), wanted, rtol=0, atol=1e-6)
    stationary = isinstance(mine.preinverse("pinv").noise, ours.operators.Stationary)
    assert stationary == (mask != "odd")
    for kind in ("adjoint", "pinv", "tikhonov"):
        matrix = materialise(mine.preinverse(kind).apply, (2, *size))
        noise = mine.preinverse(kind).noise
        if stationary:
            white = torch.fft.ifft2(noise.spectrum).real
            rows = torch.stack(
                [white.roll((i, j), (0, 1)).flatten() for i in range(6) for j in range(8)]
            )
            covariance = torch.block_diag(rows, rows)
        else:
            covariance = noise.matrix @ noise.matrix.T
        support = torch.cat([chosen.flatten(), chosen.flatten()]).double()
        torch.testing.assert_close((matrix * support) @ matrix.T, covariance, rtol=0, atol=1e-10)


def test_the_noise_level_may_change_but_not_the_operator():
    physics = ours.Physics(Blur.gaussian(1.0, SIZE), 0.0)
    x = torch.rand(2, 1, *SIZE)
    assert torch.equal(physics(x), physics.A(x))
    assert (physics(x, sigma=0.3) - physics.A(x)).std() > 0.1
    physics.update(sigma=torch.tensor([0.0, 1.0]))
    assert torch.equal(physics(x)[0], physics.A(x)[0])
    for change in (physics.update, lambda **given: physics(x, **given)):
        with pytest.raises(ValueError, match=r"fixed Blur, got filter"):
            change(filter=torch.ones(1, 1, 3, 3))


def test_physics_copy_stack_and_compose():
    generator = torch.Generator().manual_seed(0)
    physics = ours.Physics(Blur.gaussian(1.0, SIZE), 0.3, generator=generator)
    x = torch.rand(2, 1, *SIZE)
    clone = physics.clone()
    assert torch.equal(clone(x), physics(x))
    assert torch.equal(copy.deepcopy(ours.Physics(Identity(), 0.1)).A(x), x)
    stacked = physics.stack(ours.Physics(Mask.central(2, SIZE), 0.1))
    assert [y.shape for y in stacked(x)] == [x.shape, x.shape]
    wanted = physics.A_adjoint(physics.A(x)) + Mask.central(2, SIZE).A(x)
    torch.testing.assert_close(stacked.A_adjoint(stacked.A(x)), wanted)


def test_operators_of_another_kind():
    rows = random(3, 7)
    foreign = dinv.physics.LinearPhysics(
        A=lambda x: x @ rows.T.to(x), A_adjoint=lambda y: y @ rows.to(y), img_size=(1, *SIZE)
    )
    physics = ours.Physics(foreign, 0.1, image_shape=(1, *SIZE))
    x = random(2, 1, *SIZE)
    wanted = x @ (torch.linalg.pinv(rows) @ rows)
    torch.testing.assert_close(physics.A_dagger(physics.A(x)), wanted, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="A and A_adjoint"):
        ours.Physics(torch.eye(3), 0.1)


@pytest.mark.parametrize("sigma", [-1, float("inf"), "0.1", torch.ones(2, 3), None, []])
def test_bad_noise_levels(sigma):
    with pytest.raises(ValueError, match="sigma"):
        ours.Physics(Identity(), sigma)

"""Forward operators and pre-inverses: adjoints, inverses, noise structure, bad input."""

import math

import deepinv
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import iradon, radon

from lemmse.operators import (
    MRI,
    Blur,
    Diagonal,
    General,
    Identity,
    Mask,
    MatrixOperator,
    Operator,
    Stationary,
    Tomography,
    as_operator,
    materialise,
    preinverse,
)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bernoulli(*shape, seed=0):
    return (random(*shape, seed=seed) > 0).double()


def real_rows(y):
    """Flattens a batch to real rows, real parts before imaginary parts."""
    y = y.flatten(1)
    return torch.cat([y.real, y.imag], 1) if y.is_complex() else y


LOW_RANK = random(9, 3, seed=1) @ random(3, 42, seed=2)
OPERATORS = {
    "identity": (Identity(), (2, 6, 7)),
    "mask-central": (Mask.central(3, (6, 7)), (2, 6, 7)),
    "mask-random": (Mask.random(0.4, (8, 8), seed=3), (1, 8, 8)),
    "mask-channels": (Mask(bernoulli(3, 4, 5)), (3, 4, 5)),
    "blur-gaussian": (Blur.gaussian(1.0, (8, 8)), (1, 8, 8)),
    "blur-motion": (Blur.motion(4, 30.0, (6, 7)), (2, 6, 7)),
    "blur-disk": (Blur.disk(1.7, (7, 8)), (1, 7, 8)),
    "blur-singular": (Blur(torch.ones(1, 3), (7, 6)), (1, 7, 6)),
    "blur-even-kernel": (Blur(random(4, 6, seed=4), (7, 6)), (2, 7, 6)),
    "mri-cartesian": (MRI.cartesian(2, (8, 8), seed=1), (1, 8, 8)),
    "mri-random": (MRI(bernoulli(6, 7, seed=5), (6, 7)), (2, 6, 7)),
    "tomography": (Tomography([0.0, 40.0, 85.0, 130.0, 200.0], (6, 7)), (2, 6, 7)),
    "matrix-wide": (MatrixOperator(random(11, 42, seed=6), (6, 7)), (2, 6, 7)),
    "matrix-low-rank": (MatrixOperator(LOW_RANK, (6, 7)), (1, 6, 7)),
    "matrix-tall": (MatrixOperator(random(50, 40, seed=7), (2, 4, 5)), (2, 4, 5)),
}
operators = pytest.mark.parametrize(("operator", "shape"), OPERATORS.values(), ids=OPERATORS.keys())
KINDS = ("pinv", "tikhonov", "adjoint")


def example(operator, shape):
    return operator.A(torch.zeros(1, *shape, dtype=torch.float64))


def dense(operator, shape):
    return materialise(operator.A, shape)


def dense_inverse(operator, shape, function):
    y = example(operator, shape)
    return materialise(function, y.shape[1:], y.is_complex())


def covariance(noise, shape):
    """The matrix B B^T of whole images that a noise structure stands for."""
    channels, pixels = shape[0], shape[1] * shape[2]
    if isinstance(noise, Diagonal):
        return torch.diag(noise.gain.expand(shape).flatten() ** 2)
    if isinstance(noise, Stationary):
        units = torch.eye(pixels, dtype=torch.complex128).reshape(-1, *shape[1:])
        fourier = torch.fft.fft2(units, norm="ortho").flatten(1).T
        spectrum = noise.spectrum.flatten().to(fourier)
        block = (fourier.conj().T * spectrum) @ fourier
        assert block.imag.abs().max() <= 1e-12 * block.abs().max()
        block = block.real
    else:
        block = noise.matrix @ noise.matrix.T
        if not noise.per_channel:
            return block
    return torch.kron(torch.eye(channels, dtype=torch.float64), block)


def assert_close(actual, expected, tolerance=1e-10):
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * max(scale, 1e-300))


# The four maps


@operators
def test_adjoint_is_the_transpose(operator, shape):
    matrix = dense(operator, shape)
    assert_close(dense_inverse(operator, shape, operator.A_adjoint), matrix.T, 1e-12)
    x = random(4, *shape, seed=8)
    y = operator.measure(torch.zeros_like(x), 1.0, torch.Generator().manual_seed(1))
    left = (real_rows(operator.A(x)) * real_rows(y)).sum(1)
    right = (x * operator.A_adjoint(y)).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@operators
def test_penrose_identities(operator, shape):
    a = dense(operator, shape)
    p = dense_inverse(operator, shape, operator.A_dagger)
    assert_close(a @ p @ a, a, 1e-9)
    assert_close(p @ a @ p, p, 1e-9)
    assert_close((a @ p).T, a @ p, 1e-9)
    assert_close((p @ a).T, p @ a, 1e-9)


@operators
@pytest.mark.parametrize("regularisation", [0.01, 2.0])
def test_tikhonov_is_the_dense_formula(operator, shape, regularisation):
    a = dense(operator, shape)
    gram = a.T @ a + regularisation * torch.eye(a.shape[1], dtype=torch.float64)
    y = operator.A(random(3, *shape))
    expected = torch.linalg.solve(gram, a.T @ real_rows(y).T).T
    assert_close(operator.A_tikhonov(y, regularisation).flatten(1), expected, 1e-9)


@operators
def test_batches_and_channels_are_independent(operator, shape):
    x = random(3, *shape)
    y = operator.A(x)
    assert torch.equal(operator.forward(x), y)
    torch.testing.assert_close(operator.A(x[1:2]), y[1:2])
    torch.testing.assert_close(operator.A_dagger(y[2:]), operator.A_dagger(y)[2:])
    if operator.image_shape is None or len(operator.image_shape) == 2:
        torch.testing.assert_close(operator.A(x[:, :1]), y[:, :1])


@operators
def test_dtype_follows_the_input_and_float64_is_kept(operator, shape):
    x = random(2, *shape)
    before = operator.A(x)
    operator.float()
    assert torch.equal(operator.A(x), before)
    single = operator.A(x.float())
    assert single.dtype.to_real() == torch.float32
    torch.testing.assert_close(single.to(before.dtype), before, rtol=1e-5, atol=1e-5)
    for function in (operator.A_adjoint, operator.A_dagger, operator.A_tikhonov):
        assert function(single).dtype == torch.float32
        assert function(single).shape == x.shape


@operators
def test_gradients_flow(operator, shape):
    x = random(1, *shape).requires_grad_()
    target = random(1, *shape, seed=1)
    (operator.A_adjoint(operator.A(x)) * target).sum().backward()
    assert_close(x.grad, operator.A_adjoint(operator.A(target)), 1e-10)


def test_constants_made_in_inference_mode_serve_training():
    with torch.inference_mode():
        operator = Tomography([0.0, 45.0], (5, 5))
        operator.A_dagger(operator.A(torch.rand(1, 1, 5, 5)))
    x = torch.rand(1, 1, 5, 5, requires_grad=True)
    operator.A_dagger(operator.A(x)).square().sum().backward()
    assert x.grad.abs().sum() > 0


# Each operator against an independent definition


def test_mask_hides_the_central_square():
    x = torch.ones(1, 2, 28, 28)
    y = Mask.central(15, (28, 28)).A(x)
    assert y.sum() == 2 * (28 * 28 - 15 * 15)
    assert y[..., 6:21, 6:21].abs().sum() == 0


def test_mask_random_hides_a_fraction_reproducibly():
    masks = [Mask.random(0.3, (10, 12), seed).mask.value for seed in (0, 0, 1)]
    assert [int((mask == 0).sum()) for mask in masks] == [36, 36, 36]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def convolve(x, kernel):
    """Circular convolution by its definition."""
    result = torch.zeros_like(x)
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            shift = (row - kernel.shape[0] // 2, column - kernel.shape[1] // 2)
            result += kernel[row, column] * x.roll(shift, (-2, -1))
    return result


@settings(max_examples=30, deadline=None)
@given(data=st.data(), height=st.integers(1, 7), width=st.integers(1, 7))
def test_blur_is_a_circular_convolution(data, height, width):
    rows = data.draw(st.integers(1, height))
    columns = data.draw(st.integers(1, width))
    kernel = random(rows, columns, seed=data.draw(st.integers(0, 1000)))
    blur = Blur(kernel, (height, width))
    x, y = random(2, 2, height, width, seed=1), random(2, 2, height, width, seed=2)
    torch.testing.assert_close(blur.A(x), convolve(x, kernel), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close((blur.A(x) * y).sum(), (x * blur.A_adjoint(y)).sum())
    torch.testing.assert_close(blur.A(blur.A_dagger(blur.A(x))), blur.A(x), rtol=1e-8, atol=1e-8)


def test_gaussian_blur_is_the_periodic_sum():
    size, std = (5, 6), 2.0
    copies = range(-8, 9)
    expected = torch.zeros(size, dtype=torch.float64)
    for row in range(5):
        for column in range(6):
            expected[row, column] = sum(
                math.exp(-((row + 5 * i) ** 2 + (column + 6 * j) ** 2) / (2 * std**2))
                for i in copies
                for j in copies
            )
    impulse = torch.zeros(1, 1, *size, dtype=torch.float64)
    impulse[..., 0, 0] = 1
    assert_close(Blur.gaussian(std, size).A(impulse)[0, 0], expected / expected.sum(), 1e-12)


def test_inverse_of_gaussian_blur_amplifies_noise_as_known():
    blur = Blur.gaussian(1.0, (28, 28))
    rms = [
        blur.preinverse(kind, (1, 28, 28), 0.01).noise.spectrum.mean().sqrt().item()
        for kind in ("pinv", "tikhonov")
    ]
    assert rms[0] == pytest.approx(540, rel=0.01)
    assert rms[1] == pytest.approx(2.8, rel=0.02)
    assert 1 / blur.transfer.value.abs().min().item() == pytest.approx(4.8e3, rel=0.01)


def test_motion_blur():
    torch.testing.assert_close(
        Blur.motion(5, 0, (8, 8)).kernel.value, torch.full((1, 5), 0.2, dtype=torch.float64)
    )
    torch.testing.assert_close(
        Blur.motion(3, 90, (8, 8)).kernel.value, torch.full((3, 1), 1 / 3, dtype=torch.float64)
    )
    rising = Blur.motion(7, 45, (9, 9)).kernel.value
    assert rising[0, -1] > rising[0, 0]
    assert rising.sum().item() == pytest.approx(1)
    assert Blur.motion(1, 17, (4, 4)).kernel.value.tolist() == [[1.0]]


def test_disk_blur():
    kernel = Blur.disk(3, (16, 16)).kernel.value
    assert kernel.shape == (7, 7)
    assert torch.equal(kernel, kernel.T)
    assert kernel.sum().item() == pytest.approx(1)
    assert (1 / kernel[3, 3]).item() == pytest.approx(math.pi * 9, rel=0.05)
    assert Blur.disk(0.4, (4, 4)).kernel.value.tolist() == [[1.0]]


def test_frequencies_lost_in_a_blur_are_exactly_zero():
    blur = Blur(torch.full((1, 3), 1 / 3), (4, 6))
    for kind in KINDS:
        spectrum = blur.preinverse(kind, (1, 4, 6)).noise.spectrum
        assert (spectrum == 0).nonzero()[:, 1].tolist() == [2, 4] * 4


def test_mri_is_a_masked_unitary_transform():
    mask = bernoulli(6, 7, seed=5)
    mri = MRI(mask, (6, 7))
    x = random(2, 2, 6, 7)
    expected = np.fft.fft2(x.numpy()) / math.sqrt(42) * mask.numpy()
    np.testing.assert_allclose(mri.A(x).numpy(), expected, atol=1e-13)
    assert (mri.measure(x, 0.5, torch.Generator().manual_seed(0))[..., mask == 0] == 0).all()
    zero_filled = np.fft.ifft2(expected).real * math.sqrt(42)
    np.testing.assert_allclose(mri.A_adjoint(mri.A(x)).numpy(), zero_filled, atol=1e-13)


def test_mri_cartesian_samples_columns():
    mri = MRI.cartesian(4, (30, 32), centre_fraction=0.1, seed=2)
    mask = mri.mask.value
    assert mask.sum() == 30 * 8
    assert torch.equal(mask, mask[:1].expand(30, 32))
    assert mask[0, [0, 1, -1]].tolist() == [1, 1, 1]
    assert torch.equal(mask, MRI.cartesian(4, (30, 32), 0.1, seed=2).mask.value)
    assert not torch.equal(mask, MRI.cartesian(4, (30, 32), 0.1, seed=3).mask.value)
    assert MRI.cartesian(1, (4, 8)).mask.value.all()


@pytest.mark.parametrize(
    "mri",
    [
        MRI.cartesian(4, (8, 8)),
        MRI.cartesian(2, (7, 9), seed=1),
        MRI(bernoulli(6, 7, seed=5), (6, 7)),
    ],
)
def test_artefacts_are_what_a_scan_and_its_adjoint_do(mri):
    x = torch.rand(2, 1, *mri.image_shape, dtype=torch.float64)
    torch.testing.assert_close(mri.artefacts().A(x), mri.A_adjoint(mri.A(x)))


@pytest.mark.parametrize("size", [(28, 28), (9, 9), (6, 7), (7, 4), (1, 1)])
def test_tomography_is_the_radon_transform_of_scikit_image(size):
    angles = np.linspace(0, 180, 18, endpoint=False) + 0.3
    angles[:3] = 0, 90, 45
    operator = Tomography(angles, size)
    x = random(*size).abs()
    sinogram = radon(x.numpy(), angles, circle=False)
    y = operator.A(x[None, None])
    np.testing.assert_allclose(y[0, 0].numpy(), sinogram, atol=1e-10)
    if size[0] == size[1]:
        expected = iradon(sinogram, angles, output_size=size[0], circle=False)
        actual = operator.filtered_backprojection(y)[0, 0].numpy()
        np.testing.assert_allclose(actual, expected, atol=1e-10)


def test_filtered_backprojection_recovers_a_smooth_image():
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(30.0), indexing="ij")
    x = torch.exp(-((rows - 10) ** 2 + (columns - 17) ** 2) / 40)[None, None]
    scan = Tomography(torch.arange(0, 180, 4), (24, 30))
    z = scan.filtered_backprojection(scan.A(x))
    assert (z - x).abs().max() < 0.05
    assert (z - x).square().mean().sqrt() < 0.01


@pytest.mark.parametrize("centre", [1, -2])
def test_a_detector_off_by_whole_cells_measures_the_same_lines_in_other_cells(centre):
    angles, x = [0.0, 33.0, 100.0], random(1, 1, 8, 9)
    y, shifted = (Tomography(angles, (8, 9), c).A(x) for c in (0, centre))
    expected = torch.zeros_like(y)
    cells = torch.arange(y.shape[2])
    there = (cells + centre >= 0) & (cells + centre < y.shape[2])
    expected[:, :, there] = y[:, :, cells[there] + centre]
    torch.testing.assert_close(shifted[:, :, there], expected[:, :, there])


def test_filtered_backprojection_knows_the_centre():
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(30.0), indexing="ij")
    x = torch.exp(-((rows - 10) ** 2 + (columns - 17) ** 2) / 40)[None, None]
    scan = Tomography(torch.arange(0, 180, 4), (24, 30), centre=0.7)
    assert (scan.filtered_backprojection(scan.A(x)) - x).abs().max() < 0.05
    straight = Tomography(torch.arange(0, 180, 4), (24, 30))
    assert (straight.filtered_backprojection(scan.A(x)) - x).abs().max() > 0.05


def test_matrix_operator_from_callables():
    per_channel = MatrixOperator(lambda x: x.cumsum(-1)[..., ::2], (3, 5))
    x = random(2, 4, 3, 5)
    torch.testing.assert_close(per_channel.A(x), x.cumsum(-1)[..., ::2].flatten(2))
    whole = MatrixOperator(lambda x: x.mean(1), (3, 4, 5))
    x = random(2, 3, 4, 5)
    torch.testing.assert_close(whole.A(x), x.mean(1).flatten(1))
    fourier = MatrixOperator(torch.fft.rfft2, (3, 5))
    x = random(2, 1, 3, 5)
    expected = real_rows(torch.fft.rfft2(x))
    torch.testing.assert_close(fourier.A(x)[:, 0], expected)
    torch.testing.assert_close(fourier.A_dagger(fourier.A(x)), x)


@pytest.mark.parametrize("single", [LOW_RANK.float(), LOW_RANK.float().numpy()])
def test_rank_of_a_matrix_in_float32(single):
    operator = MatrixOperator(single, (6, 7))
    pinv = operator.preinverse("pinv", (1, 6, 7)).noise.matrix
    assert_close(pinv, torch.linalg.pinv(LOW_RANK, rtol=1e-10), 1e-5)


# Noise


@operators
def test_measurement_noise_has_the_stated_size(operator, shape):
    count, sigma = 4000, 0.3
    x = random(1, *shape).expand(count, *shape)
    y = operator.measure(x, sigma, torch.Generator().manual_seed(2))
    noise = real_rows(y - operator.A(x))
    support = real_rows(operator.measured(torch.ones_like(y) * (1 + 1j if y.is_complex() else 1)))
    noise = noise[:, support[0] == 1]
    assert noise.mean(0).abs().max() < 6 * sigma / math.sqrt(count)
    covariances = noise.T @ noise / count
    expected = sigma**2 * torch.eye(len(covariances), dtype=torch.float64)
    assert (covariances - expected).abs().max() < 9 * sigma**2 / math.sqrt(count)


def test_measure_is_reproducible_and_takes_one_sigma_for_each_image():
    blur = Blur.gaussian(1.0, (8, 8))
    x = random(3, 2, 8, 8)
    draws = [
        blur.measure(x, sigma, torch.Generator().manual_seed(seed))
        for sigma, seed in ((0.2, 0), (0.2, 0), (0.2, 1), (torch.tensor([0.0, 0.2, 0.4]), 0))
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    noise = draws[0] - blur.A(x)
    scaled = torch.tensor([0.0, 1.0, 2.0])[:, None, None, None] * noise
    torch.testing.assert_close(draws[3] - blur.A(x), scaled, rtol=1e-5, atol=1e-7)
    assert torch.equal(blur.measure(x, 0), blur.A(x))
    torch.manual_seed(0)
    first = blur.measure(x, 0.1)
    torch.manual_seed(0)
    assert torch.equal(first, blur.measure(x, 0.1))


# Pre-inverses


def check_preinverse(operator, shape, kind, matrix=None, regularisation=0.05, structure=None):
    """Compares a pre-inverse with its matrix, and its noise with B B^T."""
    result = preinverse(operator, kind, shape, regularisation)
    y = operator.A(random(3, *shape))
    y = y + operator.measured(random(*y.shape, seed=5).to(y))
    b = dense_inverse(operator, shape, result.apply)
    if matrix is not None:
        assert_close(b, matrix, 1e-8)
    assert result.apply(y).shape == (3, *shape)
    assert_close(result.apply(y).flatten(1), real_rows(y) @ b.T, 1e-9)
    assert_close(covariance(result.noise, shape), b @ b.T, 1e-10)
    if structure:
        assert isinstance(result.noise, structure)
    if isinstance(result.noise, General):
        m = b.shape[1] // (shape[0] if result.noise.per_channel else 1)
        pixels = math.prod(shape[1:]) * (1 if result.noise.per_channel else shape[0])
        assert result.noise.matrix.shape == (pixels, m)
        assert result.noise.matrix.dtype == torch.float64
    return result


STRUCTURES = {Identity: Stationary, Blur: Stationary, MRI: Stationary, Mask: Diagonal}


@operators
@pytest.mark.parametrize("kind", KINDS)
def test_named_preinverses(operator, shape, kind):
    a = dense(operator, shape)
    if kind == "tikhonov":
        expected = torch.linalg.solve(a.T @ a + 0.05 * torch.eye(a.shape[1]).double(), a.T)
    else:
        expected = a.T if kind == "adjoint" else torch.linalg.pinv(a, rtol=1e-10)
    structure = STRUCTURES.get(type(operator), General)
    result = check_preinverse(operator, shape, kind, expected, structure=structure)
    assert result.name == kind


@operators
def test_identity_preinverse(operator, shape):
    if example(operator, shape).shape[1:] == shape and not isinstance(operator, MRI):
        eye = torch.eye(math.prod(shape), dtype=torch.float64)
        for kind in (None, "identity"):
            check_preinverse(operator, shape, kind, eye, structure=Stationary)
    else:
        with pytest.raises(ValueError, match="real images of shape"):
            preinverse(operator, None, shape)


@operators
@pytest.mark.parametrize("per_channel", [True, False])
def test_preinverse_given_as_a_matrix(operator, shape, per_channel):
    y = example(operator, shape)
    numbers = y.numel() * (2 if y.is_complex() else 1)
    pixels = math.prod(shape)
    if per_channel:
        if y.ndim == 2:
            pytest.skip("measures whole images")
        numbers, pixels = numbers // shape[0], pixels // shape[0]
    matrix = random(pixels, numbers, seed=9)
    result = check_preinverse(operator, shape, matrix, structure=General)
    assert result.noise.per_channel == (per_channel or shape[0] == 1)
    numpy = preinverse(operator, matrix.numpy(), shape)
    assert torch.equal(numpy.noise.matrix, result.noise.matrix)


@operators
def test_preinverse_given_as_a_callable(operator, shape):
    reference = preinverse(operator, "tikhonov", shape, 0.05)
    result = check_preinverse(
        operator, shape, lambda y: reference.apply(y).flip(1), structure=General
    )
    assert result.name == "callable"


def test_preinverse_given_as_an_operator():
    blur, mask = Blur.gaussian(1.0, (6, 7)), Mask.central(3, (6, 7))
    shape = (2, 6, 7)
    sharpen = Blur(random(3, 3), (6, 7))
    for first, second in ((blur, sharpen), (mask, sharpen), (blur, Identity())):
        check_preinverse(first, shape, second, dense(second, shape), structure=Stationary)
    check_preinverse(blur, shape, mask, dense(mask, shape), structure=Diagonal)
    matrix = MatrixOperator(random(42, 42), (6, 7))
    result = check_preinverse(blur, shape, matrix, dense(matrix, shape), structure=General)
    assert result.name == "MatrixOperator"


@pytest.mark.parametrize("shape", [(1, 6, 7), (2, 6, 7)])
def test_entries_never_measured_add_no_noise(shape):
    mask = bernoulli(6, 7, seed=5)
    mri = MRI(mask, (6, 7))
    support = mask.flatten().repeat(shape[0]).repeat(2)
    pixels = math.prod(shape)
    matrix = random(pixels, 2 * pixels, seed=9)
    result = preinverse(mri, matrix, shape)
    assert_close(covariance(result.noise, shape), matrix * support @ matrix.T)
    result = preinverse(mri, lambda y: y.real - 2 * y.imag, shape)
    assert_close(covariance(result.noise, shape), torch.diag(5 * support[:pixels]))


def test_filtered_backprojection_as_preinverse():
    scan, shape = Tomography([0.0, 30.0, 100.0, 150.0], (6, 7)), (2, 6, 7)
    b = dense_inverse(scan, shape, scan.filtered_backprojection)
    result = check_preinverse(scan, shape, "fbp", b, structure=General)
    assert result.noise.per_channel


def test_method_and_function_agree():
    scan = Tomography([0.0, 30.0], (6, 7))
    one = scan.preinverse("tikhonov", (1, 6, 7), 0.1)
    two = preinverse(scan, "tikhonov", (1, 6, 7), 0.1)
    assert torch.equal(one.noise.matrix, two.noise.matrix)


# Operators of other libraries


class Decimation:
    """Keeps every second column of the sum over channels; not an Operator.

    Its pseudo-inverse is only good to 1e-3, as iterative ones are.
    """

    def A(self, x):
        return x.sum(1, keepdim=True)[..., ::2]

    def A_adjoint(self, y):
        x = torch.zeros(*y.shape[:3], 5, dtype=y.dtype)
        x[..., ::2] = y
        return x.expand(-1, 3, -1, -1)

    def A_dagger(self, y):
        return self.A_adjoint(y) / 3 + 0.001 * y.abs().max()


class Phases(torch.nn.Module):
    """A complex-valued foreign operator that lives in float32."""

    def __init__(self):
        super().__init__()
        self.register_buffer("phase", torch.polar(torch.ones(4, 5), random(4, 5).float()))

    def A(self, x):
        return self.phase * x

    def A_adjoint(self, y):
        return (self.phase.conj() * y).real

    A_dagger = A_adjoint


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_operator(kind):
    shape = (3, 4, 5)
    a = materialise(Decimation().A, shape)
    gram = a.T @ a + 0.05 * torch.eye(60, dtype=torch.float64)
    expected = {
        "adjoint": a.T,
        "pinv": torch.linalg.pinv(a),
        "tikhonov": torch.linalg.solve(gram, a.T),
    }[kind]
    result = preinverse(Decimation(), kind, shape, 0.05)
    assert not result.noise.per_channel
    assert_close(result.noise.matrix, expected, 1e-10)
    y = random(2, 1, 4, 3)
    assert_close(result.apply(y).flatten(1), y.flatten(1) @ expected.T, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_complex_float32_operator(kind):
    shape = (2, 4, 5)
    result = preinverse(Phases(), kind, shape, 0.05)
    assert result.noise.matrix.shape == (40, 80)
    gain = 1 / 1.05 if kind == "tikhonov" else 1.0
    expected = gain**2 * torch.eye(40, dtype=torch.float64)
    assert_close(covariance(result.noise, shape), expected, 1e-5)
    x = random(2, *shape).float()
    torch.testing.assert_close(result.apply(Phases().A(x)), gain * x, rtol=1e-4, atol=1e-5)


def test_foreign_operator_measures_and_is_wrapped_once():
    operator = as_operator(Decimation(), (3, 4, 5))
    assert isinstance(operator, Operator)
    assert as_operator(operator, (3, 4, 5)) is operator
    assert operator.image_shape == (3, 4, 5)
    x = random(2, 3, 4, 5)
    y = operator.measure(x, 0.1, torch.Generator().manual_seed(0))
    assert 0.05 < (y - Decimation().A(x)).std() < 0.2
    assert operator.preinverse("pinv").noise.matrix.shape == (60, 12)


def test_deepinv_physics():
    shape = (1, 6, 7)
    mask = bernoulli(*shape).float()
    result = preinverse(deepinv.physics.Inpainting(shape, mask=mask), "pinv", shape)
    assert_close(covariance(result.noise, shape), torch.diag(mask.flatten()).double(), 1e-6)
    rows = random(6, 6).float()
    physics = deepinv.physics.LinearPhysics(
        A=lambda x: rows.to(x) @ x, A_adjoint=lambda y: rows.T.to(y) @ y
    )
    ours = MatrixOperator(lambda x: rows.double() @ x, (6, 7))
    for kind in KINDS:
        expected = ours.preinverse(kind, shape).noise.matrix
        assert_close(preinverse(physics, kind, shape).noise.matrix, expected, 1e-4)


# Bad input

X = torch.zeros(2, 1, 6, 7)
BLUR = Blur.gaussian(1.0, (6, 7))
MRI_OPERATOR = MRI.cartesian(2, (6, 7))
SCAN = Tomography([0.0, 50.0], (6, 7))
WHOLE = MatrixOperator(torch.ones(3, 84), (2, 6, 7))


@operators
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_is_rejected(operator, shape, value):
    x = torch.zeros(2, *shape)
    y = operator.A(x)
    x[1, 0, 2, 3] = value
    y[(1, *[0] * (y.ndim - 1))] = value
    with pytest.raises(ValueError, match="NaN or Inf"):
        operator.A(x)
    for function in (operator.A_adjoint, operator.A_dagger, operator.A_tikhonov):
        with pytest.raises(ValueError, match="NaN or Inf"):
            function(y)


@operators
def test_wrong_rank_or_dtype_is_rejected(operator, shape):
    x = torch.zeros(2, *shape)
    y = operator.A(x)
    for wrong in (x[0], x.int(), x.to(torch.complex64), x.numpy(), x[:0], x.half()):
        with pytest.raises(ValueError, match="expected x to be"):
            operator.A(wrong)
    for function in (operator.A_adjoint, operator.A_dagger, operator.A_tikhonov):
        for wrong in (y[0], y.real.int(), y[:0], "y"):
            with pytest.raises(ValueError, match="expected y to be"):
                function(wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # Shapes of images and measurements
        (lambda: BLUR.A(torch.zeros(1, 1, 7, 6)), r"\(B, C, 6, 7\).*\(1, 1, 7, 6\)"),
        (lambda: MRI_OPERATOR.A(torch.zeros(1, 1, 6, 6)), r"\(B, C, 6, 7\)"),
        (lambda: MRI_OPERATOR.A_dagger(X), "complex64"),
        (lambda: SCAN.A_dagger(X), r"\(B, C, 10, 2\)"),
        (lambda: SCAN.filtered_backprojection(X), r"\(B, C, 10, 2\)"),
        (lambda: WHOLE.A(torch.zeros(1, 3, 6, 7)), r"\(B, 2, 6, 7\)"),
        (lambda: WHOLE.A_adjoint(torch.zeros(1, 2, 3)), r"\(B, 3\)"),
        (lambda: Mask(torch.ones(2, 6, 7)).A(X), r"\(B, 2, 6, 7\)"),
        # Noise levels
        (lambda: BLUR.measure(X, -0.1), ">= 0"),
        (lambda: BLUR.measure(X, math.nan), ">= 0"),
        (lambda: BLUR.measure(X, torch.tensor([0.1, -0.1])), ">= 0"),
        (lambda: BLUR.measure(X, torch.ones(3)), "2 images"),
        (lambda: BLUR.measure(X, torch.ones(1, 2)), "2 images"),
        (lambda: BLUR.measure(X, "0.1"), "str '0.1'"),
        (lambda: BLUR.measure(X, 1j), "complex"),
        # Masks
        (lambda: Mask(torch.full((6, 7), 0.5)), "zeros and ones"),
        (lambda: Mask(torch.full((6, 7), math.nan)), "zeros and ones"),
        (lambda: Mask(torch.ones(6, 7, dtype=torch.complex64)), "complex64"),
        (lambda: Mask(torch.ones(7)), "2 or 3 dimensions"),
        (lambda: Mask(torch.ones(0, 7)), r"\(0, 7\)"),
        (lambda: Mask("mask"), "str 'mask'"),
        (lambda: Mask.central(7, (6, 7)), "from 1 to 6"),
        (lambda: Mask.central(0, (6, 7)), "from 1 to 6"),
        (lambda: Mask.central(2.5, (6, 7)), "2.5"),
        (lambda: Mask.random(1.5, (6, 7)), "from 0 to 1"),
        (lambda: Mask.random(math.nan, (6, 7)), "from 0 to 1"),
        (lambda: Mask.random(0.5, (6,)), "image_size"),
        # Kernels
        (lambda: Blur(torch.zeros(0, 3), (6, 7)), "not empty"),
        (lambda: Blur(torch.zeros(3, 3), (6, 7)), "non-zero"),
        (lambda: Blur(torch.tensor([[1.0, math.nan]]), (6, 7)), "NaN or Inf"),
        (lambda: Blur(torch.ones(3), (6, 7)), r"\(3,\)"),
        (lambda: Blur(torch.ones(3, 3) * 1j, (6, 7)), "real matrix"),
        (lambda: Blur(torch.ones(7, 7), (6, 7)), r"\(6, 7\), got \(7, 7\)"),
        (lambda: Blur("gaussian", (6, 7)), "str 'gaussian'"),
        (lambda: Blur(torch.ones(1, 1), (6, 0)), r"\(6, 0\)"),
        (lambda: Blur(torch.ones(1, 1), (6.0, 7)), "positive integers"),
        (lambda: Blur(torch.ones(1, 1), 6), "positive integers"),
        (lambda: Blur.gaussian(0, (6, 7)), "std"),
        (lambda: Blur.gaussian(math.inf, (6, 7)), "std"),
        (lambda: Blur.motion(0, 0, (6, 7)), "length"),
        (lambda: Blur.motion(2.5, 0, (6, 7)), "length"),
        (lambda: Blur.motion(3, math.nan, (6, 7)), "angle"),
        (lambda: Blur.motion(9, 0, (6, 7)), "at most as large"),
        (lambda: Blur.disk(-1, (6, 7)), "radius"),
        (lambda: Blur.disk(5, (6, 7)), "at most as large"),
        # MRI
        (lambda: MRI(torch.ones(7, 6), (6, 7)), r"\(6, 7\).*\(7, 6\)"),
        (lambda: MRI(torch.zeros(6, 7), (6, 7)), "samples something"),
        (lambda: MRI(torch.ones(1, 6, 7), (6, 7)), "2 dimensions"),
        (lambda: MRI.cartesian(0.5, (6, 7)), "at least 1"),
        (lambda: MRI.cartesian("4", (6, 7)), "acceleration"),
        (lambda: MRI.cartesian(4, (6, 7), centre_fraction=2), "from 0 to 1"),
        (lambda: MRI.cartesian(4, (8, 8), centre_fraction=0.5), "at most 2 columns"),
        # Tomography
        (lambda: Tomography([], (6, 7)), "non-empty"),
        (lambda: Tomography([0.0, math.nan], (6, 7)), "finite"),
        (lambda: Tomography(30.0, (6, 7)), "30.0"),
        (lambda: Tomography([30.0], (6, 7), centre=math.inf), "finite number of pixels, got inf"),
        (lambda: Tomography("all", (6, 7)), "'all'"),
        (lambda: Tomography([[0.0, 1.0]], (6, 7)), "list"),
        (lambda: Tomography([0.0], (6, 7, 1)), "height, width"),
        # Matrices and callables
        (lambda: MatrixOperator(torch.ones(3, 41), (6, 7)), r"42 columns.*\(3, 41\)"),
        (lambda: MatrixOperator(torch.ones(3, 42), (6,)), "image_shape"),
        (lambda: MatrixOperator(torch.full((3, 42), math.inf), (6, 7)), "NaN or Inf"),
        (lambda: MatrixOperator(lambda x: x**2, (6, 7)), "linear"),
        (lambda: MatrixOperator(lambda x: x + 1, (6, 7)), "linear"),
        (lambda: MatrixOperator(lambda x: x.clamp(-1, 1), (6, 7)), "linear"),
        (lambda: MatrixOperator(lambda x: x.sum(0), (6, 7)), "first dimension"),
        (lambda: MatrixOperator(lambda x: x / 0, (6, 7)), "NaN or Inf"),
        (lambda: MatrixOperator(lambda x: None, (6, 7)), "NoneType"),
        # Pre-inverses
        (lambda: preinverse(BLUR, "wiener", (1, 6, 7)), r"'pinv', 'tikhonov', 'adjoint'.*'wiener'"),
        (lambda: preinverse(BLUR, "fbp", (1, 6, 7)), "'fbp'"),
        (lambda: preinverse(BLUR, 3, (1, 6, 7)), "int 3"),
        (lambda: preinverse(BLUR, "pinv"), "image_shape"),
        (lambda: preinverse(BLUR, "pinv", (6, 7)), "channels"),
        (lambda: preinverse(BLUR, "pinv", (1, 7, 6)), r"end in \(6, 7\), got \(1, 7, 6\)"),
        (lambda: preinverse(WHOLE, "pinv", (3, 6, 7)), r"end in \(2, 6, 7\)"),
        (lambda: preinverse(BLUR, "tikhonov", (1, 6, 7), 0.0), "regularisation"),
        (lambda: preinverse(BLUR, "tikhonov", (1, 6, 7), math.nan), "regularisation"),
        (lambda: BLUR.A_tikhonov(X, -1.0), "regularisation"),
        (lambda: MRI_OPERATOR.A_tikhonov(MRI_OPERATOR.A(X), 0), "regularisation"),
        (lambda: SCAN.A_tikhonov(SCAN.A(X), 0), "regularisation"),
        (lambda: preinverse(BLUR, torch.ones(42, 41), (1, 6, 7)), r"\(42, 42\).*\(42, 41\)"),
        (lambda: preinverse(BLUR, torch.ones(42), (1, 6, 7)), "matrix"),
        (lambda: preinverse(BLUR, lambda y: y.abs(), (1, 6, 7)), "linear"),
        (lambda: preinverse(BLUR, lambda y: y[..., :3], (1, 6, 7)), r"got 18 numbers"),
        (lambda: preinverse(BLUR, MRI_OPERATOR, (1, 6, 7)), "got 84 numbers"),
        (lambda: preinverse(BLUR, SCAN, (1, 6, 7)), "got 20 numbers"),
        (lambda: preinverse(BLUR, Blur.gaussian(1, (5, 5)), (1, 6, 7)), r"end in \(5, 5\)"),
        (lambda: preinverse(MRI_OPERATOR, BLUR, (1, 6, 7)), "real images"),
        (lambda: preinverse(object(), "pinv", (1, 6, 7)), "A_adjoint"),
        (lambda: preinverse(None, "pinv", (1, 6, 7)), "NoneType"),
        (lambda: preinverse(Decimation, "pinv", (3, 4, 5)), "A_adjoint"),
        (lambda: preinverse(Decimation(), "pinv"), "image_shape"),
        (lambda: Identity().preinverse(None, (1, -6, 7)), "positive integers"),
        (lambda: Identity().preinverse(None, (1, 6, 7)).apply(X[0]), "expected y"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Networks in every mode of torch, on every type of image, and copied."""

import copy
import io
import pickle

import pytest
import torch

from lemmse.networks import (
    LISTA,
    FullyLearned,
    PatchMLP,
    RegularisedInverse,
    ResNet,
    SVDNet,
    UNet,
    UnrolledGradient,
    UnrolledISTA,
    UnrolledProximal,
    receptive_field,
)
from lemmse.operators import MRI, Blur, Identity, Mask, MatrixOperator, Tomography
from lemmse.training import Problem, Settings, train

SIZE = (8, 8)
SHAPE = (1, *SIZE)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, device="cpu", dtype=torch.float32)


MATRIX = random(40, 64, seed=1)
OPERATORS = {
    "identity": Identity,
    "mask": lambda: Mask.central(3, SIZE),
    "blur": lambda: Blur.gaussian(1.0, SIZE),
    "mri": lambda: MRI.cartesian(2, SIZE, seed=1),
    "tomography": lambda: Tomography([0.0, 40.0, 85.0, 130.0], SIZE),
    "matrix": lambda: MatrixOperator(MATRIX, SHAPE),
}
PHYSICS = {
    "inverse": lambda a: RegularisedInverse(a, SHAPE),
    "gradient penalty": lambda a: RegularisedInverse(a, SHAPE, "gradient"),
    "svd": lambda a: SVDNet(a, SHAPE),
    "gradient": lambda a: UnrolledGradient(a, SHAPE, 3),
    "ista": lambda a: UnrolledISTA(a, SHAPE, 3),
    "lista": lambda a: LISTA(a, SHAPE, 3),
    "proximal": lambda a: UnrolledProximal(a, SHAPE, 2, width=4),
}
LOCAL = {
    "mlp": lambda: PatchMLP(1, 3, width=6, depth=1),
    "resnet": lambda: ResNet(1, 5, width=6, depth=1),
    "unet": lambda: UNet(1, 5, width=4),
    "marks zeros": lambda: PatchMLP(1, 3, width=6, depth=1, marks_zeros=True),
}
physics = pytest.mark.parametrize("make", PHYSICS.values(), ids=PHYSICS.keys())
operators = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())
local = pytest.mark.parametrize("make", LOCAL.values(), ids=LOCAL.keys())


def seeded(make, *arguments):
    """A network whose random numbers are always the same."""
    torch.manual_seed(0)
    return make(*arguments)


def copies(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    yield torch.load(buffer, weights_only=False)
    yield pickle.loads(pickle.dumps(thing))
    yield copy.deepcopy(thing)


# ---------------------------------------------------------------- physics inside


@physics
@operators
def test_physics_networks_are_exact_under_autocast_and_when_copied(operator, make):
    network = seeded(make, operator())
    y = operator().measure(random(2, *SHAPE), 0.1, torch.Generator().manual_seed(0))
    expected = network(y, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(y, 0.1), expected)
        assert torch.equal(seeded(make, operator())(y, 0.1), expected)
        if hasattr(network, "iterates"):
            assert torch.equal(network.iterates(y, 0.1)[-1], expected)
        if hasattr(network, "analysis"):
            middle = network.analysis(y)
            assert middle.dtype.to_real() == torch.float32
            assert network.synthesis(middle).dtype == torch.float32
    for copied in copies(network):
        assert torch.equal(copied(y, 0.1), expected)


@physics
def test_physics_networks_in_inference_mode_and_on_a_default_device(make):
    blur = Blur.gaussian(1.0, SIZE)
    y = blur.A(random(2, *SHAPE))
    expected = seeded(make, blur)(y, 0.1).detach()
    with torch.inference_mode():
        made_there = seeded(make, Blur.gaussian(1.0, SIZE))
        assert torch.equal(made_there(y, 0.1), expected)
        usual = seeded(make, blur)
        usual(y, 0.1)
    again = seeded(make, blur)
    again.load_state_dict(made_there.state_dict())
    x = y.clone().requires_grad_()
    again(x, 0.1).square().sum().backward()
    assert x.grad.abs().sum() > 0
    with torch.device("meta"):
        network = make(Blur.gaussian(1.0, SIZE))
    assert all(p.is_meta for p in network.parameters())
    network.to_empty(device="cpu").load_state_dict(again.state_dict())
    if set(dict(network.named_buffers())) - set(network.state_dict()):
        return  # has buffers that are not saved, lost on the device "meta"
    assert torch.equal(network(y, 0.1), expected)


@physics
@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_physics_networks_refuse_half_precision_and_nan(make, low):
    network = make(Identity())
    y = random(2, *SHAPE)
    with pytest.raises(ValueError, match=r"float32 or torch\.float64"):
        network(y.to(low), 0.1)
    with pytest.raises(ValueError, match="NaN"):
        network(y * torch.nan, 0.1)


@physics
def test_a_default_dtype_leaves_physics_networks_right(make):
    y = random(2, *SHAPE)
    expected = seeded(make, Identity())(y, 0.1)
    torch.set_default_dtype(torch.float64)
    try:
        network = make(Identity())
        network.load_state_dict(seeded(make, Identity()).state_dict())
        assert network(y, 0.1).dtype == torch.float32
        assert network(y.double(), 0.1).dtype == torch.float64
        before = seeded(make, Identity()).float()
        assert before(y, 0.1).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    network.load_state_dict(seeded(make, Identity()).state_dict())
    torch.testing.assert_close(network(y, 0.1), expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- local networks


@local
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)],
)
def test_local_networks_take_images_of_any_type(make, dtype, tolerance):
    network = seeded(make)
    z = random(2, *SHAPE).to(dtype)
    expected = network(z.float(), 0.1)
    for estimate in (network(z, 0.1), network(z, torch.full((2,), 0.1, dtype=dtype))):
        assert estimate.dtype == dtype
        torch.testing.assert_close(estimate.float(), expected, rtol=0, atol=tolerance)
    assert network.valid(z, 0.1).dtype == dtype
    z.requires_grad_()
    network(z, 0.1).sum().backward()
    assert z.grad.dtype == dtype
    assert torch.isfinite(z.grad).all()
    double = copy.deepcopy(network).double()(z.detach(), 0.1)
    torch.testing.assert_close(double.float(), expected, rtol=0, atol=tolerance)


@local
def test_local_networks_refuse_what_is_no_image(make):
    network = make()
    z = random(2, *SHAPE)
    for wrong in (z * torch.nan, z / 0, z.int(), z > 0, z + 0j, z.numpy(), z[0], z[..., :2]):
        with pytest.raises(ValueError, match=r"z"):
            network(wrong, 0.1)
        with pytest.raises(ValueError, match=r"z"):
            network.valid(wrong, 0.1)


@local
def test_local_networks_in_the_modes_of_torch(make):
    network = seeded(make)
    z = random(2, *SHAPE)
    expected = network(z, 0.1).detach()
    with torch.inference_mode():
        assert torch.equal(seeded(make)(z, 0.1), expected)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(z, 0.1)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0.02)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(network(z, 0.1), expected)
        other = make()
        other.load_state_dict(network.state_dict())
        estimate = other(z, 0.1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert estimate.dtype == torch.float32
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-5)
    for copied in copies(network):
        assert torch.equal(copied(z, 0.1), expected)


def test_receptive_fields_are_measured_in_every_mode():
    network = seeded(LOCAL["resnet"])
    with torch.autocast("cpu", torch.bfloat16):
        assert receptive_field(network, (1, 9, 9), 0.3).size == (5, 5)
    with torch.inference_mode():
        assert receptive_field(network, (1, 9, 9), 0.3).size == (5, 5)
    with torch.device("meta"):
        assert receptive_field(network, (1, 9, 9), 0.3).size == (5, 5)


# ---------------------------------------------------------------- training in bfloat16


@pytest.mark.parametrize(
    "make", [*PHYSICS.values(), lambda a: FullyLearned((1, 12, 4), SHAPE, 2, width=4)]
)
def test_every_kind_of_network_trains_in_bfloat16(make):
    scan = OPERATORS["tomography"]()
    images = random(20, *SHAPE)
    settings = Settings(steps=4, batch=4, records=2, crop=None, precision="bfloat16")
    network = seeded(make, scan)
    before = [p.detach().clone() for p in network.parameters()]
    history = train(network, Problem(images, scan, None), settings, progress=False)
    assert all(0 < loss < 1e3 for loss in history.column("loss"))
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))

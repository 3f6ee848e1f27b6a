"""Every public function as a function of the device, to be compared with the CPU.

tests/devices/test_package.py does that on the pretend accelerator, benchmarks/gpu.py on a real one.
"""

import dataclasses
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lemmse import LEMMSE, MMSE, EquivariantMMSE, LocalMMSE, dip, metrics, sampling, zoo
from lemmse import networks as nets
from lemmse import operators as ops
from lemmse.estimators import LinearMMSE
from lemmse.fields import extract, location_groups, merge_equal
from lemmse.training import Problem, Settings, train

SIDE = 8
TOLERANCE = 2e-5
CASES = {}


def rand(*shape, seed=0):
    """Images of the CPU, the same for both devices."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), device="cpu")


FEW, MANY, COLOUR = rand(12, 1, SIDE, SIDE), rand(150, 1, SIDE, SIDE), rand(12, 3, SIDE, SIDE)
NEW = rand(2, 1, SIDE, SIDE, seed=1)
OPERATORS = {
    "identity": ops.Identity,
    "mask": lambda: ops.Mask.central(3, (SIDE, SIDE)),
    "blur": lambda: ops.Blur.gaussian(1.0, (SIDE, SIDE)),
    "mri": lambda: ops.MRI.cartesian(2, (SIDE, SIDE)),
    "tomography": lambda: ops.Tomography([0, 45, 90, 135], (SIDE, SIDE)),
    "matrix": lambda: ops.MatrixOperator(rand(40, SIDE * SIDE), (1, SIDE, SIDE)),
}
PREINVERSES = {
    "identity": [None],
    "mask": [None, "adjoint", "pinv", "tikhonov"],
    "blur": [None, "adjoint", "pinv", "tikhonov"],
    "mri": ["adjoint", "pinv", "tikhonov"],
    "tomography": ["adjoint", "pinv", "tikhonov", "fbp"],
    "matrix": ["adjoint", "tikhonov"],
}
PAIRS = [(operator, kind) for operator, kinds in PREINVERSES.items() for kind in kinds]
LOCAL = {"LEMMSE": partial(LEMMSE, patch_size=3), "LocalMMSE": partial(LocalMMSE, patch_size=3)}
SHIFTING = LOCAL | {"EquivariantMMSE": EquivariantMMSE}


class On:
    """A device: what is moved to it, and what is made on it."""

    def __init__(self, device):
        self.device, self.drew = torch.device(device), False

    def __call__(self, x):
        return x.to(self.device)

    def generator(self, seed=0):
        self.drew = True
        return torch.Generator(self.device).manual_seed(seed)


def case(name, tolerance=TOLERANCE):
    """Makes a function of a device a case; its numbers differ by less than the tolerance."""

    def add(function):
        assert name not in CASES
        CASES[name] = function, tolerance
        return function

    return add


def plain(result):
    """A result as a list of tensors on the CPU, in double precision."""
    if isinstance(result, torch.Tensor):
        return [result.detach().cpu().to(torch.promote_types(result.dtype, torch.float64))]
    if dataclasses.is_dataclass(result):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [tensor for part in result for tensor in plain(part)]
    return [torch.tensor(result, dtype=torch.float64)] if isinstance(result, (float, int)) else []


def measured(operator, sigma=0.1):
    """Noisy measurements of two new images, drawn on the CPU."""
    return operator.measure(NEW, sigma, torch.Generator().manual_seed(2))


# Operators and pre-inverses

for name, make in OPERATORS.items():

    @case(f"operator {name}")
    def _(on, make=make):
        operator = on(make())
        y = operator.measure(on(NEW), 0.1, on.generator())
        inverses = [operator.A_adjoint(y), operator.A_dagger(y), operator.A_tikhonov(y, 0.1)]
        matrix = ops.materialise(operator.A, NEW.shape[1:])
        return [y, *inverses, operator(on(NEW)), operator.measured(y), matrix]


for name, kind in PAIRS:

    @case(f"pre-inverse {name} {kind}")
    def _(on, name=name, kind=kind):
        operator = OPERATORS[name]()
        b = ops.preinverse(operator, kind, (1, SIDE, SIDE))
        groups = location_groups(b.noise, 3, (1, SIDE, SIDE))
        z = b.apply(on(measured(operator)))
        whole = [group.to(on.device) for group in groups]
        return [z, *(g.whiten(extract(z, 3, g.locations)) for g in whole)]


@case("pre-inverse by a matrix")
def _(on):
    blur = OPERATORS["blur"]()
    y, matrix = on(measured(blur)), on(rand(SIDE * SIDE, SIDE * SIDE))
    return [LEMMSE(on(FEW), blur, preinverse=matrix, patch_size=3)(y, 0.1)]


@case("pre-inverse by a function")
def _(on):
    blur = OPERATORS["blur"]()
    half = LEMMSE(on(FEW), blur, preinverse=lambda y: y / 2, patch_size=3)
    whole = EquivariantMMSE(on(FEW), blur, preinverse=lambda y: y / 2)
    y = on(measured(blur))
    return [half(y, 0.1), whole(y, 0.1)]


@case("foreign operator")
def _(on):
    class Half:
        def A(self, x):
            return x[..., ::2]

        def A_adjoint(self, y):
            return torch.stack([y, torch.zeros_like(y)], -1).flatten(-2)

    y = on(NEW[..., ::2])
    return [MMSE(on(FEW), Half())(y, 0.1), LEMMSE(on(FEW), Half(), "adjoint", patch_size=3)(y, 0.1)]


# Estimators

for name, kind in PAIRS:
    for label, make in SHIFTING.items():

        @case(f"{label} {name} {kind}")
        def _(on, name=name, kind=kind, make=make):
            operator = OPERATORS[name]()
            return make(on(FEW), operator, preinverse=kind)(on(measured(operator)), 0.1)


for name, make_operator in OPERATORS.items():

    @case(f"MMSE {name}")
    def _(on, make=make_operator):
        return MMSE(on(FEW), make())(on(measured(make())), 0.2)

    @case(f"LinearMMSE {name}")
    def _(on, make=make_operator):
        y = on(measured(make()))
        return [LinearMMSE(on(FEW), make(), stationary=s)(y, 0.2) for s in (False, True)]


ALL = SHIFTING | {"MMSE": MMSE}
for label, make in ALL.items():

    @case(f"{label} posterior")
    def _(on, make=make):
        return make(on(FEW)).posterior(on(NEW), 0.2)

    @case(f"{label} in colour")
    def _(on, make=make):
        return make(on(COLOUR))(on(COLOUR[:2] + 0.1), 0.2)

    @case(f"{label} for several noise levels")
    def _(on, make=make):
        return make(on(FEW))(on(NEW), on(torch.tensor([0.1, 0.3])))

    @case(f"{label} with a noise level of the CPU")
    def _(on, make=make):
        return make(on(FEW))(on(NEW), torch.tensor(0.2))

    @case(f"{label} gradient")
    def _(on, make=make):
        y = on(NEW).clone().requires_grad_()
        make(on(FEW))(y, 0.3).square().sum().backward()
        return y.grad

    @case(f"{label} in float64")
    def _(on, make=make):
        return make(on(FEW), dtype=torch.float64)(on(NEW).double(), 0.2)


# Torch's modes

for label, make in (ALL | {"LinearMMSE": LinearMMSE}).items():

    @case(f"{label} under autocast")
    def _(on, make=make):
        plainly = make(on(FEW))(on(NEW), 0.2)
        with torch.autocast(on.device.type, torch.bfloat16):
            result = make(on(FEW))(on(NEW), 0.2)
        assert torch.equal(result, plainly)
        return result

    @case(f"{label} made in inference mode")
    def _(on, make=make):
        with torch.inference_mode():
            estimate = make(on(FEW))
            estimate(on(NEW), 0.2)
        y = on(NEW).clone().requires_grad_()
        estimate(y, 0.3).square().sum().backward()
        return y.grad

    @case(f"{label} beside a default device")
    def _(on, make=make):
        torch.set_default_device(on.device)
        try:
            there, here = make(on(FEW))(on(NEW), 0.2), make(FEW)(NEW, 0.2)
        finally:
            torch.set_default_device(None)
        assert here.device == NEW.device
        return [there, here]


for name, make in OPERATORS.items():

    @case(f"operator {name} under autocast and beside a default device")
    def _(on, make=make):
        torch.set_default_device(on.device)
        try:
            operator = make()
            with torch.autocast(on.device.type, torch.bfloat16):
                y = operator.A(on(NEW))
                inverses = [operator.A_adjoint(y), operator.A_dagger(y), operator.A_tikhonov(y)]
        finally:
            torch.set_default_device(None)
        expected = make()
        z = expected.A(on(NEW))
        plainly = [z, expected.A_adjoint(z), expected.A_dagger(z), expected.A_tikhonov(z)]
        assert all(map(torch.equal, [y, *inverses], plainly))
        return [y, *inverses]


for symmetry in (None, "d4"):

    @case(f"LEMMSE with an index, symmetry {symmetry}")
    def _(on, symmetry=symmetry):
        estimate = LEMMSE(on(MANY), patch_size=3, symmetry=symmetry).prepare()
        return [estimate(on(NEW), sigma) for sigma in (0.02, 0.2)]


@case("LEMMSE symmetry d4 inpainting")
def _(on):
    mask = OPERATORS["mask"]()
    return LEMMSE(on(FEW), mask, "pinv", patch_size=3, symmetry="d4")(on(measured(mask)), 0.1)


@case("LEMMSE posterior with an index")
def _(on):
    return LEMMSE(on(MANY), patch_size=3).posterior(on(NEW), 0.2)


@case("LEMMSE gradient with an index")
def _(on):
    y = on(NEW).clone().requires_grad_()
    LEMMSE(on(MANY), patch_size=3)(y, 0.2).square().sum().backward()
    return y.grad


@case("LEMMSE voters and at")
def _(on):
    estimate, some = LEMMSE(on(FEW), patch_size=3), [(1, 2), (3, 4)]
    tensors = on(torch.tensor(some))
    voters = [estimate.voters(on(NEW), 0.1, where, 3) for where in (some, tensors, None)]
    return [*voters, estimate.at(on(NEW), 0.1, some), estimate.at(on(NEW), 0.1, tensors)]


@case("LEMMSE voters in tomography")
def _(on):
    operator = OPERATORS["tomography"]()
    estimate = LEMMSE(on(FEW), operator, "tikhonov", patch_size=3)
    y = on(measured(operator))
    return [estimate.voters(y, 0.1, [(1, 2)], 3), estimate.at(y, 0.1, [(1, 2)])]


@case("LEMMSE, whatever the memory")
def _(on):
    return [LEMMSE(on(FEW), patch_size=3, memory=m)(on(NEW), 0.2) for m in (0, 10**9)]


@case("merged patches")
def _(on):
    keys = on(torch.randint(2, (50, 3), generator=torch.Generator().manual_seed(0)).float())
    return merge_equal(keys, on(rand(50, 1)))


# Networks, training, the zoo

NETWORKS = {
    "PatchMLP": lambda: nets.PatchMLP(1, 3, width=8),
    "ResNet": lambda: nets.ResNet(1, 3, width=8),
    "UNet": lambda: nets.UNet(1, 3, width=8),
}


def skip_of(problem):
    return nets.Skip.fit(problem.images, problem.clean(), problem.preinverse)


for name, make in NETWORKS.items():

    @case(f"network {name}")
    def _(on, make=make):
        torch.manual_seed(0)
        network = on(make())
        levels = on(torch.tensor([0.1, 0.3]))
        with torch.no_grad():
            output = [network(on(NEW), 0.1), network(on(NEW), levels), network.valid(on(NEW), 0.1)]
        return output

    # Half precision differs by what autocast rounds, which each device decides.
    for precision, tolerance in (("float32", TOLERANCE), ("bfloat16", 0.02)):

        @case(f"training {name} {precision}", tolerance)
        def _(on, make=make, precision=precision):
            torch.manual_seed(0)
            problem = Problem.of(on(FEW), OPERATORS["blur"](), "tikhonov")
            network = on(make())
            network.skip = on(skip_of(problem))
            on.drew = True
            settings = Settings(steps=4, batch=4, crop=4, records=2, precision=precision)
            history = train(network, problem, settings, progress=False)
            return [history.column("loss"), *network.state_dict().values()]


@case("receptive field")
def _(on):
    torch.manual_seed(0)
    found = nets.receptive_field(on(nets.PatchMLP(1, 3, width=4)), (1, 5, 5), sigma=0.3)
    assert found.size == (3, 3)
    return [found.mask, found.equivariance_error]


@case("training resumed")
def _(on):
    on.drew = True
    problem, settings = Problem.of(on(FEW)), Settings(steps=4, batch=4, crop=4, records=4)

    def stop(network, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError
        return {}

    torch.manual_seed(0)
    network = on(nets.PatchMLP(1, 3, width=8))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        with suppress(InterruptedError):
            train(network, problem, settings, stop, path, progress=False)
        history = train(network, problem, settings, None, path, resume=True, progress=False)
    return [history.column("loss"), *network.state_dict().values()]


PHYSICS = {
    "RegularisedInverse": lambda a: nets.RegularisedInverse(a, (1, SIDE, SIDE)),
    "SVDNet": lambda a: nets.SVDNet(a, (1, SIDE, SIDE)),
    "UnrolledGradient": lambda a: nets.UnrolledGradient(a, (1, SIDE, SIDE), layers=2),
    "UnrolledISTA": lambda a: nets.UnrolledISTA(a, (1, SIDE, SIDE), layers=2),
    "LISTA": lambda a: nets.LISTA(a, (1, SIDE, SIDE), layers=2),
    "UnrolledProximal": lambda a: nets.UnrolledProximal(a, (1, SIDE, SIDE), layers=2, width=4),
    "FullyLearned": lambda a: nets.FullyLearned(
        a.example_measurement((1, SIDE, SIDE)).shape[1:], (1, SIDE, SIDE), layers=2, width=4
    ),
}
for name, make in PHYSICS.items():
    for physics in ("blur", "tomography", "mask"):
        # Adam's first steps have the size of the sign, also of what is zero but for rounding.
        @case(f"network {name} {physics}", 1e-3)
        def _(on, make=make, physics=physics):
            torch.manual_seed(0)
            operator = OPERATORS[physics]()
            network = on(make(operator))
            with torch.no_grad():
                output = network(on(measured(operator)), 0.1)
            problem = Problem.direct(on(FEW), operator)
            on.drew = True
            settings = Settings(steps=2, batch=4, crop=None, records=2, sigma=0.1)
            history = train(network, problem, settings, progress=False)
            return [output, history.column("loss")]


for name in ("identity", "mask", "blur", "tomography"):

    @case(f"decomposition {name}")
    def _(on, name=name):
        operator = OPERATORS[name]()
        d = nets.decompose(operator, (1, SIDE, SIDE))
        return d.synthesis(d.analysis(on(operator.A(NEW))))


@case("wavelets")
def _(on):
    return [nets.haar(on(NEW)), nets.inverse_haar(nets.haar(on(NEW)))]


SHIPPED = [n for n in zoo.names() if n.startswith("photos-grey/") and "/lista-" not in n]
for name in SHIPPED:

    @case(f"zoo {name}")
    def _(on, name=name):
        network, spec = on(zoo.load(name)), zoo.parse(name)
        x = rand(1, 1, 32, 32)
        problem = spec.pose(on(x))
        z = problem.measured(on(x), on(torch.full((1,), 0.1)), on.generator())
        with torch.no_grad():
            return network(z, getattr(spec, "sigma", None) or 0.1)


# Metrics, sampling, deep inverse priors


@case("metrics")
def _(on):
    x, y = on(rand(2, 1, 16, 16)), on(rand(2, 1, 16, 16, seed=1))
    return [metrics.mse(x, y), metrics.psnr(x, y), metrics.ssim(x, y)]


@case("sampling")
def _(on):
    levels = sampling.noise_levels(5.0, 0.05, steps=6)
    start, denoiser = on(NEW) * 5, LEMMSE(on(FEW), patch_size=3)
    still = sampling.sample(denoiser, start, levels)
    moving = sampling.sample(denoiser, start, on(levels), stochastic=1, generator=on.generator())
    return [still, moving]


def two_layers(on):
    network = dip.TwoLayer.draw(n=4, d=2, k=60, generator=torch.Generator().manual_seed(0), runs=3)
    A, truth = dip.random_problem(3, 4, 2.0, torch.Generator().manual_seed(1), 3)
    A, truth = on(A), on(truth)
    return network.to(on.device), A, (A @ truth[..., None])[..., 0], truth


@case("dip: two layers")
def _(on):
    network, A, y, truth = two_layers(on)
    rules = [dip.LossThreshold(1e-6), dip.Discrepancy(on(torch.full((3,), 1e-3)))]
    down = dip.descend(network, A, y, 0.2, 20, rules, truth, record=5, keep_outputs=True)
    back = dip.flow(network, A, y, 0.5, 5, truth=truth, record=5)
    moments = [network.output(), network.jacobian(), network.gram(), network.lipschitz()]
    return [down, back, *moments]


@case("dip: constants")
def _(on):
    network, A, y, truth = two_layers(on)
    found = dip.constants(A, network, y, truth=truth, generator=torch.Generator().manual_seed(0))
    times = found.stopping_time(on(torch.full((3,), 0.01)))
    bounds = [
        found.residual_bound(on(torch.arange(3))),
        found.error_bound(on(torch.arange(3)), 0.1),
    ]
    run = dip.descend(network, A, y, found.step, 5, dip.TheoremTime(times))
    return [found, times, *bounds, run.loss, dip.wilson(on(torch.tensor([1, 2])), 3)]


@case("dip: convolutional")
def _(on):
    generator = torch.Generator().manual_seed(0)
    prior = dip.ConvolutionalPrior.draw((1, SIDE, SIDE), generator, width=4, levels=1, runs=2)
    blur = OPERATORS["blur"]()
    return dip.descend(prior.to(on.device), blur, on(measured(blur)), 0.1, 5, truth=on(NEW))


def compare(name, device):
    """Raises if a case gives on a device something else than on the CPU.

    Random numbers of another device are others: what draws them there has only to be finite. On
    the pretend accelerator they are those of the CPU.
    """
    function, tolerance = CASES[name]
    on = On(device)
    result = function(on)
    tensors = [result] if isinstance(result, torch.Tensor) else []
    if any(t.device.type != on.device.type for t in tensors):
        raise AssertionError(f"{name}: the result left the device")
    results, expected = plain(result), plain(function(On("cpu")))
    if not expected:
        raise AssertionError(f"{name}: nothing to compare")
    for mine, theirs in zip(results, expected, strict=True):
        if on.drew and on.device.type not in ("cpu", "shadow"):
            assert mine.shape == theirs.shape
            assert mine.isfinite().all()
        else:
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)

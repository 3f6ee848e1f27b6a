"""Estimators as torch modules: moved, cast, saved, copied, loaded, and owners of their numbers."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from variety import ESTIMATORS, FEW, answers, build, generator, images, measurement

import lemmse
from lemmse.operators import Mask

pytestmark = pytest.mark.usefixtures("small_index")
EVERY = pytest.mark.parametrize("name", ESTIMATORS)


def assert_same(estimate, other, operator="denoising"):
    y = measurement(operator)
    for a, b in zip(answers(estimate, y, 0.3), answers(other, y, 0.3), strict=True):
        assert torch.equal(a, b)


def saved(estimate):
    buffer = io.BytesIO()
    torch.save(estimate, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("called", [False, True], ids=["fresh", "after a call"])
@pytest.mark.parametrize("way", [copy.deepcopy, saved])
@pytest.mark.parametrize(("name", "operator", "kind"), FEW)
def test_copies_and_pickles_give_the_same_numbers(name, operator, kind, way, called):
    estimate = build(name, operator, kind)
    if called:
        estimate.prepare()
    assert_same(estimate, way(estimate), operator)


@EVERY
def test_a_state_dict_carries_the_training_set(name):
    estimate, other = build(name), build(name, x=1 - images())
    other.prepare()
    assert (other(measurement(), 0.3) - estimate(measurement(), 0.3)).abs().max() > 1e-3
    buffer = io.BytesIO()
    torch.save(estimate.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer))
    assert_same(estimate, other)


@EVERY
def test_another_number_of_images_is_not_loaded(name):
    if name == "Wiener":
        return  # it holds a spectrum, whose size has nothing to do with that number
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(name).load_state_dict(build(name, x=images(3)).state_dict())


@EVERY
def test_overwriting_the_training_images_changes_nothing(name):
    x = images()
    estimate, other = build(name, x=x), build(name)
    x.zero_()
    assert_same(estimate, other)


@EVERY
def test_training_and_evaluation_are_the_same(name):
    estimate, other = build(name), build(name)
    assert_same(estimate.train(), other.eval())
    assert not list(estimate.parameters())


@EVERY
def test_casting_keeps_every_digit(name):
    """Half precisions change nothing; back and forth, either."""
    x = images(dtype=torch.float64)
    estimate = build(name, x=x, dtype=torch.float64)
    wanted = answers(estimate, measurement().double(), 0.3)
    for cast in ("half", "bfloat16", "float", "double"):
        getattr(estimate.prepare(), cast)()
    for a, b in zip(answers(estimate, measurement().double(), 0.3), wanted, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["LEMMSE", "LocalMMSE", "EquivariantMMSE", "MMSE"])
def test_casting_sets_the_precision_of_the_keys(name):
    y = measurement(dtype=torch.float64)
    exact = build(name, x=images(dtype=torch.float64), dtype=torch.float64)(y, 0.3)
    estimate = build(name, x=images(dtype=torch.float64))
    assert not torch.equal(estimate(y, 0.3), exact)
    assert torch.equal(estimate.to(torch.float64)(y, 0.3), exact)
    assert estimate.to(torch.float32).dtype == torch.float32
    assert not torch.equal(estimate(y, 0.3), exact)


@EVERY
def test_moving_prepares_again(name):
    """A device without numbers tells that everything was moved, and nothing left behind."""
    estimate = build(name).prepare()
    estimate.to("meta")
    assert {t.device.type for t in estimate.state_dict().values()} == {"meta"}
    with pytest.raises(ValueError, match="on the device of the estimator, meta, got cpu"):
        estimate(measurement(), 0.3)
    estimate.to_empty(device="cpu").load_state_dict(build(name).state_dict())
    assert_same(estimate, build(name))


def test_the_operator_moves_along():
    class Halving(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("gain", torch.tensor(0.5, dtype=torch.float64))

        def A(self, x):
            return x * self.gain

        def A_adjoint(self, y):
            return y * self.gain

    estimate = lemmse.MMSE(images(), Halving())
    assert "operator.physics.gain" in estimate.state_dict()


class Restorer(nn.Module):
    """A module with an estimator and a weight, as in unrolled networks."""

    def __init__(self, estimate):
        super().__init__()
        self.estimate = estimate
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, y, sigma):
        return self.gain * self.estimate(y, sigma) + (1 - self.gain) * y


@EVERY
def test_part_of_another_module(name):
    net = Restorer(build(name))
    y = measurement()
    net(y, 0.3).square().sum().backward()
    assert net.gain.grad.isfinite()
    assert net.gain.grad != 0
    other = Restorer(build(name, x=1 - images()))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(y, 0.3), net(y, 0.3))
    net.double()
    assert net.gain.dtype == torch.float64
    assert_same(pickle.loads(pickle.dumps(net)).estimate, net.estimate)


@EVERY
def test_several_threads_call_one_estimator(name):
    from concurrent.futures import ThreadPoolExecutor

    levels = [0.1, 0.2, 0.4, 0.8]
    y = measurement()
    with ThreadPoolExecutor(4) as pool:
        shared = build(name)
        together = list(pool.map(lambda s: shared(y, s), levels))
    for level, result in zip(levels, together, strict=True):
        assert torch.equal(result, build(name)(y, level))


@pytest.mark.parametrize("name", ["LEMMSE", "LocalMMSE", "EquivariantMMSE", "MMSE"])
@pytest.mark.parametrize("operator", ["denoising", "blur"])
def test_the_order_of_the_training_images_is_irrelevant(name, operator):
    x = torch.cat([images(12), torch.zeros(3, 1, 5, 6)])
    y = measurement(operator)
    order = torch.randperm(15, generator=generator(3))
    options = {"operator": operator, "kind": None if operator == "denoising" else "tikhonov"}
    for sigma in (0.01, 0.3):
        a = answers(build(name, x=x, **options), y, sigma)
        b = answers(build(name, x=x[order], **options), y, sigma)
        for one, other in zip(a, b, strict=True):
            assert ((one - other).abs() <= 1e-6 * (1 + one.abs())).all()


def test_the_source_is_counted_in_the_order_given():
    x = images()
    order = torch.tensor([2, 0, 3, 1])
    source = lemmse.LEMMSE(x[order], patch_size=3).posterior(x, 1e-3).source
    assert (order[source[..., 0]] == torch.arange(4)[:, None, None]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": [torch.rand(1, 8, 8)] * 500}, "a list of 500 entries"),
        ({"images": torch.rand(4, 1, 8, 8).half()}, "float16"),
        ({"patch_size": True}, "patch_size"),
        ({"patch_size": "5"}, "patch_size"),
        ({"tolerance": "x"}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"tolerance": None}, "tolerance"),
        ({"memory": "all"}, "memory"),
        ({"symmetry": "d8"}, "d8"),
        ({"preinverse": lambda y: y[..., :-1]}, "callable|linear|shape"),
    ],
)
def test_bad_construction_in_few_words(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        lemmse.LEMMSE(**{"images": torch.rand(4, 1, 8, 8, generator=generator()), **arguments})
    assert len(str(error.value)) < 400


def test_integers_of_all_kinds():
    import numpy as np

    y = measurement()
    wanted = lemmse.LEMMSE(images(), patch_size=3)(y, 0.3)
    for three in (np.int64(3), np.uint8(3), torch.tensor(3)):
        estimate = lemmse.LEMMSE(images(), patch_size=three)
        assert type(estimate.patch_size) is int
        assert torch.equal(estimate(y, 0.3), wanted)
    assert torch.equal(lemmse.fields.extract(y, np.int64(3)), lemmse.fields.extract(y, 3))


def test_an_operator_given_by_a_mask_is_not_changed_from_outside():
    mask = torch.ones(5, 6)
    mask[1:3, 2:4] = 0
    estimate = lemmse.LEMMSE(images(), Mask(mask), "pinv", patch_size=3)
    y = measurement("inpainting")
    wanted = copy.deepcopy(estimate)(y, 0.3)
    mask.zero_()
    assert torch.equal(estimate(y, 0.3), wanted)

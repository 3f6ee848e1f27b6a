"""Training: unbiased crops, learning what it should, resumption bit for bit."""

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lemmse.networks import PatchMLP, ResNet, Skip, UNet
from lemmse.operators import Blur, Mask
from lemmse.training import (
    SIGMA_MIN,
    Problem,
    Settings,
    loss,
    random_crops,
    sample_sigma,
    train,
)
from lemmse.training.loss import torus_window


def images(count=6, size=8, channels=1):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, channels, size, size, generator=generator)


def network(seed=0, patch_size=3, channels=1):
    torch.manual_seed(seed)
    return PatchMLP(channels, patch_size, width=6, depth=1)


def gradient(network, value):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(network.parameters()))])


# ---------------------------------------------------------------- crops


@pytest.mark.parametrize("build", [PatchMLP, ResNet, UNet])
@pytest.mark.parametrize("crop", [1, 3])
def test_expected_gradient_on_crops_is_the_gradient_on_whole_images(build, crop):
    torch.manual_seed(0)
    net = build(1, 5, width=4).double()
    x = images(2).double()
    problem = Problem.of(x, Blur.gaussian(1.0, (8, 8)))
    sigma = torch.tensor([0.2, 0.7], dtype=torch.float64)
    z = problem.measured(x, sigma, torch.Generator().manual_seed(1))
    weight = 1 / net.skip.error(sigma)[:, None, None, None]

    whole = gradient(net, ((net(z, sigma) - x).square() * weight).mean())
    # All 64 places of a crop, each as probable as the others.
    crops = torch.zeros_like(whole)
    for row in range(8):
        for column in range(8):
            place = torch.tensor([row, row]), torch.tensor([column, column])
            inner = torus_window(x, *place, crop)
            outer = torus_window(z, place[0] - 2, place[1] - 2, crop + 4)
            value = ((net.valid(outer, sigma) - inner).square() * weight).mean()
            crops += gradient(net, value) / 64
    torch.testing.assert_close(crops, whole, rtol=0, atol=1e-12)


def test_places_of_crops_are_uniform_and_the_loss_uses_them():
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(20.0).view(1, 1, 4, 5).expand(20_000, 1, 4, 5)
    inner, outer = random_crops(x, x, 1, 1, generator)
    counts = inner.flatten().long().bincount(minlength=20)
    assert (counts - 1000).abs().max() < 150  # five standard deviations
    torch.testing.assert_close(outer[:, :, 1:2, 1:2], inner)

    net, x = network().double(), images(4).double()
    problem, sigma = Problem.of(x), torch.full((4,), 0.3, dtype=torch.float64)
    on_crops = loss(net, problem, x, sigma, 2, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    z = problem.measured(x, sigma, generator)
    inner, outer = random_crops(x, z, 2, 1, generator)
    by_hand = (net.valid(outer, sigma) - inner).square().mean() / net.skip.error(sigma[0])
    torch.testing.assert_close(on_crops, by_hand)


@given(st.integers(0, 2**31), st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=20, deadline=None)
def test_noise_levels_lie_in_their_interval(seed, largest):
    sigma = sample_sigma(500, torch.Generator().manual_seed(seed), largest)
    assert sigma.min() >= SIGMA_MIN
    assert 0.9 * largest < sigma.max() <= largest
    # A tenth of the uniform half, and the share of log(0.1 largest / 0.005) in the other one.
    share = 0.05 + 0.5 * math.log(0.1 * largest / SIGMA_MIN) / math.log(largest / SIGMA_MIN)
    assert abs((sigma < 0.1 * largest).float().mean() - share) < 0.11  # five standard deviations


@pytest.mark.parametrize("largest", [0.5, 4.0])
def test_a_network_is_trained_up_to_its_largest_noise_level(largest):
    seen = []

    class Watched(PatchMLP):
        def valid(self, z, sigma):
            seen.append(sigma.max().item())
            return super().valid(z, sigma)

    torch.manual_seed(0)
    net = Watched(1, 3, width=4, depth=1, largest_sigma=largest)
    recipe = Settings(steps=20, batch=8, records=1)
    train(net, Problem.of(images()), recipe, progress=False)
    assert 0.8 * largest < max(seen) <= largest


# ---------------------------------------------------------------- the loop


def test_learns_the_affine_guess_where_nothing_else_can_be_known():
    # Independent pixels of variance 1/12: with P = 1 the best affine error is v s^2 / (v + s^2).
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    problem = Problem.of(x)
    torch.manual_seed(0)
    net = PatchMLP(1, 1, width=16, depth=1, skip=Skip.fit(x, x, problem.preinverse))
    history = train(net, problem, Settings(steps=300, batch=64, records=3), progress=False)
    first, last = history.column("loss")[0], history.column("loss")[-1]
    # The posterior mean of a uniform pixel beats the affine guess, whose weighted loss is 1.
    assert last < first
    assert 0.8 < last < 1.0


def test_seed_decides_everything():
    runs = []
    for seed in (0, 0, 1):
        net = network()
        train(net, Problem.of(images()), Settings(steps=5, batch=4, seed=seed), progress=False)
        runs.append(torch.cat([p.flatten() for p in net.parameters()]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


class Killed(Exception):
    pass


@given(st.integers(1, 11))
@settings(max_examples=6, deadline=None)
def test_killed_and_resumed_equals_uninterrupted(tmp_path_factory, step):
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    recipe = Settings(steps=12, batch=4, crop=2, records=12)
    problem = Problem.of(images(), Blur.gaussian(1.0, (8, 8)), "tikhonov")
    whole = network()
    expected = train(whole, problem, recipe, lambda net: {"a": 1.0}, progress=False)

    calls = 0

    def killing(net):
        nonlocal calls
        calls += 1
        if calls == step:
            raise Killed
        return {"a": 1.0}

    with pytest.raises(Killed):
        train(network(), problem, recipe, killing, path, progress=False)
    assert path.exists() == (step > 1)
    resumed = network()
    history = train(
        resumed, problem, recipe, lambda net: {"a": 1.0}, path, resume=True, progress=False
    )
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert history.records == expected.records
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_any_network_can_be_trained_on_whole_images():
    class Gain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.zeros(()))

        def forward(self, z, sigma):
            return self.gain * z

    net = Gain()
    recipe = Settings(steps=200, batch=16, crop=None, learning_rate=2e-2, records=1)
    train(net, Problem.of(images(16)), recipe, progress=False)
    # The best gain of one linear map: E x^2 / (E x^2 + E sigma^2).
    sigma = sample_sigma(100_000, torch.Generator().manual_seed(0))
    power = images(16).square().mean()
    assert net.gain.item() == pytest.approx(
        (power / (power + sigma.square().mean())).item(), abs=0.03
    )


def test_the_result_is_the_running_mean():
    recipe = Settings(steps=4, batch=4, ema=0.0, records=1)
    last, mean = network(), network()
    problem = Problem.of(images())
    train(last, problem, recipe, progress=False)
    train(mean, problem, Settings(steps=4, batch=4, ema=0.9, records=1), progress=False)
    start = torch.cat([p.flatten() for p in network().parameters()])
    moved = [
        (torch.cat([p.flatten() for p in net.parameters()]) - start).norm() for net in (last, mean)
    ]
    assert 0 < moved[1] < moved[0]


def test_a_network_that_holds_the_operator_is_given_the_measurement():
    blur = Blur.gaussian(1.0, (8, 8))
    seen = []

    class Gain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.zeros(()))

        def forward(self, y, sigma):
            seen.append(sigma)
            return self.gain * y

    x = images(16)
    net, problem = Gain(), Problem.direct(x, blur)
    assert torch.equal(problem.clean(), blur.A(x))
    recipe = Settings(
        steps=200, batch=64, crop=None, sigma=0.3, learning_rate=2e-2, ema=0.98, records=1
    )
    train(net, problem, recipe, progress=False)
    assert torch.equal(seen[0], torch.full((64,), 0.3))
    # The best gain for one noise level: E <x, A x> / (E |A x|^2 + sigma^2).
    y = blur.A(x)
    best = (x * y).mean() / (y.square().mean() + 0.09)
    assert net.gain.item() == pytest.approx(best.item(), abs=0.01)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Settings(steps=0), "steps: expected a positive integer, got 0"),
        (lambda: Settings(batch=10**12), "batch: expected 0 to 1000000000, got 1000000000000"),
        (lambda: Settings(seed=-1), "seed: expected 0 to"),
        (lambda: Settings(ema=1.0), r"ema: expected a number in \[0, 1\)"),
        (lambda: Settings(learning_rate=-1), "learning_rate"),
        (lambda: Settings(precision="float16"), "float32 or bfloat16, got 'float16'"),
        (lambda: Settings(sigma=0.0), "sigma: expected > 0 or None, got 0.0"),
        (lambda: Problem.direct(torch.rand(8, 8), Blur.gaussian(1.0, (8, 8))), r"\(N, C, H, W\)"),
        (lambda: Problem.of(torch.rand(3, 8, 8)), r"\(N, C, H, W\), N > 0, got \(3, 8, 8\)"),
        (
            lambda: train(network(), Problem.of(images()), Settings(crop=9), progress=False),
            "at most the side 8 of the images, got 9",
        ),
        (
            lambda: train(network(patch_size=9), Problem.of(images()), progress=False),
            "at most 8 for images of size",
        ),
        (
            lambda: train(torch.nn.Conv2d(1, 1, 1), Problem.of(images()), progress=False),
            "expected None for Conv2d, which is not local, got 4",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    problem = Problem.of(images())
    train(network(), problem, Settings(steps=2, batch=4), checkpoint=path, progress=False)
    with pytest.raises(ValueError, match="expected one of a training with"):
        train(network(), problem, Settings(steps=3, batch=4), None, path, True, progress=False)
    others = Problem.of(1 - images())
    with pytest.raises(ValueError, match="expected one of a training with {'images'"):
        train(network(), others, Settings(steps=2, batch=4), None, path, True, progress=False)
    with pytest.raises(ValueError, match="expected a file in an existing folder"):
        train(network(), problem, checkpoint=tmp_path / "none" / "c.pt", progress=False)
    other = network(patch_size=5)
    with pytest.raises(ValueError, match="of another network"):
        train(other, problem, Settings(steps=2, batch=4), None, path, True, progress=False)


def of_blur(std=1.0, **options):
    return Problem.of(images(), Blur.gaussian(std, (8, 8)), "tikhonov", **options)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (of_blur(), of_blur(1.1)),  # another kernel
        (of_blur(), of_blur(regularisation=0.02)),  # another lambda
        (
            Problem.of(images(), Mask.central(3, (8, 8))),
            Problem.of(images(), Mask.central(5, (8, 8))),
        ),
    ],
)
def test_checkpoint_of_the_same_classes_with_other_numbers_is_refused(tmp_path, mine, other):
    path, recipe = tmp_path / "checkpoint.pt", Settings(steps=2, batch=4)
    assert mine.description() == other.description()
    train(network(), mine, recipe, checkpoint=path, progress=False)
    train(network(), mine, recipe, None, path, resume=True, progress=False)
    with pytest.raises(ValueError, match=r"other numbers inside \(kernel, mask, lambda\)"):
        train(network(), other, recipe, None, path, resume=True, progress=False)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04", "list", "keys", "tensor"])
def test_what_is_no_checkpoint_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    foreign = {"list": [1, 2], "keys": {"state_dict": {}}, "tensor": torch.ones(2)}
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(foreign[content], path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="checkpoint: .*checkpoint.pt (cannot be read|is not a)"):
        train(network(), Problem.of(images()), Settings(steps=2), None, path, True, progress=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": torch.zeros(16, dtype=torch.uint8)}, "random numbers cannot be continued"),
        ({"generator": None}, "random numbers cannot be continued"),
        ({"response": None}, "other numbers inside"),
        ({"response": torch.zeros(3, dtype=torch.float64)}, "other numbers inside"),
        ({"network": None}, "of another network"),
        ({"optimizer": {"state": {}, "param_groups": 3}}, "of another network"),
        ({"mean": {}}, "of another network"),
    ],
)
def test_a_checkpoint_of_another_machine_or_hand_is_refused(tmp_path, change, message):
    """That of a GPU has random numbers of another size, for instance."""
    path, recipe = tmp_path / "checkpoint.pt", Settings(steps=2, batch=4)
    problem = Problem.of(images())
    train(network(), problem, recipe, checkpoint=path, progress=False)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(ValueError, match=f"checkpoint: .*{message}"):
        train(network(), problem, recipe, None, path, resume=True, progress=False)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path, recipe = tmp_path / "checkpoint.pt", Settings(steps=4, batch=4, records=2)
    written = []
    real = Path.write_bytes

    def full(draft, content):
        if written:
            raise OSError(28, "No space left on device")
        written.append(draft)
        return real(draft, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        train(network(), Problem.of(images()), recipe, None, path, progress=False)
    assert torch.load(path, weights_only=True)["step"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_training_that_diverges_says_so_and_leaves_the_checkpoint_of_before(tmp_path):
    path, recipe = tmp_path / "checkpoint.pt", Settings(steps=4, batch=4, records=2)

    class Diverging(PatchMLP):
        def valid(self, z, sigma):
            self.calls = getattr(self, "calls", 0) + 1
            return super().valid(z, sigma) * (float("nan") if self.calls > 2 else 1.0)

    net = Diverging(1, 3, width=6, depth=1)
    with pytest.raises(ValueError, match="it diverged before step 4 .*smaller learning rate"):
        train(net, Problem.of(images()), recipe, checkpoint=path, progress=False)
    state = torch.load(path, weights_only=True)
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["mean"].values())


def test_with_bfloat16_the_network_is_shown_exact_numbers():
    shown = []

    class Watched(PatchMLP):
        def valid(self, z, sigma):
            shown.append((z, torch.is_autocast_enabled("cpu")))
            return super().valid(z, sigma)

    class Exact(Blur):
        def A(self, x):
            assert not torch.is_autocast_enabled("cpu")
            return super().A(x)

    problem = Problem.of(images(), Exact(Blur.gaussian(1.0, (8, 8)).kernel.value, (8, 8)))
    for precision in ("bfloat16", "float32"):
        recipe = Settings(steps=1, batch=4, precision=precision)
        train(Watched(1, 3, width=6, depth=1), problem, recipe, progress=False)
    assert [autocast for _, autocast in shown] == [True, False]
    assert torch.equal(shown[0][0], shown[1][0])


def test_network_given_is_the_one_trained():
    net = network()
    before = deepcopy(net.state_dict())
    train(net, Problem.of(images()), Settings(steps=2, batch=4), progress=False)
    assert any(not torch.equal(before[key], value) for key, value in net.state_dict().items())

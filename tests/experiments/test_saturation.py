"""A network with a saturating detector inside: what is compared, and what is published."""

import json

import pytest
import torch
from torch.testing import assert_close

from lemmse.__main__ import main
from lemmse.experiments import record, saturation
from lemmse.experiments.saturation import (
    BETA,
    CLOSED,
    RATES,
    SIGMA,
    contestant,
    drawn,
    in_closed_form,
    photographs,
    scanner,
    undone,
)
from lemmse.experiments.tomography import saturated, slope

LINE_SUMS = torch.linspace(-3, 14, 18, dtype=torch.float64)


@pytest.fixture
def tiny(monkeypatch):
    """The same grid, of hardly trained networks."""
    sizes = {
        "STEPS": 2,
        "CLOCKED": 4,
        "IMAGES": 8,
        "HELD_OUT": 2,
        "TEST_IMAGES": 3,
        "SEEDS": (0, 1),
    }
    for name, value in {**sizes, "COUNTS": (4, 8), "CHOSEN": 4, "LONGER": 2, "NEWTON": 2}.items():
        monkeypatch.setattr(saturation, name, value)


def test_the_response_is_undone():
    y = saturated(LINE_SUMS, BETA)
    assert_close(undone(y), LINE_SUMS.where(LINE_SUMS > 0, undone(LINE_SUMS)))
    assert undone(torch.tensor([1 / BETA, 100.0])).isfinite().all()


def test_the_slope_is_the_derivative_and_never_above_one():
    a = LINE_SUMS.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(saturated(a, BETA).sum(), a)
    assert_close(slope(LINE_SUMS, BETA), derivative)
    assert derivative.max() == 1
    assert derivative.min() > 0
    (at_zero,) = torch.autograd.grad(
        saturated(zero := torch.zeros(1, requires_grad=True), BETA), zero
    )
    assert at_zero == 1


def test_the_scanner_knows_the_adjoint_of_its_derivative():
    x = photographs("test", 2).double()
    v = torch.randn(2, 1, 17, 8, generator=torch.Generator().manual_seed(0)).double()
    _, vjp = torch.func.vjp(scanner().A, x)
    assert_close(scanner().A_vjp(x, v), vjp(v)[0])
    assert_close(scanner(0.0).A_vjp(x, v), scanner().A_adjoint(v))


def test_contestants_differ_in_what_they_believe():
    unrolled, linear, around = (contestant(name) for name in ("unrolled", "linear", "undone"))
    x = photographs("test", 2)
    y = scanner().A(x)
    assert torch.equal(unrolled.operator.A(x), y)
    assert torch.equal(linear.operator.A(x), scanner(0.0).A(x))
    assert_close(around(y, SIGMA), linear(scanner(0.0).A(x), SIGMA), atol=1e-4, rtol=0)
    # Else they are the same network.
    for key, value in unrolled.state_dict().items():
        assert torch.equal(value, linear.state_dict()[key])
        assert torch.equal(value, around.network.state_dict()[key])


def test_unknown_contestants_are_explained():
    with pytest.raises(ValueError, match="expected one of unrolled, undone"):
        contestant("unet")
    images, shown = drawn(4, 0)
    with pytest.raises(ValueError, match="expected one of gauss-newton"):
        in_closed_form("newton", shown["test"][1], images, SIGMA)


def test_gauss_newton_stops_where_the_posterior_is_stationary():
    images, shown = drawn(100, 0)
    y = shown["test"][1][:3].double().flatten(1)
    C = saturation.power_prior(images)
    A = scanner().matrix.value
    x = saturation.gauss_newton(y, A, C, images.mean().item(), SIGMA, BETA)
    residual = y - saturated(x @ A.T, BETA)
    # C^-1 x = J^T (y - F(x)) / sigma^2, multiplied by C.
    pull = (slope(x @ A.T, BETA) * residual) @ A @ C / SIGMA**2
    assert_close(pull, x, atol=1e-3, rtol=0)


def test_gauss_newton_of_a_linear_detector_is_the_best_diagonal():
    images, shown = drawn(100, 0)
    x, A = shown["test"][0].double().flatten(1), scanner().matrix.value
    y = x @ A.T
    U, s, vh = torch.linalg.svd(A, full_matrices=False)
    S = (images.flatten(1).double() @ vh.T).square().mean(0)
    expected = (y @ U * (s * S / (s**2 * S + SIGMA**2))) @ vh
    C = saturation.power_prior(images)
    assert_close(saturation.gauss_newton(y, A, C, 0.4, SIGMA, 0.0, 1), expected)


def test_relinearising_all_scans_together_is_gauss_newton():
    images, shown = drawn(100, 0)
    x, A = shown["test"][0].double().flatten(1)[:4], scanner().matrix.value
    y = saturated(x @ A.T, BETA)
    U, s, vh = torch.linalg.svd(A, full_matrices=False)
    power = (images.flatten(1).double() @ vh.T).square().mean(0)
    C = vh.T * power @ vh
    found = saturation.relinearised(y, (U, s, vh.T), power, 0.4, SIGMA, BETA, 3, inner=60)
    for steps, estimate in enumerate(found, 1):
        expected = saturation.gauss_newton(y, A, C, 0.4, SIGMA, BETA, steps)
        assert_close(estimate, expected, atol=1e-6, rtol=0)


def test_the_affine_estimate_is_the_regression_on_many_scans():
    images, _ = drawn(4, 0)
    generator = torch.Generator().manual_seed(0)
    clean = scanner().A(images.double())
    many = clean.repeat(5_000, 1, 1, 1).flatten(1)
    y = many + SIGMA * torch.randn(many.shape, generator=generator, dtype=many.dtype)
    x = images.double().flatten(1).repeat(5_000, 1)
    design = torch.cat([y, torch.ones(len(y), 1).to(y)], 1)
    weights = torch.linalg.lstsq(design, x).solution
    expected = clean.flatten(1) @ weights[:-1] + weights[-1]
    assert_close(saturation.affine(clean.flatten(1), images, SIGMA), expected, atol=0.02, rtol=0)


def test_the_command_goes_on_where_it_was(tiny, tmp_path, monkeypatch, capsys):
    out = tmp_path / "saturation.json"
    real, calls = saturation.trained, []

    def trained(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(saturation, "trained", trained)
    words = ["reproduce", "saturation", "--out", str(out)]
    assert main(words) == 130
    # Two rates for each of two networks with four images, and half of a third.
    written = json.loads(out.read_text())["results"]["cells"]
    assert set(written) == {*CLOSED, "unrolled", "undone"}
    assert main(words) == 0
    found = saturation.results(out)
    assert set(found["cells"]) == {*CLOSED, *RATES}
    assert set(found["longer"]) == set(RATES)
    assert found["cells"]["linear"]["8"]["1"]["steps"] == 2
    assert found["longer"]["unrolled"]["1"]["steps"] == 4
    assert found["cells"]["learned"]["8"]["0"]["steps"] == found["equal time"]
    tried = found["tried"]["unrolled"]
    best = float(max(tried, key=tried.get))
    of_cells = [cell["rate"] for by in found["cells"]["unrolled"].values() for cell in by.values()]
    assert of_cells == [best] * 4
    assert "values compared with the shipped ones" in capsys.readouterr().out


def test_a_seed_draws_the_images_and_the_moment_is_chosen_on_validation(tiny):
    one, again, other = (saturation.trained("unrolled", 4, seed, 1e-4, 2) for seed in (0, 0, 1))
    assert one["errors"] == again["errors"]
    assert one["errors"] != other["errors"]
    assert len(one["errors"]) == 3
    at = one["history"][one["moment"] - 1]
    assert saturation.psnr_of(one["errors"]) == pytest.approx(at, abs=2e-3)


def test_published_results_are_of_this_setup_and_complete():
    published = json.loads(record.shipped("saturation").read_text())
    assert published["settings"] == json.loads(json.dumps(saturation.settings()))
    found = saturation.results()
    done = {
        (name, int(count), int(seed))
        for name, by_count in found["cells"].items()
        for count, by_seed in by_count.items()
        for seed in by_seed
    }
    assert done == set(saturation.cells())
    assert {name: set(by_seed) for name, by_seed in found["longer"].items()} == dict.fromkeys(
        RATES, {"0", "1", "2"}
    )

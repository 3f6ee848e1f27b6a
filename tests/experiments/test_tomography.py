"""A tomograph that differs from its model, and LE-MMSE on its data."""

import pytest
import torch
from brute_force import pixels_of_patch
from torch.distributions import MultivariateNormal

from lemmse import datasets
from lemmse.experiments import tomography
from lemmse.experiments.tomography import CASES, Case, Fault
from lemmse.operators import Tomography

IMAGES = datasets.load("photos-grey", n=20).double()
MODEL = Tomography(tomography.ANGLES, tomography.SIZE)


def test_without_fault_it_is_the_operator():
    y = tomography.without_noise(IMAGES, Fault())
    assert torch.allclose(y.view(-1, 1, 46, 24), MODEL.A(IMAGES))


def test_an_axis_one_pixel_off_moves_the_sinogram_by_one_cell():
    y, moved = (tomography.without_noise(IMAGES, Fault(centre=c)).view(-1, 46, 24) for c in (0, 1))
    assert torch.allclose(moved[:, :-1], y[:, 1:])


def test_every_draw_has_its_angles():
    y = tomography.without_noise(IMAGES[:1].repeat(17, 1, 1, 1), Fault(jitter=2.0))
    assert torch.allclose(y[0], y[16])
    assert all((y[0] - row).abs().max() > 0.1 for row in y[1:16])


def test_saturation_bends_downwards_and_has_slope_one_at_zero():
    line_sums = torch.linspace(0, 30, 7).double()
    small = tomography.saturated(line_sums, 1e-3)
    assert torch.allclose(small, line_sums - 5e-4 * line_sums**2, atol=6e-3)
    assert (tomography.saturated(line_sums, 0.1) <= 10).all()
    assert torch.equal(tomography.saturated(line_sums, 0.0), line_sums)


def test_noise_has_its_level_and_its_seed():
    clean = tomography.without_noise(IMAGES, Fault())
    y = tomography.measured(IMAGES, Fault(), sigma=0.5)
    assert (y - clean).std().item() == pytest.approx(0.5, rel=0.02)
    assert torch.equal(y, tomography.measured(IMAGES, Fault(), sigma=0.5))
    assert not torch.equal(y, tomography.measured(IMAGES, Fault(), sigma=0.5, seed=1))


@pytest.mark.parametrize("kind", ["fbp", "tikhonov 3"])
def test_pre_inverses_are_those_of_the_operator(kind):
    name, _, strength = kind.partition(" ")
    expected = MODEL.preinverse(name, (1, 32, 32), float(strength or 1)).noise.matrix
    assert torch.allclose(tomography.preinverse_matrix(kind, IMAGES), expected, atol=1e-6)


def test_unknown_pre_inverses_are_rejected():
    with pytest.raises(ValueError, match="'inverse'"):
        tomography.preinverse_matrix("inverse", IMAGES)


def test_the_relinearised_pre_inverse_inverts_the_derivative():
    b = tomography.preinverse_matrix("relinearised", IMAGES, beta=0.02)
    grey = IMAGES.mean().expand(1, 1, 32, 32)
    step = 1e-4 * (IMAGES[:1] - grey)
    ends = [
        tomography.without_noise(image, Fault(saturation=0.02)) for image in (grey, grey + step)
    ]
    change = ((ends[1] - ends[0]) @ b.T).flatten()
    assert torch.nn.functional.cosine_similarity(change, step.flatten(), dim=0) > 0.95


def test_le_mmse_takes_its_keys_from_the_real_detector():
    case = Case(Fault(saturation=0.05), "saturated", "fbp")
    y = tomography.measured(IMAGES[:1], case.fault)
    b = tomography.preinverse_matrix("fbp", IMAGES)
    keys, z = tomography.without_noise(IMAGES, case.fault) @ b.T, (y @ b.T)[0]
    some = tomography.sampled_pixels()[:4]
    queries = torch.stack([z[pixels_of_patch(*at, (5, 5), (1, 32, 32))] for at in some.tolist()])
    logs, values = [], []
    for n in range(1024):
        patch = pixels_of_patch(n // 32, n % 32, (5, 5), (1, 32, 32))
        noise = MultivariateNormal(torch.zeros(25).double(), 0.25 * b[patch] @ b[patch].T)
        logs.append(noise.log_prob(queries[:, None] - keys[:, patch]))
        values.append(IMAGES[:, 0].flatten(1)[:, n])
    expected = torch.cat(logs, 1).softmax(1) @ torch.cat(values)
    found = tomography.le_mmse(case, IMAGES).at(y.view(1, 1, 46, 24), 0.5, some)[0, :, 0]
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_relinearised_case_counts_from_the_scan_of_the_grey_image():
    estimator = tomography.le_mmse(
        Case(Fault(saturation=0.05), "saturated", "relinearised"), IMAGES
    )
    grey = IMAGES.mean().expand(1, 1, 32, 32)
    assert estimator.operator.A(grey).abs().max() == 0
    assert (estimator.operator.A(IMAGES) - estimator.operator.A(IMAGES.flip(0))).abs().max() > 1


def test_an_interrupted_measurement_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tomography, "squared_errors", lambda case: [0.01, 0.02])
    path = tmp_path / "tomography.json"
    monkeypatch.setattr(tomography, "QUICK", CASES[:1])
    assert list(tomography.run(path, quick=True)["squared_error"]) == [CASES[0].name]
    monkeypatch.setattr(tomography, "squared_errors", lambda case: [0.03])
    monkeypatch.setattr(tomography, "CASES", CASES[:2])
    found = tomography.run(path)["squared_error"]
    assert found == {CASES[0].name: [0.01, 0.02], CASES[1].name: [0.03]}
    assert set(tomography.results(path)["machine"]) >= {"device", "torch"}


def test_the_shipped_results_are_complete():
    shipped = tomography.results()["squared_error"]
    assert set(shipped) == {case.name for case in CASES}
    assert {len(errors) for errors in shipped.values()} == {tomography.PHOTOGRAPHS}


def test_names_of_cases_are_distinct():
    assert len({case.name for case in CASES}) == len(CASES)
    assert Case(Fault(2.0, 0.5, 0.1)).fault.name == "jitter 2, centre 0.5, saturation 0.1"

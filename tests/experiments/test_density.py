"""Models measured on other data, against the density of the patches."""

import json

import pytest
import torch
from untrained import save_untrained

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.estimators import LEMMSE
from lemmse.experiments import comparison, density
from lemmse.metrics import psnr
from lemmse.zoo import Spec

NAMES = [f"photos-grey/denoising/{kind}-p3-n6" for kind in ("patchmlp", "resnet")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two untrained models of one problem."""
    return save_untrained(NAMES, tmp_path_factory.mktemp("zoo"))


def measure(names, out, folder, images=2, sigmas=(0.2,), on="photos-grey"):
    options = {"models": tuple(names), "folder": folder, "images": images, "sigmas": sigmas}
    return density.run(out, on=(on,), **options)


@pytest.fixture
def measured(folder, tmp_path):
    out = tmp_path / "density.json"
    return measure(NAMES, out, folder), out


def test_fitted_cuts_the_centre_and_adds_zeros():
    x = 0.1 + torch.rand(2, 1, 6, 5)
    assert torch.equal(density.fitted(x, (4, 3)), x[..., 1:5, 1:4])
    larger = density.fitted(x, (8, 8))
    assert torch.equal(larger[..., 1:7, 1:6], x)
    assert larger.count_nonzero() == x.numel()
    assert torch.equal(density.fitted(x, (6, 5)), x)
    assert torch.equal(density.fitted(density.fitted(x, (9, 9)), (6, 5)), x)


def test_sides_are_those_of_the_data():
    for name in ("photos", "photos-grey"):
        assert density.image_size(name) == tuple(datasets.load(name, n=1).shape[2:])


def test_size_of_a_data_set_without_an_entry(monkeypatch):
    monkeypatch.setattr(density, "SIDES", {})
    assert density.image_size("photos-grey") == (32, 32)


def test_measurement_on_the_own_data_is_that_of_the_comparison():
    spec = Spec("photos-grey", "blur", "aware")
    ours = density.measurement(spec, "photos-grey", 0.1, 2)
    theirs = comparison.measurement(spec, "test", 0.1, 2)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_measurement_has_the_size_that_the_model_knows():
    truth, y = density.measurement(Spec("fashion-mnist", "inpainting"), "photos-grey", 0.1, 2)
    assert truth.shape == y.shape == (2, 1, 28, 28)
    assert torch.equal(truth, datasets.load("photos-grey", "test", 2)[..., 2:30, 2:30])


def test_profile_sorts_and_averages():
    generator = torch.Generator().manual_seed(0)
    log_density, squared = torch.rand(2, 3, 7, 5, generator=generator)
    bins = density.profile(log_density, squared, 4)
    assert bins["count"] == [27, 26, 26, 26]
    assert bins["log_density"] == sorted(bins["log_density"])
    rarest = log_density <= log_density.flatten().sort().values[26]
    assert bins["squared_difference"][0] == pytest.approx(squared[rarest].mean().item(), rel=1e-3)
    with pytest.raises(ValueError, match="at least 200"):
        density.profile(log_density, squared, 200)
    with pytest.raises(ValueError, match="one shape"):
        density.profile(log_density, squared[:2])


def test_rank_correlation_looks_at_the_order_only():
    x = torch.randn(200, generator=torch.Generator().manual_seed(0))
    assert density.rank_correlation(x, x.exp()) == pytest.approx(1)
    assert density.rank_correlation(x, -(x**3)) == pytest.approx(-1)
    assert abs(density.rank_correlation(x, x.flip(0))) < 0.5


def test_cells_agree_with_a_direct_computation(measured, folder):
    results, _ = measured
    truth, y = comparison.measurement(Spec.parse(NAMES[1]), "test", 0.2, 2)
    posterior = LEMMSE(datasets.load("photos-grey", n=6), patch_size=3).posterior(y, 0.2)
    output = zoo.load(NAMES[1], folder)(y, 0.2)
    cell = results[NAMES[1]]["photos-grey"]["cells"]["0.2"]
    expected = {
        "network_formula": psnr(output, posterior.mean),
        "network_truth": psnr(output, truth),
        "formula_truth": psnr(posterior.mean, truth),
        "log_density": posterior.log_density.mean((1, 2)),
    }
    for kind, values in expected.items():
        assert torch.tensor(cell[kind]) == pytest.approx(values, abs=1e-3)
    assert sum(cell["profile"]["count"]) == y.numel()
    mean = sum(
        count * value
        for count, value in zip(
            cell["profile"]["count"], cell["profile"]["squared_difference"], strict=True
        )
    )
    assert mean / y.numel() == pytest.approx((output - posterior.mean).square().mean().item(), 1e-3)


def test_results_say_where_they_come_from(measured, folder):
    results, out = measured
    entry = results[NAMES[0]]["photos-grey"]
    assert entry["sha256"] == zoo.card(NAMES[0], folder)["sha256"]
    assert entry["images"] == 2
    assert entry["size"] == [32, 32]
    assert entry["data"]["measured"] == datasets.checksum(datasets.load("photos-grey", "test", 2))
    assert entry["machine"]["lemmse"]
    assert entry["seed"] == density.SEED
    assert density.results(out) == json.loads(json.dumps(results))


def test_only_what_is_missing_is_computed(measured, folder, monkeypatch):
    before, out = measured
    computed = []

    real = comparison.formula

    def counted(spec, device):
        computed.append(spec.name)
        return real(spec, device)

    monkeypatch.setattr(comparison, "formula", counted)
    assert measure(NAMES, out, folder) == before
    assert computed == []
    after = measure(NAMES[:1], out, folder, sigmas=(0.2, 0.3))
    assert computed == NAMES[:1]
    cells = after[NAMES[0]]["photos-grey"]["cells"]
    assert list(cells) == ["0.2", "0.3"]
    assert cells["0.2"] == before[NAMES[0]]["photos-grey"]["cells"]["0.2"]
    assert after[NAMES[1]] == before[NAMES[1]]


def test_other_weights_or_images_are_measured_anew(measured, folder, tmp_path):
    before, out = measured
    again = measure(NAMES[:1], out, folder, images=1)
    cell = again[NAMES[0]]["photos-grey"]["cells"]["0.2"]
    assert (
        cell["network_truth"]
        == before[NAMES[0]]["photos-grey"]["cells"]["0.2"]["network_truth"][:1]
    )
    known = json.loads(out.read_text())
    known["results"][NAMES[0]]["photos-grey"] |= {"sha256": "other", "cells": {"0.2": None}}
    out.write_text(json.dumps(known))
    again = measure(NAMES[:1], out, folder, images=1)
    assert again[NAMES[0]]["photos-grey"]["cells"]["0.2"] == cell


def test_data_of_other_channels_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="expected images of 1 channels, those of photos have 3"):
        measure(NAMES, tmp_path / "x.json", folder, on="photos")
    assert not (tmp_path / "x.json").exists()


def test_the_command_writes_and_says_what_changed(folder, tmp_path, capsys):
    out = tmp_path / "density.json"
    words = ["--models", "*patchmlp*", "--on", "photos-grey", "--sigmas", "0.2", "--images", "1"]
    words = ["reproduce", "density", *words, "--folder", str(folder), "--out", str(out)]
    assert main(words) == 0
    assert "0 values compared with the shipped ones" in capsys.readouterr().out
    assert list(density.results(out)) == NAMES[:1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "0"], "expected a positive number"),
        (["--sigmas", "0"], "expected numbers in"),
        (["--on", "nothing"], "nothing"),
        (["--models", "none/*"], "there is no"),
        (["--seeds", "1"], "--seeds: density has no such option"),
    ],
)
def test_the_command_explains_errors(words, message, folder, tmp_path, capsys):
    options = ["--folder", str(folder), "--out", str(tmp_path / "x.json"), "--models", NAMES[0]]
    assert main(["reproduce", "density", *options, *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_without_models(tmp_path, capsys):
    words = ["--out", str(tmp_path / "x.json"), "--folder", str(tmp_path)]
    assert main(["reproduce", "density", *words]) == 2
    assert "no models" in capsys.readouterr().err


def test_published_results_belong_to_the_models():
    published = density.results()
    assert set(published) == set(density.chosen(density.MODELS, None))
    for name, entries in published.items():
        assert set(entries) == set(density.ON)
        for entry in entries.values():
            assert entry["sha256"] == zoo.card(name)["sha256"]
            assert set(entry["cells"]) == set(map(str, density.SIGMAS))
            for cell in entry["cells"].values():
                assert all(len(cell[kind]) == entry["images"] for kind in density.PSNRS)

"""Networks with physics inside in the zoo: names, training by the command line, cards, weights."""

import json

import pytest
import torch

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.experiments import comparison, restoration
from lemmse.metrics import psnr
from lemmse.networks import FullyLearned
from lemmse.zoo import PhysicsSpec, Spec

NAME = "photos-grey/tomography/svd"
DEEP = "photos-grey/blur/learned-k1"
SHIPPED = zoo.names(kind=PhysicsSpec)
BUDGET = 10e6  # bytes


def train(folder, *words):
    where = ["--out", str(folder), "--checkpoints", str(folder / "checkpoints")]
    return main(["train", *words, *where, "--steps", "3", "--batch", "2"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two models, hardly trained, from the command line."""
    folder = tmp_path_factory.mktemp("zoo")
    assert train(folder, NAME, DEEP) == 0
    return folder


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", zoo.catalogue(PhysicsSpec))
def test_a_name_says_it_all(name):
    spec = zoo.parse(name)
    assert isinstance(spec, PhysicsSpec)
    assert spec.name == name
    assert spec.settings.sigma == spec.sigma
    assert spec.settings.crop is None


def test_the_catalogue_has_two_kinds_and_no_name_twice():
    both = zoo.catalogue()
    kinds = (Spec, PhysicsSpec, zoo.VariantSpec)
    assert both == [name for kind in kinds for name in zoo.catalogue(kind)]
    assert len(set(both)) == len(both)
    assert isinstance(zoo.parse("photos-grey/blur/unet-p5-aware"), Spec)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos-grey/blur", "dataset/task/architecture-pP.* or dataset/task/network"),
        ("photos-grey/mri/svd", "task: expected one of blur, tomography, optics"),
        ("photos-grey/blur/wiener", "network: expected one of inverse, svd"),
        ("photos-grey/blur/svd-k3", "layers of svd: expected no layers, got 3"),
        ("photos-grey/blur/ista", "layers of ista: expected a number of layers"),
        ("photos-grey/blur/ista-k99999999999", "layers: expected at most 1000, got 99999999999"),
        ("photos-grey/blur/ista-k0", "layers of ista: expected a number of layers"),
    ],
)
def test_bad_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        zoo.parse(name)


# ---------------------------------------------------------------- training and cards


def test_train_writes_models_and_leaves_no_checkpoint(trained):
    assert zoo.names(trained) == [NAME, DEEP]
    assert zoo.names(trained, Spec) == []
    assert list((trained / "checkpoints").iterdir()) == []


def test_a_card_tells_how_it_was_made_and_how_well_it_does(trained):
    card = zoo.card(NAME, trained)
    assert card["data"]["checksum"] == datasets.checksum(datasets.load("photos-grey", n=1000))
    assert card["settings"]["steps"] == card["history"][-1]["step"] == 3
    assert set(card["history"][0]) == {"step", "loss", "psnr"}
    assert card["physics"] == "inside"
    assert zoo.card(DEEP, trained)["physics"] == "none"
    # The PSNR, by other means.
    spec, network = zoo.parse(NAME), zoo.load(NAME, trained)
    truth = datasets.load("photos-grey", "test", 100)
    _, y = comparison.measurement(spec, "test", 0.5, 100)
    mean = psnr(network(y, 0.5), truth).mean().item()
    assert card["psnr"]["test"]["0.5"]["network_truth"] == pytest.approx(mean, abs=0.01)
    assert card["psnr_images"] == 100


def test_a_loaded_model_has_its_operator_and_is_frozen(trained):
    network = zoo.load(NAME, trained)
    assert network.operator.example_measurement((1, 32, 32)).shape == (1, 1, 46, 24)
    assert not any(p.requires_grad for p in network.parameters())


def test_killed_and_resumed_gives_the_same_file(tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(whole, NAME) == 0
    real, calls = restoration.probe, []

    def probe(*arguments):
        measure = real(*arguments)

        def once(network):
            calls.append(network)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return measure(network)

        return once

    monkeypatch.setattr(restoration, "probe", probe)
    assert train(killed, NAME) == 130
    assert zoo.names(killed) == []
    monkeypatch.undo()
    assert train(killed, NAME, "--resume") == 0
    cards = [zoo.card(NAME, folder) for folder in (whole, killed)]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert cards[0]["history"] == cards[1]["history"]


def test_a_learned_network_takes_measurements_in_their_own_unit():
    spec = zoo.parse("photos-grey/tomography/learned-k1")
    problem = spec.pose(datasets.load("photos-grey", n=4))
    network = spec.fresh(problem)
    y = problem.clean()
    expected = torch.stack([y.mean(), y.std(correction=0)])
    torch.testing.assert_close(network.unit, expected)


def test_models_lists_both_kinds_and_the_comparison_takes_local_ones_only(trained, capsys):
    assert main(["models", "--folder", str(trained)]) == 0
    assert NAME in capsys.readouterr().out
    assert main(["reproduce", "comparison", "--folder", str(trained)]) == 2
    assert "no models" in capsys.readouterr().err


def test_crops_are_refused(tmp_path, capsys):
    assert train(tmp_path, NAME, "--crop", "4") == 2
    assert "crop: expected None for SVDNet" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["inverse", "svd", "gradient-k2", "ista-k2", "lista-k2"])
@pytest.mark.parametrize("task", ["blur", "tomography"])
def test_networks_with_the_operator_inside_are_trained_in_bfloat16(tmp_path, task, network):
    assert train(tmp_path, f"photos-grey/{task}/{network}", "--precision", "bfloat16") == 0


@pytest.mark.parametrize("network", ["proximal-k1", "learned-k1"])
def test_networks_with_convolutions_are_trained_in_bfloat16(tmp_path, network):
    assert train(tmp_path, f"photos-grey/tomography/{network}", "--precision", "bfloat16") == 0


# ---------------------------------------------------------------- what ships


def test_something_ships_and_keeps_within_the_budget():
    assert SHIPPED
    files = [zoo.store.WEIGHTS / f"{name}.safetensors" for name in SHIPPED]
    assert sum(file.stat().st_size for file in files) <= BUDGET


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_is_the_one_of_its_card(name):
    spec, network, card = zoo.parse(name), zoo.load(name), zoo.card(name)
    assert card["parameters"] == sum(p.numel() for p in network.parameters())
    assert card["settings"]["seed"] == 0
    assert card["precision_cost"] <= 0.05
    data = datasets.load(spec.dataset, n=spec.images)
    assert card["data"]["checksum"] == datasets.checksum(data)
    truth, y = restoration.measurement(spec, "test", 8)
    value = psnr(network(y, spec.sigma), truth).mean().item()
    mean = card["psnr"]["test"][str(spec.sigma)]["network_truth"]
    assert value == pytest.approx(mean, abs=2.5)  # eight images of a hundred
    assert json.dumps(card)
    assert isinstance(network, FullyLearned) == (spec.physics == "none")

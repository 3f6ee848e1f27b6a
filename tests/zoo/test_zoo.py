"""The zoo: names, cards, verification; and the models that ship with the package."""

import json
import os
from pathlib import Path

import pytest
import torch
from processes import Process

from lemmse import zoo
from lemmse.experiments import comparison
from lemmse.zoo import Spec

SHIPPED = zoo.names(kind=Spec)
BUDGET = 60e6  # bytes


@pytest.fixture
def stored(tmp_path):
    """A model with random weights, written to an empty folder."""
    spec = Spec("photos-grey", "blur", "aware", architecture="patchmlp")
    torch.manual_seed(0)
    network = spec.network(1)
    path = zoo.save(network, spec, {"data": {"images": 3}}, tmp_path)
    return network, spec, path, tmp_path


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", zoo.catalogue(Spec))
def test_a_name_says_it_all(name):
    assert Spec.parse(name).name == name


def test_catalogue_is_the_grid_of_the_plan():
    specs = [Spec.parse(name) for name in zoo.catalogue(Spec)]
    assert len(specs) == len(set(specs)) == 93
    many = [s for s in specs if s.images >= zoo.MANY]
    assert specs[: len(many)] == many  # the claim at its scale comes first
    problems = {(s.dataset, s.task, s.physics) for s in many if s.patch_size == 5}
    assert {name for name, *_ in problems} == {"fashion-mnist", "cifar10", "photos-grey"}
    assert len(problems) == 3 * 5
    for patch_size, count in ((7, 3), (9, 3), (11, 3), (17, 1)):
        wider = [s for s in many if s.patch_size == patch_size]
        assert len(wider) == count
        assert {(s.dataset, s.task) for s in wider} == {("fashion-mnist", "denoising")}
    assert sum(s.dataset == "fashion-mnist" and s.patch_size == 5 for s in many) == 5 * 3
    assert all(s.architecture == "patchmlp" for s in many[:6])
    # Small training sets: two data sets whole, the others with PatchMLP.
    small = [s for s in specs if (s.patch_size, s.images) == (5, 1000) and s.physics != "pinv"]
    small = [s for s in small if s.task in zoo.STUDIED]
    assert len(small) == 2 * 5 * 3 + 2 * 5
    chapters = [s for s in specs if s.task not in zoo.STUDIED]
    assert {s.task for s in chapters} == {"mri4", "mri8", "sampling"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos/denoising", "of the form dataset/task"),
        ("photos/sharpening/unet-p5", "task: expected one of denoising, inpainting, blur"),
        ("photos/denoising/vit-p5", "architecture: expected one of unet, resnet, patchmlp"),
        ("photos/denoising/unet-p5-aware", "physics of denoising: expected agnostic, got 'aware'"),
    ],
)
def test_bad_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        Spec.parse(name)


def test_agnostic_and_aware_mri_see_the_same_image_and_other_noise():
    x = torch.rand(2, 1, 16, 16)
    quiet = torch.full((2,), 1e-6)
    agnostic, aware = (Spec("photos-grey", "mri4", physics) for physics in ("agnostic", "aware"))
    seen = agnostic.pose(x).measured(x, quiet, None)
    # A^T A x is what the adjoint makes of the pseudo-inverse's image measured again.
    mri = aware.operator((16, 16))
    again = aware.pose(x).measured(x, quiet, None)
    torch.testing.assert_close(seen, mri.A_adjoint(mri.A(again)), rtol=0, atol=1e-4)
    assert agnostic.pose(x).preinverse.noise.spectrum.std() < 1e-6  # white
    assert aware.pose(x).preinverse.noise.spectrum.std() > 0.1


def test_networks_for_sampling_are_trained_at_larger_noise_levels():
    spec = Spec.parse("photos-grey/sampling/patchmlp-p5-n60")
    assert spec.name == "photos-grey/sampling/patchmlp-p5-n60"
    network = spec.network(1)
    assert network(torch.rand(1, 1, 8, 8), 4.0).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"sigma: expected values in \(0, 4.0\], got 4.5"):
        network(torch.rand(1, 1, 8, 8), 4.5)


# ---------------------------------------------------------------- writing and reading


def test_a_stored_model_comes_back(stored):
    network, spec, path, folder = stored
    again = zoo.load(spec.name, folder)
    z = torch.rand(2, 1, 9, 9)
    torch.testing.assert_close(again(z, 0.3), network(z, 0.3), rtol=0, atol=2e-3)
    assert not torch.equal(again(z, 0.3), network(z, 0.3))  # 16 bits were kept
    assert torch.equal(again.skip.statistics, network.skip.statistics)  # 32 of these
    assert zoo.names(folder) == [spec.name]
    assert zoo.card(spec.name, folder)["data"] == {"images": 3}
    assert path.stat().st_size == zoo.card(spec.name, folder)["bytes"]


def test_what_is_measured_before_storing_is_what_comes_back(stored):
    network, spec, _, folder = stored
    network.load_state_dict(zoo.rounded(network))
    z = torch.rand(2, 1, 9, 9)
    assert torch.equal(zoo.load(spec.name, folder)(z, 0.3), network(z, 0.3))


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + b"\x07", lambda b: None])
def test_a_damaged_file_is_refused(stored, damage):
    _, spec, path, folder = stored
    content = damage(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match="expected .* bytes with sha256 .* get the file anew"):
        zoo.load(spec.name, folder)


@pytest.mark.parametrize(
    "name", ["photos-grey/blur/patchmlp-p5-awar", "x", "photos-grey/blur/../x"]
)
def test_what_exists_is_named_when_something_else_is_asked_for(stored, name):
    _, spec, _, folder = stored
    with pytest.raises(ValueError, match=spec.name):
        zoo.load(name, folder)


@pytest.mark.parametrize("change", [{}, [], None, {"name": "x"}, 3])
def test_a_file_that_is_no_card_is_named(stored, change):
    _, spec, path, folder = stored
    path.with_suffix(".json").write_text(json.dumps(change))
    with pytest.raises(ValueError, match="patchmlp-p5-aware.json: expected a card with arch"):
        zoo.load(spec.name, folder)


def test_other_files_among_the_models_are_left_alone(stored):
    _, spec, path, folder = stored
    for name in ("x.json", "x/y.json", "photos-grey/blur/notes.json", "a/b/c.json"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("{}")
    assert zoo.names(folder) == [spec.name]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    for call in (zoo.names, lambda folder: zoo.load("photos/denoising/unet-p5", folder)):
        with pytest.raises(ValueError, match="folder: expected an existing folder, got .*nope"):
            call(tmp_path / "nope")


def test_weights_that_are_not_finite_are_not_written(stored):
    network, spec, path, folder = stored
    before = path.read_bytes()
    next(network.parameters()).data[0] = float("nan")
    with pytest.raises(ValueError, match="is not finite; nothing was written"):
        zoo.save(network, spec, {}, folder)
    assert path.read_bytes() == before


# ---------------------------------------------------------------- kills


def save_and_die(send, networks, spec, folder, at):
    """Saves networks one after the other, and ends at one of the replacements of files."""
    real, calls = Path.replace, []

    def replace(path, target):
        calls.append(path)
        if len(calls) == at:
            os._exit(9)
        return real(path, target)

    Path.replace = replace
    for i, network in enumerate(networks):
        zoo.save(network, spec, {"data": {"i": i}}, folder)
    os._exit(0)


def networks_of(spec, count):
    networks = []
    for seed in range(count):
        torch.manual_seed(seed + 1)
        networks.append(spec.network(1))
    return networks


def test_whenever_it_is_killed_there_is_a_whole_model(stored):
    old, spec, path, folder = stored
    networks, z = networks_of(spec, 2), torch.rand(1, 1, 9, 9)
    expected = [old, *networks]
    for at in range(1, 8):
        zoo.save(old, spec, {"data": {"i": -1}}, folder)
        code = Process(save_and_die, networks, spec, folder, at).wait()
        assert code == (9 if at <= 6 else 0)  # three replacements a model
        which = zoo.card(spec.name, folder)["data"]["i"]
        output = zoo.load(spec.name, folder)(z, 0.3)
        torch.testing.assert_close(output, expected[which + 1](z, 0.3), rtol=0, atol=2e-3)
        # A second kill does not find the model in pieces, either.
        for again in (1, 2, 3):
            Process(save_and_die, networks[:1], spec, folder, again).wait()
            assert zoo.load(spec.name, folder)(z, 0.3).isfinite().all()
    zoo.save(old, spec, {"data": {}}, folder)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "patchmlp-p5-aware.json",
        "patchmlp-p5-aware.safetensors",
    ]


def test_patterns():
    names = zoo.catalogue(Spec)
    assert len(zoo.matching(["photos/*", "photos/blur/patch*"], names)) == 5
    with pytest.raises(ValueError, match="there is no 'foto/\\*'"):
        zoo.matching(["foto/*"], names)


@pytest.mark.parametrize("name", [None, 3, "x", "x" * 10**6, list(range(10**6)), b"a"])
def test_an_unknown_model_is_told_in_a_line(name):
    for function, told in (
        (zoo.load, "python -m lemmse models"),
        (zoo.card, "python -m lemmse models"),
        (zoo.parse, "of the form"),
    ):
        with pytest.raises(ValueError, match=f"model: .*{told}") as caught:
            function(name)
        assert len(str(caught.value)) < 300


# ---------------------------------------------------------------- what ships


def test_something_ships_and_keeps_within_the_budget():
    assert SHIPPED
    assert sum(file.stat().st_size for file in zoo.store.WEIGHTS.rglob("*.*")) <= BUDGET


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_loads_and_its_card_is_complete(name):
    network, card = zoo.load(name), zoo.card(name)
    spec = Spec.parse(name)
    assert card["name"] == name
    assert network.patch_size == spec.patch_size
    assert card["parameters"] == sum(p.numel() for p in network.parameters())
    assert card["data"]["dataset"] == spec.dataset
    assert card["data"]["images"] == spec.images
    assert len(card["data"]["checksum"]) == 64
    assert card["settings"]["seed"] == 0
    assert card["settings"]["steps"] == card["history"][-1]["step"]
    assert card["precision_cost"] <= 0.1
    assert card["seconds"] > 0
    assert {"device", "torch", "lemmse"} <= set(card["machine"])
    output = network(torch.rand(1, network.channels, 16, 16), 0.3)
    assert output.isfinite().all()


@pytest.mark.parametrize("name", [n for n in comparison.few(None) if n.startswith("photos-grey/")])
def test_shipped_results_are_those_of_the_shipped_weights(name):
    spec = Spec.parse(name)
    assert comparison.problem(spec).images.shape[0] == spec.images
    results = comparison.results()
    assert results[name]["sha256"] == zoo.card(name)["sha256"]
    assert zoo.card(name)["psnr"] == comparison.summary(results[name])
    assert zoo.card(name)["psnr_images"] == results[name]["images"]
    # One cell that needs no LE-MMSE, computed anew: the network against the truth.
    x, y = comparison.measurement(spec, "test", 0.2, 4)
    output = comparison.answer(zoo.load(name), spec, y, 0.2)
    expected = results[name]["psnr"]["test"]["0.2"]["network_truth"][:4]
    again = comparison.psnr(output, x).tolist()
    assert again == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", [None, 3, "", "photos", ["photos/denoising/unet-p5"]])
def test_a_model_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="model"):
        zoo.load(name)


def test_a_spec_of_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="data set: expected one of"):
        Spec("nowhere", "denoising")

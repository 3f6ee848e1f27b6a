"""The comparison of networks with the formula, and the commands around it."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.estimators import LEMMSE
from lemmse.experiments import comparison
from lemmse.metrics import psnr
from lemmse.operators import Blur
from lemmse.zoo import Spec

NAME = "photos-grey/blur/patchmlp-p3-aware-n8"
TRAIN = ["--steps", "4", "--batch", "4", "--crop", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two small models of one problem, from the command line."""
    folder = tmp_path_factory.mktemp("zoo")
    other = NAME.replace("patchmlp", "resnet")
    options = ["--out", str(folder), "--checkpoints", str(folder / "checkpoints"), *TRAIN]
    assert main(["train", NAME, other, *options]) == 0
    return folder, [NAME, other]


def reproduce(folder, out, *options):
    words = ["reproduce", "comparison", "--folder", str(folder), "--out", str(out)]
    return main([*words, "--images", "2", *options])


def written(out):
    return json.loads(out.read_text())["results"]


def test_train_writes_models_and_leaves_no_checkpoint(trained):
    folder, names = trained
    assert zoo.names(folder) == names
    assert list((folder / "checkpoints").iterdir()) == []
    card = zoo.card(NAME, folder)
    images = datasets.load("photos-grey", n=8)
    assert card["data"]["checksum"] == datasets.checksum(images)
    assert card["settings"]["steps"] == card["history"][-1]["step"] == 4
    assert set(card["history"][0]) == {"step", "loss", "0.1", "0.2", "0.5", "1.0"}


def test_train_again_skips_what_is_there(trained, capsys):
    folder, _ = trained
    before = (folder / f"{NAME}.safetensors").stat().st_mtime_ns
    assert main(["train", NAME, "--out", str(folder), *TRAIN]) == 0
    assert "already there" in capsys.readouterr().out
    assert (folder / f"{NAME}.safetensors").stat().st_mtime_ns == before


def test_training_is_reproducible(trained, tmp_path):
    folder, _ = trained
    options = ["--out", str(tmp_path), "--checkpoints", str(tmp_path / "c"), *TRAIN]
    assert main(["train", NAME, *options]) == 0
    assert zoo.card(NAME, tmp_path)["sha256"] == zoo.card(NAME, folder)["sha256"]


def test_killed_by_the_system_and_resumed_gives_the_same_file(tmp_path):
    steps = ["--steps", "80", "--batch", "4", "--crop", "2"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    words = ["train", NAME, *steps, "--out", str(tmp_path / "whole")]
    assert main([*words, "--checkpoints", str(tmp_path / "whole" / "c")]) == 0

    words = ["train", NAME, *steps, "--out", str(tmp_path / "killed")]
    words += ["--checkpoints", str(tmp_path / "killed" / "c")]
    checkpoint = tmp_path / "killed" / "c" / f"{NAME.replace('/', '-')}.pt"
    # As many threads as this process: sums of another order would differ in the last bit.
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "lemmse", *words], stderr=subprocess.DEVNULL, env=one_thread
    )
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert zoo.names(tmp_path / "killed") == []  # it was killed before the end
    assert 0 < torch.load(checkpoint, weights_only=True)["step"] < 80

    assert main([*words, "--resume"]) == 0
    cards = [zoo.card(NAME, tmp_path / name) for name in ("whole", "killed")]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert cards[0]["history"] == cards[1]["history"]


def test_it_computes_what_it_says(trained, tmp_path):
    folder, names = trained
    out = tmp_path / "results.json"
    assert reproduce(folder, out) == 0
    results = written(out)
    assert set(results) == set(names)
    for split in ("train", "test"):
        assert list(results[NAME]["psnr"][split]) == [str(s) for s in sorted(comparison.SIGMAS)]
    # One cell by other means.
    x = datasets.load("photos-grey", "test", 2)
    blur = Blur.gaussian(1.0, (32, 32))
    _, y = comparison.measurement(Spec.parse(NAME), "test", 0.2, 2)
    estimator = LEMMSE(datasets.load("photos-grey", n=8), blur, preinverse="tikhonov", patch_size=3)
    output = zoo.load(NAME, folder)(blur.A_tikhonov(y, 0.01), 0.2)
    cell = results[NAME]["psnr"]["test"]["0.2"]
    assert cell["network_formula"] == pytest.approx(
        psnr(output, estimator(y, 0.2)).tolist(), abs=1e-2
    )
    assert cell["network_truth"] == pytest.approx(psnr(output, x).tolist(), abs=1e-2)
    assert cell["formula_truth"] == pytest.approx(psnr(estimator(y, 0.2), x).tolist(), abs=1e-2)
    entry = results[NAME]
    assert entry["data"]["trained on"] == zoo.card(NAME, folder)["data"]["checksum"]
    assert entry["data"]["test"] == datasets.checksum(x)
    assert {"lemmse", "torch", "date"} <= set(entry["machine"])
    mean = sum(cell["network_truth"]) / 2
    summary = comparison.summary(entry)["test"]["0.2"]
    assert summary["network_truth"] == pytest.approx(mean, abs=0.01)
    assert "psnr" not in zoo.card(NAME, folder)  # only published results are written on cards


def test_it_goes_on_where_it_was(trained, tmp_path, monkeypatch):
    folder, names = trained
    out = tmp_path / "results.json"
    estimates = []
    real = comparison.formula

    def counting(spec, device):
        estimator = real(spec, device)

        def call(y, sigma):
            estimates.append(sigma)
            if len(estimates) == 5:
                raise KeyboardInterrupt
            return estimator(y, sigma)

        return call

    monkeypatch.setattr(comparison, "formula", counting)
    assert reproduce(folder, out) == 130
    assert len(written(out)[NAME]["psnr"]["train"]) == 4
    assert reproduce(folder, out) == 0
    cells = len(comparison.SPLITS) * len(comparison.SIGMAS)
    # Once for both models, nothing twice but the cell that was interrupted.
    assert len(estimates) == cells + 1
    assert reproduce(folder, out) == 0
    assert len(estimates) == cells + 1


def test_new_weights_make_old_results_void(trained, tmp_path):
    folder, _ = trained
    out = tmp_path / "results.json"
    assert reproduce(folder, out, "--models", NAME) == 0
    content = json.loads(out.read_text())
    content["results"][NAME]["sha256"] = "0" * 64
    content["results"][NAME]["psnr"]["test"]["0.2"]["network_truth"] = [0.0, 0.0]
    out.write_text(json.dumps(content))
    assert reproduce(folder, out, "--models", NAME) == 0
    cell = written(out)[NAME]["psnr"]["test"]["0.2"]
    assert min(cell["network_truth"]) > 5


def test_models_lists_shows_and_tells_what_is_missing(trained, capsys):
    folder, names = trained
    assert main(["models", "--folder", str(folder)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    assert main(["models", NAME, "--folder", str(folder)]) == 0
    assert "checksum" in capsys.readouterr().out
    assert main(["models", "--missing", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == zoo.catalogue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "photos-grey/denoising/vit-p5"], "architecture: expected one of"),
        (["train", "fotos/*"], "there is no 'fotos/*'"),
        (["train", NAME, "--steps", "0"], "steps: expected a positive integer"),
        (["train", "fashion/denoising/unet-p5"], "data set: expected one of"),
        (["reproduce", "comparison", "--models", "x*"], "there is no 'x*'"),
        (["reproduce", "comparison", "--images", "0"], "images: expected a positive number"),
        (["models", "photos/denoising/none"], "there is no"),
    ],
)
def test_errors_are_one_line(words, message, capsys, tmp_path):
    if words[0] == "train":
        words = [*words, "--out", str(tmp_path), "--checkpoints", str(tmp_path)]
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_probe_measures_distance_to_the_formula():
    spec = Spec.parse("photos-grey/denoising/patchmlp-p3-n8")
    estimator = comparison.formula(spec)

    class Formula(torch.nn.Module):
        def forward(self, z, sigma):
            return estimator(z, sigma) + 0.1

    values = comparison.probe(spec)(Formula())
    assert list(values.values()) == pytest.approx([20.0] * 4, abs=1e-3)

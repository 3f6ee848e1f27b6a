"""The command line, called as a function and once as a process."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lemmse import datasets, metrics
from lemmse.__main__ import main
from lemmse.estimators import LEMMSE
from lemmse.operators import Blur

OPERATORS = ("denoising", "inpainting", "blur", "mri", "tomography")
ESTIMATORS = ("lemmse", "lmmse", "emmse", "mmse")


@pytest.fixture(autouse=True)
def offline_and_empty(monkeypatch, tmp_path):
    monkeypatch.delenv("LEMMSE_DATA", raising=False)
    monkeypatch.setenv("LEMMSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LEMMSE_OFFLINE", "1")


@pytest.fixture
def faces(tmp_path):
    """A data set of twenty 12 x 12 random images."""
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for i in range(20):
        pixels = rng.integers(0, 256, (12, 12), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{i:02}.png")
    return f"folder:{tmp_path / 'faces'}"


def estimate(tmp_path, dataset, *options):
    """Run `estimate` on few images; returns its exit code and the path of the figure."""
    out = tmp_path / "result.png"
    words = ["estimate", "--dataset", dataset, "--images", "18", "--count", "2", "--size", "5"]
    words += ["--patch-size", "3", "--angles", "6", "--acceleration", "3"]
    return main([*words, "--out", str(out), *options]), out


def error_line(capsys):
    """What stands on stderr, which has to be one line and no traceback."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "error:" in text
    return text


# ---------------------------------------------------------------- estimate


@pytest.mark.parametrize("operator", OPERATORS)
def test_estimate_with_every_operator(tmp_path, faces, capsys, operator):
    code, out = estimate(tmp_path, faces, "--operator", operator, "--posterior")
    assert code == 0
    with Image.open(out) as figure:
        assert min(figure.size) > 100
    printed = capsys.readouterr().out
    assert "mean" in printed
    assert str(out) in printed


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimate_with_every_estimator(tmp_path, faces, estimator):
    code, out = estimate(tmp_path, faces, "--estimator", estimator)
    assert code == 0
    assert out.is_file()


def test_the_arrays_are_what_the_package_computes(tmp_path, faces, capsys):
    save = tmp_path / "result.npz"
    options = ["--operator", "blur", "--std", "0.8", "--preinverse", "pinv", "--sigma", "0.2"]
    assert estimate(tmp_path, faces, *options, "--seed", "3", "--save", str(save))[0] == 0
    arrays = {name: torch.from_numpy(array) for name, array in np.load(save).items()}
    assert set(arrays) == {"truth", "measurement", "estimate"}

    blur = Blur.gaussian(0.8, (12, 12))
    truth = datasets.load(faces, "test")
    y = blur.measure(truth, 0.2, torch.Generator().manual_seed(3))
    x_hat = LEMMSE(datasets.load(faces), blur, preinverse="pinv", patch_size=3)(y, 0.2)
    assert torch.equal(arrays["truth"], truth)
    assert torch.equal(arrays["measurement"], y)
    assert torch.allclose(arrays["estimate"], x_hat, atol=1e-5)

    printed = capsys.readouterr().out
    for value in metrics.psnr(arrays["estimate"], truth):
        assert f"{value:.2f}" in printed


def test_symmetry(tmp_path, faces):
    save = tmp_path / "result.npz"
    assert estimate(tmp_path, faces, "--symmetry", "d4", "--save", str(save))[0] == 0
    arrays = {name: torch.from_numpy(array) for name, array in np.load(save).items()}
    symmetric = LEMMSE(datasets.load(faces), patch_size=3, symmetry="d4")
    assert torch.allclose(arrays["estimate"], symmetric(arrays["measurement"], 0.1), atol=1e-5)


def test_more_test_images_than_a_batch(tmp_path, capsys):
    out, save = tmp_path / "result.pdf", tmp_path / "result.npz"
    words = ["estimate", "--images", "20", "--count", "6", "--patch-size", "3", "--posterior"]
    assert main([*words, "--out", str(out), "--save", str(save)]) == 0
    arrays = np.load(save)
    assert arrays["estimate"].shape == arrays["deviation"].shape == (6, 1, 32, 32)
    assert (arrays["deviation"] >= 0).all()
    assert out.read_bytes().startswith(b"%PDF")


def test_a_failure_leaves_no_half_figure(tmp_path, faces, monkeypatch, capsys):
    def broken(self, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    code, out = estimate(tmp_path, faces)
    assert code == 2
    assert "disk full" in capsys.readouterr().err
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]


def test_an_interruption_is_quiet(tmp_path, faces, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "load", interrupted)
    assert estimate(tmp_path, faces)[0] == 130
    assert capsys.readouterr().err == "lemmse: interrupted\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--dataset", "photo"], "did you mean 'photos'"),
        (["--dataset", "fashion-mnist"], "LEMMSE_OFFLINE is set"),
        (["--images", "0"], "positive integer"),
        (["--images", "19"], "at most 18"),
        (["--count", "3"], "at most 2"),
        (["--sigma", "0"], "sigma"),
        (["--sigma", "-1"], "sigma"),
        (["--patch-size", "4"], "odd"),
        (["--patch-size", "13"], "13"),
        (["--operator", "inpainting", "--size", "13"], "13"),
        (["--operator", "blur", "--std", "0"], "std"),
        (["--operator", "mri", "--acceleration", "0.5"], "acceleration"),
        (["--operator", "mri", "--preinverse", "identity"], "real"),
        (["--operator", "tomography", "--angles", "0"], "--angles"),
        (["--operator", "blur", "--preinverse", "fbp"], "fbp"),
        (["--estimator", "mmse", "--symmetry", "d4"], "--symmetry"),
        (["--out", "result.txt"], "result.txt: expected a name that ends in"),
        (["--out", "nowhere/result.png"], "existing folder"),
        (["--save", "result.mat"], ".npz"),
    ],
)
def test_bad_input_of_estimate_is_one_line(tmp_path, faces, capsys, options, says):
    code, out = estimate(tmp_path, faces, *options)
    assert code == 2
    assert says in error_line(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "command"),
        (["estimat"], "estimat"),
        (["estimate", "--operator", "blurr"], "blurr"),
        (["estimate", "--images", "many"], "--images"),
        (["estimate", "--bogus"], "--bogus"),
        (["data", "fetch"], "name"),
    ],
)
def test_bad_words_are_one_line(capsys, words, says):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert says in error_line(capsys)


# ---------------------------------------------------------------- data


def test_data_lists_all_and_says_where(capsys):
    assert main(["data"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(datasets.NAMES) <= set(lines)
    assert "10000    2000" in lines["photos"]
    assert "data fetch cifar10" in lines["cifar10"]


def test_data_verify_prints_the_checksum(capsys, faces):
    assert main(["data", "verify", faces]) == 0
    assert datasets.checksum(datasets.load(faces, "test")) in capsys.readouterr().out


def test_data_verify_without_a_name_passes_over_what_is_not_here(capsys, monkeypatch):
    monkeypatch.setattr(datasets, "NAMES", ("photos-grey", "cifar10"))
    monkeypatch.setattr(datasets.photos, "COUNTS", {"train": 20, "test": 10})
    assert main(["data", "verify"]) == 0
    out = capsys.readouterr().out
    assert "photos-grey train: 20 images, sha256" in out
    assert "cifar10 test: not on this machine" in out


def test_data_verify_of_what_is_not_here_is_an_error(capsys):
    assert main(["data", "verify", "cifar10"]) == 2
    assert "data fetch cifar10" in error_line(capsys)


def test_data_verify_names_a_broken_file(capsys, tmp_path, monkeypatch):
    path = tmp_path / "own" / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>")
    monkeypatch.setenv("LEMMSE_DATA", str(tmp_path / "own"))
    assert main(["data", "verify", "fashion-mnist"]) == 2
    assert str(path) in error_line(capsys)


def test_data_fetch_offline_says_what_to_do(capsys):
    assert main(["data", "fetch", "cifar10"]) == 2
    assert "LEMMSE_OFFLINE is set" in error_line(capsys)


def test_data_fetch_of_what_is_here(capsys, faces):
    assert main(["data", "fetch", faces]) == 0
    assert faces in capsys.readouterr().out


def test_as_a_process():
    run = subprocess.run(
        [sys.executable, "-m", "lemmse", "data", "fetch", "fashionmnist"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LEMMSE_OFFLINE": "1"},
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert "did you mean 'fashion-mnist'" in run.stderr
    assert run.stderr.count("\n") == 1


def test_torchrun_shares_the_training_set(tmp_path, faces):
    """Two processes write one figure and the arrays that one process writes."""
    words = ["-m", "lemmse", "estimate", "--dataset", faces, "--images", "17", "--count", "2"]
    words += ["--patch-size", "3", "--out", str(tmp_path / "r.png"), "--save"]
    alone, together = tmp_path / "alone.npz", tmp_path / "together.npz"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for prefix, path in (([], alone), (launch, together)):
        command = [sys.executable, *prefix, *words, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("figure:") == 1
    with np.load(alone) as first, np.load(together) as second:
        np.testing.assert_allclose(second["estimate"], first["estimate"], atol=1e-5)

"""The command line, called as a function and once as a process."""

import builtins
import io
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
from lemmse.operators import Blur, Mask

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
    words = ["estimate", "--dataset", dataset, "--images", "18", "--out", str(out), *options]
    usual = {
        "--count": "2",
        "--patch-size": "3",
        **OF_OPERATOR.get(word_after("--operator", words)),
    }
    if word_after("--estimator", words) in ("mmse", "emmse"):
        del usual["--patch-size"]
    given = {name: value for name, value in usual.items() if name not in words}
    return main([*words, *(word for pair in given.items() for word in pair)]), out


OF_OPERATOR = {
    None: {},
    "denoising": {},
    "inpainting": {"--size": "5"},
    "blur": {},
    "mri": {"--acceleration": "3"},
    "tomography": {"--angles": "6"},
}


def word_after(option, words):
    return words[words.index(option) + 1] if option in words else None


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


def test_a_full_disk_at_the_arrays_leaves_the_figure(tmp_path, faces, monkeypatch, capsys):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    code, out = estimate(tmp_path, faces, "--save", str(tmp_path / "arrays.npz"))
    assert code == 2
    assert "No space left" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", out.name]


# ---------------------------------------------------------------- an image of one's own


@pytest.fixture
def noisy(tmp_path, faces):
    """The first test image, noisy, as a file, and as it is read."""
    x = datasets.load(faces, "test", 1)
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "noisy.png"
    Image.fromarray((y.clamp(0, 1) * 255).round().byte()[0, 0].numpy()).save(path)
    return path, datasets.read_image(path)


def restore(tmp_path, dataset, path, *options):
    out = tmp_path / "restored.png"
    words = ["--dataset", dataset, "--input", str(path), "--out", str(out), *options]
    return main(["estimate", "--images", "18", "--patch-size", "3", *words]), out


@pytest.mark.parametrize("operator", ["denoising", "blur", "inpainting"])
def test_an_image_of_ones_own_is_restored(tmp_path, faces, noisy, capsys, operator):
    path, y = noisy
    own = {"blur": ["--std", "0.8"], "inpainting": ["--size", "3"]}.get(operator, [])
    save = tmp_path / "arrays.npz"
    options = ["--operator", operator, *own, "--save", str(save), "--posterior"]
    code, out = restore(tmp_path, faces, path, *options)
    assert code == 0
    assert f"image: {out}" in capsys.readouterr().out
    made = {
        "denoising": None,
        "blur": Blur.gaussian(0.8, (12, 12)),
        "inpainting": Mask.central(3, (12, 12)),
    }[operator]
    expected = LEMMSE(datasets.load(faces), made, patch_size=3)(y, 0.1)
    assert torch.allclose(datasets.read_image(out), expected.clamp(0, 1), atol=0.51 / 255)
    arrays = np.load(save)
    assert set(arrays) == {"measurement", "estimate", "deviation"}
    np.testing.assert_allclose(arrays["estimate"], expected, atol=1e-5)


@pytest.mark.parametrize("operator", ["denoising", "blur"])
def test_an_image_of_any_size_is_restored(tmp_path, faces, capsys, operator):
    y = torch.rand(1, 1, 20, 31, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "large.png"
    Image.fromarray((y * 255).round().byte()[0, 0].numpy()).save(path)
    aware = ["--std", "0.5", "--preinverse", "tikhonov"] if operator == "blur" else []
    code, out = restore(tmp_path, faces, path, "--operator", operator, *aware)
    assert code == 0
    said = capsys.readouterr()
    assert "31 x 20 pixels restored in" in said.out
    assert "620/620" in said.err
    made = {size: Blur.gaussian(0.5, size) for size in [(12, 12), (20, 31)]}
    small, large = made.values() if aware else (None, None)
    kind = "tikhonov" if aware else None
    estimate = LEMMSE(datasets.load(faces), small, kind, patch_size=3)
    expected = estimate(datasets.read_image(path), 0.1, operator=large).clamp(0, 1)
    assert torch.allclose(datasets.read_image(out), expected, atol=0.51 / 255)


def test_colour_images_come_back_in_colour(tmp_path, capsys):
    image = datasets.load("photos", "test", 1)
    path, out = tmp_path / "mine.png", tmp_path / "restored.tiff"
    Image.fromarray((image[0] * 255).byte().movedim(0, -1).numpy()).save(path)
    words = ["estimate", "--dataset", "photos", "--images", "5", "--patch-size", "3"]
    assert main([*words, "--input", str(path), "--out", str(out)]) == 0
    assert datasets.read_image(out).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--input", "{folder}/none.png"], "none.png: expected an image"),
        (["--input", "{folder}/faces"], "faces: expected an image"),
        (["--input", "{folder}/text.png"], "text.png: expected an image"),
        (["--input", "{folder}/larger.png", "--estimator", "lmmse"], "expected 12 x 12 pixels"),
        (["--input", "{folder}/colour.png"], "expected 1 channels like the training images, got 3"),
        (["--out", "{folder}/a.pdf"], "expected a name that ends in .png, .tif"),
        (["--operator", "mri"], "--input: expected an image, and mri measures none"),
        (["--posterior"], "--posterior: with --input it is written to --save"),
        (["--seed", "1"], "--seed: nothing is drawn"),
        (["--input", "{folder}/own.png", "--out", "{folder}/own.png"], "another file than --input"),
        (["--input", "{folder}/own.png", "--out", "{folder}/link.png"], "another file than --inp"),
    ],
)
def test_what_cannot_be_restored_is_told(tmp_path, faces, noisy, capsys, options, says):
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (12, 12)).save(tmp_path / "own.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "own.png")
    before = (tmp_path / "own.png").read_bytes()
    Image.new("L", (13, 12)).save(tmp_path / "larger.png")
    Image.new("RGB", (12, 12), "red").save(tmp_path / "colour.png")
    options = [option.format(folder=tmp_path) for option in options]
    code, out = restore(tmp_path, faces, noisy[0], *options)
    assert code == 2
    assert says in error_line(capsys)
    assert not out.exists()
    assert (tmp_path / "own.png").read_bytes() == before


def test_an_interruption_while_everything_is_imported_is_quiet(capsys, monkeypatch):
    def interrupted(name, *arguments):
        if "commands" in str(arguments):
            raise KeyboardInterrupt
        return real(name, *arguments)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert main(["data"]) == 130
    assert capsys.readouterr().err == "lemmse: interrupted\n"


def test_too_little_memory_is_one_line(tmp_path, faces, monkeypatch, capsys):
    def full(*args, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte.\nframe 1")

    monkeypatch.setattr(datasets, "load", full)
    assert estimate(tmp_path, faces)[0] == 2
    assert "not enough memory" in error_line(capsys)


@pytest.mark.parametrize("words", ["models --missing", "data"])
def test_output_that_nobody_reads_is_no_error(words):
    """Neither where it fills the buffer, nor where it is written at the end."""
    command = f"{sys.executable} -m lemmse {words}; echo $? >&2"
    with subprocess.Popen(
        command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == "141\n"


def test_what_cannot_be_printed_is_told_once():
    command = f"{sys.executable} -m lemmse data > /dev/full; echo $?"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "2\n"
    assert done.stderr == "lemmse: error: [Errno 28] No space left on device\n"


class Gone(io.StringIO):
    """A stream that nobody reads."""

    def write(self, text):
        raise BrokenPipeError

    def fileno(self):
        return os.open(os.devnull, os.O_WRONLY)


def test_nothing_is_lost_where_nobody_reads(tmp_path, faces, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone())
    code, out = estimate(tmp_path, faces, "--save", str(tmp_path / "arrays.NPZ"))
    assert code == 141
    assert out.exists()
    assert np.load(tmp_path / "arrays.NPZ")["estimate"].shape == (2, 1, 12, 12)


def test_closed_streams_are_no_error(tmp_path, faces, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    code, out = estimate(tmp_path, faces)
    assert code == 0
    assert out.exists()


def test_letters_that_a_stream_lacks_are_no_error(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(datasets, "NAMES", ("photos",))
    monkeypatch.setattr(datasets, "describe", lambda *_: {"count": 1, "path": "\u03c3/\udcfc"})
    assert main(["data"]) == 0
    assert b"\\u03c3/\\udcfc" in stream.buffer.getvalue()


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
        (["--save", "nowhere/result.npz"], "existing folder"),
        (["--size", "5"], "--size: only of --operator inpainting, got denoising"),
        (["--operator", "mri", "--std", "2"], "--std: only of --operator blur, got mri"),
        (["--angles", "5"], "--angles: only of --operator tomography"),
        (["--estimator", "mmse", "--preinverse", "pinv"], "--preinverse: only of --estimator lemm"),
        (["--estimator", "emmse", "--patch-size", "3"], "--patch-size: only of --estimator"),
        (["--regularisation", "1"], "--regularisation: only of --preinverse tikhonov"),
        (["--operator", "blur", "--std", "1e9"], "--std: expected at most the side 12"),
        (["--operator", "tomography", "--angles", "200000"], "from 1 to 192"),
        (["--input", "a.png", "--count", "2"], "--count: nothing is drawn"),
        (["--seed", "-1"], "--seed: expected an integer from 0"),
        (["--seed", "99999999999999999999"], "--seed: expected an integer from 0"),
        (["--sigma", "nan"], "sigma"),
        (["--sigma", "1e300"], "sigma"),
        (["--patch-size", "99999999999999999999"], "odd"),
        (["--images", "99999999999999999999"], "at most 18"),
        (["--operator", "blur", "--std", "nan"], "std"),
        (["--operator", "mri", "--acceleration", "nan"], "acceleration"),
        (["--operator", "mri", "--acceleration", "inf"], "acceleration"),
        (["--operator", "inpainting", "--size", "-1"], "-1"),
        (["--operator", "blur", "--preinverse", "tikhonov", "--regularisation", "nan"], "regul"),
        (["--operator", "blur", "--preinverse", "tikhonov", "--regularisation", "-1"], "regul"),
        (["--out", "result.pgf"], "result.pgf: expected a name that ends in"),
        (["--out", ""], "expected a name that ends in"),
        (["--dataset", "folder:~nobody-here/images"], "expected ~ or ~<user of this machine>"),
        (["--dataset", "folder:"], "data set: expected one of"),
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

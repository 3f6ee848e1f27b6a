"""The command `explain`, on networks of a person's own module."""

import json
import pickle
import re
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from lemmse.__main__ import main

CODE = """
import torch
from torch import nn

def conv():
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1)

def normed():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(1, 4), nn.Conv2d(4, 1, 1))

def dropping():
    return nn.Sequential(conv(), nn.Dropout(0.5))

def leaving():
    raise SystemExit(0)

class Doing(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, z):
        return self.what(z)

def dividing():
    return Doing(lambda z: 1 / 0)

def exiting():
    return Doing(lambda z: exit())

def colour():
    return nn.Conv2d(3, 3, 3, padding=1)

def three():
    return lambda z, sigma, other: z

def pair():
    return Doing(lambda z: (z, z))

def infinite():
    return Doing(lambda z: z / 0)

def cropping():
    return Doing(lambda z: z[:, :, 1:])

def number():
    return 3

def broken():
    raise KeyError("what")

def picky(width):
    return conv()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A module of networks, twenty images, and weights."""
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for i in range(20):
        pixels = rng.integers(0, 256, (10, 10), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{i:02}.png")
    (tmp_path / "my_networks.py").write_text(CODE)
    (tmp_path / "wrong.py").write_text("this is no Python")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    kernel = {"weight": torch.full((1, 1, 3, 3), 1 / 9), "bias": torch.zeros(1)}
    safetensors.torch.save_file(kernel, tmp_path / "mean.safetensors")
    safetensors.torch.save_file({"weight": kernel["weight"]}, tmp_path / "other.safetensors")
    return tmp_path


def explain(folder, network, *options):
    words = ["explain", "--network", network, "--dataset", f"folder:{folder / 'faces'}"]
    return main([*words, "--images", "8", "--count", "2", "--sigma", "0.3", *options])


def test_a_network_is_explained(folder, capsys):
    weights, out = folder / "mean.safetensors", folder / "report"
    code = explain(folder, "my_networks:conv", "--weights", str(weights), "--out", str(out))
    printed = capsys.readouterr().out
    assert code == 0
    assert "field 3 x 3, period 1, zeros padding" in printed
    assert (out / "report.txt").read_text() in printed
    with Image.open(out / "picture.png") as picture:
        assert min(picture.size) > 100
    rows = json.loads((out / "rows.json").read_text())
    assert {row["split"] for row in rows} == {"train", "test"}
    assert {"network", "affine", "linear"} <= {row["who"] for row in rows}


def test_the_weights_of_the_file_are_used(folder, capsys):
    texts = []
    for options in ((), ("--weights", str(folder / "mean.safetensors"))):
        assert explain(folder, "my_networks:conv", *options) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] != texts[1]


def test_a_network_is_taken_in_evaluation_mode(folder, capsys):
    assert explain(folder, "my_networks:dropping") == 0
    assert "field 3 x 3" in capsys.readouterr().out


def test_that_the_question_does_not_apply_is_an_answer(folder, capsys):
    assert explain(folder, "my_networks:normed", "--out", str(folder / "report")) == 0
    assert "GroupNorm normalises over pixels" in capsys.readouterr().out
    assert not (folder / "report" / "picture.png").exists()


class Harmful:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_in_a_file_of_weights_is_run(folder, capsys):
    path = folder / "bad.safetensors"
    path.write_bytes(pickle.dumps(Harmful(folder / "ran")))
    torch.save(nn.Conv2d(1, 1, 3).state_dict(), folder / "torch.pt")
    for file in (path, folder / "torch.pt"):
        assert explain(folder, "my_networks:conv", "--weights", str(file)) == 2
        assert "expected a safetensors file" in capsys.readouterr().err
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("my_networks", (), "expected module:function, got 'my_networks'"),
        (":conv", (), "expected module:function"),
        ("my_networks:", (), "expected module:function"),
        ("no_such_module:f", (), "cannot be called.*No module named"),
        ("wrong:f", (), "cannot be called without arguments: SyntaxError"),
        ("my_networks:none", (), "no attribute 'none'"),
        ("my_networks:broken", (), "KeyError: 'what'"),
        ("my_networks:picky", (), "missing 1 required positional argument"),
        ("my_networks:number", (), "to make a network, got 3"),
        ("my_networks:dividing", (), "to images, but it raised ZeroDivisionError"),
        ("my_networks:exiting", (), "to images, but it raised SystemExit"),
        ("my_networks:colour", (), "to images, but it raised RuntimeError.*to have 3 channels"),
        ("my_networks:three", (), "to images, but it raised TypeError.*'other'"),
        ("my_networks:pair", (), "an output .B, C, 10, 10. of real numbers, got a tuple of 2"),
        ("my_networks:infinite", (), "finite values in the output of the network"),
        ("my_networks:cropping", (), r"an output .B, C, 10, 10.*got .1, 1, 9, 10"),
        ("my_networks:leaving", (), "cannot be called without arguments: SystemExit"),
        ("my_networks:conv", ("--size", "3"), "--size: only of --operator inpainting"),
        ("my_networks:conv", ("--std", "2"), "--std: only of --operator blur, got denoising"),
        ("torch.nn:Identity", ("--weights", "mean.safetensors"), "it is of another network"),
        ("my_networks:conv", ("--weights", "none.safetensors"), "expected a file"),
        ("my_networks:conv", ("--weights", "other.safetensors"), "it is of another network.*bias"),
        ("my_networks:conv", ("--sigma", "0.1", "-1"), "--sigma: expected positive numbers"),
        ("my_networks:conv", ("--sigma", "nan"), "--sigma: expected positive numbers"),
        ("my_networks:conv", ("--count", "0"), "--count: expected a positive number"),
        ("my_networks:conv", ("--dataset", "nothing"), "nothing"),
        ("my_networks:conv", ("--std", "99", "--operator", "blur"), "--std: expected at most"),
    ],
)
def test_errors_are_one_line(folder, capsys, monkeypatch, network, options, message):
    monkeypatch.chdir(folder)
    assert explain(folder, network, *options) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert len(text) < 600
    assert re.search(message, text)

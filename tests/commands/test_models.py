"""The commands `models` and `train`: what they refuse, in one line."""

import time

import pytest
import torch
from processes import Process

from lemmse import zoo
from lemmse.__main__ import main
from lemmse.files import locked

NAME = "photos-grey/denoising/patchmlp-p3-n6"
TRAIN = ["train", NAME, "--steps", "2", "--batch", "2", "--crop", "2"]


def train(folder, *options):
    words = ["--out", str(folder / "models"), "--checkpoints", str(folder / "c")]
    return main([*TRAIN, *words, *options])


def error_line(capsys):
    """The last line of stderr; the bar is above it."""
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines)
    return lines[-1]


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", {"state_dict": {}}, [1], {"settings": {}, "problem": {}}],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, capsys, content):
    (tmp_path / "c").mkdir()
    path = tmp_path / "c" / f"{NAME.replace('/', '-')}.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    before = path.read_bytes()
    assert train(tmp_path, "--resume") == 2
    assert "error: checkpoint:" in error_line(capsys)
    assert path.read_bytes() == before
    assert zoo.names(tmp_path / "models") == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path, capsys, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "rounded", killed)
    assert train(tmp_path) == 130
    assert train(tmp_path, "--resume", "--seed", "1") == 2
    assert "expected one of a training with" in error_line(capsys)
    monkeypatch.undo()
    assert train(tmp_path, "--resume") == 0


def test_a_full_disk_at_a_checkpoint_is_one_line(tmp_path, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert train(tmp_path) == 2
    assert "No space left" in error_line(capsys)


@pytest.mark.parametrize("option", ["--out", "--checkpoints"])
def test_places_that_cannot_be_written_are_refused_at_once(tmp_path, capsys, monkeypatch, option):
    (tmp_path / "file").touch()
    monkeypatch.setattr("lemmse.commands.train.train_model", None)
    assert main([*TRAIN, "--out", str(tmp_path), option, str(tmp_path / "file" / "x")]) == 2
    assert "file" in error_line(capsys)


def test_a_training_that_diverges_is_one_line_and_writes_no_model(tmp_path, capsys):
    assert train(tmp_path, "--learning-rate", "1e30") == 2
    assert "diverged" in error_line(capsys)
    assert zoo.names(tmp_path / "models") == []


def test_a_model_that_another_process_trains_is_left_to_it(tmp_path, capsys):
    def hold(send, path):
        with locked(path):
            send("held")
            time.sleep(60)

    (tmp_path / "c").mkdir()
    other = Process(hold, tmp_path / "c" / f"{NAME.replace('/', '-')}.pt")
    assert other.receive() == "held"
    assert train(tmp_path) == 0
    assert f"{NAME}: another process trains it" in capsys.readouterr().out
    other.kill()
    assert train(tmp_path) == 0
    assert zoo.names(tmp_path / "models") == [NAME]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["models", "--folder", "/nope"], "folder: expected an existing folder, got /nope"),
        (["models", NAME, "--folder", "{folder}"], "patchmlp-p3-n6.json: expected a card"),
        (["models", "--folder", "{folder}"], "patchmlp-p3-n6.json: expected a card"),
        (["models", "none", "--folder", "{folder}"], "model: there is no 'none'"),
        (["models", ""], "model: there is no ''"),
        (["models", NAME, "--missing"], "--missing: expected no name beside it"),
        (["train", NAME, "--crop", "40"], "crop: expected at most the side 32"),
        (["train", NAME, "--steps", "0"], "steps: expected a positive integer"),
        (["train", NAME, "--seed", "-1"], "seed: expected 0 to"),
        (["train", NAME, "--learning-rate", "nan"], "learning_rate: expected > 0"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, words, says):
    card = tmp_path / f"{NAME}.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}")
    options = ["--out", str(tmp_path / "o"), "--checkpoints", str(tmp_path)]
    words = [word.format(folder=tmp_path) for word in words]
    assert main([*words, *(options if words[0] == "train" else [])]) == 2
    assert says in error_line(capsys)


def test_other_files_among_the_models_are_no_models(tmp_path, capsys):
    (tmp_path / "x.json").write_text("{}")
    assert main(["models", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""

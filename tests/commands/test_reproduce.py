"""The command `reproduce`: what it lists, refuses, shares and tells."""

import json
import time

import pytest
from processes import Process

from lemmse.__main__ import main
from lemmse.commands.reproduce import OPTIONS
from lemmse.experiments import EXPERIMENTS, changes, dip_step, record


def small(send, out):
    """The command, with six cells that take a moment."""
    dip_step.cells = lambda: list("abcdef")

    def compute(cell, device):
        send(cell)
        time.sleep(0.2)
        return {"value": ord(cell)}

    dip_step.compute = compute
    send(main(["reproduce", "dip-step", "--out", str(out)]))


def error_line(capsys):
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


@pytest.fixture
def nothing_computed(monkeypatch):
    """Fails the test if anything is computed."""

    def compute(cell, device):
        raise AssertionError("it computes")

    monkeypatch.setattr(dip_step, "compute", compute)


def test_it_lists_what_was_published(capsys):
    assert main(["reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(EXPERIMENTS)
    for line, module in zip(lines, EXPERIMENTS.values(), strict=True):
        never = not record.shipped(module.NAME).exists()
        assert line.split()[1].startswith("not" if never else "202")
        assert module.COST in line
        assert line.endswith(f"{module.CHAPTERS}: {module.TITLE}")


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if record.shipped(n).exists()])
def test_shipped_results_have_the_common_form(name):
    content = json.loads(record.shipped(name).read_text())
    assert list(content) == ["experiment", "format", "settings", "results"]
    assert EXPERIMENTS[name].results() == content["results"]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        "3",
        "{}",
        '{"settings": {}, "cells": {}}',
        '{"experiment": "dip-width", "format": 1, "settings": {}, "results": {}}',
        '{"experiment": "dip-step", "format": 2, "settings": {}, "results": {}}',
        '{"experiment": "dip-step", "format": 1, "settings": {}, "results": []}',
        '{"experiment": "dip-step", "format": 1}',
        '{"experiment": "dip-step", "format": 1, "settings": {}, "results": {}}',
        "",
        "{",
    ],
)
def test_other_files_are_refused_and_kept(tmp_path, capsys, nothing_computed, content):
    out = tmp_path / "mine.json"
    out.write_text(content)
    assert main(["reproduce", "dip-step", "--out", str(out)]) == 2
    assert "mine.json" in error_line(capsys)
    assert out.read_text() == content


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dip-stop"], "experiment: there is no 'dip-stop'; the nearest names: dip-step"),
        (["zzz"], "experiment: there is no 'zzz'; there are comparison, "),
        (["dip-step", "--images", "2"], "--images: dip-step has no such option"),
        (["dip-step", "--out", "{folder}"], "expected a file"),
        (["dip-step", "--out", "{folder}/file/a.json"], "file"),
        (["dip-step", "--out", "{folder}/new/a.json"], "expected a file in an existing folder"),
        (["dip-step", "dip-width", "--out", "{folder}/a.json"], "--out: expected one name"),
        (["--out", "{folder}/a.json"], "--out: expected one name"),
        (["--quick"], "expected the name of an experiment"),
        (["--images", "3"], "expected the name of an experiment"),
        (["data-efficiency", "--seeds", "-1"], "expected seed to be an integer from 0"),
        (["data-efficiency", "--seeds", "99999999999999999999"], "expected seed to be an integer"),
        (["dip-step", "--out", "/dev/null"], "expected a file in an existing folder"),
        (["dip-step", "--publish", "--out", "{folder}/a.json"], "not --publish"),
        (["comparison", "--publish", "--folder", "{folder}"], "there are no models"),
    ],
)
def test_errors_are_one_line_and_come_first(tmp_path, capsys, nothing_computed, words, message):
    (tmp_path / "file").touch()
    assert main(["reproduce", *(word.format(folder=tmp_path) for word in words)]) == 2
    assert message in error_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_option_of_an_experiment_can_be_given():
    assert {o for module in EXPERIMENTS.values() for o in module.OPTIONS} == set(OPTIONS)


def test_two_processes_share_the_cells_and_both_have_all(tmp_path):
    out = tmp_path / "results.json"
    processes = [Process(small, out), Process(small, out)]
    sent = [message for process in processes for message in process.rest()]
    assert sorted(map(str, sent)) == ["0", "0", *"abcdef"]  # no cell twice
    assert {key: cell["value"] for key, cell in dip_step.results(out).items()} == {
        cell: ord(cell) for cell in "abcdef"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_process_takes_over_from_one_that_was_killed(tmp_path):
    out = tmp_path / "results.json"
    killed = Process(small, out)
    first = killed.receive()
    other = Process(small, out)
    second = other.receive()
    killed.kill()
    assert first != second
    assert other.rest()[-1] == 0
    assert set(dip_step.results(out)) == set("abcdef")


def test_what_changed_is_told(monkeypatch, tmp_path, capsys):
    shipped = dip_step.results()
    cell = json.loads(json.dumps(shipped["10 200"]))
    cell["curvature"][3] *= 2
    monkeypatch.setattr(dip_step, "compute", lambda name, device: dict(cell))
    monkeypatch.setattr(dip_step, "QUICK", ("10 200",))
    assert main(["reproduce", "dip-step", "--quick", "--out", str(tmp_path / "a.json")]) == 0
    out = capsys.readouterr().out
    assert "1 changed" in out
    assert "10 200 / curvature / 3:" in out


def test_only_values_of_both_results_are_compared():
    before = {"a": {"x": 1, "machine": {"torch": "1"}}, "b": 2}
    count, changed = changes.compared(before, {"a": {"x": 1, "machine": {"torch": "2"}}, "c": 3})
    assert (count, changed) == (1, [])
    _, changed = changes.compared({"a": [1.0, "p", None]}, {"a": [1.1, "q", 0.0]})
    assert [change.where for change in changed] == ["a / 1", "a / 2", "a / 0"]

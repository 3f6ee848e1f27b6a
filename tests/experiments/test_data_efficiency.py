"""The grid of chapter 21: what it trains, that it goes on where it was, and what is published."""

import json

import pytest
import torch

from lemmse import datasets
from lemmse.__main__ import main
from lemmse.experiments import data_efficiency, record
from lemmse.experiments.data_efficiency import CONTESTANTS, contestant, photographs, scanner
from lemmse.metrics import psnr


@pytest.fixture
def tiny(monkeypatch):
    """The same grid, of hardly trained networks."""
    sizes = {"STEPS": 2, "CLOCKED": 4, "IMAGES": 8, "HELD_OUT": 2, "TEST_IMAGES": 3}
    sizes |= {"LONGER": 3, "COUNTS": (4, 8), "ENDS": (8,), "MANY": (8,)}
    for name, value in sizes.items():
        monkeypatch.setattr(data_efficiency, name, value)


def test_photographs_are_averages_of_the_centre():
    image = datasets.load("photos-grey", "test", 1)
    block = image[0, 0, 4:6, 4:6].mean()
    torch.testing.assert_close(photographs("test", 1)[0, 0, 0, 0], block)


def test_contestants_differ_in_what_they_believe():
    right, wrong = (contestant(name) for name in ("proximal", "proximal, wrong angles"))
    x = photographs("test", 1)
    assert torch.equal(right.operator.A(x), scanner().A(x))
    assert not torch.allclose(wrong.operator.A(x), scanner().A(x), atol=1e-2)
    # Else they are the same network.
    states = right.state_dict(), wrong.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_an_unknown_contestant_is_explained():
    with pytest.raises(ValueError, match="expected one of svd, proximal"):
        contestant("unet")


def test_the_command_goes_on_where_it_was(tiny, tmp_path, monkeypatch, capsys):
    out = tmp_path / "curves.json"
    real, calls = data_efficiency.trained, []

    def trained(*arguments):
        calls.append(arguments)
        if len(calls) == 14:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(data_efficiency, "trained", trained)
    words = ["reproduce", "data-efficiency", "--seeds", "0", "--out", str(out)]
    assert main(words) == 130
    # Two rates for each of four cells, four trainings that only measure the time, and half a cell.
    written = json.loads(out.read_text())["results"]["cells"]
    assert sum(len(by) for by in written.values()) == 4
    assert main(words) == 0
    found = data_efficiency.results(out)
    cells = found["cells"]
    assert set(cells) == set(CONTESTANTS)
    assert cells["svd"]["8"]["0"]["steps"] == 2
    assert cells["learned"]["8"]["0"]["steps"] == found["equal time"]
    tried = found["tried"]["proximal"]["8"]
    assert cells["proximal"]["8"]["0"]["rate"] == float(max(tried, key=tried.get))
    wrong = cells["proximal, wrong angles"]["8"]["0"]
    assert wrong["rate"] == cells["proximal"]["8"]["0"]["rate"]
    for name in ("proximal", "learned"):
        short, longer = (part[name]["8"]["0"] for part in (cells, found["longer"]))
        assert longer["steps"] == 3 * short["steps"]
        assert longer["rate"] == short["rate"]
    assert "values compared with the shipped ones" in capsys.readouterr().out


def test_results_of_other_settings_are_not_mixed(tiny, tmp_path, capsys):
    out = tmp_path / "curves.json"
    content = {"experiment": "data-efficiency", "format": 1, "settings": {}, "results": {}}
    out.write_text(json.dumps(content))
    assert main(["reproduce", "data-efficiency", "--out", str(out)]) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_seed_draws_the_images_and_the_numbers_are_psnr(tiny):
    one, again, other = (
        data_efficiency.trained("proximal", 4, seed, 1e-4, 2) for seed in (0, 0, 1)
    )
    assert one["test"] == again["test"]
    assert one["test"] != other["test"]
    assert one["test"] in one["history"]
    assert one["last"] == one["history"][-1]
    truth = photographs("test", 3)
    y = scanner().measure(truth, 0.3, torch.Generator().manual_seed(10_001))
    start = psnr(contestant("proximal")(y, 0.3), truth).mean().item()
    assert one["test"] == pytest.approx(start, abs=3)  # two steps later


def test_published_results_are_of_this_setup_and_complete():
    published = json.loads(record.shipped("data-efficiency").read_text())
    assert published["settings"] == json.loads(json.dumps(data_efficiency.settings()))
    cells = data_efficiency.results()["cells"]
    found = {
        (int(seed), int(count), name)
        for name, by_count in cells.items()
        for count, by_seed in by_count.items()
        for seed in by_seed
    }
    assert found == set(data_efficiency.cells())
    seeds = {str(seed) for seed in data_efficiency.LONG_SEEDS}
    for by_count in data_efficiency.results()["longer"].values():
        assert set(by_count) == {str(count) for count in data_efficiency.MANY}
        assert all(set(by_seed) == seeds for by_seed in by_count.values())

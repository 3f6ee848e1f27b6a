"""Two processes side by side, as torchrun starts them: the same answer, and no waiting for ever.

Here they are forks, so that one can be stopped where it hurts; test_torchrun.py starts torchrun.
"""

import contextlib
import io
import os
import socket
import time
from datetime import timedelta

import numpy as np
import pytest
from processes import Process
from untrained import save_untrained

from lemmse.__main__ import main
from lemmse.commands import estimate, processes
from lemmse.experiments import comparison

ESTIMATE = ["estimate", "--images", "17", "--count", "2", "--patch-size", "3"]
NAMES = [f"photos-grey/denoising/{kind}-p3-n6" for kind in ("patchmlp", "resnet", "unet")]


def of_rank(rank, port):
    """What torchrun tells process `rank` of two."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def rank_of_two(send, rank, port, words, prepare=lambda send, rank: None):
    """The command line as process `rank` of two; sends its exit code and what it printed."""
    os.environ |= of_rank(rank, port)
    prepare(send, rank)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    send((code, out.getvalue(), err.getvalue()))


def start(words, prepare=lambda send, rank: None):
    port = free_port()
    return [Process(rank_of_two, rank, port, words, prepare) for rank in (0, 1)]


def test_estimate_gives_the_answer_of_one_process(tmp_path):
    words = [*ESTIMATE, "--out", str(tmp_path / "r.png"), "--save"]
    assert main([*words, str(tmp_path / "one.npz")]) == 0
    (code, out, _), (other_code, other_out, other_err) = (
        process.receive() for process in start([*words, str(tmp_path / "two.npz")])
    )
    assert (code, other_code) == (0, 0)
    assert out.count("figure:") == 1
    assert other_out == other_err == ""
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        np.testing.assert_allclose(two["estimate"], one["estimate"], atol=1e-5)


def test_when_one_is_killed_the_other_ends_with_one_line(tmp_path):
    def prepare(send, rank):
        real = estimate.apply

        def slow(*arguments):
            send("ready")
            if rank == 1:
                time.sleep(60)
            return real(*arguments)

        estimate.apply = slow

    words = [*ESTIMATE, "--out", str(tmp_path / "r.png")]
    first, second = start(words, prepare)
    assert second.receive() == "ready"
    assert first.receive() == "ready"
    second.kill()
    code, _, err = first.receive()
    assert code == 2
    assert "lemmse: error: process 1 of 2: another process ended" in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_one_that_does_not_answer_is_given_up(tmp_path):
    def prepare(send, rank):
        processes.joined_processes.__wrapped__.__defaults__ = (timedelta(seconds=1),)
        if rank == 1:
            estimate.apply = lambda *arguments: time.sleep(60)

    words = [*ESTIMATE, "--out", str(tmp_path / "r.png")]
    first, second = start(words, prepare)
    code, _, err = first.receive()
    second.kill()
    assert code == 2
    assert "did not answer within 1 s" in err.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three untrained models of one problem."""
    return save_untrained(NAMES, tmp_path_factory.mktemp("zoo"))


def test_the_comparison_gives_the_answer_of_one_process(folder, tmp_path):
    words = ["reproduce", "comparison", "--folder", str(folder), "--images", "1", "--out"]
    assert main([*words, str(tmp_path / "one.json")]) == 0
    results = [process.receive() for process in start([*words, str(tmp_path / "two.json")])]
    assert [code for code, _, _ in results] == [0, 0]
    assert [out.count("results:") for _, out, _ in results] == [1, 0]
    one, two = (comparison.results(tmp_path / f"{name}.json") for name in ("one", "two"))
    for name in NAMES:
        for split in comparison.SPLITS:
            assert set(two[name]["psnr"][split]) == set(map(str, comparison.SIGMAS))
            for sigma, kinds in two[name]["psnr"][split].items():
                assert kinds == one[name]["psnr"][split][sigma]

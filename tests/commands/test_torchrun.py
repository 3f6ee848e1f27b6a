"""The command line under torchrun itself, two processes with gloo: see test_processes.py, too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lemmse import datasets, zoo
from lemmse.__main__ import main
from lemmse.experiments import comparison

ROOT = Path(__file__).parents[2]
NAMES = [f"photos-grey/denoising/{kind}-p3-n6" for kind in ("patchmlp", "resnet", "unet")]
ESTIMATE = ["estimate", "--images", "17", "--count", "2", "--patch-size", "3"]
KILLED = """
import os, signal, sys
from lemmse.__main__ import main
from lemmse.commands import estimate

def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ["RANK"] == "1":
    estimate.apply = killed
sys.exit(main(sys.argv[1:]))
"""


def torchrun(folder, *words):
    """The exit code of torchrun, and what each of the two processes wrote: (stdout, stderr)."""
    logs = folder / "logs"
    options = ["--standalone", "--nproc-per-node", "2", "--redirects", "3", "--log-dir", str(logs)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",  # gloo, on a machine with a GPU, too
    }
    command = [sys.executable, "-m", "torch.distributed.run", *options, *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=300)
    ranks = [next(logs.glob(f"*/attempt_0/{rank}")) for rank in (0, 1)]
    texts = [[(r / f"{name}.log").read_text() for name in ("stdout", "stderr")] for r in ranks]
    return done.returncode, texts


def test_estimate_gives_the_answer_of_one_process(tmp_path):
    words = [*ESTIMATE, "--out", str(tmp_path / "r.png"), "--save"]
    assert main([*words, str(tmp_path / "one.npz")]) == 0
    code, texts = torchrun(tmp_path, "-m", "lemmse", *words, str(tmp_path / "two.npz"))
    assert code == 0, texts
    assert [out.count("figure:") for out, _ in texts] == [1, 0]
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert set(one) == set(two)
        for key in one:
            np.testing.assert_allclose(two[key], one[key], atol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of three models that two processes trained, and what these wrote."""
    folder = tmp_path_factory.mktemp("zoo")
    options = ["--out", str(folder / "models"), "--checkpoints", str(folder / "c")]
    short = ["--steps", "2", "--batch", "2", "--crop", "2"]
    code, texts = torchrun(folder, "-m", "lemmse", "train", *NAMES, *options, *short)
    assert code == 0, texts
    return folder / "models", texts


def test_train_shares_out_the_models(trained, tmp_path):
    folder, ((first, _), (second, _)) = trained
    assert "process 1 of 2 trains 2 of the models" in first
    assert "process 2 of 2 trains 1 of the models" in second
    assert zoo.names(folder) == sorted(NAMES, key=zoo.names(folder).index)
    # Whoever trains a model, its weights are those of the one-process run.
    options = ["--out", str(tmp_path), "--checkpoints", str(tmp_path / "c")]
    short = ["--steps", "2", "--batch", "2", "--crop", "2"]
    assert main(["train", NAMES[1], *options, *short]) == 0
    mine, theirs = (zoo.load(NAMES[1], place).state_dict() for place in (tmp_path, folder))
    for key, value in mine.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=1e-5)


def test_the_comparison_gives_the_answer_of_one_process(trained, tmp_path):
    words = ["reproduce", "comparison", "--folder", str(trained[0]), "--images", "1", "--out"]
    assert main([*words, str(tmp_path / "one.json")]) == 0
    code, texts = torchrun(tmp_path, "-m", "lemmse", *words, str(tmp_path / "two.json"))
    assert code == 0, texts
    assert [out.count("results:") for out, _ in texts] == [1, 0]
    one, two = (comparison.results(tmp_path / f"{name}.json") for name in ("one", "two"))
    assert set(two) == set(NAMES)
    for name in NAMES:
        assert two[name]["psnr"] == one[name]["psnr"]
    assert (
        datasets.checksum(datasets.load("photos-grey", n=6)) == two[NAMES[0]]["data"]["trained on"]
    )


def test_when_one_is_killed_the_other_ends_with_one_line_at_most(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    code, texts = torchrun(tmp_path, str(script), *ESTIMATE, "--out", str(tmp_path / "r.png"))
    assert code != 0
    (out, err), others = texts
    assert others == ["", ""]
    # torchrun ends the other one, too, if that did not find out by itself before.
    lines = [line for line in (out + err).splitlines() if line and "image/s]" not in line]
    assert len(lines) <= 1
    assert all("lemmse: error: process 1 of 2: another process ended" in line for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.py", "logs"]

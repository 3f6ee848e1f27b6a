"""`make gpu`: without a GPU, and on the CPU in its place, with what a GPU machine has."""

import json
import os
import subprocess
import sys

import pytest
import torch

from sync_notebooks import ROOT

# Run-time dependencies for notebooks, downloads and widgets that the GPU machine at hand lacks.
SCRIPT = """
import runpy, sys
for name in ("pooch", "IPython", "ipywidgets"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments):
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: make gpu measures it")
def test_says_that_there_is_no_gpu(tmp_path):
    done = run("--out", str(tmp_path / "gpu.json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no GPU here")
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_measures_with_a_tiny_setting(tmp_path):
    out = tmp_path / "gpu.json"
    done = run("--device", "cpu", "--quick", "--seconds", "12", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())
    assert results["limits"][0]["teraflops"] > 0
    assert {row["sigma"] for row in results["engine"]} <= {0.05, 0.2, 1.0}
    assert all(row["share_of_limit"] > 0 for row in results["engine"])
    assert all(row["finite"] for row in results["training"])
    assert results["correct"]
    assert not any(row["wrong"] for row in results["correct"])

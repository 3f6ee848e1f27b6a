"""Execute the notebooks that changed, with nbmake; keep the executed copies in _build/executed.

    python book/scripts/execute_notebooks.py [notebook ...]

A notebook has changed when its own file, the source of lemmse, the pinned environment or the data
folder in use differs from what its executed copy was made with. The copies run in a folder of
their own, outside the repository, as they would on a reader's machine; nbmake writes their outputs
into them, and those that pass come back. The pages of the book are built from them, so that every
notebook is executed once, for the tests and for the book.
"""

import argparse
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from sync_notebooks import ROOT, notebook_paths

EXECUTED = ROOT / "_build" / "executed"
CELL_SECONDS = 300
WORKERS = 2


def fingerprint(path):
    """Everything that the outputs of a notebook depend on, as one hash."""
    digest = hashlib.sha256()
    sources = [p for p in sorted((ROOT / "lemmse").rglob("*")) if "__pycache__" not in p.parts]
    for file in [path, ROOT / "requirements.txt", *sources]:
        if file.is_file():
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    digest.update(os.environ.get("LEMMSE_DATA", "").encode() + b"\0")
    digest.update(platform.python_version().encode())
    return digest.hexdigest()


def executed_copy(path):
    """Where the executed copy of a notebook lies."""
    return EXECUTED / path.relative_to(ROOT)


def stamp(path):
    """The file that remembers with which fingerprint a notebook was executed."""
    return executed_copy(path).with_suffix(".sha256")


def has_changed(path):
    """Whether the executed copy is missing or was made from something else."""
    if not (executed_copy(path).exists() and stamp(path).exists()):
        return True
    return stamp(path).read_text() != fingerprint(path)


class Recorder:
    """A pytest plugin that notes which notebooks passed, and how long each took."""

    def __init__(self):
        self.seconds = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.seconds[Path(report.fspath).as_posix()] = report.duration


def run_nbmake(folder, count):
    """Run nbmake over the `count` notebooks in a folder; the seconds of those that passed."""
    workers = min(WORKERS, count)
    threads = max(1, (os.cpu_count() or 1) // workers) if workers == 1 else 1
    # LEMMSE_BUILD tells lemmse.plots that the outputs are for the pages of the book; PYTHONPATH
    # makes sure that the package is the one beside the notebooks, which the fingerprint covers.
    os.environ.update(OMP_NUM_THREADS=str(threads), LEMMSE_BUILD="1", PYTHONPATH=str(ROOT))
    (folder / "pytest.ini").write_text("[pytest]\n")
    recorder = Recorder()
    arguments = [str(folder), f"--rootdir={folder}", f"--config-file={folder / 'pytest.ini'}"]
    arguments += ["--nbmake", "--overwrite", f"--nbmake-timeout={CELL_SECONDS}"]
    arguments += ["-p", "no:cacheprovider", "--quiet", "--no-header"]
    if workers > 1:
        arguments += [f"--numprocesses={workers}", "--dist=worksteal"]
    pytest.main(arguments, plugins=[recorder])
    return recorder.seconds


def execute(paths):
    """Execute the changed ones among `paths`; return those that failed."""
    prints = {path: fingerprint(path) for path in paths if has_changed(path)}
    print(f"{len(prints)} of {len(paths)} notebooks to execute", flush=True)
    if not prints:
        return []
    with tempfile.TemporaryDirectory(prefix="lemmse-") as name:
        folder = Path(name).resolve()
        for path in prints:
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        seconds = run_nbmake(folder, len(prints))
        passed = [p for p in prints if p.relative_to(ROOT).as_posix() in seconds]
        for path in passed:
            executed_copy(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path.relative_to(ROOT), executed_copy(path))
            stamp(path).write_text(prints[path])
            name = path.relative_to(ROOT).as_posix()
            print(f"{seconds[name]:7.1f} s  {name}")
    return [path for path in prints if path not in passed]


def main():
    """Execute the notebooks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    named = [path.resolve() for path in parser.parse_args().notebooks]
    failed = execute(named or notebook_paths())
    for path in failed:
        print(f"failed: {path.relative_to(ROOT)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

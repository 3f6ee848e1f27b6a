"""Execute the notebooks that changed, with nbmake; keep the executed copies in _build/executed.

    python book/scripts/execute_notebooks.py            all chapters that changed
    python book/scripts/execute_notebooks.py 7 10       these two, if they changed

A notebook has changed when its own file, the source of lemmse, the pinned environment or the data
folder in use differs from what its executed copy was made with. The copies run in a folder of
their own, outside the repository, as they would on a reader's machine; nbmake writes their outputs
into them, and each that passes comes back at once, so that nothing is lost when the run is stopped.
The pages of the book are built from them: every notebook is executed once, for the tests and for
the book.
"""

import argparse
import hashlib
import io
import os
import platform
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from move_controls import with_moves, without_moves
from sync_notebooks import ROOT, notebook_paths

EXECUTED = ROOT / "_build" / "executed"
CELL_SECONDS = 300
# A notebook takes up to 2 GB of memory: half of the cores, two at least, four at most.
WORKERS = max(2, min(4, (os.cpu_count() or 1) // 2))
SECONDS = 42  # of one chapter on one core: the mean over the book, for the first estimate


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


class Keeper:
    """A pytest plugin: keeps each executed copy as soon as it is done, and says how far it is."""

    def __init__(self, folder, prints):
        """`folder` holds the copies being executed; `prints` maps notebooks to fingerprints."""
        self.folder, self.prints, self.out = folder, prints, sys.stdout
        self.start, self.kept = time.monotonic(), set()

    def pytest_runtest_logreport(self, report):
        """One notebook is done, or failed."""
        if report.when == "call" and report.passed:
            path = ROOT / report.fspath
            self.keep(path)
            line = f"{report.duration:7.1f} s  {path.stem:24} {self.progress()}"
            print(line, file=self.out, flush=True)

    def keep(self, path):
        """Take over the executed copy of a notebook."""
        executed_copy(path).parent.mkdir(parents=True, exist_ok=True)
        executed = (self.folder / path.relative_to(ROOT)).read_text(encoding="utf-8")
        executed_copy(path).write_text(without_moves(executed), encoding="utf-8")
        stamp(path).write_text(self.prints[path])
        self.kept.add(path)

    def progress(self):
        """How many notebooks are done, and the time that the others will take at this speed."""
        done, total = len(self.kept), len(self.prints)
        left = (time.monotonic() - self.start) / done * (total - done)
        return f"{done} of {total}" + (f", about {in_words(left)} left" if done < total else "")


def in_words(seconds):
    """A duration: "40 s" or "7 min"."""
    return f"{round(seconds, -1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def run_nbmake(folder, prints):
    """Run nbmake over the notebooks in a folder; those that passed, and whether it was stopped."""
    workers = min(WORKERS, len(prints))
    threads = max(1, (os.cpu_count() or 1) // workers) if workers == 1 else 1
    # LEMMSE_BUILD tells lemmse.plots that the outputs are for the pages of the book; PYTHONPATH
    # makes sure that the package is the one beside the notebooks, which the fingerprint covers.
    # Threads that wait must sleep: beside other work a chapter of 80 seconds spun for 5 minutes.
    os.environ.update(OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE")
    os.environ.update(LEMMSE_BUILD="1", PYTHONPATH=str(ROOT))
    (folder / "pytest.ini").write_text("[pytest]\n")
    keeper = Keeper(folder, prints)
    arguments = [str(folder), f"--rootdir={folder}", f"--config-file={folder / 'pytest.ini'}"]
    arguments += ["--nbmake", "--overwrite", f"--nbmake-timeout={CELL_SECONDS}"]
    arguments += ["-p", "no:cacheprovider"]
    if workers > 1:
        arguments += [f"--numprocesses={workers}", "--dist=worksteal"]
    with redirect_stdout(io.StringIO()) as told:  # the keeper says what matters
        status = pytest.main(arguments, plugins=[keeper])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.INTERRUPTED):
        print(told.getvalue(), file=sys.stderr)
    return keeper.kept, status == pytest.ExitCode.INTERRUPTED


def execute(paths):
    """Execute the changed ones among `paths`; return those that failed.

    Raises:
        KeyboardInterrupt: stopped by the user; what was done is kept.
    """
    prints = {path: fingerprint(path) for path in paths if has_changed(path)}
    print(f"{len(prints)} of {len(paths)} chapters to execute", end="", flush=True)
    if not prints:
        print()
        return []
    expected = in_words(len(prints) * SECONDS / min(WORKERS, len(prints), os.cpu_count() or 1))
    print(f": about {expected} on a quiet laptop; Ctrl-C stops, and the next call goes on")
    with tempfile.TemporaryDirectory(prefix="lemmse-") as name:
        folder = Path(name).resolve()
        for path in prints:
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(with_moves(path.read_text(encoding="utf-8")), encoding="utf-8")
        kept, stopped = run_nbmake(folder, prints)
    if stopped:
        raise KeyboardInterrupt
    return [path for path in prints if path not in kept]


def chapter(argument):
    """The path of a notebook that is named by its number in the book or by its path."""
    paths = [Path(argument).resolve()]
    if argument.isdigit():
        paths = [path for path in notebook_paths() if path.name.startswith(f"{int(argument):02}-")]
    if len(paths) != 1 or paths[0] not in notebook_paths():
        raise argparse.ArgumentTypeError(f"expected a chapter, 7 or a path; got {argument!r}")
    return paths[0]


def main():
    """Execute the notebooks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*", type=chapter, help="numbers or paths; default: all")
    try:
        failed = execute(parser.parse_args().chapters or notebook_paths())
    except KeyboardInterrupt:
        print("stopped: what is done is kept, and the same command goes on from there")
        return 130
    for path in failed:
        print(f"failed: {path.relative_to(ROOT)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

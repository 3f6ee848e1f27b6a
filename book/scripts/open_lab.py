"""Open the chapters in Jupyter Lab, as plain notebooks in a folder of their own.

    python book/scripts/open_lab.py                 without the solutions, in _build/lab
    python book/scripts/open_lab.py --solutions     with them, in _build/lab-solutions

The notebooks under notebooks/ are the book's sources and stay as they are. The copies belong to the
reader: one that was changed is kept, and a new one takes its place only when it is renamed or gone.
"""

import argparse
import os
import sys
import time

from lab_copies import lab_files
from sync_notebooks import ROOT, notebook_paths
from write_files import write_unchanged

FOLDERS = {"student": "lab", "instructor": "lab-solutions"}
# Whoever opens a chapter is not asked about Jupyter's news, nor told of versions that are not ours.
SETTINGS = ROOT / "book" / "scripts" / "lab_settings"


def command(folder, *options):
    """The words that start Jupyter Lab in a folder, also as root in a container."""
    words = [sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={folder}"]
    words += [f"--LabApp.app_settings_dir={SETTINGS}", *options]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*words, "--allow-root"] if is_root else words


def prepare(copy):
    """Write a copy, and say what became of it; its folder."""
    start, folder = time.monotonic(), ROOT / "_build" / FOLDERS[copy]
    folder.mkdir(parents=True, exist_ok=True)
    files, waiting = lab_files(copy, notebook_paths())
    kept = write_unchanged(files, folder)
    print(f"{folder}: {len(files)} files in {time.monotonic() - start:.0f} s")
    if kept:
        print("kept, because you changed them: " + ", ".join(kept))
        print("(for a fresh one, rename yours and call this again)")
    if waiting:
        print(
            f"{len(waiting)} chapters were not executed here: dots stand for their numbers. "
            "`make book` computes them (a quarter of an hour on two cores); then call this again."
        )
    return folder


def main():
    """Write the copies and become Jupyter Lab."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--solutions", action="store_true", help="with the solutions")
    parser.add_argument("--write-only", action="store_true", help="do not start Jupyter Lab")
    arguments = parser.parse_args()
    folder = prepare("instructor" if arguments.solutions else "student")
    if not arguments.write_only:
        words = command(folder)
        sys.stdout.flush()
        os.execv(words[0], words)


if __name__ == "__main__":
    main()

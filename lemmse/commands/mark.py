"""The command `mark`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..marking.limits import Limits


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "mark",
        help="mark the notebooks that students handed in",
        description="Run every notebook in a process of its own, with limits of time and memory, "
        "and write marks.csv, summary.md and feedback/<student>.md. A folder in FOLDER is a "
        "student, and so is a notebook beside such folders. Notebooks can run any code: use an "
        "account or a machine where that does no harm. An interrupted run goes on where it was.",
    )
    limits, add = Limits(), command.add_argument
    add("folder", type=Path, metavar="FOLDER", help="what was handed in")
    add("--seed", default="", help="a secret text; adds inputs that no student has seen")
    add("--exercises", nargs="+", metavar="NUMBER", help="[all of the chapters handed in]")
    add("--seconds", type=float, default=limits.seconds, help="for a cell [%(default)g]")
    add("--memory", type=float, default=limits.memory, help="of a notebook, in GB [%(default)g]")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="notebooks at a time [%(default)s]")
    add("--out", type=Path, help="folder for the results [FOLDER-marks]")
    command.set_defaults(run=mark)


def mark(args: argparse.Namespace) -> None:
    """Marks all that was handed in."""
    from ..marking.folder import mark_folder  # here: it imports all exercises

    if args.jobs < 1:
        raise ValueError(f"--jobs: expected a positive number, got {args.jobs}")
    folder = args.folder.resolve()
    out = args.out or folder.with_name(f"{folder.name}-marks")
    limits = Limits(args.seconds, args.memory)
    mark_folder(folder, out, args.exercises, args.seed, limits, args.jobs)
    print(f"written to {out}: marks.csv, summary.md and a file for each student in feedback/")

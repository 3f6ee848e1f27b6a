"""The command `reproduce`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..devices import device
from ..experiments import EXPERIMENTS, changes, record
from ..files import make_folder
from ..zoo import unknown
from .processes import rank

FOLDER = Path("_build/reproduce")
"""Where results lie that were computed again."""

OPTIONS: dict[str, tuple[str, dict]] = {
    "models": ("which models", {"nargs": "+", "metavar": "PATTERN"}),
    "folder": ("where the models lie [the package's own]", {"type": Path}),
    "images": ("how many", {"type": int}),
    "on": ("the data sets of the test images", {"nargs": "+", "metavar": "DATASET"}),
    "sigmas": ("the noise levels", {"type": float, "nargs": "+", "metavar": "SIGMA"}),
    "seeds": ("which", {"type": int, "nargs": "+", "metavar": "SEED"}),
}
"""What the options that only some experiments have mean, and how they are read."""

NEVER = {"date": "not yet", "device": "-"}
"""What the list says of an experiment that has no published results."""


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "reproduce",
        help="list the published results, or compute some again",
        description="Without names: list the published results, when and where they were computed, "
        "and what they cost. With names: compute these again, and say what changed against the "
        "published ones. An interrupted run goes on where it was, and several processes that are "
        "given the same names share the work, under torchrun, too.",
    )
    add = command.add_argument
    add("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    add("--quick", action="store_true", help="only a part that takes about a minute")
    add("--out", type=Path, help=f"file to write, for one name [{FOLDER}/NAME.json]")
    add(
        "--publish",
        action="store_true",
        help="compute what the published results lack and write those, and the cards of the models",
    )
    for option, (meaning, form) in OPTIONS.items():
        having = [name for name, module in EXPERIMENTS.items() if option in module.OPTIONS]
        add(f"--{option}", help=f"{', '.join(having)}: {meaning}", **form)
    command.set_defaults(run=reproduce)


def reproduce(args: argparse.Namespace) -> None:
    """The command `reproduce`."""
    for name in args.names:
        if name not in EXPERIMENTS:
            raise ValueError(unknown(name, list(EXPERIMENTS), "experiment"))
    options = {name: chosen_options(name, args) for name in args.names}
    if args.out is not None and (len(options) != 1 or args.publish):
        raise ValueError("--out: expected one name, and not --publish")
    given = {name: value for name, value in vars(args).items() if name not in ("names", "run")}
    if not options and any(value not in (None, False) for value in given.values()):
        raise ValueError("expected the name of an experiment beside the options, got none")
    if not options:
        list_experiments()
    elif not args.publish and args.out is None:
        make_folder(FOLDER)
    for name in options:
        out = None if args.publish else args.out or FOLDER / f"{name}.json"
        compute(name, out, args.quick, options[name])


def chosen_options(name: str, args: argparse.Namespace) -> dict:
    """The options that were given, for the `run` of an experiment.

    Raises:
        ValueError: the experiment has no such option.
    """
    given = {option: getattr(args, option) for option in OPTIONS}
    given = {option: value for option, value in given.items() if value is not None}
    for option in given:
        if option not in EXPERIMENTS[name].OPTIONS:
            raise ValueError(f"--{option}: {name} has no such option")
    return {o: tuple(value) if isinstance(value, list) else value for o, value in given.items()}


def list_experiments() -> None:
    """What was published, when and where it was computed, and what it cost."""
    print(f"{'name':<16}{'date':<12}{'device':<16}{'about, one core':<18}chapter, what")
    for name, module in EXPERIMENTS.items():
        every = machines(published(name))
        last = max(every, key=lambda machine: machine["date"], default=NEVER)
        print(
            f"{name:<16}{last['date']:<12}{last['device']:<16}{module.COST:<18}"
            f"{module.CHAPTERS}: {module.TITLE}"
        )


def published(name: str) -> dict:
    """The published results of an experiment; empty if it was never computed."""
    return record.read(name) if record.shipped(name).exists() else {}


def machines(results: object) -> Iterator[dict]:
    """All entries ``machine`` of nested results."""
    if isinstance(results, dict):
        for key, value in results.items():
            if key == "machine":
                yield value
            else:
                yield from machines(value)


def compute(name: str, out: Path | None, quick: bool, options: dict) -> None:
    """Computes one experiment, and says what changed."""
    module = EXPERIMENTS[name]
    before = published(name)
    with cell_bar(name) as advance:
        found = module.run(out, quick, device(), advance, **options)
    if rank() > 0:
        return
    print(changes.report(before, found))
    print(f"results: {record.shipped(name) if out is None else out}")


@contextmanager
def cell_bar(description: str) -> Iterator[record.Bar]:
    """A progress bar over cells, which is there once the work begins."""
    bars = []

    def advance(cell: str, done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(desc=description, unit="cell", total=total, disable=rank() > 0))
        bars[0].update(done - bars[0].n)
        bars[0].set_postfix_str(cell)

    try:
        yield advance
    finally:
        for bar in bars:
            bar.close()

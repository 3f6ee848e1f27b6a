"""What all experiments have in common: cells of work, and one file for what they give.

The results of an experiment are a JSON file: ``experiment``, its name; ``format``, the version of
this form; ``settings``, what was computed; and ``results``. Work is cut into cells, each of which
adds a part to the results. An interrupted run goes on with the cells that the file lacks, and
several processes that are given one file share the cells among them.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from ..files import Busy, check_writable, locked, merged, read_json, update_json
from ..version import __version__

FORMAT = 1
"""The version of the form of the files."""

SHIPPED = Path(__file__).parent.parent / "results"
"""The folder of the published results; it is book/results, too.

:meta hide-value:
"""

IDENTITY = ("sha256", "images")
"""Numbers of other weights, or of another number of images, are not mixed."""

Bar = Callable[[str, int, int], None]
"""Called before each cell with its name, the number of those before it, and that of all; and once
more in the end."""


def silent(cell: str, done: int, total: int) -> None:
    """A bar that shows nothing."""


def check_published(out: Path | None, folder: Path | None) -> None:
    """ValueError if published results (``out`` is None) are asked of another folder's models."""
    if out is None and folder is not None:
        raise ValueError("folder: the published results are about the models of the package")


@dataclass(frozen=True)
class Cell:
    """A piece of work.

    Attributes:
        name: unlike that of all other cells.
        done: whether the results hold it.
        compute: from the results so far, what is to be merged into them.
    """

    name: str
    done: Callable[[dict], bool]
    compute: Callable[[dict], dict]


def shipped(experiment: str) -> Path:
    """Where the published results of an experiment lie.

    Example:
        >>> shipped("density").name
        'density.json'
    """
    return SHIPPED / f"{experiment}.json"


def read(experiment: str, path: Path | None = None) -> dict:
    """The results that a file holds, the published ones by default.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of results, or one of another experiment or format.

    Example:
        >>> len(read("dip-width")) > 0
        True
    """
    path = shipped(experiment) if path is None else path
    content = read_json(path)
    check_content(content, experiment, path)
    return content["results"]


def check_content(content: object, experiment: str, path: Path) -> None:
    """ValueError unless it is what a file of this experiment holds."""
    wanted = f"results of the experiment {experiment!r}, format {FORMAT}"
    if not isinstance(content, dict) or not {"experiment", "format"} <= content.keys():
        raise ValueError(f"{path}: expected {wanted}, got something else; choose another file")
    got = content["experiment"], content["format"]
    if got != (experiment, FORMAT):
        raise ValueError(f"{path}: expected {wanted}, got those of {got[0]!r}, format {got[1]}")
    for part in ("settings", "results"):
        if not isinstance(content.get(part), dict):
            raise ValueError(f"{path}: expected {wanted}, got a file without {part}")


class Record:
    """The results of an experiment, in a file to which several processes may add.

    Args:
        experiment: its name.
        path: the file, which need not exist; None: the published results.
        settings: what is to be computed. Results of other settings are not mixed with it.

    Attributes:
        results: what the file holds, as of the last look.

    Raises:
        ValueError: nothing can be written there, or there is something else.
    """

    def __init__(self, experiment: str, path: Path | None = None, settings: dict | None = None):
        self.experiment = experiment
        self.path = shipped(experiment) if path is None else Path(path)
        self.settings = json.loads(json.dumps(settings or {}))  # tuples are lists in a file
        check_writable(self.path)
        self.look()

    def look(self) -> dict:
        """Reads the file again."""
        content = read_json(self.path) if self.path.exists() else self._empty()
        self.results = self._checked(content)["results"]
        return self.results

    def add(self, part: dict) -> None:
        """Merges a part into the file."""

        def change(content: object) -> dict:
            content = self._checked(content)
            return content | {"results": merged(content["results"], part, IDENTITY)}

        self.results = update_json(self.path, change, self._empty())["results"]

    def work(self, cells: Iterable[Cell], bar: Bar = silent) -> dict:
        """Computes the cells that the file lacks, and that no other process computes.

        Those of other processes are waited for; where one ends without its result, this one takes
        over. So in the end all are there.

        Returns:
            The results.
        """
        cells, others, done = list(cells), [], 0
        for cell in cells:
            bar(cell.name, done, len(cells))
            try:
                self._compute(cell, patience=0)
                done += 1
            except Busy:
                others.append(cell)
        for cell in others:
            bar(cell.name, done, len(cells))
            self._compute(cell, patience=-1)
            done += 1
        bar("", done, len(cells))
        return self.look()

    def _compute(self, cell: Cell, patience: float) -> None:
        if cell.done(self.results):
            return
        label = hashlib.sha256(cell.name.encode()).hexdigest()[:12]
        with locked(self.path.with_name(f"{self.path.name}-{label}"), patience):
            if not cell.done(self.look()):
                self.add(cell.compute(self.results))

    def _empty(self) -> dict:
        return {
            "experiment": self.experiment,
            "format": FORMAT,
            "settings": self.settings,
            "results": {},
        }

    def _checked(self, content: object) -> dict:
        check_content(content, self.experiment, self.path)
        if content["settings"] != self.settings:
            raise ValueError(
                f"{self.path}: its results are of other settings; remove it, or choose another file"
            )
        return content


def run_cells(
    file: Record,
    names: Iterable[str],
    compute: Callable[[str, torch.device | str], dict],
    device: torch.device | str,
    bar: Bar,
) -> dict:
    """Works on cells that are told by their names alone, each with results of its own.

    Args:
        file: of the results, by the name of a cell.
        names: of the cells.
        compute: from a name and the device to the results of the cell.
        device: where to compute.
        bar: see `Bar`.
    """

    def cell(name: str) -> Cell:
        return Cell(
            name,
            lambda results: name in results,
            lambda results: {name: compute(name, device) | {"machine": machine(device)}},
        )

    return file.work([cell(name) for name in names], bar)


def machine(device: torch.device | str) -> dict[str, str]:
    """Where and when a result was computed."""
    kind = torch.device(device).type
    processor = torch.cuda.get_device_name() if kind == "cuda" else platform.processor()
    return {
        "device": f"{kind} {processor or platform.machine()}".strip(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lemmse": __version__,
        "date": date.today().isoformat(),
    }


def rounded(values: Tensor, digits: int = 5) -> list:
    """Numbers for a JSON file, with so many significant digits; what is not finite is None.

    Example:
        >>> rounded(torch.tensor([1 / 3, torch.inf]))
        [0.33333, None]
    """
    return [
        rounded(value, digits)
        if value.ndim
        else (float(f"{value.item():.{digits}g}") if value.isfinite() else None)
        for value in values
    ]

"""All students of a folder: marked one after the other, kept as they come."""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lemmse.exercises import EXERCISES
from lemmse.files import make_folder, read_json, write_json
from lemmse.marking import report
from lemmse.marking.handin import RESULTS, Mark, mark_notebook
from lemmse.marking.limits import Limits
from lemmse.version import __version__

_CHAPTER = re.compile(r"(\d\d)-")


@dataclass(frozen=True)
class Student:
    """A name, and the notebooks handed in under it."""

    name: str
    notebooks: tuple[Path, ...]


def collect(folder: Path) -> list[Student]:
    """The students of a folder: one for each folder in it, and one for each notebook beside these.

    Raises:
        ValueError: there is no notebook.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder with what was handed in, got {folder}")
    students = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found = sorted(entry.rglob("*.ipynb"))
            shown = [p for p in found if not any(x[0] == "." for x in p.relative_to(folder).parts)]
            students.append(Student(entry.name, tuple(shown)))
        elif entry.suffix == ".ipynb":
            students.append(Student(entry.stem, (entry,)))
    if not any(student.notebooks for student in students):
        raise ValueError(
            f"{folder}: expected <student>/<notebook>.ipynb or <student>.ipynb, found no notebook"
        )
    names = [student.name for student in students]
    if len(set(names)) != len(names):
        raise ValueError(f"{folder}: two hand-ins have the same name among {', '.join(names)}")
    return students


def wanted_exercises(students: list[Student]) -> list[str]:
    """The exercises of every chapter that anyone handed in, told by the names of the files.

    Raises:
        ValueError: no file has the name of a chapter.
    """
    names = [path.name for student in students for path in student.notebooks]
    chapters = {int(found.group(1)) for found in map(_CHAPTER.search, names) if found}
    numbers = [n for n in EXERCISES if int(n.partition(".")[0]) in chapters]
    if not numbers:
        raise ValueError(
            "expected files named as the chapters, 07-le-mmse.ipynb, or a list of --exercises"
        )
    return sorted(numbers, key=_order)


def mark_folder(
    folder: Path,
    out: Path,
    exercises: list[str] | None = None,
    secret: str = "",
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    jobs: int = 1,
    tell: Callable[[str], None] = print,
) -> dict[str, list[Mark]]:
    """Mark all students, and write marks.csv, summary.md and feedback/<student>.md to `out`.

    Everything is written again after each student. What was marked before, with the same notebooks,
    exercises, secret and limits, is not run again.

    Args:
        folder: what was handed in; see ``collect``.
        out: where the results go.
        exercises: numbers; by default all of the chapters that were handed in.
        secret: adds inputs that students have not seen.
        limits: of time and memory.
        jobs: how many notebooks run at a time.
        tell: takes a line about each student.

    Returns:
        Name of the student -> marks, in the order of the exercises.

    Raises:
        ValueError: no notebooks, an unknown exercise, or an `out` inside of `folder`.
    """
    students = collect(folder)
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"expected an output folder outside of {folder}, got {out}")
    unknown = sorted(set(exercises or []) - set(EXERCISES), key=str)
    if unknown:
        raise ValueError(f"unknown exercises: {', '.join(unknown)}")
    wanted = sorted(exercises, key=_order) if exercises else wanted_exercises(students)
    make_folder(out / "students")
    marks: dict[str, list[Mark]] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            started = [pool.submit(_kept, out, s, wanted, secret, limits, stop) for s in students]
            for done in as_completed(started):
                name, found, said = done.result()
                marks[name] = found
                report.write(out, dict(sorted(marks.items())), len(students), bool(secret))
                tell(f"{len(marks)}/{len(students)} {name}: {tally(found)} ({said})")
        finally:
            stop.set()
    return marks


def _kept(out: Path, student: Student, wanted, secret, limits, stop):
    """(name, marks, how they came): those of an earlier run, or new ones, which are kept."""
    start, path = time.monotonic(), out / "students" / f"{student.name}.json"
    same = fingerprint(student, wanted, secret, limits)
    found = read(path, same)
    if found is not None:
        return student.name, found, "marked before"
    found = mark_student(student, wanted, secret, limits, stop)
    if not stop.is_set():
        write_json(path, {"print": same, "marks": [mark.as_dict() for mark in found]})
    return student.name, found, f"{time.monotonic() - start:.0f} s"


def mark_student(student, wanted, secret, limits, stop) -> list[Mark]:
    """The marks of a student; an exercise found in several notebooks counts by its best answer."""
    found = [
        [] if stop.is_set() else mark_notebook(path, _concerned(path, wanted), secret, limits, stop)
        for path in student.notebooks
    ]
    best = {}
    for mark in (mark for marks in found for mark in marks):
        before = best.get(mark.exercise)
        if before is None or RESULTS.index(mark.result) < RESULTS.index(before.result):
            best[mark.exercise] = mark
    nothing = "Nothing was handed in for exercise {}."
    return [best.get(n) or Mark(n, "unwritten", nothing.format(n)) for n in wanted]


def _concerned(path: Path, wanted: list[str]) -> list[str]:
    """Those of the exercises that a file can hold, by its name; all if that tells no chapter."""
    found = _CHAPTER.search(path.name)
    chapters = {found and int(found.group(1))}
    return [n for n in wanted if not found or int(n.partition(".")[0]) in chapters]


def fingerprint(student: Student, wanted: list[str], secret: str, limits: Limits) -> str:
    """All that the marks of a student depend on, as one hash."""
    digest = hashlib.sha256(repr((__version__, wanted, secret, limits)).encode())
    for path in student.notebooks:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read(path: Path, wanted: str) -> list[Mark] | None:
    """The marks of an earlier run, if it was the same; what is no such file counts for nothing."""
    try:
        kept = read_json(path)
        return [Mark(**mark) for mark in kept["marks"]] if kept["print"] == wanted else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def tally(marks: list[Mark]) -> str:
    """How many exercises came to what: "3 right, 1 wrong"."""
    counts = {result: sum(mark.result == result for mark in marks) for result in RESULTS}
    return ", ".join(f"{count} {result}" for result, count in counts.items() if count)


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))

"""One notebook of one student: run in a process of its own, and what its exercises came to."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lemmse.exercises.registry import FINISHES, RUNS
from lemmse.marking.limits import Limits

RESULTS = ("right", "wrong", "error", "timeout", "unwritten")
"""What an exercise can come to, the best first."""

_CHECK = re.compile(r"""check\(\s*["'](\d+\.\d+)["']""")
_TOTAL = 10  # a notebook may take so many times as long as a cell


@dataclass(frozen=True)
class Mark:
    """What one exercise of one student came to.

    Attributes:
        exercise: "7.2".
        result: one of ``RESULTS``.
        text: the answer in words.
        failed: the property that fails, or what stopped the function or its cell; None if right.
    """

    exercise: str
    result: str
    text: str
    failed: str | None = None

    def as_dict(self) -> dict:
        """For a JSON file."""
        return asdict(self)


def code_cells(path: Path) -> list[str]:
    """The code cells of a notebook.

    Raises:
        ValueError: the file is no notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            "".join(cell["source"])
            for cell in cells
            if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
        ]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name}: not a notebook ({error})") from error


def mark_notebook(
    path: Path, wanted: list[str], secret: str, limits: Limits, stop: threading.Event
) -> list[Mark]:
    """What the wanted exercises came to in a notebook; none is missing.

    A cell that outlasts its time, or kills its process, is left out when the rest runs again.
    """
    try:
        cells = code_cells(path)
    except ValueError as error:
        return [Mark(number, "error", str(error), "is a notebook") for number in wanted]
    asked = [_CHECK.findall(cell) for cell in cells]
    marks: dict[str, Mark] = {}
    skip, end = set(), time.monotonic() + _TOTAL * limits.seconds
    while True:
        current, last = None, {}
        for last in _events(cells, secret, limits, skip, end, stop):
            if last["event"] == "cell":
                current = last["index"]
            elif last["event"] == "check":
                marks[last["number"]] = _judged(last)
            elif last["event"] == "error":
                for number in asked[last["index"]]:
                    marks.setdefault(number, _stopped("error", number, last["text"]))
        if last["event"] == "end" or stop.is_set():
            break
        if current is None or time.monotonic() >= end:
            for number in wanted:
                marks.setdefault(number, _stopped(last["event"], number, last["text"]))
            break
        for number in asked[current]:
            marks[number] = _stopped(last["event"], number, last["text"])
        skip.add(current)
    missing = "the cell with its check was not found or did not come to it"
    return [
        marks.get(number) or Mark(number, "unwritten", f"Exercise {number}: {missing}.")
        for number in wanted
    ]


def _judged(event: dict) -> Mark:
    """The mark for a check's answer: a function that cannot run, or does not end, is no answer."""
    number, text, failed = event["number"], event["text"], event["failed"]
    if failed == FINISHES:
        return Mark(number, "timeout", text, "the function does not end")
    if failed == RUNS:
        raised = re.search(r"It raised (\w+)", text)
        what = f"{raised.group(1)} in the function" if raised else "the function takes other inputs"
        return Mark(number, "error", text, what)
    return Mark(number, event["status"], text, failed)


def _stopped(kind: str, number: str, text: str) -> Mark:
    """The mark of an exercise whose cell did not come to its check."""
    what = {"late": "the cell does not end", "died": "the process died"}.get(
        kind, f"{text.partition(':')[0]} in the cell"
    )
    result = "timeout" if kind == "late" else "error"
    return Mark(number, result, f"Exercise {number}: the cell stopped. {text}.", what)


def _events(cells, secret, limits, skip, end, stop) -> Iterator[dict]:
    """What the worker tells, and at last how it ended: "end", "late" or "died"."""
    order = {"cells": cells, "secret": secret, "memory": limits.memory, "skip": sorted(skip)}
    with tempfile.TemporaryDirectory(prefix="lemmse-mark-") as folder:
        worker = _start(order, folder)
        lines: queue.Queue = queue.Queue()
        threading.Thread(target=_read, args=(worker.stdout, lines), daemon=True).start()
        try:
            yield from _until_the_end(lines, limits.seconds, end, stop)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def _start(order: dict, folder: str) -> subprocess.Popen:
    """A worker in a fresh interpreter and an empty folder, with its order."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONPATH": path}
    environ.pop("LEMMSE_BUILD", None)
    worker = subprocess.Popen(
        [sys.executable, "-m", "lemmse.marking.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environ,
        text=True,
        start_new_session=True,
    )
    with suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(order))
        worker.stdin.close()
    return worker


def _read(stream, lines: queue.Queue) -> None:
    """Put every line into the queue, and None when there are no more."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _until_the_end(lines: queue.Queue, seconds: float, end: float, stop) -> Iterator[dict]:
    """The events, with a new deadline at every cell."""
    deadline = min(end, time.monotonic() + seconds)
    while True:
        try:
            line = lines.get(timeout=0.5)
        except queue.Empty:
            if stop.is_set() or time.monotonic() >= deadline:
                yield {"event": "late", "text": f"Still running after {seconds:g} s"}
                return
            continue
        if line is None:
            yield {"event": "died", "text": "Process died: out of memory, or a crash"}
            return
        event = json.loads(line)
        if event["event"] == "cell":
            deadline = min(end, time.monotonic() + seconds)
        yield event
        if event["event"] == "end":
            return

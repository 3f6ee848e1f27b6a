"""The process that runs one notebook: ``python -m lemmse.marking.worker``.

It reads one JSON object, {cells, secret, memory, skip}, from stdin, executes the cells in order,
the checks with inputs drawn from the secret too, and writes one JSON object a line to stdout: that
a cell starts, what a check answered, or the error at which a cell stopped. What the cells
themselves print goes nowhere.
"""

import json
import os
import sys

from IPython.core.interactiveshell import InteractiveShell

from lemmse import exercises


def take_stdout():
    """A file that writes to stdout; from now on, whatever else is printed is lost."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return events


def limit_memory(gigabytes: float) -> None:
    """From now on, an allocation beyond the limit fails, as it does where memory is short."""
    import resource

    most = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def run(order: dict, write) -> None:
    """Execute the cells; `write` takes the events as dictionaries."""

    def check(number, function):
        # All hints: there is no next time that could bring another one.
        result = plain(number, function, secret=order["secret"], stage=3)
        write(
            event="check",
            number=result.number,
            status=result.status,
            failed=result.failed,
            text=str(result),
        )
        return result

    plain, exercises.check = exercises.check, check
    shell = InteractiveShell.instance()
    for index, source in enumerate(order["cells"]):
        if index in order["skip"]:
            continue
        write(event="cell", index=index)
        found = shell.run_cell(source, store_history=False)
        error = found.error_before_exec or found.error_in_exec
        if error is not None:
            write(event="error", index=index, text=f"{type(error).__name__}: {error}")


def main() -> None:
    """Carry out the order on stdin."""
    order = json.load(sys.stdin)
    events = take_stdout()
    limit_memory(order["memory"])

    def write(**event):
        print(json.dumps(event), file=events, flush=True)

    run(order, write)
    write(event="end")
    # Threads that the notebook left behind must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()

"""The command line, `python -m lemmse <command>`; every command is a module of `commands`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message on stderr and leave with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `python -m lemmse`; None: those of this process.

    Returns:
        The exit code: 0; 2 after a user's error, told in one line on stderr; 130 if interrupted;
        141 if whoever read the output stopped, so that not all of the work may be done.

    Example:
        >>> main(["data", "verify", "photo"])
        2
    """
    prepare_streams()
    try:
        args = parser().parse_args(arguments)
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, `head` say, has enough
        drop_output()
        return 141
    except (ValueError, OSError, ImportError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"lemmse: error: {text}", file=sys.stderr)
        drop_output()
        return 2
    except RuntimeError as error:
        if "memory" not in str(error):  # torch has no class for that on the processor
            raise
        print("lemmse: error: not enough memory: take fewer images", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lemmse: interrupted", file=sys.stderr)
        return 130
    return 0


def prepare_streams() -> None:
    """A stream that is closed leads nowhere; letters that one does not have are written as codes.

    So neither stops a command after the work is done.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (to the end of the process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Drops what cannot be printed: or else Python tries again at its end, and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> Parser:
    """The arguments of all commands.

    They are imported here, and torch with them: so an interruption of that is told in one line.
    """
    from .commands import data, estimate, explain, mark, models, reproduce, train

    top = Parser(
        prog="python -m lemmse",
        description="Exact minimum mean square error estimators for imaging inverse problems.",
    )
    commands = top.add_subparsers(metavar="command", required=True)
    estimate.add(commands)
    explain.add(commands)
    data.add(commands)
    models.add(commands)
    train.add(commands)
    reproduce.add(commands)
    mark.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())

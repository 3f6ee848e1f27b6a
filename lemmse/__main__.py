"""The command line, `python -m lemmse <command>`; every command is a module of `commands`."""

import argparse
import sys
from typing import NoReturn

from .commands import data, estimate, mark, models, reproduce, train


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
        The exit code: 0; 2 after a user's error, told in one line on stderr; 130 if interrupted.

    Example:
        >>> main(["data", "verify", "photo"])
        2
    """
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, OSError, ImportError) as error:
        print(f"lemmse: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lemmse: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> Parser:
    """The arguments of all commands."""
    top = Parser(
        prog="python -m lemmse",
        description="Exact minimum mean square error estimators for imaging inverse problems.",
    )
    commands = top.add_subparsers(metavar="command", required=True)
    estimate.add(commands)
    data.add(commands)
    models.add(commands)
    train.add(commands)
    reproduce.add(commands)
    mark.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())

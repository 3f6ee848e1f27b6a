"""The command `models`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import zoo


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser("models", help="list the models of the zoo, or show a card")
    command.add_argument("name", nargs="?", help="show this card, with its results")
    command.add_argument("--missing", action="store_true", help="list what is not trained yet")
    command.add_argument("--folder", type=Path, help="where the models lie [the package's own]")
    command.set_defaults(run=show_models)


def show_models(args: argparse.Namespace) -> None:
    """The command `models`."""
    if args.missing and args.name is not None:
        raise ValueError(f"--missing: expected no name beside it, got {args.name}")
    there = zoo.names(args.folder)
    if args.missing:
        print("\n".join(name for name in zoo.catalogue() if name not in there))
    elif args.name is not None:
        for key, value in zoo.card(args.name, args.folder).items():
            if key != "history":
                print(f"{key}: {value}")
    else:
        for name in there:
            description = zoo.card(name, args.folder)
            print(f"{name:<48}{description['parameters']:>9} parameters")

"""The command `data`."""

import argparse

from .. import datasets


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser("data", help="list, fetch or verify data sets")
    command.set_defaults(run=list_data)
    actions = command.add_subparsers(metavar="action")
    fetch = actions.add_parser("fetch", help="download a data set, once")
    fetch.add_argument("name", help="fashion-mnist or cifar10")
    fetch.set_defaults(run=fetch_data)
    verify = actions.add_parser("verify", help="read data sets whole and print their checksums")
    verify.add_argument("name", nargs="?", help="default: all that are on this machine")
    verify.set_defaults(run=verify_data)


def list_data(args: argparse.Namespace) -> None:
    """The command `data`: what there is, how much, and where."""
    print(f"{'data set':<14}{'train':>8}{'test':>8}  where")
    for name in datasets.NAMES:
        train, test = (datasets.describe(name, split) for split in datasets.SPLITS)
        where = train["path"] or f"not here; get it with: python -m lemmse data fetch {name}"
        print(f"{name:<14}{train['count']:>8}{test['count']:>8}  {where}")


def fetch_data(args: argparse.Namespace) -> None:
    """The command `data fetch`."""
    datasets.fetch(args.name)
    print(f"{args.name}: {datasets.describe(args.name)['path']}")


def verify_data(args: argparse.Namespace) -> None:
    """The command `data verify`: read everything, with all checks, and print checksums."""
    for name in datasets.NAMES if args.name is None else [args.name]:
        for split in datasets.SPLITS:
            description = datasets.describe(name, split)
            if args.name is None and description["path"] is None:
                print(f"{name} {split}: not on this machine")
            else:
                digest = datasets.verify(name, split)
                print(f"{name} {split}: {description['count']} images, sha256 {digest}")

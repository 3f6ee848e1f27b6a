"""The command `train`."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import torch

from .. import datasets, zoo
from ..devices import device
from ..experiments import comparison, record, restoration, variants
from ..files import Busy, locked, make_folder
from ..training import History, Probe, Problem, Settings, train
from ..zoo import ModelSpec, PhysicsSpec, Spec, VariantSpec
from .processes import rank, world


def add(commands) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "train",
        help="train models of the zoo",
        description=f"Train models, each named {Spec.FORM}, {PhysicsSpec.FORM} or "
        f"{VariantSpec.FORM}, and write weights and cards. A model that is already there is "
        "skipped, and one that another process trains. What is not given is what its kind of "
        "network needs. Under torchrun the processes share out the models; each is trained by one "
        "of them.",
    )
    add = command.add_argument
    add("names", nargs="+", help="names, or patterns of names of the catalogue: 'photos/*'")
    add("--out", type=Path, help="folder for the models [the package's own]")
    add("--again", action="store_true", help="train models that are already there, too")
    add("--checkpoints", type=Path, default=Path("_build/checkpoints"), help="[%(default)s]")
    add("--resume", action="store_true", help="go on from checkpoints, where there are any")
    add("--steps", type=int, help="number of updates")
    add("--batch", type=int, help="images a step")
    add("--crop", type=int, help="side of the crops in pixels; for local networks only")
    add("--learning-rate", type=float, help="the largest")
    add("--seed", type=int, help="of weights, batches and noise [that of the name, or 0]")
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the products; bfloat16 is faster where the processor has it [%(default)s]",
    )
    command.set_defaults(run=train_models)


def train_models(args: argparse.Namespace) -> None:
    """The command `train`."""
    names = own_share(wanted(args.names))
    folder = zoo.store.WEIGHTS if args.out is None else args.out
    for place in (folder, args.checkpoints):
        make_folder(place)
    # One problem's probe serves its three architectures.
    local = lru_cache(maxsize=1)(lambda problem: comparison.probe(Spec(*problem), device()))
    probes = {
        Spec: lambda spec: local(spec.problem),
        PhysicsSpec: lambda spec: restoration.probe(spec, device()),
        VariantSpec: lambda spec: variants.probe(spec, device()),
    }
    for name in names:
        path = args.checkpoints / f"{name.replace('/', '-')}.pt"
        try:
            with locked(path, patience=0):
                if name in zoo.names(folder) and not args.again:
                    print(f"{name}: already there")
                    continue
                spec = zoo.parse(name)
                settings = chosen_settings(spec, args)
                print(name, flush=True)
                probe = probes[type(spec)](spec)
                train_model(spec, settings, probe, path, args.resume, folder)
                path.unlink()
        except Busy:
            print(f"{name}: another process trains it")


def own_share(names: list[str]) -> list[str]:
    """The models that this process trains, of the processes that torchrun started."""
    share = names[rank() :: world()]
    if world() > 1:
        print(f"process {rank() + 1} of {world()} trains {len(share)} of the models", flush=True)
    return share


def chosen_settings(spec: ModelSpec, args: argparse.Namespace) -> Settings:
    """How to train a model: as its kind needs it, but for what the command line says."""
    options = ("steps", "batch", "crop", "learning_rate", "seed", "precision")
    given = {option: getattr(args, option) for option in options}
    return replace(spec.settings, **{k: value for k, value in given.items() if value is not None})


def train_model(
    spec: ModelSpec, settings: Settings, probe: Probe, checkpoint: Path, resume: bool, out
) -> None:
    """Trains one model and writes it."""
    where = device()
    problem = comparison.problem(spec, where)
    network = spec.seeded(problem, settings.seed).to(where)
    start = time.monotonic()
    history = train(network, problem, settings, probe, checkpoint, resume)
    facts = _facts(spec, problem, settings, history, where)
    facts["seconds"] = max(1, round(time.monotonic() - start))
    exact = probe(network.eval())
    network.load_state_dict(zoo.rounded(network))
    stored = probe(network)
    facts["precision_cost"] = round(max(exact[key] - stored[key] for key in exact), 4)
    if isinstance(spec, PhysicsSpec):
        facts |= restoration.scores(network, spec, where)
    path = zoo.save(network, spec, facts, out)
    print(f"{path}: " + ", ".join(f"{key}: {value:.1f} dB" for key, value in stored.items()))


def _facts(
    spec: ModelSpec, problem: Problem, settings: Settings, history: History, where: torch.device
) -> dict:
    """What the card tells of the training."""
    description = datasets.describe(spec.dataset)
    return {
        "data": {
            "dataset": spec.dataset,
            "title": description["title"],
            "images": len(problem.images),
            "checksum": datasets.checksum(problem.images),
        },
        "task": spec.task,
        "physics": spec.physics,
        "preinverse": problem.description()["preinverse"],
        "settings": asdict(settings),
        "machine": record.machine(where),
        "history": [
            {key: round(value, 4) for key, value in record.items()} for record in history.records
        ],
    }


def wanted(patterns: list[str]) -> list[str]:
    """The models asked for: names of any form, and patterns of names of the catalogue."""
    chosen = []
    for pattern in patterns:
        if any(sign in pattern for sign in "*?["):
            chosen += zoo.matching([pattern], zoo.catalogue())
        else:
            chosen.append(zoo.parse(pattern).name)
    return list(dict.fromkeys(chosen))

"""The four figures: their data, computed cell by cell, so that an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from ..files import write_json
from . import dip_image, dip_step, dip_stopping, dip_width
from .comparison import machine

# Each has settings(), cells() and compute(cell, device).
FIGURES = {1: dip_width, 2: dip_step, 3: dip_image, 4: dip_stopping}

# The folder of the published results.
RESULTS = Path(__file__).parent.parent / "results"


def path(number: int) -> Path:
    """Where the published results of a figure lie.

    Raises:
        ValueError: there is no such figure.

    Example:
        >>> path(1).name
        'dip-figure1.json'
    """
    if number not in FIGURES:
        raise ValueError(f"figure: expected one of {', '.join(map(str, FIGURES))}, got {number}")
    return RESULTS / f"dip-figure{number}.json"


def results(number: int) -> dict:
    """The published results of a figure: ``settings``, and ``cells`` by name.

    Example:
        >>> results(1)["settings"]["runs"]
        50
    """
    return json.loads(path(number).read_text())


def compute(
    number: int,
    out: Path | None = None,
    device: torch.device | str = "cpu",
    bar: Callable[[str], None] = lambda cell: None,
) -> dict:
    """Computes the cells of a figure that its file does not have, and writes it after each.

    Every cell has its own seed, so that the numbers do not depend on interruptions. A file with
    other settings is begun anew.

    Args:
        number: 1 to 4.
        out: the JSON file; None: the published one.
        device: where to compute.
        bar: called with the name of every cell once it is there.

    Returns:
        ``settings``; and ``cells``: for every name its numbers, and under ``machine`` where they
        were computed.
    """
    out = path(number) if out is None else out
    figure = FIGURES[number]
    settings = json.loads(json.dumps(figure.settings()))
    done = json.loads(out.read_text()) if out.is_file() else {}
    if done.get("settings") != settings:
        done = {"settings": settings, "cells": {}}
    for cell in figure.cells():
        if cell not in done["cells"]:
            done["cells"][cell] = figure.compute(cell, device) | {"machine": machine(device)}
            write_json(out, done)
        bar(cell)
    return done

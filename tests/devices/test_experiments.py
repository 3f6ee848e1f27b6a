"""Experiments and the command `train` on the pretend accelerator: the numbers of the CPU."""

import json
from unittest import mock

import pretend
import pytest
import torch
from untrained import save_untrained

from lemmse import zoo
from lemmse.__main__ import main
from lemmse.commands import train
from lemmse.experiments import (
    EXPERIMENTS,
    comparison,
    data_efficiency,
    deficit,
    density,
    dip_image,
    dip_step,
    dip_stopping,
    dip_width,
    infrared,
    ladder,
    lista,
    pooling,
    saturation,
    scale,
    structure,
    tomography,
    variants,
    whose,
)
from lemmse.training import Settings
from lemmse.zoo import Spec, VariantSpec

NAMES = [f"photos-grey/denoising/{kind}-p3-n6" for kind in ("patchmlp", "resnet", "unet")]
VARIANT = "photos-grey/denoising/patchmlp-p3-blind-n6"
POOLING = "photos-grey/denoising/unet-p7-pool2-n6"
TRAINED = [
    VARIANT,
    NAMES[2],
    *(f"photos-grey/blur/{kind}-k1" for kind in ("lista", "ista", "proximal")),
]


def untrained_pooling(name):
    """In the place of `zoo.load`: the same random weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VariantSpec.parse(name).network(1, size={"width": 8}).eval()


SMALL = {
    dip_image: {
        **{"TRAINING": 12, "PHOTOS": 2, "BATCH": 2, "DRAWS": 1, "ITERATIONS": 3, "RECORD": 1},
    },
    dip_step: {"RUNS": 2, "SIZES": (2,), "WIDTHS": (20,), "STEPS": (0.5, 500.0), "ITERATIONS": 20},
    dip_stopping: {
        "RUNS": 2,
        "SIZE": 3,
        "WIDTHS": {1.0: 50},
        "STEPS": {1.0: 0.1},
        "ITERATIONS": {1.0: 20},
    },
    dip_width: {"RUNS": 2, "SIZES": (2,), "FEW": 2, "SHARES": (1.0,), "ITERATIONS": 20},
    tomography: {"IMAGES": 20, "PHOTOGRAPHS": 2, "PIXELS": 2, "CASES": tomography.CASES[:1]},
    data_efficiency: {
        **{"IMAGES": 20, "TEST_IMAGES": 5, "HELD_OUT": 4, "STEPS": 2},
        "QUICK": [(0, 2, "proximal")],
    },
    saturation: {
        **{"IMAGES": 20, "TEST_IMAGES": 5, "HELD_OUT": 4, "STEPS": 2, "NEWTON": 2},
        "CHOSEN": 2,
        "QUICK": [("unrolled", 2, 0), ("undone, closed", 2, 0)],
    },
    lista: {
        **{"PHOTOS": 6, "HELD_OUT": 2, "TEST_PHOTOS": 2, "SEEDS": 2, "BUDGETS": (1, 2, 3)},
        "cells": lambda: ["none 2", "ista 2"],
    },
    structure: {
        **{"IMAGES": 6, "HELD_OUT": 2, "TEST_IMAGES": 2, "SEEDS": 2, "STEPS": 2, "RECORD": 1},
        "cells": lambda: ["adjoint | 2", "diagonal and a free layer | 2"],
    },
    infrared: {
        **{"SCENES": 6, "HELD_OUT": 2, "TEST_SCENES": 2, "PRIOR": 20, "SEEDS": 2, "BATCH": 2},
        **{"BUDGETS": (1, 2)},
        "CONTESTANTS": {
            "one after the other": {"restoration rate": (1e-3,), "rate": (1e-3,)},
            "together": {"rate": (1e-3,), "weight": (0.1,)},
        },
    },
    ladder: {
        "PROBLEMS": {"denoising": Spec("photos-grey", "denoising", patch_size=3, images=6)},
        "WIDTHS": {"narrow": ({"patchmlp": {"width": 8, "depth": 1}}, (2,))},
        "SIGMAS": (0.2,),
        "TRAINING": Settings(batch=4, crop=4, records=2),
    },
    deficit: {
        "RESNET": Spec("photos-grey", "denoising", patch_size=3, images=6, architecture="resnet"),
        "CHANGES": {"two last layers": ({"width": 8, "depth": 1}, {})},
        **{"OTHERS": {}, "SEEDS": (0,)},
        "TRAINING": Settings(steps=2, batch=4, crop=4, records=1),
    },
    pooling: {"MODEL": POOLING, "SIGMAS": (0.2,), "load": untrained_pooling},
    whose: {
        **{"DATASET": "photos-grey", "TASKS": ("inpainting",), "COUNTS": (6,), "LARGEST": 6},
        **{"SETS": {"A": 0, "B": 6}, "SIGMAS": (0.2,), "IMAGES": 2, "WIDTH": 8, "DEPTH": 1},
        "TRAINING": Settings(steps=2, batch=4, crop=4, records=1),
    },
}
"""Experiments that take no models, and what makes them small."""

ON_MODELS = {
    comparison: {"images": 1},
    density: {"images": 1, "on": ("photos-grey",), "sigmas": (0.2,)},
    scale: {},
    variants: {"models": (VARIANT,)},
}
"""Experiments on models of a folder, and their options."""

ON_THE_CPU = (tomography, data_efficiency, saturation)
"""Those that compute on the CPU whatever the device, as they say; the command passes it."""


def numbers(results):
    """The numbers of nested results in order, without where and how fast they were computed."""
    if isinstance(results, dict):
        kept = [results[key] for key in results if key not in ("machine", "seconds")]
        return [number for value in kept for number in numbers(value)]
    if isinstance(results, list):
        return [number for value in results for number in numbers(value)]
    return [results]


def same(mine, theirs):
    """Asserts that two results are the same but for the rounding of sums in another order."""
    assert mine.keys() == theirs.keys()
    mine, theirs = numbers(mine), numbers(theirs)
    assert len(mine) == len(theirs) > 0
    for a, b in zip(mine, theirs, strict=True):
        assert a == (pytest.approx(b, rel=1e-3, abs=2e-3) if isinstance(b, float) else b)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three untrained models of one problem, and one of another field."""
    return save_untrained([*NAMES, VARIANT], tmp_path_factory.mktemp("zoo"))


def test_every_experiment_is_tried():
    assert {*SMALL, *ON_MODELS} == set(EXPERIMENTS.values())


@pytest.fixture(autouse=True)
def _few_pixels(monkeypatch):
    monkeypatch.setattr(scale, "IMAGES", 8)
    monkeypatch.setattr(scale, "PIXELS", 3)
    monkeypatch.setattr(variants, "IMAGES", 8)
    monkeypatch.setattr(variants, "PIXELS", 3)
    monkeypatch.setattr(variants, "SIGMAS", (0.2,))
    monkeypatch.setattr(pooling, "IMAGES", 8)
    monkeypatch.setattr(ladder, "SIGMAS", (0.2,))


@pytest.mark.parametrize("experiment", SMALL, ids=[module.NAME for module in SMALL])
def test_experiments_of_dip_and_physics(experiment, tmp_path, monkeypatch):
    for name, value in SMALL[experiment].items():
        monkeypatch.setattr(experiment, name, value)
    whole = experiment not in (data_efficiency, saturation)  # which would train for minutes
    expected = experiment.run(tmp_path / "cpu.json", quick=not whole)
    with pretend.accelerator() as device:
        found = experiment.run(tmp_path / "shadow.json", not whole, device)
    same(found, expected)
    content = json.loads((tmp_path / "shadow.json").read_text())
    used = "cpu" if experiment in ON_THE_CPU else "shadow"
    assert f'"device": "{used} ' in json.dumps(content)


@pytest.mark.parametrize("experiment", ON_MODELS, ids=[module.NAME for module in ON_MODELS])
def test_experiments_on_models(experiment, folder, tmp_path):
    options = {"models": tuple(NAMES), "folder": folder} | ON_MODELS[experiment]
    expected = experiment.run(tmp_path / "cpu.json", True, **options)
    with pretend.accelerator() as device:
        found = experiment.run(tmp_path / "shadow.json", True, device, **options)
    same(found, expected)


@pytest.mark.parametrize("name", TRAINED)
def test_the_command_train(name, tmp_path):
    cards = []
    for kind in ("cpu", "shadow"):
        words = ["--out", str(tmp_path / kind), "--checkpoints", str(tmp_path / "c")]
        short = ["--steps", "2", "--batch", "2"] + ["--crop", "2"] * (name in NAMES)
        with (
            pretend.accelerator(),
            mock.patch.object(train, "device", lambda k=kind: torch.device(k)),
        ):
            assert main(["train", name, *words, *short]) == 0
        cards.append(zoo.card(name, tmp_path / kind))
    theirs, mine = cards
    assert mine["machine"]["device"].startswith("shadow")
    for key in ("architecture", "parameters", "data", "task", "settings"):
        assert mine[key] == theirs[key]
    same({"history": mine["history"]}, {"history": theirs["history"]})

"""The code of chapters on the pretend accelerator: it runs, and glues the CPU's numbers.

A chapter is executed twice, on the CPU and on the pretend accelerator, with fewer images and
training steps, and without its assertions, which hold for the real images only. The numbers for
the prose, which `plots.glue` collects, must be the same, and so must the answers to exercises.
"""

import ast
import dataclasses
import re
from contextlib import ExitStack
from unittest import mock

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pretend
import pytest
import torch
from cell_names import reads_and_binds, statements

import lemmse
import lemmse.training
from lemmse.experiments import density
from sync_notebooks import is_setup, notebook_paths

IMAGES = {
    **{"04-mmse": 40, "05-equivariance": 40, "06-locality": 40, "07-le-mmse": 40},
    **{"09-preinverses": 16, "10-reading": 40, "11-receptive-field": 20, "12-training": 24},
    **{"13-comparison": 40, "17-mri": 40, "24-infrared": 40, "29-symmetry": 12},
    **{"30-sampling": 12, "31-open-problems": 20},
}
"""Chapters that are executed, and how many training images of a data set they get at most."""

TESTS = 40  # test images, at most
STEPS = 12  # of each training, at most
TOLERANCE = 1e-3  # of the glued numbers, relative
LEAST = 0.5  # of a chapter's cells are executed, at least

ON_THE_CPU = {
    *("01-forward-operators", "02-regularisation", "03-bayes", "08-attention"),
    *("14-physics-aware", "18-closed-form", "19-svd-network", "20-unrolling"),
    *("21-data-efficiency", "22-tomography", "23-saturation", "26-recovery-theorem"),
    *("25-deep-inverse-prior", "27-how-wide", "28-when-to-stop", "32-your-own-network"),
}
"""Chapters that never mention `device`: they compute on the CPU wherever they run."""

EDGES = {"15-density": 8, "16-data-and-size": 12}
"""Chapters that need their hundreds of images: executed with small ones, pixels a side."""

TOO_SMALL = {
    "12-training": ["losses, reached = history"],  # the loss after 200 steps
    # Learns from images 60 and on, and the tables of what that gives.
    "17-mri": [
        "mean = images.mean().expand(1, 1, *SIZE)",
        "names, score = list(results[4])",
        "wie, agn, adj, aw3, aw5 = names[1:]",
        "def split_error(estimate, truth, mri)",
        "pictures = []",
        "def score_of(mri, x)",
        'candidates = {\n    "lowest"',
    ],
    "30-sampling": ["others = datasets.load("],  # images beyond the first ones
}
"""Cells that need more images or steps, by a text in them: they fail on the CPU as well."""

COSTLY = {
    "07-le-mmse": ["package = LEMMSE(few, patch_size=7)"],
    "09-preinverses": ["x = test_images[9:10]\ny = measured(mask, x, 0.05)"],
    "10-reading": ["def sample(x, count, patch_size=P)"],
    "11-receptive-field": [
        "narrow = {",
        "class Position(nn.Module)",
    ],
    "17-mri": ["few, truth = images[:40], images[:4]", "widths = [1, 3, 5, 7]"],
    "31-open-problems": ["levels = [0.03, 0.06", "stds = [0.4", "def blurred_edge(x)"],
}
"""Cells that take more than 5 seconds there."""


def cells(path):
    """The code of a chapter, without its setup and its assertions."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not is_setup(cell):
            yield cell.source


def chosen(path):
    """The cells that are executed: all but those named above, and what reads their names."""
    roots = [*TOO_SMALL.get(path.stem, ()), *COSTLY.get(path.stem, ())]
    every = list(cells(path))
    for text in roots:
        assert sum(text in source for source in every) == 1, f"not in one cell: {text}"
    made, lacking, kept = set(), set(), []  # names of executed cells, names of others, cells
    for source in every:
        reads, binds = set(), set()
        for statement in statements(source):
            read, bound = reads_and_binds(statement)
            reads |= read - binds
            binds |= bound
        if any(text in source for text in roots) or reads & (lacking - made):
            lacking |= binds
        else:
            made |= binds
            kept.append(source)
    assert len(kept) >= LEAST * len(every)
    return kept


class _WithoutAssertions(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


def compiled(source, name):
    tree = _WithoutAssertions().visit(ast.parse(source))
    return compile(ast.fix_missing_locations(tree), name, "exec")


def few_images(load, most):
    def loaded(name, split="train", n=None, fallback=None):
        limit = most if split == "train" else TESTS
        return load(name, split, min(n or limit, limit), fallback)

    return loaded


def small_images(load, edge):
    def loaded(name, split="train", n=None, fallback=None):
        return load(name, split, n, fallback)[..., :edge, :edge].contiguous()

    return loaded


def cheap(load, chapter):
    """What loads the images of a chapter: few, or small ones."""
    if chapter in EDGES:
        return small_images(load, EDGES[chapter])
    return few_images(load, IMAGES[chapter])


def short(settings):
    def made(**options):
        made_full = settings(**options)
        return dataclasses.replace(made_full, steps=min(made_full.steps, STEPS))

    return made


class Run:
    """A chapter executed on a device.

    Attributes:
        glued: name -> number.
        checked: (exercise, status) in order.
    """

    def __init__(self, path, device):
        self.glued, self.checked = {}, []
        check, load = lemmse.exercises.check, lemmse.datasets.load

        def glue(name, value, format="{:.2f}"):
            if not isinstance(value, str):
                self.glued[name] = float(value)

        def checked(number, function):
            result = check(number, function)
            self.checked.append((number, result.status))
            return result

        names = {"torch": torch, "plt": plt, "lemmse": lemmse, "np": np}
        names["device"] = torch.device(device)
        settings = lemmse.training.Settings
        with ExitStack() as stack:
            for place, name, instead in (
                (lemmse.plots, "glue", glue),
                (lemmse.exercises, "check", checked),
                (lemmse.datasets, "load", cheap(load, path.stem)),
                (lemmse.training, "Settings", short(settings)),
                (lemmse, "device", lambda: torch.device(device)),
            ):
                stack.enter_context(mock.patch.object(place, name, instead))
            if path.stem in EDGES:
                sides = dict.fromkeys(density.SIDES, EDGES[path.stem])
                stack.enter_context(mock.patch.dict(density.SIDES, sides))
            torch.manual_seed(0)
            for number, source in enumerate(chosen(path)):
                exec(compiled(source, f"{path.stem}, cell {number}"), names)
                plt.close("all")


CHAPTERS = [path for path in notebook_paths() if path.stem in {*IMAGES, *EDGES}]


def test_every_chapter_is_executed_or_named_with_a_reason():
    named = [*IMAGES, *EDGES, *ON_THE_CPU]
    assert sorted(named) == [path.stem for path in notebook_paths()]


def test_the_chapters_on_the_cpu_are_those_that_never_mention_the_device():
    silent = {
        path.stem
        for path in notebook_paths()
        if not any(re.search(r"\bdevice\b", source) for source in cells(path))
    }
    assert silent == ON_THE_CPU


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_same_on_both_devices(path):
    expected = Run(path, "cpu")
    with pretend.accelerator() as device:
        result = Run(path, device)
    assert result.checked == expected.checked
    assert result.glued == pytest.approx(expected.glued, rel=TOLERANCE, abs=1e-5, nan_ok=True)
    assert result.glued or result.checked

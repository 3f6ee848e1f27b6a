"""What the names of all models have in common: reading them, posing the problem, building."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from .. import datasets
from ..operators import Operator
from ..training import Problem, Settings


class ModelSpec(ABC):
    """What a model was trained for, told by its name.

    The kinds are `Spec`, `PhysicsSpec` and `VariantSpec`.

    Attributes:
        FORM: of the names, for people.
        PATTERN: of the names, for the machine.
        dataset: a data set of `lemmse.datasets`.
        task: what is measured of the images.
        images: N, the first so many training images.
        physics: what the network is told of the operator.
    """

    FORM: ClassVar[str]
    PATTERN: ClassVar[re.Pattern]
    TASKS: ClassVar[Iterable[str]]

    dataset: str
    task: str

    def __post_init__(self):
        datasets.find(self.dataset)
        check_known("task", self.task, self.TASKS)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Reads a name.

        Raises:
            ValueError: the name does not have the form of this kind, or a part is unknown.
        """
        match = cls.PATTERN.fullmatch(name)
        if match is None:
            raise ValueError(f"model: expected a name of the form {cls.FORM}, got {name!r}")
        return cls.of_parts(match.groupdict())

    @classmethod
    @abstractmethod
    def of_parts(cls, parts: dict[str, str | None]) -> Self:
        """From the parts of a name."""

    @property
    def name(self) -> str:
        """The name, from which `parse` makes an equal spec."""
        return f"{self.dataset}/{self.task}/{self.model}"

    @property
    @abstractmethod
    def model(self) -> str:
        """The last part of the name."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """How such a network is trained."""

    @abstractmethod
    def operator(self, image_size: tuple[int, int]) -> Operator:
        """The forward operator for images of this height and width."""

    @abstractmethod
    def pose(self, images: Tensor) -> Problem:
        """What the network has to solve, from its training images."""

    @abstractmethod
    def fresh(self, problem: Problem) -> nn.Module:
        """A new network for a problem, as its training begins."""

    def seeded(self, problem: Problem, seed: int, **options: object) -> nn.Module:
        """The same as `fresh`, with the initial weights of a seed; torch's own stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.fresh(problem, **options)

    @abstractmethod
    def build(self, name: str, arguments: dict) -> nn.Module:
        """The network that a card describes, with weights that are not trained."""

    @abstractmethod
    def describe(self, network: nn.Module) -> dict:
        """``name`` and ``arguments`` for `build`, as a card says them."""


def check_known(what: str, value: str, known: Iterable[str]) -> None:
    """ValueError unless a part of a name is one of those known."""
    if value not in known:
        raise ValueError(f"{what}: expected one of {', '.join(known)}, got {value!r}")

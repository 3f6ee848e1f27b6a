"""The networks with physics inside: what their names mean, and how they are trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..datasets import infrared
from ..networks.physics import PhysicsNetwork, RegularisedInverse, SVDNet
from ..networks.proximal import FullyLearned, UnrolledProximal
from ..networks.unrolled import LISTA, UnrolledGradient, UnrolledISTA
from ..operators import Blur, Operator, Tomography
from ..training import Problem, Settings
from .base import ModelSpec, check_known
from .spec import BLUR_STD

ANGLES = 24
"""Tomography measures so many projections, at equal steps over 180 degrees."""

SIGMAS = {"blur": 0.05, "tomography": 0.5, "optics": infrared.SIGMA}
"""The noise level of each task, the only one that its networks are trained for."""

PHYSICS_NETWORKS: dict[str, type[PhysicsNetwork | FullyLearned]] = {
    "inverse": RegularisedInverse,
    "svd": SVDNet,
    "gradient": UnrolledGradient,
    "ista": UnrolledISTA,
    "lista": LISTA,
    "proximal": UnrolledProximal,
    "learned": FullyLearned,
}
DEEPEST = 1000
"""The largest number of layers."""

LAYERED = ("gradient", "ista", "lista", "proximal", "learned")
"""The networks whose number of layers is a choice, and part of their names."""

# A few numbers that all samples speak of: few steps, each a long one. Many weights: the contrary.
_FEW = {"steps": 300, "batch": 32, "learning_rate": 0.03, "ema": 0.98}
_MANY = {"steps": 1500, "batch": 32, "learning_rate": 3e-3, "ema": 0.995}
TRAINING: dict[str, dict] = {
    "inverse": _FEW | {"steps": 400, "learning_rate": 0.1},
    "svd": _FEW | {"steps": 1500, "batch": 128, "learning_rate": 0.1},
    "gradient": _FEW,
    "ista": _FEW,
    "lista": _MANY | {"learning_rate": 1e-4},
    "proximal": _MANY,
    "learned": _MANY,
}


@dataclass(frozen=True, order=True)
class PhysicsSpec(ModelSpec):
    """What a network with physics inside was trained for.

    The name reads ``dataset/task/network[-kK]``, with K the number of layers where there is a
    choice.

    Attributes:
        dataset: a data set of `lemmse.datasets`.
        task: `blur` (Gaussian, std 1), `tomography` (24 angles), or `optics` (the low-resolution
            optics of the infrared images).
        kind: which network: `inverse`, `svd`, `gradient`, `ista`, `lista`, `proximal`, `learned`.
        layers: K, for the last five.

    Raises:
        ValueError: unknown task or network, or layers where there is no choice.

    Example:
        >>> PhysicsSpec.parse("photos-grey/tomography/proximal-k5").layers
        5
        >>> PhysicsSpec("photos-grey", "blur", "svd").name
        'photos-grey/blur/svd'
    """

    FORM: ClassVar = "dataset/task/network[-kK]"
    PATTERN: ClassVar = re.compile(
        r"(?P<dataset>[^/]+)/(?P<task>[^/]+)/(?P<network>[a-z]+)(-k(?P<layers>\d+))?"
    )

    TASKS: ClassVar = tuple(SIGMAS)

    dataset: str
    task: str
    kind: str
    layers: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_known("network", self.kind, PHYSICS_NETWORKS)
        if (self.kind in LAYERED) != bool(self.layers):
            wanted = "a number of layers: -kK" if self.kind in LAYERED else "no layers"
            raise ValueError(f"layers of {self.kind}: expected {wanted}, got {self.layers}")
        if self.layers is not None and self.layers > DEEPEST:
            raise ValueError(f"layers: expected at most {DEEPEST}, got {self.layers}")

    @classmethod
    def of_parts(cls, parts: dict[str, str | None]) -> PhysicsSpec:
        """From the parts of a name."""
        layers = None if parts["layers"] is None else int(parts["layers"])
        return cls(parts["dataset"], parts["task"], parts["network"], layers)

    @property
    def model(self) -> str:
        """The last part of the name."""
        layers = "" if self.layers is None else f"-k{self.layers}"
        return f"{self.kind}{layers}"

    @property
    def images(self) -> int:
        """N, the first so many training images."""
        return 1000

    @property
    def sigma(self) -> float:
        """The noise level of the task."""
        return SIGMAS[self.task]

    @property
    def settings(self) -> Settings:
        """How such a network is trained."""
        return Settings(sigma=self.sigma, crop=None, **TRAINING[self.kind])

    @property
    def physics(self) -> str:
        """Whether the operator is `inside` the network; `none`: it is not."""
        return "none" if self.kind == "learned" else "inside"

    def operator(self, image_size: tuple[int, int]) -> Operator:
        """The forward operator for images of this height and width."""
        if self.task == "tomography":
            return Tomography([180 / ANGLES * i for i in range(ANGLES)], image_size)
        return Blur.gaussian(infrared.OPTICS if self.task == "optics" else BLUR_STD, image_size)

    def pose(self, images: Tensor) -> Problem:
        """What the network has to solve: it is given y itself."""
        return Problem.direct(images, self.operator(tuple(images.shape[2:])))

    def fresh(self, problem: Problem) -> PhysicsNetwork | FullyLearned:
        """A new network for a problem, with its initial weights."""
        network = self.build(**self._architecture(problem.images.shape[1:]))
        if isinstance(network, FullyLearned):
            network.standardise(problem.clean())
        return network

    def describe(self, network: PhysicsNetwork | FullyLearned) -> dict:
        """What a card says of a network, for `build`."""
        return self._architecture(network.image_shape)

    def build(self, name: str, arguments: dict) -> PhysicsNetwork | FullyLearned:
        """The network that a card describes, with its initial weights."""
        shape = tuple(arguments["image_shape"])
        operator = self.operator(shape[1:])
        if name == "learned":  # all that it is told of the operator
            return FullyLearned(operator.example_measurement(shape).shape[1:], **arguments)
        return PHYSICS_NETWORKS[name](operator, **arguments)

    def _architecture(self, image_shape: Sequence[int]) -> dict:
        layers = {} if self.layers is None else {"layers": self.layers}
        return {"name": self.kind, "arguments": {"image_shape": list(image_shape), **layers}}


def physics_catalogue() -> list[PhysicsSpec]:
    """The networks with physics inside that the zoo is meant to hold.

    LISTA's matrices are large: it is there for one task only.

    Example:
        >>> [spec.kind for spec in physics_catalogue() if spec.task == "optics"]
        ['svd', 'proximal', 'learned']
    """
    linear = [("inverse", None), ("svd", None)]
    deep = [("proximal", 5), ("learned", 5)]
    unrolled = [("gradient", 10)] + [("ista", k) for k in (2, 5, 10)]
    unrolled += [("proximal", k) for k in (1, 2)] + deep
    tasks = {
        ("photos-grey", "blur"): [*linear, ("lista", 5), *unrolled],
        ("photos-grey", "tomography"): [*linear, *unrolled],
        ("infrared", "optics"): [linear[1], *deep],
    }
    return [PhysicsSpec(*task, *network) for task, kinds in tasks.items() for network in kinds]

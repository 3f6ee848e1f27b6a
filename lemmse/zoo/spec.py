"""The names of the trained models, and what each name means."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..networks import LocalNetwork, PatchMLP, ResNet, Skip, UNet
from ..operators import MRI, Blur, Identity, Mask, Operator
from ..training import Problem, Settings
from .base import ModelSpec, check_known

DATASETS = ("fashion-mnist", "photos-grey", "photos", "cifar10")
STUDIED = ("denoising", "inpainting", "blur")
"""The tasks of the study; the others are for a chapter each."""
ACCELERATIONS = {"mri4": 4, "mri8": 8}
TASKS = (*STUDIED, *ACCELERATIONS, "sampling")
ARCHITECTURES: dict[str, type[LocalNetwork]] = {
    "unet": UNet,
    "resnet": ResNet,
    "patchmlp": PatchMLP,
}
SIZES = {
    "unet": {"width": 40},
    "resnet": {"width": 64, "depth": 2},
    "patchmlp": {"width": 96, "depth": 3},
}
"""Networks for small training sets."""
WIDE = {
    "unet": {"width": 96},
    "resnet": {"width": 128, "depth": 3, "normalised": False},
    "patchmlp": {"width": 192, "depth": 4},
}
"""Networks for at least `MANY` images, where the small ones are the bottleneck at large sigma."""
MANY = 10_000

HIDDEN_SIDE = 15
"""Inpainting hides a central square of so many pixels on a side."""
BLUR_STD = 1.0
"""The blur is a Gaussian of this standard deviation, in pixels."""
REGULARISATION = 0.01
"""Lambda of the Tikhonov inverse of the blur."""

PREINVERSES = {
    ("denoising", "agnostic"): None,
    ("inpainting", "agnostic"): None,
    ("inpainting", "aware"): "pinv",  # the mask itself
    ("blur", "agnostic"): None,
    ("blur", "aware"): "tikhonov",
    ("blur", "pinv"): "pinv",
    ("mri4", "agnostic"): None,
    ("mri4", "aware"): "pinv",
    ("mri8", "agnostic"): None,
    ("mri8", "aware"): "pinv",
    ("sampling", "agnostic"): None,
}
LARGEST_SIGMA = {"sampling": 4.0}
"""The noise level up to which networks for a task are trained, where it is not 1."""


class LocalSpec(ModelSpec):
    """The name of a local network: how one is made is the same for all of them.

    Attributes:
        architecture: one of `ARCHITECTURES`.
    """

    architecture: str

    @abstractmethod
    def arguments(self, channels: int) -> dict[str, int | bool | str]:
        """What the class of the network is called with."""

    def fresh(self, problem: Problem, size: dict[str, int] | None = None) -> LocalNetwork:
        """A new network for a problem, with random weights and the skip connection fitted.

        Args:
            problem: from `pose`.
            size: width and depth; None: those of the zoo.
        """
        skip = Skip.fit(problem.images, problem.clean(), problem.preinverse)
        return self.network(problem.images.shape[1], skip, size)

    def describe(self, network: LocalNetwork) -> dict:
        """What a card says of a network, for `build`."""
        return {"name": self.architecture, "arguments": self.arguments(network.channels)}

    def build(self, name: str, arguments: dict) -> LocalNetwork:
        """The network that a card describes, with random weights."""
        return ARCHITECTURES[name](**arguments)

    def network(
        self, channels: int, skip: Skip | None = None, size: dict[str, int] | None = None
    ) -> LocalNetwork:
        """A new network of this architecture, with random weights."""
        arguments = self.arguments(channels) | (size or {})
        return ARCHITECTURES[self.architecture](skip=skip, **arguments)


@dataclass(frozen=True, order=True)
class Spec(LocalSpec):
    """What a model was trained for.

    The name reads ``dataset/task/architecture-pP[-physics][-nN]``: the physics is left out where
    there is only one, in denoising and sampling, and N is left out where it is 1,000.

    Attributes:
        dataset: a data set of `lemmse.datasets`.
        task: `denoising`; `inpainting` of a central square of 15 x 15; `blur`, Gaussian, std 1;
            `mri4` and `mri8`, a quarter or an eighth of the columns of k-space; `sampling`,
            denoising up to sigma = 4.
        physics: `agnostic` (B = I; in MRI, z is the zero-filled image, taken for one of the filter
            `MRI.artefacts` with white noise); `aware` (B = the mask, the Tikhonov inverse of the
            blur with lambda = 0.01, or the pseudo-inverse of MRI); `pinv` (that of the blur).
        patch_size: P.
        images: N, the first so many training images.
        architecture: `unet`, `resnet` or `patchmlp`.

    Raises:
        ValueError: unknown data set, task, architecture, or physics.

    Example:
        >>> Spec.parse("fashion-mnist/blur/unet-p5-aware").preinverse
        'tikhonov'
        >>> Spec("photos", "denoising", architecture="resnet").name
        'photos/denoising/resnet-p5'
    """

    FORM: ClassVar = "dataset/task/architecture-pP[-physics][-nN]"
    PATTERN: ClassVar = re.compile(
        r"(?P<dataset>[^/]+)/(?P<task>[^/]+)/(?P<architecture>[a-z]+)-p(?P<patch_size>\d+)"
        r"(-(?P<physics>[a-z]+))?(-n(?P<images>\d+))?"
    )

    TASKS: ClassVar = TASKS

    dataset: str
    task: str
    physics: str = "agnostic"
    patch_size: int = 5
    images: int = 1000
    architecture: str = "patchmlp"

    def __post_init__(self):
        super().__post_init__()
        check_known("architecture", self.architecture, ARCHITECTURES)
        if (self.task, self.physics) not in PREINVERSES:
            known = ", ".join(physics for task, physics in PREINVERSES if task == self.task)
            raise ValueError(f"physics of {self.task}: expected {known}, got {self.physics!r}")

    @classmethod
    def of_parts(cls, parts: dict[str, str | None]) -> Spec:
        """From the parts of a name."""
        return cls(
            parts["dataset"],
            parts["task"],
            parts["physics"] or "agnostic",
            int(parts["patch_size"]),
            int(parts["images"] or 1000),
            parts["architecture"],
        )

    @property
    def model(self) -> str:
        """The last part of the name."""
        physics = f"-{self.physics}" if self.has_physics else ""
        images = "" if self.images == 1000 else f"-n{self.images}"
        return f"{self.architecture}-p{self.patch_size}{physics}{images}"

    @property
    def has_physics(self) -> bool:
        """Whether there is an operator that a network may be told of."""
        return self.task not in ("denoising", "sampling")

    @property
    def problem(self) -> tuple:
        """All but the architecture. Models of one problem are compared with the same LE-MMSE."""
        return self.dataset, self.task, self.physics, self.patch_size, self.images

    @property
    def preinverse(self) -> str | None:
        """The pre-inverse, as the estimators take it; lambda is `REGULARISATION`."""
        return PREINVERSES[self.task, self.physics]

    @property
    def settings(self) -> Settings:
        """How such a network is trained."""
        if self.images >= MANY:
            return Settings(steps=8000, batch=256, crop=4, learning_rate=2e-3)
        if self.task not in STUDIED:
            return Settings(steps=8000, batch=128, crop=4, learning_rate=2e-3)
        return Settings(steps=2000, batch=128, crop=4, learning_rate=3e-3)

    def operator(self, image_size: tuple[int, int]) -> Operator:
        """The forward operator for images of this height and width."""
        if self.task == "inpainting":
            return Mask.central(HIDDEN_SIDE, image_size)
        if self.task == "blur":
            return Blur.gaussian(BLUR_STD, image_size)
        if self.task in ACCELERATIONS:
            mri = MRI.cartesian(ACCELERATIONS[self.task], image_size)
            return mri if self.physics == "aware" else mri.artefacts()
        return Identity()

    def pose(self, images: Tensor) -> Problem:
        """What the network has to solve: it is given z = B y."""
        operator = self.operator(tuple(images.shape[2:]))
        return Problem.of(images, operator, self.preinverse, REGULARISATION)

    def arguments(self, channels: int) -> dict[str, int | bool]:
        """What the class of the network is called with."""
        return {
            "channels": channels,
            "patch_size": self.patch_size,
            # Aware inpainting: hidden pixels are exact zeros, and the formula makes use of it.
            "marks_zeros": (self.task, self.physics) == ("inpainting", "aware"),
            "largest_sigma": LARGEST_SIGMA.get(self.task, 1.0),
            **(WIDE if self.images >= MANY else SIZES)[self.architecture],
        }


def local_catalogue() -> list[Spec]:
    """The local networks that the zoo is meant to hold, the most important ones first.

    Those of 10,000 images are for the claim at the paper's scale; those of 1,000 and fewer for the
    study of small training sets; the last ones for the chapters on MRI and on sampling.

    Example:
        >>> len(local_catalogue()), len(set(local_catalogue()))
        (93, 93)
    """
    fashion, photos = "fashion-mnist", "photos-grey"
    problems = [pair for pair in PREINVERSES if pair[0] in STUDIED and pair[1] != "pinv"]
    every, first = tuple(ARCHITECTURES), ("patchmlp",)
    wide = [
        *_grid(fashion, problems, first),
        *_denoisers(fashion, 7, MANY, first),
        *_grid(fashion, problems, every),
        *_denoisers(fashion, 7, MANY, every),
        *(spec for name in ("cifar10", photos) for spec in _grid(name, problems, first)),
        *(spec for name in ("cifar10", photos) for spec in _denoisers(name, 5, MANY, every)),
        *(spec for p in (9, 11) for spec in _denoisers(fashion, p, MANY, every)),
        *_denoisers(fashion, 17, MANY, first),
    ]
    small = [
        *_grid(fashion, problems, every, images=1000),
        *_grid(photos, problems, every, images=1000),
        *(spec for name in ("photos", "cifar10") for spec in _grid(name, problems, first, 1000)),
        *(
            spec
            for p, n in ((7, 1000), (11, 1000), (5, 100))
            for spec in _denoisers(fashion, p, n, every)
        ),
        Spec(fashion, "blur", "pinv"),
    ]
    chapters = [
        Spec(photos, "mri4", "agnostic", patch_size=3, images=300),
        Spec(photos, "mri4", "aware", patch_size=3, images=300),
        Spec(photos, "mri8", "aware", patch_size=5, images=300),
        Spec(photos, "sampling", images=60),
    ]
    return list(dict.fromkeys([*wide, *small, *chapters]))


def _grid(dataset: str, problems: list, architectures: tuple, images: int = MANY) -> list[Spec]:
    """Networks for several problems, P = 5."""
    return [
        Spec(dataset, task, physics, images=images, architecture=architecture)
        for task, physics in problems
        for architecture in architectures
    ]


def _denoisers(dataset: str, patch_size: int, images: int, architectures: tuple) -> list[Spec]:
    """Networks for denoising."""
    return [
        Spec(dataset, "denoising", "agnostic", patch_size, images, architecture)
        for architecture in architectures
    ]

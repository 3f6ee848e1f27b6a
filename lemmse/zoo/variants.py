"""Networks that are not circular, or not of stride 1, or see no whole patch: names and training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..fields import Field
from ..networks import field_of
from ..operators import Identity
from ..training import Problem, Settings
from .base import check_known
from .spec import SIZES, LocalSpec

VARIANTS: dict[str, tuple[str, dict]] = {
    "zeros": ("resnet", {"padding": "zeros"}),
    "reflect": ("resnet", {"padding": "reflect"}),
    "replicate": ("resnet", {"padding": "replicate"}),
    "stride2": ("resnet", {"stride": 2}),
    "pool2": ("unet", {"pooling": 2}),
    "dilated2": ("resnet", {"dilation": 2}),
    "blind": ("patchmlp", {"blind": True}),
}
"""The architecture that has each variant, and what makes it one."""

SIDES = {"stride2": 7, "pool2": 7, "dilated2": 9}
"""The patch sizes of the catalogue, where they are not 5: 36, 36 and 25 pixels are seen."""

PADDED = {"width": 48}
"""Networks that pad in every layer learn from whole images; they are narrower for that."""

COUNTS = (1_000, 10_000)
SEEDS = (0, 1, 2)


@dataclass(frozen=True, order=True)
class VariantSpec(LocalSpec):
    """What a denoiser with another field than a circular P x P patch was trained for.

    The name reads ``dataset/denoising/architecture-pP-variant[-nN][-sS]``: N is left out where it
    is 1,000, and the seed S where it is 0.

    Attributes:
        dataset: a data set of `lemmse.datasets`.
        task: `denoising`.
        variant: `zeros`, `reflect` or `replicate`, the padding of every layer; `stride2`; `pool2`,
            mean pooling; `dilated2`; `blind`, which does not see the pixel itself and is trained
            without clean images (`Problem.self_supervised`).
        patch_size: P.
        images: N, the first so many training images.
        seed: of initial weights, batches and noise.

    Raises:
        ValueError: unknown data set, task or variant, or an architecture without it.

    Example:
        >>> VariantSpec.parse("fashion-mnist/denoising/resnet-p7-stride2-n10000").images
        10000
        >>> VariantSpec("photos-grey", "denoising", "blind").name
        'photos-grey/denoising/patchmlp-p5-blind'
    """

    FORM: ClassVar = "dataset/denoising/architecture-pP-variant[-nN][-sS]"
    PATTERN: ClassVar = re.compile(
        r"(?P<dataset>[^/]+)/(?P<task>[^/]+)/(?P<architecture>[a-z]+)-p(?P<patch_size>\d+)"
        rf"-(?P<variant>{'|'.join(VARIANTS)})(-n(?P<images>\d+))?(-s(?P<seed>\d+))?"
    )

    TASKS: ClassVar = ("denoising",)

    dataset: str
    task: str
    variant: str
    patch_size: int = 5
    images: int = 1000
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        check_known("variant", self.variant, VARIANTS)

    @classmethod
    def of_parts(cls, parts: dict[str, str | None]) -> VariantSpec:
        """From the parts of a name."""
        spec = cls(
            parts["dataset"],
            parts["task"],
            parts["variant"],
            int(parts["patch_size"]),
            int(parts["images"] or 1000),
            int(parts["seed"] or 0),
        )
        check_known(f"architecture of {spec.variant}", parts["architecture"], [spec.architecture])
        return spec

    @property
    def model(self) -> str:
        """The last part of the name."""
        images = "" if self.images == 1000 else f"-n{self.images}"
        seed = "" if self.seed == 0 else f"-s{self.seed}"
        return f"{self.architecture}-p{self.patch_size}-{self.variant}{images}{seed}"

    @property
    def architecture(self) -> str:
        """The architecture that has this variant."""
        return VARIANTS[self.variant][0]

    @property
    def physics(self) -> str:
        """In denoising there is nothing to know of the operator."""
        return "agnostic"

    @property
    def preinverse(self) -> None:
        """None, B = I, as the estimators take it."""
        return None

    @property
    def settings(self) -> Settings:
        """How such a network is trained, on crops where it sees no border."""
        if "padding" in VARIANTS[self.variant][1]:
            return Settings(batch=16, crop=None, learning_rate=3e-3, seed=self.seed)
        return Settings(batch=128, crop=4, learning_rate=3e-3, seed=self.seed)

    def operator(self, image_size: tuple[int, int]) -> Identity:
        """The forward operator: none."""
        return Identity()

    def pose(self, images: Tensor) -> Problem:
        """What the network has to solve; blind ones are not shown clean images."""
        return Problem.self_supervised(images) if self.variant == "blind" else Problem.of(images)

    def field(self, image_shape: tuple[int, int, int]) -> Field:
        """The field, measured on a narrow network with random weights.

        Args:
            image_shape: (C, H, W) of the images to try, larger than the field.

        Raises:
            ValueError: the images are too small.

        Example:
            >>> VariantSpec("photos-grey", "denoising", "zeros").field((1, 12, 12)).padding
            'zeros'
        """
        network = self.network(image_shape[0], size={"width": 4}).eval()
        measured = field_of(network, image_shape, sigma=0.3)
        if measured.field is None:
            raise ValueError(f"image_shape: {measured}")
        return measured.field

    def arguments(self, channels: int) -> dict[str, int | bool | str]:
        """What the class of the network is called with."""
        options = VARIANTS[self.variant][1]
        size = SIZES[self.architecture] | (PADDED if "padding" in options else {})
        return {"channels": channels, "patch_size": self.patch_size, **size, **options}


def variant_catalogue() -> list[VariantSpec]:
    """The variants that the zoo is meant to hold, the first seed first.

    Example:
        >>> [spec.model for spec in variant_catalogue()[:3]]
        ['resnet-p5-zeros', 'resnet-p5-reflect', 'resnet-p7-stride2']
    """
    return [
        VariantSpec("fashion-mnist", "denoising", variant, SIDES.get(variant, 5), images, seed)
        for seed in SEEDS
        for images in COUNTS
        for variant in VARIANTS
        if variant != "replicate"  # its formula is that of reflect
    ]

"""What a network computes: its field measured, its formula built, and both compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .devices import plain_mode
from .estimators import LEMMSE, LinearFilter
from .metrics import psnr
from .networks import MeasuredField, field_of
from .operators import Identity, as_operator
from .operators.checks import as_integer, check_images, describe

SHOWN = 8  # images compared
NAMES = {
    "network": "network",
    "affine": "affine guess",
    "linear": "best linear filter",
    "other": "formula of other images",
}


@dataclass(frozen=True)
class Report:
    """What `explain` found.

    Attributes:
        measured: the field of the network, or why it has none.
        rows: one dictionary for each split ("train", "test"), noise level and thing compared
            (``who``: "network", "affine", "linear", "other"), with the PSNR against the formula in
            dB, over ``all`` pixels, the ``border`` (whose patches reach beyond it) and the
            ``interior``; NaN where there are no such pixels. Empty if the network has no field.
        pictures: measurement, network, formula of the first image, each (C, H, W), by name.
        notes: what to keep in mind, sentences.
    """

    measured: MeasuredField
    rows: list[dict]
    pictures: dict[str, Tensor]
    notes: list[str]

    @property
    def applies(self) -> bool:
        """Whether there is a formula for this network."""
        return self.measured.field is not None

    def __str__(self) -> str:
        lines = [str(self.measured)]
        if self.applies:
            lines += ["", "PSNR against the formula of this field (dB)"]
            lines += [f"{'':<32}{'all':>8}{'border':>8}{'interior':>10}"]
        else:
            lines += ["The question which formula it computes does not apply."]
        for row in self.rows:
            name = f"{row['split']} {row['sigma']:g} {NAMES[row['who']]}"
            lines.append(f"{name:<32}{row['all']:8.1f}{row['border']:8.1f}{row['interior']:10.1f}")
        return "\n".join([*lines, *self.notes])

    def figure(self):
        """Measurement, network, formula and difference of the first image, as a figure.

        Raises:
            ValueError: if the network has no field.
        """
        if not self.applies:
            raise ValueError(f"expected a network with a field, got one with {self.measured}")
        from matplotlib.figure import Figure

        names = [*self.pictures, "difference"]
        difference = self.pictures["network"] - self.pictures["formula"]
        figure = Figure(figsize=(2.4 * len(names), 2.9), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
            picture = self.pictures.get(name, difference)
            channels = picture.mean(0) if name == "difference" else picture.movedim(0, -1).squeeze()
            largest = difference.abs().max().item()
            scale = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
            if name != "difference":
                channels, scale = channels.clamp(0, 1), {"cmap": "gray", "vmin": 0, "vmax": 1}
            axes.imshow(channels.numpy(), **scale)
            title = name if name != "difference" else f"difference, at most {largest:.2g}"
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
        return figure


@plain_mode()
@torch.no_grad()
def explain(
    network: Callable[..., Tensor],
    images: Tensor,
    operator: object = None,
    preinverse: object = None,
    sigma: float | Sequence[float] = (0.1, 0.2, 0.5),
    test_images: Tensor | None = None,
    count: int = SHOWN,
    seed: int = 0,
) -> Report:
    r"""Compares a network with the formula of its own field, and both with simpler things.

    The field is measured (`networks.field_of`), and LE-MMSE with that field is built from the
    training images. The table holds the PSNR of the network against it, and of what any small
    network could learn without knowing a formula: the affine guess of a pixel from itself, the best
    linear filter of the same field, and the same formula of other images. A network
    that is no nearer to its formula than these shows nothing.

    Args:
        network: called as ``network(z, sigma)``, or as ``network(z)`` if it takes one argument,
            with z = B y, (B, C, H, W); in evaluation mode.
        images: the images that it was trained on, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        preinverse: B, as in `operators.preinverse`.
        sigma: noise levels.
        test_images: others. The first ``count`` are compared as well; where there are at least N
            more, the formula of those is the third baseline.
        count: how many images are compared, of each kind.
        seed: of noise and measurement.

    Returns:
        A `Report`: print it, or draw ``report.figure()``.

    Raises:
        ValueError: if the images, the operator or the pre-inverse do not fit each other, or the
            network fails or returns no images.

    Source: the field of the network as in chapter 11; the baselines as in chapter 13.

    Example:
        >>> x = torch.rand(20, 1, 9, 9, generator=torch.Generator().manual_seed(0))
        >>> report = explain(torch.nn.Conv2d(1, 1, 3, padding=1), x, sigma=0.3, count=2)
        >>> print(report.measured)
        field 3 x 3, period 1, zeros padding
    """
    check_images(images, "the training images", None)
    shape = tuple(images.shape[1:])
    if test_images is not None:
        check_images(test_images, "test_images", shape)
    count = as_integer(count, "count", 1)
    levels = [float(s) for s in torch.as_tensor(sigma, dtype=torch.float64).flatten()]
    call = _with_sigma(network)
    # The field is measured on images of the training size: it is what plays a role there.
    measured = field_of(_Bound(network, call, levels[len(levels) // 2]), shape, seed=seed)
    if measured.field is None:
        return Report(measured, [], {}, [])
    known = as_operator(Identity() if operator is None else operator, shape)
    formula = LEMMSE(images, known, preinverse, field=measured.field)
    rivals = {
        "affine": LinearFilter(images, known, preinverse, patch_size=1),
        "linear": LinearFilter(images, known, preinverse, field=measured.field),
    }
    notes = []
    others = images[:0] if test_images is None else test_images[count:]
    if len(others) >= len(images):
        rivals["other"] = LEMMSE(others[: len(images)], known, preinverse, field=measured.field)
    else:
        notes.append(
            f"Formula of other images: left out, it needs {count + len(images)} test images."
        )
    splits = {"train": images[:count]}
    if test_images is not None:
        splits["test"] = test_images[:count]
    border = _border(measured, shape[1:])
    rows, pictures = [], {}
    generator = torch.Generator().manual_seed(seed)
    for split, x in splits.items():
        for level in levels:
            y = known.measure(x, level, generator)
            z = formula.preinverse.apply(y)
            wanted = formula(y, level)
            found = {"network": call(z, level)}
            found |= {name: rival(y, level) for name, rival in rivals.items()}
            for who, estimate in found.items():
                values = _psnr_apart(estimate, wanted, border)
                rows.append({"split": split, "sigma": level, "who": who, **values})
            if not pictures or split == "test":
                pictures = {"seen": z[0], "network": found["network"][0], "formula": wanted[0]}
    return Report(measured, rows, pictures, notes)


class _Bound(torch.nn.Module):
    """A network at one noise level: a function of z alone, with the modules of the network."""

    def __init__(self, network: object, call: Callable[[Tensor, float], Tensor], sigma: float):
        super().__init__()
        self.network, self.call, self.sigma = network, call, sigma
        if isinstance(network, torch.nn.Module):
            self.training = network.training

    def forward(self, z: Tensor) -> Tensor:
        return self.call(z, self.sigma)


def _with_sigma(network: Callable[..., Tensor]) -> Callable[[Tensor, float], Tensor]:
    """The network as a function of z and sigma, whether it wants to know sigma or not."""
    function = network.forward if isinstance(network, torch.nn.Module) else network
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    wanted = [p for p in parameters if p.kind in kinds and p.default is p.empty]
    takes_sigma = len(wanted) >= 2

    def call(z: Tensor, sigma: float) -> Tensor:
        try:
            return network(z, sigma) if takes_sigma else network(z)
        except (Exception, SystemExit) as error:  # it is somebody else's code
            raise ValueError(
                f"network: expected it to take {describe(z)} to images, but it raised "
                f"{type(error).__name__}: {error}"
            ) from error

    return call


def _border(measured: MeasuredField, size: tuple[int, int]) -> Tensor:
    """The pixels whose patch reaches beyond the border, (H, W)."""
    margin = measured.field.patch_size // 2
    border = torch.ones(size, dtype=torch.bool)
    border[margin : size[0] - margin, margin : size[1] - margin] = False
    return border


def _psnr_apart(estimate: Tensor, wanted: Tensor, border: Tensor) -> dict[str, float]:
    """PSNR over all pixels of all images, those of the border, and the others."""
    parts = {"all": torch.ones_like(border), "border": border, "interior": ~border}
    values = {}
    for name, part in parts.items():
        pair = [t[..., part].reshape(1, 1, 1, -1).double() for t in (estimate, wanted)]
        values[name] = psnr(*pair).item() if part.any() else float("nan")
    return values

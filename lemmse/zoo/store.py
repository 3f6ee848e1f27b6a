"""Where the weights lie, and how they are written, checked and read.

A model is two files, ``NAME.safetensors`` and the card ``NAME.json``, which says the sha256 of the
weights. To replace them, the new weights are written beside the old ones (``.safetensors.new``);
then the card is replaced, which is the moment from which on the model is the new one; then the new
weights take the place of the old ones. `load` takes those of the two that the card is about. So
whenever the process is killed, there is a whole model: the old one or the new one.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..files import locked, read_json, replaced, update_json, write_json
from ..networks import LocalNetwork
from ..networks.physics import PhysicsNetwork
from ..networks.proximal import FullyLearned
from .base import ModelSpec
from .catalogue import catalogue, parse, unknown

WEIGHTS = Path(__file__).parent.parent / "weights"
"""The folder of the models that ship with the package."""

CARD = {"name", "architecture", "parameters", "sha256", "bytes"}
"""What every card says, and the package needs."""

SMALL = 4096
"""Tensors of at most so many numbers are stored in 32 bits, larger ones in 16."""

Network = LocalNetwork | PhysicsNetwork | FullyLearned


def names(folder: Path | str | None = None, kind: type[ModelSpec] | None = None) -> list[str]:
    """The names of the models that are there, in the order of the catalogue.

    Args:
        folder: where to look; None: in the package.
        kind: one of the three kinds of specs, only such models; None: all.

    Raises:
        ValueError: there is no such folder.

    Example:
        >>> all(name.count("/") == 2 for name in names())
        True
    """
    root = _root(folder)
    found = {}
    for path in root.glob("*/*/*.json"):
        name = path.relative_to(root).with_suffix("").as_posix()
        with suppress(ValueError):  # other files may lie there, too
            found[name] = parse(name)
    listed = [name for name in catalogue() if name in found]
    there = listed + sorted(found.keys() - set(listed))
    return [name for name in there if kind is None or isinstance(found[name], kind)]


def card(name: str, folder: Path | str | None = None) -> dict:
    """What is known about a model.

    Args:
        name: a name of `names`.
        folder: where the model lies; None: in the package.

    Returns:
        A dictionary: ``name``; ``architecture``, its name and arguments; ``parameters``; ``data``:
        data set, title, number of images, checksum of the training tensor; ``task``; ``physics``;
        ``preinverse``; ``settings`` of the training, among them the seed, which is that of the
        initial weights, too; ``machine``; ``seconds``, from the last resumption if there was one;
        ``history``; ``precision_cost``, how many dB of the PSNR in the history were lost by storing
        16 bits; ``sha256`` and ``bytes`` of the file; and ``psnr``: for each split and sigma the
        means of the three kinds of `lemmse.experiments.comparison` over so many images of the split
        as ``psnr_images`` says. A network with physics inside is trained and measured at one sigma,
        and against the truth only; a local one has ``psnr`` once it was compared with LE-MMSE.

    Raises:
        ValueError: there is no such model, or its file is not a card.
    """
    path = _card_path(name, folder)
    if not path.is_file():
        raise ValueError(unknown(name, names(folder)))
    return _checked(read_json(path), path)


def load(name: str, folder: Path | str | None = None) -> Network:
    """Loads a trained model, ready to be called.

    A local network is called as ``network(z, sigma)`` with z = B y, one with physics inside as
    ``network(y, sigma)`` with the measurement itself; ``network.operator`` is its A.

    Args:
        name: for instance "fashion-mnist/blur/unet-p5-aware".
        folder: where the model lies; None: in the package.

    Returns:
        The network, in float32, on the CPU, in evaluation mode, without gradients of its weights.

    Raises:
        ValueError: there is no such model, or the file is not the one its card describes.

    Example:
        >>> load("fashion-mnist/denoising/unet-p5").patch_size
        5
    """
    description = card(name, folder)
    content = _weights(_path(name, folder), description)
    try:
        network = parse(name).build(**description["architecture"])
        network.load_state_dict(
            {key: value.float() for key, value in safetensors.torch.load(content).items()}
        )
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{name}: card and weights do not fit: {error}") from error
    return network.requires_grad_(False).eval()


def save(
    network: Network,
    spec: ModelSpec,
    facts: dict,
    folder: Path | str | None = None,
) -> Path:
    """Writes a model and its card.

    Weights are stored in 16 bits; tensors of at most 4,096 numbers keep 32.

    Args:
        network: made by ``spec.fresh``, with its final weights.
        spec: what it was trained for.
        facts: the rest of the card.
        folder: where to; None: into the package.

    Returns:
        The path of the weights.
    """
    path = _path(spec.name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: _stored(value) for key, value in network.state_dict().items()}
    for key, value in state.items():
        if not value.isfinite().all():
            raise ValueError(f"{spec.name}: {key!r} is not finite; nothing was written")
    content = safetensors.torch.save(state)
    description = {
        "name": spec.name,
        "architecture": spec.describe(network),
        "parameters": sum(p.numel() for p in network.parameters()),
        **facts,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    with locked(path):
        _settle(path)
        with replaced(_new(path)) as draft:
            draft.write_bytes(content)
        write_json(path.with_suffix(".json"), description)
        _new(path).replace(path)
    return path


def annotate(name: str, psnr: dict, images: int, folder: Path | str | None = None) -> None:
    """Adds the results of the comparison to a card, and on how many images of a split they rest."""
    path = _card_path(name, folder)

    def change(description: object) -> dict:
        return _checked(description, path) | {"psnr": psnr, "psnr_images": images}

    with locked(_path(name, folder)):
        update_json(path, change, {})


def rounded(network: Network) -> dict[str, Tensor]:
    """The state of a network after storing it, in 32 bits again."""
    return {key: _stored(value).float() for key, value in network.state_dict().items()}


def _stored(value: Tensor) -> Tensor:
    kept = torch.float32 if value.numel() <= SMALL else torch.float16
    return value.detach().cpu().contiguous().to(kept)


def _weights(path: Path, description: dict) -> bytes:
    """The weights that a card is about; see the top of this file."""
    for place in (path, _new(path)):
        content = place.read_bytes() if place.is_file() else b""
        if hashlib.sha256(content).hexdigest() == description["sha256"]:
            return content
    size = path.stat().st_size if path.is_file() else 0
    raise ValueError(
        f"{path}: expected {description['bytes']} bytes with sha256 {description['sha256']}, "
        f"got {size} other ones; get the file anew"
    )


def _settle(path: Path) -> None:
    """Ends a replacement that was killed after the card: its weights must not be overwritten."""
    card, new = path.with_suffix(".json"), _new(path)
    if new.is_file() and card.is_file():
        expected = _checked(read_json(card), card)["sha256"]
        if expected == hashlib.sha256(new.read_bytes()).hexdigest():
            new.replace(path)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _checked(description: object, path: Path) -> dict:
    if not isinstance(description, dict) or not description.keys() >= CARD:
        raise ValueError(f"{path}: expected a card with {', '.join(sorted(CARD))}")
    return description


def _root(folder: Path | str | None) -> Path:
    if folder is not None and not Path(folder).is_dir():
        raise ValueError(f"folder: expected an existing folder, got {folder}")
    return WEIGHTS if folder is None else Path(folder)


def _card_path(name: str, folder: Path | str | None) -> Path:
    return _path(name, folder).with_suffix(".json")


def _path(name: str, folder: Path | str | None) -> Path:
    try:
        name = parse(name).name
    except ValueError as error:
        raise ValueError(unknown(name, names(folder))) from error
    return (WEIGHTS if folder is None else Path(folder)) / f"{name}.safetensors"

"""Where the weights lie, and how they are written, checked and read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..files import replaced, write_json
from ..networks import LocalNetwork
from ..networks.physics import PhysicsNetwork
from ..networks.proximal import FullyLearned
from .catalogue import AnySpec, Kind, catalogue, parse, unknown

WEIGHTS = Path(__file__).parent.parent / "weights"
"""The folder of the models that ship with the package."""

SMALL = 4096
"""Tensors of at most so many numbers are stored in 32 bits, larger ones in 16."""

Network = LocalNetwork | PhysicsNetwork | FullyLearned


def names(folder: Path | str | None = None, kind: Kind | None = None) -> list[str]:
    """The names of the models that are there, in the order of the catalogue.

    Args:
        folder: where to look; None: in the package.
        kind: `Spec`, only local networks; `PhysicsSpec`, only those with physics inside; None: all.

    Example:
        >>> all(name.count("/") == 2 for name in names())
        True
    """
    root = _root(folder)
    found = {str(path.relative_to(root).with_suffix("")) for path in root.glob("*/*/*.json")}
    listed = [name for name in catalogue() if name in found]
    there = listed + sorted(found.difference(listed))
    return [name for name in there if kind is None or isinstance(parse(name), kind)]


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
        ValueError: there is no such model.
    """
    path = _path(name, folder).with_suffix(".json")
    if not path.is_file():
        raise ValueError(unknown(name, names(folder)))
    return json.loads(path.read_text())


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
    path = _path(name, folder)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise ValueError(
            f"{path}: expected {description['bytes']} bytes with sha256 {description['sha256']}, "
            f"got {len(content)} other ones; get the file anew"
        )
    network = parse(name).build(**description["architecture"])
    network.load_state_dict(
        {key: value.float() for key, value in safetensors.torch.load(content).items()}
    )
    return network.requires_grad_(False).eval()


def save(
    network: Network,
    spec: AnySpec,
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
    content = safetensors.torch.save(
        {key: _stored(value) for key, value in network.state_dict().items()}
    )
    with replaced(path) as draft:
        draft.write_bytes(content)
    description = {
        "name": spec.name,
        "architecture": spec.describe(network),
        "parameters": sum(p.numel() for p in network.parameters()),
        **facts,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    write_json(path.with_suffix(".json"), description)
    return path


def annotate(name: str, psnr: dict, images: int, folder: Path | str | None = None) -> None:
    """Adds the results of the comparison to a card, and on how many images of a split they rest."""
    description = card(name, folder) | {"psnr": psnr, "psnr_images": images}
    path = _path(name, folder).with_suffix(".json")
    write_json(path, description)


def rounded(network: Network) -> dict[str, Tensor]:
    """The state of a network after storing it, in 32 bits again."""
    return {key: _stored(value).float() for key, value in network.state_dict().items()}


def _stored(value: Tensor) -> Tensor:
    kept = torch.float32 if value.numel() <= SMALL else torch.float16
    return value.detach().cpu().contiguous().to(kept)


def _root(folder: Path | str | None) -> Path:
    return WEIGHTS if folder is None else Path(folder)


def _path(name: str, folder: Path | str | None) -> Path:
    try:
        name = parse(name).name
    except ValueError as error:
        raise ValueError(unknown(name, names(folder))) from error
    return _root(folder) / f"{name}.safetensors"

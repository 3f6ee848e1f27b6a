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
from .spec import ARCHITECTURES, Spec, catalogue, unknown

WEIGHTS = Path(__file__).parent.parent / "weights"
"""The folder of the models that ship with the package."""


def names(folder: Path | str | None = None) -> list[str]:
    """The names of the models that are there, in the order of the catalogue.

    Args:
        folder: where to look; None: in the package.

    Example:
        >>> all(name.count("/") == 2 for name in names())
        True
    """
    root = _root(folder)
    found = {str(path.relative_to(root).with_suffix("")) for path in root.glob("*/*/*.json")}
    listed = [name for name in catalogue() if name in found]
    return listed + sorted(found.difference(listed))


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
        ``history``; ``precision_cost``, how many dB of PSNR against LE-MMSE were lost by storing 16
        bits; ``sha256`` and ``bytes`` of the file; and, once it was compared with LE-MMSE,
        ``psnr``: for each split and sigma the means of the three kinds of `lemmse.comparison` over
        so many images of the split as ``psnr_images`` says.

    Raises:
        ValueError: there is no such model.
    """
    path = _path(name, folder).with_suffix(".json")
    if not path.is_file():
        raise ValueError(unknown(name, names(folder)))
    return json.loads(path.read_text())


def load(name: str, folder: Path | str | None = None) -> LocalNetwork:
    """Loads a trained model, ready to be called as ``network(z, sigma)``.

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
    kind = description["architecture"]
    network = ARCHITECTURES[kind["name"]](**kind["arguments"])
    network.load_state_dict(
        {key: value.float() for key, value in safetensors.torch.load(content).items()}
    )
    return network.requires_grad_(False).eval()


def save(network: LocalNetwork, spec: Spec, facts: dict, folder: Path | str | None = None) -> Path:
    """Writes a model and its card.

    The weights are stored in 16 bits; the statistics of the skip connection keep 32.

    Args:
        network: made by ``spec.network``, with its final weights.
        spec: what it was trained for.
        facts: the rest of the card.
        folder: where to; None: into the package.

    Returns:
        The path of the weights.
    """
    path = _path(spec.name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = safetensors.torch.save(
        {key: _stored(key, value) for key, value in network.state_dict().items()}
    )
    with replaced(path) as draft:
        draft.write_bytes(content)
    description = {
        "name": spec.name,
        "architecture": {
            "name": spec.architecture,
            "arguments": spec.arguments(network.channels),
        },
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


def rounded(network: LocalNetwork) -> dict[str, Tensor]:
    """The state of a network after storing it, in 32 bits again."""
    return {key: _stored(key, value).float() for key, value in network.state_dict().items()}


def _stored(key: str, value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous().to(torch.float32 if "skip." in key else torch.float16)


def _root(folder: Path | str | None) -> Path:
    return WEIGHTS if folder is None else Path(folder)


def _path(name: str, folder: Path | str | None) -> Path:
    try:
        name = Spec.parse(name).name
    except ValueError as error:
        raise ValueError(unknown(name, names(folder))) from error
    return _root(folder) / f"{name}.safetensors"

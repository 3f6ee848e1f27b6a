"""Small trained networks as numbers that a page's script can evaluate."""

import base64
import json
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor, nn

from lemmse.networks import PatchMLP, Skip

SHIPPED = "networks.json"
"""Written by book/scripts/train_scene_networks.py: training images -> patch size -> network."""

_FULL = 32767  # a weight is a 16-bit integer times the scale of its layer


def network_data(network: PatchMLP) -> dict:
    """A network as JSON: 16-bit integers in base64, with a scale for each layer.

    Args:
        network: a `PatchMLP` for grey images that marks no zeros.

    Returns:
        The width, the patch size, the statistics of the skip connection, and the layers by name,
        each with its weights (outputs, inputs) and then its biases.

    Raises:
        ValueError: another network.

    Example:
        >>> sorted(network_data(PatchMLP(1, 3, width=4, depth=1))["layers"])
        ['embed1', 'embed2', 'first', 'first0', 'last', 'modulation0', 'second0']
    """
    if not isinstance(network, PatchMLP) or network.channels != 1 or network.marks_zeros:
        raise ValueError(
            "expected a PatchMLP for grey images, which the page can evaluate, "
            f"got {type(network).__name__}"
        )
    return {
        "patch_size": network.patch_size,
        "width": network.first.out_channels,
        "blocks": len(network.blocks),
        "statistics": network.skip.statistics.double().tolist(),
        "frequencies": network.embedding.frequencies.double().tolist(),
        "layers": {name: _packed(layer) for name, layer in _layers(network).items()},
    }


def network_of(data: dict) -> PatchMLP:
    """The network that `network_data` wrote, in float64 and with the rounded weights.

    Example:
        >>> made = network_of(network_data(PatchMLP(1, 3, width=4, depth=1)))
        >>> made(torch.zeros(1, 1, 8, 8, dtype=torch.float64), 0.1).shape
        torch.Size([1, 1, 8, 8])
    """
    skip = Skip(data["statistics"])
    network = PatchMLP(1, data["patch_size"], data["width"], data["blocks"], skip).double()
    with torch.no_grad():
        network.skip.statistics.copy_(torch.tensor(data["statistics"], dtype=torch.float64))
        for name, layer in _layers(network).items():
            _unpack(data["layers"][name], layer)
    return network.requires_grad_(False)


@cache
def shipped_networks(n: int) -> dict[int, PatchMLP]:
    """Patch size -> the small network trained on the first n built-in grey photographs.

    Raises:
        ValueError: no networks were trained for this n.

    Example:
        >>> sorted(shipped_networks(24))
        [3, 5, 7]
    """
    kept = json.loads(files(__package__).joinpath(SHIPPED).read_text(encoding="utf-8"))
    if str(n) not in kept:
        raise ValueError(f"n: expected one of {', '.join(kept)} training images, got {n}")
    return {int(size): network_of(data) for size, data in kept[str(n)].items()}


def _layers(network: PatchMLP) -> dict[str, nn.Module]:
    """The layers under the names that the script knows."""
    layers = {"embed1": network.embedding.layers[0], "embed2": network.embedding.layers[2]}
    layers["first"] = network.first
    for i, block in enumerate(network.blocks):
        layers[f"modulation{i}"] = block.modulation
        layers[f"first{i}"], layers[f"second{i}"] = block.first, block.second
    return layers | {"last": network.last}


def _packed(layer: nn.Module) -> dict:
    weights = layer.weight.detach().double().cpu().flatten(1)
    numbers = torch.cat([weights.flatten(), layer.bias.detach().double().cpu()])
    scale = float(f"{numbers.abs().max().item() / _FULL or 1.0:.8g}")
    whole = (numbers / scale).round().numpy().astype("<i2")
    outputs, inputs = weights.shape
    return {"inputs": inputs, "outputs": outputs, "scale": scale, "data": in_base64(whole)}


def _unpack(data: dict, layer: nn.Module) -> None:
    whole = np.frombuffer(base64.b64decode(data["data"]), "<i2").astype(float)
    numbers: Tensor = torch.from_numpy(whole * data["scale"])
    weights, biases = numbers.split([data["inputs"] * data["outputs"], data["outputs"]])
    layer.weight.copy_(weights.view_as(layer.weight))
    layer.bias.copy_(biases)


def in_base64(array: np.ndarray) -> str:
    """The bytes of an array as text.

    Example:
        >>> in_base64(np.zeros(3, "u1"))
        'AAAA'
    """
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")

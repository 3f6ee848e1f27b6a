"""What the command `estimate` writes: a figure of test images, or a restored image; and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .. import plots
from ..files import check_writable, replaced

IMAGES = (".png", ".tif", ".tiff", ".bmp")
"""Formats of a restored image: without loss."""


def check_places(out: Path, save: Path | None, image: bool) -> None:
    """ValueError unless both can be written: asked before the computation, not after.

    Args:
        out: of the figure, or of the restored image.
        save: of the arrays, if they are asked for.
        image: whether `out` is an image.
    """
    kinds = Figure().canvas.get_supported_filetypes()
    figures = tuple(f".{kind}" for kind in kinds if kind != "pgf")  # which needs TeX
    for path, endings in ((out, IMAGES if image else figures), (save, (".npz",))):
        if path is not None:
            if path.suffix.lower() not in endings:
                raise ValueError(f"{path}: expected a name that ends in {', '.join(endings)}")
            check_writable(path)


def write(out: Path, save: Path | None, arrays: dict[str, Tensor]) -> None:
    """Write the picture, and the arrays if they are asked for; the picture first.

    What is printed comes last: if nobody reads it any more, the files are there all the same.
    """
    with replaced(out) as path:
        if "truth" in arrays:
            draw(arrays).savefig(path)
        else:
            to_image(arrays["estimate"][0]).save(path)
    if save is not None:
        # An open file: to a name, NumPy adds .npz unless it is there in small letters.
        with replaced(save) as path, path.open("wb") as file:
            np.savez_compressed(file, **{name: array.numpy() for name, array in arrays.items()})
    print(f"{'figure' if 'truth' in arrays else 'image'}: {out}")
    if save is not None:
        print(f"arrays: {save}")


def to_image(values: Tensor) -> Image.Image:
    """An image of 8 bits a channel from (C, H, W); what lies outside [0, 1] is cut off.

    Example:
        >>> to_image(torch.tensor([[[0.0, 0.5, 2.0]]])).getpixel((1, 0))
        128
    """
    pixels = (values.clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def draw(arrays: dict[str, Tensor]) -> Figure:
    """Rows of images: truth, measurement, estimate, and the standard deviation if there is one.

    Measurements that are no images are scaled to [0, 1]; complex ones (k-space) are shown as
    their absolute value to the power of 0.3, lowest frequency in the middle.
    """
    truth, measurement = arrays["truth"], arrays["measurement"]
    rows = {"truth": truth, "measurement": measurement, "estimate": arrays["estimate"]}
    nothing = [None] * len(truth)
    compared = [nothing, truth, truth]
    if measurement.is_complex():
        rows["measurement"] = rescaled(torch.fft.fftshift(measurement, (-2, -1)).abs() ** 0.3)
    elif measurement.shape != truth.shape:
        rows["measurement"] = rescaled(measurement)
    if rows["measurement"] is not measurement:
        compared[1] = nothing
    if "deviation" in arrays:
        deviation = arrays["deviation"]
        rows[f"std (white: {deviation.max():.2g})"] = rescaled(deviation)
        compared.append(nothing)
    return plots.show_images(list(rows.values()), row_labels=list(rows), psnr_to=compared)


def rescaled(images: Tensor) -> Tensor:
    """Images divided by their common largest value, so that they can be shown."""
    return images / images.max().clamp_min(torch.finfo(images.dtype).tiny)

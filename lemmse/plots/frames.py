"""From what a function returned (a figure, an array, a tensor) to a frame of an explorer."""

import base64
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

_DOTS_PER_INCH = 150  # of a rendered figure
_PAGE_PIXELS_PER_INCH = 100  # of its place in the page
_ENLARGED = 360  # the longer side of an enlarged array, in pixels, is at least this
_BUDGET = 300_000  # bytes that the frames of one explorer may take without loss
_LEVELS = 32  # a channel, beyond that: no pixel moves by more than 4 of 255


@dataclass(frozen=True)
class Frame:
    """One picture: RGB pixels, and its width in the page in CSS pixels."""

    image: Image.Image
    width: int

    @cached_property
    def uri(self) -> str:
        """The exact picture as a ``data:`` address, coded once, quickly rather than small."""
        return _data_uri("png", _encoded(self.image, "PNG", compress_level=3))

    def webp(self, levels: int = 256) -> bytes:
        """WebP bytes, every channel rounded to so many levels and coded without further loss."""
        table = [round(round(v / 255 * (levels - 1)) * 255 / (levels - 1)) for v in range(256)]
        return _encoded(self.image.point(table * 3), "WEBP", lossless=True, quality=50, method=4)


def data_uris(frames: list[Frame]) -> list[str]:
    """The ``data:`` addresses of an explorer's frames: exact, or rounded if they are large."""
    coded = [frame.webp() for frame in frames]
    if sum(map(len, coded)) > _BUDGET:
        coded = [frame.webp(_LEVELS) for frame in frames]
    return [_data_uri("webp", data) for data in coded]


def as_frame(result, call: str) -> Frame:
    """The frame of a Figure, an array (H, W) or (H, W, 3), or a tensor image ((1, ) C, H, W).

    Arrays and tensors hold values in [0, 1] (clipped) or uint8; they are enlarged without
    smoothing. A figure known to pyplot is closed, so that it is not shown a second time.

    Raises:
        ValueError: anything else; ``call`` says in the message which call returned it.
    """
    if isinstance(result, Figure):
        return _from_figure(result)
    if torch.is_tensor(result):
        result = _channels_last(result, call)
    if isinstance(result, np.ndarray):
        return _from_array(result, call)
    raise ValueError(
        f"{call}: expected a matplotlib Figure, an array (H, W) or (H, W, 3) or a tensor image, "
        f"got {type(result).__name__}"
    )


def _from_figure(figure: Figure) -> Frame:
    # The pixels of savefig for two thirds of its time: that one draws twice, and codes a file.
    pyplot.close(figure)
    figure.set(dpi=_DOTS_PER_INCH, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return Frame(image, round(image.width * _PAGE_PIXELS_PER_INCH / _DOTS_PER_INCH))


def _channels_last(tensor: torch.Tensor, call: str) -> np.ndarray:
    image = tensor.detach().cpu()
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim == 3 and image.shape[0] in (1, 3):
        image = image[0] if image.shape[0] == 1 else image.permute(1, 2, 0)
    elif image.ndim != 2:
        raise ValueError(
            f"{call}: expected one image (C, H, W) with C = 1 or 3, got {tuple(tensor.shape)}"
        )
    return image.numpy()


def _from_array(array: np.ndarray, call: str) -> Frame:
    grey, colour = array.ndim == 2, array.ndim == 3 and array.shape[2] == 3
    if not (grey or colour) or array.size == 0:
        raise ValueError(f"{call}: expected an array (H, W) or (H, W, 3), got {array.shape}")
    if array.dtype != np.uint8:
        if not np.isfinite(array).all():
            raise ValueError(f"{call}: expected finite values, got NaN or infinity")
        array = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(array).convert("RGB")
    factor = max(1, -(-_ENLARGED // max(image.size)))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return Frame(image, image.width)


def _data_uri(format: str, data: bytes) -> str:
    return f"data:image/{format};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()

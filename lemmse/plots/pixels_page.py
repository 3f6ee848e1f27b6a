"""The explorer of pixels in the rendered page: data of all pixels, drawn by a short script."""

import base64
import html
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lemmse.plots.frames import Frame, data_uris
from lemmse.plots.page import as_script, card, new_root

_ATLAS_COLUMNS = 16
_FULL_WEIGHT = 65535  # the weight 1 in the page

_STYLE = """
.lemmse-explorer .choices{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:0 0 .5rem}
.lemmse-explorer select{font:inherit;min-height:2.5rem;color:#1a1a1a;background:#fff;
 border:1px solid #6b6b6b;border-radius:.25rem}
.lemmse-explorer .stage{display:grid;grid-template-columns:minmax(0,19rem) minmax(0,1fr);
 gap:.5rem 1rem;align-items:start}
.lemmse-explorer canvas{display:block;width:100%;background:#fff}
.lemmse-explorer .screen{cursor:crosshair;touch-action:manipulation}
.lemmse-explorer .screen:focus-visible{outline:3px solid #0060a8;outline-offset:2px}
.lemmse-explorer .seen{display:grid;grid-template-columns:5rem 1fr;gap:.75rem;align-items:start}
.lemmse-explorer p{margin:0;color:#1a1a1a;font-size:.9rem;line-height:1.35}
.lemmse-explorer ol{list-style:none;margin:.6rem 0 0;padding:0;display:grid;
 grid-template-columns:repeat(4,minmax(0,1fr));gap:.5rem}
.lemmse-explorer li{margin:0;color:#1a1a1a;font-size:.8rem;line-height:1.3;text-align:center}
.lemmse-explorer li i{display:block;height:.35rem;margin:.15rem 0;background:#0060a8}
.lemmse-explorer li span{display:block;white-space:pre-line}
@media(max-width:600px){.lemmse-explorer .stage{grid-template-columns:minmax(0,1fr)}}
"""

_SCRIPT = """
(async () => {
  const root = document.getElementById(%(root)s), data = %(data)s;
  const [height, width] = data.size, pixels = height * width, reach = (data.patch - 1) / 2;
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
  const cases = data.cases.map(item => ({...item, weight: new Uint16Array(bytes(item.weight)),
    source: new Uint32Array(bytes(item.source))}));
  const find = name => root.querySelector("." + name);
  const screen = find("screen"), image = find("image"), plane = find("plane");
  const items = [...root.querySelectorAll("li")], atlas = find("atlas");
  let [row, column] = data.start;
  const wrap = (i, n) => ((i %% n) + n) %% n;
  const context = (canvas, w, h, cell) => {
    canvas.width = w * cell; canvas.height = h * cell;
    const c = canvas.getContext("2d");
    c.imageSmoothingEnabled = false;
    return c;
  };
  const values = (list, n) => list.slice(n * data.channels, (n + 1) * data.channels);
  const shade = v => {
    const level = v.map(x => Math.round(255 * Math.min(1, Math.max(0, x))));
    return `rgb(${level.length === 1 ? [level[0], level[0], level[0]] : level})`;
  };
  const outline = (c, x, y, w, h) => {
    c.lineWidth = 5; c.strokeStyle = "#000"; c.strokeRect(x, y, w, h);
    c.lineWidth = 2; c.strokeStyle = "#fff"; c.strokeRect(x, y, w, h);
  };
  const window_ = (c, r, k, cell) => {
    for (const down of [-height, 0, height]) for (const right of [-width, 0, width])
      outline(c, (k + right - reach) * cell, (r + down - reach) * cell,
        data.patch * cell, data.patch * cell);
  };
  const centre = (c, cell) => outline(c, reach * cell, reach * cell, cell, cell);
  const tile = id => [id %% data.columns * width, Math.floor(id / data.columns) * height];
  const drawScreen = now => {
    const c = context(screen, width, height, 16), list = now[plane.value];
    const gain = plane.value === "deviation" ? 1 / data.most : 1;
    for (let n = 0; n < pixels; n++) {
      c.fillStyle = shade(values(list, n).map(v => gain * v));
      c.fillRect(n %% width * 16, Math.floor(n / width) * 16, 16, 16);
    }
    window_(c, row, column, 16);
    c.fillStyle = "#e07609";
    c.fillRect(column * 16 + 5, row * 16 + 5, 6, 6);
  };
  const drawSeen = now => {
    const c = context(find("query"), data.patch, data.patch, 24);
    for (let i = 0; i < data.patch; i++) for (let j = 0; j < data.patch; j++) {
      const n = wrap(row + i - reach, height) * width + wrap(column + j - reach, width);
      c.fillStyle = shade(values(now.measurement, n));
      c.fillRect(j * 24, i * 24, 24, 24);
    }
    centre(c, 24);
  };
  const percent = w => w >= 0.001 ? `${(100 * w).toPrecision(w < 0.1 ? 2 : 3)} %%` : "< 0.1 %%";
  const drawVoter = (item, source, weight) => {
    const id = Math.floor(source / pixels), r = Math.floor(source %% pixels / width);
    const k = source %% width, [x, y] = tile(id), [patch, whole] = item.querySelectorAll("canvas");
    const c = context(patch, data.patch, data.patch, 24);
    for (let i = 0; i < data.patch; i++) for (let j = 0; j < data.patch; j++)
      c.drawImage(atlas, x + wrap(k + j - reach, width), y + wrap(r + i - reach, height), 1, 1,
        j * 24, i * 24, 24, 24);
    centre(c, 24);
    const d = context(whole, width, height, 8);
    d.drawImage(atlas, x, y, width, height, 0, 0, width * 8, height * 8);
    window_(d, r, k, 8);
    item.querySelector("i").style.width = `${Math.max(1, 100 * weight)}%%`;
    item.querySelector("b").textContent = percent(weight);
    item.querySelector("span").textContent = `image ${data.images[id]}\\n(${r}, ${k})`;
  };
  const text = v => v.length === 1 ? v[0].toFixed(2) : `(${v.map(x => x.toFixed(2)).join(", ")})`;
  const show = () => {
    const now = cases[+image.value], n = row * width + column;
    const at = name => text(values(now[name], n));
    drawScreen(now);
    drawSeen(now);
    let share = 0;
    items.forEach((item, i) => {
      const weight = now.weight[n * items.length + i] / data.full;
      share += weight;
      drawVoter(item, now.source[n * items.length + i], weight);
    });
    const truth = now.truth ? `, truth ${at("truth")}` : "";
    find("readout").textContent = `Row ${row}, column ${column}: measured ${at("measurement")}, ` +
      `estimate ${at("estimate")} \\u00b1 ${at("deviation")}${truth}. Effective number of ` +
      `patches ${+now.effective[n].toPrecision(3)}. Shown below: ${percent(Math.min(1, share))} ` +
      `of the weight.`;
  };
  const move = (r, k) => {
    row = Math.min(height - 1, Math.max(0, r)); column = Math.min(width - 1, Math.max(0, k));
    show();
  };
  screen.addEventListener("click", event => {
    const box = screen.getBoundingClientRect();
    move(Math.floor((event.clientY - box.top) / box.height * height),
      Math.floor((event.clientX - box.left) / box.width * width));
  });
  const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  screen.addEventListener("keydown", event => {
    const step = steps[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    move(row + step[0], column + step[1]);
  });
  for (const select of [image, plane]) {
    select.addEventListener("change", show);
    // In Jupyter Lab the arrow keys would go to the next cell.
    select.addEventListener("keydown", event => event.stopPropagation());
  }
  await atlas.decode();
  find("live").hidden = false;
  show();
})();
"""


@dataclass(frozen=True)
class PixelPage:
    """What the page shows; see ``explore_pixels``.

    Attributes:
        readings: a ``Reading`` for each image.
        voters: weights (H*W, k) and sources (H*W, k, 3) for each image.
        images: the training images, (N, C, H, W).
        still: the picture shown without JavaScript.
    """

    title: str
    alt: str
    names: list[str]
    readings: list
    voters: list[tuple[Tensor, Tensor]]
    images: Tensor
    patch_size: int
    start: tuple[int, int]
    still: Frame


def pixels_page(page: PixelPage) -> str:
    """The self-contained HTML."""
    sources = [source for _, source in page.voters]
    used = torch.cat([source[..., 0].flatten() for source in sources]).unique()
    channels, height, width = page.images.shape[1:]
    data = {
        "size": [height, width],
        "channels": channels,
        "patch": page.patch_size,
        "start": list(page.start),
        "columns": _ATLAS_COLUMNS,
        "images": used.tolist(),
        "full": _FULL_WEIGHT,
        "most": _most(page),
        "cases": [
            _case(reading, *voters, used)
            for reading, voters in zip(page.readings, page.voters, strict=True)
        ],
    }
    root = new_root()
    script = _SCRIPT % {"root": as_script(root), "data": as_script(data)}
    count = page.voters[0][0].shape[1]
    still, atlas = data_uris([page.still])[0], data_uris([_atlas(page.images[used])])[0]
    alt = html.escape(page.alt)
    return card(
        root,
        page.title,
        f"<style>{_STYLE}</style>",
        '<div class="live" hidden>',
        f'<div class="choices">{_choices(root, page)}</div>',
        '<div class="stage"><div>',
        f'<canvas class="screen" tabindex="0" role="application" aria-label="{alt}. Arrow keys '
        f'move the pixel." aria-describedby="{root}-readout"></canvas>',
        '<p class="note">Click or tap a pixel; then arrow keys move it. Beside the numbers stands '
        "the patch as it was measured; after it the training patches with the largest weights, "
        "each with the image that it is from.</p></div><div>",
        '<div class="seen"><canvas class="query" role="img" aria-label="The measured patch">'
        f'</canvas><p class="readout" id="{root}-readout" role="status"></p></div>',
        f"<ol>{_VOTER * count}</ol></div></div></div>",
        f'<noscript><img width="{page.still.width}" alt="{alt}" src="{still}"><p class="note">'
        "With JavaScript, any pixel can be chosen.</p></noscript>",
        f'<img hidden class="atlas" alt="all pictures that the control shows" src="{atlas}">',
        f"<script>{script}</script>",
    )


_VOTER = (
    '<li><canvas role="img" aria-label="A training patch"></canvas><i></i><b></b>'
    '<canvas role="img" aria-label="The training image it is from"></canvas><span></span></li>'
)


def _choices(root: str, page: PixelPage) -> str:
    """Which image, and which of its planes."""
    planes = {name: name for name in page.readings[0].planes}
    planes["deviation"] = f"standard deviation (white: {_most(page):.2g})"
    images = _select(root, "image", dict(enumerate(page.names)))
    if len(page.names) == 1:
        images = f"<span hidden>{images}</span>"
    return images + _select(root, "plane", planes, "show")


def _most(page: PixelPage) -> float:
    """The standard deviation shown in white."""
    return max(reading.planes["deviation"].max().item() for reading in page.readings) or 1.0


def _select(root: str, name: str, options: dict, label: str | None = None) -> str:
    entries = "".join(
        f'<option value="{value}">{html.escape(text)}</option>' for value, text in options.items()
    )
    return (
        f'<span><label for="{root}-{name}">{label or name}</label> <select class="{name}" '
        f'id="{root}-{name}" autocomplete="off">{entries}</select></span>'
    )


def _case(reading, weight: Tensor, source: Tensor, used: Tensor) -> dict:
    """One image as numbers: planes pixel by pixel, voters as places in the atlas."""
    planes = {
        name: [round(v, 3) for v in plane.flatten(1).T.flatten().tolist()]
        for name, plane in reading.planes.items()
    }
    height, width = reading.effective.shape
    atlas = torch.searchsorted(used, source[..., 0].contiguous())
    place = (atlas * height + source[..., 1]) * width + source[..., 2]
    effective = [float(f"{v:.3g}") for v in reading.effective.flatten().tolist()]
    weights = (weight * _FULL_WEIGHT).round().numpy().astype("<u2")
    return {
        **planes,
        "effective": effective,
        "weight": _base64(weights),
        "source": _base64(place.numpy().astype("<u4")),
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _atlas(images: Tensor) -> Frame:
    """Images side by side, row by row."""
    count, channels, height, width = images.shape
    rows = -(-count // _ATLAS_COLUMNS)
    sheet = images.new_zeros(rows * _ATLAS_COLUMNS, channels, height, width)
    sheet[:count] = images
    sheet = sheet.view(rows, _ATLAS_COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, _ATLAS_COLUMNS * width, channels).clamp(0, 1)
    pixels = (255 * sheet).round().byte().expand(-1, -1, 3).numpy()
    return Frame(Image.fromarray(np.ascontiguousarray(pixels)), sheet.shape[1])

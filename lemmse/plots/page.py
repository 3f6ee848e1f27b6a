"""The explorer of the rendered page: native sliders over frames computed at build time.

One self-contained piece of HTML: no kernel, no network. The card is white with dark text in the
light and in the dark theme alike, as the figures are. Without JavaScript it shows the first frame.
"""

import html
import itertools
import json

from lemmse.plots.frames import Frame, data_uris

_numbers = itertools.count(1)

_STYLE = """
.lemmse-explorer{box-sizing:border-box;margin:1rem 0;padding:.75rem 1rem;max-width:100%;
 background:#fff;color:#1a1a1a;border:1px solid #c9c9c9;border-radius:.5rem;text-align:left}
div:has(>.lemmse-explorer){background:none!important;padding:0!important}
.lemmse-explorer [hidden]{display:none!important}
.lemmse-explorer figcaption{margin:0 0 .4rem;padding:0;font-weight:600;color:#1a1a1a;
 text-align:left}
.lemmse-explorer .axis{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr 5rem;
 align-items:center;column-gap:.75rem}
.lemmse-explorer label{margin:0;color:#1a1a1a}
.lemmse-explorer input{width:100%;min-height:2.75rem;margin:0;accent-color:#0060a8;cursor:pointer}
.lemmse-explorer input:focus-visible{outline:3px solid #0060a8;outline-offset:-3px;
 border-radius:.25rem}
.lemmse-explorer output{color:#1a1a1a;font-variant-numeric:tabular-nums;font-weight:600}
.lemmse-explorer img{display:block;max-width:100%!important;height:auto;margin:.5rem auto 0;
 padding:0!important;background:#fff!important;border-radius:0!important;
 filter:none!important}
.lemmse-explorer .note{margin:.25rem 0;color:#4d4d4d}
@media(max-width:480px){.lemmse-explorer{padding:.5rem .6rem}
 .lemmse-explorer .axis{grid-template-columns:1fr auto}
 .lemmse-explorer .axis label{grid-row:1;grid-column:1}
 .lemmse-explorer .axis output{grid-row:1;grid-column:2}
 .lemmse-explorer .axis input{grid-row:2;grid-column:1/3}}
"""

_SCRIPT = """
(() => {
  const root = document.getElementById(%(root)s), names = %(names)s;
  const inputs = [...root.querySelectorAll("input")];
  const frames = [...root.querySelectorAll("img")];
  const show = () => {
    let index = 0;
    inputs.forEach((input, axis) => {
      const text = names[axis][+input.value];
      index = index * names[axis].length + +input.value;
      input.setAttribute("aria-valuetext", text);
      root.querySelectorAll("output")[axis].textContent = text;
    });
    frames.forEach((frame, i) => { frame.hidden = i !== index; });
  };
  inputs.forEach(input => input.addEventListener("input", show));
  root.querySelector(".controls").hidden = false;
  show();
})();
"""


def page(
    frames: list[Frame], alts: list[str], axes: dict[str, list[str]], title: str | None
) -> str:
    """HTML with one slider an axis and all frames inside.

    Args:
        frames: one a combination of the axes' values, the last axis varying fastest.
        alts: the alternative text of every frame.
        axes: label -> the values as texts.
        title: stands above the sliders.
    """
    root = new_root()
    controls = [
        _control(f"{root}-{i}", label, names) for i, (label, names) in enumerate(axes.items())
    ]
    pictures = zip(frames, alts, data_uris(frames), strict=True)
    images = [
        _image(frame.width, alt, uri, hidden=i > 0) for i, (frame, alt, uri) in enumerate(pictures)
    ]
    first = ", ".join(f"{label} = {names[0]}" for label, names in axes.items())
    script = _SCRIPT % {"root": as_script(root), "names": as_script(list(axes.values()))}
    return card(
        root,
        title,
        '<div class="controls" hidden>',
        *controls,
        "</div>",
        f'<noscript><p class="note">Shown: {html.escape(first)}. '
        "With JavaScript, sliders choose other values.</p></noscript>",
        *images,
        f"<script>{script}</script>",
    )


def new_root() -> str:
    """An ``id`` that no other explorer has."""
    return f"lemmse-explorer-{next(_numbers)}"


def card(root: str, title: str | None, *parts: str, classes: str = "lemmse-explorer") -> str:
    """The white card around the parts of an explorer, with its style and title."""
    caption = f"<figcaption>{html.escape(title)}</figcaption>" if title else ""
    opening = f'<figure class="{classes}" id="{root}">'
    return "\n".join([opening, f"<style>{_STYLE}</style>", caption, *parts, "</figure>"])


def as_script(value) -> str:
    """A value as JavaScript inside HTML, where a "<" could end the script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _control(identifier: str, label: str, names: list[str]) -> str:
    first = html.escape(names[0])
    return (
        f'<div class="axis"><label for="{identifier}">{html.escape(label)}</label>'
        f'<input type="range" id="{identifier}" min="0" max="{len(names) - 1}" step="1" value="0" '
        f'autocomplete="off" aria-valuetext="{first}">'
        f'<output for="{identifier}" aria-live="off">{first}</output></div>'
    )


def _image(width: int, alt: str, uri: str, hidden: bool) -> str:
    state = " hidden" if hidden else ""
    return f'<img{state} decoding="sync" width="{width}" alt="{html.escape(alt)}" src="{uri}">'

"""A scene: a picture that its page computes by itself, in HTML that needs nothing else."""

import html
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from matplotlib.figure import Figure

from lemmse.plots.frames import as_frame, data_uris
from lemmse.plots.page import as_script, card, new_root

STYLE = """
.lemmse-scene .views{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));
 gap:.5rem .75rem;margin:.5rem 0;align-items:start}
.lemmse-scene .views b,.lemmse-scene .views span,.lemmse-scene .seen b{display:block;
 font-size:.85rem;line-height:1.3;min-height:1.3em}
.lemmse-scene canvas{display:block;width:100%;background:#fff}
.lemmse-scene .views canvas,.lemmse-scene svg[tabindex]{cursor:crosshair;touch-action:none}
.lemmse-scene canvas:focus-visible,.lemmse-scene svg:focus-visible{outline:3px solid #0060a8;
 outline-offset:2px}
.lemmse-scene .reading{display:grid;grid-template-columns:5.5rem minmax(0,1fr);gap:.75rem}
.lemmse-scene ol{list-style:none;margin:0;padding:0;display:grid;gap:.4rem;
 grid-template-columns:repeat(auto-fill,minmax(3.6rem,1fr))}
.lemmse-scene li{margin:0;font-size:.75rem;line-height:1.25;text-align:center;color:#1a1a1a}
.lemmse-scene li i{display:block;height:.35rem;margin:.15rem 0;background:#0060a8}
.lemmse-scene li b,.lemmse-scene li span{display:block}
.lemmse-scene .swatches{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.6rem 0 .3rem}
.lemmse-scene .swatches span{display:flex;align-items:center;gap:.4rem;font-size:.9rem}
.lemmse-scene .swatches i{width:2rem;height:2rem;border:1px solid #6b6b6b}
.lemmse-scene p{margin:.2rem 0;color:#1a1a1a;font-size:.9rem;line-height:1.4}
.lemmse-scene .said{position:absolute;width:1px;height:1px;overflow:hidden;
 clip-path:inset(50%);white-space:nowrap}
.lemmse-scene .choice{border:0;margin:.25rem 0;padding:0;display:flex;flex-wrap:wrap;
 gap:.25rem .4rem;align-items:center}
.lemmse-scene .choice legend{float:left;margin:0;padding:0 .6rem 0 0;width:auto;font-size:1rem}
.lemmse-scene .choice label{position:relative;display:inline-block}
.lemmse-scene .choice input{position:absolute;inset:0;width:100%;height:100%;opacity:0;
 min-height:0}
.lemmse-scene .choice span{display:block;padding:.35rem .7rem;border:1px solid #6b6b6b;
 border-radius:.3rem}
.lemmse-scene .choice input:checked+span{background:#0060a8;border-color:#0060a8;color:#fff}
.lemmse-scene .choice input:focus-visible+span{outline:3px solid #e07609;outline-offset:2px}
.lemmse-scene .legend{display:flex;flex-wrap:wrap;gap:0 1rem;margin:.5rem 0 0}
.lemmse-scene .legend svg{width:1.9rem;height:.6rem}
.lemmse-scene .chart{display:block;width:100%;max-width:39rem;height:auto;margin:0 auto}
.lemmse-scene .chart text{font-size:13px;fill:#1a1a1a}
.lemmse-scene .chart .middle{text-anchor:middle}
.lemmse-scene .chart .end{text-anchor:end}
.lemmse-scene .chart .grid{stroke:#ddd}
@media(max-width:480px){.lemmse-scene .views{grid-template-columns:repeat(2,minmax(0,1fr))}
 .lemmse-scene .views div:first-child{grid-column:1/3}
 .lemmse-scene .reading{grid-template-columns:minmax(0,1fr)}
 .lemmse-scene .seen{width:5.5rem}}
"""


class Scene:
    """A picture that the page computes; a notebook shows it as the last expression of a cell.

    Attributes:
        title: stands above the controls.
        data: what the script is given, as JSON.
    """

    def __init__(self, data: dict, title: str, alt: str, still: Callable[[], Figure]):
        """The kind of scene, ``data["kind"]``, is the name of its script; still draws the picture
        for paper and for pages without JavaScript.
        """
        self.data, self.title, self._alt, self._still = data | {"alt": alt}, title, alt, still

    def html(self, **changes) -> str:
        """The self-contained HTML, with changes of the data."""
        root, alt = new_root(), html.escape(self._alt)
        frame = as_frame(self._still(), "still()")
        data = as_script(self.data | changes)
        return card(
            root,
            self.title,
            f"<style>{STYLE.replace(chr(10), '')}</style>",
            '<div class="live" hidden></div>',
            f'<noscript><img width="{frame.width}" alt="{alt}" src="{data_uris([frame])[0]}">'
            '<p class="note">With JavaScript this picture moves.</p></noscript>',
            f"<script>{_script('common')}</script>",
            f"<script>{_script(self.data['kind'])}</script>",
            f"<script>window.lemmseScenes.add({as_script(root)},{data});</script>",
            classes="lemmse-explorer lemmse-scene",
        )

    def _ipython_display_(self) -> None:
        """Shows the HTML, in the page and in a live kernel alike."""
        self._publish(self.html())

    def _publish(self, text: str) -> None:
        from IPython.display import display

        bundle = {"text/plain": f"Scene: {self.title}", "text/html": text}
        display(bundle, raw=True)


@cache
def _script(name: str) -> str:
    """A script without its indents and without lines that only comment."""
    text = files(__package__).joinpath(f"{name}.js").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))

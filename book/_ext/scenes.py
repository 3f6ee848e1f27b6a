"""The directive {core-scene}: the first scene of the book, in a page that is no notebook.

```{core-scene}
```
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lemmse import plots


class CoreScene(SphinxDirective):
    """The scene with the built-in photographs and the networks that the package ships."""

    def run(self):
        """The HTML, as it is."""
        return [nodes.raw("", plots.core_scene().html(), format="html")]


class Diagram(SphinxDirective):
    """A diagram of the package, by its name."""

    required_arguments = 1

    def run(self):
        """The vector graphics in a box that scrolls."""
        picture = plots.diagram(self.arguments[0])._repr_svg_()
        return [nodes.raw("", f'<div class="diagram">{picture}</div>', format="html")]


def setup(app):
    """Join Sphinx."""
    app.add_directive("core-scene", CoreScene)
    app.add_directive("diagram", Diagram)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

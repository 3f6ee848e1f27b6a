"""Figures of the book: images, error maps, curves, matrices, tables, explorers and scenes."""

from lemmse.plots.curves import curves
from lemmse.plots.diagrams import Diagram, diagram
from lemmse.plots.explore import MAX_FRAMES, Explorer, explore
from lemmse.plots.images import error_map, show_images
from lemmse.plots.matrices import heat_map
from lemmse.plots.notebook import building, glue
from lemmse.plots.scenes import (
    PixelScene,
    Scene,
    core_scene,
    curve_scene,
    filter_scene,
    pixel_scene,
    plane_scene,
    posterior_scene,
)
from lemmse.plots.style import COLORS, STYLES, panels, use_style
from lemmse.plots.tables import Table, table

__all__ = [
    "COLORS",
    "MAX_FRAMES",
    "STYLES",
    "Diagram",
    "Explorer",
    "PixelScene",
    "Scene",
    "Table",
    "building",
    "core_scene",
    "curve_scene",
    "curves",
    "diagram",
    "error_map",
    "explore",
    "filter_scene",
    "glue",
    "heat_map",
    "panels",
    "pixel_scene",
    "plane_scene",
    "posterior_scene",
    "show_images",
    "table",
    "use_style",
]

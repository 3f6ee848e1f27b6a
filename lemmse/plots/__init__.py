"""Figures of the book: images, error maps, curves, matrices, glued numbers and explorers."""

from lemmse.plots.curves import curves
from lemmse.plots.explore import MAX_FRAMES, Explorer, explore
from lemmse.plots.images import error_map, show_images
from lemmse.plots.matrices import heat_map
from lemmse.plots.notebook import building, glue
from lemmse.plots.pixels import PixelExplorer, explore_pixels
from lemmse.plots.style import COLORS, STYLES, panels, use_style

__all__ = [
    "COLORS",
    "MAX_FRAMES",
    "STYLES",
    "Explorer",
    "PixelExplorer",
    "building",
    "curves",
    "error_map",
    "explore",
    "explore_pixels",
    "glue",
    "heat_map",
    "panels",
    "show_images",
    "use_style",
]

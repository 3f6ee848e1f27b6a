"""Pictures that a page computes while a hand moves them."""

from .base import Scene
from .networks import SHIPPED, network_data, network_of, shipped_networks
from .pixels import PixelScene, core_scene, pixel_scene
from .small import curve_scene, filter_scene, plane_scene, posterior_scene

__all__ = [
    "SHIPPED",
    "PixelScene",
    "Scene",
    "core_scene",
    "curve_scene",
    "filter_scene",
    "network_data",
    "network_of",
    "pixel_scene",
    "plane_scene",
    "posterior_scene",
    "shipped_networks",
]

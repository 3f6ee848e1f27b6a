"""The published results: one module for each, which computes it again."""

from . import (
    comparison,
    data_efficiency,
    density,
    dip_image,
    dip_step,
    dip_stopping,
    dip_width,
    restoration,
    tomography,
)

__all__ = [
    "comparison",
    "data_efficiency",
    "density",
    "dip_image",
    "dip_step",
    "dip_stopping",
    "dip_width",
    "restoration",
    "tomography",
]

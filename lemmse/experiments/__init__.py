"""The published results: one module for each, which computes it again.

Each has the same names: ``NAME``, ``TITLE``, the ``CHAPTERS`` that show it, its ``COST`` on one
core, the ``OPTIONS`` of its ``run`` beside the common ones; ``run(out, quick, device, bar)``
computes what a file lacks, and ``results()`` are the published ones. `record` is what they share.
"""

from types import ModuleType

from . import (
    changes,
    comparison,
    data_efficiency,
    deficit,
    density,
    dip_image,
    dip_step,
    dip_stopping,
    dip_width,
    infrared,
    ladder,
    lista,
    pooling,
    record,
    restoration,
    saturation,
    scale,
    structure,
    tomography,
    variants,
    whose,
)

EXPERIMENTS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (
        comparison,
        scale,
        whose,
        ladder,
        deficit,
        variants,
        pooling,
        density,
        lista,
        data_efficiency,
        structure,
        tomography,
        saturation,
        infrared,
        dip_width,
        dip_step,
        dip_image,
        dip_stopping,
    )
}
"""The experiments by name, in the order of the book."""

__all__ = [
    "EXPERIMENTS",
    "changes",
    "comparison",
    "data_efficiency",
    "deficit",
    "density",
    "dip_image",
    "dip_step",
    "dip_stopping",
    "dip_width",
    "infrared",
    "ladder",
    "lista",
    "pooling",
    "record",
    "restoration",
    "saturation",
    "scale",
    "structure",
    "tomography",
    "variants",
    "whose",
]

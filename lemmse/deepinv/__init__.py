"""Beside the deepinv library: our estimators as its models, our operators as its physics.

Importing this module imports `deepinv <https://deepinv.github.io>`_, which the package does
without elsewhere.
"""

try:
    import deepinv as _deepinv  # noqa: F401
except ImportError as error:
    raise ImportError(
        "lemmse.deepinv needs the deepinv library with its requirements: pip install deepinv"
    ) from error

from .mmse import LEMMSE, MMSE
from .models import Denoiser, Reconstructor
from .operators import ComplexImageMRI, Inpainting, RealImageMRI
from .physics import Physics
from .structure import recognise

__all__ = [
    "LEMMSE",
    "MMSE",
    "ComplexImageMRI",
    "Denoiser",
    "Inpainting",
    "Physics",
    "RealImageMRI",
    "Reconstructor",
    "recognise",
]

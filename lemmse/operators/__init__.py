"""Forward operators and pre-inverses of imaging inverse problems."""

from .base import Constant, Operator
from .blur import Blur
from .materialise import materialise
from .matrix import MatrixOperator
from .mri import MRI
from .pixelwise import Identity, Mask
from .preinverse import as_operator, preinverse
from .structure import Diagonal, General, PreInverse, Stationary
from .tomography import Tomography

__all__ = [
    "MRI",
    "Blur",
    "Constant",
    "Diagonal",
    "General",
    "Identity",
    "Mask",
    "MatrixOperator",
    "Operator",
    "PreInverse",
    "Stationary",
    "Tomography",
    "as_operator",
    "materialise",
    "preinverse",
]

"""What a pixel sees: shape, period and padding; patches, their groups, merging of equal ones.

- `Field`: which pixels around a location are seen, and what stands beyond the border.
- `extract`, `patch_pixels`: patches of images.
- `location_groups`, `LocationGroup`: which locations see alike, one rule for every field.
- `merge_equal`: equal vectors, counted instead of repeated.
"""

from .cut import extract, patch_pixels
from .field import Field, Views, as_field
from .groups import LocationGroup, location_groups, patch_covariances
from .merge import Merged, merge_equal
from .whitening import toeplitz_covariance, whitening

__all__ = [
    "Field",
    "LocationGroup",
    "Merged",
    "Views",
    "as_field",
    "extract",
    "location_groups",
    "merge_equal",
    "patch_covariances",
    "patch_pixels",
    "toeplitz_covariance",
    "whitening",
]

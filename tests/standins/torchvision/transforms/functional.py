"""Names of ``torchvision.transforms.functional``."""

from .. import Absent

crop = rotate = Absent

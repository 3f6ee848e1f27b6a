"""Names of ``torchvision.transforms``."""

from .. import Absent

CenterCrop = Compose = InterpolationMode = Resize = ToTensor = Absent

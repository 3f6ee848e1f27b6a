"""Names of ``torchvision.datasets.utils``."""

from .. import Absent

download_and_extract_archive = Absent

"""Names of ``torchvision.datasets.folder``."""

IMG_EXTENSIONS = ()

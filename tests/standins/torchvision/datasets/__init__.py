"""Names of ``torchvision.datasets``."""

"""A folder of images as a data set."""

from pathlib import Path

import numpy as np
from PIL import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SPLITS = ("train", "test")
TEST_SHARE = 10  # without subfolders, the last tenth of the images is the test split


class Folder:
    """The png, jpg, bmp and tif images of a folder, sorted by name.

    If the folder has subfolders `train` and `test`, they are the two splits; else the last tenth
    of its images is the test split. Transparency is dropped. Grey images stay one channel if all
    the images read are grey, else all become RGB.

    Args:
        path: the folder.
    """

    licence = "that of the images"
    source = "a folder of this machine"

    def __init__(self, path: str):
        self.root = Path(path).expanduser()
        self.name = f"folder:{path}"
        self.title = f"images of {self.root}"

    def count(self, split: str) -> int:
        """How many images a split has."""
        return len(self._files(split))

    def path(self, split: str) -> Path:
        """The folder of a split."""
        return self.root / split if self._has_subfolders() else self.root

    def fetch(self, split: str) -> Path:
        """The folder of a split: nothing is ever downloaded."""
        self._files(split)
        return self.path(split)

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n images, (n, C, H, W), uint8, or float32 in [0, 1] if any has 16 bits.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: no images; one that cannot be read; or not all of the same size.
        """
        files = self._files(split)[:n]
        images = [_read(path) for path in files]
        height, width = images[0].shape[:2]
        for path, image in zip(files, images, strict=True):
            if image.shape[:2] != (height, width):
                raise ValueError(
                    f"{path}: expected {width} x {height} pixels like {files[0].name}, "
                    f"got {image.shape[1]} x {image.shape[0]}"
                )
        if any(image.dtype == np.float32 for image in images):
            images = [_to_float(image) for image in images]
        if any(image.shape[2] == 3 for image in images):
            images = [np.broadcast_to(image, (height, width, 3)) for image in images]
        return np.stack(images).transpose(0, 3, 1, 2)

    def _has_subfolders(self) -> bool:
        return all((self.root / split).is_dir() for split in SPLITS)

    def _files(self, split: str) -> list[Path]:
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.name}: expected a folder, got {self.root}")
        folder = self.path(split)
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
        if not self._has_subfolders():
            border = len(files) - max(1, len(files) // TEST_SHARE)
            files = files[:border] if split == "train" else files[border:]
        if not files:
            raise ValueError(
                f"{folder}: expected images ({', '.join(ENDINGS)}) for the {split} split, got none"
            )
        return files


def _to_float(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.float32 else image / np.float32(255)


def _from_16_bits(path: Path, pixels: np.ndarray) -> np.ndarray:
    # Pillow widens some 16-bit files to 32-bit integers, so the values decide.
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"{path}: expected 8 or 16 bits a channel, got 32")
    return (pixels / 65535).astype(np.float32)[..., None]


def _read(path: Path) -> np.ndarray:
    """One image, (H, W, 1 or 3): uint8, or float32 in [0, 1] if the file has 16 bits."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                return _from_16_bits(path, np.asarray(image))
            if image.mode == "F":
                raise ValueError(f"{path}: expected 8 or 16 bits a channel, got floating point")
            grey = image.mode in ("1", "L", "LA", "La")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
            return pixels[..., None] if grey else pixels
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: expected an image, got a broken file ({error})") from error

"""Faces: a hundred that ship inside scikit-image, and FFHQ at 32 x 32 if you have made it.

[LE] shows its results on FFHQ at 32 x 32 first. That data set lies on a file server that wants a
person to click, so nothing is downloaded here; `FFHQ` says where to put it.
"""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np

from .folder import Folder
from .photos import folder as photographs
from .standard import roots

FILE = "lfw_subset.npy"
SHA256 = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"


class Faces:
    """A hundred grey faces, 25 x 25: 80 train, 20 test, from the scikit-image wheel.

    The first half of its subset of Labeled Faces in the Wild; the other half shows no faces.

    Source:
        Huang, Ramesh, Berg, Learned-Miller, Labeled Faces in the Wild, 2007.
    """

    name = "faces"
    title = "LFW faces (scikit-image's 100)"
    licence = "as Labeled Faces in the Wild, for research"
    source = "scikit-image, data/lfw_subset.npy; http://vis-www.cs.umass.edu/lfw/"
    counts = {"train": 80, "test": 20}

    def count(self, split: str) -> int:
        """How many images a split has."""
        return self.counts[split]

    def path(self, split: str) -> Path:
        """The file, which holds both splits."""
        return photographs() / FILE

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n faces, (n, 1, 25, 25) float32.

        Raises:
            FileNotFoundError: scikit-image is incomplete.
            ValueError: the file is another one.
        """
        path = self.path(split)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: install scikit-image again")
        content = path.read_bytes()
        came = hashlib.sha256(content).hexdigest()
        if came != SHA256:
            raise ValueError(f"{path}: expected sha256 {SHA256}, got {came}")
        start = 0 if split == "train" else self.counts["train"]
        return np.load(BytesIO(content))[start : start + n, None].astype(np.float32)


class FFHQ(Folder):
    """FFHQ at 32 x 32: 60,000 train and 10,000 test images of faces, RGB, as png files.

    They are read from ``$LEMMSE_DATA/ffhq32/train`` and ``/test``; see the page on running the book
    for how to make them from the thumbnails.

    Source:
        Karras, Laine, Aila, A style-based generator architecture for generative adversarial
        networks, CVPR 2019; https://github.com/NVlabs/ffhq-dataset.
    """

    licence = "CC BY-NC-SA 4.0, and that of each photograph"
    source = "https://github.com/NVlabs/ffhq-dataset, thumbnails averaged over 4 x 4 pixels"
    counts = {"train": 60_000, "test": 10_000}

    def __init__(self):
        there = [root / "ffhq32" for root in roots() if (root / "ffhq32").is_dir()]
        super().__init__(str(there[0] if there else roots()[0] / "ffhq32"))
        self.name, self.title = "ffhq32", "FFHQ, 32 x 32"

    def count(self, split: str) -> int:
        """How many images a split has; as published, if it is not here."""
        return super().count(split) if self.root.is_dir() else self.counts[split]

    def path(self, split: str) -> Path | None:
        """The folder of a split, or None if it is not on this machine."""
        return super().path(split) if self.root.is_dir() else None

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n images, (n, 3, 32, 32) uint8.

        Raises:
            FileNotFoundError: the data set is not here.
            ValueError: see `Folder`, or images of another size.
        """
        if not self.root.is_dir():
            self.repair(split)
        images = super().read(split, n)
        if images.shape[2:] != (32, 32):
            height, width = images.shape[2:]
            raise ValueError(f"{self.root}: expected images of 32 x 32, got {width} x {height}")
        return images

    def repair(self, split: str) -> None:
        """Raises FileNotFoundError, which says what to do: there is no address to load it from."""
        raise FileNotFoundError(
            f"ffhq32: expected png files of 32 x 32 pixels in {self.root / split}; nothing can "
            "download them, see 'Faces' in the book's page on how to run it"
        )

"""Images to learn from: built in, downloaded once, or from a folder.

- `photos`: 10,000 + 2,000 RGB images, 32 x 32, cut from photographs inside scikit-image.
- `photos-grey`: their luminance.
- `fashion-mnist`: 60,000 + 10,000 grey images, 28 x 28.
- `cifar10`: 50,000 + 10,000 RGB images, 32 x 32.
- `infrared`: 10,000 + 2,000 synthetic temperature maps, 32 x 32; see `lemmse.datasets.infrared`.
- `faces`: 80 + 20 grey faces, 25 x 25, inside scikit-image.
- `ffhq32`: 60,000 + 10,000 RGB faces, 32 x 32, if you have made them; see `lemmse.datasets.faces`.
- `folder:<path>`: the png, jpg, bmp and tif images, all of one size, in a folder of yours.
- `fastmri:<path>`: grey MR images, 320 x 320, from a folder of single-coil fastMRI files.

`fashion-mnist` and `cifar10` are looked up in `$LEMMSE_DATA`, then in the cache, then downloaded.
`$LEMMSE_DATA` names a folder with `fashion-mnist/train-images-idx3-ubyte.gz`,
`fashion-mnist/t10k-images-idx3-ubyte.gz`, `cifar-10/data_batch_1.bin.gz` (up to 5) and
`cifar-10/test_batch.bin.gz`, each with or without gzip. `$LEMMSE_CACHE` moves the cache;
`LEMMSE_OFFLINE=1` forbids downloads. Results on a `cifar-10` folder with one training batch are
reported as "CIFAR-10 (JPEG copy)".
"""

import difflib
import hashlib
import warnings
from numbers import Integral
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .download import cache_folder
from .faces import FFHQ, Faces
from .fastmri import FastMRI
from .folder import Folder, read_file
from .infrared import Infrared
from .photos import Photos
from .standard import CIFAR10, FashionMNIST

NAMED = {
    "photos": lambda: Photos(grey=False),
    "photos-grey": lambda: Photos(grey=True),
    "fashion-mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "infrared": Infrared,
    "faces": Faces,
    "ffhq32": FFHQ,
}
NAMES = tuple(NAMED)
SPLITS = ("train", "test")
ON_DISK = {"folder": Folder, "fastmri": FastMRI}  # named <kind>:<path>


class Source(Protocol):
    """What a data set can tell and do."""

    name: str
    title: str  # the name under which results are reported
    licence: str
    source: str

    def count(self, split: str) -> int:
        """How many images a split has."""

    def path(self, split: str) -> Path | None:
        """Where a split lies, or None if it is not on this machine."""

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n images (n, C, H, W), uint8, or float32 in [0, 1]."""


def load(
    name: str, split: str = "train", n: int | None = None, fallback: str | None = None
) -> Tensor:
    """Load the first n images of a data set.

    Args:
        name: one of `NAMES`, `folder:<path>` or `fastmri:<path>`.
        split: `train` or `test`.
        n: how many; None: all. In `photos` and `infrared` every prefix is a fair sample.
        fallback: a data set to use instead, with a warning, if this one cannot be had. Its images
            keep their own shape, and if it has fewer than n, all of them come.

    Returns:
        (n, C, H, W) float32 in [0, 1].

    Raises:
        ValueError: unknown name or split; n not an integer from 1 to the size of the split; a file
            that is unreadable, truncated, or not the one expected.
        FileNotFoundError: the data set is not on this machine and cannot be downloaded.
        ConnectionError: the download broke off.
        ImportError: fastMRI files without the package h5py.

    Example:
        >>> load("photos", n=4).shape
        torch.Size([4, 3, 32, 32])
    """
    wanted = find(name)
    substitute = None if fallback is None else find(fallback)
    _check_split(split)
    _check_n(n)
    try:
        return _load(wanted, split, n)
    except (FileNotFoundError, ConnectionError) as error:
        if substitute is None:
            raise
        available = substitute.count(split)
        n = available if n is None else min(n, available)
        images = _load(substitute, split, n)
        warnings.warn(
            f"using {n} {split} images {tuple(images.shape[1:])} of '{fallback}' "
            f"in the place of '{name}': {error}",
            stacklevel=2,
        )
        return images


def read_image(path: Path | str) -> Tensor:
    """Reads one image file.

    Returns:
        (1, C, H, W) float32 in [0, 1], with one channel if the file is grey, else three.

    Raises:
        ValueError: there is no such file, or it is no image.

    Example:
        >>> read_image("nowhere.png")
        Traceback (most recent call last):
        ValueError: nowhere.png: expected an image, got ...
    """
    return torch.from_numpy(read_file(path))[None]


def describe(name: str, split: str = "train") -> dict:
    """Where a data set comes from, without reading or downloading it.

    Args:
        name, split: see `load`.

    Returns:
        A dictionary: `name`; `split`; `title`, the name under which results are reported;
        `source`; `licence`; `path`, where it lies as a string, or None if it is not on this
        machine; `count`, the number of images.

    Raises:
        ValueError: unknown name or split.
        FileNotFoundError: no such folder.

    Example:
        >>> describe("photos", "test")["count"]
        2000
    """
    _check_split(split)
    source = find(name)
    path = source.path(split)
    return {
        "name": source.name,
        "split": split,
        "title": source.title,
        "source": source.source,
        "licence": source.licence,
        "path": None if path is None else str(path),
        "count": source.count(split),
    }


def checksum(images: Tensor) -> str:
    """Sha256 of the bytes, shape and type of a tensor, to say exactly which data were used.

    Args:
        images: any tensor; its device does not matter.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: not a tensor.

    Example:
        >>> checksum(torch.zeros(2)) == checksum(torch.zeros(2, 1))
        False
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"checksum: expected a tensor, got {type(images).__name__}")
    array = np.ascontiguousarray(images.detach().cpu().numpy())
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    digest.update(array)
    return digest.hexdigest()


def verify(name: str, split: str) -> str:
    """Read a whole split, with all checks, and return the checksum of its images.

    Downloads nothing.

    Raises:
        ValueError: see `load`.
        FileNotFoundError: the data set is not on this machine.

    Example:
        >>> len(verify("photos-grey", "test"))
        64
    """
    if describe(name, split)["path"] is None:
        raise FileNotFoundError(
            f"{name} is not on this machine; get it with: python -m lemmse data fetch {name}"
        )
    return checksum(load(name, split))


def fetch(name: str) -> None:
    """Bring a data set onto this machine, whole and checked.

    In the cache, broken files are replaced, once the new ones are here and verified; all others
    stay as they are.

    Raises:
        ValueError: unknown name, or a broken copy outside the cache.
        FileNotFoundError, ConnectionError: see `load`.

    Example:
        >>> fetch("fashion-mnist")  # doctest: +SKIP
    """
    source = find(name)
    for split in SPLITS:
        try:
            source.read(split, source.count(split))
        except ValueError as broken:
            path = source.path(split)
            if path is None or cache_folder() not in path.parents:
                raise
            try:
                source.repair(split)
            except (FileNotFoundError, ConnectionError) as error:
                raise type(error)(f"{broken}; no new copy could be had: {error}") from error
            source.read(split, source.count(split))


def find(name: str) -> Source:
    """The data set of a name.

    Raises:
        ValueError: unknown name.

    Example:
        >>> find("photos").title
        'Photos'
    """
    if isinstance(name, str) and name in NAMED:
        return NAMED[name]()
    kind, _, path = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind in ON_DISK and path:
        return ON_DISK[kind](path)
    close = difflib.get_close_matches(str(name).lower(), NAMES, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise ValueError(
        f"data set: expected one of {', '.join(NAMES)}, folder:<path> or fastmri:<path>, "
        f"got {name!r}{hint}"
    )


def _load(source: Source, split: str, n: int | None) -> Tensor:
    count = source.count(split)
    if n is not None and n > count:
        raise ValueError(f"n: expected at most {count} ({split} images of {source.name}), got {n}")
    images = source.read(split, count if n is None else n)
    if images.dtype == np.uint8:
        images = images.astype(np.float32)
        images /= np.float32(255)
    return torch.from_numpy(np.ascontiguousarray(images))


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")


def _check_n(n: int | None) -> None:
    if n is not None and (isinstance(n, bool) or not isinstance(n, Integral) or n < 1):
        raise ValueError(f"n: expected a positive integer or None, got {n!r}")

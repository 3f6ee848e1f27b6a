"""Single-coil MR images of the fastMRI collection, for readers who have access to it.

The collection of NYU Langone Health is handed out on request, one HDF5 file a scan. A file of the
single-coil track with the fully sampled data (`singlecoil_train`, `singlecoil_val`) holds

- `kspace`: (slices, H, W) complex64, as a rule 640 x 368 or near it; the zero frequency is in the
  middle, so that the image is the centred unitary inverse Fourier transform of a slice;
- `reconstruction_esc`: (slices, 320, 320) float32, the magnitude of that image, cropped at its
  centre;
- `ismrmrd_header` and attributes such as `acquisition`, `patient_id` and `max`, none of which is
  needed here.

Files of `singlecoil_test` and `singlecoil_challenge` are undersampled, hold no
`reconstruction_esc`, and are refused; so are the multi-coil ones.

Source:
    Zbontar et al., fastMRI: An Open Dataset and Benchmarks for Accelerated MRI (2018),
    arXiv 1811.08839.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..files import expanded

FOLDERS = {"train": "singlecoil_train", "test": "singlecoil_val"}
TEST_SHARE = 10  # of a folder without these two, the last tenth of the files is the test split
IMAGE, KSPACE = "reconstruction_esc", "kspace"


class Volume(NamedTuple):
    """What is known of a file without reading its data: slices, and pixels of an image."""

    path: Path
    slices: range
    size: tuple[int, int]


class FastMRI:
    """Magnitude images of single-coil fastMRI scans.

    An image is a slice of `reconstruction_esc` as it is, neither cropped further nor resized,
    divided by the largest value of that dataset in its file. So intensities lie in [0, 1], and the
    slices of a scan keep their brightness relative to each other.

    Slices come in the order of their distance from the middle of their scan, and at the same
    distance file by file: a short prefix shows many patients, and the empty slices at the ends of
    the scans come last.

    If the path is a folder with the subfolders `singlecoil_train` and `singlecoil_val`, they are
    the train and the test split; else the last tenth of its files, sorted by name, is the test
    split, and a patient who was scanned twice may be in both. If the path is one file, the test
    split is the last tenth of its slices: enough to try things out, no fair test, since
    neighbouring slices are alike.

    Args:
        path: a folder of `.h5` files, or one such file.
    """

    title = "fastMRI, single-coil"
    licence = "the data use agreement of the fastMRI collection; not to be passed on"
    source = "NYU Langone Health, fastMRI: https://fastmri.med.nyu.edu"

    def __init__(self, path: str):
        self.root = expanded(path)
        self.name = f"fastmri:{path}"

    def count(self, split: str) -> int:
        """How many images a split has."""
        return sum(len(volume.slices) for volume in self._volumes[split])

    def path(self, split: str) -> Path:
        """The folder of a split, or the file."""
        return self.root / FOLDERS[split] if self._has_subfolders() else self.root

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n images, (n, 1, H, W) float32 in [0, 1].

        Raises:
            FileNotFoundError: no such path.
            ImportError: h5py is not installed.
            ValueError: no files; one that is no single-coil file with fully sampled data, or whose
                images have another size than those of the first.
        """
        volumes = self._same_size(split)
        images = np.empty((n, 1, *volumes[0].size), np.float32)
        for volume, places, slices in _taken(volumes, n):
            with _opened(volume.path) as file:
                images[places, 0] = file[IMAGE][slices] / _largest(file)
        return images

    def read_kspace(self, split: str, n: int, size: int | None) -> np.ndarray:
        """See `kspace`: the first n slices, (n, 1, H, W) complex64."""
        volumes = self._same_size(split)
        shape = volumes[0].size
        _check_integer("size", min(shape) if size is None else size, min(shape), "pixels")
        kept = shape if size is None else (size, size)
        data = np.empty((n, 1, *kept), np.complex64)
        for volume, places, slices in _taken(volumes, n):
            with _opened(volume.path) as file:
                image = _centre(_image(file[KSPACE][slices]), shape) / _largest(file)
            data[places, 0] = _lowest(np.fft.fft2(image, norm="ortho"), kept)
        return data

    @cached_property
    def _volumes(self) -> dict[str, list[Volume]]:
        """The scans of both splits; only the shapes are read."""
        if self.root.is_file():
            [volume] = _volumes([self.root])
            border = _border(len(volume.slices))
            return {
                "train": [volume._replace(slices=volume.slices[:border])],
                "test": [volume._replace(slices=volume.slices[border:])],
            }
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.name}: expected a folder or a file, got {self.root}")
        if self._has_subfolders():
            return {split: _volumes(_files(self.path(split))) for split in FOLDERS}
        volumes = _volumes(_files(self.root))
        border = _border(len(volumes))
        return {"train": volumes[:border], "test": volumes[border:]}

    def _has_subfolders(self) -> bool:
        return all((self.root / folder).is_dir() for folder in FOLDERS.values())

    def _same_size(self, split: str) -> list[Volume]:
        volumes = self._volumes[split]
        if self.count(split) == 0:
            raise ValueError(
                f"{self.name}: expected at least two files, or two slices, for two splits, got one"
            )
        for volume in volumes:
            if volume.size != volumes[0].size:
                raise ValueError(
                    f"{volume.path}: expected images of {volumes[0].size} pixels like those of "
                    f"{volumes[0].path.name}, got {volume.size}"
                )
        return volumes


def kspace(
    path: str, split: str = "train", n: int | None = None, size: int | None = None
) -> Tensor:
    """Fully sampled k-space of the images that `load("fastmri:<path>", split, n)` returns.

    The complex image, whose magnitude the file keeps as `reconstruction_esc`, is computed from the
    file's k-space, cropped to the same field of view, divided by the same number, and transformed
    back. Noise that is white in the scanner's k-space is white in this one. The frequencies are in
    the order of `torch.fft.fft2`, as `operators.MRI` expects them.

    Args:
        path: as for `FastMRI`, without the prefix `fastmri:`.
        split: `train` or `test`.
        n: how many slices; None: all.
        size: keep the lowest size x size frequencies only, which gives images of size x size pixels
            of the same field of view and brightness; None: all frequencies.

    Returns:
        (n, 1, H, W) complex64. `torch.fft.ifft2(..., norm="ortho")` is the complex image.

    Raises:
        ValueError: unknown split; n or size not an integer from 1 to what there is; files that are
            not as expected.
        FileNotFoundError: no such path.
        ImportError: h5py is not installed.

    Example:
        >>> y = kspace("fastmri/knee", n=100, size=64)  # doctest: +SKIP
        >>> images = torch.fft.ifft2(y, norm="ortho").abs()  # doctest: +SKIP
    """
    if split not in FOLDERS:
        raise ValueError(f"split: expected one of {', '.join(FOLDERS)}, got {split!r}")
    source = FastMRI(path)
    count = source.count(split)
    n = count if n is None else n
    _check_integer("n", n, count, f"{split} slices of {source.name}")
    return torch.from_numpy(source.read_kspace(split, n, size))


def _check_integer(name: str, value: int, largest: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= largest:
        raise ValueError(f"{name}: expected an integer from 1 to {largest} ({what}), got {value!r}")


def _border(count: int) -> int:
    return count - max(1, count // TEST_SHARE)


def _files(folder: Path) -> list[Path]:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix == ".h5" and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise ValueError(f"{folder}: expected fastMRI files (.h5), got none")
    return files


def _volumes(files: list[Path]) -> list[Volume]:
    return [_volume(path) for path in files]


def _volume(path: Path) -> Volume:
    """The shapes in a file, checked."""
    with _opened(path) as file:
        found = {name: file[name] for name in (KSPACE, IMAGE) if name in file}
        # A group may have the name of a dataset, but has no shape.
        shapes = {name: data.shape for name, data in found.items() if hasattr(data, "shape")}
    if IMAGE not in shapes:
        raise ValueError(
            f"{path}: expected a dataset {IMAGE}, as the fully sampled single-coil files have it "
            f"(singlecoil_train, singlecoil_val), got {', '.join(shapes) or 'other datasets'}"
        )
    data, image = shapes.get(KSPACE, ()), shapes[IMAGE]
    fits = len(data) == len(image) == 3 and data[0] == image[0]
    if not fits or 0 in image or data[1] < image[1] or data[2] < image[2]:
        raise ValueError(
            f"{path}: expected kspace of shape (slices, H, W) and {IMAGE} of as many slices, at "
            f"least one, and no more pixels, got {data} and {image}"
        )
    return Volume(path, range(image[0]), image[1:])


@contextmanager
def _opened(path: Path):
    """The open file, an `h5py.File`; errors in reading it carry its name."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "fastMRI files need the package h5py, which is not installed: pip install h5py"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError) as error:  # h5py's, at broken places
        raise ValueError(f"{path}: expected an HDF5 file, got a broken one ({error})") from error


def _taken(volumes: list[Volume], n: int) -> Iterator[tuple[Volume, list[int], list[int]]]:
    """The first n slices, file by file: the volume, places in the result, slices (increasing)."""
    order = sorted(
        (distance, number, index)
        for number, volume in enumerate(volumes)
        for distance, index in enumerate(_from_the_middle(volume.slices))
    )
    by_volume: dict[int, list[tuple[int, int]]] = {}
    for place, (_, number, index) in enumerate(order[:n]):
        by_volume.setdefault(number, []).append((index, place))
    for number, pairs in by_volume.items():
        slices, places = zip(*sorted(pairs), strict=True)
        yield volumes[number], list(places), list(slices)


def _from_the_middle(slices: range) -> list[int]:
    """The slices by their distance from the middle one: 2, 1, 3, 0, 4 of five."""
    middle = slices[len(slices) // 2]
    return sorted(slices, key=lambda index: (abs(index - middle), index))


def _largest(file) -> np.float32:
    largest = file[IMAGE][()].max()
    if not 0 < largest < np.inf:
        raise ValueError(f"{file.filename}: expected a positive, finite maximum, got {largest}")
    return largest


def _image(data: np.ndarray) -> np.ndarray:
    """The complex image of centred k-space: the centred unitary inverse Fourier transform."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(data, axes), norm="ortho"), axes)


def _centre(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The middle (H, W) of the last two axes, cut as fastMRI does."""
    top, left = ((whole - part) // 2 for whole, part in zip(image.shape[-2:], shape, strict=True))
    return image[..., top : top + shape[0], left : left + shape[1]]


def _lowest(data: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The lowest frequencies, zero frequency first; the values of the image are kept."""
    for axis, part in zip((-2, -1), shape, strict=True):
        whole = data.shape[axis]
        kept = np.fft.fftfreq(part, 1 / part).round().astype(int) % whole
        data = np.take(data, kept, axis) * np.sqrt(part / whole)
    return data

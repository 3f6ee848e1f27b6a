"""The built-in data set: crops of the photographs that ship inside scikit-image."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from .resize import squares_scaled

SIZE = 32  # pixels a side of a crop
SIDES = (48, 128)  # smallest and largest side of the square cut out, before it is scaled to SIZE
COUNTS = {"train": 10_000, "test": 2_000}
FLAT = 10.0  # crops whose luminance has a smaller standard deviation (of 255) are passed over
AT_ONCE = 1000  # crops
LUMINANCE = (2125, 7154, 721)  # weights of red, green, blue (Rec. 709), in 1/10,000


class Photograph(NamedTuple):
    """One photograph: its file, where its test region starts, and checksums (sha256)."""

    file: str
    sha256: str  # of the file
    pixels: str  # of what it decodes to: red, green, blue, row by row
    axis: str  # "x": the test region is the right part; "y": the lower part
    start: int  # first column or row of the test region
    credit: str


PHOTOGRAPHS = (
    Photograph(
        "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "a8c429c18afa7b0fd5673e598d73a21225d94c864a71bbb3885126fdecb41071",
        "x",
        358,
        "Eileen Collins, NASA, public domain",
    ),
    Photograph(
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "416b729128bfb2c3d1eb69bf9b1734a796293abc17939267b2dc94f8a5784031",
        "y",
        168,
        "Chelsea the cat, Stefan van der Walt, CC0",
    ),
    Photograph(
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "0ce2b51640b9c95f19617f03eabf40c3f0368589cc1ee1190b70966165ac184f",
        "y",
        260,
        "coffee cup, Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
    ),
    Photograph(
        "motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "ca829467c1d4f427da9c4862ba43829da6ac90afe1f75735e95dba9e3fd9620b",
        "x",
        519,
        "motorcycle, Scharstein et al., Middlebury stereo benchmark 2014, published with citation",
    ),
    Photograph(
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "3d4435cc745752b7f9724df88c6e18817de3ce7e3d2d71c55f85f7831e68f197",
        "y",
        290,
        "DSCOVR on Falcon 9, SpaceX, public domain",
    ),
)

# sha256 of the first so many crops of a split, the same on every machine.
CHECKSUMS = {
    "train": {
        100: "1564abfc54edab00f855a856476f23fdb5270b4d1012034168c1f05dda539308",
        10_000: "b26646b57f969e11b298f62e2a2dabfbf67dbf1cb9ac345e1ecf004bad68a5f8",
    },
    "test": {
        100: "eae2e2102854c089c7d01e84096a12f424964bd8297b56e0d2c4f4f2739548cf",
        2_000: "4bcc58054c1df3851d0916928fda28cd07e4d5e8774297fbbdf3ec0a0f72edb7",
    },
}


class Photos:
    """32 x 32 crops of five photographs: 10,000 train, 2,000 test.

    The photographs (credits in `PHOTOGRAPHS`): a portrait, a cat, a coffee cup, a motorcycle and
    a rocket; all in the public domain, CC0 or free to publish. The other colour images of
    scikit-image are left out: drawings, microscopy, a retina, a star field, and the motorcycle's
    second view, which shows the same scene.

    Every photograph is cut in two first, and train and test crops come from different parts: no
    pixel is shared, though the two parts show the same scene. A crop is a square of 48 to 128
    pixels, scaled to 32 x 32 by an antialiased bicubic filter, `squares_scaled`. Crops overlap:
    10,000 of them hold far less than 10,000 independent pictures, but no two are equal.

    Args:
        grey: luminance instead of red, green, blue.
    """

    licence = "public domain, CC0, or free to publish with citation; see the credits"
    source = "scikit-image: " + "; ".join(photograph.credit for photograph in PHOTOGRAPHS)

    def __init__(self, grey: bool):
        self.grey = grey
        self.name = "photos-grey" if grey else "photos"
        self.title = "Photos (grey)" if grey else "Photos"

    def count(self, split: str) -> int:
        """How many images a split has."""
        return COUNTS[split]

    def path(self, split: str) -> Path:
        """The folder of the photographs, the same for both splits."""
        return folder()

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n crops: (n, 3, 32, 32) uint8, or (n, 1, 32, 32) float32 in [0, 1]."""
        images = crops(split, n)
        return luminance(images) if self.grey else images


class Crop(NamedTuple):
    """A square of a region of a photograph: number of the photograph, corner, side in pixels."""

    photograph: int
    x: float
    y: float
    side: float


def crops(split: str, n: int) -> np.ndarray:
    """The first n crops of a split.

    Args:
        split: "train" or "test".
        n: how many, at most `COUNTS[split]`.

    Returns:
        (n, 3, 32, 32) uint8, red, green, blue.

    Raises:
        FileNotFoundError: the installed scikit-image lacks one of the photographs.
        ValueError: one of them is not the file expected (sha256), or decodes to other pixels, or
            the crops are not those of `CHECKSUMS`.
    """
    regions = [region(photograph, split) for photograph in PHOTOGRAPHS]
    kept, missing = [], n
    candidates = squares([(image.shape[1], image.shape[0]) for image in regions])
    while missing > 0:
        batch = _cut(regions, list(islice(candidates, min(missing, AT_ONCE))))
        structured = luminance(batch).std(axis=(1, 2, 3)) * 255 >= FLAT
        kept.append(batch[structured])
        missing -= int(structured.sum())
    images = np.concatenate(kept)
    _check(images, split)
    return images


def _check(images: np.ndarray, split: str) -> None:
    """Raises ValueError unless the first crops of a split have the right checksums."""
    for count, expected in CHECKSUMS[split].items():
        came = hashlib.sha256(images[:count]).hexdigest()
        if count <= len(images) and came != expected:
            raise ValueError(
                f"photos: expected sha256 {expected} of the first {count} {split} crops, got "
                f"{came}; this machine or NumPy {np.__version__} computes them otherwise, so that "
                "results on them cannot be compared with published ones"
            )


def luminance(images: np.ndarray) -> np.ndarray:
    """Rec. 709 luminance 0.2125 R + 0.7154 G + 0.0721 B, (N, 3, H, W) uint8 to (N, 1, H, W).

    The sum is taken in integers, so that it is the same on every machine. Values in [0, 1],
    float32.
    """
    red, green, blue = (
        weight * images[:, channel : channel + 1].astype(np.int32)
        for channel, weight in enumerate(LUMINANCE)
    )
    return (red + green + blue).astype(np.float32) / np.float32(255 * sum(LUMINANCE))


def squares(sizes: list[tuple[int, int]]) -> Iterator[Crop]:
    """Squares in regions of the given (width, height), without end, the regions taking turns.

    Corner and side follow the additive recurrence u_j = 1/2 + j (1/g, 1/g^2, 1/g^3) mod 1 with
    g^4 = g + 1, whose first n points fill the cube evenly for every n: so the first n squares
    are a fair sample for every n. The side is log-uniform in `SIDES`. No random numbers.

    Source:
        Roberts, The unreasonable effectiveness of quasirandom sequences (2018).
    """
    g = 1.2207440846057596
    smallest, largest = SIDES
    j = 0
    while True:
        j += 1
        u, v, w = ((0.5 + j * g**-power) % 1 for power in (1, 2, 3))
        for photograph, (width, height) in enumerate(sizes):
            side = smallest * (largest / smallest) ** w
            yield Crop(photograph, u * (width - side), v * (height - side), side)


def bounds(photograph: Photograph, split: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, upper, right, lower edge of a split's region in a photograph of this size."""
    width, height = size
    start = photograph.start
    if split == "train":
        return (0, 0, start, height) if photograph.axis == "x" else (0, 0, width, start)
    return (start, 0, width, height) if photograph.axis == "x" else (0, start, width, height)


def region(photograph: Photograph, split: str) -> np.ndarray:
    """The part of a photograph that belongs to a split, cut out before any filtering."""
    image = read(photograph)
    left, upper, right, lower = bounds(photograph, split, (image.shape[1], image.shape[0]))
    return image[upper:lower, left:right]


def folder() -> Path:
    """Where scikit-image keeps its photographs."""
    return Path(str(files("skimage"))) / "data"


@cache
def read(photograph: Photograph) -> np.ndarray:
    """A photograph of the scikit-image wheel, checked, (H, W, 3) uint8; nothing is downloaded."""
    path = folder() / photograph.file
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: expected the photographs that ship in the scikit-image wheel; "
            "install it again with: pip install --force-reinstall scikit-image"
        )
    content = path.read_bytes()
    came = hashlib.sha256(content).hexdigest()
    if came != photograph.sha256:
        raise ValueError(f"{path}: expected sha256 {photograph.sha256}, got {came}")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    came = hashlib.sha256(pixels).hexdigest()
    if came != photograph.pixels:
        raise ValueError(
            f"{path}: expected pixels with sha256 {photograph.pixels}, but Pillow "
            f"{PIL.__version__} decodes the file to {came}; install a version that decodes it as "
            "published: pip install pillow==13.0.0"
        )
    return pixels


def _cut(regions: list[np.ndarray], chosen: list[Crop]) -> np.ndarray:
    """Crops, (n, 3, SIZE, SIZE) uint8, in the order given."""
    images = np.empty((len(chosen), 3, SIZE, SIZE), np.uint8)
    places = np.array([crop[1:] for crop in chosen])
    owners = np.array([crop.photograph for crop in chosen])
    for photograph, image in enumerate(regions):
        mine = owners == photograph
        if mine.any():
            images[mine] = squares_scaled(image, places[mine], SIZE)
    return images

"""A folder of images as a data set."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, TiffTags

from ..files import expanded

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SPLITS = ("train", "test")
TEST_SHARE = 10  # without subfolders, the last tenth of the images is the test split
TIFF = {tag.name: number for number, tag in TiffTags.TAGS_V2.items()}
SAMPLES = {1: "unsigned integers", 2: "signed integers", 3: "floating point", 4: "no known type"}
FIRST_PAGE_ONLY = ("JPEG", "MPO")  # what follows the photograph is a preview or a depth map


class Folder:
    """The png, jpg, bmp and tif images of a folder, sorted by name.

    If the folder has subfolders `train` and `test`, they are the two splits; else the last tenth
    of its images is the test split, and a single image is in the train split. Hidden files, and
    folders, are passed over.

    Images are turned upright as their orientation tag says. Transparency is dropped. Grey images
    stay one channel if all the images read are grey, else all become RGB. Black is 0 and white 1,
    also where a file counts from white, or has 12 or 16 bits of grey. Refused is what Pillow would
    cut down or what has no white: colour with more than 8 bits a channel, signed or 32-bit
    integers, floating point; and files of several pages.

    Args:
        path: the folder.
    """

    licence = "that of the images"
    source = "a folder of this machine"

    def __init__(self, path: str):
        self.root = expanded(path)
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
        """The first n images, (n, C, H, W), uint8, or float32 in [0, 1] if any has more bits.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: no images; one that cannot be read, or is refused (see the class); or not
                all of the same size.
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
        found = sorted(path for path in folder.iterdir() if _is_image(path))
        files = found
        if not self._has_subfolders():
            border = max(1, len(found) - max(1, len(found) // TEST_SHARE))
            files = found[:border] if split == "train" else found[border:]
        if not files:
            only = f" but {found[0].name}, which is in the train split" if found else ""
            raise ValueError(
                f"{folder}: expected images ({', '.join(ENDINGS)}) for the {split} split, "
                f"got none{only}"
            )
        return files


def _is_image(path: Path) -> bool:
    """Whether a file counts: others write hidden ones beside it, such as ._a.png on a Mac."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def read_file(path: Path | str) -> np.ndarray:
    """One image file, float32 in [0, 1], (C, H, W) with C = 1 or 3.

    Raises:
        ValueError: there is no such file, or it is no image.
    """
    return np.ascontiguousarray(_to_float(_read(Path(path))).transpose(2, 0, 1))


def _to_float(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.float32 else image / np.float32(255)


def _read(path: Path) -> np.ndarray:
    """One image, (H, W, 1 or 3), upright: uint8, or float32 in [0, 1] if the file has more bits."""
    try:
        # Given the path, Pillow 12 and 13 scramble an uncompressed TIFF that lies on its side.
        with path.open("rb") as file, Image.open(file) as image:
            bits, refusal = _bits(image), _refusal(image)
            if refusal is None:
                return _pixels(image, bits)
    except Exception as error:  # of any kind: broken files bring out many in Pillow
        raise ValueError(f"{path}: expected an image, got a broken file ({error})") from error
    raise ValueError(f"{path}: expected {refusal}")


def _tag(image: Image.Image, name: str, default: int) -> tuple[int, ...]:
    """A tag of a TIFF, one number for each channel; of another file the default."""
    if image.format != "TIFF":
        return (default,)
    value = image.tag_v2.get(TIFF[name], default)
    return value if isinstance(value, tuple) else (value,)


def _bits(image: Image.Image) -> int:
    """The bits a channel in the file: Pillow cuts some files down to 8, and widens others to 32."""
    if image.format == "PNG":
        return 16 if "16" in str(image.tile[0][3]) else 8
    return max(_tag(image, "BitsPerSample", 32 if image.mode in ("I", "F") else 8))


def _refusal(image: Image.Image) -> str | None:
    """Why an image cannot be taken as it is meant: what was expected, and what came."""
    kind = max(_tag(image, "SampleFormat", 1))
    pages, bits = getattr(image, "n_frames", 1), _bits(image)
    if pages > 1 and image.format not in FIRST_PAGE_ONLY:
        return f"one image a file, got {pages} pages"
    if kind != 1 or image.mode == "F":
        came = SAMPLES[3] if image.mode == "F" else SAMPLES.get(kind, SAMPLES[4])
        return f"8 or 16 bits a channel, unsigned integers, got {came}"
    if bits > 16:
        return f"8 or 16 bits a channel, got {bits}"
    if bits > 8 and not image.mode.startswith("I"):
        return (
            f"8 bits a channel in colour or with transparency, got {bits}; save the image as grey, "
            "or with 8 bits"
        )
    return None


def _pixels(image: Image.Image, bits: int) -> np.ndarray:
    white_is_zero = bits > 8 and _tag(image, "PhotometricInterpretation", 1) == (0,)
    image.load()
    grey = image.mode in ("1", "L", "LA", "La")
    if bits > 8:
        pixels = (np.asarray(image) / (2**bits - 1)).astype(np.float32)
        pixels = 1 - pixels if white_is_zero else pixels
    else:
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if image.format == "TIFF":  # Pillow turns it itself when it is loaded, and deletes the tag
        [orientation] = _tag(image, "Orientation", 1)
    return _upright(pixels if pixels.ndim == 3 else pixels[..., None], orientation)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the eight orientations of EXIF: rows and columns exchanged, and either reversed."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels

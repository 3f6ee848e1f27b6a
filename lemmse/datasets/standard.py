"""Fashion-MNIST and CIFAR-10: found in a folder, in the cache, or at their official address."""

import gzip
import hashlib
import os
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np

from ..files import expanded, locked
from . import download


def roots() -> list[Path]:
    """Folders that may hold the data sets: $LEMMSE_DATA if it is set, then the cache.

    Raises:
        FileNotFoundError: $LEMMSE_DATA is set, but is not a folder.
    """
    own = os.environ.get("LEMMSE_DATA")
    if not own:
        return [download.cache_folder()]
    path = expanded(own)
    if not path.is_dir():
        raise FileNotFoundError(f"LEMMSE_DATA: expected a folder, got {own}")
    return [path, download.cache_folder()]


def locate(folder: str, file: str) -> Path | None:
    """The file, or its gzipped form, in the first of the `roots` that has it."""
    for root in roots():
        for candidate in (root / folder / f"{file}.gz", root / folder / file):
            if candidate.is_file():
                return candidate
    return None


def contents(path: Path, length: int) -> bytes:
    """The raw bytes of a file, gzipped or not.

    Raises:
        ValueError: unreadable, truncated, or not `length` bytes long.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected {length} bytes (uncompressed), got an unreadable file ({error})"
        ) from error
    if len(raw) != length:
        raise ValueError(f"{path}: expected {length} bytes (uncompressed), got {len(raw)}")
    return raw


def check_md5(path: Path, raw: bytes, expected: str) -> None:
    """Compare the md5 of uncompressed bytes; ValueError if it differs."""
    came = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if came != expected:
        raise ValueError(f"{path}: expected md5 {expected} (uncompressed), got {came}")


def missing(name: str, title: str, layout: str, reason: str) -> FileNotFoundError:
    """The error for a data set that is nowhere and cannot be downloaded: says what to do."""
    return FileNotFoundError(
        f"{title} is neither in $LEMMSE_DATA nor in {download.cache_folder()}, and {reason}. "
        f"Either go online and run 'python -m lemmse data fetch {name}', or set LEMMSE_DATA to a "
        f"folder that holds {layout}, or use a built-in data set: load('photos-grey') or "
        f"load('{name}', fallback='photos-grey')."
    )


class FashionMNIST:
    """Fashion-MNIST: 60,000 train and 10,000 test images of clothes, 28 x 28, grey.

    Source:
        Xiao, Rasul, Vollgraf, arXiv 1708.07747. Licence MIT.
    """

    name = "fashion-mnist"
    title = "Fashion-MNIST"
    licence = "MIT (Zalando SE, 2017)"
    source = f"arXiv 1708.07747, {download.ADDRESSES['fashion-mnist']}"
    counts = {"train": 60_000, "test": 10_000}
    # name, md5 of the gzipped file at the official address, md5 of the raw bytes
    files = {
        "train": (
            "train-images-idx3-ubyte",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        ),
        "test": (
            "t10k-images-idx3-ubyte",
            "bef4ecab320f06d8554ea6380940ec79",
            "8181f5470baa50b63fa0f6fddb340f0a",
        ),
    }
    header = 16  # bytes: magic number 2051, count, rows, columns

    def count(self, split: str) -> int:
        """How many images a split has."""
        return self.counts[split]

    def path(self, split: str) -> Path | None:
        """Where the split lies, or None if it is not on this machine."""
        return locate(self.name, self.files[split][0])

    def fetch(self, split: str) -> Path:
        """Where the split lies; downloaded if need be."""
        found = self.path(split)
        if found is not None:
            return found
        return self._download(split)

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n images, (n, 1, 28, 28) uint8."""
        path = self.fetch(split)
        raw = contents(path, self.header + self.counts[split] * 28 * 28)
        check_md5(path, raw, self.files[split][2])
        return np.frombuffer(raw, np.uint8, n * 28 * 28, self.header).reshape(n, 1, 28, 28)

    def repair(self, split: str) -> None:
        """Replaces the split's file in the cache by a new one, once that is verified."""
        broken, new = self.path(split), self._download(split)
        if broken != new:  # it was there without gzip
            broken.unlink()

    def _download(self, split: str) -> Path:
        """Puts the split into the cache; what is there is only replaced by a verified file."""
        file, md5, _ = self.files[split]
        if reason := download.obstacle(self.name):
            raise missing(self.name, self.title, f"{self.name}/{file}.gz", reason)
        target = download.cache_folder() / self.name / f"{file}.gz"
        download.download(self.name, target.name, md5, target)
        return target


class CIFAR10:
    """CIFAR-10: 50,000 train and 10,000 test images of ten classes, 32 x 32, RGB.

    A folder whose only training file is `data_batch_1` (10,000 images) holds a copy decoded from
    JPEG, not the original pixels: whatever is reported from it says "CIFAR-10 (JPEG copy)", as
    `title` does.

    Source:
        Krizhevsky, Learning multiple layers of features from tiny images (2009). Free for
        research.
    """

    name = "cifar10"
    folder = "cifar-10"
    licence = "free for research, with citation (Krizhevsky, 2009)"
    source = f"{download.ADDRESSES['cifar10']}cifar.html"
    archive = "cifar-10-binary.tar.gz"
    archive_md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    test_file = "test_batch.bin"
    train_files = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    checksums = "MD5SUMS"  # written beside the extracted files
    batch = 10_000  # images a file
    record = 1 + 3 * 32 * 32  # bytes: label, then the red, green and blue planes

    @property
    def title(self) -> str:
        """The name under which results are reported."""
        return "CIFAR-10 (JPEG copy)" if len(self._train_paths()) == 1 else "CIFAR-10"

    def count(self, split: str) -> int:
        """How many images a split has: of the copy on this machine, else of the original."""
        if split == "test":
            return self.batch
        return self.batch * (len(self._train_paths()) or len(self.train_files))

    def path(self, split: str) -> Path | None:
        """The split's first file, or None if it is not on this machine."""
        return locate(self.folder, self.test_file if split == "test" else self.train_files[0])

    def fetch(self, split: str) -> list[Path]:
        """The files of a split; downloaded if need be."""
        found = self.path(split)
        if found is None:
            self._download(missing_only=True)
            found = self.path(split)
        return [found] if split == "test" else self._train_paths()

    def read(self, split: str, n: int) -> np.ndarray:
        """The first n images, (n, 3, 32, 32) uint8."""
        found = self.fetch(split)
        whole = 1 if split == "test" else len(self.train_files)
        if len(found) < whole and self._checksums_beside(found[0]):
            raise ValueError(
                f"{found[0].parent}: expected {whole} files of training images, as they were "
                f"downloaded, got {len(found)}"
            )
        files = found[: -(-n // self.batch)]
        return np.concatenate([self._read_file(path) for path in files])[:n]

    def repair(self, split: str) -> None:
        """Replaces those files in the cache that differ from new ones, once these are verified."""
        self._download()

    def _checksums_beside(self, path: Path) -> Path | None:
        """The list of checksums, if a file lies where a download has put it."""
        sums = path.parent / self.checksums
        ours = path.parent == download.cache_folder() / self.folder and sums.is_file()
        return sums if ours else None

    def _train_paths(self) -> list[Path]:
        first = self.path("train")
        if first is None:
            return []
        found = (locate(self.folder, file) for file in self.train_files)
        return [path for path in found if path is not None and path.parent == first.parent]

    def _read_file(self, path: Path) -> np.ndarray:
        raw = contents(path, self.batch * self.record)
        if sums := self._checksums_beside(path):
            check_md5(path, raw, _listed(sums, path.name))
        records = np.frombuffer(raw, np.uint8).reshape(self.batch, self.record)
        if records[:, 0].max() > 9:
            raise ValueError(
                f"{path}: expected labels 0 to 9 in the first byte of every record, "
                f"got {records[:, 0].max()}"
            )
        return records[:, 1:].reshape(self.batch, 3, 32, 32)

    def _download(self, missing_only: bool = False) -> None:
        """Puts the files into the cache; others that want them wait, and may find them there."""
        layout = f"{self.folder}/{self.train_files[0]}.gz and {self.folder}/{self.test_file}.gz"
        if reason := download.obstacle(self.name):
            raise missing(self.name, "CIFAR-10", layout, reason)
        cache = download.cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        archive = cache / self.archive
        with locked(archive, patience=-1):
            if missing_only and all(self.path(split) for split in ("train", "test")):
                return
            download.download(self.name, self.archive, self.archive_md5, archive)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                extracted = Path(scratch) / self.folder
                extracted.mkdir()
                self._extract(archive, extracted)
                self._take_over(extracted, cache / self.folder)
            archive.unlink()

    def _take_over(self, extracted: Path, here: Path) -> None:
        """Replaces what differs."""
        here.mkdir(exist_ok=True)
        for new in sorted(extracted.iterdir()):
            old = here / new.name
            if not old.is_file() or old.read_bytes() != new.read_bytes():
                new.replace(old)
            (here / f"{new.name}.gz").unlink(missing_ok=True)  # would be found before it

    def _extract(self, archive: Path, target: Path) -> None:
        wanted = {*self.train_files, self.test_file}
        sums = []
        with tarfile.open(archive) as tar:
            for member in tar:
                file = Path(member.name).name
                if member.isfile() and file in wanted:
                    raw = tar.extractfile(member).read()
                    (target / file).write_bytes(raw)
                    digest = hashlib.md5(raw, usedforsecurity=False).hexdigest()
                    sums.append(f"{digest}  {file}\n")
        if len(sums) != len(wanted):
            raise ValueError(f"{archive}: expected the files {sorted(wanted)}, got {len(sums)}")
        (target / self.checksums).write_text("".join(sums))


def _listed(sums: Path, file: str) -> str:
    """The checksum of a file in a list as md5sum writes it.

    Raises:
        ValueError: the list lacks it.
    """
    for line in sums.read_text(errors="replace").splitlines():
        if line.split()[1:] == [file]:
            return line.split()[0]
    raise ValueError(f"{sums}: expected a line with the checksum of {file}, got none")

"""Data sets: the built-in photographs, files on disk, downloads from a server of our own."""

import gzip
import hashlib
import http.server
import io
import os
import socket
import tarfile
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from processes import Process

from lemmse import datasets
from lemmse.datasets import download, photos, standard

REAL = os.environ.get("LEMMSE_DATA", "")


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch, tmp_path):
    """No data anywhere, nothing remembered, and no way out to the network."""
    monkeypatch.delenv("LEMMSE_DATA", raising=False)
    monkeypatch.delenv("LEMMSE_OFFLINE", raising=False)
    monkeypatch.setenv("LEMMSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.01)
    for name in download.ADDRESSES:
        monkeypatch.setitem(download.ADDRESSES, name, "http://127.0.0.1:9/")
    download.probe.cache_clear()
    yield
    download.probe.cache_clear()


# ---------------------------------------------------------------- photos


@pytest.mark.parametrize(("name", "channels"), [("photos", 3), ("photos-grey", 1)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_photos_shape_type_and_range(name, channels, split):
    x = datasets.load(name, split, n=50)
    assert x.shape == (50, channels, 32, 32)
    assert x.dtype == torch.float32
    assert 0 <= x.min() < 0.1
    assert 0.9 < x.max() <= 1


def test_photos_are_the_same_every_time_and_a_prefix_is_a_prefix():
    first = datasets.load("photos", n=60)
    assert datasets.checksum(first) == datasets.checksum(datasets.load("photos", n=60))
    assert torch.equal(first[:25], datasets.load("photos", n=25))


def test_photos_grey_is_the_luminance():
    rgb = datasets.load("photos", n=20)
    weights = torch.tensor([0.2125, 0.7154, 0.0721]).view(3, 1, 1)
    grey = (rgb * weights).sum(1, keepdim=True)
    assert torch.allclose(datasets.load("photos-grey", n=20), grey, atol=1e-6)


def test_photos_are_many_distinct_and_structured():
    x = datasets.load("photos", n=1000)
    assert len({image.numpy().tobytes() for image in x}) == 1000
    assert x.mean(1).flatten(1).std(1).min() > 0.02
    assert datasets.describe("photos")["count"] == 10_000
    assert len(datasets.load("photos", "test")) == datasets.describe("photos", "test")["count"]


def test_every_photograph_contributes_to_a_short_prefix():
    regions = [photos.region(photograph, "train") for photograph in photos.PHOTOGRAPHS]
    sizes = [(image.shape[1], image.shape[0]) for image in regions]
    squares = photos.squares(sizes)
    taken = [next(squares) for _ in range(100)]
    assert [t.photograph for t in taken].count(0) == 100 // len(sizes)
    for t in taken:
        width, height = sizes[t.photograph]
        assert 48 <= t.side <= 128
        assert 0 <= t.x <= width - t.side
        assert 0 <= t.y <= height - t.side


@pytest.mark.parametrize("changed", ["train", "test"])
def test_train_and_test_crops_share_no_pixel(monkeypatch, changed):
    """Blacken one region of every photograph: the crops of the other stay what they were."""
    other = {"train": "test", "test": "train"}[changed]
    before = {split: photos.crops(split, 500) for split in ("train", "test")}
    read = photos.read

    def tampered(photograph):
        image = read(photograph).copy()
        width, height = image.shape[1], image.shape[0]
        left, upper, right, lower = photos.bounds(photograph, changed, (width, height))
        part = image[upper:lower, left:right]
        part[:] = np.random.default_rng(0).integers(0, 256, part.shape, np.uint8)
        return image

    monkeypatch.setattr(photos, "read", tampered)
    assert np.array_equal(photos.crops(other, 500), before[other])
    with pytest.raises(ValueError, match=f"first 100 {changed} crops"):
        photos.crops(changed, 500)
    monkeypatch.setitem(photos.CHECKSUMS, changed, {})
    assert not np.array_equal(photos.crops(changed, 500), before[changed])


def test_the_crops_are_pinned(monkeypatch):
    """Whatever the version of Pillow, and also where too few are asked for to check a checksum."""
    sums = {
        ("photos-grey", "test"): "7e21164407b506b86d8492d496097845bbdc690008151ac38fd2744ac1f5abd1",
        ("photos", "train"): "586ba478e74d2f087c10e807922b9a8ef6ab8c86454c41b055841b6c0b6109f9",
    }
    for (name, split), expected in sums.items():
        assert datasets.checksum(datasets.load(name, split, 16)) == expected
        assert len(datasets.load(name, split)) == photos.COUNTS[split]  # checks all of them


def test_photographs_that_decode_otherwise_are_noticed(monkeypatch):
    rocket = photos.PHOTOGRAPHS[-1]
    assert photos.read(rocket).shape == (427, 640, 3)
    photos.read.cache_clear()
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda *a: convert(*a).point(lambda v: v ^ 1))
    with pytest.raises(ValueError, match=r"rocket.jpg: expected pixels .* install .*pillow==13"):
        photos.read(rocket)
    photos.read.cache_clear()


def test_a_missing_or_altered_photograph_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "folder", lambda: tmp_path)
    photos.read.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"astronaut.png is missing.*scikit-image"):
        datasets.load("photos", n=1)
    (tmp_path / "astronaut.png").write_bytes(b"no photograph")
    with pytest.raises(ValueError, match=r"astronaut.png: expected sha256 88431c.*got"):
        datasets.load("photos", n=1)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("photo", "photos, photos-grey, fashion-mnist.*did you mean 'photos'"),
        ("Fashion_MNIST", "did you mean 'fashion-mnist'"),
        ("CIFAR-10", "did you mean 'cifar10'"),
        ("folder:", "expected one of"),
        (None, "expected one of"),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(name, says):
    with pytest.raises(ValueError, match=says):
        datasets.load(name)


def test_an_integer_of_numpy_will_do():
    assert len(datasets.load("photos", n=np.int64(3))) == 3


@pytest.mark.parametrize("n", [0, -3, 1.5, "10", True])
def test_bad_n_is_refused(n):
    with pytest.raises(ValueError, match="n: expected a positive integer"):
        datasets.load("photos", n=n)


def test_more_images_than_there_are_is_refused():
    with pytest.raises(ValueError, match="at most 2000 .*got 2001"):
        datasets.load("photos", "test", n=2001)


def test_bad_split_and_bad_fallback_are_refused():
    with pytest.raises(ValueError, match="split: expected one of train, test, got 'valid'"):
        datasets.load("photos", "valid")
    with pytest.raises(ValueError, match="did you mean 'photos-grey'"):
        datasets.load("photos", n=1, fallback="photo-grey")


def test_checksum_depends_on_values_shape_and_type():
    x = torch.arange(6, dtype=torch.float32)
    sums = {datasets.checksum(t) for t in (x, x + 1, x.view(2, 3), x.double(), x.view(2, 3).T, -x)}
    assert len(sums) == 6
    assert datasets.checksum(x) == datasets.checksum(x.clone())
    strided = torch.arange(12, dtype=torch.float32)[::2]
    assert datasets.checksum(strided) == datasets.checksum(strided.contiguous())
    with pytest.raises(ValueError, match="expected a tensor, got list"):
        datasets.checksum([1])


# ---------------------------------------------------------------- files of the standard sets


@pytest.fixture
def small_fashion(monkeypatch):
    """A Fashion-MNIST of 30 + 20 random images; returns its gzipped files by name."""
    made = {}
    table = {}
    for split, count, file in (("train", 30, "train-images"), ("test", 20, "t10k-images")):
        pixels = np.random.default_rng(count).integers(0, 256, count * 784, np.uint8)
        header = np.array([2051, count, 28, 28], ">u4").tobytes()
        raw = header + pixels.tobytes()
        zipped = gzip.compress(raw)
        table[split] = (f"{file}-idx3-ubyte", md5(zipped), md5(raw))
        made[f"{file}-idx3-ubyte.gz"] = zipped
    monkeypatch.setattr(standard.FashionMNIST, "counts", {"train": 30, "test": 20})
    monkeypatch.setattr(standard.FashionMNIST, "files", table)
    return made


@pytest.fixture
def small_cifar(monkeypatch):
    """A CIFAR-10 with files of 10 images; returns the archive."""
    monkeypatch.setattr(standard.CIFAR10, "batch", 10)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for file in ["readme.html", *standard.CIFAR10.train_files, standard.CIFAR10.test_file]:
            raw = cifar_batch(len(file) + ord(file[-5]))
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{file}")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    archive = buffer.getvalue()
    monkeypatch.setattr(standard.CIFAR10, "archive_md5", md5(archive))
    return archive


def cifar_batch(seed, count=10):
    records = np.random.default_rng(seed).integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def own_folder(monkeypatch, tmp_path, files):
    """A folder for LEMMSE_DATA."""
    root = tmp_path / "own"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    monkeypatch.setenv("LEMMSE_DATA", str(root))
    return root


def test_fashion_mnist_is_read_from_lemmse_data(monkeypatch, tmp_path, small_fashion):
    file, zipped = "train-images-idx3-ubyte.gz", small_fashion["train-images-idx3-ubyte.gz"]
    root = own_folder(monkeypatch, tmp_path, {f"fashion-mnist/{file}": zipped})
    x = datasets.load("fashion-mnist", n=7)
    pixels = np.frombuffer(gzip.decompress(zipped), np.uint8, offset=16).reshape(30, 1, 28, 28)
    assert torch.equal(x, torch.from_numpy(pixels[:7].astype(np.float32)) / 255)
    assert datasets.describe("fashion-mnist") == {
        "name": "fashion-mnist",
        "split": "train",
        "title": "Fashion-MNIST",
        "source": standard.FashionMNIST.source,
        "licence": standard.FashionMNIST.licence,
        "path": str(root / "fashion-mnist" / file),
        "count": 30,
    }
    assert datasets.describe("fashion-mnist", "test")["path"] is None


def test_files_without_gzip_are_read_too(monkeypatch, tmp_path, small_fashion):
    raw = gzip.decompress(small_fashion["t10k-images-idx3-ubyte.gz"])
    own_folder(monkeypatch, tmp_path, {"fashion-mnist/t10k-images-idx3-ubyte": raw})
    assert datasets.load("fashion-mnist", "test").shape == (20, 1, 28, 28)


def test_broken_fashion_mnist_files_are_named(monkeypatch, tmp_path, small_fashion):
    zipped = small_fashion["train-images-idx3-ubyte.gz"]
    raw = gzip.decompress(zipped)
    altered = bytearray(raw)
    altered[100] ^= 1
    cases = {
        "truncated": (zipped[:-500], "expected 23536 bytes .*unreadable file"),
        "not gzip": (b"<html>not found</html>", "expected 23536 bytes .*unreadable file"),
        "short": (gzip.compress(raw[:-784]), "expected 23536 bytes .*got 22752"),
        "altered": (gzip.compress(bytes(altered)), f"expected md5 {md5(raw)} .*got {md5(altered)}"),
    }
    for content, says in cases.values():
        root = own_folder(
            monkeypatch, tmp_path, {"fashion-mnist/train-images-idx3-ubyte.gz": content}
        )
        path = root / "fashion-mnist" / "train-images-idx3-ubyte.gz"
        with pytest.raises(ValueError, match=says) as error:
            datasets.load("fashion-mnist")
        assert str(path) in str(error.value)


def test_one_batch_cifar_is_the_jpeg_copy(monkeypatch, tmp_path, small_cifar):
    raw = cifar_batch(0)
    own_folder(
        monkeypatch,
        tmp_path,
        {
            "cifar-10/data_batch_1.bin.gz": gzip.compress(raw),
            "cifar-10/test_batch.bin.gz": gzip.compress(cifar_batch(1)),
        },
    )
    x = datasets.load("cifar10")
    records = np.frombuffer(raw, np.uint8).reshape(10, 3073)
    assert x.shape == (10, 3, 32, 32)
    assert torch.equal(x[4, 1, 0, :] * 255, torch.from_numpy(records[4, 1025:1057].copy()).float())
    for split in ("train", "test"):
        assert datasets.describe("cifar10", split)["title"] == "CIFAR-10 (JPEG copy)"
        assert datasets.describe("cifar10", split)["count"] == 10
    with pytest.raises(ValueError, match="at most 10 "):
        datasets.load("cifar10", n=11)


def test_broken_cifar_files_are_named(monkeypatch, tmp_path, small_cifar):
    mislabelled = bytearray(cifar_batch(0))
    mislabelled[3073] = 10
    for content, says in (
        (gzip.compress(cifar_batch(0)[:-1]), "data_batch_1.*expected 30730 bytes .*got 30729"),
        (gzip.compress(cifar_batch(0))[:-99], "data_batch_1.*unreadable"),
        (gzip.compress(bytes(mislabelled)), "data_batch_1.*labels 0 to 9.*got 10"),
    ):
        own_folder(monkeypatch, tmp_path, {"cifar-10/data_batch_1.bin.gz": content})
        with pytest.raises(ValueError, match=says):
            datasets.load("cifar10")


def test_lemmse_data_that_is_no_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("LEMMSE_DATA", str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match="LEMMSE_DATA: expected a folder, got .*typo"):
        datasets.load("fashion-mnist")


# ---------------------------------------------------------------- downloads


class Server:
    """A server on this machine with tricks: cut connections, ignore ranges, fail."""

    def __init__(self, files):
        self.files = files
        self.cuts = []  # for each coming download, after how many bytes to close the connection
        self.ranges = True
        self.status = 200
        self.log = []  # (method, path, range header)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                outer.log.append(("HEAD", self.path, None))
                self.send_response(404)
                self.end_headers()

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.log.append(("GET", request.path, wanted))
        if self.status != 200 or request.path[1:] not in self.files:
            request.send_error(self.status if self.status != 200 else 404)
            return
        content = self.files[request.path[1:]]
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        cut = self.cuts.pop(0) if self.cuts else len(content)
        request.wfile.write(content[:cut])

    def gets(self):
        return [entry for entry in self.log if entry[0] == "GET"]


@pytest.fixture
def fashion_server(monkeypatch, small_fashion):
    server = Server(small_fashion)
    for name in download.ADDRESSES:
        monkeypatch.setitem(download.ADDRESSES, name, server.url)
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def cifar_server(monkeypatch, small_cifar):
    server = Server({"cifar-10-binary.tar.gz": small_cifar})
    for name in download.ADDRESSES:
        monkeypatch.setitem(download.ADDRESSES, name, server.url)
    yield server
    server.http.shutdown()
    server.http.server_close()


def left_in_cache():
    folder = download.cache_folder()
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_download_happens_once(fashion_server):
    first = datasets.load("fashion-mnist", n=5)
    again = datasets.load("fashion-mnist", n=5)
    assert torch.equal(first, again)
    assert len(fashion_server.gets()) == 1
    assert left_in_cache() == ["fashion-mnist/train-images-idx3-ubyte.gz"]


def test_lemmse_data_comes_before_the_cache_and_the_network(
    monkeypatch, tmp_path, fashion_server, small_fashion
):
    own_folder(monkeypatch, tmp_path, {f"fashion-mnist/{k}": v for k, v in small_fashion.items()})
    datasets.load("fashion-mnist", n=5)
    assert fashion_server.log == []


def test_a_broken_connection_is_resumed_where_it_ended(monkeypatch, fashion_server):
    monkeypatch.setattr(download, "PIECE", 1_000)
    fashion_server.cuts = [9_000, 5_000]
    assert datasets.load("fashion-mnist").shape == (30, 1, 28, 28)
    assert [entry[2] for entry in fashion_server.gets()] == [
        None,
        "bytes=9000-",
        "bytes=14000-",
    ]


def test_a_server_without_ranges_is_asked_again_from_the_beginning(fashion_server):
    fashion_server.ranges = False
    fashion_server.cuts = [9_000]
    assert datasets.load("fashion-mnist").shape == (30, 1, 28, 28)
    assert len(fashion_server.gets()) == 2


def test_an_interrupted_download_leaves_nothing(fashion_server):
    fashion_server.cuts = [1_000] * download.ATTEMPTS
    with pytest.raises(ConnectionError, match=r"train-images-idx3-ubyte.gz could not be downl"):
        datasets.load("fashion-mnist")
    assert len(fashion_server.gets()) == download.ATTEMPTS
    assert left_in_cache() == []
    assert datasets.load("fashion-mnist").shape == (30, 1, 28, 28)  # and it can be tried again


def test_a_keyboard_interrupt_leaves_nothing(fashion_server, monkeypatch):
    def interrupted(url, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.load("fashion-mnist")
    assert left_in_cache() == []


def test_a_wrong_checksum_is_refused_and_the_file_removed(fashion_server):
    name = "train-images-idx3-ubyte.gz"
    fashion_server.files = {name: fashion_server.files[name] + b"!"}
    with pytest.raises(ValueError, match=r"hash .*train-images-idx3-ubyte.gz.* does not match"):
        datasets.load("fashion-mnist", fallback="photos-grey")
    assert left_in_cache() == []


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (503, download.ATTEMPTS)])
def test_a_refusing_server(fashion_server, status, attempts):
    fashion_server.status = status
    with pytest.raises(ConnectionError, match=str(status)):
        datasets.load("fashion-mnist")
    assert len(fashion_server.gets()) == attempts
    assert left_in_cache() == []


def test_fetch_brings_both_splits_and_replaces_a_broken_copy(fashion_server):
    datasets.fetch("fashion-mnist")
    assert len(left_in_cache()) == 2
    path = download.cache_folder() / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="t10k-images"):
        datasets.verify("fashion-mnist", "test")
    datasets.fetch("fashion-mnist")
    whole = datasets.load("fashion-mnist", "test")
    assert datasets.verify("fashion-mnist", "test") == datasets.checksum(whole)


def contents_of_cache():
    folder = download.cache_folder()
    return {name: (folder / name).read_bytes() for name in left_in_cache()}


def test_fetch_replaces_only_what_is_broken(fashion_server):
    datasets.fetch("fashion-mnist")
    whole = contents_of_cache()
    broken = download.cache_folder() / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    other = broken.with_name("train-images-idx3-ubyte.gz")
    broken.write_bytes(broken.read_bytes()[:-100])
    written = other.stat().st_mtime_ns
    before = len(fashion_server.gets())
    datasets.fetch("fashion-mnist")
    assert contents_of_cache() == whole
    assert other.stat().st_mtime_ns == written
    assert [entry[1] for entry in fashion_server.gets()[before:]] == [f"/{broken.name}"]


@pytest.mark.parametrize("trouble", ["refused", "cut", "other bytes", "offline"])
def test_a_repair_that_fails_leaves_everything_as_it_was(fashion_server, monkeypatch, trouble):
    datasets.fetch("fashion-mnist")
    path = download.cache_folder() / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    before = contents_of_cache()
    if trouble == "refused":
        fashion_server.status = 404
    if trouble == "cut":
        fashion_server.cuts = [100] * download.ATTEMPTS
    if trouble == "other bytes":
        fashion_server.files = {path.name: fashion_server.files[path.name] + b"!"}
    if trouble == "offline":
        monkeypatch.setenv("LEMMSE_OFFLINE", "1")
    kind = {"other bytes": ValueError, "offline": FileNotFoundError}.get(trouble, ConnectionError)
    with pytest.raises(kind, match="t10k-images"):
        datasets.fetch("fashion-mnist")
    assert contents_of_cache() == before


def test_an_unzipped_broken_file_gives_way_to_a_new_one(fashion_server):
    datasets.fetch("fashion-mnist")
    path = download.cache_folder() / "fashion-mnist" / "t10k-images-idx3-ubyte"
    whole = contents_of_cache()
    path.with_name(f"{path.name}.gz").unlink()
    path.write_bytes(b"nothing")
    datasets.fetch("fashion-mnist")
    assert contents_of_cache() == whole


def test_fetch_does_not_touch_a_broken_copy_of_the_user(
    monkeypatch, tmp_path, fashion_server, small_fashion
):
    files = {f"fashion-mnist/{name}": content[:-9] for name, content in small_fashion.items()}
    root = own_folder(monkeypatch, tmp_path, files)
    with pytest.raises(ValueError, match=str(root)):
        datasets.fetch("fashion-mnist")
    assert all((root / name).read_bytes() == content for name, content in files.items())


def test_cifar10_is_downloaded_extracted_and_checked(cifar_server):
    x = datasets.load("cifar10", n=25)
    assert x.shape == (25, 3, 32, 32)
    assert datasets.load("cifar10").shape == (50, 3, 32, 32)
    assert datasets.load("cifar10", "test").shape == (10, 3, 32, 32)
    assert datasets.describe("cifar10")["title"] == "CIFAR-10"
    assert len(cifar_server.gets()) == 1
    files = {*standard.CIFAR10.train_files, "test_batch.bin", "MD5SUMS"}
    assert left_in_cache() == sorted(f"cifar-10/{file}" for file in files)

    path = download.cache_folder() / "cifar-10" / "data_batch_3.bin"
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    assert torch.equal(datasets.load("cifar10", n=20), x[:20])  # does not need that file
    with pytest.raises(ValueError, match="data_batch_3.bin: expected md5"):
        datasets.load("cifar10")
    whole = path.with_name("data_batch_1.bin").stat().st_mtime_ns
    datasets.fetch("cifar10")
    assert torch.equal(datasets.load("cifar10", n=25), x)
    assert path.with_name("data_batch_1.bin").stat().st_mtime_ns == whole

    path.with_name("data_batch_2.bin").unlink()
    with pytest.raises(ValueError, match="expected 5 files of training images.*got 4"):
        datasets.load("cifar10")
    datasets.fetch("cifar10")
    assert len(datasets.load("cifar10")) == 50

    path.with_name("MD5SUMS").write_text("garbled")
    with pytest.raises(ValueError, match="MD5SUMS: expected a line with the checksum of data_b"):
        datasets.load("cifar10")
    path.with_name("data_batch_5.bin").unlink()
    datasets.fetch("cifar10")
    assert left_in_cache() == sorted(f"cifar-10/{file}" for file in files)
    assert torch.equal(datasets.load("cifar10", n=25), x)


def test_two_processes_that_want_the_same_download_share_it(cifar_server):
    def load(send):
        send(len(datasets.load("cifar10")))

    both = [Process(load) for _ in range(2)]
    assert [process.rest() for process in both] == [[50], [50]]
    assert [process.wait() for process in both] == [0, 0]
    assert len(cifar_server.gets()) == 1


def test_an_archive_without_all_files_leaves_no_half_folder(monkeypatch, cifar_server):
    monkeypatch.setattr(standard.CIFAR10, "train_files", ("data_batch_1.bin", "data_batch_9.bin"))
    with pytest.raises(ValueError, match="expected the files"):
        datasets.load("cifar10")
    assert left_in_cache() == ["cifar-10-binary.tar.gz"]


# ---------------------------------------------------------------- offline


def test_offline_is_noticed_at_once_where_the_connection_is_refused():
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("fashion-mnist")
    text = str(error.value)
    for part in ("cannot be reached", "data fetch fashion-mnist", "LEMMSE_DATA", "photos-grey"):
        assert part in text


def test_a_silent_network_is_noticed_within_five_seconds_and_once(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        for name in download.ADDRESSES:
            monkeypatch.setitem(download.ADDRESSES, name, url)
        start = time.perf_counter()
        with pytest.raises(FileNotFoundError, match="cannot be reached"):
            datasets.load("fashion-mnist")
        assert 1 < time.perf_counter() - start < 5
        start = time.perf_counter()
        for name in ("fashion-mnist", "cifar10"):
            with pytest.raises(FileNotFoundError, match="cannot be reached"):
                datasets.load(name)
        assert time.perf_counter() - start < 0.5


def test_a_blocked_name_lookup_does_not_hold_up_either(monkeypatch):
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.2)
    released = threading.Event()

    def blocked(*args, **options):
        released.wait(20)
        raise download.requests.ConnectionError("no such name")

    monkeypatch.setattr(download.requests, "head", blocked)
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match="cannot be reached"):
        datasets.load("cifar10")
    assert time.perf_counter() - start < 2
    released.set()


def test_addresses_are_probed_once_a_session(fashion_server):
    datasets.load("fashion-mnist", n=1)
    datasets.load("fashion-mnist", "test", n=1)
    heads = [entry for entry in fashion_server.log if entry[0] == "HEAD"]
    assert len(heads) == len(download.ADDRESSES)


def test_lemmse_offline_never_tries(monkeypatch, fashion_server):
    monkeypatch.setenv("LEMMSE_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="LEMMSE_OFFLINE is set"):
        datasets.load("fashion-mnist")
    assert fashion_server.log == []


def test_fallback_warns_and_goes_on():
    with pytest.warns(UserWarning, match="30 train images .*'photos-grey'.*'fashion-mnist'"):
        x = datasets.load("fashion-mnist", n=30, fallback="photos-grey")
    assert torch.equal(x, datasets.load("photos-grey", n=30))


def test_fallback_gives_all_it_has_when_more_is_asked_for():
    with pytest.warns(UserWarning, match="2000 test images"):
        x = datasets.load("cifar10", "test", n=5000, fallback="photos")
    assert len(x) == 2000


def test_fallback_is_silent_when_it_is_not_needed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets.load("photos", n=1, fallback="photos-grey")


# ---------------------------------------------------------------- the real Fashion-MNIST


@pytest.mark.skipif(not REAL, reason="needs LEMMSE_DATA")
def test_the_real_fashion_mnist(monkeypatch):
    monkeypatch.setenv("LEMMSE_DATA", REAL)
    x = datasets.load("fashion-mnist", n=100)
    assert x.shape == (100, 1, 28, 28)
    assert 0.2 < x.mean() < 0.4

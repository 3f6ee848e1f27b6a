"""Folders of images: upright, in the right scale, or refused in words."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from lemmse import datasets


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def grey(value, height=6, width=8):
    return np.full((height, width), value, np.uint8)


def test_a_folder_is_sorted_and_its_last_tenth_is_the_test_split(tmp_path):
    for i in reversed(range(20)):
        write(tmp_path / f"{i:02}.png", grey(10 * i))
    (tmp_path / "notes.txt").write_text("no image")
    train = datasets.load(f"folder:{tmp_path}")
    test = datasets.load(f"folder:{tmp_path}", "test")
    assert train.shape == (18, 1, 6, 8)
    assert torch.allclose(train[:, 0, 0, 0], torch.arange(18) * 10 / 255)
    assert torch.allclose(test[:, 0, 0, 0], torch.tensor([18, 19]) * 10 / 255)
    assert datasets.describe(f"folder:{tmp_path}", "test")["count"] == 2


def test_a_folder_with_train_and_test(tmp_path):
    write(tmp_path / "train" / "a.PNG", grey(1))
    write(tmp_path / "train" / "b.bmp", grey(2))
    write(tmp_path / "test" / "c.tif", grey(3))
    assert len(datasets.load(f"folder:{tmp_path}")) == 2
    assert datasets.load(f"folder:{tmp_path}", "test")[0, 0, 0, 0] == torch.tensor(3 / 255)


def test_colour_channels_first_and_grey_joins_colour(tmp_path):
    colour = np.zeros((6, 8, 3), np.uint8)
    colour[..., 1] = 255
    write(tmp_path / "a.png", colour)
    write(tmp_path / "b.png", grey(51))
    write(tmp_path / "c.png", np.dstack([colour, grey(0)]))  # transparent
    write(tmp_path / "d.png", grey(0))
    x = datasets.load(f"folder:{tmp_path}")
    assert x.shape == (3, 3, 6, 8)
    assert x[0, :, 2, 3].tolist() == [0, 1, 0]
    assert torch.allclose(x[1], torch.tensor(0.2))
    assert torch.equal(x[2], x[0])


def test_sixteen_bits_keep_their_depth(tmp_path):
    for name, value in (("a.png", 257), ("b.tif", 65535), ("c.png", 0)):
        write(tmp_path / name, np.full((6, 8), value, np.uint16))
    x = datasets.load(f"folder:{tmp_path}")
    assert torch.allclose(x[:, 0, 0, 0], torch.tensor([257 / 65535, 1.0]))
    assert x.dtype == torch.float32


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder, got .*nowhere"):
        datasets.load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="expected images .*train split, got none"):
        datasets.load(f"folder:{tmp_path}")
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / name, grey(1))
    write(tmp_path / "b.png", grey(1, height=7))
    with pytest.raises(ValueError, match=r"b.png: expected 8 x 6 pixels like a.png, got 8 x 7"):
        datasets.load(f"folder:{tmp_path}")
    content = (tmp_path / "c.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a.png: expected an image"):
        datasets.load(f"folder:{tmp_path}")
    write(tmp_path / "a.tif", np.ones((6, 8), np.float32))
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a.tif: expected 8 or 16 bits .* floating point"):
        datasets.load(f"folder:{tmp_path}", n=1)


# ---------------------------------------------------------------- files written byte by byte


def tiff(values, bits, sample=1, photometric=1, pages=1, tags=()):
    """An uncompressed TIFF of one row; values are packed bytes."""
    channels = 3 if photometric == 2 else 1
    width = 8 * len(values) // (bits * channels)
    table = {
        256: [width],
        257: [1],
        258: [bits] * channels,
        259: [1],
        262: [photometric],
        273: None,  # where the values are
        277: [channels],
        278: [1],
        279: [len(values)],
        339: [sample] * channels,
    } | dict(tags)
    body = b"II*\0" + struct.pack("<I", 8)
    for page in range(pages):
        start = len(body)
        after = start + 2 + 12 * len(table) + 4
        long, entries = b"", b""
        for tag, numbers in sorted(table.items()):
            short = tag != 273
            packed = struct.pack(f"<{len(numbers)}H", *numbers) if short else b"HERE"
            if len(packed) > 4:
                packed, long = struct.pack("<I", after + len(long)), long + packed
            count = len(numbers) if short else 1
            entries += struct.pack("<HHI", tag, 3 if short else 4, count) + packed.ljust(4, b"\0")
        entries = entries.replace(b"HERE", struct.pack("<I", after + len(long)))
        following = after + len(long) + len(values) if page + 1 < pages else 0
        body += struct.pack("<H", len(table)) + entries + struct.pack("<I", following)
        body += long + values
    return body


def png(row, depth, kind, width):
    """A PNG of one row; kind 0 is grey, 2 colour, 4 and 6 the same with transparency."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


def words(*numbers, kind="<u2"):
    return np.array(numbers, kind).tobytes()


RIGHT = {
    "16 bits": ("tif", tiff(words(0, 65535, 13107), 16), [0, 1, 0.2]),
    "16 bits from white": ("tif", tiff(words(0, 65535, 13107), 16, photometric=0), [1, 0, 0.8]),
    "12 bits": ("tif", tiff(bytes([0x00, 0x0F, 0xFF]), 12), [0, 1]),
    "8 bits": ("tif", tiff(bytes([0, 255, 51]), 8), [0, 1, 0.2]),
    "8 bits from white": ("tif", tiff(bytes([0, 255, 51]), 8, photometric=0), [1, 0, 0.8]),
    "4 bits": ("tif", tiff(bytes([0x0F, 0x3C]), 4), [0, 1, 0.2, 0.8]),
    "1 bit": ("tif", tiff(bytes([0b01000001]), 1), [0, 1, 0, 0, 0, 0, 0, 1]),
    "colour": ("tif", tiff(bytes([0, 255, 51]), 8, photometric=2), [0, 1, 0.2]),
    "png of 16 bits": ("png", png(words(0, 65535, 13107, kind=">u2"), 16, 0, 3), [0, 1, 0.2]),
    "png of 4 bits": ("png", png(bytes([0x0F]), 4, 0, 2), [0, 1]),
    "png of 1 bit": ("png", png(bytes([0b01000000]), 1, 0, 2), [0, 1]),
}
REFUSED = {
    "signed 16 bits": ("tif", tiff(words(-5, 9, kind="<i2"), 16, sample=2), "signed integers"),
    "signed 8 bits": ("tif", tiff(bytes([0, 200]), 8, sample=2), "signed integers"),
    "32 bits": ("tif", tiff(words(0, 9, kind="<u4"), 32), "8 or 16 bits a channel, got 32"),
    "signed 32 bits": ("tif", tiff(words(0, 9, kind="<i4"), 32, sample=2), "signed integers"),
    "floating point": ("tif", tiff(words(0, 1, kind="<f4"), 32, sample=3), "floating point"),
    "colour of 16 bits": ("tif", tiff(words(1, 2, 3), 16, photometric=2), "8 bits .* got 16"),
    "two pages": ("tif", tiff(bytes([0, 255]), 8, pages=2), "got 2 pages"),
    "png, colour of 16 bits": ("png", png(bytes(6), 16, 2, 1), "8 bits .* got 16"),
    "png, 16 bits, transparent": ("png", png(bytes(8), 16, 6, 1), "8 bits .* got 16"),
    "png, grey of 16 bits, transparent": ("png", png(bytes(4), 16, 4, 1), "8 bits .* got 16"),
    "12 bits from white": ("tif", tiff(bytes(3), 12, photometric=0), "broken file"),
}


@pytest.mark.parametrize(("ending", "content", "values"), RIGHT.values(), ids=RIGHT.keys())
def test_black_is_zero_and_white_is_one(tmp_path, ending, content, values):
    (tmp_path / f"a.{ending}").write_bytes(content)
    x = datasets.load(f"folder:{tmp_path}")
    torch.testing.assert_close(x.flatten(), torch.tensor(values, dtype=torch.float32))


@pytest.mark.parametrize(("ending", "content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_clear_scale_is_refused(tmp_path, ending, content, message):
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.{ending}: expected .*{message}"):
        datasets.load(f"folder:{tmp_path}")


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(tmp_path, ending, depth, orientation):
    if ending == "jpg" and depth == np.uint16:
        return
    upright = np.arange(24 * 16).reshape(24, 16).astype(depth)
    upright[:8, :8] = np.iinfo(depth).max  # blocks survive the compression of a jpg
    upright[8:, 8:] = 0
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright.T[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if ending == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(
        tmp_path / f"a.{ending}", exif=exif, **options
    )
    x = datasets.load(f"folder:{tmp_path}")[0, 0]
    assert x.shape == (24, 16)
    expected = torch.from_numpy((upright / np.iinfo(depth).max).astype(np.float32))
    torch.testing.assert_close(x, expected, rtol=0, atol=0.02 if ending == "jpg" else 1e-6)


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("b.png", "c.png", "d.png"):
        write(tmp_path / name, grey(1))
    (tmp_path / "._b.png").write_bytes(b"notes of a Mac")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "a.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    assert datasets.load(f"folder:{tmp_path}").shape == (2, 1, 6, 8)
    assert datasets.load(f"folder:{tmp_path}", "test").shape == (1, 1, 6, 8)


def test_a_single_image_is_in_the_train_split(tmp_path):
    write(tmp_path / "only.png", grey(255))
    assert datasets.load(f"folder:{tmp_path}").shape == (1, 1, 6, 8)
    with pytest.raises(ValueError, match="test split, got none but only.png, .* train split"):
        datasets.load(f"folder:{tmp_path}", "test")


def test_the_preview_in_a_photograph_is_no_second_page(tmp_path):
    pages = [Image.fromarray(grey(value)) for value in (10, 20)]
    pages[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pages[1:])
    x = datasets.load(f"folder:{tmp_path}")
    assert x.shape == (1, 1, 6, 8)
    assert abs(255 * x.mean() - 10) < 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_broken_files_are_images_or_a_sentence(tmp_path, ending):
    """Bytes are changed at random: either the file still is an image, or the message names it."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{ending}"
    Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    messages = []
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(content), 200), 3):
            content[place] = rng.integers(256)
        path.write_bytes(bytes(content[: rng.integers(1, len(content) + 1)]))
        try:
            x = datasets.load(f"folder:{tmp_path}")
        except ValueError as error:
            messages.append(str(error))
        else:
            assert 0 <= x.min() <= x.max() <= 1
    assert len(messages) > 10
    assert all(message.startswith(str(path)) for message in messages)

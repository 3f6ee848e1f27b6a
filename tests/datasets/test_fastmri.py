"""The loader of fastMRI files, on generated files of the layout of the single-coil ones."""

import sys

import h5py
import numpy as np
import pytest
import torch

from lemmse import LEMMSE, datasets
from lemmse.datasets import fastmri
from lemmse.operators import MRI

SIZE = (64, 46)  # of k-space; the published files have 640 x 368 or near it
CROP = (32, 32)  # of the images; the published files have 320 x 320


def scan(slices=3, seed=0, size=SIZE, crop=CROP):
    """K-space of smooth complex images, and the magnitude of their middles."""
    generator = np.random.default_rng(seed)
    envelope = np.exp(
        -(np.linspace(-3, 3, size[0])[:, None] ** 2) - np.linspace(-3, 3, size[1]) ** 2
    )
    noise = generator.normal(size=(2, slices, *size))
    data = ((noise[0] + 1j * noise[1]) * envelope * 1e-5).astype(np.complex64)
    # The centred transform, written out as two matrices of waves.
    image = waves(size[0]) @ data.astype(np.complex128) @ waves(size[1]).T
    top, left = (size[0] - crop[0]) // 2, (size[1] - crop[1]) // 2
    image = image[:, top : top + crop[0], left : left + crop[1]]
    return data, np.abs(image).astype(np.float32), image


def waves(count):
    """The centred unitary inverse transform as a matrix; the origin is at count // 2."""
    place = np.arange(count) - count // 2
    return np.exp(2j * np.pi * np.outer(place, place) / count) / np.sqrt(count)


def write(path, slices=3, seed=0, **sizes):
    """A file with the datasets and attributes of `singlecoil_train`; returns its images."""
    data, magnitude, _ = scan(slices, seed, **sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (
        '<?xml version="1.0" encoding="utf-8"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        "<encoding><encodedSpace><matrixSize><x>64</x><y>46</y><z>1</z></matrixSize>"
        "</encodedSpace></encoding></ismrmrdHeader>"
    )
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=data)
        file.create_dataset("reconstruction_esc", data=magnitude)
        file.create_dataset("reconstruction_rss", data=magnitude)
        file.create_dataset("ismrmrd_header", data=header.encode())
        file.attrs["acquisition"] = "CORPD_FBK"
        file.attrs["max"] = float(magnitude.max())
        file.attrs["norm"] = float(np.linalg.norm(magnitude))
        file.attrs["patient_id"] = f"patient {seed}"
    return magnitude


@pytest.fixture
def folder(tmp_path):
    """Scans of 3, 4 and 5 slices for training, one of 2 for testing, under the official names."""
    for number in range(3):
        write(tmp_path / f"singlecoil_train/file100000{number}.h5", 3 + number, number)
    write(tmp_path / "singlecoil_val/file2000000.h5", 2, seed=9)
    return tmp_path


def test_a_scan_is_divided_by_its_largest_value_and_taken_from_the_middle(tmp_path):
    magnitude = write(tmp_path / "singlecoil_train/a.h5", slices=5)
    write(tmp_path / "singlecoil_val/b.h5")
    x = datasets.load(f"fastmri:{tmp_path}")
    assert x.shape == (5, 1, 32, 32)
    assert x.dtype == torch.float32
    expected = torch.from_numpy(magnitude[[2, 1, 3, 0, 4]] / magnitude.max())
    assert torch.allclose(x[:, 0], expected)
    assert x.max() == 1
    assert x.min() >= 0


def test_a_prefix_goes_through_all_scans_before_it_comes_to_their_ends(folder):
    scans = [scan(3 + number, number)[1] for number in range(3)]
    first = [images[len(images) // 2] / images.max() for images in scans]
    second = [images[len(images) // 2 - 1] / images.max() for images in scans]
    x = datasets.load(f"fastmri:{folder}", n=5)
    assert torch.allclose(x[:, 0], torch.from_numpy(np.stack([*first, *second[:2]])))
    whole = datasets.load(f"fastmri:{folder}")
    assert len(whole) == 12
    assert torch.equal(whole[:5], x)


def test_the_official_folders_are_the_splits(folder):
    assert datasets.describe(f"fastmri:{folder}")["count"] == 12
    test = datasets.describe(f"fastmri:{folder}", "test")
    assert test["count"] == 2
    assert test["path"] == str(folder / "singlecoil_val")
    expected = scan(2, seed=9)[1]
    x = datasets.load(f"fastmri:{folder}", "test")
    assert torch.allclose(x[:, 0], torch.from_numpy(expected[[1, 0]] / expected.max()))


def test_else_the_last_tenth_of_the_files_is_the_test_split(tmp_path):
    for number in range(20):
        write(tmp_path / f"{number:02}.h5", 1, number)
    (tmp_path / "notes.txt").write_text("no scan")
    assert datasets.describe(f"fastmri:{tmp_path}")["count"] == 18
    test = datasets.load(f"fastmri:{tmp_path}", "test")
    expected = np.stack([images / images.max() for _, [images], _ in (scan(1, 18), scan(1, 19))])
    assert torch.allclose(test[:, 0], torch.from_numpy(expected))


def test_a_single_file_is_split_by_its_slices(tmp_path):
    magnitude = write(tmp_path / "a.h5", slices=4)
    train = datasets.load(f"fastmri:{tmp_path / 'a.h5'}")
    test = datasets.load(f"fastmri:{tmp_path / 'a.h5'}", "test")
    scaled = torch.from_numpy(magnitude / magnitude.max())
    assert torch.allclose(train[:, 0], scaled[[1, 0, 2]])
    assert torch.allclose(test[:, 0], scaled[[3]])


def test_kspace_is_that_of_the_images(folder):
    images = datasets.load(f"fastmri:{folder}", n=7)
    y = fastmri.kspace(folder, n=7)
    assert y.shape == (7, 1, 32, 32)
    assert y.dtype == torch.complex64
    assert torch.allclose(torch.fft.ifft2(y, norm="ortho").abs(), images, atol=1e-6)
    data, magnitude, complex_image = scan(3)
    phase = torch.from_numpy(complex_image[1] / magnitude.max()).to(y)
    assert torch.allclose(torch.fft.ifft2(y[0, 0], norm="ortho"), phase, atol=1e-6)


@pytest.mark.parametrize("size", [15, 16])
def test_fewer_frequencies_are_fewer_pixels_of_the_same_brightness(folder, size):
    whole = fastmri.kspace(folder, "test").to(torch.complex128)
    small = fastmri.kspace(folder, "test", size=size).to(torch.complex128)
    assert small.shape == (2, 1, size, size)
    # The same waves, at the frequencies that both have, with amplitudes that do not depend on size.
    for row, column in [(0, 0), (1, 0), (-3, 2), (5, -7)]:
        amplitude = whole[:, 0, row, column] / 32, small[:, 0, row, column] / size
        assert torch.allclose(*amplitude, atol=1e-7)
    mean = torch.fft.ifft2(small, norm="ortho").mean((-2, -1))
    assert torch.allclose(mean, torch.fft.ifft2(whole, norm="ortho").mean((-2, -1)), atol=1e-7)


def test_the_whole_chain_runs(folder):
    """Images of a file, an accelerated measurement of one of them, and its estimate."""
    x = datasets.load(f"fastmri:{folder}")
    mri = MRI.cartesian(4, tuple(x.shape[2:]))
    y = fastmri.kspace(folder, n=1)
    assert torch.isfinite(LEMMSE(x, mri, "adjoint", patch_size=3)(mri.measured(y), 0.1)).all()


@pytest.mark.parametrize("path", ["nowhere", "nowhere/a.h5"])
def test_a_missing_path_is_named(tmp_path, path):
    with pytest.raises(FileNotFoundError, match="expected a folder or a file, got .*nowhere"):
        datasets.load(f"fastmri:{tmp_path / path}")
    images = datasets.load("photos-grey", n=2)
    with pytest.warns(UserWarning, match="in the place of 'fastmri:"):
        fallback = datasets.load(f"fastmri:{tmp_path / path}", n=2, fallback="photos-grey")
    assert torch.equal(fallback, images)


def test_an_empty_folder_and_a_lonely_scan_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected fastMRI files \(.h5\), got none"):
        datasets.load(f"fastmri:{tmp_path}")
    write(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="expected at least two files"):
        datasets.load(f"fastmri:{tmp_path}")
    write(tmp_path / "a.h5", slices=1)
    with pytest.raises(ValueError, match="or two slices, for two splits, got one"):
        datasets.load(f"fastmri:{tmp_path / 'a.h5'}")


def test_files_without_a_reference_and_multicoil_files_are_refused(tmp_path):
    write(tmp_path / "good.h5")
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file.create_dataset("kspace", data=np.zeros((3, *SIZE), np.complex64))
        file.create_dataset("mask", data=np.ones(SIZE[1], bool))
    with pytest.raises(ValueError, match=r"test.h5: expected a dataset reconstruction_esc.*kspace"):
        datasets.load(f"fastmri:{tmp_path}")
    (tmp_path / "test.h5").unlink()
    with h5py.File(tmp_path / "coils.h5", "w") as file:
        file.create_dataset("kspace", data=np.zeros((3, 15, *SIZE), np.complex64))
        file.create_dataset("reconstruction_esc", data=np.ones((3, *CROP), np.float32))
    with pytest.raises(ValueError, match=r"coils.h5: expected kspace of shape \(slices, H, W\)"):
        datasets.load(f"fastmri:{tmp_path}")


def test_broken_empty_and_odd_files_are_named(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.h5")
    content = (tmp_path / "b.h5").read_bytes()
    (tmp_path / "b.h5").write_bytes(content[:1000])
    with pytest.raises(ValueError, match=r"b.h5: expected an HDF5 file, got a broken one"):
        datasets.load(f"fastmri:{tmp_path}")
    write(tmp_path / "b.h5", crop=(30, 32))
    with pytest.raises(ValueError, match=r"b.h5: expected images of \(32, 32\) .*got \(30, 32\)"):
        datasets.load(f"fastmri:{tmp_path}")
    write(tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file["reconstruction_esc"][...] = 0
    with pytest.raises(ValueError, match=r"b.h5: expected a positive, finite maximum, got 0"):
        datasets.load(f"fastmri:{tmp_path}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "val"}, "split: expected one of train, test"),
        ({"n": 13}, "n: expected an integer from 1 to 12"),
        ({"n": 0}, "n: expected an integer from 1"),
        ({"n": 2.0}, "n: expected an integer"),
        ({"size": 33}, "size: expected an integer from 1 to 32"),
        ({"size": 0}, "size: expected an integer from 1 to 32"),
    ],
)
def test_bad_arguments_of_kspace(folder, arguments, says):
    with pytest.raises(ValueError, match=says):
        fastmri.kspace(folder, **arguments)


def test_without_h5py_the_message_says_what_to_do(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        datasets.load(f"fastmri:{folder}")
    assert len(datasets.load("photos-grey", n=2)) == 2


def test_a_name_without_a_path_is_refused():
    with pytest.raises(ValueError, match="folder:<path> or fastmri:<path>"):
        datasets.load("fastmri:")


def test_files_that_hold_something_else_are_named(tmp_path):
    for name in ("a.h5", "b.h5", "c.h5"):
        write(tmp_path / name)
    (tmp_path / "._b.h5").write_bytes(b"notes of a Mac")
    (tmp_path / "folder.h5").mkdir()
    path = tmp_path / "b.h5"
    assert datasets.describe(f"fastmri:{tmp_path}")["count"] == 6

    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=np.zeros((0, *SIZE), np.complex64))
        file.create_dataset("reconstruction_esc", data=np.zeros((0, *CROP), np.float32))
    with pytest.raises(ValueError, match=r"b.h5: expected kspace .* at least one"):
        datasets.load(f"fastmri:{tmp_path}")

    for group in ("kspace", "reconstruction_esc"):
        write(path)
        with h5py.File(path, "a") as file:
            del file[group]
            file.create_group(group)
        with pytest.raises(ValueError, match=r"b.h5: expected (kspace|a dataset)"):
            datasets.load(f"fastmri:{tmp_path}")

    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"b.h5: expected an HDF5 file"):
        datasets.load(f"fastmri:{tmp_path}")


def test_corrupt_chunks_are_named(tmp_path):
    for name in ("a.h5", "b.h5", "c.h5"):
        write(tmp_path / name)
    path = tmp_path / "b.h5"
    data, magnitude, _ = scan()
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=data)
        chunks = file.create_dataset("reconstruction_esc", data=magnitude, compression="gzip")
        place = chunks.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"b.h5: expected an HDF5 file, got a broken one"):
        datasets.load(f"fastmri:{tmp_path}")

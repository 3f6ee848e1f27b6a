"""Files that several processes write, and that are killed while they write."""

import errno
import time
from pathlib import Path

import pytest
from processes import Process

from lemmse.files import (
    Busy,
    check_writable,
    locked,
    make_folder,
    merged,
    read_json,
    replaced,
    update_json,
    write_json,
)


def add(send, path, name):
    for i in range(20):
        part = {f"{name}{i}": i}
        update_json(path, part.__ror__, {})


def hold(send, path):
    with replaced(path) as draft:
        draft.write_text("half")
        send("held")
        time.sleep(60)


def take(send, path):
    send("waits")
    with locked(path):
        send("has it")


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_two_processes_add_to_one_file(tmp_path):
    path = tmp_path / "a.json"
    processes = [Process(add, path, name) for name in "xy"]
    assert [process.wait() for process in processes] == [0, 0]
    assert read_json(path) == {f"{name}{i}": i for name in "xy" for i in range(20)}
    assert hidden(tmp_path) == []


def test_a_killed_process_leaves_the_old_file_and_no_lock(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    process = Process(hold, path)
    assert process.receive() == "held"
    with pytest.raises(Busy), locked(path, patience=0):
        pass
    process.kill()
    assert path.read_text() == "old"
    assert len(hidden(tmp_path)) == 2  # the draft and the lock file
    with replaced(path) as draft:
        assert hidden(tmp_path) == [f".{path.name}.lock"]  # the old draft is gone
        draft.write_text("new")
    assert path.read_text() == "new"
    assert hidden(tmp_path) == []


def test_drafts_of_other_files_stay(tmp_path):
    others = [".b.1.draft.json", ".a.1.draft.txt", ".a.json", ".a.b.1.draft.json"]
    others += [".a.2.1.draft.json", ".a.2b.1.draft.json"]  # of a.2.json and a.2b.json
    for name in others:
        (tmp_path / name).touch()
    write_json(tmp_path / "a.json", 1)
    assert sorted(hidden(tmp_path)) == sorted(others)


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(draft, text):
        with draft.open("w") as handle:
            handle.write(text[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        update_json(path, lambda known: known | {"b": 2}, {})
    assert read_json(path) == {"a": 1}
    assert hidden(tmp_path) == []


def test_a_lock_may_be_taken_again_by_its_holder_and_ends_with_the_outermost(tmp_path):
    path = tmp_path / "a"
    with locked(path):
        with locked(path):
            pass
        assert hidden(tmp_path) == [".a.lock"]
        other = Process(take, path)
        assert other.receive() == "waits"
        assert not other.messages.poll(0.3)
    assert other.rest() == ["has it"]
    assert other.wait() == 0
    assert hidden(tmp_path) == []


def test_a_link_leads_to_the_file_that_is_written_and_locked(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    file, link = tmp_path / "there" / "a.json", tmp_path / "here" / "b.json"
    link.symlink_to(file)
    check_writable(link)
    write_json(link, 1)  # the file does not exist yet
    file.write_text("{}")
    processes = [Process(add, file, "x"), Process(add, link, "y")]
    assert [process.wait() for process in processes] == [0, 0]
    assert read_json(file) == {f"{name}{i}": i for name in "xy" for i in range(20)}
    assert link.is_symlink()
    assert hidden(file.parent) == hidden(link.parent) == []


def test_links_that_lead_nowhere_are_refused(tmp_path):
    loop, nowhere, folder = (tmp_path / name for name in ("loop", "nowhere", "folder"))
    loop.symlink_to(loop)
    nowhere.symlink_to(tmp_path / "none" / "a")
    folder.symlink_to(tmp_path)
    for path in (loop, nowhere, folder):
        with pytest.raises(ValueError, match=f"{path}: (expected a file|cannot be written)"):
            check_writable(path)


def test_a_check_bears_that_another_process_tidies_up(tmp_path, monkeypatch):
    touch = Path.touch
    monkeypatch.setattr(Path, "touch", lambda path: [touch(path), path.unlink()])
    check_writable(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["", "{", "\x00\xff", pytest.param("[" * 100_000, id="deep")])
def test_what_is_no_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="a.json: expected a file of JSON"):
        update_json(path, lambda known: known, {})
    assert path.read_text() == content
    with pytest.raises(ValueError, match="got a folder"):
        read_json(tmp_path)


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    check_writable(file)
    check_writable(tmp_path / "new.json")
    assert file.read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for path in (
        Path("/proc/a.json"),  # where nobody can write, root neither
        tmp_path,
        file / "a.json",
        tmp_path / "nowhere" / "a.json",
        tmp_path / ("x" * 250),
    ):
        with pytest.raises(ValueError, match="expected a file|cannot be written"):
            check_writable(path)


def test_a_folder_is_made_and_one_that_cannot_be_is_told(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "a", Path("/proc/a")):
        with pytest.raises(ValueError, match=r"expected a folder, or room for a new one"):
            make_folder(path)
    with pytest.raises(ValueError, match="cannot be written"):
        make_folder(Path("/proc"))


def test_merging():
    old = {"a": {"of": 1, "x": {"y": 1}}, "b": [1, 2]}
    assert merged(old, {"a": {"of": 1, "x": {"z": 2}}}, ("of",)) == {
        "a": {"of": 1, "x": {"y": 1, "z": 2}},
        "b": [1, 2],
    }
    assert merged(old, {"a": {"of": 2}, "b": [3]}, ("of",)) == {"a": {"of": 2}, "b": [3]}
    assert old["a"]["x"] == {"y": 1}

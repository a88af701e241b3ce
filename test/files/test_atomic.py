import subprocess
import sys

import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.files.atomic import replacing_file, replacing_folder, restore_folder

OWN = ("a", "b")


def write_file(path, text):
    with replacing_file(path) as draft:
        draft.write_text(text)


def write_folder(path, text):
    with replacing_folder(path, OWN) as draft:
        (draft / "a").write_text(text)


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "deep" / "file"
    write_file(path, "one")
    write_file(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "deep" / "folder"
    write_folder(path, "one")
    (path / "b").write_text("left over")
    write_folder(path, "two")
    assert [file.name for file in path.iterdir()] == ["a"]
    assert (path / "a").read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("replacing", "name"), [(replacing_file, "file"), (lambda path: replacing_folder(path, OWN), "folder")]
)
def test_an_error_leaves_the_old_one_and_nothing_else(tmp_path, replacing, name):
    path = tmp_path / name
    {"file": write_file, "folder": write_folder}[name](path, "old")
    with pytest.raises(RuntimeError, match="disk"), replacing(path) as draft:
        file = draft if name == "file" else draft / "a"
        file.write_text("half of the n")
        raise RuntimeError("disk full")
    kept = path if name == "file" else path / "a"
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_exchange_fails_comes_back(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    write_folder(path, "old")
    rename = type(path).rename

    def fail_for_the_draft(self, target):
        if target == path and (self / "a").read_text() == "new":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", fail_for_the_draft)
    with pytest.raises(OSError, match="no"):
        write_folder(path, "new")
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def contents(folder):
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


@pytest.mark.parametrize("case", ["foreign file", "folder inside", "link inside", "link", "file"])
def test_nothing_that_was_not_written_here_is_deleted(tmp_path, case):
    path, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").write_text("precious")
    if case == "link":
        path.symlink_to(elsewhere)
    elif case == "file":
        path.write_text("precious")
    else:
        path.mkdir()
        (path / "b").write_text("old")
        if case == "foreign file":
            (path / "photo.jpg").write_text("precious")
        elif case == "folder inside":
            (path / "a").mkdir()
        else:
            (path / "a").symlink_to(elsewhere / "a")
    before = sorted(str(entry) for entry in tmp_path.rglob("*"))
    with pytest.raises(DataError, match="target"):
        write_folder(path, "new")
    assert sorted(str(entry) for entry in tmp_path.rglob("*")) == before
    assert (elsewhere / "a").read_text() == "precious"


def test_a_file_that_comes_while_we_write_stays(tmp_path):
    path = tmp_path / "folder"
    write_folder(path, "old")
    with (
        pytest.raises(DataError, match=r"holds what was not written.*got late\.txt"),
        replacing_folder(path, OWN) as draft,
    ):
        (draft / "a").write_text("new")
        (path / "late.txt").write_text("precious")
    assert contents(path) == {"a": b"old", "late.txt": b"precious"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("moment", ["before the first rename", "between the renames", "after the second rename"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path, moment):
    """The process dies where the test says; nothing of it cleans up."""
    path = tmp_path / "folder"
    write_folder(path, "old")
    code = f"""
import os, pathlib
from spann3r_ros.files import atomic
count, rename = 0, pathlib.Path.rename
def dying(self, target):
    global count
    if {moment!r}.startswith("before"): os._exit(9)
    if {moment!r}.startswith("between") and count == 1: os._exit(9)
    count += 1
    rename(self, target)
    if {moment!r}.startswith("after") and count == 2: os._exit(9)
pathlib.Path.rename = dying
with atomic.replacing_folder(pathlib.Path({str(path)!r}), ("a", "b")) as draft:
    (draft / "a").write_text("new")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    restored = restore_folder(path, lambda folder: (folder / "a").is_file())
    assert restored == moment.startswith("between")
    assert (path / "a").read_text() == ("old" if moment.startswith("before") else "new")


def test_a_torn_draft_is_no_replacement_for_the_old_one(tmp_path):
    path = tmp_path / "folder"
    for kind, text in (("draft", "ha"), ("old", "old")):
        (tmp_path / f".folder.0123abcd.{kind}").mkdir()
        (tmp_path / f".folder.0123abcd.{kind}" / "a").write_text(text)
    assert restore_folder(path, lambda folder: len((folder / "a").read_text()) == 3)
    assert (path / "a").read_text() == "old"
    assert not restore_folder(path, lambda _: True), "what is there is left alone"

"""A folder of snapshots: the newest two whole ones, by one writer, whatever dies or fills up meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.recovery import SnapshotFolder
from spann3r_ros.mapping.storage import SavedMap, read_map, write_map


def save(path: Path) -> SavedMap:
    return write_map(path, Map(MapConfig(max_points=1000)), notes={"name": path.name})


def load(path: Path) -> SavedMap:
    return read_map(path, MapConfig(max_points=1000))[1]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    return SnapshotFolder(tmp_path / "snapshots", "/robot/spann3r")


@pytest.mark.fault("foreign files")
def test_the_newest_two_are_kept_and_nothing_foreign_is_deleted(folder: SnapshotFolder) -> None:
    assert folder.found() == [] and folder.newest(load, print) is None
    folder.write(save)
    (folder.path / "photos").mkdir()
    (folder.path / "snapshot_000001" / "note.txt").write_text("precious")
    for _ in range(4):
        folder.write(save)
    assert names(folder.path) == ["photos", "snapshot_000001", "snapshot_000004", "snapshot_000005"]
    assert (folder.path / "snapshot_000001" / "note.txt").read_text() == "precious"
    newest = folder.newest(load, print)
    assert newest is not None and newest.notes["name"] == "snapshot_000005"


@pytest.mark.fault("load is all or nothing")
def test_a_torn_one_is_not_used_and_not_counted(folder: SnapshotFolder) -> None:
    for _ in range(2):
        folder.write(save)
    state = folder.path / "snapshot_000002" / "state.npz"
    state.write_bytes(state.read_bytes()[:-100])
    told: list[str] = []
    newest = folder.newest(load, told.append)
    assert newest is not None and newest.path.name == "snapshot_000001"
    assert len(told) == 1 and "snapshot_000002 is not whole and not used" in told[0] and "state.npz" in told[0]
    folder.write(save)
    assert names(folder.path) == ["snapshot_000001", "snapshot_000003"]  # two whole ones
    for path in folder.found():
        (path / "manifest.json").write_text("{")
    assert folder.newest(load, told.append) is None and len(told) == 3


def test_a_whole_snapshot_of_another_network_is_no_reason_to_take_an_older_one(folder: SnapshotFolder) -> None:
    for _ in range(2):
        folder.write(save)
    tried: list[str] = []

    def refuse(path: Path) -> SavedMap:
        tried.append(path.name)
        raise MemoryMismatchError("another network")

    with pytest.raises(MemoryMismatchError):
        folder.newest(refuse, print)
    assert tried == ["snapshot_000002"]


def test_there_is_one_writer_in_this_process_and_in_any_other(folder: SnapshotFolder) -> None:
    folder.write(save)
    other = SnapshotFolder(folder.path, "/other/spann3r")
    with pytest.raises(ConfigError, match=r"another writer: got /robot/spann3r, process \d+.*another folder"):
        other.write(save)
    assert names(folder.path) == ["snapshot_000001"]
    code = f"""
        from pathlib import Path
        from spann3r_ros.mapping.recovery import SnapshotFolder
        SnapshotFolder(Path({str(folder.path)!r}), "me").lock()
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    assert "another writer" in subprocess.run(run, capture_output=True, text=True, timeout=60).stderr
    folder.close()
    other.write(save)
    assert names(folder.path) == ["snapshot_000001", "snapshot_000002"]


@pytest.mark.fault("foreign files")
def test_a_writer_that_was_killed_blocks_nobody_and_its_draft_is_cleared_away(folder: SnapshotFolder) -> None:
    folder.write(save)
    folder.close()
    code = f"""
        import time
        from pathlib import Path
        from spann3r_ros.mapping.recovery import SnapshotFolder

        def save(path):
            draft = path.with_name(f".{{path.name}}.01234567.draft")
            draft.mkdir()
            (draft / "state.npz").write_bytes(b"half")
            print("half", flush=True)
            time.sleep(60)

        SnapshotFolder(Path({str(folder.path)!r}), "me").write(save)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"half\n"
        assert (folder.path / ".snapshot_000002.01234567.draft").is_dir()
        process.send_signal(signal.SIGKILL)
    newest = folder.newest(load, print)
    assert newest is not None and newest.path.name == "snapshot_000001"
    folder.write(save)
    assert names(folder.path) == ["snapshot_000001", "snapshot_000002"]


def test_a_folder_that_cannot_be_written_or_filled_keeps_what_it_has(folder: SnapshotFolder) -> None:
    """A limit on the size of files stands for a full disk: the system refuses the write in the middle."""
    folder.write(save)
    folder.close()
    code = f"""
        import resource
        from pathlib import Path
        from spann3r_ros.config import MapConfig
        from spann3r_ros.mapping.map import Map
        from spann3r_ros.mapping.recovery import SnapshotFolder
        from spann3r_ros.mapping.storage import write_map

        folder = SnapshotFolder(Path({str(folder.path)!r}), "me")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            folder.write(lambda path: write_map(path, Map(MapConfig(max_points=1000))))
        except OSError as error:
            print(type(error).__name__, error.errno)
        print([path.name for path in folder.found()])
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert run.stdout.splitlines() == ["OSError 27", "['snapshot_000001']"], run.stderr
    load(folder.path / "snapshot_000001")
    assert {entry.name for entry in folder.path.iterdir()} == {"snapshot_000001", "writer.lock"}
    nowhere = SnapshotFolder(Path("/proc/spann3r_ros_snapshots"), "me")
    with pytest.raises(OSError, match="/proc/spann3r_ros_snapshots"):
        nowhere.write(save)
    assert nowhere.newest(load, print) is None

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.files.location import kind_of, location


def test_a_path_is_made_absolute_and_home_is_spelled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/robot")
    assert location("maps/a") == tmp_path / "maps" / "a"
    assert location("~/a") == Path("/home/robot/a")
    assert location(Path("/a/../b")) == Path("/a/../b")


@pytest.mark.fault("hostile request")
@pytest.mark.parametrize("text", ["", "~nosuchuser/x", "a\0b", "x" * 5000, "\udcff" * 5000])
def test_a_text_that_is_no_path_is_refused_in_words_that_can_be_sent(text: str) -> None:
    with pytest.raises(DataError, match="path: got") as refused:
        location(text)
    assert len(str(refused.value).encode()) < 2000


@pytest.mark.fault("hostile request")
def test_a_current_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(DataError, match="absolute path"):
        location("a")
    assert location("/a") == Path("/a")


def test_what_lies_at_a_path_is_known_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    found = [kind_of(tmp_path / name) for name in ("pipe", "link", "file", "socket", ".", "nowhere", "x" * 300)]
    assert found == ["a pipe", "a pipe", "a file", "a socket", "a folder", "nothing", "nothing"]
    assert kind_of(Path("/dev/zero")) == "a device"

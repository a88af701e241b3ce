"""Bags as they lie on disks: split, renamed, without or with damaged metadata, compressed."""

import itertools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.bag_reader import BagReader
from spann3r_ros.recordings.compression import zstd

TOPIC = "/camera/image_raw"
START = 1_700_000_000_000_000_000
STEP = 100_000_000

Make = Callable[..., Any]
Rename = Callable[[int], str]


def split(folder: Path, messages: Make, name: Rename, parts: int = 12, storage: str = "mcap") -> Path:
    """A bag of ``parts`` files with two images each, without metadata.yaml."""
    folder.mkdir()
    for part in range(parts):
        content = messages()
        for number in (2 * part, 2 * part + 1):
            content.image(TOPIC, START + number * STEP, np.full((4, 4, 3), number, np.uint8))
        written = content.write(folder.parent / f"{folder.name}_{part}", storage)
        file = next(entry for entry in written.iterdir() if entry.suffix != ".yaml")
        file.rename(folder / (name(part) + file.suffix))
        shutil.rmtree(written)
    return folder


def check(folder: Path, images: int) -> None:
    with BagReader(folder) as reader:
        frames = list(reader.frames(TOPIC))
        assert not reader.missing and not reader.skipped
        assert reader.topics[TOPIC].count == images
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(images))


@pytest.mark.fault("recordings", case="01")
@pytest.mark.parametrize(
    "name",
    [
        lambda part: f"walk_{part}",
        lambda part: f"walk-2026-11-27-10-{part:02d}-00_{part}",
        lambda part: f"{'zyxwvutsrqpo'[part]}",
    ],
    ids=["Humble", "with times", "renamed against the order"],
)
def test_split_bags_come_in_the_order_of_recording(tmp_path: Path, messages: Make, name: Rename) -> None:
    check(split(tmp_path / "bag", messages, name), 24)


@pytest.mark.fault("recordings", case="02")
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_whole_files_are_read_beside_one_that_is_lost(tmp_path: Path, messages: Make, storage: str) -> None:
    folder = split(tmp_path / "bag", messages, lambda part: f"walk_{part}", 3, storage)
    last = sorted(folder.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:10])
    with BagReader(folder) as reader:
        assert len(list(reader.frames(TOPIC))) == 4
        assert reader.missing.total() == 1
        assert last.name in next(iter(reader.missing))


@pytest.mark.fault("recordings", case="19")
@pytest.mark.parametrize("damage", ["renamed", "empty", "half", "not UTF-8", "other version", "a list"])
def test_metadata_that_does_not_fit_is_not_needed(
    tmp_path: Path, messages: Make, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    for number in range(4):
        content.image(TOPIC, START + number * STEP, np.full((4, 4, 3), number, np.uint8))
    folder = content.write(tmp_path / "bag")
    metadata = folder / "metadata.yaml"
    text = metadata.read_bytes()
    if damage == "renamed":
        (folder / "bag.mcap").rename(folder / "kitchen_final.mcap")
    else:
        other = {"empty": b"", "half": text[: len(text) // 2], "not UTF-8": text + b"\xff", "a list": b"[1, 2]"}
        metadata.write_bytes(other.get(damage, text.replace(b"version: 9", b"version: 99")))
    with caplog.at_level(logging.WARNING):
        check(folder, 4)
    assert ("metadata.yaml" in caplog.text) == (damage != "other version")


@pytest.mark.fault("recordings", case="19")
def test_a_file_that_metadata_names_and_is_not_there(tmp_path: Path, messages: Make) -> None:
    content = messages()
    content.image(TOPIC, START, np.zeros((4, 4, 3), np.uint8))
    folder = content.write(tmp_path / "bag")
    text = (folder / "metadata.yaml").read_text()
    text = text.replace("  - bag.mcap", "  - bag.mcap\n  - bag_1.mcap").replace("message_count: 1", "message_count: 3")
    (folder / "metadata.yaml").write_text(text)
    with BagReader(folder) as reader:
        assert len(list(reader.frames(TOPIC))) == 1
        assert dict(reader.missing) == {"bag_1.mcap: metadata.yaml names it, but it is not there": 2}


@pytest.mark.fault("recordings", case="19")
@pytest.mark.parametrize(("storage", "mode"), itertools.product(["mcap", "sqlite3"], ["FILE", "MESSAGE"]))
def test_compressed_files_without_metadata(tmp_path: Path, messages: Make, storage: str, mode: str) -> None:
    content = messages()
    for number in range(4):
        content.image(TOPIC, START + number * STEP, np.full((4, 4, 3), number, np.uint8))
    folder = content.write(
        tmp_path / "bag", storage, CompressionMode[mode] if storage == "sqlite3" else CompressionMode.NONE
    )
    (folder / "metadata.yaml").unlink()
    if storage == "mcap":
        (file,) = folder.iterdir()
        (folder / (file.name + ".zstd")).write_bytes(zstd.compress(file.read_bytes()))
        file.unlink()
    check(folder, 4)


@pytest.mark.fault("hostile file")
def test_a_compression_bomb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mcap.zstd").write_bytes(zstd.compress(bytes(160 << 20)))
    with pytest.raises(DataError, match="unpack to more than"):
        BagReader(tmp_path / "a.mcap.zstd")

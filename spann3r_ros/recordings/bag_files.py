"""Which files a bag has, in which order, and what its metadata.yaml promises; a bag is read without it, too."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.compression import CompressionError, unpack_file
from spann3r_ros.recordings.mcap_file import McapFile
from spann3r_ros.recordings.ros1_file import Ros1File
from spann3r_ros.recordings.sequence import natural_order
from spann3r_ros.recordings.sqlite_file import SqliteFile
from spann3r_ros.recordings.storage_file import StorageError, StorageFile
from spann3r_ros.recordings.structured import read_yaml

METADATA = "metadata.yaml"
OPENERS: dict[str, Callable[[Path], StorageFile]] = {".mcap": McapFile, ".db3": SqliteFile, ".bag": Ros1File}
PACKED = (".zstd", ".zst")

_log = logging.getLogger(__name__)


@dataclass
class BagFiles:
    """The open files of a bag.

    Attributes:
        files: names and files, in the order of recording.
        promised: messages by topic as metadata.yaml says; None without a usable one.
        lost: why a file could not be read at all, by its name.
    """

    files: list[tuple[str, StorageFile]] = field(default_factory=list)
    promised: Counter[str] | None = None
    lost: dict[str, str] = field(default_factory=dict)

    def promised_of(self, topic: str) -> int | None:
        """Messages that were recorded, as metadata.yaml or else the files' own indices say; None when unknown."""
        if self.promised is not None and topic in self.promised:
            return self.promised[topic]
        if self.lost:
            return None
        total = 0
        for _, file in self.files:
            numbers = [number for number, channel in file.channels.items() if channel.topic == topic]
            if file.damage and not file.promised and _may_hold(file, topic):
                return None
            counts = file.promised or file.counts
            total += sum(counts[number] for number in numbers)
        return total

    def damages_of(self, topic: str) -> dict[str, str]:
        """What is wrong with the files that may have held messages of a topic, by their names."""
        damaged = {name: file.damage for name, file in self.files if file.damage and _may_hold(file, topic)}
        return {**self.lost, **damaged}


def _may_hold(file: StorageFile, topic: str) -> bool:
    """Whether messages of a topic may have been in a file: it has the topic, or not even its topics are known."""
    return not file.counts or any(channel.topic == topic for channel in file.channels.values())


def is_bag(path: Path) -> bool:
    """Whether the names at a path look like a bag."""
    if path.is_file():
        return _kind(path) is not None
    return path.is_dir() and ((path / METADATA).exists() or bool(_storage(path)))


def open_bag(path: Path, stack: ExitStack) -> BagFiles:
    """Open the files of a bag, which ``stack`` closes; what cannot be read is told and left out.

    Raises:
        DataError: no bag, or none of whose files anything can be read.
    """
    if not path.exists():
        raise DataError("no such bag", got=str(path))
    bag = BagFiles()
    metadata = _read_metadata(path / METADATA) if (path / METADATA).is_file() else None
    if metadata is not None:
        bag.promised = metadata.counts
    hints: dict[str, str] = {}
    for file in _named(path, metadata, bag):
        try:
            bag.files.append((file.name, _open(file, stack)))
        except (StorageError, CompressionError, OSError) as error:
            bag.lost[file.name] = str(error)
            hints[file.name] = getattr(error, "next_step", "")
    if not bag.files:
        raise DataError(
            f"bag {path} cannot be read",
            got="; ".join(f"{name}: {why}" for name, why in bag.lost.items()),
            expected="whole .mcap, .db3 or .bag files",
            next_step=next(filter(None, hints.values()), "Nothing can be saved from it: copy the recording again"),
        )
    if metadata is None and len(bag.files) > 1:
        bag.files = _in_order(bag.files)
        _log.warning("%s has no %s: its %d files are read in the order of recording", path, METADATA, len(bag.files))
    for name, why in bag.lost.items():
        _log.warning("%s: nothing of %s can be read: %s", path, name, why)
    for name, opened in bag.files:
        if opened.damage:
            _log.warning("%s: %s is not whole (%s); what is whole is read", path, name, opened.damage)
    return bag


@dataclass(frozen=True)
class _Metadata:
    """What is used of metadata.yaml."""

    files: list[str]
    counts: Counter[str]


def _read_metadata(path: Path) -> _Metadata | None:
    """None, with a warning, when it is damaged: the files tell all that is needed."""
    try:
        content: Any = read_yaml(path)
        information = content["rosbag2_bagfile_information"]
        files = [PurePath(str(name)).name for name in information["relative_file_paths"]]
        counts: Counter[str] = Counter()
        for row in information["topics_with_message_count"]:
            counts[str(row["topic_metadata"]["name"])] += int(row["message_count"])
    except (DataError, KeyError, AttributeError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        _log.warning("%s is damaged (%s) and not needed: the storage files are read without it", path, reason)
        return None
    return _Metadata(files, counts) if files else None


def _named(path: Path, metadata: _Metadata | None, bag: BagFiles) -> list[Path]:
    """The files of a bag in the order of metadata.yaml, or of names."""
    if path.is_file():
        if _kind(path) is None:
            raise DataError("not a bag", got=str(path), expected=" | ".join(OPENERS))
        return [path]
    there = _storage(path)
    if not there:
        inside = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and is_bag(entry))
        raise DataError(
            "not a bag",
            got=str(path),
            expected="a folder with metadata.yaml and .mcap or .db3 files",
            next_step=f"It holds bags; choose one: {', '.join(inside)}" if inside else "",
        )
    if metadata is None:
        return there
    missing = [name for name in metadata.files if not (path / name).is_file()]
    if not missing:
        return [path / name for name in metadata.files]
    listed = {path / name for name in metadata.files}
    others = [file for file in there if file not in listed]
    if len(others) == len(missing):
        # Somebody gave the files new names; their order is kept by the numbers in them.
        renamed = dict(zip(missing, others, strict=True))
        for old, new in renamed.items():
            _log.warning("%s names %s, which is not there: %s is read in its place", path / METADATA, old, new.name)
        return [path / name if name not in renamed else renamed[name] for name in metadata.files]
    bag.lost |= dict.fromkeys(missing, f"{METADATA} names it, but it is not there")
    found = [path / name for name in metadata.files if name not in missing]
    return found or there


def _open(path: Path, stack: ExitStack) -> StorageFile:
    """One file, unpacked into a temporary folder when it is compressed as a whole."""
    if path.suffix in PACKED:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="spann3r_ros")))
        whole = unpack_file(path, folder / path.stem)
        opened = _open(folder / path.stem, stack)
        if not whole:
            opened.damage = opened.damage or "the compressed file is cut off or damaged"
        return opened
    opened = OPENERS[path.suffix](path)
    stack.callback(opened.close)
    return opened


def _kind(path: Path) -> str | None:
    """Suffix of a storage file, behind that of its compression; None for other files."""
    suffix = path.with_suffix("").suffix if path.suffix in PACKED else path.suffix
    return suffix if suffix in OPENERS else None


def _storage(path: Path) -> list[Path]:
    """Storage files of a folder, numbers in names by value; hidden files are other programs'."""
    files = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".") and _kind(entry)]
    return sorted(files, key=natural_order)


def _in_order(files: list[tuple[str, StorageFile]]) -> list[tuple[str, StorageFile]]:
    """By the running number at the end of their names, as recorders give it, where all begin alike; else by time."""
    parts = [re.fullmatch(r"(.*?)(\d+)\.\w+(\.\w+)?", name) for name, _ in files]
    beginnings = {part[1] if part else None for part in parts}
    if len(beginnings) == 1 and None not in beginnings:
        return files
    return sorted(files, key=lambda entry: (entry[1].start == 0, entry[1].start))

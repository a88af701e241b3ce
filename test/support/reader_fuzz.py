"""Mutated files into every reader: only errors of ``spann3r_ros.errors`` may come out.

``python test/support/reader_fuzz.py --seconds 60`` mutates at random, and where atheris is installed spends half of the
time on mutations that reach new code, a reader after the other; then it prints what it found. The last line is
``fuzz: inputs=N readers=N foreign_exceptions=N``. The tests take the same readers and mutations.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import logging
import os
import pickle
import platform
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import caffe_writer
import cv2
import numpy as np
import torch
from faults import write_measured
from miniature_datasets import MAKERS
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from safetensors.numpy import save_file

from spann3r_ros.cli.configuration import read_config
from spann3r_ros.config import MapConfig
from spann3r_ros.errors import Spann3rError
from spann3r_ros.files.checksum import sha256
from spann3r_ros.files.ply import read_ply, write_ply
from spann3r_ros.files.tum import read_camera_path, read_trajectory
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.storage import read_map, write_map
from spann3r_ros.models.checkpoint.caffe_file import read_network
from spann3r_ros.models.checkpoint.pickled_arrays import read_arrays
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.cut3r.architecture import TINY
from spann3r_ros.models.onnx.manifest import MANIFEST, OUTSIDE, Manifest, StageCall, read_manifest
from spann3r_ros.models.posenet.mean_image import MEAN_IMAGE, mean_beside
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.prediction import Prediction
from spann3r_ros.recordings.bag_reader import IMAGE
from spann3r_ros.recordings.calibration_file import read_calibration
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.runs.folder import RunFolder, StoredPointmap
from spann3r_ros.runs.record import OFFLINE, RunRecord
from spann3r_ros.sim3 import Sim3

SECOND = 1_000_000_000
START_SECONDS, GUIDED_SECONDS = 20, 60
"""Until a process that is instrumented begins, and the most that one reader then gets."""

MOST_SECONDS, MOST_BYTES = 1.0, 200_000_000
"""What a damaged or hostile file may cost. A busy machine may take longer, so no test holds the time."""

ASCII_PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n1 2 3 4 5 6\n1 2 nan 4 5 6\n"
)
TUM = b"# stamp tx ty tz qx qy qz qw\n1.5 1 2 3 0 0 0 1\n1.6 1 2 3 0 0 0.7 0.7\n1.7 nan 0 0 0 0 0 0\n"
OWN = b"# stamp tx ty tz qx qy qz qw\n1.500000000 1 2 3 0 0 0 1\n1.600000000 1 2 3 0 0 0.6 0.8\n"
TOKENS = [
    *(b"nan", b"inf", b"-1", b"0", b"1e999999999", b"1099511627776", b"9" * 4000, b"9" * 5000, b"1e-999999999", b"~x"),
    *(b"\xff\xfe", b"\x00", b"\xb2\xb2", b"[" * 3000, b"{", b"&a [*a, *a]", b"!!python/object:os.system {}", b"null"),
    *(
        b"-",
        b",",
        b"\n",
        b'"',
        b"18446744073709551615",
        b"true",
        b"[]",
        b"\xd9\xa3",
        b"1_000",
        b"0x10",
        b"/",
        b"..",
        b"",
    ),
]
"""What numbers and other words are replaced by."""


@dataclass(frozen=True)
class Reader:
    """A reader with a file that it can read.

    Attributes:
        name: for reports.
        file: which file is mutated, below a folder.
        prepare: writes the valid files into a folder.
        read: reads everything of it.
    """

    name: str
    file: str
    prepare: Callable[[Path], None]
    read: Callable[[Path], object]


def _text(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _frames(path: Path) -> None:
    """All that a run takes from a recording."""
    sequence = open_sequence(path)
    for _ in sequence.frames():
        pass
    truth = sequence.ground_truth()
    if truth is not None and len(truth.depth_stamps):
        truth.read_depth(0)


def _truth(path: Path) -> None:
    """What a run is compared with; ahead of the images, which are smaller than those of some data sets."""
    sequence = open_sequence(path)
    truth = sequence.ground_truth()
    if truth is not None and len(truth.depth_stamps):
        truth.read_depth(0)
    for _ in sequence.frames():
        pass


def _dataset(name: str, file: str) -> Reader:
    """The miniature of a layout, and a file of it."""
    folder = MAKERS[name]
    return Reader(f"{name}, {file}", file, lambda root: folder(root) and None, _on(FOLDERS[name], _truth))


def _message(store: Stores, stamp: int) -> tuple[object, object]:
    """A type store and an image of four pixels."""
    types = get_typestore(store)
    header = {} if store != Stores.ROS1_NOETIC else {"seq": 1}
    time_type = types.types["builtin_interfaces/msg/Time"]
    head = types.types["std_msgs/msg/Header"](
        **header, stamp=time_type(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id="camera"
    )
    image = types.types[IMAGE](
        header=head,
        height=2,
        width=2,
        encoding="rgb8",
        is_bigendian=0,
        step=6,
        data=np.arange(12, dtype=np.uint8),
    )
    return types, image


def _bag(plugin: StoragePlugin) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        with Writer(folder / "bag", version=9, storage_plugin=plugin) as writer:
            for number in range(4):
                types, image = _message(Stores.LATEST, 5 * SECOND + number)
                if number == 0:
                    connection = writer.add_connection("/camera/image_raw", IMAGE, typestore=types)
                writer.write(connection, 5 * SECOND + number, types.serialize_cdr(image, IMAGE))

    return prepare


def _ros1(folder: Path) -> None:
    with Ros1Writer(folder / "a.bag") as writer:
        for number in range(4):
            types, image = _message(Stores.ROS1_NOETIC, 5 * SECOND + number)
            if number == 0:
                connection = writer.add_connection("/camera/image_raw", IMAGE, typestore=types)
            writer.write(connection, 5 * SECOND + number, types.serialize_ros1(image, IMAGE))


def _saved_map(folder: Path) -> None:
    world, size = Map(MapConfig(voxel_size=0.1, min_confidence=0.1)), (4, 6)
    points = np.random.default_rng(0).uniform(0, 1, (*size, 3)).astype(np.float32)
    frame = Frame(0, SECOND, "camera", np.zeros((*size, 3), np.uint8))
    world.insert(Prediction(frame, points, np.ones(size, np.float32), frame.image, Sim3()))
    write_map(folder / "map", world, notes={"model": "none"})


def _read_arrays_of_map(folder: Path) -> None:
    """The state, with a manifest that says that it is right."""
    manifest = json.loads((folder / "map" / "manifest.json").read_text())
    state = folder / "map" / "state.npz"
    manifest["files"]["state.npz"] = {"bytes": state.stat().st_size, "sha256": sha256(state)}
    (folder / "map" / "manifest.json").write_text(json.dumps(manifest))
    _read_map(folder / "map")


def _cloud(folder: Path) -> None:
    points = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_ply(folder / "a.ply", PointCloud(points, np.zeros((4, 3), np.uint8), np.ones(4, np.float32)))


def _record(folder: Path) -> None:
    record = RunRecord("run", OFFLINE, {"path": "x"}, 1, {}, {}, False)
    record.frames.add(1, 0.5, 0, 1, 2)
    record.write(folder / "run.json")


def _pointmap(folder: Path) -> None:
    grid = (2, 3)
    pointmap = StoredPointmap(
        0, 1, np.zeros((*grid, 3), np.float32), np.ones(grid, np.float32), np.zeros((*grid, 3), np.uint8), (3, 2), None
    )
    RunFolder(folder).add_pointmap(pointmap)


def _checkpoint(folder: Path) -> None:
    save_file({"a.weight": np.zeros((2, 2), np.float32)}, folder / "a.safetensors", {"architecture": '{"kind": "x"}'})


def _caffe(legacy: bool) -> Callable[[Path], None]:
    layers = {"conv1": (np.zeros((2, 3, 2, 2), np.float32), np.zeros(2, np.float32))}
    return _text("a.caffemodel", caffe_writer.network(layers, legacy))


def _mean_image(suffix: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        mean = np.full((4, 5, 3), 100, np.float32)
        if suffix == ".npy":
            np.save(folder / f"{MEAN_IMAGE}.npy", mean)
        else:
            (folder / f"{MEAN_IMAGE}{suffix}").write_bytes(caffe_writer.blob(mean.transpose(2, 0, 1)))

    return prepare


def _named_arrays(folder: Path) -> None:
    arrays = {"conv1": {"weights": np.zeros((2, 3), np.float32), "biases": np.zeros(3, np.float32)}}
    (folder / "a.pickle").write_bytes(pickle.dumps(arrays, protocol=2))
    np.save(folder / "a.npy", np.array(arrays, dtype=object), allow_pickle=True)


def _pytorch(folder: Path) -> None:
    torch.save({"model": {"a.weight": torch.zeros(2, 2)}}, folder / "a.pth")


def _exported(folder: Path) -> None:
    exported = folder / "onnx"
    exported.mkdir()
    files = ("encode.onnx", OUTSIDE)
    for name in files:
        (exported / name).write_bytes(name.encode())
    call = StageCall.of("encode", {"rounded": False}, ((1, 3, 48, 64),))
    digests = {name: sha256(exported / name) for name in files}
    manifest = Manifest(TINY, "weights", (48, 64), 17, "torch", {call: files[0]}, digests)
    (exported / MANIFEST).write_text(manifest.to_json())


def _tum_folder(folder: Path) -> None:
    (folder / "rgb").mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / "rgb" / f"{number}.png"), np.full((4, 6, 3), 90, np.uint8))
    (folder / "rgb.txt").write_text("# list\n1.0 rgb/0.png\n2.0 rgb/1.png\n")
    (folder / "groundtruth.txt").write_bytes(TUM)
    (folder / "calibration.txt").write_text("5 5 3 2\n")


def _euroc(folder: Path) -> None:
    camera = folder / "mav0" / "cam0"
    (camera / "data").mkdir(parents=True)
    cv2.imwrite(str(camera / "data" / "1.png"), np.full((4, 6), 90, np.uint8))
    (camera / "data.csv").write_text("#timestamp [ns],filename\n1000000000,1.png\n")
    (camera / "sensor.yaml").write_text(
        "intrinsics: [5.0, 5.0, 3.0, 2.0]\nresolution: [6, 4]\ndistortion_model: radial-tangential\n"
        "distortion_coefficients: [0.0, 0.0, 0.0, 0.0]\nT_BS: {data: [1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1]}\n"
    )
    truth = folder / "mav0" / "state_groundtruth_estimate0"
    truth.mkdir()
    (truth / "data.csv").write_text("#t,x,y,z,w,x,y,z\n1000000000,1,2,3,1,0,0,0\n")


def _video(folder: Path) -> None:
    writer = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (32, 24))
    for number in range(3):
        writer.write(np.full((24, 32, 3), 40 * number, np.uint8))
    writer.release()


def _photo(folder: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.jpg"), np.full((8, 8, 3), 90, np.uint8))


FOLDERS = {"7scenes": "chess/seq-01", "nrgbd": "whiteroom", "dtu": "scan1", "replica": "office0", "folder": "mine"}
"""Where the miniature of a layout lies."""

CALIBRATION = b'{"fx": 5, "fy": 5, "cx": 3, "cy": 2, "w": 6, "h": 4}'
PARAMETERS = b"device: cpu\nmap: {voxel_size: 0.5}\noutput: refined\n"
ROS_YAML = (
    b"image_width: 6\nimage_height: 4\ncamera_matrix: {rows: 3, cols: 3, data: [5, 0, 3, 0, 5, 2, 0, 0, 1]}\n"
    b"distortion_model: plumb_bob\ndistortion_coefficients: {data: [0.01, 0, 0, 0, 0]}\n"
)
KITTI = b"1 0 0 1 0 1 0 2 0 0 1 3\n1 0 0 1 0 1 0 2 0 0 1 4\n"
EUROC_CSV = b"#timestamp [ns],p_x,p_y,p_z,q_w,q_x,q_y,q_z\n1000000000,1,2,3,1,0,0,0\n1100000000,1,2,3,1,0,0,0\n"


def _kitti(folder: Path) -> None:
    (folder / "a.txt").write_bytes(KITTI)
    (folder / "times.txt").write_text("0.0\n0.1\n")


def _on(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: read(folder / name)


def _read_map(path: Path) -> object:
    return read_map(path, MapConfig())


def _read_parameters(path: Path) -> object:
    return read_config(path, [])


def _calibration(name: str) -> Callable[[Path], object]:
    return lambda folder: read_calibration(folder / name, 6, 4)


READERS = [
    Reader("trajectory of TUM", "a.txt", _text("a.txt", TUM), _on("a.txt", read_camera_path)),
    Reader("trajectory of a saved map", "a.txt", _text("a.txt", OWN), _on("a.txt", read_trajectory)),
    Reader("trajectory of KITTI", "a.txt", _kitti, _on("a.txt", read_camera_path)),
    Reader("stamps of KITTI", "times.txt", _kitti, _on("a.txt", read_camera_path)),
    Reader("trajectory of EuRoC", "a.csv", _text("a.csv", EUROC_CSV), _on("a.csv", read_camera_path)),
    Reader("PLY, text", "a.ply", _text("a.ply", ASCII_PLY), _on("a.ply", read_ply)),
    Reader("PLY, binary", "a.ply", _cloud, _on("a.ply", read_ply)),
    Reader("bag metadata", "bag/metadata.yaml", _bag(StoragePlugin.MCAP), _on("bag", _frames)),
    Reader("bag, mcap", "bag/bag.mcap", _bag(StoragePlugin.MCAP), _on("bag", _frames)),
    Reader("bag, sqlite3", "bag/bag.db3", _bag(StoragePlugin.SQLITE3), _on("bag", _frames)),
    Reader("bag of ROS 1", "a.bag", _ros1, _on("a.bag", _frames)),
    Reader("calibration, text", "calib.txt", _text("calib.txt", b"5 5 3 2 0.1 0 0 0\n"), _calibration("calib.txt")),
    Reader("calibration, JSON", "calib.json", _text("calib.json", CALIBRATION), _calibration("calib.json")),
    Reader("calibration, YAML", "calib.yaml", _text("calib.yaml", ROS_YAML), _calibration("calib.yaml")),
    Reader("parameters", "p.yaml", _text("p.yaml", PARAMETERS), _on("p.yaml", _read_parameters)),
    Reader("manifest of a saved map", "map/manifest.json", _saved_map, _on("map", _read_map)),
    Reader("arrays of a saved map", "map/state.npz", _saved_map, _read_arrays_of_map),
    Reader("manifest of exported stages", "onnx/manifest.json", _exported, _on("onnx", read_manifest)),
    Reader("header of a checkpoint", "a.safetensors", _checkpoint, _on("a.safetensors", read_checkpoint)),
    Reader("tensors of safetensors", "a.safetensors", _checkpoint, _on("a.safetensors", read_tensor_file)),
    Reader("tensors of PyTorch", "a.pth", _pytorch, _on("a.pth", read_tensor_file)),
    Reader("Caffe's network", "a.caffemodel", _caffe(legacy=False), _on("a.caffemodel", read_network)),
    Reader("Caffe's network of old", "a.caffemodel", _caffe(legacy=True), _on("a.caffemodel", read_network)),
    Reader("Caffe's mean image", f"{MEAN_IMAGE}.binaryproto", _mean_image(".binaryproto"), _on("a.npy", mean_beside)),
    Reader("mean image", f"{MEAN_IMAGE}.npy", _mean_image(".npy"), _on("a.npy", mean_beside)),
    Reader("arrays in a pickle", "a.pickle", _named_arrays, _on("a.pickle", read_arrays)),
    Reader("arrays in an object of NumPy", "a.npy", _named_arrays, _on("a.npy", read_arrays)),
    Reader("run.json", "run.json", _record, lambda folder: RunFolder(folder).record()),
    Reader("pointmap", "pointmaps/000000.npz", _pointmap, lambda folder: list(RunFolder(folder).pointmaps())),
    Reader("TUM's list", "rgb.txt", _tum_folder, _frames),
    Reader("EuRoC's camera", "mav0/cam0/sensor.yaml", _euroc, _frames),
    Reader("EuRoC's truth", "mav0/state_groundtruth_estimate0/data.csv", _euroc, _frames),
    _dataset("7scenes", "chess/seq-01/frame-000001.pose.txt"),
    _dataset("7scenes", "chess/seq-01/frame-000000.depth.proj.png"),
    _dataset("nrgbd", "whiteroom/poses.txt"),
    _dataset("dtu", "scan1/cams/00000001_cam.txt"),
    _dataset("dtu", "scan1/depths/00000002.npy"),
    _dataset("replica", "office0/traj.txt"),
    _dataset("replica", "cam_params.json"),
    _dataset("folder", "mine/trajectory.txt"),
    _dataset("folder", "mine/intrinsics.json"),
    Reader("photograph", "1.jpg", _photo, _frames),
    Reader("video", "a.avi", _video, _on("a.avi", _frames)),
]


FOUND: dict[str, list[tuple[bytes, bytes]]] = {
    "trajectory of TUM": [(b"1.5", b"1e999999999"), (b"1.5", b"9" * 4000), (b"1.6", b"\xff"), (b"stamp", b"\xff\xfe")],
    "PLY, text": [(b"vertex 2", b"vertex 1099511627776"), (b"vertex 2", b"vertex " + b"9" * 5000)],
    "PLY, binary": [(b"element vertex 4", b"element other 1e9\nelement vertex 4")],
    "calibration, YAML": [(b"[5,", b"[" * 3000 + b"5,"), (b"[5,", b"&a [*a,")],
    "calibration, JSON": [(b'"fx": 5', b'"fx": ' + b"9" * 5000), (b'"w": 6', b'"w": 1e999')],
    "parameters": [
        (b"0.5", b"[" * 3000),
        (b"0.5", b"9" * 4000),
        (b"cpu", b"\xff"),
        (b"{voxel_size: 0.5}", b"&a {b: *a}"),
    ],
    "manifest of a saved map": [(b'"points": ', b'"points": ' + b"9" * 4000), (b'"files"', b'"files\xff"')],
    "arrays of a saved map": [(b"PK\x01\x02-\x03-", b"PK\x01\x02-\x03\xc0"), (b"PK\x05\x06", b"PK\x05\x07")],
    "tensors of PyTorch": [(b"PK\x05\x06", b"PK\x06\x07" + struct.pack("<LQL", 1, 0, 2) + b"PK\x05\x06")],
    "arrays in an object of NumPy": [(b"\n", b"(\n")],
    "mean image": [(b"}", b"(}")],
    "run.json": [(b'"skipped": {}', b'"skipped": 3'), (b'"format": 1', b'"format": ' + b"[" * 9000), (b"{", b"\xff")],
    "pointmap": [(b"PK\x05\x06", b"PK\x05\x07"), (b"points.npy", b"pointz.npy")],
    "TUM's list": [(b"rgb/0.png", b"9" * 4000), (b"rgb/0.png", b"\0")],
    "EuRoC's camera": [(b"[6, 4]", b"[1e400, 4]"), (b"[5.0,", b"[" * 3000)],
}
"""What to replace by what in the valid files to get those that once let a foreign exception out, or took for ever."""


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes, words, blocks or lines."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 2, 8, 64, 512)))
        kind = rng.randrange(7)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data = data[:place]
        elif kind == 2:
            del data[place:end]
        elif kind == 3:
            data[place:end] = bytes(rng.randrange(256) for _ in range(end - place))
        elif kind == 4:
            data[place:place] = data[rng.randrange(len(data) + 1) :][: end - place]
        else:
            words = _words(data)
            begin, stop = rng.choice(words) if words else (place, place)
            data[begin:stop] = rng.choice(TOKENS)
    return bytes(data)


def _words(data: bytearray) -> list[tuple[int, int]]:
    """Where the words of a text lie, in the first kilobytes."""
    spans, begin = [], None
    for place, byte in enumerate(data[:4096]):
        is_word = chr(byte).isalnum() or byte in b".+-_"
        if is_word and begin is None:
            begin = place
        elif not is_word and begin is not None:
            spans.append((begin, place))
            begin = None
    return spans


class Bench:
    """The valid files of all readers, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._valid: dict[str, Path] = {}
        for number, reader in enumerate(READERS):
            self._valid[reader.name] = folder / f"valid{number}"
            self._valid[reader.name].mkdir()
            reader.prepare(self._valid[reader.name])

    def content(self, reader: Reader) -> bytes:
        """The valid file."""
        return (self._valid[reader.name] / reader.file).read_bytes()

    def read(self, reader: Reader, content: bytes) -> BaseException | None:
        """What a reader makes of a file: None when it reads it, an error of ours, or a foreign exception."""
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self._valid[reader.name], work)
        (work / reader.file).write_bytes(content)
        try:
            reader.read(work)
        except Exception as error:
            return error
        return None


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cost(bench: Bench, reader: Reader, content: bytes) -> tuple[bool, int]:
    """Whether a reader gave nothing but an error of ours, and the memory in bytes that it took.

    It runs in a forked process, so nobody may run a thread meanwhile.
    """
    receives, sends = os.pipe()
    child = os.fork()
    if child == 0:
        held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        error = bench.read(reader, content)
        os.write(sends, str(max(0, peak_bytes() - held)).encode())
        os._exit(0 if error is None or isinstance(error, Spann3rError) else 1)
    os.close(sends)
    with os.fdopen(receives) as answer:
        took = answer.read()
    _, status = os.waitpid(child, 0)
    return status == 0, int(took or MOST_BYTES + 1)


def costs() -> dict[str, tuple[bool, int]]:
    """``cost`` of every file that once did harm, and of three mutations a reader; the most of each reader."""
    logging.disable(logging.CRITICAL)
    cv2.setNumThreads(0)
    rng = random.Random(1)
    worst: dict[str, tuple[bool, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for reader in READERS:
            whole = bench.content(reader)
            files = [whole, *(whole.replace(old, new) for old, new in FOUND.get(reader.name, []))]
            found = [cost(bench, reader, content) for content in [*files, *(mutated(whole, rng) for _ in range(3))]]
            worst[reader.name] = all(ours for ours, _ in found), max(most for _, most in found)
    return worst


def guided(seconds: float, first: int) -> tuple[int, int]:
    """Files that readers were given by ``guided_fuzz``, and how many of these readers let a foreign exception out."""
    inputs, foreign, end = 0, 0, time.monotonic() + seconds
    for number in range(first, first + len(READERS)):
        left = int(end - time.monotonic()) - START_SECONDS
        if left <= 0:
            break
        name, share = READERS[number % len(READERS)].name, min(left, GUIDED_SECONDS)
        command = [sys.executable, str(Path(__file__).with_name("guided_fuzz.py")), str(number % len(READERS))]
        with tempfile.TemporaryDirectory(prefix="spann3r_ros_") as folder:
            run = subprocess.run(
                [*command, folder, "--seconds", str(share)], capture_output=True, text=True, errors="replace"
            )
        units = re.search(r"number_of_executed_units: (\d+)", run.stderr)
        inputs += int(units[1]) if units else 0
        foreign += run.returncode != 0
        print(f"guided, {name}: {units[1] if units else 'no'} files" + (f"\n{run.stdout}" if run.returncode else ""))
        if run.returncode and not run.stdout:
            print(run.stderr[-2000:])
    return inputs, foreign


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutated files into every reader.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that foreign exceptions came from")
    parser.add_argument("--write", action="store_true", help="put what was found into docs/robustness.md")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    is_guided = find_spec("atheris") is not None
    at_random = arguments.seconds / 2 if is_guided else arguments.seconds
    rng, end = random.Random(arguments.seed), time.monotonic() + at_random
    inputs, foreign = 0, 0
    slow: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if not arguments.keep:  # decoders of images and videos write straight to the terminal
            stderr = os.dup(2)
            stack.callback(os.dup2, stderr, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        bench = Bench(Path(folder))
        held = peak_bytes()
        while time.monotonic() < end:
            reader = READERS[inputs % len(READERS)]
            content = mutated(bench.content(reader), rng)
            begin = time.process_time()  # which other programs do not lengthen
            error = bench.read(reader, content)
            slow[reader.name] = max(slow.get(reader.name, 0.0), time.process_time() - begin)
            if arguments.keep and time.process_time() - begin > 1.0:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / f"slow_{reader.name.replace(' ', '_')}").write_bytes(content)
            inputs += 1
            if error is not None and not isinstance(error, Spann3rError):
                foreign += 1
                print(f"{reader.name}: {''.join(traceback.format_exception(error)[-3:])}")
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    (arguments.keep / f"{reader.name.replace(' ', '_')}_{inputs}").write_bytes(content)
    worst = max(slow, key=lambda name: slow[name])
    late = sum(seconds > MOST_SECONDS for seconds in slow.values())
    costs = f"{worst}, {slow[worst]:.2f} s; {late} readers once took more than {MOST_SECONDS:g} s"
    memory = f"{(peak_bytes() - held) / 1e6:.0f} MB more than before, of {MOST_BYTES / 1e6:.0f} MB allowed"
    print(f"slowest: {costs}\nmemory: {memory}")
    at_random_inputs = inputs
    if is_guided:
        more, found = guided(arguments.seconds - at_random, random.Random(arguments.seed).randrange(len(READERS)))
        inputs, foreign = inputs + more, foreign + found
    else:
        print("guided: atheris is not installed (pip install atheris), so all mutations were at random")
    print(f"fuzz: inputs={inputs} readers={len(READERS)} foreign_exceptions={foreign}")
    if arguments.write:
        text = (
            f"{inputs:,} files into {len(READERS)} readers in {arguments.seconds / 3600:.2f} hours, of which "
            f"{at_random_inputs:,} mutated at random and the others guided by atheris: {foreign} foreign exceptions. "
            f"The slowest of those at random: {costs}; memory: {memory}. "
            f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores."
        )
        command = f"make fuzz SECONDS={arguments.seconds:g} ARGS=--write"
        write_measured("What damaged files did", command, textwrap.wrap(text, 120))
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.mapping import map_state
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.storage import read_map, read_ply, read_trajectory, write_map
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

CONFIG = MapConfig(voxel_size=0.1, max_points=1500, min_confidence=0.1, coarsening=1.0)


def prediction(index: int) -> Prediction:
    rng = np.random.default_rng(index)
    rotation = Rotation.random(random_state=index).as_matrix()
    return Prediction(
        Frame(index, 1_700_000_000_000_000_001 + index * 10**8, "camera", np.zeros((12, 16, 3), np.uint8)),
        rng.uniform((index * 0.3, 0, 0), (index * 0.3 + 1, 1, 1), (12, 16, 3)).astype(np.float32),
        rng.uniform(0, 1, (12, 16)).astype(np.float32),
        rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),
        Sim3.rigid(rotation, rng.normal(0, 1, 3)),
    )


def small_map(frames: int = 15, config: MapConfig = CONFIG) -> Map:
    world = Map(dataclasses.replace(config))
    for index in range(frames):
        world.insert(prediction(index))
    return world


def assert_same(one: Map, two: Map) -> None:
    assert one.revision == two.revision
    for left, right in zip(one.submaps, two.submaps, strict=True):
        assert left.id == right.id and left.voxels.revision == right.voxels.revision
        np.testing.assert_array_equal(left.world_from_submap.matrix(), right.world_from_submap.matrix())
        mine, theirs = left.voxels.voxels(), right.voxels.voxels()
        for name in ("keys", "mean", "weight", "count", "seen", "frames", "misses"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        for pose, other in zip(left.poses, right.poses, strict=True):
            assert (pose.index, pose.stamp, pose.camera, pose.final) == (
                other.index,
                other.stamp,
                other.camera,
                other.final,
            )
            np.testing.assert_array_equal(pose.target_from_camera.matrix(), other.target_from_camera.matrix())


def test_a_saved_map_continues_as_if_never_stopped(tmp_path):
    world = small_map(15)
    write_map(tmp_path / "map", world)
    resumed, _ = read_map(tmp_path / "map", dataclasses.replace(CONFIG))
    assert_same(world, resumed)
    for index in range(15, 30):
        assert world.insert(prediction(index)) == resumed.insert(prediction(index))
    assert_same(world, resumed)


def test_the_folder_holds_what_people_and_programs_need(tmp_path):
    world = small_map()
    written = write_map(
        tmp_path / "map",
        world,
        save_memory=lambda path: path.write_bytes(b"memory") and None,
        notes={"model": "spann3r"},
    )
    assert [file.name for file in written.files] == [
        "map.ply",
        "trajectory.txt",
        "state.npz",
        "memory.safetensors",
        "manifest.json",
    ]
    assert all(file.is_file() for file in written.files)
    cloud = world.cloud()
    np.testing.assert_array_equal(read_ply(tmp_path / "map" / "map.ply").points, cloud.points)
    path = read_trajectory(tmp_path / "map" / "trajectory.txt")
    assert [pose.stamp for pose in path] == [pose.stamp for pose in world.trajectory()]
    _, read = read_map(tmp_path / "map", CONFIG)
    assert read == written
    assert (read.points, read.frames, read.notes) == (len(cloud), 15, {"model": "spann3r"})
    assert read.memory.read_bytes() == b"memory"


def test_without_a_memory_there_is_none(tmp_path):
    write_map(tmp_path / "map", small_map(1))
    assert read_map(tmp_path / "map", CONFIG)[1].memory is None
    assert not (tmp_path / "map" / "memory.safetensors").exists()


def test_an_empty_map_and_a_corrected_one(tmp_path):
    empty = Map(CONFIG)
    write_map(tmp_path / "empty", empty)
    assert_same(empty, read_map(tmp_path / "empty", CONFIG)[0])
    moved = small_map(3)
    moved.move(0, Sim3(1.2, Rotation.random(random_state=1).as_matrix(), np.ones(3)))
    write_map(tmp_path / "moved", moved)
    back = read_map(tmp_path / "moved", CONFIG)[0]
    assert_same(moved, back)
    np.testing.assert_array_equal(np.sort(moved.cloud().points, axis=0), np.sort(back.cloud().points, axis=0))


@pytest.mark.fault("foreign files")
def test_an_older_map_is_replaced_and_anything_else_is_not(tmp_path):
    write_map(tmp_path / "map", small_map(3))
    write_map(tmp_path / "map", small_map(5))
    assert read_map(tmp_path / "map", CONFIG)[1].frames == 5
    (tmp_path / "home").mkdir()
    write_map(tmp_path / "home", small_map(1))
    for name in ("photos", "file"):
        target = tmp_path / name
        if name == "photos":
            target.mkdir()
            (target / "dear.jpg").write_bytes(b"precious")
        else:
            target.write_bytes(b"precious")
        with pytest.raises(DataError, match="no saved map"):
            write_map(target, small_map(1))
    assert (tmp_path / "photos" / "dear.jpg").read_bytes() == (tmp_path / "file").read_bytes() == b"precious"


@pytest.mark.fault("foreign files")
@pytest.mark.parametrize(
    "manifest", ["{}", '{"name": "a web app"}', "not json", "[1]", "[" * 100_000, '{"format": "another map"}']
)
def test_a_foreign_folder_with_a_manifest_is_left_as_it_is(tmp_path, manifest):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text(manifest)
    (tmp_path / "site" / "index.html").write_text("precious")
    with pytest.raises(DataError, match="is no saved map"):
        write_map(tmp_path / "site", small_map(1))
    assert sorted(entry.name for entry in (tmp_path / "site").iterdir()) == ["index.html", "manifest.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["site"]


@pytest.mark.fault("foreign files")
def test_a_map_with_other_files_in_it_is_not_replaced(tmp_path):
    write_map(tmp_path / "map", small_map(3))
    (tmp_path / "map" / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match=r"got notes\.txt; expected a new name.*move these files away"):
        write_map(tmp_path / "map", small_map(5))
    assert read_map(tmp_path / "map", CONFIG)[1].frames == 3
    assert (tmp_path / "map" / "notes.txt").read_text() == "precious"


@pytest.mark.fault("foreign files")
def test_a_link_is_not_followed(tmp_path):
    write_map(tmp_path / "map", small_map(3))
    (tmp_path / "link").symlink_to(tmp_path / "map")
    with pytest.raises(DataError, match="is no saved map"):
        write_map(tmp_path / "link", small_map(5))
    assert read_map(tmp_path / "map", CONFIG)[1].frames == 3 and (tmp_path / "link").is_symlink()


@pytest.mark.fault("foreign files")
@pytest.mark.parametrize("torn", [False, True])
def test_a_map_whose_exchange_was_cut_off_is_found_again(tmp_path, torn):
    write_map(tmp_path / "new", small_map(5))
    write_map(tmp_path / "old", small_map(3))
    (tmp_path / "new").rename(tmp_path / ".map.01234567.draft")
    (tmp_path / "old").rename(tmp_path / ".map.01234567.old")
    if torn:
        state = tmp_path / ".map.01234567.draft" / "state.npz"
        state.write_bytes(state.read_bytes()[:-100])
    assert read_map(tmp_path / "map", CONFIG)[1].frames == (3 if torn else 5)


@pytest.mark.fault("foreign files")
def test_a_failing_memory_leaves_the_old_map(tmp_path):
    write_map(tmp_path / "map", small_map(3))

    def fail(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_map(tmp_path / "map", small_map(5), save_memory=fail)
    assert read_map(tmp_path / "map", CONFIG)[1].frames == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["map"]


def test_other_sizes_on_loading(tmp_path):
    world = small_map()
    write_map(tmp_path / "map", world)
    coarse, _ = read_map(tmp_path / "map", dataclasses.replace(CONFIG, voxel_size=0.3))
    assert coarse.submaps[0].voxels.voxel_size == 0.3 and 0 < len(coarse) < len(world) / 2
    small, _ = read_map(tmp_path / "map", dataclasses.replace(CONFIG, max_points=1000))
    assert len(small) == 1000 < len(world)


@pytest.fixture
def saved(tmp_path):
    write_map(tmp_path / "map", small_map(3), save_memory=lambda path: path.write_bytes(b"memory" * 100) and None)
    return tmp_path / "map"


@pytest.mark.fault("load is all or nothing")
@pytest.mark.parametrize("name", ["map.ply", "trajectory.txt", "state.npz", "memory.safetensors"])
def test_damage_to_any_file_is_noticed(saved, name):
    content = (saved / name).read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[: len(content) // 2], bytes(flipped), b""):
        (saved / name).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{name} is not as it was written"):
            read_map(saved, CONFIG)
    (saved / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        read_map(saved, CONFIG)
    (saved / name).write_bytes(content)
    read_map(saved, CONFIG)


def edit(saved, change):
    manifest = json.loads((saved / "manifest.json").read_text())
    change(manifest)
    (saved / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.fault("load is all or nothing")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest.update(version=4), "version .*got 4; expected 1 .* 2 .* 3"),
        (lambda manifest: manifest.update(format="other"), "not about a map"),
        (lambda manifest: manifest.pop("files"), "incomplete"),
        (lambda manifest: manifest.update(notes=["a"]), "notes in"),
        (lambda manifest: manifest.update(notes={"model": 3}), "notes in"),
        (lambda manifest: manifest.update(points="many"), "incomplete"),
        (lambda manifest: manifest["files"].pop("state.npz"), "incomplete"),
        (lambda manifest: manifest["files"].update({"../../etc/passwd": {"bytes": 1, "sha256": ""}}), "incomplete"),
        (lambda manifest: manifest["files"].update({"map.ply": None}), "not as it was written"),
    ],
)
def test_manifests_of_another_kind_are_refused(saved, change, message):
    edit(saved, change)
    with pytest.raises(DataError, match=message):
        read_map(saved, CONFIG)


def test_a_manifest_that_is_no_json_or_absent(saved, tmp_path):
    (saved / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="no saved map"):
        read_map(saved, CONFIG)
    with pytest.raises(DataError, match="no saved map"):
        read_map(tmp_path / "nowhere", CONFIG)


def changed(array, change):
    array = array.copy()
    change(array)
    return array


CRAFTED = {
    "nan mean": lambda s: {"voxel.mean": changed(s["voxel.mean"], lambda a: a.__setitem__((0, 1), np.nan))},
    "infinite weight": lambda s: {"voxel.weight": changed(s["voxel.weight"], lambda a: a.__setitem__(0, np.inf))},
    "weight 0": lambda s: {"voxel.weight": changed(s["voxel.weight"], lambda a: a.__setitem__(0, 0.0))},
    "count 0": lambda s: {"voxel.count": changed(s["voxel.count"], lambda a: a.__setitem__(0, 0))},
    "frames 0": lambda s: {"voxel.frames": changed(s["voxel.frames"], lambda a: a.__setitem__(0, 0))},
    "negative misses": lambda s: {"voxel.misses": changed(s["voxel.misses"], lambda a: a.__setitem__(0, -1))},
    "negative key": lambda s: {"voxel.keys": changed(s["voxel.keys"], lambda a: a.__setitem__(0, -5))},
    "huge key": lambda s: {"voxel.keys": changed(s["voxel.keys"], lambda a: a.__setitem__(0, 2**63 - 1))},
    "key twice": lambda s: {"voxel.keys": changed(s["voxel.keys"], lambda a: a.__setitem__(0, a[1]))},
    "color 999": lambda s: {"voxel.mean": changed(s["voxel.mean"], lambda a: a.__setitem__((0, 4), 999.0))},
    "seen later": lambda s: {"voxel.seen": changed(s["voxel.seen"], lambda a: a.__setitem__(0, 2**30))},
    "seen before": lambda s: {"voxel.seen": changed(s["voxel.seen"], lambda a: a.__setitem__(0, -1))},
    "2^40 revisions": lambda _: {"submap.voxel_revision": np.array([2**40])},
    "negative revision": lambda _: {"revision": np.array(-1)},
    "revision of numbers": lambda _: {"revision": np.arange(3)},
    "2^40 voxels": lambda _: {"submap.voxels": np.array([2**40])},
    "negative poses": lambda _: {"submap.poses": np.array([-1])},
    "scale 0": lambda _: {"submap.scale": np.array([0.0])},
    "scale nan": lambda _: {"submap.scale": np.array([np.nan])},
    "voxel size nan": lambda _: {"submap.voxel_size": np.array([np.nan])},
    "voxel size 0": lambda _: {"world_voxel_size": np.array(0.0)},
    "pose nan": lambda s: {"pose.translation": s["pose.translation"] * np.nan},
    "fewer poses": lambda s: {"pose.stamp": s["pose.stamp"][1:]},
    "fewer places": lambda _: {"submap.scale": np.zeros(0)},
    "two of one number": lambda s: {
        name: np.concatenate([s[name], s[name] * (name not in ("submap.voxels", "submap.poses"))])
        for name in s
        if name.startswith("submap.")
    },
    "fewer voxels": lambda s: {"voxel.count": s["voxel.count"][1:]},
}


@pytest.mark.fault("load is all or nothing")
@pytest.mark.parametrize("case", ["missing", "dtype", "pickle", "no submap", "rotation", "no archive", *CRAFTED])
def test_a_state_with_other_arrays_is_refused(saved, case):
    with np.load(saved / "state.npz") as file:
        state = dict(file)
    if case in CRAFTED:
        state.update(CRAFTED[case](state))
    elif case == "missing":
        del state["voxel.weight"]
    elif case == "dtype":
        state["voxel.mean"] = state["voxel.mean"].astype(np.float64)
    elif case == "pickle":
        state["voxel.weight"] = np.array([{}], dtype=object)
    elif case == "no submap":
        state.update({name: array[:0] for name, array in state.items() if name.partition(".")[0] in ("submap", "pose")})
        state.update({name: array[:0] for name, array in state.items() if name.startswith("voxel.")})
    elif case == "rotation":
        state["pose.rotation"] = state["pose.rotation"] * 2
    if case == "no archive":
        (saved / "state.npz").write_bytes(b"not a zip")
    else:
        np.savez(saved / "state.npz", **state)
    content = (saved / "state.npz").read_bytes()
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(saved, lambda manifest: manifest["files"].update({"state.npz": described}))
    with pytest.raises(DataError, match="state of the map"):
        read_map(saved, CONFIG)


def test_a_copied_folder_works_elsewhere(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    shutil.rmtree(saved)
    assert read_map(tmp_path / "copy", CONFIG)[1].memory == tmp_path / "copy" / "memory.safetensors"


def test_several_corrected_submaps_come_back(tmp_path):
    world = small_map(3, MapConfig(voxel_size=0.1, max_points=20_000, min_confidence=0.1))
    for number in (1, 2):
        world.insert(dataclasses.replace(prediction(2 + number), submap=number))
        place = Sim3(1.1**number, Rotation.random(random_state=number).as_matrix(), np.full(3, float(number)))
        world.move(number, place, "a test")
    write_map(tmp_path / "map", world)
    back, saved = read_map(tmp_path / "map", world.config)
    assert_same(world, back)
    assert (saved.points, saved.frames) == (len(world.cloud()), 5)
    for mine, theirs in zip(world.trajectory(), back.trajectory(), strict=True):
        np.testing.assert_array_equal(mine.target_from_camera.matrix(), theirs.target_from_camera.matrix())
    # What comes next lies where it would have lain.
    later = dataclasses.replace(prediction(9), submap=2)
    np.testing.assert_array_equal(world.in_world(later).points, back.in_world(later).points)
    assert world.insert(later) == back.insert(later)
    assert_same(world, back)


def test_a_map_of_version_2_is_the_same_world(golden):
    """Written when each submap had arrays of its own: three submaps, two of them moved, and a corrector."""
    folder = golden.parent / "saved_map_2" / "map"
    world, saved = read_map(folder, MapConfig(voxel_size=0.2, max_points=2000))
    written = read_ply(folder / "map.ply")
    assert (len(world), saved.frames, [submap.id for submap in world.submaps]) == (len(written), 5, [0, 1, 2])
    cloud = world.cloud()
    order, reference = (np.lexsort(np.round(points, 4).T) for points in (cloud.points, written.points))
    np.testing.assert_allclose(cloud.points[order], written.points[reference], atol=1e-6)
    for mine, theirs in zip(world.trajectory(), read_trajectory(folder / "trajectory.txt"), strict=True):
        np.testing.assert_allclose(mine.target_from_camera.matrix(), theirs.target_from_camera.matrix(), atol=1e-8)
    assert [submap.world_from_submap.scale for submap in world.submaps] == pytest.approx([1.0, 1.1, 1.21])
    assert saved.correctors["joints"]["newest.submap"] == 2


def test_a_map_of_version_1_is_the_same_world(golden):
    """Written when points and poses were kept in ROS axes; what a model says is in optical axes."""
    config = MapConfig(voxel_size=0.2, max_points=2000)
    folder = golden.parent / "saved_map_1" / "map"
    world, saved = read_map(folder, config)
    written = read_ply(folder / "map.ply")
    assert len(world) == saved.points == len(written)
    cloud = world.cloud()
    order, reference = (np.lexsort(np.round(points, 4).T) for points in (cloud.points, written.points))
    np.testing.assert_allclose(cloud.points[order], written.points[reference], atol=1e-6)
    np.testing.assert_array_equal(cloud.colors[order], written.colors[reference])
    for mine, theirs in zip(world.trajectory(), read_trajectory(folder / "trajectory.txt"), strict=True):
        np.testing.assert_allclose(mine.target_from_camera.matrix(), theirs.target_from_camera.matrix(), atol=1e-12)
    np.testing.assert_array_equal(world.submaps[0].world_from_submap.matrix(), ROS_FROM_OPTICAL.matrix())


def test_a_map_of_version_2_is_published_as_it_was_and_goes_on(tmp_path):
    """Written by a version whose voxels did not know how many frames agree on them."""
    world = small_map(15)
    for submap in world.submaps:
        assert submap.voxels.voxels().count.max() > 1
    write_map(tmp_path / "map", world)
    with np.load(tmp_path / "map" / "state.npz") as file:
        columns = dict(file)
    each = list(map_state._by_submap(columns))
    state = {name: array for name, array in columns.items() if "." not in name}
    state["submaps"] = np.array(len(each))
    for number, entries in enumerate(each):
        state |= {f"{number}.{name}": value for name, value in entries.items() if name not in ("frames", "misses")}
    np.savez(tmp_path / "map" / "state.npz", **state)
    content = (tmp_path / "map" / "state.npz").read_bytes()
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def older(manifest):
        manifest["version"] = 2
        manifest["files"]["state.npz"] = described

    edit(tmp_path / "map", older)
    read, _ = read_map(tmp_path / "map", dataclasses.replace(CONFIG))
    assert len(read.cloud()) == len(read) == len(world) > len(world.cloud())
    read.insert(prediction(15))
    write_map(tmp_path / "again", read)
    again, _ = read_map(tmp_path / "again", dataclasses.replace(CONFIG))
    assert_same(read, again)

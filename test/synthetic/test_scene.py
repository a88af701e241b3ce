"""The scene file and what it says."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import yaml

from spann3r_ros.errors import DataError
from spann3r_ros.synthetic.furniture import Look, rgb_of
from spann3r_ros.synthetic.rooms import random_scene
from spann3r_ros.synthetic.scene import Scene

TINY = """
name: tiny
looks: {gray: {pattern: plain, colors: ["#808080"]}}
rooms:
  - name: a
    low: [0, 0]
    high: [3, 3]
    height: 2.5
    walls: {west: gray, east: gray, south: gray, north: gray}
    floor: gray
    ceiling: gray
    boards: [{wall: east, along: 1.0, height: 1.5, size: [0.8, 0.4], look: gray}]
    furniture:
      - {name: cube, at: [1, 2], yaw: 90, parts: [{box: [0.4, 0.2, 0.6], at: [0.1, 0, 0], look: gray}]}
doorways: []
"""


def test_every_surface_of_the_apartment_looks_different() -> None:
    scene = Scene.apartment()
    assert [room.name for room in scene.rooms] == ["living room", "kitchen", "hall", "bedroom", "study"]
    large = [look for room in scene.rooms for look in (*room.walls, room.floor, room.ceiling)]
    assert len(set(large)) == len(large)
    assert all(room.boards and room.furniture for room in scene.rooms)
    assert len(scene.openings()) == 5


def test_furniture_stays_inside_its_room_and_out_of_the_doorways() -> None:
    for scene in (Scene.apartment(), *(random_scene(seed) for seed in range(5))):
        for room in scene.rooms:
            for solid in room.solids():
                corners = np.array(solid.corners())
                assert (corners > np.array(room.low) - 1e-6).all(), (scene.name, room.name, solid)
                assert (corners < np.array(room.high) + 1e-6).all(), (scene.name, room.name, solid)
                assert solid.at[2] + solid.size[2] < room.height, (scene.name, room.name, solid)
        for opening in scene.openings():
            low, high = np.array(opening.low[:2]), np.array(opening.high[:2])
            low[opening.axis] -= 0.3
            high[opening.axis] += 0.3
            for solid in scene.solids():
                corners = np.array(solid.corners())
                apart = (corners.max(0) < low) | (corners.min(0) > high)
                assert apart.any() or solid.at[2] > 1.9, (scene.name, opening, solid)


def test_the_scene_file_says_where_things_are(tmp_path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    cube, board = Scene.read(path).solids()
    # A quarter turn takes the part's offset along x to y.
    np.testing.assert_allclose(cube.at, (1.0, 2.1, 0.0), atol=1e-12)
    np.testing.assert_allclose(cube.center, (1.0, 2.1, 0.3), atol=1e-12)
    np.testing.assert_allclose(np.ptp(np.array(cube.corners()), axis=0), (0.2, 0.4), atol=1e-12)
    np.testing.assert_allclose(np.array(board.corners()).max(0), (3.0, 1.4), atol=1e-12)
    assert board.center[2] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("height: 2.5", "heigth: 2.5", r"missing \['height'\], unknown \['heigth'\]"),
        ("floor: gray", "floor: grey", "got grey; expected one of gray"),
        ("pattern: plain", "pattern: plane", "got plane; expected one of plain, stripes"),
        ("#808080", "#80808", "got #80808; expected '#rrggbb'"),
        ("box: [0.4, 0.2, 0.6]", "cone: [0.4, 0.2, 0.6]", "exactly one of box, cylinder, sphere"),
        ("box: [0.4, 0.2, 0.6]", "box: [0.4, 0.2]", "expected three numbers"),
        ("box: [0.4, 0.2, 0.6]", "box: [0.4, 0.2, 0]", "meters > 0"),
        ("wall: east", "wall: top", "expected one of west, east, south, north"),
        ("high: [3, 3]", "high: [0, 3]", "extent of room 'a'"),
        (
            "doorways: []",
            "doorways: [{between: [a, b], along: 1, width: 1, height: 2, look: gray}]",
            "room of a doorway: got \\['b'\\]",
        ),
    ],
)
def test_a_wrong_scene_file_is_refused_by_name(tmp_path, old: str, new: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    assert old in TINY
    path.write_text(TINY.replace(old, new))
    with pytest.raises(DataError, match=message):
        Scene.read(path)


def test_a_missing_scene_file_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"no\.yaml"):
        Scene.read(tmp_path / "no.yaml")


def test_a_doorway_must_fit_its_wall(tmp_path) -> None:
    text = (resources.files("spann3r_ros.synthetic") / "apartment.yaml").read_text()
    content = yaml.safe_load(text)
    content["doorways"][0]["along"] = 3.6  # sticks out beyond the corner at y = 3.8
    path = tmp_path / "wide.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match="doorway between living room and kitchen"):
        Scene.read(path)


def test_random_scenes_depend_on_the_seed_only() -> None:
    assert random_scene(3) == random_scene(3)
    assert random_scene(3) != random_scene(4)
    assert {len(random_scene(seed).rooms) for seed in range(12)} == {2, 3, 4}


def test_colors() -> None:
    assert rgb_of("#ff8000") == (255, 128, 0)
    with pytest.raises(DataError, match="one to four"):
        Look("plain", ())

"""Maps that are kept before a new one begins: the last ones, and nothing of anybody else is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
from robot import Robot

from spann3r_ros.config import MapConfig
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.storage import SavedMap, read_map, write_map
from spann3r_ros.ros.kept_maps import KeptMaps


@pytest.mark.fault("time")
@pytest.mark.fault("foreign files")
def test_the_last_ones_are_kept_and_nothing_foreign_is_deleted(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    kept = KeptMaps(robot.node)
    assert kept.folder == tmp_path / "robot_kept_maps"

    def save(path: Path) -> SavedMap:
        return write_map(path, Map(MapConfig()))

    noted = kept.keep(save, 2).path
    (noted / "note.txt").write_text("the one with the kitchen")
    (kept.folder / "photos").mkdir()
    (kept.folder / "19990101_000000_000000").symlink_to(noted)
    paths = [kept.keep(save, 2).path for _ in range(4)]
    names = {path.name for path in kept.folder.iterdir()}
    assert names == {noted.name, "photos", "19990101_000000_000000", paths[-2].name, paths[-1].name}
    for path in (noted, *paths[-2:]):
        read_map(path, MapConfig())
    assert (noted / "note.txt").read_text() == "the one with the kitchen"


def test_an_error_is_handed_on_and_costs_no_older_map(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    kept = KeptMaps(robot.node)
    older = kept.keep(lambda path: write_map(path, Map(MapConfig())), 1).path

    def fail(path: Path) -> SavedMap:
        raise OSError(28, f"no space left for {path}")

    with pytest.raises(OSError, match="no space"):
        kept.keep(fail, 1)
    assert [path.name for path in kept.folder.iterdir()] == [older.name]

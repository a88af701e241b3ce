from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from spann3r_ros.pictures.side_by_side import BAR, Scenery, beside, draw_path, write_growing_map
from spann3r_ros.pictures.splat import BACKGROUND
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

RED, BLUE = (200, 30, 30), (30, 30, 200)


def wall(x: float, color: tuple[int, int, int]) -> PointCloud:
    """A wall of 4 m x 2 m at x."""
    y, z = (axis.ravel() for axis in np.meshgrid(np.linspace(-2, 2, 120), np.linspace(0, 2, 60)))
    points = np.column_stack([np.full(y.shape, x), y, z]).astype(np.float32)
    return PointCloud(points, np.full((len(y), 3), color, np.uint8), np.ones(len(y), np.float32))


def joined(*clouds: PointCloud) -> PointCloud:
    return PointCloud(*(np.concatenate([getattr(c, n) for c in clouds]) for n in ("points", "colors", "confidence")))


def share(picture: np.ndarray, color: tuple[int, int, int]) -> float:
    return float((picture == color).all(axis=2).mean())


def test_both_views_show_the_place_and_leave_the_ceiling_out() -> None:
    place = joined(wall(-2.0, RED), wall(2.0, BLUE))
    scenery = Scenery(place, 200, 160, ceiling=1.5)
    for picture in scenery.pictures(place):
        assert picture.shape == (160, 200, 3)
        assert share(picture, RED) > 0.005 and share(picture, BLUE) > 0.005 and share(picture, BACKGROUND) > 0.3
    hidden = Scenery(place, 200, 160, ceiling=-1.0)
    assert all(share(picture, BACKGROUND) == 1.0 for picture in hidden.pictures(place))


def test_seen_from_above_x_points_up_and_y_to_the_left() -> None:
    place = joined(wall(-2.0, RED), wall(2.0, BLUE))
    above = Scenery(place, 200, 160).pictures(place)[0]
    rows = {color: np.nonzero((above == color).all(axis=2))[0].mean() for color in (RED, BLUE)}
    assert rows[BLUE] < rows[RED]
    path = [Sim3(translation=np.array([x, 0.0, 1.0])) for x in (-1.0, 0.0, 1.0)]
    scenery = Scenery(place, 200, 160)
    view = scenery.views["from above"]
    drawn = draw_path(above, path, view, scenery.camera)
    changed = np.nonzero((drawn != above).any(axis=2))
    assert len(changed[0]) > 20 and np.ptp(changed[1]) < 12, "a walk along x is a vertical line"


def test_found_and_true_stand_side_by_side_under_their_names() -> None:
    true, found = joined(wall(-2.0, RED), wall(2.0, RED)), joined(wall(-2.0, BLUE), wall(2.0, BLUE))
    picture = beside(found, true, [], [], ("found", "true"))
    middle = picture.shape[1] // 2
    left, right = picture[BAR:, :middle], picture[BAR:, middle:]
    assert share(left, BLUE) > 0.002 and share(left, RED) == 0 and share(right, RED) > 0.002 and share(right, BLUE) == 0


def test_the_map_grows_picture_by_picture(tmp_path: Path) -> None:
    clouds = [wall(x, RED) for x in (-2.0, -1.0, 1.0, 2.0)]
    scenery = Scenery(joined(*clouds), 200, 160)
    write_growing_map(tmp_path / "map.gif", clouds, [Sim3()] * 4, scenery, every=1)
    with Image.open(tmp_path / "map.gif") as movie:
        assert movie.n_frames == 4
        covered = []
        for number in range(4):
            movie.seek(number)
            covered.append(1.0 - share(np.asarray(movie.convert("RGB")), BACKGROUND))
    assert covered[0] < covered[-1]

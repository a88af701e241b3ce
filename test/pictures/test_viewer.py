"""The page holds the cloud, needs nothing from outside, and draws it in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.mapping.graph_corrections import EdgeView, GraphView
from spann3r_ros.pictures.viewer import EDGE_COLORS, REJECTED_COLOR, write_viewer
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the PATH")


def red_wall_on_green_floor() -> PointCloud:
    u, v = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 4, 120), np.linspace(0, 3, 90)))
    floor = np.stack([u, v, np.zeros_like(u)], 1)
    wall = np.stack([u, np.full_like(u, 3.0), 0.8 * v], 1)
    colors = np.repeat(np.array([[20, 200, 40], [220, 30, 20]], np.uint8), len(u), axis=0)
    return PointCloud(np.concatenate([floor, wall]).astype(np.float32), colors, np.ones(2 * len(u), np.float32))


def cameras() -> list[Sim3]:
    level = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    return [Sim3.rigid(level, np.array([1.0 + 0.1 * n, 1.0, 1.2])) for n in range(10)]


def data_of(page: Path) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.S)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_the_cloud(tmp_path) -> None:
    cloud, page = red_wall_on_green_floor(), tmp_path / "map.html"
    assert write_viewer(page, cloud, cameras()) == len(cloud)
    data = data_of(page)
    low, high = np.array(data["low"]), np.array(data["high"])
    steps = np.frombuffer(base64.b64decode(data["points"]), "<u2").reshape(-1, 3)
    assert np.abs(low + steps / 65535 * (high - low) - cloud.points).max() < 1e-4
    colors = np.frombuffer(base64.b64decode(data["colors"]), np.uint8).reshape(-1, 3)
    np.testing.assert_array_equal(colors, cloud.colors)
    np.testing.assert_allclose(data["path"][3], [1.3, 1.0, 1.2])
    # The tip of a pyramid is the camera, its base is ahead.
    tip, corner = data["pyramids"][0][:2]
    np.testing.assert_allclose(tip, [1.0, 1.0, 1.2])
    assert corner[0] > 1.0
    assert 1.2 < data["cut"] <= 2.4


def graph() -> GraphView:
    middles = [np.array([x, 1.0, 1.0]) for x in (0.5, 2.0, 3.5)]
    edges = [EdgeView("joint", middles[0], middles[1], True), EdgeView("joint", middles[1], middles[2], True)]
    edges += [EdgeView("loop", middles[2], middles[0], True), EdgeView("odometry", middles[1], middles[0], False)]
    return GraphView(middles, edges)


def test_submaps_and_what_holds_them_together_are_in_the_page_and_lie_where_the_cloud_does(tmp_path) -> None:
    page = tmp_path / "map.html"
    moved = Sim3(2.0, np.eye(3), np.array([0.0, 0.0, 5.0]))
    write_viewer(page, red_wall_on_green_floor(), cameras(), graph=graph().transformed(moved))
    data = data_of(page)["graph"]
    assert data["submaps"] == [[1.0, 2.0, 7.0], [4.0, 2.0, 7.0], [7.0, 2.0, 7.0]]
    assert data["lines"] == {
        EDGE_COLORS["joint"]: [[1.0, 2.0, 7.0], [4.0, 2.0, 7.0], [4.0, 2.0, 7.0], [7.0, 2.0, 7.0]],
        EDGE_COLORS["loop"]: [[7.0, 2.0, 7.0], [1.0, 2.0, 7.0]],
        REJECTED_COLOR: [[4.0, 2.0, 7.0], [1.0, 2.0, 7.0]],
    }
    assert "10 camera poses, 3 submaps, 1 loops" in page.read_text()
    write_viewer(page, red_wall_on_green_floor(), cameras(), graph=GraphView(graph().submaps[:1]))
    assert (
        data_of(page)["graph"] == {"submaps": [], "lines": {}} and "submaps" not in page.read_text().split("<label")[0]
    )


def test_the_page_needs_no_network(tmp_path) -> None:
    write_viewer(tmp_path / "map.html", red_wall_on_green_floor(), title="Tom & <Jerry>")
    text = (tmp_path / "map.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", text)
    assert not re.findall(r"\bimport\s*\(|\bimport .* from|fetch\(\s*[\"']http", text)
    assert "<title>Tom &amp; &lt;Jerry&gt;</title>" in text
    assert "{{" not in re.sub(r"<script>var .*?</script>|<script>/\*!.*?</script>", "", text, flags=re.S)


def test_a_large_cloud_is_thinned_the_same_way_each_time(tmp_path) -> None:
    cloud = red_wall_on_green_floor()
    for name in ("a.html", "b.html"):
        assert write_viewer(tmp_path / name, cloud, max_points=5000) == 5000
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert "5,000 points of 21,600" in (tmp_path / "a.html").read_text()
    colors = np.frombuffer(base64.b64decode(data_of(tmp_path / "a.html")["colors"]), np.uint8).reshape(-1, 3)
    assert 0.4 < (colors[:, 0] == 220).mean() < 0.6


def test_a_single_point_and_no_point(tmp_path) -> None:
    one = PointCloud(np.ones((1, 3), np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32))
    assert write_viewer(tmp_path / "one.html", one) == 1
    with pytest.raises(DataError, match="0 points"):
        write_viewer(tmp_path / "none.html", PointCloud.empty())
    with pytest.raises(DataError, match="cannot be written"):
        write_viewer(tmp_path / "no" / "folder.html", one)
    with pytest.raises(DataError, match=">= 1"):
        write_viewer(tmp_path / "one.html", one, max_points=0)


def browse(*options: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=4000", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


SOFTWARE = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@needs_browser
def test_a_browser_draws_the_cloud(tmp_path) -> None:
    page, shot = tmp_path / "map.html", tmp_path / "shot.png"
    write_viewer(page, red_wall_on_green_floor(), cameras())
    browse(*SOFTWARE, "--window-size=800,600", f"--screenshot={shot}", page.as_uri())
    image = cv2.imread(str(shot))[..., ::-1].astype(int)
    red = (np.abs(image - [220, 30, 20]) < 12).all(-1)
    green = (np.abs(image - [20, 200, 40]) < 12).all(-1)
    background = (np.abs(image - [0x14, 0x17, 0x1C]) < 6).all(-1)
    assert red.mean() > 0.03
    assert green.mean() > 0.08
    assert background.mean() > 0.3
    # Seen from the south-west and above: the wall in the north is over the floor.
    assert np.argwhere(red)[:, 0].mean() < np.argwhere(green)[:, 0].mean() - 20


@needs_browser
def test_a_browser_draws_the_graph(tmp_path) -> None:
    page, shot = tmp_path / "map.html", tmp_path / "shot.png"
    write_viewer(page, red_wall_on_green_floor(), cameras(), graph=graph())
    browse(*SOFTWARE, "--window-size=800,600", f"--screenshot={shot}", page.as_uri())
    image = cv2.imread(str(shot))[..., ::-1].astype(int)
    for color in ([0x1A, 0xE6, 0x33], [0xE6, 0x19, 0x19], [0xFF, 0xAB, 0x00]):
        assert (np.abs(image - color) < 12).all(-1).sum() > 20


@needs_browser
def test_the_mouse_turns_it(tmp_path) -> None:
    page = tmp_path / "map.html"
    write_viewer(page, red_wall_on_green_floor())
    drag = """<script>
      const canvas = viewer.renderer.domElement, was = viewer.camera.position.toArray();
      canvas.setPointerCapture = canvas.releasePointerCapture = () => {};  // no real pointer here
      const at = (x, y) => ({clientX: x, clientY: y, pageX: x, pageY: y, pointerId: 1, pointerType: "mouse"});
      canvas.dispatchEvent(new PointerEvent("pointerdown", {...at(400, 300), buttons: 1}));
      canvas.ownerDocument.dispatchEvent(new PointerEvent("pointermove", {...at(500, 300), buttons: 1}));
      canvas.dispatchEvent(new PointerEvent("pointermove", {...at(550, 300), buttons: 1, bubbles: true}));
      document.title = JSON.stringify([was, viewer.camera.position.toArray(), viewer.controls.target.toArray()]);
    </script></body>"""
    page.write_text(page.read_text().replace("</body>", drag))
    dom = browse(*SOFTWARE, "--dump-dom", page.as_uri())
    found = re.search(r"<title>(\[.*?\])</title>", dom)
    assert found is not None
    was, now, target = (np.array(values) for values in json.loads(found[1]))
    assert np.linalg.norm(now - was) > 0.3
    assert now[2] == pytest.approx(was[2])  # about the vertical
    assert np.linalg.norm(now - target) == pytest.approx(np.linalg.norm(was - target))


@needs_browser
def test_without_webgl_the_page_says_so(tmp_path) -> None:
    page = tmp_path / "map.html"
    write_viewer(page, red_wall_on_green_floor())
    dom = browse("--disable-gpu", "--disable-3d-apis", "--dump-dom", page.as_uri())
    assert re.search(r'id="failure" style="display: block', dom)
    assert re.search(r'id="panel" style="display: none', dom)
    working = browse(*SOFTWARE, "--dump-dom", page.as_uri())
    assert not re.search(r'id="failure" style=', working)
    assert "<canvas" in working

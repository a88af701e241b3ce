import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up_run import truth, write_run
from PIL import Image

from spann3r_ros.evaluation.plots import correction_plot
from spann3r_ros.evaluation.protocol import protocol
from spann3r_ros.evaluation.report import write_report
from spann3r_ros.evaluation.scores import Quality, Scores, evaluate_run
from spann3r_ros.evaluation.table import MISSING, as_text, sections
from spann3r_ros.mapping.graph_corrections import EdgeView, GraphView
from spann3r_ros.runs.record import REPLAY

EXACT = protocol("every", max_points=0)


@pytest.fixture
def scores(tmp_path: Path) -> list[Scores]:
    exact = evaluate_run(write_run(tmp_path / "exact", name="exact <model>"), truth(), EXACT)
    noisy = evaluate_run(write_run(tmp_path / "noisy", noise=0.05, name="noisy"), None, EXACT)
    return [exact, noisy]


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what matters."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[bytes] = []
        self.text = ""
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for key, value in attributes:
            if key in ("src", "href"):
                self.references.append(str(value)[:40])
                self.images.append(base64.b64decode(str(value).split(",", 1)[1]))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_one_self_contained_page(scores: list[Scores], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots are an extra: pip install matplotlib")
    page = Page()
    page.feed(write_report(tmp_path / "out", scores, "Two models").read_text())
    assert page.open == []
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    sizes = [Image.open(io.BytesIO(image)).size for image in page.images]
    assert sizes == [(1100, 460), (1100, 340), (1100, 340), *[(640, 480)] * 4, (1100, 340), (1100, 340)]
    for text in ("Two models", "exact <model>", "noisy", "Protocol every", "no ground truth", "F-score", "ATE rmse"):
        assert text in page.text
    for text in ("map.voxel_size", "machine: cpu", "weights: file", "2026-01-01T00:00:00+00:00"):
        assert text in page.text


def test_runs_on_different_recordings_have_plots_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots are an extra: pip install matplotlib")
    runs = [evaluate_run(write_run(tmp_path / name, name=name), truth(), EXACT) for name in ("kitchen", "office")]
    page = Page()
    page.feed(write_report(tmp_path / "out", runs, "t").read_text())
    assert "Trajectory after Sim(3) on kitchen" in page.text and "Trajectory after Sim(3) on office" in page.text


def test_a_path_that_was_corrected_is_shown_before_and_after_and_another_is_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots are an extra: pip install matplotlib")
    runs = []
    for name, drift in (("corrected", 0.05), ("right from the start", 0.0)):
        run = write_run(tmp_path / name, name=name)
        record, path = run.record(), run.camera_path()
        places = {stamp: place for place, stamp in enumerate(record.frames.stamp)}
        for number, stamp in enumerate(path.stamps):
            record.frames.tell(places[int(stamp)], path.positions[number] + [0.0, drift * number, 0.0])
        middles = [path.positions[0], path.positions[-1]]
        record.keep_graph(GraphView(middles, [EdgeView("loop", *middles, True), EdgeView("loop", *middles, False)]))
        record.write(run.path / "run.json")
        runs.append(evaluate_run(run, truth(), EXACT))
    assert correction_plot(runs[0]) and correction_plot(runs[1]) is None
    write_report(tmp_path / "report", runs, "Corrections")
    text = (tmp_path / "report" / "report.html").read_text()
    assert "Path of corrected before and after corrections" in text
    assert "Path of right from the start" not in text


def test_parameters_that_differ_are_marked(scores: list[Scores], tmp_path: Path) -> None:
    text = write_report(tmp_path / "out", scores, "t", with_plots=False).read_text()
    assert "<img" not in text
    (marked,) = re.findall(r'<tr class="different"><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)</td>', text)
    assert marked == ("map.voxel_size", "0.02", "0.021")


def test_json_holds_the_same_numbers(scores: list[Scores], tmp_path: Path) -> None:
    write_report(tmp_path / "out", scores, "t", with_plots=False)
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    first, second = content["runs"]
    assert first["geometry"]["f_score"] == 1.0 and second["geometry"] is None
    assert first["protocol"]["name"] == "every with max_points=0"
    assert second["notes"] == ["no ground truth: trajectory and geometry are not measured"]


def test_terminal_table_has_a_column_a_run(scores: list[Scores]) -> None:
    lines = as_text(scores).splitlines()
    assert lines[0].split() == ["exact", "<model>", "noisy"]
    f_score, _ = [line for line in lines if line.startswith("  F-score  ")]  # of the pixels, of the published map
    assert f_score.split() == ["F-score", "1", MISSING]
    assert lines[-1] == "note, noisy: no ground truth: trajectory and geometry are not measured"
    assert len({len(line) for line in lines if line.startswith("  ")}) == 1


def test_measures_that_nobody_has_are_left_out(scores: list[Scores]) -> None:
    titles = [part.title for part in sections(scores[1:])]
    assert titles == ["Run"]
    labels = [row.label for part in sections(scores) for row in part.rows]
    assert "peak GPU memory [MB]" not in labels and "" not in labels
    assert np.all([len(row.values) == 2 for part in sections(scores) for row in part.rows])


def test_a_replays_memory_is_unknown_and_what_the_node_owes_is_a_row_of_its_own(scores: list[Scores]) -> None:
    record = dataclasses.replace(scores[0].record, mode=REPLAY, peak_memory_bytes=None, owed=1)
    replayed = dataclasses.replace(scores[0], record=record, quality=Quality.of(record))
    rows = {row.label: row.values for part in sections([replayed]) for row in part.rows}
    assert rows["peak memory [MB]"] == ("unknown",)
    assert rows["frames owed at the end"] == ("1",) and rows["frames skipped"] == ("0",)
    assert replayed.as_json()["quality"]["peak_memory_bytes"] is None

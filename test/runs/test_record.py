import json
from pathlib import Path

import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.mapping.graph_corrections import EdgeView, GraphView
from spann3r_ros.runs.record import OFFLINE, OLD_OWED, REPLAY, RunRecord, machine, resident_bytes, versions


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = RunRecord("a", "replay", {"path": "/x"}, 2, {"device": "cpu"}, {"file": "w"}, True)
    record.frames.add(10**18 + 1, None, 1, 12, None)
    record.frames.add(10**18 + 2, 0.25, 1, 24, 5)
    record.frames.tell(1, np.array([1.0, -2.0, 0.25]))
    record.skipped, record.finished = {"why": 3}, True
    edge = EdgeView("loop", np.zeros(3), np.ones(3), False)
    record.keep_graph(GraphView([np.zeros(3)], [edge]))
    assert record.graph is None, "of one submap there is nothing to see"
    record.keep_graph(GraphView([np.zeros(3), np.ones(3)], [edge]))
    record.write(tmp_path / "run.json")
    read = RunRecord.read(tmp_path / "run.json")
    assert read == record and read.frames.posed == [False, True]
    assert (read.frames.told_x, read.frames.told_y, read.frames.told_z) == ([None, 1.0], [None, -2.0], [None, 0.25])
    view = read.graph_view()
    assert [middle.tolist() for middle in view.submaps] == [[0, 0, 0], [1, 1, 1]]
    assert (view.edges[0].kind, view.edges[0].second.tolist(), view.edges[0].holds) == ("loop", [1, 1, 1], False)
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    RunRecord("a", "offline", {}, 1, {}, {}, False).write(path)
    content = json.loads(path.read_text())
    for damaged in ("", "[]", json.dumps({**content, "format": 2}), json.dumps({**content, "extra": 1})):
        path.write_text(damaged)
        with pytest.raises(DataError, match="run record cannot be read"):
            RunRecord.read(path)
    with pytest.raises(DataError):
        RunRecord.read(tmp_path / "missing.json")


def test_a_record_of_before_graphs_and_told_places_is_read(tmp_path: Path) -> None:
    record, path = record_of(OFFLINE, [0.1, 0.2], 1.0), tmp_path / "run.json"
    record.write(path)
    content = json.loads(path.read_text())
    del content["graph"]
    for name in ("scale", "told_x", "told_y", "told_z"):
        del content["frames"][name]
    path.write_text(json.dumps(content))
    assert RunRecord.read(path) == record


@pytest.mark.parametrize(
    "graph",
    [
        [],
        {"submaps": []},
        {"submaps": [[1, 2]], "edges": []},
        {"submaps": [[1, 2, "x"]], "edges": []},
        {"submaps": [], "edges": [{"kind": "loop", "first": [0, 0, 0], "second": [0, 0, 0]}]},
        {"submaps": [], "edges": [{"kind": "loop", "first": [0, 0, 0], "second": [0, 0, 1e400], "holds": True}]},
    ],
)
def test_a_graph_that_is_none_is_refused(graph: object, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record_of(OFFLINE, [0.1], 1.0).write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "graph": graph}))
    with pytest.raises(DataError, match="run record cannot be read"):
        RunRecord.read(path)


def record_of(mode: str, seconds: list[float | None], whole: float) -> RunRecord:
    record = RunRecord("a", mode, {}, 1, {}, {}, False, seconds=whole)
    for number, value in enumerate(seconds):
        record.frames.add(number, value, 0, 0, None)
    return record


def test_the_rate_of_an_offline_run_is_the_models_and_that_of_a_replay_is_the_runs() -> None:
    # Ten frames a second with a latency of a second each: in a replay the latencies overlap.
    assert record_of(REPLAY, [1.0] * 20, 2.0).rate() == pytest.approx(10.0)
    assert record_of(OFFLINE, [0.1, 0.3, None], 5.0).rate() == pytest.approx(5.0)
    assert record_of(OFFLINE, [], 5.0).rate() is None and record_of(REPLAY, [None], 5.0).rate() is None


def test_a_replay_of_the_first_version_is_read_as_it_would_be_written_now(tmp_path: Path) -> None:
    record = RunRecord("a", REPLAY, {}, 1, {}, {}, False, dropped=2)
    record.write(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    del content["owed"]
    content["peak_memory_bytes"] = 0
    for unanswered, expected in ((1, {}), (3, {}), (7, {"without a result": 4})):
        content["skipped"] = {OLD_OWED: unanswered}
        (tmp_path / "run.json").write_text(json.dumps(content))
        read = RunRecord.read(tmp_path / "run.json")
        assert (read.owed, read.skipped, read.peak_memory_bytes) == (1, expected, None)


def test_the_machine_is_described() -> None:
    assert {"python", "numpy", "torch", "cv2", "rosbags", "spann3r_ros"} <= set(versions())
    found = machine()
    assert found["cores"] >= 1 and found["memory_bytes"] > 10**8 and found["cpu"]
    assert (resident_bytes() or 0) > 10**7

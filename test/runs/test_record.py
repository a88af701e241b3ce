import json
from pathlib import Path

import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.runs.record import RunRecord, machine, resident_bytes, versions


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = RunRecord("a", "replay", {"path": "/x"}, 2, {"device": "cpu"}, {"file": "w"}, True)
    record.frames.add(10**18 + 1, None, 1, 12, None)
    record.frames.add(10**18 + 2, 0.25, 1, 24, 5)
    record.skipped, record.finished = {"why": 3}, True
    record.write(tmp_path / "run.json")
    assert RunRecord.read(tmp_path / "run.json") == record
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


def test_the_machine_is_described() -> None:
    assert {"python", "numpy", "torch", "cv2", "rosbags", "spann3r_ros"} <= set(versions())
    found = machine()
    assert found["cores"] >= 1 and found["memory_bytes"] > 10**8 and found["cpu"]
    assert resident_bytes() > 10**7

"""The file of measurements: sections come one by one, and nothing that was there is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.bench_file import BENCH_FILE, read_sections, write_section


def test_sections_come_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / BENCH_FILE
    assert read_sections(path) == {}
    write_section(path, "full_size", {"fp32": {"seconds_per_frame": 4.0}})
    write_section(path, "tokens", [{"tokens": 196, "seconds": 0.001}])
    write_section(path, "full_size", {"bf16": {"seconds_per_frame": 5.0}})
    expected = {"full_size": {"bf16": {"seconds_per_frame": 5.0}}, "tokens": [{"tokens": 196, "seconds": 0.001}]}
    assert json.loads(path.read_text()) == expected == read_sections(path)
    assert list(path.parent.iterdir()) == [path], "no draft is left"


@pytest.mark.parametrize("content", ["[1, 2]", "{", "null", "\xff"])
def test_what_is_no_file_of_measurements_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / BENCH_FILE
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match="no file of measurements") as raised:
        write_section(path, "tokens", [])
    assert "--output" in str(raised.value) and path.read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize("content", [float("nan"), {"a": [float("inf")]}, object()])
def test_what_json_cannot_say_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / BENCH_FILE
    write_section(path, "kept", 1)
    with pytest.raises(DataError, match="section 'tokens'"):
        write_section(path, "tokens", content)
    assert read_sections(path) == {"kept": 1}

"""The suite of kind world: what is measured is kept, judged and written, and what cannot be measured says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.errors import ConfigError
from spann3r_ros.evaluation.suite import extent_of, world_cases
from spann3r_ros.evaluation.world.world_suite import (
    BEGIN,
    CASES,
    END,
    NOT_MEASURED,
    CaseRecord,
    cases_of,
    table,
    with_table,
)

ROOT = Path(__file__).parents[3]
SUITE = ROOT / "config" / "suites" / "world.yaml"


def written(folder: Path, cases: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(f"kind: world\ntitle: Small\ncases: {cases}\n")
    return path


def test_the_suite_that_ships_names_every_case_with_its_own_defaults() -> None:
    cases = world_cases(SUITE)
    assert cases is not None and [case.NAME for case in cases] == list(CASES)
    assert cases == [CASES[case.NAME]() for case in cases]
    assert extent_of(SUITE) is None
    assert world_cases(ROOT / "config" / "suites" / "apartment.yaml") is None


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ("{}", "cases of the suite"),
        ("{long: {}}", "case of the suite"),
        ("{long_run: {sees: 3}}", "settings of the case"),
        ("{long_run: {seeds: 0}}", "'seeds' of the case"),
        ("{long_run: {seeds: 1.5}}", "'seeds' of the case"),
        ("{long_run: 3}", "settings of the case"),
    ],
)
def test_a_wrong_suite_is_refused(tmp_path: Path, cases: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        world_cases(written(tmp_path, cases))


def test_a_case_is_measured_once_and_written_into_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = written(tmp_path, "{demo_camera: {frames: 4}, no_scale: {seeds: 1, frames: 4}}")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "mapping.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    command = ["evaluate", "--suite", str(suite), "-o", str(tmp_path / "out"), "--workers", "2"]
    status = main([*command, "--write", str(tmp_path)])
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "demo_camera.json").read_text())
    assert record["settings"] == {"frames": 4} and record["text"].endswith("deg") and record["machine"]
    assert status == (1 if record["grade"] == "missed" else 0)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert record["text"] in text and record["text"] in printed
    assert text.index(record["title"]) < text.index("pure rotation")
    kept = (tmp_path / "out" / "demo_camera.json").stat().st_mtime_ns
    main(command)
    assert (tmp_path / "out" / "demo_camera.json").stat().st_mtime_ns == kept


def test_a_page_without_a_place_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = written(tmp_path, "{demo_camera: {frames: 4}}")
    command = ["evaluate", "--suite", str(suite), "-o", str(tmp_path / "out")]
    assert main([*command, "--write", str(tmp_path)]) == 2
    assert "--write" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["evaluate", "--suite", str(suite), "--ray", "local"]) == 2
    assert main(["evaluate", str(tmp_path), "--write", str(tmp_path)]) == 2
    assert main(["evaluate", "--suite", str(ROOT / "config/suites/embedded.yaml"), "--write", str(tmp_path)]) == 2


def test_a_row_says_what_was_not_measured() -> None:
    (case,) = cases_of({"cases": {"no_scale": None}})
    record = CaseRecord(case.NAME, {}, "a case", "never", "never", "no parameter x", NOT_MEASURED, 1.0, "a machine")
    assert "| not measured: no parameter x |" in record.row()
    assert table([record]).endswith("Measured on a machine.\n")
    with pytest.raises(ValueError, match="no '<!--"):
        with_table("a page without marks", [record])

import json
import os
import sys
from pathlib import Path

import pytest
from miniature_datasets import plain, replica
from wall_network import write_wall_checkpoint

from spann3r_ros.cli.main import main
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.evaluation.suite import Suite, extent_of, run_job, world_cases
from spann3r_ros.models.registry import FAMILIES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "wall.safetensors"
    write_wall_checkpoint(path)
    return path


def write_suite(folder: Path, checkpoint: Path) -> Path:
    plain(folder)
    replica(folder)
    (folder / "suite.yaml").write_text(
        f"""
title: Two by two
protocol: every
sources:
  - mine
  - {{path: office*, every: 2}}
configurations:
  usual: {{checkpoint: {checkpoint}, device: cpu, map.min_confidence: 0.0, tracking.enabled: false}}
  broken: {{checkpoint: {checkpoint}x, device: cpu}}
"""
    )
    return folder / "suite.yaml"


def test_jobs_are_all_pairs(tmp_path: Path, checkpoint: Path) -> None:
    suite = Suite.read(write_suite(tmp_path, checkpoint), tmp_path / "out")
    jobs = suite.jobs(tmp_path / "out", workers=2)
    assert [job.name for job in jobs] == ["usual / mine", "usual / office0", "broken / mine", "broken / office0"]
    assert [job.every for job in jobs] == [0, 2, 0, 2]
    assert jobs[1].folder == tmp_path / "out" / "usual" / "office0"
    assert jobs[0].parameters == {
        "checkpoint": str(checkpoint),
        "device": "cpu",
        "map.min_confidence": 0.0,
        "tracking.enabled": False,
    }
    assert jobs[0].threads == max(1, (os.cpu_count() or 1) // 2)


def test_a_suite_reports_what_worked_and_what_did_not_and_resumes(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = write_suite(tmp_path, checkpoint), tmp_path / "out"
    command = ["evaluate", "--suite", str(suite), "-o", str(out), "--workers", "2", "--no-plots"]
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "failed: broken / mine: there is no file" in printed
    content = json.loads((out / "report.json").read_text())
    assert [run["name"] for run in content["runs"]] == ["usual / mine", "usual / office0"]
    assert [run["quality"]["processed"] for run in content["runs"]] == [3, 2]
    assert len(content["failures"]) == 2
    assert content["summary"]["frames with a pose [%]"] == {"usual": "100 (2)", "broken": "–"}
    assert "broken / office0" in (out / "report.html").read_text()

    # Again: what is finished stays, what was interrupted is made anew.
    kept, redone = (out / "usual" / name / "run.json" for name in ("mine", "office0"))
    before = [path.stat().st_mtime_ns for path in (kept, redone)]
    record = json.loads(redone.read_text())
    redone.write_text(json.dumps({**record, "finished": False}))
    before[1] = redone.stat().st_mtime_ns
    usual = Suite.read(suite, out).jobs(out, workers=2)[:2]
    again = [outcome.scores for outcome in map(run_job, usual)]
    assert kept.stat().st_mtime_ns == before[0] and redone.stat().st_mtime_ns != before[1]
    for scores, first in zip(again, content["runs"], strict=True):
        assert scores is not None
        assert scores.as_json()["trajectory"] == first["trajectory"]
        assert scores.as_json()["geometry"] == first["geometry"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [mine]\nprotocoll: every", "unknown entry.*protocoll"),
        ("sources: [mine]\nprotocol: usual", "protocol of the suite"),
        ("sources: [nothing*]", r"nothing\*"),
        ("sources: [{path: mine, topik: /a}]", "topik"),
        ("sources: [mine, mine]", "two sources of one name.*mine"),
        ("title: empty", "without sources"),
        ("sources: [mine]\nconfigurations: {a: {voxel: 1}}", "unknown parameter"),
        ("sources: [mine]\nconfigurations: {a: {map.voxel_size: -1.0}}", "map.voxel_size"),
        ("sources: [{walk: {size: 3}}]", "walk of a suite.*size"),
        ("- 1", "mapping"),
        ("a: [", "YAML"),
    ],
)
def test_wrong_suites_are_refused(tmp_path: Path, text: str, message: str) -> None:
    plain(tmp_path)
    (tmp_path / "suite.yaml").write_text(text)
    with pytest.raises((ConfigError, DataError), match=message):
        Suite.read(tmp_path / "suite.yaml", tmp_path / "out")


def test_walks_are_rendered_once(tmp_path: Path) -> None:
    walk = "{frames: 2, width: 32, height: 24, rate: 5.0}"
    (tmp_path / "suite.yaml").write_text(f"sources: [{{name: short, walk: {walk}}}]")
    suite = Suite.read(tmp_path / "suite.yaml", tmp_path / "out")
    suite.make_walks()
    metadata = tmp_path / "out" / "recordings" / "short" / "metadata.yaml"
    made = metadata.stat().st_mtime_ns
    suite.make_walks()
    assert metadata.stat().st_mtime_ns == made


def test_every_family_has_a_line_in_the_suite_of_the_families(tmp_path: Path) -> None:
    jobs = Suite.read(ROOT / "config" / "suites" / "families.yaml", tmp_path).jobs(tmp_path, 2)
    assert {job.parameters.get("model", "spann3r") for job in jobs} == set(FAMILIES)
    assert {job.parameters["checkpoint"] for job in jobs} == {"random"}


def test_the_suites_that_ship_can_be_read(tmp_path: Path) -> None:
    assert Suite.read(ROOT / "config" / "suites" / "apartment.yaml", tmp_path).jobs(tmp_path, 1)
    pytest.importorskip("numba", reason="the renderer needs numba")

    extent = extent_of(ROOT / "config" / "suites" / "embedded.yaml")
    assert (extent.clips, extent.walks, extent.frames) == (60, 10, 100)
    shipped = {path.stem for path in (ROOT / "config" / "suites").glob("*.yaml")}
    assert world_cases(ROOT / "config" / "suites" / "world.yaml")
    assert shipped == {"apartment", "embedded", "families", "world"}, "each is read by a test"


def test_ray_that_is_not_installed_is_named(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    suite = write_suite(tmp_path, checkpoint)
    assert main(["evaluate", "--suite", str(suite), "-o", str(tmp_path / "out"), "--ray", "local"]) == 2
    assert "pip install ray" in capsys.readouterr().err

"""docs/models.md says what the registry says."""

from pathlib import Path

import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.models.registry import FAMILIES, official_files
from spann3r_ros.models.speeds import FamilySpeed
from spann3r_ros.models.tables import families_table, networks_table, weights_table, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
SPEEDS = PAGE.with_name("family_speeds.json")


def test_the_page_is_what_the_registry_gives(tmp_path, capsys):
    assert with_tables(PAGE.read_text(), SPEEDS) == PAGE.read_text(), "python -m spann3r_ros models list --write ."
    (tmp_path / "docs").mkdir()
    if SPEEDS.is_file():
        (tmp_path / "docs" / SPEEDS.name).write_text(SPEEDS.read_text())
    (tmp_path / "docs" / "models.md").write_text(PAGE.read_text().replace("| no |", "| yes |"))
    assert main(["models", "list", "--write", str(tmp_path)]) == 0
    assert (tmp_path / "docs" / "models.md").read_text() == PAGE.read_text()
    assert main(["models", "list", "--write", str(tmp_path / "elsewhere")]) == 2
    assert "docs/models.md" in capsys.readouterr().err


def test_every_row_is_there():
    assert families_table().count("\n") == 2 + len(FAMILIES)
    assert weights_table().count("\n") == 2 + len(official_files())
    assert "| `spann3r-v1.01` | spann3r | `spann3r_101.pth` | 2.6 GB | https://drive.google.com/" in weights_table()


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="begin: generated"):
        with_tables("# Models", SPEEDS)


def test_a_network_is_counted_and_its_measurements_stand_beside_it():
    speed = FamilySpeed("dust3r", "fp32", 384, 512, 4, 3.25, 9.0, 2.3, 7, 0.1, "a machine", "2026-01-01")
    (row,) = [line for line in networks_table([speed]).splitlines() if line.startswith("| `dust3r`")]
    assert "| 512 x 384 | 568.8 M |" in row and "fp32, 4 frames of 512 x 384: 3.25 s, 9.0 GB" in row
    (row,) = [line for line in networks_table([speed]).splitlines() if line.startswith("| `spann3r`")]
    assert "| 224 x 224 | 656.3 M | CC BY-NC-SA 4.0 | no | not measured |" in row

"""docs/models.md says what the registry says."""

from pathlib import Path

import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.models.registry import FAMILIES, official_files
from spann3r_ros.models.tables import families_table, weights_table, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_page_is_what_the_registry_gives(tmp_path, capsys):
    assert with_tables(PAGE.read_text()) == PAGE.read_text(), "python -m spann3r_ros models list --write ."
    (tmp_path / "docs").mkdir()
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
        with_tables("# Models")

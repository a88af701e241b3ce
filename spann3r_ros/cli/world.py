"""What ``evaluate --suite config/suites/world.yaml`` shows and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.errors import ConfigError
from spann3r_ros.evaluation.world.case import MISSED, Case
from spann3r_ros.evaluation.world.world_suite import FAILED, CaseRecord, measure_cases, table, with_table
from spann3r_ros.files.atomic import replacing_file

TABLE = "table.md"


def print_world(cases: Sequence[Case], folder: Path, page: Path | None, workers: int) -> int:
    """Measure, print the table, and write it to the folder and into a page; 1 when a case missed or failed."""
    before = _read(page) if page is not None else ""
    records: list[CaseRecord] = []
    for record in tqdm(measure_cases(cases, folder, workers), total=len(cases), unit="case", dynamic_ncols=True):
        records.append(record)
    order = [case.NAME for case in cases]
    records.sort(key=lambda record: order.index(record.name))
    text = table(records)
    with replacing_file(folder / TABLE) as draft:
        draft.write_text(text, encoding="utf-8")
    if page is not None:
        with replacing_file(page) as draft:
            draft.write_text(with_table(before, records), encoding="utf-8")
    print(f"{text}\nfigures: {folder}" + (f"\nwritten: {page}" if page is not None else ""))
    return 1 if any(record.grade in (MISSED, FAILED) for record in records) else 0


def _read(page: Path) -> str:
    """A page, read before hours of measuring; raises ConfigError when it is not there or has no place for the table."""
    try:
        text = page.read_text(encoding="utf-8")
        with_table(text, [])
    except (OSError, ValueError) as error:
        raise ConfigError("--write", got=f"{page}: {error}", expected="the package's folder") from error
    return text

"""report.html, one file that opens offline, and report.json, about one run or several side by side."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from spann3r_ros.evaluation import plots
from spann3r_ros.evaluation.protocol import ALIGNMENTS
from spann3r_ros.evaluation.scores import Scores
from spann3r_ros.evaluation.table import MISSING, Section, sections
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.files.ply import read_ply
from spann3r_ros.runs.record import FILE

HTML, JSON = "report.html", "report.json"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .18rem .9rem .18rem 0; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; font-weight: 400; color: #444; white-space: nowrap; }
.wide { overflow-x: auto; } .wide td { max-width: 22rem; overflow-wrap: anywhere; }
th.part { text-align: left; padding-top: .8rem; color: #1c1e21; font-weight: 600; }
img { max-width: 100%; } .views { display: flex; flex-wrap: wrap; gap: .6rem; } figure { margin: 0; flex: 1 1 45%; }
figcaption { color: #666; font-size: .85rem; } .note { background: #fff6dd; padding: .4rem .8rem; border-radius: 4px; }
details { margin: .5rem 0; } code { font-size: .85rem; overflow-wrap: anywhere; } .different td { background: #eef5ff; }
"""


Summary = tuple[Sequence[str], Section]
"""Names of columns, and rows under them, that come before the scores of the runs."""


def write_report(
    folder: Path,
    runs: Sequence[Scores],
    title: str,
    with_plots: bool = True,
    summary: Summary | None = None,
    failures: Sequence[str] = (),
) -> Path:
    """Write both files; each appears complete.

    Args:
        folder: where; made when missing.
        runs: a column each.
        title: heading.
        with_plots: whether pictures are drawn (needs matplotlib).
        summary: of a suite.
        failures: what could not be run, and why.

    Returns:
        Path of the HTML file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"title": title, "runs": [run.as_json() for run in runs], "failures": list(failures)}
    if summary is not None:
        names, section = summary
        content["summary"] = {row.label: dict(zip(names, row.values, strict=True)) for row in section.rows}
    with replacing_file(folder / JSON) as draft:
        draft.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with replacing_file(folder / HTML) as draft:
        draft.write_text(as_html(runs, title, with_plots, summary, failures), encoding="utf-8")
    return folder / HTML


def as_html(
    runs: Sequence[Scores],
    title: str,
    with_plots: bool = True,
    summary: Summary | None = None,
    failures: Sequence[str] = (),
) -> str:
    """The whole page; pictures are inside it."""
    parts = [f"<h1>{escape(title)}</h1>", _what(runs)]
    notes = [(run.record.name, note) for run in runs for note in run.notes]
    parts += [f'<p class="note">{escape(name)}: {escape(note)}</p>' for name, note in notes]
    parts += [f'<p class="note">failed: {escape(failure)}</p>' for failure in failures]
    if summary is not None:
        parts += ["<h2>Summary</h2>", _scores_table([summary[1]], summary[0])]
    parts += ["<h2>Scores</h2>", _scores_table(sections(runs), [run.record.name for run in runs])]
    if with_plots:
        parts += _pictures(runs)
    parts += ["<h2>Parameters</h2>", _parameters(runs), "<h2>How it was made</h2>", *map(_origin, runs)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _what(runs: Sequence[Scores]) -> str:
    """Which protocols were followed."""
    lines = []
    for protocol in {run.protocol.name: run.protocol for run in runs}.values():
        alignment = ALIGNMENTS.get(protocol.alignment, protocol.alignment)
        lines.append(
            f"<p>Protocol <b>{escape(protocol.name)}</b>: {escape(protocol.summary)}. "
            f"Alignment of the clouds: {escape(alignment)}.</p>"
        )
    return "\n".join(lines)


def _scores_table(parts: Sequence[Section], names: Sequence[str]) -> str:
    """All measures, a column for each run."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    rows = [f"<tr>{head}</tr>"]
    for part in parts:
        rows.append(f'<tr><th class="part" colspan="{len(names) + 1}">{escape(part.title)}</th></tr>')
        for row in part.rows:
            cells = "".join(f"<td>{escape(value)}</td>" for value in (row.label, *row.values))
            rows.append(f"<tr>{cells}</tr>")
    return '<div class="wide"><table>' + "\n".join(rows) + "</table></div>"


def _pictures(runs: Sequence[Scores]) -> list[str]:
    """Every picture for which there is something to draw."""
    parts = []
    groups = _by_truth(runs)
    for source, group in groups.items():
        about = f" on {source}" if len(groups) > 1 else ""
        drawn = (
            (f"Trajectory after Sim(3){about}", plots.trajectory_plot(group)),
            (f"Position error over time{about}", plots.error_plot(group)),
        )
        parts += [f"<h2>{escape(title)}</h2>{_image(png, title)}" for title, png in drawn if png]
    confidence = plots.confidence_plot(runs)
    if confidence:
        parts.append(f"<h2>Confidence of every frame</h2>{_image(confidence, 'confidence')}")
    for run in runs:
        if run.folder is None or not (run.folder / "map.ply").exists():
            continue
        views = plots.map_views(read_ply(run.folder / "map.ply"))
        figures = [
            f"<figure>{_image(png, name)}<figcaption>{escape(name)}</figcaption></figure>" for name, png in views
        ]
        if figures:
            parts.append(f'<h2>Map of {escape(run.record.name)}</h2><div class="views">{"".join(figures)}</div>')
    for run in runs:
        corrected = plots.correction_plot(run)
        if corrected:
            title = f"Path of {run.record.name} before and after corrections"
            parts.append(f"<h2>{escape(title)}</h2>{_image(corrected, title)}")
    late = (
        ("Scale over time", plots.scale_plot(runs)),
        ("Time per frame", plots.latency_plot(runs)),
        ("Memory over time", plots.memory_plot(runs)),
    )
    return parts + [f"<h2>{title}</h2>{_image(png, title)}" for title, png in late if png]


def _by_truth(runs: Sequence[Scores]) -> dict[str, list[Scores]]:
    """Runs that have the same true path, by the name of their source."""
    groups: dict[tuple[str, str], list[Scores]] = {}
    for run in runs:
        # A bare trajectory file is its own source; the truth it is compared with tells what it is about.
        path = "" if run.record.mode == FILE else str(run.record.source.get("path", ""))
        groups.setdefault((run.truth, path), []).append(run)
    named: dict[str, list[Scores]] = {}
    for number, group in enumerate(groups.values()):
        name = str(group[0].record.source.get("name", ""))
        named[name if name not in named else f"{name} ({number})"] = group
    return named


def _image(png: bytes, text: str) -> str:
    """A picture inside the page."""
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _parameters(runs: Sequence[Scores]) -> str:
    """All parameters; those in which runs differ are marked."""
    names = list(dict.fromkeys(name for run in runs for name in run.record.parameters))
    rows = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in ("", *(run.record.name for run in runs))) + "</tr>"]
    for name in names:
        values = [str(run.record.parameters.get(name, MISSING)) or "(empty)" for run in runs]
        kind = ' class="different"' if len(set(values)) > 1 else ""
        rows.append(f"<tr{kind}>" + "".join(f"<td>{escape(text)}</td>" for text in (name, *values)) + "</tr>")
    table = '<div class="wide"><table>' + "\n".join(rows) + "</table></div>"
    return f"<details open><summary>{len(names)} parameters</summary>{table}</details>"


def _origin(run: Scores) -> str:
    """Source, weights, versions and machine of one run."""
    record = run.record
    facts = {
        "mode": record.mode,
        "started": record.started,
        "metric": record.metric,
        "scale source": record.scale_source or MISSING,
        **{f"source: {key}": value for key, value in record.source.items()},
        **{f"weights: {key}": value for key, value in record.weights.items()},
        **{f"version: {key}": value for key, value in record.versions.items()},
        **{f"machine: {key}": value for key, value in record.machine.items()},
        **{f"skipped: {key}": value for key, value in record.skipped.items()},
    }
    rows = "\n".join(
        f"<tr><td>{escape(key)}</td><td><code>{escape(str(value))}</code></td></tr>" for key, value in facts.items()
    )
    return f"<details open><summary>{escape(record.name)}</summary><table>{rows}</table></details>"

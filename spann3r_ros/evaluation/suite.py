"""Many recordings x many configurations, in parallel processes, resumable, into one report.

A suite is a YAML file; docs/evaluation.md describes it. Results lie in ``OUTPUT/<configuration>/<source>/``. A job
whose run is finished and was made the same way is only evaluated again; every other run is made again.
"""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spann3r_ros.config import Config, from_mapping, to_mapping
from spann3r_ros.errors import ConfigError, DataError, Spann3rError
from spann3r_ros.evaluation.protocol import PROTOCOLS, protocol
from spann3r_ros.evaluation.scores import Scores, evaluate_run
from spann3r_ros.evaluation.table import Row, Section
from spann3r_ros.recordings import structured
from spann3r_ros.recordings.source import SourceOptions, open_source
from spann3r_ros.runs.chosen_model import groups_for
from spann3r_ros.runs.folder import RECORD, OptionalFiles, RunFolder
from spann3r_ros.runs.record import RunRecord
from spann3r_ros.runs.source_truth import source_truth

WALK_KEYS = {"scene", "frames", "rate", "seed", "style", "width", "height", "depth", "compressed"}
MEANS: tuple[tuple[str, Callable[[Scores], float | None]], ...] = (
    ("ATE rmse after Sim(3)", lambda s: s.sim3.ate.rmse if s.sim3 else None),
    ("ATE rmse / path [%]", lambda s: None if s.ate_over_path is None else 100 * s.ate_over_path),
    ("pointmap error after Sim(3) [%]", lambda s: 100 * s.pointmaps.sim3_mean if s.pointmaps else None),
    ("accuracy mean", lambda s: s.geometry.accuracy_mean if s.geometry else None),
    ("completion mean", lambda s: s.geometry.completion_mean if s.geometry else None),
    ("chamfer", lambda s: s.geometry.chamfer if s.geometry else None),
    ("F-score", lambda s: s.geometry.f_score if s.geometry else None),
    ("map: accuracy mean", lambda s: s.map_geometry.accuracy_mean if s.map_geometry else None),
    ("map: completion mean", lambda s: s.map_geometry.completion_mean if s.map_geometry else None),
    ("map: F-score", lambda s: s.map_geometry.f_score if s.map_geometry else None),
    ("frames with a pose [%]", lambda s: 100 * s.quality.coverage),
    ("frames/s", lambda s: s.quality.frames_per_second),
)
"""What is averaged over the sources of each configuration."""


if TYPE_CHECKING:
    from spann3r_ros.evaluation.shipped_model import Extent
    from spann3r_ros.evaluation.world.case import Case

EMBEDDED = "embedded"
"""Kind of the suite that is the table of the model that ships."""

WORLD = "world"
"""Kind of the suite that measures a world of many submaps."""


@dataclass(frozen=True)
class Job:
    """One configuration on one source.

    Attributes:
        configuration, recording: their names in the suite.
        folder: of the run.
        source: what is read, and how.
        parameters: dotted names and values that differ from the defaults.
        protocol: name of the protocol.
        every: only every N-th frame; 0: as the protocol says.
        limit: most frames; 0: all.
        max_gap: nanoseconds between estimate and truth.
        threads: of the network on the CPU.
    """

    configuration: str
    recording: str
    folder: Path
    source: SourceOptions
    parameters: Mapping[str, Any]
    protocol: str
    every: int
    limit: int
    max_gap: int
    threads: int

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.configuration} / {self.recording}"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its scores, or the reason why there are none."""

    job: Job
    scores: Scores | None
    failure: str = ""


@dataclass
class Suite:
    """A suite file, read.

    Attributes:
        title: heading of the report.
        protocol, max_gap, limit: of every job.
        sources: by name.
        walks: synthetic recordings that are made first, by name: fields of ``synthetic.recording.Recording``.
        every: by name of the source.
        configurations: parameters by name.
    """

    title: str
    protocol: str
    max_gap: int
    limit: int
    sources: dict[str, SourceOptions] = field(default_factory=dict)
    walks: dict[str, dict[str, Any]] = field(default_factory=dict)
    every: dict[str, int] = field(default_factory=dict)
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, output: Path) -> Suite:
        """A suite file; synthetic recordings will lie in ``output/recordings``.

        Raises:
            ConfigError: an entry that is missing, unknown or wrong; parameters are checked, too.
            DataError: a file that cannot be read, or a source path that matches nothing.
        """
        content = read_yaml(path)
        if isinstance(content, dict) and EMBEDDED in content:
            raise ConfigError(
                "entry 'embedded' of the suite",
                got=content[EMBEDDED],
                expected="kind: embedded, and clips, walks and frames beside it",
            )
        check_keys("suite", content, {"title", "protocol", "max_gap", "limit", "sources", "configurations"})
        if content.get("protocol", "every") not in PROTOCOLS:
            raise ConfigError("protocol of the suite", got=content["protocol"], expected=" | ".join(PROTOCOLS))
        suite = cls(
            str(content.get("title", path.stem)),
            str(content.get("protocol", "every")),
            round(float(content.get("max_gap", 0.01)) * 1e9),
            int(content.get("limit", 0)),
        )
        for entry in content.get("sources") or []:
            suite._add_source(entry, path.parent, output)
        for name, parameters in (content.get("configurations") or {"default": {}}).items():
            config = from_mapping(Config, parameters or {}, groups_for(parameters or {}))
            suite.configurations[str(name)] = _changed(config)
        if not suite.sources:
            raise ConfigError("suite without sources", got=str(path), expected="a list of paths or walks")
        return suite

    def _add_source(self, entry: Any, base: Path, output: Path) -> None:
        """One entry of the list of sources: a path, possibly with wildcards, or a synthetic walk."""
        entry = {"path": entry} if isinstance(entry, str) else entry
        options = {"layout", "topic", "camera_info", "pose_topic", "depth_topic", "stamp"}
        check_keys("source", entry, {"path", "walk", "name", "every", *options})
        known = {key: str(value) for key, value in entry.items() if key in options}
        if "walk" in entry:
            check_keys("walk", entry["walk"], WALK_KEYS)
            name = str(entry.get("name", f"walk{len(self.walks)}"))
            self.walks[name] = dict(entry["walk"])
            found = {name: output / "recordings" / name}
        else:
            pattern = str(entry.get("path", ""))
            paths = sorted(base.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]
            if not pattern or not paths:
                raise DataError("source of the suite", got=pattern or entry, expected=f"a path below {base}")
            single = str(entry["name"]) if "name" in entry and len(paths) == 1 else None
            found = {single or p.name: p for p in paths}
        for name, path in found.items():
            if name in self.sources:
                raise ConfigError("two sources of one name", got=name, next_step="Give each a 'name'")
            self.sources[name] = SourceOptions(path, **known)
            self.every[name] = int(entry.get("every", 0))

    def jobs(self, output: Path, workers: int) -> list[Job]:
        """Every configuration on every source."""
        threads = max(1, (os.cpu_count() or 1) // workers)
        return [
            Job(
                configuration,
                name,
                output / configuration / name,
                source,
                parameters,
                self.protocol,
                self.every[name],
                self.limit,
                self.max_gap,
                threads,
            )
            for configuration, parameters in self.configurations.items()
            for name, source in self.sources.items()
        ]

    def make_walks(self) -> None:
        """Render the synthetic recordings that do not exist yet."""
        for name, fields in self.walks.items():
            path = self.sources[name].path
            if not (path / "metadata.yaml").exists():
                shutil.rmtree(path, ignore_errors=True)
                record_walk(fields, path)


def record_walk(fields: Mapping[str, Any], path: Path) -> None:
    """A walk through a synthetic scene as a bag; raises ConfigError for fields out of range."""
    from spann3r_ros.synthetic.named_scene import scene_named
    from spann3r_ros.synthetic.recording import Recording

    fields = dict(fields)
    scene = scene_named(str(fields.pop("scene", "apartment")))
    for _ in Recording(scene, **{"depth": "16UC1", **fields}).write(path):
        pass


def run_job(job: Job) -> Outcome:
    """Reconstruct unless that is done, and evaluate; an error that a user can act on becomes the outcome."""
    import torch

    torch.set_num_threads(job.threads)
    try:
        sequence = open_source(job.source)
        rules = protocol(job.protocol)
        every = job.every or rules.stride(sequence.layout)
        config = from_mapping(Config, job.parameters, groups_for(job.parameters))
        if not _is_done(job, config, every):
            from spann3r_ros.runs.chosen_model import reconstruction_for
            from spann3r_ros.runs.offline import OfflineRun

            shutil.rmtree(job.folder, ignore_errors=True)
            OfflineRun(
                sequence,
                reconstruction_for(sequence, config),
                job.folder,
                OptionalFiles(pointmaps=True),
                name=job.name,
                every=every,
                limit=job.limit,
            ).run()
        folder = RunFolder(job.folder)
        return Outcome(job, evaluate_run(folder, source_truth(folder.record()), rules, job.max_gap))
    except Spann3rError as error:
        return Outcome(job, None, str(error))


def run_local(jobs: list[Job], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come, from at most ``workers`` processes at a time."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = {pool.submit(run_job, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                error = future.exception()
                job = waiting[future]
                yield Outcome(job, None, f"the process failed: {error!r}") if error else future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_on_ray(jobs: list[Job], address: str) -> Iterator[Outcome]:
    """The same on a Ray cluster; it must see the same paths. Raises DataError where ray is not installed."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise DataError("Ray is not installed", next_step="pip install ray, or leave out --ray") from error
    ray.init(address=None if address == "local" else address, log_to_driver=False)
    try:
        remote = ray.remote(run_job)
        waiting = {remote.options(num_cpus=job.threads).remote(job): job for job in jobs}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                yield Outcome(job, None, f"the task failed: {error}")
    finally:
        ray.shutdown()


def averages(outcomes: list[Outcome]) -> tuple[list[str], Section]:
    """Names of the configurations, and the mean of each measure over the sources that have it."""
    names = list(dict.fromkeys(outcome.job.configuration for outcome in outcomes))
    rows = []
    for label, measure in MEANS:
        cells = []
        for name in names:
            mine = [o.scores for o in outcomes if o.scores and o.job.configuration == name]
            values = [value for scores in mine if (value := measure(scores)) is not None and np.isfinite(value)]
            cells.append(f"{np.mean(values):.4g} ({len(values)})" if values else "–")
        rows.append(Row(label, tuple(cells)))
    return names, Section("Mean over the sources (how many)", tuple(rows))


def _is_done(job: Job, config: Config, every: int) -> bool:
    """Whether the folder holds a finished run of this very job."""
    try:
        record = RunRecord.read(job.folder / RECORD)
    except DataError:
        return False
    same = record.parameters == to_mapping(config) and record.every == every
    same_source = record.source["path"] == str(job.source.path.resolve())
    same_length = record.offered == job.limit if job.limit and record.offered >= job.limit else True
    return record.finished and same and same_source and same_length


def _changed(config: Config) -> dict[str, Any]:
    """Parameters that differ from their defaults."""
    defaults = to_mapping(from_mapping(Config, {}, groups_for({"model": config.model})))
    return {name: value for name, value in to_mapping(config).items() if value != defaults[name]}


def read_yaml(path: Path) -> Any:
    """What a suite file holds; raises DataError for one that cannot be read."""
    try:
        return structured.read_yaml(path)
    except DataError as error:
        raise DataError("suite file", got=error, expected="a YAML file") from error


def extent_of(path: Path) -> Extent | None:
    """How much a suite of ``kind: embedded`` measures of the model that ships, or None for a suite of recordings.

    Raises:
        ConfigError: an unknown kind or entry, or an extent out of range.
        DataError: a file that cannot be read.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or content.get("kind", WORLD) == WORLD:
        return None
    from spann3r_ros.evaluation.shipped_model import Extent  # which needs the renderer

    if content["kind"] != EMBEDDED:
        raise ConfigError(
            "kind of the suite", got=content["kind"], expected=f"{EMBEDDED} | {WORLD}, or none for recordings"
        )
    names = {entry.name for entry in dataclasses.fields(Extent)}
    check_keys("suite", content, {"kind", "title", *names})
    try:
        return Extent(**{name: int(content[name]) for name in names & content.keys()})
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("clips, walks and frames of the suite", got=error, expected="whole numbers") from error


def world_cases(path: Path) -> list[Case] | None:
    """The cases of a suite of ``kind: world``, or None for another suite.

    Raises:
        ConfigError: an unknown entry, case or setting.
        DataError: a file that cannot be read.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or content.get("kind") != WORLD:
        return None
    from spann3r_ros.evaluation.world.world_suite import cases_of  # which needs the renderer

    check_keys("suite", content, {"kind", "title", "cases"})
    return cases_of(content)


def check_keys(what: str, content: Any, known: set[str]) -> None:
    """Raises ConfigError for anything but a mapping of known keys."""
    if not isinstance(content, dict):
        raise ConfigError(f"{what} of a suite", got=type(content).__name__, expected="a mapping")
    unknown = set(content) - known
    if unknown:
        raise ConfigError(f"{what} of a suite: unknown entry", got=sorted(unknown), expected=", ".join(sorted(known)))

"""What the commands that make a run show while it lasts and when it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.runs.record import RunRecord
from spann3r_ros.runs.unordered_run import UnorderedRun


def run_with_progress(job: OfflineRun) -> RunRecord:
    """Run under a bar with rate and time left; Ctrl-C ends it after the current frame."""
    with interruptible() as interrupted, tqdm(total=job.expected, unit="frame", dynamic_ncols=True) as bar:

        def show(record: RunRecord) -> None:
            bar.set_postfix_str(f"{record.frames.tokens[-1] if record.frames.tokens else 0} tokens", refresh=False)
            bar.update()

        return job.run(show, lambda: bool(interrupted))


def run_unordered_with_progress(job: UnorderedRun) -> RunRecord:
    """Run under a bar of decodings and iterations; Ctrl-C ends it without a result."""
    with interruptible() as interrupted, tqdm(total=job.steps, unit=job.unit, dynamic_ncols=True) as bar:
        return job.run(stop=lambda: bool(interrupted), stepped=lambda: bar.update() and None)


INCOMPLETE = 3
"""Exit status when frames were promised and not delivered."""


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that gets an entry at Ctrl-C instead of an exception in the middle of a frame; a second one raises."""
    signals: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


def status(record: RunRecord) -> int:
    """Exit status of a run: 0, 3 when the source did not deliver all frames that it promised, 130 after Ctrl-C."""
    if not record.finished:
        return 130
    return INCOMPLETE if record.missing else 0


def summary(record: RunRecord, folder: Path) -> str:
    """What was done, in a few lines."""
    frames, rate = record.frames, record.rate()
    lines = [
        f"{len(frames)} frames{'' if rate is None else f' at {rate:.2f} frames/s'}, "
        f"{sum(frames.posed)} with a pose, {record.points} points in {folder}"
        + ("" if record.finished else " (ended early)")
    ]
    if record.scale_source not in ("", "model") and frames.scale[-1] is not None:
        lines.append(f"metric by {record.scale_source}: one unit of the network is {frames.scale[-1]} m")
    lines += [f"left out: {count} x {reason}" for reason, count in record.skipped.items()]
    if record.missing:
        lines.append(f"incomplete: the source promised {record.missing} more frames that could not be read")
    if record.owed:
        lines.append(f"left out: {record.owed} x without a result (the node owes the last image's)")
    if record.order:
        lines.append(f"order of the images: {', '.join(map(str, record.order))}")
    return "\n".join(lines)

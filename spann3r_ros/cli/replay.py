"""``replay``: plays a bag into a running node over DDS and keeps what the node makes of it."""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from spann3r_ros.cli.reconstruct import interruptible, summary
from spann3r_ros.cli.source import positive
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.recordings.bag_reader import RawMessage, header_stamp
from spann3r_ros.recordings.bag_sequence import BagSequence, load
from spann3r_ros.runs.folder import RunFolder, StoredPointmap
from spann3r_ros.runs.record import RunRecord

if TYPE_CHECKING:
    from spann3r_ros.ros.replay.bag_player import BagPlayer
    from spann3r_ros.ros.replay.result_recorder import ResultRecorder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder or file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    parser.add_argument("--node", default="/spann3r", metavar="NAME", help="the running node (/spann3r)")
    parser.add_argument("--topic", help="image topic of the bag; needed when it has several")
    parser.add_argument(
        "--remap", action="append", default=[], metavar="FROM:=TO", help="topic of the bag:=topic to play on"
    )
    parser.add_argument("--rate", type=float, default=1.0, metavar="FACTOR", help="times the recorded speed (1)")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="as fast as the node takes images, none lost; the node needs queue_policy all",
    )
    parser.add_argument(
        "--pointmaps",
        action="store_true",
        help="keep every frame's ~/cloud for `evaluate`; the node needs cloud pointmap",
    )
    parser.add_argument("--no-clock", action="store_true", help="do not publish /clock")
    parser.add_argument("--limit", type=positive, default=0, metavar="N", help="stop after N images")
    parser.add_argument("--patience", type=float, default=10.0, metavar="S", help="seconds to wait for the node (10)")


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0, or 130 when Ctrl-C ended it early; what came until then is on disk either way."""
    if not arguments.rate > 0:
        raise ConfigError("--rate", got=arguments.rate, expected="> 0")
    remap = dict(_remapping(text) for text in arguments.remap)
    sequence = load(arguments.bag, topic=arguments.topic)
    folder = RunFolder(arguments.output)
    folder.create()
    with _ros_node() as node, interruptible() as interrupted:
        from spann3r_ros.ros.replay.bag_player import BagPlayer
        from spann3r_ros.ros.replay.result_recorder import ResultRecorder

        recorder = ResultRecorder(node, arguments.node, clouds=arguments.pointmaps)
        topics = [(topic.name, topic.type) for topic in sequence.reader.topics.values() if topic.name != "/clock"]
        player = BagPlayer(node, topics, remap, clock=not arguments.no_clock)
        recorder.synchronize(arguments.patience)
        replay = Replay(sequence, player, recorder, arguments)
        replay.play(lambda: bool(interrupted))
        record = replay.record()
    if arguments.pointmaps:
        store_pointmaps(folder, recorder, sequence)
    folder.finish(recorder.cloud(), [recorder.poses[stamp] for stamp in sorted(recorder.poses)], record)
    print(summary(record, arguments.output))
    return 0 if record.finished else 130


def store_pointmaps(folder: RunFolder, recorder: ResultRecorder, sequence: BagSequence) -> None:
    """The node's organized clouds as pointmaps, with what evaluation must know of their images."""
    for frame in sequence.frames():
        found = recorder.pointmap(frame.stamp)
        if found is None:
            continue
        cloud, (height, width) = found
        folder.add_pointmap(
            StoredPointmap(
                frame.index,
                frame.stamp,
                cloud.points.reshape(height, width, 3),
                cloud.confidence.reshape(height, width),
                cloud.colors.reshape(height, width, 3),
                (frame.image.shape[1], frame.image.shape[0]),
                frame.intrinsics,
            )
        )


class Replay:
    """One pass over a bag.

    Args:
        sequence: the bag's images.
        player: sends messages.
        recorder: receives the node's results.
        options: rate, wait, limit, patience and node of the command line.
    """

    def __init__(
        self, sequence: BagSequence, player: BagPlayer, recorder: ResultRecorder, options: argparse.Namespace
    ) -> None:
        self._sequence, self._player, self._recorder, self._options = sequence, player, recorder, options
        self._sent: dict[int, float] = {}
        self._finished = False
        self._late = 0
        self._seconds = 0.0
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def play(self, stop: Callable[[], bool]) -> None:
        """Send everything, then wait for the last results and the map that holds them."""
        options, reader = self._options, self._sequence.reader
        total = min(options.limit or self._sequence.count(), self._sequence.count())
        began = first = None
        with tqdm(total=total, unit="image", dynamic_ncols=True) as bar:
            for message in reader.raw([]):
                if stop() or len(self._sent) >= total:
                    break
                if began is None or first is None:
                    self._player.tick(message.time)
                    self._player.wait_for_subscriber(self._sequence.topic, options.patience)
                    began, first = time.monotonic(), message.time
                is_image = message.topic.name == self._sequence.topic
                if not options.wait:
                    self._sleep_until(began + (message.time - first) / 1e9 / options.rate, message.time, first)
                elif is_image:
                    self._wait_for_node(stop)
                self._send(message, is_image)
                bar.update(is_image)
            self._finished = not stop()
        self._settle()
        self._seconds = time.monotonic() - (began or time.monotonic())

    def record(self) -> RunRecord:
        """What happened, frame by frame."""
        recorder, sequence = self._recorder, self._sequence
        status = recorder.statuses[-1][1] if recorder.statuses else None
        source = {
            "path": str(sequence.path.resolve()),
            "layout": sequence.layout,
            "name": sequence.name,
            "unit": sequence.unit,
            "topic": sequence.topic,
            "rate": "as the node takes them" if self._options.wait else self._options.rate,
        }
        record = RunRecord(
            name=f"{sequence.name} replayed",
            mode="replay",
            source=source,
            every=1,
            parameters=recorder.parameters(self._options.patience),
            weights={"description": status.weights if status else "unknown"},
            metric=bool(status and status.metric),
            started=self._started,
            offered=len(self._sent),
            dropped=int(status.frames_dropped) if status else 0,
            resets=recorder.resets,
            seconds=self._seconds,
            finished=self._finished,
        )
        if status is not None and status.frames_failed:
            record.skipped["refused by the node"] = int(status.frames_failed)
        missing = len(self._sent.keys() - recorder.results.keys())
        if missing:
            record.skipped["without a result (the node owes the last image's)"] = missing
        for stamp, sent in self._sent.items():
            result = recorder.results.get(stamp)
            if result is None:
                continue
            memory = self._memory_at(result.arrival)
            record.frames.add(stamp, result.arrival - sent, memory[0], memory[1], None)
            record.frames.confidence[-1] = round(result.confidence, 6)
            record.frames.posed[-1] = stamp in recorder.poses
        return record

    def _send(self, message: RawMessage, is_image: bool) -> None:
        """One message of the bag."""
        if is_image:
            self._sent[header_stamp(message)] = time.monotonic()
        self._player.publish(message.topic.name, message.time, message.data)

    def _sleep_until(self, due: float, recorded: int, first: int) -> None:
        """Keep the pace; recorded time goes on on /clock while we sleep."""
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.01))
            self._player.tick(max(first, recorded - round((due - time.monotonic()) * 1e9 * self._options.rate)))

    def _wait_for_node(self, stop: Callable[[], bool]) -> None:
        """Return when the node has worked on all images but at most the last one.

        A refined result comes with the next image, so that of the last but one proves that the last one was taken.
        """
        from spann3r_ros.ros.replay.result_recorder import wait_for

        stamps, recorder = list(self._sent), self._recorder
        if not stamps:
            return
        if len(stamps) == 1:
            # No result can prove that the first image was taken: the status does.
            wait_for(lambda: recorder.took(stamps[0]) or stop(), self._options.patience, self._player.tick_if_idle)
            return
        awaited = stamps[-2]
        came = wait_for(
            lambda: awaited in recorder.results or stop(), self._options.patience, self._player.tick_if_idle
        )
        if not came:
            self._late += 1
            if self._late == 3:
                raise DataError(
                    "the node gives no results",
                    got=f"none for three images within {self._options.patience:g} s each",
                    next_step="Look at the node's log; raise --patience on a slow machine",
                )

    def _settle(self) -> None:
        """Wait until no more results come, and for a map that is as new as they are."""
        from spann3r_ros.ros.replay.result_recorder import wait_for

        recorder, patience, tick = self._recorder, self._options.patience, self._player.tick_if_idle
        owed = list(self._sent)[:-1]
        wait_for(lambda: all(stamp in recorder.results for stamp in owed), patience, tick)
        newest = max(recorder.results, default=-1)
        wait_for(lambda: recorder.map_stamp() >= newest, patience, tick)
        known = len(recorder.statuses)
        wait_for(lambda: len(recorder.statuses) > known, min(patience, 3.0), tick)

    def _memory_at(self, arrival: float) -> tuple[int, int]:
        """Frames refused by the memory so far and tokens in it, by the last status before ``arrival``."""
        statuses = self._recorder.statuses
        place = int(np.searchsorted([when for when, _ in statuses], arrival)) - 1
        if place < 0:
            return 0, 0
        memory = statuses[place][1].memory
        return int(memory.rejected), int(memory.tokens)


@contextmanager
def _ros_node() -> Iterator[Any]:
    """A node that spins in the background; raises ConfigError where ROS 2 or our messages are not installed."""
    try:
        import rclpy
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        import spann3r_ros.msg  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "replay needs ROS 2 and the package's messages",
            got=error,
            next_step="Source your workspace or run `make setup`; `reconstruct` reads bags without ROS",
        ) from error
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C must still let us collect the results
    node = rclpy.create_node("spann3r_replay")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()
        rclpy.try_shutdown()


def _remapping(text: str) -> tuple[str, str]:
    """``FROM:=TO``."""
    source, separator, target = text.partition(":=")
    if not (source and separator and target):
        raise ConfigError("--remap", got=text, expected="FROM:=TO")
    return source, target

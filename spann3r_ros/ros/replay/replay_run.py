"""One pass of a bag through a running node, into a run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

import numpy as np
from rclpy.node import Node

from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.recordings.bag_reader import NOT_LATER
from spann3r_ros.recordings.bag_sequence import BagSequence
from spann3r_ros.recordings.mapper_results import MapperResults
from spann3r_ros.recordings.raw_message import RawMessage, header_stamp
from spann3r_ros.ros.replay.bag_player import BagPlayer
from spann3r_ros.ros.replay.result_recorder import ResultRecorder, wait_for
from spann3r_ros.runs.folder import RunFolder, StoredPointmap
from spann3r_ros.runs.record import NOT_TRUSTED, REPLAY, WITHOUT_RESULT, RunRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplayOptions:
    """How a bag is played.

    Attributes:
        node: name of the running node.
        remap: other names for topics of the bag.
        rate: times the recorded speed.
        wait: as fast as the node takes images, whatever ``rate`` says.
        clock: whether recorded time goes out on /clock.
        limit: most images; 0: all.
        pointmaps: keep every frame's ~/cloud.
        patience: seconds to wait for the node.

    Raises:
        ConfigError: a rate that is not positive.
    """

    node: str = "/spann3r"
    remap: Mapping[str, str] = field(default_factory=dict)
    rate: float = 1.0
    wait: bool = False
    clock: bool = True
    limit: int = 0
    pointmaps: bool = False
    patience: float = 10.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ConfigError("--rate", got=self.rate, expected="> 0")


class ReplayRun:
    """One pass over a bag.

    Args:
        sequence: the bag's images.
        node: which publishes and subscribes; somebody else spins it.
        folder: where the results go; it exists already.
        options: how.

    Attributes:
        expected: images to come.
    """

    def __init__(self, sequence: BagSequence, node: Node, folder: RunFolder, options: ReplayOptions) -> None:
        self._sequence, self._folder, self._options = sequence, folder, options
        self._recorder = ResultRecorder(node, options.node, clouds=options.pointmaps)
        self._results = MapperResults(sequence.reader, options.node, (), options.remap)
        topics = [
            (topic.name, topic.type)
            for topic in sequence.reader.topics.values()
            if topic.name != "/clock" and not self._results.is_result(topic.name)
        ]
        self._player = BagPlayer(node, topics, options.remap, clock=options.clock)
        self.expected = min(options.limit or sequence.count(), sequence.count())
        self._sent: dict[int, float] = {}
        self._images = 0
        self._finished = False
        self._late = 0
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def run(self, progress: Callable[[], None], stop: Callable[[], bool]) -> RunRecord:
        """Play the bag, wait for the last results, and write the run.

        Args:
            progress: called after every image.
            stop: asked before every message; True ends the run early.

        Raises:
            DataError: no such node, nobody who listens, or a node that gives no results.
        """
        self._recorder.synchronize(self._options.patience)
        world = str(self._recorder.parameters(self._options.patience).get("world_frame", "map"))
        self._results = MapperResults(self._sequence.reader, self._options.node, [world], self._options.remap)
        self._play(progress, stop)
        for topic, count in self._results.left_out.items():
            _log.warning("%d results of a mapper in the bag are not played (%s)", count, topic)
        record = self._record()
        if self._options.pointmaps:
            self._store_pointmaps()
        poses = self._recorder.poses
        self._folder.finish(self._recorder.cloud(), [poses[stamp] for stamp in sorted(poses)], record)
        return record

    def _play(self, progress: Callable[[], None], stop: Callable[[], bool]) -> None:
        """Send everything, then wait for the last results and the map that holds them."""
        options, topic = self._options, self._sequence.topic
        began = first = None
        for message in self._sequence.reader.raw([]):
            if stop() or (options.limit and len(self._sent) >= options.limit):
                break
            if began is None or first is None:
                self._player.tick(message.time)
                self._player.wait_for_subscriber(topic, options.patience)
                began, first = time.monotonic(), message.time
            is_image = message.topic.name == topic
            if not options.wait:
                self._sleep_until(began + (message.time - first) / 1e9 / options.rate, message.time, first)
            elif is_image:
                self._wait_for_node(stop)
            self._send(message, is_image)
            if is_image:
                progress()
        else:
            self._sequence.reader.count_missing(topic, self._images)
        self._finished = not stop()
        self._settle()

    def _record(self) -> RunRecord:
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
            "not_played": dict(self._results.left_out),
        }
        record = RunRecord(
            name=f"{sequence.name} replayed",
            mode=REPLAY,
            source=source,
            every=1,
            parameters=recorder.parameters(self._options.patience),
            weights={"description": status.weights if status else "unknown"},
            metric=bool(status and status.metric),
            started=self._started,
            offered=len(self._sent),
            dropped=int(status.frames_dropped + status.frames_discarded) if status else 0,
            resets=recorder.resets,
            seconds=self._seconds(),
            finished=self._finished,
            missing=sequence.missing.total(),
        )
        record.skipped.update(sequence.missing)
        failed = int(status.frames_failed) if status is not None else 0
        if failed:
            record.skipped["refused by the node"] = failed
        late = int(status.frames_late) if status is not None else 0
        if late:
            record.skipped[NOT_LATER] = late
        unanswered = len(self._sent.keys() - recorder.results.keys()) - record.dropped - failed - late
        if unanswered > 0:
            record.owed = 0 if record.parameters.get("output") == "immediate" else 1
            # What shows nothing was refused with an error; the other lost frames were answered and not believed.
            lost = min(unanswered - record.owed, int(status.frames_lost) if status is not None else 0)
            if lost:
                record.skipped[NOT_TRUSTED] = lost
            if unanswered - lost > record.owed:
                record.skipped[WITHOUT_RESULT] = unanswered - lost - record.owed
        for stamp, sent in self._sent.items():
            result = recorder.results.get(stamp)
            if result is None:
                continue
            memory = self._memory_at(result.arrival)
            record.frames.add(stamp, result.arrival - sent, memory[0], memory[1], None)
            record.frames.confidence[-1] = round(result.confidence, 6)
            record.frames.posed[-1] = stamp in recorder.poses
        return record

    def _seconds(self) -> float:
        """From the first image to the last result."""
        arrivals = [result.arrival for stamp, result in self._recorder.results.items() if stamp in self._sent]
        return max(arrivals) - min(self._sent.values()) if arrivals else 0.0

    def _store_pointmaps(self) -> None:
        """The node's organized clouds as pointmaps, with what evaluation must know of their images."""
        for frame in self._sequence.frames():
            found = self._recorder.pointmap(frame.stamp)
            if found is None:
                continue
            cloud, (height, width) = found
            self._folder.add_pointmap(
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

    def _send(self, message: RawMessage, is_image: bool) -> None:
        """One message of the bag."""
        if is_image:
            self._images += 1
            self._sent[header_stamp(message)] = time.monotonic()
        data = self._results.input_of(message)
        if data is not None:
            self._player.publish(message.topic.name, message.time, data)

    def _sleep_until(self, due: float, recorded: int, first: int) -> None:
        """Keep the pace; recorded time goes on on /clock while we sleep."""
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.01))
            self._player.tick(max(first, recorded - round((due - time.monotonic()) * 1e9 * self._options.rate)))

    def _wait_for_node(self, stop: Callable[[], bool]) -> None:
        """Return when the node has worked on all images but at most the last one.

        A refined result comes with the next image, so that of the last but one proves that the last one was taken.
        """
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
        self._late = 0 if came else self._late + 1
        if self._late == 3:
            raise DataError(
                "the node gives no results",
                got=f"none for three images within {self._options.patience:g} s each",
                next_step="Look at the node's log; raise --patience on a slow machine",
            )

    def _settle(self) -> None:
        """Wait until no more results come, and for a map that is as new as they are."""
        recorder, patience, tick = self._recorder, self._options.patience, self._player.tick_if_idle
        due = list(self._sent)[:-1]
        wait_for(lambda: all(stamp in recorder.results for stamp in due), patience, tick)
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

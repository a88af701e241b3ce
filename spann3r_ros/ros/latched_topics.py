"""The topics about the whole map: copied between two frames, put together and sent by a thread of their own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason
from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.map_view import MapView
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.ros.outputs import GRAPH, MAP, PATH, Output, Publishers


class LatchedTopics:
    """Sends each topic when somebody listens and the map changed since; the stream waits for the copy alone.

    Args:
        publishers: of the topics.
        complaints: hears when something could not be sent.
    """

    def __init__(self, publishers: Publishers, complaints: Complaints) -> None:
        self._publishers, self._complaints = publishers, complaints
        self._view = MapView()
        self._sent: dict[Output, int] = {}  # revision of the map
        self._thread = ThreadPoolExecutor(1, "latched topics")
        self._sending: Future[Any] | None = None

    def due(self, revision: int) -> list[Output]:
        """Topics to send about a map of this revision; none while the ones before are on their way."""
        if self._sending is not None and not self._sending.done():
            return []
        wanted = [row for row in (MAP, PATH, GRAPH) if self._publishers.wanted(row)]
        if not wanted:
            self._view = MapView()  # nobody needs its copy
        return [row for row in wanted if self._sent.get(row) != revision]

    def send(self, due: Sequence[Output], reconstruction: Reconstruction, revision: int, stamp: int) -> None:
        """Copy what there is, and send it soon. Called where nobody else touches the reconstruction.

        Args:
            due: topics, not empty.
            reconstruction: which holds the map.
            revision: of the map.
            stamp: of its newest image, ns.
        """
        view, graph = self._view, reconstruction.pose_graph()
        view.copy(reconstruction.map)
        self._sent.update(dict.fromkeys(due, revision))
        self._sending = self._thread.submit(self._send, due, view, graph, stamp)

    def begin_anew(self) -> None:
        """Send everything of the map that there is now, whatever its revision."""
        self._sent.clear()

    def close(self) -> None:
        """Wait for what is being sent."""
        self._thread.shutdown(cancel_futures=True)

    def _send(self, due: Sequence[Output], view: MapView, graph: GraphView, stamp: int) -> None:
        for row in due:
            try:
                self._publishers.publish_map(row, view, graph, stamp)
            except Exception as error:  # want of memory, most likely; the map is as it was
                self._sent.pop(row, None)
                text = f"{row.topic} could not be sent: {reason(error)}. It is tried again"
                self._complaints.report(row.topic, text, Severity.ERROR, error, lasts=EVENT)

"""Sending the topics about the whole map beside the stream. Publishers and reconstruction are stand-ins here; the real
ones send in ``test_results.py``."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import MapConfig
from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.map import Map
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.ros.latched_topics import LatchedTopics
from spann3r_ros.ros.outputs import GRAPH, MAP, PATH

PATIENCE = 10.0


class ListenedTo:
    """Takes what is sent once it may."""

    def __init__(self) -> None:
        self.rows, self.points, self.may_send = [], [], threading.Event()
        self.error: Exception | None = None
        self.listening = {MAP, GRAPH}

    def wanted(self, row) -> bool:
        return row in self.listening

    def publish_map(self, row, view, _graph, stamp) -> None:
        assert self.may_send.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        self.rows.append((row.topic, stamp))
        self.points.append(len(view.cloud(1)))


def insert(world: Map, x: float) -> None:
    cloud = PointCloud(np.full((1, 3), x, np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32))
    world.submaps[-1].voxels.insert(cloud)
    world.revision += 1


@pytest.fixture
def publishers() -> ListenedTo:
    return ListenedTo()


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def topics(publishers, heard):
    topics = LatchedTopics(publishers, Complaints(lambda _severity, text: heard.append(text)))
    yield topics
    publishers.may_send.set()
    topics.close()


def finish(topics: LatchedTopics) -> None:
    topics._sending.result(PATIENCE)


def reconstruction() -> SimpleNamespace:
    return SimpleNamespace(map=Map(MapConfig(voxel_size=0.1, max_points=1000)), pose_graph=GraphView)


def test_the_map_goes_on_while_it_is_being_sent(topics, publishers) -> None:
    source = reconstruction()
    insert(source.map, 1.0)
    assert topics.due(1) == [MAP, GRAPH]
    topics.send([MAP, GRAPH], source, 1, 7)
    insert(source.map, 2.0)  # nobody has let the first be sent yet
    assert topics.due(2) == [], "one at a time"
    publishers.may_send.set()
    finish(topics)
    assert publishers.rows == [(MAP.topic, 7), (GRAPH.topic, 7)] and publishers.points == [1, 1]
    assert topics.due(1) == [] and topics.due(2) == [MAP, GRAPH]
    topics.send([MAP], source, 2, 8)
    finish(topics)
    assert publishers.points[-1] == 2 and topics.due(2) == [GRAPH]
    publishers.listening = {PATH}
    assert topics.due(2) == [PATH]
    topics.begin_anew()
    publishers.listening = {MAP}
    assert topics.due(2) == [MAP]


def test_what_cannot_be_sent_is_told_and_tried_again(topics, publishers, heard) -> None:
    source = reconstruction()
    publishers.error = MemoryError("no room for the message")
    publishers.may_send.set()
    topics.send([MAP], source, 1, 7)
    finish(topics)
    assert len(heard) == 1 and MAP.topic in heard[0] and "no room" in heard[0]
    publishers.error = None
    assert MAP in topics.due(1)
    topics.send([MAP], source, 1, 7)
    finish(topics)
    assert publishers.rows == [(MAP.topic, 7)]

"""What a mapper that ran while a bag was recorded left in it: results, which are not input of the next run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from spann3r_ros.errors import DataError
from spann3r_ros.frame import frame_name
from spann3r_ros.recordings.bag_reader import BagReader
from spann3r_ros.recordings.raw_message import RawMessage

OF_EVERY_NODE = ("/rosout", "/parameter_events")
"""Topics on which every node speaks about itself."""


class MapperResults:
    """Separates results from input.

    Args:
        reader: of the bag.
        node: name of the mapper, such as ``/spann3r``; what lies below it on the topics are results.
        worlds: frames that the mapper publishes as parents in ``/tf``.
        wanted: topics that were asked for by name and are input whatever they are.

    Attributes:
        left_out: messages or transforms, by topic, that ``input_of`` did not give.
    """

    def __init__(self, reader: BagReader, node: str, worlds: Collection[str], wanted: Collection[str] = ()) -> None:
        self._reader, self._wanted = reader, set(wanted)
        self._prefix = node.rstrip("/") + "/"
        self._worlds = {frame_name(world) for world in worlds}
        self.left_out: Counter[str] = Counter()

    def is_result(self, topic: str) -> bool:
        """Whether all messages of a topic are results."""
        return topic not in self._wanted and (topic.startswith(self._prefix) or topic in OF_EVERY_NODE)

    def input_of(self, message: RawMessage) -> bytes | None:
        """CDR bytes of what of a message is input; None when nothing is."""
        name = message.topic.name
        if self.is_result(name):
            self.left_out[name] += 1
            return None
        if name != "/tf" or name in self._wanted:
            return message.data
        try:
            transforms: list[Any] = self._reader.decode(message).transforms
        except DataError:
            self.left_out[name] += 1
            return None
        others = [each for each in transforms if frame_name(each.header.frame_id) not in self._worlds]
        if len(others) == len(transforms):
            return message.data
        self.left_out[name] += len(transforms) - len(others)
        return self._reader.encode(message.topic.type, transforms=others) if others else None

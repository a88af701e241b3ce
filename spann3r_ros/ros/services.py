"""The services of the node: ``SERVICES`` lists them. None waits for the network for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from spann3r_ros.complaints import reason, with_trace
from spann3r_ros.errors import Spann3rError, printable
from spann3r_ros.files.location import location
from spann3r_ros.mapping.graph_solver import require_gtsam
from spann3r_ros.mapping.storage import SavedMap
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros import qos
from spann3r_ros.ros.kept_maps import logs_folder
from spann3r_ros.ros.session import Session
from spann3r_ros.srv import LoadMap, SaveMap


@dataclass(frozen=True)
class Service:
    """A service: its name relative to the node, its type, and what it does, for docs/topics.md."""

    name: str
    type: type[Any]
    meaning: str


RESET = Service(
    "~/reset",
    Trigger,
    "forget memory, map and trajectory; the answer of an image that is being worked on is thrown away",
)
PAUSE = Service("~/pause", Trigger, "let images pass by")
RESUME = Service("~/resume", Trigger, "take images again")
SAVE_MAP = Service("~/save_map", SaveMap, "write cloud (PLY), trajectory (TUM) and memory to a folder")
LOAD_MAP = Service(
    "~/load_map",
    LoadMap,
    "continue from such a folder in the same world; the camera must be where it was, or is looked for in the map "
    "(`relocalizer`)",
)
CLOSE_LOOPS = Service(
    "~/close_loops",
    SetBool,
    "look for places that are seen again, or no longer; what was found stays. Sets the parameter `loops.enabled`",
)
SERVICES = (RESET, PAUSE, RESUME, SAVE_MAP, LOAD_MAP, CLOSE_LOOPS)


class MapServices:
    """The services of the node, there from its start; without a session they say so.

    Args:
        node: where they are advertised.
        config: ``service_timeout``.
        session: gives the present session, or None while the node is not configured.

    Attributes:
        ended: whether the node was shut down for good.
    """

    def __init__(self, node: Node, config: NodeConfig, session: Callable[[], Session | None]) -> None:
        self._node, self._config, self._session = node, config, session
        self.ended = False
        # Two groups: a reset never queues behind a map that is being written.
        quick, slow = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        handlers: dict[Service, tuple[Callable[[Any, Any], Any], MutuallyExclusiveCallbackGroup]] = {
            RESET: (self._reset, quick),
            PAUSE: (self._pause, quick),
            RESUME: (self._resume, quick),
            SAVE_MAP: (self._save, slow),
            LOAD_MAP: (self._load, slow),
            CLOSE_LOOPS: (self._close_loops, quick),
        }
        for row in SERVICES:
            handler, group = handlers[row]
            node.create_service(row.type, row.name, handler, qos_profile=qos.requests(), callback_group=group)

    def _reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda session: session.reset(), "memory, map and trajectory begin anew")

    def _pause(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda session: session.pause(), "paused: images pass by", active=True)

    def _resume(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda session: session.resume(), "images are taken again", active=True)

    def _close_loops(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            if request.data:
                require_gtsam()
            done = self._node.set_parameters([Parameter("loops.enabled", value=bool(request.data))])[0]
            response.success, response.message = done.successful, done.reason
        except Spann3rError as error:
            response.success, response.message = False, str(error)
        if response.success:
            response.message = "loops are looked for" if request.data else "loops are not looked for any more"
        return response

    def _answer(
        self, response: Any, action: Callable[[Session], None], done: str, active: bool = False
    ) -> Trigger.Response:
        try:
            session = self._require(active)
            action(session)
            response.success, response.message = True, done
        except Spann3rError as error:
            response.success, response.message = False, str(error)
        return response

    def _save(self, request: SaveMap.Request, response: SaveMap.Response) -> SaveMap.Response:
        saved = self._wait("writing", request.path or str(self._default_path()), Session.save, response)
        if saved is not None:
            response.files = [str(file) for file in saved.files]
            response.message = f"wrote {saved.points} points and {saved.frames} poses to {saved.path}"
        return response

    def _load(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        if not request.path:
            response.message = "path is empty: give the folder that ~/save_map wrote"
            return response
        loaded = self._wait("reading", request.path, Session.load, response)
        if loaded is not None:
            contents = f"{loaded.points} points and {loaded.frames} poses"
            then = "the map continues" if self._config.relocalizer == "none" else "the camera is looked for in it"
            response.message = f"read {contents} from {loaded.path}; {then}"
        return response

    def _wait(
        self,
        doing: str,
        text: str,
        begin: Callable[[Session, Path], Future[SavedMap]],
        response: SaveMap.Response | LoadMap.Response,
    ) -> SavedMap | None:
        """The outcome within ``service_timeout``; on failure the response tells why, and None is returned."""
        try:
            path = location(text)
            doing = printable(f"{doing} {path}")
            session = self._require()
            _require_responsive(session)
            future = begin(session, path)
            if not wait([future], self._config.service_timeout).done:
                response.message = self._give_up(session, future, doing)
                return None
            outcome = future.result()
        except Exception as error:  # whatever a damaged file or a full disk does, the node goes on
            response.message = f"{doing}: {reason(error)}"
            trace = None if isinstance(error, OSError) else error
            self._node.get_logger().error(with_trace(printable(response.message), trace))
            return None
        response.success, response.points, response.frames = True, outcome.points, outcome.frames
        self._node.get_logger().info(f"{doing}: {outcome.points} points, {outcome.frames} poses")
        return outcome

    def _give_up(self, session: Session, future: Future[SavedMap], doing: str) -> str:
        """End the wait for a network that is busy; what to answer. Requests that wait behind are refused at once."""
        timeout = self._config.service_timeout
        if future.cancel():
            session.unanswered = session.worker.submit(lambda: None)
            return f"{doing}: not begun within {timeout:g} s, the network is busy. Nothing was changed"
        session.unanswered = future
        future.add_done_callback(lambda late: self._log_late(doing, late))
        return f"{doing}: still at it after {timeout:g} s; the log will tell when it is done"

    def _log_late(self, doing: str, late: Future[SavedMap]) -> None:
        error = late.exception()
        if error is None:
            self._node.get_logger().info(f"{doing}: done, {late.result().points} points")
        else:
            self._node.get_logger().error(f"{doing}: {error}")

    def _require(self, active: bool = False) -> Session:
        session = self._session()
        name = self._node.get_fully_qualified_name()
        if self.ended:
            raise Spann3rError("the node was shut down", next_step="It does nothing any more: start it anew")
        if session is None:
            raise Spann3rError(
                "the node is not configured", next_step=f"ros2 lifecycle set {name} configure, then activate"
            )
        if active and not session.active:
            raise Spann3rError("the node is not active", next_step=f"ros2 lifecycle set {name} activate")
        return session

    def _default_path(self) -> Path:
        """A new folder beside the node's logs."""
        return logs_folder() / f"{self._node.get_name()}_map_{time.strftime('%Y%m%d_%H%M%S')}"


def _require_responsive(session: Session) -> None:
    """Raise Spann3rError while the network has not come to what an earlier request asked of it."""
    if session.unanswered is not None and not session.unanswered.done():
        raise Spann3rError(
            "the network has been busy for longer than service_timeout, and nothing was changed",
            next_step="Ask again when ~/status shows that images are processed",
        )

"""The lifecycle node ``spann3r``: camera topics in, map out. It wires the parts together and does nothing itself."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.timer import Timer

from spann3r_ros.complaints import Severity, reason
from spann3r_ros.config import WEIGHTS_NOTES
from spann3r_ros.errors import Spann3rError, missing_module
from spann3r_ros.heap import limit_heaps
from spann3r_ros.reconstruction import parameter_groups
from spann3r_ros.ros.clock import on_backward_jump
from spann3r_ros.ros.diagnostics import diagnostics_message
from spann3r_ros.ros.guard import GuardedExecutor, GuardedNode
from spann3r_ros.ros.log_forwarding import LogForwarding
from spann3r_ros.ros.outputs import DIAGNOSTICS, STATUS, listened
from spann3r_ros.ros.parameters import NodeParameters
from spann3r_ros.ros.services import MapServices
from spann3r_ros.ros.session import Session
from spann3r_ros.ros.status import GET_WEIGHTS, status_message
from spann3r_ros.ros.watchdog import Watchdog

SWITCH_INTERVAL = 2e-4
"""Seconds after which a waiting thread gets the interpreter. Every operation of the network asks for it; with Python's
5 ms, a busy executor (a clock or transforms at 100 Hz) would slow the network down tenfold."""

READY = "active, images are awaited on "
"""How the line begins that says that images are mapped from now on; spann3r.launch.py waits for it to play a bag."""

IDLE = 3600.0
"""Seconds between two calls of a timer that has nothing to do."""

THREADS = 6
"""Of the executor: cameras, timers, quick and slow services and transitions never wait for each other."""


class Spann3rNode(GuardedNode):
    """Watches cameras and publishes a dense colored map; docs/topics.md lists its interface.

    configure checks the parameters and loads the weights, activate subscribes, deactivate unsubscribes and keeps the
    map, cleanup releases everything. It may share a process and an executor with other nodes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("spann3r", **options)
        self._session: Session | None = None
        self._watchdog: Watchdog | None = None
        self._log = LogForwarding(self.get_logger(), self._complaints.about("library"))
        self._node_parameters = NodeParameters(self, parameter_groups(), self._complaints, self._on_live_change)
        self._config = self._node_parameters.config
        self._map_services = MapServices(self, self._config, lambda: self._session)
        # Not lifecycle publishers: they speak while the node is not active, too.
        self._status, self._diagnostics = (
            self.create_publisher(row.type, row.topic, row.qos()) for row in (STATUS, DIAGNOSTICS)
        )
        self._jump_handle = on_backward_jump(self, self._on_clock_jump)
        # Real time, for they must run while simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers_group = MutuallyExclusiveCallbackGroup()
        self._every(0.25, self._discover)
        self._every(1.0, self._watch)
        self._latched_timer = self._every(1.0 / self._config.map_rate, self._publish_latched)
        self._status_timer = self._every(1.0 / self._config.status_rate, self._publish_status)
        self._snapshot_timer = self._every(max(0.01, self._config.snapshot_period or IDLE), self._take_snapshot)

        self._autostart_timer: Timer | None = None
        if self._config.autostart:
            group = MutuallyExclusiveCallbackGroup()
            self._autostart_timer = self.create_timer(0.0, self._autostart, callback_group=group, clock=self._steady)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the weights, warm up. On failure the node lives on, unconfigured."""
        self._node_parameters.locked = True
        self._complaints.about("start").clear()
        try:
            self._node_parameters.check()
            self._session = Session(self, self._config, self._complaints)
        except Exception as error:  # rclpy would swallow it
            return self._refuse(error)
        self.get_logger().info(f"configured: {self._config.model}, weights {self._session.weights}")
        return super().on_configure(state)

    def _refuse(self, error: Exception) -> TransitionCallbackReturn:
        self._node_parameters.locked = False
        name = self.get_fully_qualified_name()
        why = missing_module(error) if isinstance(error, ImportError) else reason(error)
        text = (
            f"cannot start: {why}. The node waits: correct the parameter (ros2 param set {name} ...), then "
            f"ros2 lifecycle set {name} configure, and activate"
        )
        self._complaints.about("start").report("refused", text, Severity.ERROR, error)
        expected = isinstance(error, Spann3rError)
        return TransitionCallbackReturn.FAILURE if expected else TransitionCallbackReturn.ERROR

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras."""
        session = self._session
        assert session is not None
        if note := self._config.weights_note:
            self._complaints.report("weights", f"{note}: {WEIGHTS_NOTES[note]}. {GET_WEIGHTS}")
        done = super().on_activate(state)  # publishers first, so that no answer is lost
        try:
            session.activate()
        except Exception as error:  # rclpy would swallow it
            self._refuse(error)
            return TransitionCallbackReturn.ERROR
        self._watchdog = Watchdog(self, self._config, session.cameras, lambda: not session.paused)
        # A logger of its own: launch files wait for this line, whatever else is logged.
        self.get_logger().get_child("ready").info(f"{READY}{', '.join(self._config.image_topics)}")
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; memory and map stay."""
        self._watchdog = None
        if self._session is not None:
            self._session.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Release memory, map and weights; all parameters may change again."""
        self._close_session()
        self._node_parameters.locked = False
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        self._map_services.ended = True
        self._close_session()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        self._close_session()
        self._node_parameters.locked = False
        return TransitionCallbackReturn.SUCCESS

    def set_parameters_atomically(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """As of rclpy, whose own refusals name neither the parameter nor what it is for."""
        refusal = self._node_parameters.refusal(parameter_list)
        if refusal:
            return SetParametersResult(successful=False, reason=refusal)
        return super().set_parameters_atomically([self._node_parameters.fitting(entry) for entry in parameter_list])

    def close(self) -> None:
        """Stop the worker and release everything; the node itself is still there to be destroyed."""
        self._close_session()
        self._log.close()

    def _close_session(self) -> None:
        session, self._session, self._watchdog = self._session, None, None
        self._complaints.settle("weights")
        if session is not None:
            try:
                session.close()
            except (
                Exception
            ) as error:  # rclpy would swallow it; what is left of the session goes with its last reference
                self.report_error("releasing the session", error)
            del session
            gc.collect()

    def _autostart(self) -> None:
        assert self._autostart_timer is not None
        self._autostart_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _every(self, period: float, callback: Callable[[], None]) -> Timer:
        return self.create_timer(period, callback, callback_group=self._timers_group, clock=self._steady)

    def _on_live_change(self, names: set[str]) -> None:
        if "map_rate" in names:
            self._latched_timer.timer_period_ns = int(1e9 / self._config.map_rate)
        if "status_rate" in names:
            self._status_timer.timer_period_ns = int(1e9 / self._config.status_rate)
        if "snapshot_period" in names:
            self._snapshot_timer.timer_period_ns = int(1e9 * max(0.01, self._config.snapshot_period or IDLE))
            self._snapshot_timer.reset()

    def _on_clock_jump(self, now: int) -> None:
        if self._session is not None:
            self._session.clock_jumped_back(now)

    def _discover(self) -> None:
        if self._session is not None:
            self._session.discover()

    def _watch(self) -> None:
        self._look_for_namesakes()
        if self._watchdog is not None:
            self._watchdog.check()

    def _look_for_namesakes(self) -> None:
        own = (self.get_name(), self.get_namespace())
        count = sum(other == own for other in self.get_node_names_and_namespaces())
        if count > 1:
            text = (
                f"{count} nodes are called {self.get_fully_qualified_name()}: services and transitions reach any of "
                "them, and their results are mixed. Stop the others, or start this one with -r __node:=OTHER_NAME"
            )
            self._complaints.report("several nodes", text, once=True)
        else:
            self._complaints.settle("several nodes", f"one node is called {self.get_fully_qualified_name()} again")

    def _take_snapshot(self) -> None:
        if self._session is not None:
            self._session.take_snapshot()

    def _publish_latched(self) -> None:
        if self._session is not None and self._session.active:
            self._session.publish_latched()

    def _publish_status(self) -> None:
        if listened(self._status):
            self._status.publish(status_message(self, self._config, self._session, self._complaints))
        if listened(self._diagnostics):
            self._diagnostics.publish(diagnostics_message(self, self._config, self._session, self._complaints))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; a second one ends it at once."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    limit_heaps()
    # Not rclpy's handlers: they invalidate the context under the executor, in the middle of whatever it does.
    rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    stopping = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        stopping.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    node = Spann3rNode()
    executor = GuardedExecutor(THREADS, node.report_error)
    executor.add_node(node)
    try:
        executor.spin_until(stopping)
    finally:
        # The session first: a service that waits for the worker then gets its answer, and its thread ends.
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

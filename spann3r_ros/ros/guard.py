"""What a callback raises ends neither the node nor the executor: it is reported, and a request gets its answer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.service import Service
from rclpy.timer import Timer

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason
from spann3r_ros.errors import printable
from spann3r_ros.ros.log_forwarding import log

PAUSE = 0.01
"""Seconds of rest after an error, so that one that comes with every round does not take the whole processor."""


class GuardedNode(LifecycleNode):
    """A lifecycle node whose callbacks may raise: the error is a complaint, and the node goes on.

    It holds for everything made through it, by rclpy's own parts as well (parameters, clock, transitions), and in any
    executor. A request whose handler raised is answered with the reason, where the answer has a place for it.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._complaints = Complaints(lambda severity, text: log(self.get_logger(), severity, text))
        # Those of the lifecycle, which were not made by create_service.
        for service in self.services:
            if not hasattr(service.callback, "__wrapped__"):
                service.callback = self._answering(service.callback, service.srv_name, service.srv_type)

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **options: Any) -> Service[Any, Any]:
        """As of rclpy."""
        return super().create_service(srv_type, srv_name, self._answering(callback, srv_name, srv_type), **options)

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *arguments: Any, **options: Any) -> Any:
        """As of rclpy."""
        return super().create_subscription(msg_type, topic, self._guarded(callback, topic), *arguments, **options)

    def create_timer(self, timer_period_sec: float, callback: Any, *arguments: Any, **options: Any) -> Timer:
        """As of rclpy."""
        what = f"timer {getattr(callback, '__name__', '').strip('_')}"
        return super().create_timer(timer_period_sec, self._guarded(callback, what), *arguments, **options)

    def report_error(self, what: str, error: BaseException) -> None:
        """Complain that ``what`` raised an error that nobody expected."""
        self._complaints.report(what, f"{what} failed: {reason(error)}", Severity.ERROR, error, lasts=EVENT)

    def _guarded(self, callback: Callable[..., Any], what: str) -> Callable[..., Any]:
        @functools.wraps(callback)  # rclpy looks at the signature
        def guarded(*arguments: Any, **options: Any) -> Any:
            try:
                return callback(*arguments, **options)
            except Exception as error:
                self.report_error(what, error)
                return None

        return guarded

    def _answering(self, handler: Callable[[Any, Any], Any], name: str, kind: Any) -> Callable[[Any, Any], Any]:
        @functools.wraps(handler)
        def answering(request: Any, response: Any) -> Any:
            try:
                return _printable(handler(request, response))
            except Exception as error:
                self.report_error(f"service {name}", error)
                answer = kind.Response()  # a new one: what was filled in may be what is wrong
                for field in ("message", "reason"):
                    if hasattr(answer, field):
                        setattr(answer, field, printable(reason(error)))
                return answer

        return answering


class GuardedExecutor(MultiThreadedExecutor):
    """An executor that goes on after any error.

    rclpy takes a message, a request or a timer's turn outside of its own ``try``: an error there would leave the
    subscription, the service or the timer marked as busy for ever.

    Args:
        threads: how many.
        report: called with what failed and the error.
        options: of ``MultiThreadedExecutor``.
    """

    def __init__(self, threads: int, report: Callable[[str, BaseException], None], **options: Any) -> None:
        super().__init__(threads, **options)
        self._report = report

    def spin_until(self, stopping: threading.Event) -> None:
        """Execute callbacks until ``stopping`` is set or the context ends."""
        while not stopping.is_set() and self.context.ok():
            try:
                self.spin_once(timeout_sec=0.5)
            except ExternalShutdownException:
                return
            except InvalidHandle:
                pass  # what ended in another thread was caught half-way into the wait set; the next round makes it anew
            except Exception as error:
                self._report("executor", error)
                stopping.wait(PAUSE)

    def shutdown(self, *arguments: Any, **options: Any) -> bool:
        """As of rclpy. Errors of the last callbacks are reported here, or Python would print them at its end."""
        done = super().shutdown(*arguments, **options)
        for task in getattr(self, "_futures", []):
            error = task.exception()
            # An answer that could not be sent any more, for the context is gone, is no fault.
            if error is not None and not isinstance(error, InvalidHandle) and self.context.ok():
                self._report("executor", error)
        return done

    def _take_timer(self, entity: Any) -> Any:
        return self._taken(super()._take_timer, entity)

    def _take_subscription(self, entity: Any) -> Any:
        return self._taken(super()._take_subscription, entity)

    def _take_service(self, entity: Any) -> Any:
        return self._taken(super()._take_service, entity)

    def _take_client(self, entity: Any) -> Any:
        return self._taken(super()._take_client, entity)

    def _taken(self, take: Callable[[Any], Any], entity: Any) -> Any:
        """What rclpy takes, or None, which it passes over."""
        try:
            return take(entity)
        except Exception as error:
            name = getattr(entity, "topic_name", getattr(entity, "srv_name", "timer"))
            self._report(f"taking from {name}", error)
            return None


def _printable(response: Any) -> Any:
    """An answer whose texts can be sent: names of files may hold bytes that are no text."""
    for field, kind in type(response).get_fields_and_field_types().items():
        if kind == "string":
            setattr(response, field, printable(getattr(response, field)))
        elif kind == "sequence<string>":
            setattr(response, field, [printable(text) for text in getattr(response, field)])
    return response

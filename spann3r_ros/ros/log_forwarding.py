"""The core's ``logging`` and complaints in the node's log."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

from spann3r_ros.complaints import EVENT, Complaints, Severity
from spann3r_ros.errors import printable


def log(logger: RcutilsLogger, severity: Severity, text: str) -> None:
    """Write one line to a ROS logger."""
    text = printable(text)
    # rclpy wants one severity per line of code.
    if severity is Severity.ERROR:
        logger.error(text)
    elif severity is Severity.WARNING:
        logger.warning(text)
    else:
        logger.info(text)


class LogForwarding(logging.Handler):
    """Hands the records of this package to a ROS node until ``close``: warnings as complaints, the rest to its log."""

    def __init__(self, logger: RcutilsLogger, complaints: Complaints) -> None:
        super().__init__(logging.INFO)
        self._logger, self._complaints = logger, complaints
        self._source = logging.getLogger("spann3r_ros")
        self._source.addHandler(self)
        if self._source.level == logging.NOTSET:
            self._source.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; of warnings that one line of code gives again and again, as seldom as of other complaints."""
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            severity = Severity.ERROR if record.levelno >= logging.ERROR else Severity.WARNING
            self._complaints.report(f"{record.pathname}:{record.lineno}", text, severity, lasts=EVENT)
        else:
            log(self._logger, Severity.INFO, text)

    def close(self) -> None:
        """Stop forwarding."""
        self._source.removeHandler(self)
        super().close()

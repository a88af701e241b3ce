"""The core's ``logging`` and complaints in the node's log."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

from spann3r_ros.complaints import Severity
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
    """Hands the records of this package to a ROS logger until ``close``."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger
        self._source = logging.getLogger("spann3r_ros")
        self._source.addHandler(self)
        if self._source.level == logging.NOTSET:
            self._source.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        is_error, is_warning = record.levelno >= logging.ERROR, record.levelno >= logging.WARNING
        severity = Severity.ERROR if is_error else Severity.WARNING if is_warning else Severity.INFO
        log(self._logger, severity, self.format(record))

    def close(self) -> None:
        """Stop forwarding."""
        self._source.removeHandler(self)
        super().close()

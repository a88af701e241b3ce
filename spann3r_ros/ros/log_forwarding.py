"""The core's ``logging`` in the node's log."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


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
        text = self.format(record)
        # rclpy wants one severity per line of code.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)

    def close(self) -> None:
        """Stop forwarding."""
        self._source.removeHandler(self)
        super().close()

"""What is wrong now, and what of it to say: the one home of every warning that lasts longer than its log line."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from spann3r_ros.errors import Spann3rError

REPEAT = 10.0
"""Seconds until a complaint of the same kind is logged again."""

EVENT = 30.0
"""Seconds that an event, such as one bad image, counts as current: long enough to be seen on a dashboard."""

GOOD_IMAGES = 10
"""Images in succession on which nothing was wrong that end an event about an image sooner."""

MOST_KINDS = 200
"""Kinds that are remembered; beyond it the one reported longest ago is forgotten."""


class Severity(IntEnum):
    """How bad it is; higher is worse."""

    INFO = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Complaint:
    """Something that is wrong.

    Attributes:
        subject: what it is about, such as ``camera left``; empty for the whole.
        kind: which of the subject's troubles it is; two reports of one kind are the same trouble.
        text: what was wrong, where, and what to do next, as last reported.
        severity: of the last report.
        count: reports since it began.
    """

    subject: str
    kind: str
    text: str
    severity: Severity
    count: int


@dataclass
class _Entry:
    """A kind and its log."""

    complaint: Complaint
    order: int  # of the last report among all
    ends: float  # when it is over by itself
    current: bool
    logged: float  # when a report of it was last logged
    unlogged: int = 0  # reports since
    images_left: int = 0  # good images until it is over; 0: they do not end it


class _Register:
    """What all views of one register share."""

    def __init__(self, log: Callable[[Severity, str], None], clock: Callable[[], float]) -> None:
        self.log, self.clock = log, clock
        self.lock = threading.Lock()
        self.entries: dict[tuple[str, str], _Entry] = {}
        self.reports = 0


class Complaints:
    """Collects what is wrong until it is over. Thread-safe.

    A kind is logged at once when it is new, or when it comes back after its end was logged; otherwise at most every
    ``REPEAT`` seconds, with the number of reports that were not logged. So a trouble that comes and goes with every
    frame does not fill the log.

    Args:
        log: takes a severity and a text. Called by whoever reports, outside of any lock.
        clock: seconds that only grow.
    """

    def __init__(self, log: Callable[[Severity, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._register = _Register(log, clock)
        self._subject = ""

    @property
    def subject(self) -> str:
        """What this view is about; empty for the whole register."""
        return self._subject

    def about(self, subject: str) -> Complaints:
        """The same register seen from one subject: reports are about it, and only what is about it is shown."""
        view = Complaints.__new__(Complaints)
        view._register, view._subject = self._register, subject
        return view

    def report(
        self,
        kind: str,
        text: str,
        severity: Severity = Severity.WARNING,
        error: BaseException | None = None,
        lasts: float = float("inf"),
        once: bool = False,
        good_images: int = 0,
    ) -> None:
        """Say that something is wrong.

        Args:
            kind: which trouble it is. Not made from numbers or names that change with each report.
            text: what was wrong, where, and what to do next.
            severity: how bad it is.
            error: what raised it; the log gets its trace-back when it was not raised on purpose.
            lasts: seconds after which it is over by itself, as for an event (``EVENT``); else ``settle`` ends it.
            good_images: how many of them in succession end it sooner (``went_well``); 0: they do not.
            once: whether it is logged only when it begins, because it stays as it is until it is over.
        """
        register, key = self._register, (self._subject, kind)
        now = register.clock()
        with register.lock:
            register.reports += 1
            entry = register.entries.get(key)
            if entry is None:
                self._make_room()
                entry = _Entry(Complaint(*key, text, severity, 0), 0, 0.0, False, float("-inf"))
                register.entries[key] = entry
            goes_on = entry.current and now < entry.ends
            count = entry.complaint.count + 1 if goes_on else 1
            entry.complaint = Complaint(*key, text, severity, count)
            entry.order, entry.ends, entry.current = register.reports, now + lasts, True
            entry.images_left = good_images
            if (once and goes_on) or now - entry.logged < REPEAT:
                entry.unlogged += 1
                return
            unlogged, entry.unlogged, entry.logged = entry.unlogged, 0, now
        register.log(severity, with_trace(text + _more(unlogged), error))

    def settle(self, kind: str, text: str = "") -> None:
        """Say that it is over; nothing happens when it was not going on.

        Args:
            kind: of the reports.
            text: logged once as information, when given.
        """
        register = self._register
        with register.lock:
            entry = register.entries.get((self._subject, kind))
            if entry is None or not entry.current:
                return
            entry.current = False
            if not text:
                return
            unlogged, entry.unlogged, entry.logged = entry.unlogged, 0, float("-inf")
        register.log(Severity.INFO, text + _more(unlogged))

    def went_well(self) -> None:
        """Count an image (of the subject) on which nothing was wrong; reports with ``good_images`` end by it."""
        with self._register.lock:
            for (subject, _), entry in self._register.entries.items():
                if subject == self._subject and entry.current and entry.images_left:
                    entry.images_left -= 1
                    entry.current = entry.images_left > 0

    def clear(self) -> None:
        """Forget everything (of the subject), also what was logged."""
        with self._register.lock:
            for key in [key for key in self._register.entries if self._sees(key[0])]:
                del self._register.entries[key]

    def current(self) -> list[Complaint]:
        """What is wrong now (with the subject), the worst first, of one severity the one reported last first."""
        register = self._register
        now = register.clock()
        with register.lock:
            found = [
                (entry.complaint.severity, entry.order, entry.complaint)
                for entry in register.entries.values()
                if entry.current and now < entry.ends and self._sees(entry.complaint.subject)
            ]
        return [replace(complaint) for *_, complaint in sorted(found, key=lambda each: each[:2], reverse=True)]

    def worst(self) -> Complaint | None:
        """The first of ``current``, or None."""
        return next(iter(self.current()), None)

    def _sees(self, subject: str) -> bool:
        return self._subject in ("", subject)

    def _make_room(self) -> None:
        entries = self._register.entries
        if len(entries) >= MOST_KINDS:
            del entries[min(entries, key=lambda key: entries[key].order)]


def through(logger: logging.Logger) -> Callable[[Severity, str], None]:
    """A ``log`` for ``Complaints`` that writes to Python's logging."""
    levels = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}
    return lambda severity, text: logger.log(levels[severity], "%s", text)


def with_trace(text: str, error: BaseException | None) -> str:
    """The text; below it, for an error that was not raised on purpose, where it came from."""
    if error is None or isinstance(error, Spann3rError):
        return text
    return text + "\n" + "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()


def reason(error: BaseException) -> str:
    """What an error says, or its type when it says nothing."""
    return str(error) or type(error).__name__


def _more(unlogged: int) -> str:
    return f" ({unlogged} more since the last time this was logged)" if unlogged else ""

"""One home for what is wrong: what is current, what is logged, and when."""

from __future__ import annotations

import logging
import threading

import pytest

from spann3r_ros.complaints import EVENT, MOST_KINDS, REPEAT, Complaints, Severity, reason, through, with_trace
from spann3r_ros.errors import FrameError


class Bench:
    """A register with a clock that a test turns and a log that it reads."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log: list[tuple[Severity, str]] = []
        self.complaints = Complaints(lambda severity, text: self.log.append((severity, text)), lambda: self.now)

    @property
    def texts(self) -> list[str]:
        return [complaint.text for complaint in self.complaints.current()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_worst_first_and_of_one_severity_the_newest_first(bench: Bench) -> None:
    complaints = bench.complaints
    assert complaints.worst() is None and complaints.current() == []
    complaints.report("pose", "no pose")
    complaints.report("frame", "it failed", Severity.ERROR)
    complaints.report("stamp", "no stamp")
    complaints.report("start", "cannot start", Severity.ERROR)
    assert bench.texts == ["cannot start", "it failed", "no stamp", "no pose"]
    complaints.report("pose", "no pose again")
    assert bench.texts == ["cannot start", "it failed", "no pose again", "no stamp"]
    worst = complaints.worst()
    assert worst is not None and (worst.kind, worst.severity, worst.count) == ("start", Severity.ERROR, 1)
    assert [complaint.count for complaint in complaints.current()] == [1, 1, 2, 1]


def test_a_new_kind_is_logged_at_once_then_seldom_with_what_was_kept_back(bench: Bench) -> None:
    for number in range(40):  # four reports a second, each with a text of its own
        bench.complaints.report("pose", f"frame {number}: no pose")
        bench.complaints.report("other", "something else")
        bench.now += REPEAT / 40
    assert bench.log == [(Severity.WARNING, "frame 0: no pose"), (Severity.WARNING, "something else")]
    assert bench.texts == ["something else", "frame 39: no pose"], "what is shown is the last report"
    bench.complaints.report("pose", "frame 40: no pose")
    assert bench.log[-1][1] == "frame 40: no pose (39 more since the last time this was logged)"
    bench.now += REPEAT
    bench.complaints.report("pose", "frame 41: no pose")
    assert bench.log[-1][1] == "frame 41: no pose"


def test_the_end_is_logged_once_and_what_comes_back_then_is_news(bench: Bench) -> None:
    bench.complaints.report("silence", "no image", Severity.ERROR)
    bench.complaints.report("silence", "no image")
    bench.complaints.settle("silence", "images arrive again")
    bench.complaints.settle("silence", "images arrive again")
    assert bench.texts == []
    bench.complaints.report("silence", "no image")
    assert bench.log == [
        (Severity.ERROR, "no image"),
        (Severity.INFO, "images arrive again (1 more since the last time this was logged)"),
        (Severity.WARNING, "no image"),
    ]
    [again] = bench.complaints.current()
    assert again.count == 1


def test_what_comes_and_goes_with_every_frame_does_not_fill_the_log(bench: Bench) -> None:
    for _ in range(100):
        bench.complaints.report("pose", "no pose")
        bench.complaints.settle("pose")
        bench.now += 0.05
    assert len(bench.log) == 1
    bench.now += REPEAT
    bench.complaints.report("pose", "no pose")
    assert bench.log[1:] == [(Severity.WARNING, "no pose (99 more since the last time this was logged)")]


def test_an_event_is_over_by_itself(bench: Bench) -> None:
    bench.complaints.report("refused", "a bad image", lasts=EVENT)
    bench.now += EVENT - 0.1
    assert bench.texts == ["a bad image"]
    bench.now += 0.2
    assert bench.texts == [] and bench.complaints.worst() is None
    bench.complaints.report("refused", "another", lasts=EVENT)
    [event] = bench.complaints.current()
    assert event.count == 1, "a new trouble, not the old one"


def test_a_view_reports_about_its_subject_and_shows_nothing_else(bench: Bench) -> None:
    left, right = bench.complaints.about("camera left"), bench.complaints.about("camera right")
    left.report("stamp", "left has no stamps")
    right.report("stamp", "right has no stamps")
    bench.complaints.report("pose", "no pose")
    assert [text for _, text in bench.log] == ["left has no stamps", "right has no stamps", "no pose"]
    assert [(each.subject, each.kind) for each in left.current()] == [("camera left", "stamp")]
    assert [each.subject for each in bench.complaints.current()] == ["", "camera right", "camera left"]
    left.settle("stamp")
    assert left.worst() is None and right.worst() is not None
    right.clear()
    assert bench.texts == ["no pose"]
    right.report("stamp", "right has no stamps")
    assert len(bench.log) == 4, "cleared is forgotten: a new report is news"
    bench.complaints.clear()
    assert bench.texts == []


def test_only_errors_that_nobody_raised_on_purpose_leave_a_trace(bench: Bench) -> None:
    try:
        [][1]
    except IndexError as error:
        bench.complaints.report("frame", "frame 3 failed", Severity.ERROR, error)
    [(_, text)] = bench.log
    assert text.startswith("frame 3 failed\nTraceback") and text.endswith("IndexError: list index out of range")
    assert bench.texts == ["frame 3 failed"], "dashboards show one line"
    bench.complaints.report("image", "refused", error=FrameError("empty image"))
    assert bench.log[-1][1] == "refused"
    assert with_trace("text", None) == "text"
    assert (reason(KeyError()), reason(ValueError("why"))) == ("KeyError", "why")


def test_the_number_of_kinds_is_bounded(bench: Bench) -> None:
    for number in range(MOST_KINDS + 5):
        bench.complaints.report(f"kind {number}", str(number))
    assert len(bench.texts) == MOST_KINDS
    assert bench.texts[0] == str(MOST_KINDS + 4) and bench.texts[-1] == "5"


def test_many_threads_lose_no_report(bench: Bench) -> None:
    def complain(name: str) -> None:
        for _ in range(500):
            bench.complaints.report("shared", name)
            bench.complaints.about(name).report("own", name)
            bench.complaints.current()

    threads = [threading.Thread(target=complain, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.count for each in bench.complaints.current() if each.kind == "shared"] == [2000]
    assert sorted(each.count for each in bench.complaints.current()) == [500] * 4 + [2000]
    assert len(bench.log) == 5


def test_the_core_logs_through_logging(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(through(logging.getLogger("spann3r_ros.somewhere")))
    with caplog.at_level(logging.INFO):
        complaints.report("pose", "100 % lost")
        complaints.report("frame", "it failed", Severity.ERROR)
        complaints.settle("pose", "found again")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "100 % lost"),
        ("ERROR", "it failed"),
        ("INFO", "found again"),
    ]


@pytest.mark.fault("words")
def test_what_is_about_images_ends_when_enough_of_them_went_well(bench: Bench) -> None:
    camera = bench.complaints.about("camera left")
    camera.report("refused", "a bad image", lasts=EVENT, good_images=3)
    camera.report("size", "another size", lasts=EVENT)
    for _ in range(2):
        camera.went_well()
    camera.report("refused", "another bad image", lasts=EVENT, good_images=3)
    for _ in range(2):
        camera.went_well()
        bench.complaints.about("camera right").went_well()
    assert bench.texts == ["another bad image", "another size"]
    camera.went_well()
    assert bench.texts == ["another size"], "which is not over because an image went well"


@pytest.mark.fault("words")
def test_what_stays_as_it_is_is_logged_when_it_begins(bench: Bench) -> None:
    for number in range(40):
        bench.complaints.report("several nodes", f"{number} nodes", once=True)
        bench.now += REPEAT / 2
    assert bench.log == [(Severity.WARNING, "0 nodes")] and bench.texts == ["39 nodes"]
    bench.complaints.settle("several nodes", "one node again")
    bench.complaints.report("several nodes", "2 nodes", once=True)
    assert [text for _, text in bench.log[1:]] == [
        "one node again (39 more since the last time this was logged)",
        "2 nodes",
    ]

from __future__ import annotations

from faults import CASES, KINDS, PAGE, marked_tests, page


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it: python test/support/faults.py"


def test_marks_name_kinds_and_cases_that_exist() -> None:
    marks = marked_tests()
    assert {kind for kind, *_ in marks} <= KINDS.keys()
    assert {case for _, case, _ in marks} <= {"", *CASES}
    assert len(marks) > 100

"""The part of a page that a program writes."""

import pytest

from spann3r_ros.files.page import with_part


def test_only_what_stands_between_the_marks_is_made_anew() -> None:
    page = "before\n<a>\nold\n</a>\nafter\n"
    written = with_part(page, "<a>", "</a>", "new\n")
    assert written == "before\n<a>\nnew\n</a>\nafter\n"
    assert with_part(written, "<a>", "</a>", "new\n") == written


@pytest.mark.parametrize("page", ["<a>", "</a>", "</a><a>", ""])
def test_a_page_that_lacks_a_mark_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="no '<a>' followed by '</a>'"):
        with_part(page, "<a>", "</a>", "new")

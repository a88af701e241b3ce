from __future__ import annotations

import inspect

import pytest

from spann3r_ros import errors


def test_a_message_says_what_was_wrong_what_is_allowed_and_what_to_do() -> None:
    error = errors.FrameError("image size", got=(3, 4), expected="multiples of 16", next_step="Resize it")
    assert str(error) == "image size: got (3, 4); expected multiples of 16. Resize it"
    assert (error.got, error.expected, error.next_step) == ((3, 4), "multiples of 16", "Resize it")
    assert str(errors.DataError("no bag", got=0, expected=0)) == "no bag: got 0; expected 0"


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if inspect.isclass(k) and k.__module__ == errors.__name__]
)
def test_every_error_is_caught_by_the_base(kind: type[errors.Spann3rError]) -> None:
    # What a caller handed in is a ValueError; what a network made of sound input is an ArithmeticError.
    builtin = ArithmeticError if kind is errors.AnswerError else ValueError
    assert issubclass(kind, errors.Spann3rError) and (kind is errors.Spann3rError or issubclass(kind, builtin))

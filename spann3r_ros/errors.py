"""Errors that a caller can act on: what was wrong, what was expected, and what to do next."""

from __future__ import annotations


class Spann3rError(Exception):
    """Base of every error raised on purpose by this package.

    Args:
        problem: what is wrong and where, in one clause.
        got: the offending value, shown as it is.
        expected: the allowed values or range.
        next_step: what the reader should do now.
    """

    def __init__(self, problem: str, *, got: object = None, expected: object = None, next_step: str = "") -> None:
        self.problem, self.got, self.expected, self.next_step = problem, got, expected, next_step
        message = problem
        if got is not None:
            message += f": got {got}"
        if expected is not None:
            message += f"; expected {expected}"
        if next_step:
            message += f". {next_step}"
        super().__init__(printable(message))


def printable(text: str) -> str:
    """The text with escapes for what is no Unicode, such as the bytes of a file's name in another encoding."""
    return text.encode(errors="backslashreplace").decode()


class FrameError(Spann3rError, ValueError):
    """An image (or its calibration) that no model can take."""


class MemoryMismatchError(Spann3rError, ValueError):
    """A memory that belongs to another model, another image size, or a damaged file."""


class CheckpointError(Spann3rError, ValueError):
    """Weights that are missing, damaged, unsafe, or of another network."""


class ConfigError(Spann3rError, ValueError):
    """A parameter outside its range, of the wrong type, or unknown."""


class GeometryError(Spann3rError, ValueError):
    """Input from which a geometric quantity cannot be computed."""


class DataError(Spann3rError, ValueError):
    """A bag, dataset folder, trajectory or map file that cannot be read as asked."""


class AnswerError(Spann3rError, ArithmeticError):
    """An answer of a network with values that are not finite; nothing of it was remembered."""

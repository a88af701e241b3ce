from __future__ import annotations

import inspect

import pytest

from spann3r_ros import errors


def test_a_message_says_what_was_wrong_what_is_allowed_and_what_to_do() -> None:
    error = errors.FrameError("image size", got=(3, 4), expected="multiples of 16", next_step="Resize it")
    assert str(error) == "image size: got (3, 4); expected multiples of 16. Resize it"
    assert (error.got, error.expected, error.next_step) == ((3, 4), "multiples of 16", "Resize it")
    assert str(errors.DataError("no bag", got=0, expected=0)) == "no bag: got 0; expected 0"


@pytest.mark.fault("ROS tools")
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("torch", "`pip install torch`"),
        ("cv2", "`pip install opencv-python-headless` or `sudo apt install python3-opencv`"),
        ("rclpy.node", "ROS 2 cannot be imported (broken). Source your workspace"),
        ("spann3r_ros.msg", "messages of this package cannot be imported (broken). Source your workspace"),
        ("sensor_msgs.msg", "`sudo apt install ros-$ROS_DISTRO-sensor-msgs`"),
        (None, "broken"),
    ],
)
def test_a_module_that_is_missing_is_named_with_the_line_that_installs_it(module: str | None, words: str) -> None:
    text = errors.missing_module(ImportError("broken", name=module))
    assert words in text
    assert ("your workspace" in text) == ((module or "").startswith(("rclpy", "spann3r_ros")))


def test_what_is_no_text_is_escaped() -> None:
    assert str(errors.DataError("caf\udce9", got="\udcff")) == r"caf\udce9: got \udcff"


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if inspect.isclass(k) and k.__module__ == errors.__name__]
)
def test_every_error_is_caught_by_the_base(kind: type[errors.Spann3rError]) -> None:
    # What a caller handed in is a ValueError; what a network made of sound input is an ArithmeticError.
    builtin = ArithmeticError if kind is errors.AnswerError else ValueError
    assert issubclass(kind, errors.Spann3rError) and (kind is errors.Spann3rError or issubclass(kind, builtin))

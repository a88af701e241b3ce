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


INSTALL = {
    "backports": ("backports.zstd", ""),
    "cv2": ("opencv-python-headless", "python3-opencv"),
    "lz4": ("lz4", "python3-lz4"),
    "numpy": ("numpy", "python3-numpy"),
    "onnx": ("onnx", ""),
    "onnxruntime": ("onnxruntime", ""),
    "PIL": ("pillow", "python3-pil"),
    "rosbags": ("rosbags", ""),
    "safetensors": ("safetensors", ""),
    "simplejpeg": ("simplejpeg", ""),
    "scipy": ("scipy", "python3-scipy"),
    "torch": ("torch", ""),
    "tqdm": ("tqdm", "python3-tqdm"),
    "yaml": ("pyyaml", "python3-yaml"),
}
"""What gives a module: the name for pip, and for apt where it has one."""


def missing_module(error: ImportError) -> str:
    """Which module is missing, and the line that installs it; for one of ROS or of this package, what to source."""
    name = (error.name or "").partition(".")[0]
    if name in INSTALL:
        pip, apt = INSTALL[name]
        lines = f"`pip install {pip}`" + (f" or `sudo apt install {apt}`" if apt else "")
        return f"the Python package {name} cannot be imported ({error}). Install it: {lines}"
    if name == "spann3r_ros":
        what = "the messages of this package"
    elif name == "rclpy":
        what = "ROS 2"
    else:
        package = f"ros-$ROS_DISTRO-{name.replace('_', '-')}" if name else "what is missing"
        return f"a module cannot be imported ({error}). Install it: `sudo apt install {package}` when it is of ROS"
    return (
        f"{what} cannot be imported ({error}). Source your workspace (`source install/setup.bash`), or run `make "
        "setup` in a checkout and then `scripts/run.sh spann3r`. Without ROS: `spann3r_ros reconstruct`"
    )


class FrameError(Spann3rError, ValueError):
    """An image (or its calibration) that no model can take."""


class UnusableImageError(FrameError):
    """An image that shows nothing: black, blinded, covered or blurred."""


class MemoryMismatchError(Spann3rError, ValueError):
    """A memory that belongs to another model, another image size, or a damaged file."""


class ImageSizeError(FrameError, MemoryMismatchError):
    """An image of another size than those that the memory holds, where the network takes only one.

    Args:
        got: (height, width) in pixels, as the network would see it.
        expected: that of the memory's images.
    """

    def __init__(self, got: tuple[int, int], expected: tuple[int, int]) -> None:
        super().__init__(
            "image size (H, W) differs from the memory's",
            got=got,
            expected=expected,
            next_step="Set image_width and image_height, so that all images come out at one size, or begin a new map",
        )


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

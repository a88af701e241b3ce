"""Forms in which drivers send the same picture."""

from __future__ import annotations

import importlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.encodings import ENCODINGS, OTHER_NAMES, find
from spann3r_ros.geometry.image import decode_image

WIDTH, HEIGHT = 24, 16
NOT_OF_EVERY_CV_BRIDGE = {"uyvy", "yuyv", "nv12", "nv21", "nv24", "yuv420", "yuv422_yuy2"}
"""Encodings that no release of cv_bridge decodes, or only the newer ones."""


def smooth() -> NDArray[np.uint8]:
    """A colored picture without edges, which color at half the size keeps."""
    x, y = np.meshgrid(np.linspace(40, 200, WIDTH), np.linspace(60, 180, HEIGHT))
    return np.rint(np.stack([x, y, 255 - x], axis=-1)).astype(np.uint8)


RGB = smooth()
I420 = cv2.cvtColor(RGB, cv2.COLOR_RGB2YUV_I420)
LUMA = I420[:HEIGHT]
U, V = I420[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)


def interleaved(*planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack(planes, axis=-1).reshape(planes[0].shape[0], -1)


def packed(order: str) -> NDArray[np.uint8]:
    """4:2:2 from the same planes: color is the same in two rows."""
    parts = {"u": U.repeat(2, axis=0), "v": V.repeat(2, axis=0), "y": LUMA[:, ::2], "Y": LUMA[:, 1::2]}
    return interleaved(*(parts[letter] for letter in order))


FORMS = {
    "yuv420": I420,
    "i420": I420,
    "nv12": np.vstack([LUMA, interleaved(U, V)]),
    "nv21": np.vstack([LUMA, interleaved(V, U)]),
    "nv24": np.vstack([LUMA, *(interleaved(*(p.repeat(2, 0).repeat(2, 1) for p in (U, V))).reshape(-1, WIDTH),)]),
    "yuyv": packed("yuYv"),
    "yuv422_yuy2": packed("yuYv"),
    "uyvy": packed("uyvY"),
    "yuv422": packed("uyvY"),
    "UYVY": packed("uyvY"),
    "rgb": RGB,
    "RGB8": RGB,
    "BGR8": RGB[..., ::-1],
    "8UC3": RGB[..., ::-1],
    "8UC4": np.dstack([RGB[..., ::-1], RGB[..., :1]]),
}


@pytest.mark.fault("encodings", case="07")
@pytest.mark.parametrize("name", FORMS)
def test_the_same_picture_comes_out_of_every_form(name: str) -> None:
    rows = np.ascontiguousarray(FORMS[name])
    step = rows[0].nbytes
    decoded = decode_image(rows.tobytes(), name, HEIGHT, WIDTH, step)
    assert decoded.shape == (HEIGHT, WIDTH, 3) and decoded.flags.c_contiguous
    assert np.abs(decoded.astype(int) - RGB).max() <= (0 if rows.ndim == 3 else 16)


@pytest.mark.parametrize(("name", "reference"), [("nv12", cv2.COLOR_YUV2RGB_NV12), ("yuv420", cv2.COLOR_YUV2RGB_I420)])
def test_planes_are_decoded_as_opencv_does_also_with_padded_rows(name: str, reference: int) -> None:
    expected = cv2.cvtColor(FORMS[name], reference)
    np.testing.assert_array_equal(decode_image(FORMS[name].tobytes(), name, HEIGHT, WIDTH, WIDTH), expected)
    padded = np.full((HEIGHT, WIDTH + 8), 99, np.uint8)
    padded[:, :WIDTH] = LUMA
    color = FORMS[name][HEIGHT:].reshape((-1, WIDTH) if name == "nv12" else (HEIGHT, WIDTH // 2))
    behind = np.full((len(color), (WIDTH + 8) * color.shape[1] // WIDTH), 77, np.uint8)
    behind[:, : color.shape[1]] = color
    content = padded.tobytes() + behind.tobytes()
    np.testing.assert_array_equal(decode_image(content, name, HEIGHT, WIDTH, WIDTH + 8), expected)


@pytest.mark.fault("encodings", case="07")
@pytest.mark.parametrize("name", ["yuyv", "uyvy"])
def test_the_last_pixel_of_an_odd_row_takes_its_missing_color_from_the_pair_before(name: str) -> None:
    odd = np.ascontiguousarray(FORMS[name][:, : 2 * (WIDTH - 1)])
    decoded = decode_image(odd.tobytes(), name, HEIGHT, WIDTH - 1, odd.shape[1])
    even = decode_image(FORMS[name].tobytes(), name, HEIGHT, WIDTH, 2 * WIDTH)
    np.testing.assert_array_equal(decoded[:, :-1], even[:, : WIDTH - 2])
    assert np.abs(decoded[:, -1].astype(int) - even[:, -2]).max() <= 20


@pytest.mark.fault("encodings", case="07")
@pytest.mark.parametrize(
    ("name", "width", "height", "words"),
    [
        ("nv12", 23, 16, "multiples of 2"),
        ("yuv420", 24, 15, "multiples of 2"),
        ("yuyv", 1, 16, "at least 2 px"),
        ("bayer_rggb8", 1, 1, "at least 3 x 3"),
        ("8SC3", 4, 4, "image encoding"),
        ("32FC3", 4, 4, "image encoding"),
        ("32FC1", 4, 4, "depth"),
        ("16UC1", 4, 4, "depth"),
        ("", 4, 4, r"\(empty\)"),
        ("rgb888", 4, 4, "rgb8 or bgr8"),
        ("jpeg", 4, 4, "CompressedImage"),
        ("nv12", 24, 17, "multiples of 2"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(name: str, width: int, height: int, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        decode_image(bytes(width * height * 12), name, height, width, width * 12)


def test_every_name_leads_to_an_encoding() -> None:
    assert {find(name).dtype for name in ENCODINGS} == {np.uint8, np.uint16}
    assert all(find(name.upper()) is ENCODINGS[target] for name, target in OTHER_NAMES.items())


def test_every_encoding_refuses_half_of_its_data() -> None:
    for name, encoding in ENCODINGS.items():
        step = encoding.row_bytes(WIDTH)
        whole = bytes(encoding.total_bytes(HEIGHT, step))
        assert decode_image(whole, name, HEIGHT, WIDTH, step).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(FrameError, match="too short"):
            decode_image(whole[: len(whole) // 2], name, HEIGHT, WIDTH, step)


@pytest.mark.ros_tool("cv_bridge")
@pytest.mark.parametrize("name", [*ENCODINGS, "yuv422", "yuv422_yuy2"])
def test_cv_bridge_decodes_to_the_same(name: str) -> None:
    cv_bridge, messages = importlib.import_module("cv_bridge"), importlib.import_module("sensor_msgs.msg")
    encoding = find(name)
    step = encoding.row_bytes(WIDTH)
    content = np.random.default_rng(0).integers(0, 256, encoding.total_bytes(HEIGHT, step), dtype=np.uint8).tobytes()
    message = messages.Image(encoding=name, height=HEIGHT, width=WIDTH, step=step)
    message.data.frombytes(content)
    try:
        expected = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
    except cv_bridge.CvBridgeError as error:
        if name not in NOT_OF_EVERY_CV_BRIDGE:
            raise
        pytest.skip(f"this release of cv_bridge does not decode {name}: {error}")
    np.testing.assert_allclose(decode_image(content, name, HEIGHT, WIDTH, step), expected, atol=1)

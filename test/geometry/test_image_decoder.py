"""Messages, of whatever library, as pictures; what is assumed is said once."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.image_decoder import ImageDecoder

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def raw(data: bytes, encoding: str = "rgb8", step: int = 24, width: int = 8, height: int = 6) -> SimpleNamespace:
    return SimpleNamespace(data=data, encoding=encoding, height=height, width=width, step=step, is_bigendian=0)


def compressed(pixels: np.ndarray, form: str, extension: str = ".png") -> SimpleNamespace:
    return SimpleNamespace(data=cv2.imencode(extension, pixels)[1].tobytes(), format=form)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def decoder(said: list[str]) -> ImageDecoder:
    return ImageDecoder(ImageConfig(), said.append)


def test_rgb8_shares_the_memory_of_the_message(decoder: ImageDecoder) -> None:
    content = bytearray(RGB.tobytes())
    decoded = decoder.raw(raw(content))
    content[0] ^= 255
    assert decoded[0, 0, 0] == content[0]


@pytest.mark.fault("encodings", case="09")
@pytest.mark.parametrize("step", [0, 4, 23, 48, 10**9])
def test_a_wrong_step_is_put_right_when_the_data_fit_and_said_once(
    decoder: ImageDecoder, said: list[str], step: int
) -> None:
    for _ in range(3):
        np.testing.assert_array_equal(decoder.raw(raw(RGB.tobytes(), step=step)), RGB)
    assert len(said) == 1 and f"step {step}" in said[0] and "24 is taken" in said[0]


@pytest.mark.fault("encodings", case="09")
def test_a_wrong_step_with_data_of_another_size_is_refused(decoder: ImageDecoder, said: list[str]) -> None:
    with pytest.raises(FrameError, match=r"another size: got 192 bytes with step 0.*144|another size"):
        decoder.raw(raw(bytes(8 * 6 * 4), "bgr8", 0))  # pixels of four bytes
    assert said == []


@pytest.mark.fault("encodings", case="05")
@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_gets_its_colors(decoder: ImageDecoder, pattern: str, extension: str) -> None:
    color = {"r": 200, "g": 120, "b": 40}
    mosaic = np.empty((32, 48), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = color[letter]
    kind = "png" if extension == ".png" else "jpeg"
    for form, pixels in (
        (f"bayer_{pattern}8; {kind} compressed ", mosaic),
        (f"bayer_{pattern}16; {kind} compressed ", mosaic.astype(np.uint16) << 8 if kind == "png" else mosaic),
    ):
        picture = decoder.compressed(compressed(pixels, form, extension))
        # JPEG blurs the mosaic itself.
        assert np.abs(picture[4:-4, 4:-4].astype(int) - [200, 120, 40]).max() <= (1 if kind == "png" else 40)


def test_an_image_that_was_colored_before_it_was_compressed_is_left_alone(decoder: ImageDecoder) -> None:
    message = compressed(RGB[..., ::-1], "bayer_rggb8; png compressed bgr8")
    np.testing.assert_array_equal(decoder.compressed(message), RGB)


@pytest.mark.fault("encodings", case="06")
def test_the_range_of_16_bits_is_a_parameter_and_said_once(said: list[str]) -> None:
    config = ImageConfig()
    decoder = ImageDecoder(config, said.append)
    thermal = (7534 + np.arange(48) % 70).astype(np.uint16).reshape(6, 8)
    messages = [raw(thermal.tobytes(), "mono16", 16), compressed(thermal, "mono16; png compressed mono16")]
    for message, decode in zip(messages, (decoder.raw, decoder.compressed), strict=True):
        assert len(np.unique(decode(message))) == 48
    assert len(said) == 1 and "7534.." in said[0] and "image.range" in said[0]
    config.range = "7000..8000"  # live
    expected = np.rint((thermal - 7000.0) * 0.255).astype(np.uint8)
    np.testing.assert_array_equal(decoder.raw(messages[0])[..., 0], expected)
    config.range = "full"
    assert np.unique(decoder.compressed(messages[1])).tolist() == [29]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("32FC1; compressedDepth png", "depth topic"),
        ("16UC1; png compressed ", "depth topic"),
        ("h264", "video"),
    ],
)
def test_what_is_no_picture_is_refused_by_the_name_of_its_format(decoder: ImageDecoder, form: str, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        decoder.compressed(compressed(RGB, form))


@pytest.mark.fault("image judged before decoding")
@pytest.mark.parametrize(
    ("width", "height", "words"), [(8, 2**32 - 1, "too large"), (2**32 - 1, 2**32 - 1, "too large"), (0, 6, "empty")]
)
def test_sizes_of_raw_messages_are_judged_first(decoder: ImageDecoder, width: int, height: int, words: str) -> None:
    for step in (0, 24, 2**32 - 1):
        with pytest.raises(FrameError, match=words):
            decoder.raw(raw(RGB.tobytes(), step=step, width=width, height=height))


@pytest.mark.fault("image judged before decoding")
def test_the_limit_is_a_parameter_for_raw_and_compressed_alike(said: list[str]) -> None:
    decoder = ImageDecoder(ImageConfig(max_pixels=47), said.append)
    for refused in (
        lambda: decoder.raw(raw(RGB.tobytes())),
        lambda: decoder.compressed(compressed(RGB, "png")),
        lambda: decoder.file(cv2.imencode(".jpg", RGB)[1].tobytes()),
    ):
        with pytest.raises(FrameError, match="at most 47 pixels"):
            refused()
    decoder.config.max_pixels = 48
    np.testing.assert_array_equal(decoder.raw(raw(RGB.tobytes())), RGB)

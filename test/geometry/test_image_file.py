"""Files of pictures: the whole ones are taken; those that are damaged, cut off or too large cost nothing."""

from __future__ import annotations

import io
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.image_file import PADDING, decode_file
from spann3r_ros.geometry.jpeg_scans import MOST_SCANS

MOST = 50_000_000


def photograph(width: int = 96, height: int = 64, grain: float = 12.0) -> NDArray[np.uint8]:
    """Noise of two scales, so that every block of a JPEG has something in it."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.normal(128, 60, (height // 8, width // 8, 3)), (width, height))
    return np.clip(coarse + rng.normal(0, grain, (height, width, 3)), 0, 255).astype(np.uint8)


RGB = photograph()


def encoded(kind: str, pixels: NDArray[np.uint8] = RGB, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


FORMS = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 4}}
JPEGS = {name: encoded("JPEG", quality=85, **options) for name, options in FORMS.items()}
JPEG = JPEGS["baseline"]
END = b"\xff\xd9"
PNG = encoded("PNG")


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width: int, height: int, *chunks: bytes, depth: int = 8, color: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def refuses(content: bytes, words: str = "compressed image") -> None:
    with pytest.raises(FrameError, match=words):
        decode_file(content, MOST)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("PPM", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_formats_without_loss_come_back_exactly(kind: str, options: dict[str, object]) -> None:
    np.testing.assert_array_equal(decode_file(encoded(kind, **options), MOST), RGB)


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_is_what_opencv_makes_of_it(name: str) -> None:
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(JPEGS[name], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_allclose(decode_file(JPEGS[name], MOST), expected, atol=2)


def test_gray_and_16_bits_stay_what_they_are() -> None:
    gray = (RGB[..., 0].astype(np.uint16) << 8) + 7
    found = decode_file(cv2.imencode(".png", gray)[1].tobytes(), MOST)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, gray)
    assert decode_file(cv2.imencode(".jpg", RGB[..., 0])[1].tobytes(), MOST).shape == RGB.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG"):
        content = encoded(kind, exif=exif)
        expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        np.testing.assert_allclose(decode_file(content, MOST), expected, atol=2)
        assert expected.shape == (RGB.shape if orientation < 5 else (96, 64, 3)), "or OpenCV turns nothing either"


@pytest.mark.fault("image judged before decoding", case="22")
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_may_lack_its_end_marker_and_nothing_else(name: str) -> None:
    whole = JPEGS[name]
    np.testing.assert_array_equal(decode_file(whole.removesuffix(END), MOST), decode_file(whole, MOST))
    for behind in (bytes(3000), b"trailer", whole):  # padding, a vendor's notes, a preview
        np.testing.assert_array_equal(decode_file(whole + behind, MOST), decode_file(whole, MOST))
    for cut in (20, len(whole) // 3, len(whole) // 2, len(whole) * 9 // 10):
        refuses(whole[:cut])
        refuses(whole[:cut] + END)


@pytest.mark.fault("image judged before decoding", case="22")
def test_a_cut_jpeg_with_a_whole_thumbnail_is_refused() -> None:
    thumbnail = cv2.imencode(".jpg", RGB[:16, :16])[1].tobytes()
    segment = b"Exif\0\0" + thumbnail
    phone = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + JPEG[2:]
    np.testing.assert_array_equal(decode_file(phone, MOST), decode_file(JPEG, MOST))
    refuses(phone[: len(phone) * 2 // 3])


@pytest.mark.fault("image judged before decoding", case="22")
@pytest.mark.parametrize("name", JPEGS)
def test_holes_in_a_jpeg_are_found(name: str) -> None:
    """Of the size of a lost packet. Not quite all: Huffman's codes have no checksum, and may fall in step again."""
    whole, rng = encoded("JPEG", photograph(320, 240, 2.0), quality=85, **FORMS[name]), np.random.default_rng(1)
    begin = whole.index(b"\xff\xda") + 14
    passed = 0
    for trial in range(60):
        start = int(rng.integers(begin, len(whole) - 1200))
        length = int(rng.integers(300, 1200))
        filling = (b"", bytes(length), rng.integers(0, 256, length, dtype=np.uint8).tobytes())[trial % 3]
        try:
            decode_file(whole[:start] + filling + whole[start + length :], MOST)
        except FrameError:
            continue
        passed += 1
    assert passed <= 3, f"{passed} of 60"


def test_restarts_in_a_wrong_order_are_refused() -> None:
    whole = JPEGS["restarts"]
    first, second = whole.index(b"\xff\xd0"), whole.index(b"\xff\xd1")
    refuses(whole[:first] + whole[second:])


@pytest.mark.fault("image judged before decoding", case="22")
def test_a_progressive_jpeg_cut_between_two_scans_is_refused() -> None:
    whole = JPEGS["progressive"]
    scans = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 4
    tables = [whole.rindex(b"\xff\xc4", 0, scan) for scan in scans[1:]]
    for cut in tables:
        refuses(whole[:cut], "scans are missing")
        refuses(whole[:cut] + END, "scans are missing")


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    whole = JPEGS["progressive"]
    last = whole[whole.rindex(b"\xff\xda") :].removesuffix(END)
    refuses(whole.removesuffix(END) + last * MOST_SCANS + END, "JPEG of 1.. scans")


def test_padding_of_webcams_is_no_damage() -> None:
    padded = JPEG.removesuffix(END) + bytes(PADDING) + END
    np.testing.assert_array_equal(decode_file(padded, MOST), decode_file(JPEG, MOST))
    refuses(JPEG.removesuffix(END) + b"\x55" * 500 + END, "extraneous")
    refuses(JPEG.removesuffix(END) + bytes(500) + END, "hole of zero bytes")
    restarts = JPEGS["restarts"]
    second = restarts.index(b"\xff\xd1")  # in the middle nothing is padded
    refuses(restarts[:second] + b"\x55" * 4 + restarts[second:], "4 extraneous bytes")


@pytest.mark.fault("image judged before decoding")
def test_a_damaged_png_is_refused() -> None:
    refuses(PNG[: len(PNG) // 2])
    refuses(PNG[:-20])
    middle = len(PNG) // 2
    refuses(PNG[:middle] + bytes([PNG[middle] ^ 1]) + PNG[middle + 1 :], "damaged PNG")
    rows = zlib.compress(bytes(65 * 64))
    assert decode_file(png(64, 64, chunk(b"IDAT", rows)), MOST).shape == (64, 64)
    refuses(png(64, 64, chunk(b"IDAT", zlib.compress(bytes(65 * 20)))))  # checksums right, rows missing
    refuses(png(64, 64, struct.pack(">I", 2**31 - 1) + b"IDAT" + rows))  # a chunk longer than the file
    refuses(png(64, 64))


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "PPM"])
def test_other_formats_that_are_cut_off_are_refused(kind: str) -> None:
    whole = encoded(kind)
    for cut in (4, 20, len(whole) // 2, len(whole) - 30):
        refuses(whole[:cut])


@pytest.mark.fault("image judged before decoding")
def test_large_images_are_refused_by_their_header_at_no_cost() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = zlib.compress(bytes(30_001 * 30_000 // 100))
    bombs = [
        png(30_000, 30_000, chunk(b"IDAT", rows)),
        png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", rows), depth=16, color=6),
        JPEG.replace(struct.pack(">HH", 64, 96), struct.pack(">HH", 65535, 65535)),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99),
        b"P6\n40000 40000\n255\n" + bytes(99),
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 3)
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 50_000), (257, 50_000), (258, 8)))
        + bytes(8),
        # VP8X: sizes less one, of 24 bits
        b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\x0f\x3f\0\x0f\x3f\0",
    ]
    for bomb in bombs:
        with pytest.raises(FrameError):
            decode_file(bomb, MOST)
    for bomb in bombs[:3]:
        with pytest.raises(FrameError, match=r"too large.*image\.max_pixels"):
            decode_file(bomb, MOST)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000, f"{grown} KB more"  # the first of them alone would be 900 MB


def test_sizes_of_zero_are_refused() -> None:
    refuses(png(0, 64, chunk(b"IDAT", zlib.compress(b""))), "image")
    refuses(JPEG.replace(struct.pack(">HH", 64, 96), struct.pack(">HH", 0, 96)), "image")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_several_pictures_in_a_file_are_refused(kind: str) -> None:
    refuses(encoded(kind, save_all=True, append_images=[Image.fromarray(255 - RGB)]))


@pytest.mark.parametrize("content", [b"", b"\xff", b"no image at all", JPEG[:3], b"\0\0\0\x01" + bytes(500)])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    refuses(content, "JPEG or PNG")


@pytest.mark.fault("image judged before decoding")
def test_no_mutation_lets_another_exception_out() -> None:
    rng = np.random.default_rng(2)
    for whole in (JPEG, JPEGS["progressive"], PNG, encoded("WEBP"), encoded("BMP"), encoded("TIFF"), encoded("PPM")):
        for _ in range(40):
            content = bytearray(whole[: int(rng.integers(1, len(whole) + 1))])
            for place in rng.integers(0, min(len(content), 300), 3):
                content[place] = int(rng.integers(256))
            try:
                assert decode_file(bytes(content), 1_000_000).dtype in (np.uint8, np.uint16)
            except FrameError:
                continue

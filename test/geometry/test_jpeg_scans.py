"""Zeros in the middle of a JPEG are told from pictures in which nothing happens."""

from __future__ import annotations

import io
import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from spann3r_ros.geometry.jpeg_scans import ZERO_BYTES, damage

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 320, 240
ImageFile.MAXBLOCK = 1 << 20  # or Pillow cannot write optimized noise


def scenes() -> dict[str, Pixels]:
    """Pictures of all kinds, many of them with much of nothing in them."""
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    coarse = cv2.resize(rng.normal(128, 60, (HEIGHT // 8, WIDTH // 8, 3)), (WIDTH, HEIGHT))
    photo = np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255)
    spots = np.full((HEIGHT, WIDTH), 200)
    spots[::8, ::8] = 0  # the same impulse in every block
    half = photo.copy()
    half[:, WIDTH // 3 :] = 0
    text = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    cv2.putText(text, "nothing lost", (10, 120), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (0, 0, 0), 2)
    found = {
        "black": np.zeros((HEIGHT, WIDTH)),
        "white": np.full((HEIGHT, WIDTH), 255),
        "gray": np.full((HEIGHT, WIDTH), 127),
        "blue": np.broadcast_to((20, 40, 220), (HEIGHT, WIDTH, 3)),
        "slope": u * 255 / WIDTH,
        "falling": 255 - u * 255 / WIDTH,
        "steps": (u // 8) * 6,
        "both ways": (u + v) / 3,
        "board": 255 * ((u // 8 + v // 8) % 2),
        "stripes": 255 * (u % 2),
        "spots": spots,
        "noise": rng.integers(0, 256, (HEIGHT, WIDTH, 3)),
        "photo": photo,
        "half black": half,
        "text": text,
    }
    return {
        name: np.array(np.broadcast_to(p[..., None] if p.ndim == 2 else p, (HEIGHT, WIDTH, 3)), np.uint8)
        for name, p in found.items()
    }


def encoded(pixels: Pixels, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


FORMS: dict[str, dict[str, object]] = {
    "baseline": {},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 4},
}


@pytest.mark.fault("image judged before decoding", case="22")
@pytest.mark.parametrize("form", FORMS)
def test_no_good_picture_is_taken_for_a_damaged_one(form: str) -> None:
    judged = 0
    for pixels in scenes().values():
        for quality, subsampling in itertools.product((1, 75, 95, 100), (0, 1, 2)):
            assert not damage(encoded(pixels, quality=quality, subsampling=subsampling, **FORMS[form]))
            judged += 1
        for quality in (5, 90):
            assert not damage(encoded(pixels[..., 1], quality=quality, **FORMS[form]))
            judged += 1
        assert not damage(cv2.imencode(".jpg", pixels)[1].tobytes())
    assert judged > 200


@pytest.mark.fault("image judged before decoding", case="22")
@pytest.mark.parametrize("form", ["baseline", "optimized", "restarts"])
def test_zeros_in_a_photograph_are_found_wherever_they_are(form: str) -> None:
    rng = np.random.default_rng(0)
    for quality, subsampling in itertools.product((50, 80, 95), (0, 2)):
        whole = encoded(scenes()["photo"], quality=quality, subsampling=subsampling, **FORMS[form])
        begin = whole.rindex(b"\xff\xda") + 14
        for length in (ZERO_BYTES + 16, 40, 240):
            for start in rng.integers(begin, len(whole) - length - 2, 10):
                assert "hole" in damage(whole[:start] + bytes(length) + whole[start + length :])


def test_other_damage_is_not_its_business() -> None:
    whole = encoded(scenes()["photo"], quality=80)
    begin = whole.rindex(b"\xff\xda") + 14
    assert not damage(whole[:begin] + whole[begin + 100 :]), "what is missing, the decoder may tell"
    scans = encoded(scenes()["photo"], progressive=True)
    assert "scans are missing" in damage(scans[: scans.rindex(b"\xff\xc4")] + b"\xff\xd9")

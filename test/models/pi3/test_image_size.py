from __future__ import annotations

import pytest

from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3.image_size import size_under


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (574, 434)),
        ((480, 640), (434, 574)),
        ((1280, 720), (672, 378)),
        ((1241, 376), (924, 266)),
        ((100, 100), (504, 504)),
        ((3000, 200), (1960, 126)),
        ((20000, 16), (17850, 14)),
    ],
)
def test_sizes_are_the_authors(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert size_under(*size, pixel_limit=255_000, patch=14) == expected


def test_the_official_size_is_that_of_an_image_of_4_to_3() -> None:
    assert Pi3Architecture().image_size == (434, 574)

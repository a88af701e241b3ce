from __future__ import annotations

import dataclasses

import pytest

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.checkpoint.architecture_json import architecture_from_json, architecture_to_json
from spann3r_ros.models.salad.architecture import TINY, SaladArchitecture


def test_official_descriptors_have_8448_numbers_and_survive_as_json() -> None:
    assert SaladArchitecture().descriptor_width == 8448
    assert architecture_from_json(architecture_to_json(TINY)) == TINY


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clusters": 0}, "clusters of SALAD: got 0"),
        ({"iterations": 1000}, "iterations of SALAD"),
        ({"image_size": (330, 336)}, r"image size of SALAD: got \(330, 336\); expected multiples of the patch, 14"),
        ({"encoder": DinoSizes()}, "registers of SALAD's encoder: got 4"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SaladArchitecture(), **fields)  # type: ignore[arg-type]

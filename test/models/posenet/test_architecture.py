from __future__ import annotations

import dataclasses

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.checkpoint.architecture_json import architecture_from_json, architecture_to_json
from spann3r_ros.models.posenet.architecture import PosenetArchitecture, scaled


def test_modules_give_the_published_channels() -> None:
    assert [PosenetArchitecture().outputs(n) for n in range(9)] == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_it_survives_as_json() -> None:
    architecture = scaled(7, pool="padded", channels="rgb", rotation="camera_from_world", mean_size=(256, 341))
    assert architecture_from_json(architecture_to_json(architecture)) == architecture


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pool": "max"}, r"pool of PoseNet: got 'max'; expected ceil \| padded"),
        ({"channels": "gray"}, r"channels of PoseNet: got 'gray'"),
        ({"rotation": "both"}, r"rotation of PoseNet"),
        ({"hidden": 0}, r"channels of PoseNet: got .*integers 1 \.\. 16384"),
        ({"projection": 10**9}, r"channels of PoseNet"),
        ({"mean_size": (0, 4)}, r"mean_size of PoseNet"),
        ({"image_size": (96, 96)}, r"image size of PoseNet"),
        ({"short_side": 100}, r"short_side of PoseNet: got 100; expected >= 224"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PosenetArchitecture(), **fields)  # type: ignore[arg-type]

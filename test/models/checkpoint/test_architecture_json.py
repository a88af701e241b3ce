"""Architectures in the metadata of a file of weights."""

import json

import pytest

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.architecture_json import architecture_from_json, architecture_to_json
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.vggt import architecture as vggt
from spann3r_ros.models.vggt.architecture import VggtArchitecture


@pytest.mark.parametrize(
    "architecture",
    [
        Dust3rArchitecture(),
        Dust3rArchitecture(head="linear", decoder_depth=3, confidence_range=(0.0, 1.0), confidence_mode="sigmoid"),
        Spann3rArchitecture(),
        VggtArchitecture(),
        vggt.TINY,
        Spann3rArchitecture(
            trunk=Dust3rArchitecture(absolute_position=True, metric=True), value_rope=True, value_features=True
        ),
    ],
)
def test_json_round_trip(architecture):
    text = architecture_to_json(architecture)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert architecture_from_json(text) == architecture


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"family": "nerf"}',
        '{"family": "dust3r", "width": 3}',
        '{"family": "vggt", "encoder": {"depth": 1000000}}',
        '{"family": "vggt", "encoder": {"resize": 3}}',
        '{"family": "vggt", "layers": [0, 1, 2, 24]}',
        '{"family": "dust3r", "patch_size": true}',
        '{"family": "dust3r", "encoder_depth": 1000000}',
        '{"family": "dust3r", "encoder_heads": 0}',
        '{"family": "dust3r", "mlp_ratio": NaN}',
        '{"family": "dust3r", "mlp_ratio": 1e300}',
        '{"family": "dust3r", "encoder_depth": ' + 4000 * "9" + "}",
        '{"family": "dust3r", "encoder_depth": ' + 5000 * "9" + "}",
        '{"family": "dust3r", "image_size": [16, 1048576]}',
        '{"family": "dust3r", "image_size": [16]}',
        '{"family": "dust3r", "rope_base": 0}',
        '{"family": "spann3r", "value_depth": 1000000}',
        '{"family": "spann3r", "trunk": {"decoder_depth": 1000000}}',
        100_000 * "[",
    ],
)
def test_other_json_is_refused(text):
    with pytest.raises(CheckpointError, match="metadata"):
        architecture_from_json(text)

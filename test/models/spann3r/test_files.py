"""The configurations of recordings."""

import json
import math

import pytest
from tiny_models import GOLDEN

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.dust3r.keywords import trunk_from_config
from spann3r_ros.models.spann3r.files import architecture_from_config


def test_recorded_configurations_are_read():
    spann3r = architecture_from_config(json.loads((GOLDEN / "spann3r_tiny_config.json").read_text()))
    assert (spann3r.value_depth, spann3r.value_heads, spann3r.value_rope) == (6, 4, False)
    trunk = spann3r.trunk
    assert (trunk.encoder_width, trunk.encoder_depth, trunk.encoder_heads) == (64, 3, 4)
    assert (trunk.decoder_width, trunk.decoder_depth, trunk.decoder_heads) == (32, 12, 2)
    assert (trunk.dpt_width, trunk.dpt_last_width, trunk.dpt_layer_widths) == (16, 8, (8, 12, 16, 24))
    assert (trunk.image_size, trunk.confidence_range) == ((48, 80), (1.0, math.inf))
    dust3r = trunk_from_config(json.loads((GOLDEN / "dust3r_tiny_config.json").read_text()))
    assert (dust3r.encoder_width, dust3r.decoder_depth, dust3r.image_size) == (32, 10, (384, 512))


def test_a_configuration_with_other_values_inside_is_refused():
    config = json.loads((GOLDEN / "spann3r_tiny_config.json").read_text())
    config["mem"]["value_dim"] = 32
    with pytest.raises(CheckpointError, match=r"'value_dim'.*got 32; expected 64"):
        architecture_from_config(config)


def test_a_configuration_without_a_value_encoder_is_refused():
    config = json.loads((GOLDEN / "dust3r_tiny_config.json").read_text())
    with pytest.raises(CheckpointError, match="no 'mem'"):
        architecture_from_config(config)

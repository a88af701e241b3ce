"""Written forms of an architecture: what is read, what is refused, and that nothing is evaluated."""

import json
import math

import pytest
from tiny_models import GOLDEN

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.dust3r import keywords as formats
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture

OFFICIAL = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='dpt', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12)"
)


def test_the_official_constructor_is_the_default_architecture():
    assert Dust3rArchitecture(**formats.fields_from_constructor(OFFICIAL)) == Dust3rArchitecture()


def test_a_constructor_can_state_every_size():
    text = OFFICIAL.replace("(512, 512)", "224").replace("'dpt'", "'linear'").replace("1024", "64").replace("=16", "=4")
    fields = formats.fields_from_constructor(text.replace("RoPE100", "RoPE10"))
    expected = {"image_size": (224, 224), "head": "linear", "encoder_width": 64, "encoder_heads": 4, "rope_base": 10.0}
    assert fields.items() >= expected.items()


@pytest.mark.parametrize(
    "text",
    [
        "AsymmetricCroCo3DStereo(enc_depth=__import__('os').system('touch {marker}'))",
        "__import__('os').system('touch {marker}')",
        "AsymmetricCroCo3DStereo(enc_depth=(lambda: 24)())",
        "AsymmetricCroCo3DStereo(enc_depth=[open('{marker}', 'w') for _ in (1,)])",
        "AsymmetricCroCo3DStereo(enc_depth=12 + 12)",
        "AsymmetricCroCo3DStereo(enc_depth=-'a')",
        "AsymmetricCroCo3DStereo(enc_depth=nan)",
        "AsymmetricCroCo3DStereo(enc_depth=f'{{1}}')",
        "AsymmetricCroCo3DStereo(24)",
        "AsymmetricCroCo3DStereo(**{{'enc_depth': 24}})",
        "AsymmetricCroCo3DStereo.__class__()",
        "AsymmetricMASt3R(enc_depth=24)",
        "AsymmetricCroCo3DStereo(enc_depth=24",
        "AsymmetricCroCo3DStereo(unheard_of=1)",
        "AsymmetricCroCo3DStereo(output_mode='pts3d+desc24')",
        "AsymmetricCroCo3DStereo(pos_embed='cosine')",
        "AsymmetricCroCo3DStereo(depth_mode=('exp', 0, 10))",
        "AsymmetricCroCo3DStereo(depth_mode='exp')",
        "AsymmetricCroCo3DStereo(conf_mode=('exp', None, inf))",
        "AsymmetricCroCo3DStereo(enc_depth='many')",
        "(" * 500 + ")" * 500,
        "",
    ],
)
def test_other_constructors_are_refused_and_never_run(text, tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(CheckpointError):
        formats.fields_from_constructor(text.replace("{marker}", str(marker)).replace("{{", "{").replace("}}", "}"))
    assert not marker.exists()


def test_the_refusal_names_the_keyword():
    with pytest.raises(CheckpointError, match=r"unknown keyword.*unheard_of=1.*enc_embed_dim"):
        formats.fields_from_constructor("AsymmetricCroCo3DStereo(unheard_of=1)")


def test_recorded_configurations_are_read():
    spann3r = formats.architecture_from_config(json.loads((GOLDEN / "spann3r_tiny_config.json").read_text()))
    assert isinstance(spann3r, Spann3rArchitecture)
    assert (spann3r.value_depth, spann3r.value_heads, spann3r.value_rope) == (6, 4, False)
    trunk = spann3r.trunk
    assert (trunk.encoder_width, trunk.encoder_depth, trunk.encoder_heads) == (64, 3, 4)
    assert (trunk.decoder_width, trunk.decoder_depth, trunk.decoder_heads) == (32, 12, 2)
    assert (trunk.dpt_width, trunk.dpt_last_width, trunk.dpt_layer_widths) == (16, 8, (8, 12, 16, 24))
    assert (trunk.image_size, trunk.confidence_range) == ((48, 80), (1.0, math.inf))
    dust3r = formats.architecture_from_config(json.loads((GOLDEN / "dust3r_tiny_config.json").read_text()))
    assert isinstance(dust3r, Dust3rArchitecture)
    assert (dust3r.encoder_width, dust3r.decoder_depth, dust3r.image_size) == (32, 10, (384, 512))


def test_a_configuration_with_other_values_inside_is_refused():
    config = json.loads((GOLDEN / "spann3r_tiny_config.json").read_text())
    config["mem"]["value_dim"] = 32
    with pytest.raises(CheckpointError, match=r"'value_dim'.*got 32; expected 64"):
        formats.architecture_from_config(config)


def test_flat_keywords_with_json_infinities_are_read():
    config = json.loads('{"enc_depth": 2, "depth_mode": ["exp", -Infinity, Infinity], "freeze": "none"}')
    assert formats.architecture_from_config(config) == Dust3rArchitecture(encoder_depth=2)


@pytest.mark.parametrize(
    "architecture",
    [
        Dust3rArchitecture(),
        Dust3rArchitecture(head="linear", decoder_depth=3, confidence_range=(0.0, 1.0), confidence_mode="sigmoid"),
        Spann3rArchitecture(),
        Spann3rArchitecture(
            trunk=Dust3rArchitecture(absolute_position=True, metric=True), value_rope=True, value_features=True
        ),
    ],
)
def test_json_round_trip(architecture):
    text = formats.architecture_to_json(architecture)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert formats.architecture_from_json(text) == architecture


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"family": "vggt"}', '{"family": "dust3r", "width": 3}'])
def test_other_json_is_refused(text):
    with pytest.raises(CheckpointError, match="metadata"):
        formats.architecture_from_json(text)


@pytest.mark.parametrize(("hidden", "width"), [(4096, 1024), (100, 49), (103, 77), (257, 61), (1, 3)])
def test_the_mlp_ratio_gives_the_hidden_width_back(hidden, width):
    ratio = formats._mlp_ratio({"b.mlp.fc1.weight": (hidden, width)}, "b")
    assert int(width * ratio) == hidden

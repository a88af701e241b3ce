"""The published descriptions of a network: what is read, what is refused, and that nothing is evaluated."""

import json

import pytest

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.dust3r import keywords
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture

OFFICIAL = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='dpt', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12)"
)


def test_the_official_constructor_is_the_default_architecture():
    assert Dust3rArchitecture(**keywords.fields_from_constructor(OFFICIAL)) == Dust3rArchitecture()


def test_a_constructor_can_state_every_size():
    text = OFFICIAL.replace("(512, 512)", "224").replace("'dpt'", "'linear'").replace("1024", "64").replace("=16", "=4")
    fields = keywords.fields_from_constructor(text.replace("RoPE100", "RoPE10"))
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
        keywords.fields_from_constructor(text.replace("{marker}", str(marker)).replace("{{", "{").replace("}}", "}"))
    assert not marker.exists()


def test_the_refusal_names_the_keyword():
    with pytest.raises(CheckpointError, match=r"unknown keyword.*unheard_of=1.*enc_embed_dim"):
        keywords.fields_from_constructor("AsymmetricCroCo3DStereo(unheard_of=1)")


def test_flat_keywords_with_json_infinities_are_read():
    config = json.loads('{"enc_depth": 2, "depth_mode": ["exp", -Infinity, Infinity], "freeze": "none"}')
    assert keywords.trunk_from_config(config) == Dust3rArchitecture(encoder_depth=2)

from __future__ import annotations

from typing import Any

import pytest

from spann3r_ros.blocks.sizes import DinoSizes, check_heads, check_sizes
from spann3r_ros.errors import ConfigError


def test_a_size_out_of_range_is_refused_by_name() -> None:
    check_sizes("a network", {"width": (8, 1, 16)})
    with pytest.raises(ConfigError, match=r"depth of a network: got 0; expected 1 \.\. 4"):
        check_sizes("a network", {"width": (8, 1, 16), "depth": (0, 1, 4)})
    with pytest.raises(ConfigError, match="got True"):
        check_sizes("a network", {"width": (True, 1, 16)})


def test_heads_must_divide_the_width_and_rotary_ones_four_times() -> None:
    check_heads("encoder", 12, 2)
    with pytest.raises(ConfigError, match="got 12 with 5 heads; expected a multiple of the number of heads"):
        check_heads("encoder", 12, 5)
    with pytest.raises(ConfigError, match="2-D RoPE"):
        check_heads("encoder", 12, 2, rotary=True)


@pytest.mark.parametrize(
    "values", [{"width": 0}, {"heads": 3}, {"native_grid": 0}, {"resize": "nearest"}, {"registers": -1}]
)
def test_an_encoder_of_impossible_sizes_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        DinoSizes(**values)


def test_special_tokens_are_the_class_and_the_registers() -> None:
    assert DinoSizes().specials == 5 and DinoSizes(registers=0).specials == 1

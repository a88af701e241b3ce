import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.evaluation.protocol import PROTOCOLS, protocol


def test_the_published_strides() -> None:
    found = protocol("spann3r")
    assert [found.stride(layout) for layout in ("7scenes", "nrgbd", "dtu", "bag")] == [20, 40, 5, 1]
    assert found.alignment == "median" and found.icp_distance == {"m": 0.1, "mm": 100.0} and found.max_points == 0
    assert protocol("sparse").stride("7scenes") == 200 and protocol("dense").stride("nrgbd") == 100
    assert protocol("every").stride("7scenes") == 1


def test_a_changed_protocol_says_so() -> None:
    assert protocol("spann3r", alignment=None) is PROTOCOLS["spann3r"]
    assert protocol("spann3r", alignment="median") is PROTOCOLS["spann3r"]
    changed = protocol("spann3r", alignment="sim3", max_points=1000)
    assert changed.name == "spann3r with alignment=sim3, max_points=1000"
    assert (changed.alignment, changed.max_points) == ("sim3", 1000)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"protocol.*spann3r \| sparse \| dense \| every"):
        protocol("usual")
    with pytest.raises(ConfigError, match=r"alignment.*median"):
        protocol("every", alignment="icp")

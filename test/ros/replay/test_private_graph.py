import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.ros.replay.private_graph import DOMAINS, private_environment, running_rviz


def test_nobody_else_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with private_environment(tmp_path / "log") as found:
        pass
    assert int(found["ROS_DOMAIN_ID"]) in DOMAINS and found["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    profile = Path(found["FASTDDS_DEFAULT_PROFILES_FILE"])
    assert profile.name == "fastdds_loopback.xml" and profile.is_file()
    assert found["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(profile)
    assert found["ROS_LOG_DIR"] == str((tmp_path / "log").resolve())


@pytest.mark.fault("ROS tools")
def test_two_runs_never_share_a_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    taken = set()
    with ExitStack() as runs:
        for _ in DOMAINS:
            taken.add(runs.enter_context(private_environment(tmp_path))["ROS_DOMAIN_ID"])
        assert taken == {str(domain) for domain in DOMAINS}
        with pytest.raises(ConfigError, match="no DDS domain is free"), private_environment(tmp_path):
            pass
    with private_environment(tmp_path) as environment:
        assert environment["ROS_DOMAIN_ID"] in taken, "given back"


def test_a_machine_without_rviz_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="no rviz2 on the PATH"), running_rviz({}):
        pass

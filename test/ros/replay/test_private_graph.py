from pathlib import Path

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.ros.replay.private_graph import private_environment, running_rviz


def test_nobody_else_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    found = private_environment(tmp_path / "log")
    assert 32 <= int(found["ROS_DOMAIN_ID"]) <= 101 and found["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    profile = Path(found["FASTDDS_DEFAULT_PROFILES_FILE"])
    assert profile.name == "fastdds_loopback.xml" and profile.is_file()
    assert found["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(profile)
    assert found["ROS_LOG_DIR"] == str((tmp_path / "log").resolve())


def test_a_machine_without_rviz_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="no rviz2 on the PATH"), running_rviz({}):
        pass

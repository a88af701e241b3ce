"""YAML and JSON that would cost a parser its stack, the memory or minutes."""

import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.structured import read_json, read_yaml

DEEP = [f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 8)}]" for level in range(20)]


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 100_000,
        "".join(" " * level + "a:\n" for level in range(1000)),
        "a: &a [1]\n" + "\n".join(DEEP),
        "a: &a [*a, *a]",
        "x: " + "9" * 5000,
        "!!python/object/apply:os.system [true]",
        "a: [",
        b"a: \xff\xfe\xfd",
        "2026-99-99",
        "? [1]\n: 2",
        "\x00",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_yaml(tmp_path, text):
    (tmp_path / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "{", b"\xff{}", "", "nul"], ids=lambda t: repr(t[:9]))
def test_hostile_json(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError):
        read_json(tmp_path / "a.json")


def test_plain_files_are_read(tmp_path):
    (tmp_path / "a").write_text("\ufeffa: {b: [1, 2.5, yes]}\r\nc: 'x: [['\r\n", encoding="utf-8")
    assert read_yaml(tmp_path / "a") == {"a": {"b": [1, 2.5, True]}, "c": "x: [["}
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "b")
    with pytest.raises(DataError, match="no regular file"):
        read_json(tmp_path)
    with pytest.raises(DataError, match="at most 3"):
        read_yaml(tmp_path / "a", most=3)

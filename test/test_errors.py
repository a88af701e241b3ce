from __future__ import annotations

import inspect
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_fuzz import FOUND, MOST_BYTES, READERS, Bench, Reader, mutated

from spann3r_ros import errors

SUPPORT = Path(__file__).parent / "support"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("readers"))


def test_a_message_says_what_was_wrong_what_is_allowed_and_what_to_do() -> None:
    error = errors.FrameError("image size", got=(3, 4), expected="multiples of 16", next_step="Resize it")
    assert str(error) == "image size: got (3, 4); expected multiples of 16. Resize it"
    assert (error.got, error.expected, error.next_step) == ((3, 4), "multiples of 16", "Resize it")
    assert str(errors.DataError("no bag", got=0, expected=0)) == "no bag: got 0; expected 0"


@pytest.mark.fault("ROS tools")
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("torch", "`pip install torch`"),
        ("cv2", "`pip install opencv-python-headless` or `sudo apt install python3-opencv`"),
        ("rclpy.node", "ROS 2 cannot be imported (broken). Source your workspace"),
        ("spann3r_ros.msg", "messages of this package cannot be imported (broken). Source your workspace"),
        ("sensor_msgs.msg", "`sudo apt install ros-$ROS_DISTRO-sensor-msgs`"),
        (None, "broken"),
    ],
)
def test_a_module_that_is_missing_is_named_with_the_line_that_installs_it(module: str | None, words: str) -> None:
    text = errors.missing_module(ImportError("broken", name=module))
    assert words in text
    assert ("your workspace" in text) == ((module or "").startswith(("rclpy", "spann3r_ros")))


def test_what_is_no_text_is_escaped() -> None:
    assert str(errors.DataError("caf\udce9", got="\udcff")) == r"caf\udce9: got \udcff"


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if inspect.isclass(k) and k.__module__ == errors.__name__]
)
def test_every_error_is_caught_by_the_base(kind: type[errors.Spann3rError]) -> None:
    # What a caller handed in is a ValueError; what a network made of sound input is an ArithmeticError.
    builtin = ArithmeticError if kind is errors.AnswerError else ValueError
    assert issubclass(kind, errors.Spann3rError) and (kind is errors.Spann3rError or issubclass(kind, builtin))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_every_reader_reads_its_valid_file(bench: Bench, reader: Reader) -> None:
    error = bench.read(reader, bench.content(reader))
    assert error is None or (reader.name == "header of a checkpoint" and isinstance(error, errors.CheckpointError))


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changed=st.integers(0, 2**32).map(random.Random) | st.binary(max_size=64))
def test_no_reader_lets_a_foreign_exception_out(bench: Bench, reader: Reader, changed: random.Random | bytes) -> None:
    content = changed if isinstance(changed, bytes) else mutated(bench.content(reader), changed)
    error = bench.read(reader, content)
    assert error is None or isinstance(error, errors.Spann3rError)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(("name", "number"), [(name, n) for name, found in FOUND.items() for n in range(len(found))])
def test_files_that_once_let_one_out(bench: Bench, name: str, number: int) -> None:
    (reader,) = (reader for reader in READERS if reader.name == name)
    old, new = FOUND[name][number]
    content = bench.content(reader)
    assert old in content
    assert isinstance(bench.read(reader, content.replace(old, new)), errors.Spann3rError)


@pytest.mark.fault("hostile file")
def test_a_bomb_of_arrays_is_refused(bench: Bench, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("points.npy", bytes(65 << 20))
    for name in ("arrays of a saved map", "pointmap"):
        (reader,) = (reader for reader in READERS if reader.name == name)
        assert "unpack to" in str(bench.read(reader, (tmp_path / "bomb.npz").read_bytes()))


@pytest.mark.slow
@pytest.mark.fault("hostile file")
def test_hostile_files_cost_little_memory() -> None:
    # In a process of its own, which forks: it must have no threads.
    script = "import json, reader_fuzz; print(json.dumps(reader_fuzz.costs()))"
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", script]
    result = subprocess.run(run, capture_output=True, text=True, errors="replace", env=environment, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found.keys() == {reader.name for reader in READERS}
    assert not [name for name, (ours, _) in found.items() if not ours]
    assert {name: size for name, (_, size) in found.items() if size > MOST_BYTES} == {}
    assert any(size > 100_000 for _, size in found.values()), "or nothing was measured"


@pytest.mark.slow
@pytest.mark.fault("hostile file")
def test_the_guided_fuzzer_gives_a_reader_files(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="`make fuzz` installs it where it can")
    command = [sys.executable, str(SUPPORT / "guided_fuzz.py"), "0", str(tmp_path), "--seconds", "2"]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    found = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    assert run.returncode == 0 and found and int(found[1]) > 100, run.stdout + run.stderr[-2000:]

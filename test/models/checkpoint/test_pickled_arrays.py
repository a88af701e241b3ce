"""Pickled dictionaries of arrays: what NumPy writes is read to the last bit, and nothing in a file is ever called."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file

CONV = np.random.default_rng(0).normal(size=(2, 3, 1, 2)).astype(np.float32)
NESTED = {"conv1": {"weights": CONV, "biases": np.array([1.0, -2.0])}, "fc": [CONV[0], CONV[1]]}


def read(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    path.write_bytes(content)
    return read_tensor_file(path).tensors


def assert_nested(found: dict[str, torch.Tensor]) -> None:
    assert list(found) == ["conv1.weights", "conv1.biases", "fc.0", "fc.1"]
    np.testing.assert_array_equal(found["conv1.weights"], CONV)
    assert found["conv1.biases"].dtype == torch.float64 and found["conv1.biases"].tolist() == [1.0, -2.0]
    np.testing.assert_array_equal(found["fc.1"], CONV[1])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert_nested(read(tmp_path / "w.pickle", pickle.dumps(NESTED, protocol)))


def test_a_npy_that_holds_a_dictionary(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", NESTED, allow_pickle=True)  # type: ignore[arg-type]
    assert_nested(read_tensor_file(tmp_path / "w.npy").tensors)


def test_big_endian_and_fortran_order(tmp_path: Path) -> None:
    content = OrderedDict(a=CONV.astype(">f4"), b=np.asfortranarray(CONV), c=CONV.astype(np.float16))
    found = read(tmp_path / "w.pickle", pickle.dumps(content, 2))
    np.testing.assert_array_equal(found["a"], CONV)
    np.testing.assert_array_equal(found["b"], CONV)
    assert found["c"].dtype == torch.float16


def python_2(text: bool) -> bytes:
    """{"conv1/7x7_s2_0": an array (1, 2)} as Python 2 and its NumPy pickle it: keys and numbers are byte strings."""
    raw = np.array([1.5, -2.0], "<f4").tobytes()
    if text:
        data = "".join(f"\\x{byte:02x}" for byte in raw)
        state = f"(I1\n(I1\nI2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'{data}'\ntb"
        return (
            f"(dp0\nS'conv1/7x7_s2_0'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR{state}s."
        ).encode()
    name = b"conv1/7x7_s2_0"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01K\x02\x86"
    dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return b"\x80\x02}q\x00(U" + bytes([len(name)]) + name + array + dtype + b"\x89U\x08" + raw + b"tbu."


@pytest.mark.parametrize("text", [False, True])
def test_pickles_of_python_2(tmp_path: Path, text: bool) -> None:
    content = python_2(text)
    loaded = pickle.loads(content, encoding="bytes")  # the sample is what it says
    np.testing.assert_array_equal(loaded[b"conv1/7x7_s2_0"], [[1.5, -2.0]])
    assert read(tmp_path / "w.pickle", content)["conv1/7x7_s2_0"].tolist() == [[1.5, -2.0]]


class RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"a": CONV, "b": RunsCode(tmp_path / "ran")}, protocol)
    with pytest.raises(CheckpointError, match=r"w\.pickle wants to run code.*nothing was run.*system.*Do not trust"):
        read(tmp_path / "w.pickle", content)
    np.save(tmp_path / "w.npy", {"a": RunsCode(tmp_path / "ran")}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"w\.npy wants to run code"):
        read_tensor_file(tmp_path / "w.npy")
    assert not (tmp_path / "ran").exists()


PICKLED = pickle.dumps({"a": CONV}, 3)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PICKLED[:-1], "no instruction at byte"),
        (PICKLED[: len(PICKLED) // 2], "damaged"),
        (PICKLED.replace(b"f4", b"O8"), "a of type <O"),
        (PICKLED.replace(CONV.tobytes(), CONV.tobytes()[:-4] + b"\xff\xff\xff\xff"), None),
        (pickle.dumps({"a": np.array([None])}, 2), "a of type"),
        (pickle.dumps({"a": np.arange(3)}, 2), "a of type <i8"),
        (pickle.dumps({"a": 3.0}, 2), "int|float in an unexpected place"),
        (pickle.dumps([CONV], 2), "list in an unexpected place"),
        (pickle.dumps({}, 2) + bytes(16), "an empty dictionary"),
        (b"\x80\x02}K\x01a." + bytes(20), "dict in an unexpected place"),
        (b"\x80\x02" + b"t" * 30, "pop from empty list"),
        (b"\x80\x02" + b"R" * 30, "an instruction without its values"),
        (b"\x80\x02j\xff\xff\xff\xff" + b"." * 20, "KeyError"),
        (b"\x80\x02]r\xff\xff\xff\xff." + bytes(20), "list in an unexpected place"),
        (b"(dp0\nI" + b"9" * 500_000 + b"\n.", "a number of more than 64 characters"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f" + bytes(20), "damaged"),
    ],
)
def test_a_damaged_or_foreign_pickle_is_refused(tmp_path: Path, content: bytes, reason: str | None) -> None:
    if reason is None:  # the numbers of weights are judged where they are loaded
        assert torch.isnan(read(tmp_path / "w.pickle", content)["a"]).sum() == 1
        return
    with pytest.raises(CheckpointError, match=rf"w\.pickle is damaged or holds no arrays by name.*{reason}|{reason}"):
        read(tmp_path / "w.pickle", content)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x80\x02cbuiltins\neval\n." + bytes(20), r"builtins\.eval"),
        (b"\x80\x02\x82\x01." + bytes(20), "EXT1"),
        (b"\x80\x02P0\n." + bytes(20), "PERSID"),
        (b"\x80\x02)\x81." + bytes(20), "NEWOBJ"),
        (b"\x80\x02cnumpy\nndarray\n)R." + bytes(20), r"numpy\.ndarray"),
        (b"\x80\x02cnumpy\ndtype\n}b." + bytes(20), "the state of"),
    ],
)
def test_instructions_that_are_not_data_are_refused(tmp_path: Path, content: bytes, named: str) -> None:
    with pytest.raises(CheckpointError, match=rf"w\.pickle .*{named}"):
        read(tmp_path / "w.pickle", content)


@pytest.mark.fault("hostile file")
def test_a_small_file_cannot_ask_for_much(tmp_path: Path) -> None:
    """One text turned into bytes a thousand times, and an array under very many names."""
    text = b"X" + (100_000).to_bytes(4, "little") + b"x" * 100_000
    encode = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(CheckpointError, match="content that is repeated without end"):
        read(tmp_path / "w.pickle", b"\x80\x02" + text + b"q\x00" + encode * 1000 + b".")
    shared = {str(number): CONV for number in range(200)}
    with pytest.raises(CheckpointError, match="more than 10000 arrays"):
        read(tmp_path / "w.pickle", pickle.dumps({str(number): shared for number in range(200)}, 2))


def test_an_array_without_names_is_no_weights(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", CONV)
    with pytest.raises(CheckpointError, match=r"w\.npy .*one array of float32, without names"):
        read_tensor_file(tmp_path / "w.npy")

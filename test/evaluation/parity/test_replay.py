from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main

CASES = {
    "sequence": (["spann3r_tiny_weights"], ["spann3r_tiny_config"], ["spann3r_tiny_sequence"]),
    "batch of two": (
        ["spann3r_tiny_weights"],
        ["spann3r_tiny_config", "spann3r_tiny_batch2"],
        ["spann3r_tiny_batch2"],
    ),
    "unordered": (
        ["spann3r_tiny_weights"],
        ["spann3r_tiny_config", "spann3r_tiny_offline"],
        ["spann3r_tiny_offline"],
    ),
    "pairs": (
        ["dust3r_tiny_dpt_weights", "dust3r_tiny_linear_head_weights"],
        ["dust3r_tiny_config"],
        ["dust3r_tiny_pairs"],
    ),
}


def arguments(golden: Path, case: str) -> list[str]:
    weights, configs, sequences = CASES[case]
    return [
        "parity",
        *("--weights", *(str(golden / f"{name}.safetensors") for name in weights)),
        *("--config", *(str(golden / f"{name}.json") for name in configs)),
        *("--sequence", *(str(golden / f"{name}.safetensors") for name in sequences)),
    ]


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_and_decision_equals_the_published_network(
    case: str, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(golden, case), "--tolerance", "2e-5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("parity: worst ") and lines[-1].endswith("decisions equal: yes")
    assert not any(line.startswith("not compared") for line in lines)


def test_every_kind_of_tensor_is_compared(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments(golden, "sequence"))
    kinds = {line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()}
    recorded = load_file(golden / "spann3r_tiny_sequence.safetensors")
    names = {name.split(".")[1].removesuffix("_s4") for name in recorded if name.startswith("step_")}
    names -= {"counters", "prune_indices", "mem_k", "mem_v"}
    assert names <= kinds and {"mem_k keys", "mem_k directions", "mem_v values"} <= kinds


@pytest.mark.parametrize(
    ("name", "place"),
    [("step_05.feat_k1", "step_05.feat_k1"), ("step_13.mem_v", "step_13.mem_v"), ("step_17.conf_1", "step_17.conf_1")],
)
def test_a_changed_recording_is_noticed(
    name: str, place: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = load_file(golden / "spann3r_tiny_sequence.safetensors")
    changed = recording[name].clone()
    changed.view(-1)[3] += 0.05 * changed.abs().max()
    save_file({**recording, name: changed}, tmp_path / "changed.safetensors")
    options = arguments(golden, "sequence")
    options[options.index("--sequence") + 1] = str(tmp_path / "changed.safetensors")
    assert main(options) == 1
    assert place in capsys.readouterr().out.splitlines()[-1]


def test_a_changed_decision_is_noticed(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = load_file(golden / "spann3r_tiny_sequence.safetensors")
    counters = recording["step_06.counters"] + torch.tensor([-1, 0, 0, 0, 0])
    save_file({**recording, "step_06.counters": counters}, tmp_path / "changed.safetensors")
    options = arguments(golden, "sequence")
    options[options.index("--sequence") + 1] = str(tmp_path / "changed.safetensors")
    assert main(options) == 1
    output = capsys.readouterr().out
    assert "decision differs: step_06.counters" in output and output.rstrip().endswith("decisions equal: no")


def test_a_changed_weight_is_noticed(golden: Path, tmp_path: Path) -> None:
    weights = load_file(golden / "spann3r_tiny_weights.safetensors")
    name = "dust3r.dec_blocks2.5.mlp.fc1.weight"
    save_file({**weights, name: weights[name] * 1.01}, tmp_path / "weights.safetensors")
    options = arguments(golden, "sequence")
    options[options.index("--weights") + 1] = str(tmp_path / "weights.safetensors")
    assert main(options) == 1


def test_a_recording_without_images_is_refused(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"step_00.feat1": torch.zeros(1)}, tmp_path / "empty.safetensors")
    options = arguments(golden, "sequence")
    options[options.index("--sequence") + 1] = str(tmp_path / "empty.safetensors")
    assert main(options) == 2
    assert "recording without images" in capsys.readouterr().err


def test_an_unreadable_configuration_is_refused(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": {}})[:-1])
    options = arguments(golden, "sequence")
    options[options.index("--config") + 1] = str(tmp_path / "config.json")
    assert main(options) == 2
    assert "config.json cannot be read" in capsys.readouterr().err


def test_a_recording_may_leave_out_which_tokens_survived(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = load_file(golden / "spann3r_tiny_sequence.safetensors")
    fewer = {
        name: tensor for name, tensor in recording.items() if not name.endswith(("prune_indices", "prune_weights"))
    }
    save_file(fewer, tmp_path / "fewer.safetensors")
    options = arguments(golden, "sequence")
    options[options.index("--sequence") + 1] = str(tmp_path / "fewer.safetensors")
    assert main(options) == 0
    assert "mem_k keys" in capsys.readouterr().out


def test_other_survivors_are_noticed(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = load_file(golden / "spann3r_tiny_sequence.safetensors")
    survivors = recording["step_13.prune_indices"].clone()
    lost = next(index for index in range(180) if index not in survivors[0].tolist())
    survivors[0, -1] = lost
    save_file({**recording, "step_13.prune_indices": survivors}, tmp_path / "changed.safetensors")
    options = arguments(golden, "sequence")
    options[options.index("--sequence") + 1] = str(tmp_path / "changed.safetensors")
    assert main(options) == 1
    assert "decision differs: step_13.prune_indices" in capsys.readouterr().out


def test_files_are_found_by_the_name_of_the_configuration(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(golden / "dust3r_tiny_config.json"), "--tolerance", "2e-5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines if "worst error" in line] == [
        "dust3r_tiny dpt",
        "dust3r_tiny linear",
    ]


def test_a_folder_is_replayed_in_one_table(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of some sets: each is replayed by the tests of its family, too."""
    for family in ("spann3r", "cut3r", "posenet", "vggt_long"):
        for path in golden.glob(f"{family}_*"):
            (tmp_path / path.name).symlink_to(path)
    configs = {path.name.removesuffix("_config.json") for path in tmp_path.glob("*_config.json")}
    assert main(["parity", "--all", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert configs | {"spann3r_tiny_batch2", "spann3r_tiny_offline"} == {row[0] for row in rows}
    assert all(int(row[2]) > 10 and row[3] == "equal" for row in rows)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"family": "gaussians"}, "of an unknown network: got 'gaussians'"),
        ({"family": ["vggt"]}, "of an unknown network"),
        ([], "expected an object"),
    ],
)
def test_a_configuration_of_another_network_is_refused(
    content: object, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some_config.json").write_text(json.dumps(content))
    save_file({"x": torch.zeros(1)}, tmp_path / "some_case.safetensors")
    assert main(["parity", str(tmp_path)]) == 2
    assert error in " ".join(capsys.readouterr().err.split())


def altered(golden: Path, folder: Path, change: str) -> Path:
    """PoseNet's set with one thing changed."""
    for path in golden.glob("posenet_tiny_*"):
        (folder / path.name).write_bytes(path.read_bytes())
    config_path, case_path = folder / "posenet_tiny_config.json", folder / "posenet_tiny_case.safetensors"
    config, tensors = json.loads(config_path.read_text()), load_file(case_path)
    stated = next(case for case in config["cases"] if case["name"] == "published_0")
    if change == "no family":
        del config["family"]
    elif change == "no sizes":
        del config["model"]
    elif change == "no input":
        del tensors["published_0/image_u8"]
    elif change == "no stated tensor":
        stated["tensors"] = {"pose": [7], "conv3_s4": [12, 14, 14]}
    elif change == "no listed tensor":
        config["tensors"] = {"port_9/cls3_xyz": [1, 3], "published_0/pose": [7], "a note": "of no case"}
    elif change == "input of another shape":
        tensors["published_0/image_u8"] = tensors["published_0/image_u8"][:100].contiguous()
    elif change == "a changed value":
        tensors["published_0/pose"] = tensors["published_0/pose"] + torch.tensor([0, 0, 0.01, 0, 0, 0, 0])
    elif change == "no weights":
        (folder / "posenet_tiny_weights.safetensors").unlink()
    elif change == "weights lack one":
        weights = load_file(folder / "posenet_tiny_weights.safetensors")
        del weights["cls3_fc.cls_fc_xy.bias"]
        save_file(weights, folder / "posenet_tiny_weights.safetensors")
    config_path.write_text(json.dumps(config))
    save_file(tensors, case_path)
    if change == "torn":
        case_path.write_bytes(case_path.read_bytes()[:-100])
    return config_path


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ("nothing", 0, r"parity: worst .*e-0[67] at .*, decisions equal: yes"),
        ("a changed value", 1, r"parity: worst .* at published_0/pose, decisions equal: yes"),
        ("no family", 2, r"recording posenet_tiny of an unknown network: got None"),
        ("no sizes", 2, r"recording posenet_tiny lacks something, .*got nothing called 'model'"),
        ("no input", 2, r"got nothing called 'published_0/image_u8'"),
        (
            "no stated tensor",
            2,
            r"lacks tensors .* configuration states: got published_0/conv3_s4; expected all 2",
        ),
        ("input of another shape", 2, r"shape of PoseNet's input"),
        ("no weights", 2, r"recording posenet_tiny of a network: got no weights beside its configuration"),
        ("weights lack one", 2, r"the file of recorded weights does not fit .*1 missing: pose3\.fc_xyz\.bias"),
        ("torn", 2, r"posenet_tiny_case\.safetensors is cut short"),
    ],
)
def test_a_set_that_is_not_whole_says_what_is_wrong(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, status: int, said: str
) -> None:
    assert main(["parity", str(altered(golden, tmp_path, change))]) == status
    printed = capsys.readouterr()
    assert re.search(said, " ".join((printed.out + printed.err).split()))


def test_what_to_compare_is_named_once(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], [str(golden), "--all", str(golden)], ["--weights", "x"], [str(tmp_path)]):
        assert main(["parity", *options]) == 2
        assert capsys.readouterr().err


def test_one_recording_that_cannot_be_replayed_does_not_hide_the_others(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in golden.glob("mast3r_tiny_*"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "a_config.json").write_text(json.dumps({"family": "gaussians"}))
    save_file({"x": torch.zeros(1)}, tmp_path / "a_case.safetensors")
    assert main(["parity", "--all", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("a ") and "cannot be replayed" in lines[1]
    assert lines[2].split()[0] == "mast3r_tiny" and lines[2].split()[3] == "equal"
    assert lines[-1] == "parity: worst inf at a, decisions equal: no"

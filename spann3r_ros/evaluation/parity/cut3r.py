"""CUT3R: recorded streams are replayed with the state carried along, with the head that a case was recorded with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spann3r_ros.config import Config
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.probes import compare_found, probed
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.geometry.focal import published_focal
from spann3r_ros.memory.recurrent import RecurrentState
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.cut3r.files import architecture_from_config
from spann3r_ros.models.cut3r.heads import placed_points, rotation_matrices
from spann3r_ros.models.cut3r.model import Cut3r, Seen
from spann3r_ros.models.cut3r.network import Cut3rNetwork
from spann3r_ros.models.cut3r.ray_map import ray_map, viewer_camera
from spann3r_ros.sim3 import Sim3

FOCAL_ITERATIONS = 10

ROUNDED_TOLERANCE = 2e-3
"""Of what was recorded with half-precision rotation, whose rounding differs from one processor to another."""

MARKS = {"dpt": "downstream_head.dpt_", "linear": "downstream_head.proj."}
"""How names of tensors begin that only one kind of head has."""


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay all cases; a report for each kind of head."""
    models: dict[str, Cut3r] = {}
    reports: dict[str, ParityReport] = {}
    ends: dict[str, RecurrentState] = {}
    for case in recorded.config["cases"]:
        name, head = case["name"], "linear" if "linear" in case.get("what", "").lower() else "dpt"
        tensors = entries(recorded.recording, f"{case['name']}/")
        report = reports.setdefault(head, ParityReport())
        if "focal" in tensors:
            _replay_focal(report, name, tensors)
            continue
        model = models.get(head) or models.setdefault(head, _model(recorded, head))
        model.settings.rounded_rotation = "fp16" in name
        if "ray_map" in tensors:
            state = ends.get("stream")
            if state is None:
                raise DataError("recorded query of a ray map", got=name, expected="the case 'stream' before it")
            _replay_ray_map(report, model, name, state, tensors)
            continue
        images = tensors.get("images", recorded.recording["stream/images"])
        ends[name] = replay_stream(report, model, case, images, recorded.config, tensors)
    return reports


def _model(recorded: RecordedSet, head: str) -> Cut3r:
    """A model with one kind of head: the file that holds it, and the trunk, which only the DPT head's file has."""
    recorded.require_weights()
    files = [read_tensor_file(path).tensors for path in recorded.weight_files]
    (own,) = (tensors for tensors in files if any(name.startswith(MARKS[head]) for name in tensors))
    trunk = {n: tensor for tensors in files for n, tensor in tensors.items() if not n.startswith("downstream_head.")}
    network = loaded(Cut3rNetwork, architecture_from_config(recorded.config, head), {**trunk, **own})
    return Cut3r(network, Config(model="cut3r", device="cpu"), "recording")


def replay_stream(
    report: ParityReport,
    model: Cut3r,
    case: Mapping[str, Any],
    images: Tensor,
    config: Mapping[str, Any],
    recorded: Recording,
) -> RecurrentState:
    """Replay frames one after the other; the state after the last.

    Args:
        report: is added to.
        model: with the recorded weights.
        case: of the configuration. What is called ``revisit`` sees the first half of its frames twice, the second time
            without an update.
        images: (T, B, H, W, 3) uint8, at least as many as the case looks at.
        config: ``masks`` are those of the case of that name, ``[step][sample]``.
        recorded: tensors of the case.
    """
    name, count = case["name"], int(case["frames"])
    is_revisit, masks = name == "revisit", config.get("masks", {}) if name == "masks" else {}
    allowed = ROUNDED_TOLERANCE if model.settings.rounded_rotation else None
    pixels = (images.permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.5
    batch, different = images.shape[1], count // 2 if is_revisit else count
    found = _beginning(model, pixels[0])
    state: RecurrentState | None = None
    for number in range(count):
        is_read_only = is_revisit and number >= different
        update = masks["update"][number] if masks else [not is_read_only] * batch
        reset = masks["reset"][number] if masks else None
        tensors, seen = _step(model, pixels[number % different], state, update, reset)
        found |= {f"step_{number:02d}.{kind}": tensor for kind, tensor in tensors.items()}
        state = seen.state
    compare_found(report, name, found, recorded, "images", allowed)
    assert state is not None
    return state


@torch.inference_mode()
def _beginning(model: Cut3r, pixels: Tensor) -> dict[str, Tensor]:
    """The state before the first frame, and the encoder's layers of that."""
    network, batch = model.network, len(pixels)
    initial = model.initial(batch)
    found = {
        "state_init": initial["state"],
        "mem_init": initial["poses"],
        "state_pos": network.state_places().expand(batch, -1, -1),
    }
    blocks = {f"enc_block_{number:02d}": block for number, block in enumerate(network.enc_blocks)}
    with probed({"patch_embed": network.patch_embed, **blocks, "enc_norm": network.enc_norm}) as outputs:
        network.encode(pixels)
    return found | outputs


@torch.inference_mode()
def _step(
    model: Cut3r, pixels: Tensor, state: RecurrentState | None, update: list[bool], reset: list[bool] | None
) -> tuple[dict[str, Tensor], Seen]:
    """What is computed in a step by recorded name, and the step."""
    network = model.network
    modules = {
        f"{which}_dec_block_{number:02d}": block
        for which, blocks in (("img", network.dec_blocks), ("state", network.dec_blocks_state))
        for number, block in enumerate(blocks)
    }
    with probed(modules) as outputs:
        seen = model.advance(pixels, state, update, reset)
    features = network.encode(pixels, model.settings.rounded_rotation)
    return {**outputs, **_found(model, seen), "feat": features}, seen


def _found(model: Cut3r, seen: Seen) -> dict[str, Tensor]:
    """What a step found out, the outputs of all heads among it."""
    network, head, interaction = model.network, model.network.downstream_head, seen.interaction
    grid, layers = interaction.grid, interaction.layers
    modules = {f"cross_tokens_{number}": block for number, block in enumerate(head.final_transform)}
    modules["pose_raw"] = head.pose_head
    if model.network.architecture.head == "dpt":
        modules |= {f"dpt_{which}_raw": head.get_submodule(f"dpt_{which}") for which in ("self", "cross", "rgb")}
        scratch = head.get_submodule("dpt_self.scratch")
        modules |= {f"dpt_self_layer_rn_{n}": scratch.get_submodule(f"layer_rn.{n}") for n in range(4)}
        modules |= {f"dpt_self_refinenet{n}": scratch.get_submodule(f"refinenet{n}") for n in range(1, 5)}
    else:
        modules["proj_raw"] = head.get_submodule("proj")
    with probed(modules) as outputs:
        head.pose(interaction.pose_out)
        head.self_map(layers, grid)
        table = network.final_table(grid, layers[0].device)
        cross = head.cross_map(layers, interaction.pose_out, grid, table)
        colors = head.colors(layers, grid)
    c2w = torch.eye(4).repeat(len(seen.pose), 1, 1)
    c2w[:, :3, :3], c2w[:, :3, 3] = rotation_matrices(seen.pose[:, 3:]), seen.pose[:, :3]
    return {
        **outputs,
        "pose_in": interaction.pose_in,
        "global_feat": interaction.gist,
        "state_new": interaction.state,
        "img_dec_norm": torch.cat([interaction.pose_out, layers[max(layers)]], dim=1),
        "pose_out": interaction.pose_out,
        "mem_new": interaction.poses,
        "pts3d_in_self_view": seen.own.points,
        "conf_self": seen.own.confidence,
        "pts3d_in_other_view": cross.points,
        "conf": cross.confidence,
        "rgb": colors,
        "camera_pose": seen.pose,
        "c2w": c2w,
        "pts3d_world": placed_points(seen.own.points, seen.pose),
        "state": seen.state.tensors["state"],
        "mem": seen.state.tensors["poses"],
    }


@torch.inference_mode()
def _replay_ray_map(report: ParityReport, model: Cut3r, name: str, state: RecurrentState, recorded: Recording) -> None:
    """Compare what a state says to a recorded ray map, and the ray map of the recorded pose."""
    rays = recorded["ray_map"]
    found: dict[str, Tensor] = {}
    if "query_c2w" in recorded:
        pose = Sim3.from_matrix(recorded["query_c2w"].double().numpy())
        found["ray_map"] = torch.from_numpy(ray_map(pose, viewer_camera(*rays.shape[1:3])))[None]
    channels = rays.permute(0, 3, 1, 2)
    with probed({"ray_patch_embed": model.network.patch_embed_ray_map}) as outputs:
        features = model.network.encode_rays(channels)
    seen = model.seen(features, model.network.grid(channels), state, [False] * len(rays))
    found |= {**outputs, **_found(model, seen), "feat": features}
    compare_found(report, name, found, recorded, "query_c2w" if "query_c2w" in recorded else "query_c2w|ray_map")


def _replay_focal(report: ParityReport, name: str, recorded: Recording) -> None:
    """Compare focal lengths that follow from recorded pointmaps."""
    points = recorded["pts3d"].numpy()
    center = (points.shape[2] // 2, points.shape[1] // 2)
    focals = [published_focal(view, center, FOCAL_ITERATIONS) for view in points]
    found = {"focal": torch.from_numpy(np.array(focals))}
    compare_found(report, name, found, recorded, "pts3d")

"""VGGT: single layers, functions and loaded images, which were recorded by themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spann3r_ros.blocks.dpt_positioned import SHARE, add_positions, places_along
from spann3r_ros.blocks.rope import table_at
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import Recording
from spann3r_ros.frame import Frame
from spann3r_ros.models.preprocess import UNIT, preprocess
from spann3r_ros.models.vggt.camera import pixels_per_unit, rotations, world_from_camera
from spann3r_ros.models.vggt.camera_head import activated
from spann3r_ros.models.vggt.crop import fixed_width, long_side, stacked
from spann3r_ros.models.vggt.network import VggtNetwork, coordinates_from_raw, depth_from_raw, points_from_raw


@torch.inference_mode()
def layer_tensors(network: VggtNetwork, recorded: Recording) -> dict[str, Tensor]:
    """Outputs of single norms and blocks, ``NAME.out``, for the recorded inputs ``NAME.in``."""
    a, found = network.architecture, {}
    blocks = {
        "dino_block": network.aggregator.patch_embed.blocks,
        "frame_block": network.aggregator.frame_blocks,
        "global_block": network.aggregator.global_blocks,
        "camera_trunk": network.camera_head.trunk,
    }
    for entry in recorded:
        name, _, what = entry.rpartition(".")
        if what != "in":
            continue
        match = re.fullmatch(r"(\w+)_(\d+)", name)
        if match is None:
            found[f"{name}.out"] = network.get_submodule(name)(recorded[entry])
            continue
        places = recorded.get(f"{name}.pos")
        table = None if places is None else table_at(places[0], a.width // a.heads, a.rope_base)
        found[f"{name}.out"] = blocks[match[1]][int(match[2])](recorded[entry], table)
    return found


@torch.inference_mode()
def function_tensors(network: VggtNetwork, recorded: Recording) -> dict[str, Tensor]:
    """Values of the small functions for recorded arguments."""
    found: dict[str, Tensor] = {}
    if "pose_raw" in recorded:
        found["pose_activated"] = activated(recorded["pose_raw"])
    if "inv_log_in" in recorded:
        found["inv_log_out"] = coordinates_from_raw(recorded["inv_log_in"])
    if "depth_raw" in recorded:
        depth, confidence = depth_from_raw(recorded["depth_raw"][None])
        found |= {"depth_value": depth[0].unsqueeze(-1), "depth_conf": confidence[0]}
    if "point_raw" in recorded:
        points, confidence = points_from_raw(recorded["point_raw"][None])
        found |= {"point_xyz": points[0], "point_conf": confidence[0]}
    if "pose_enc" in recorded:
        found |= _cameras(recorded["pose_enc"], recorded)
    for name, tensor in recorded.items():
        found |= _of_grid(network, name, tensor)
    return found


def _cameras(encodings: Tensor, recorded: Recording) -> dict[str, Tensor]:
    """Extrinsics, intrinsics and poses of encodings (1, N, 9); the intrinsics' own center tells the image's size."""
    found = {"extrinsic": torch.cat([rotations(encodings), encodings[..., :3, None]], dim=-1)}
    poses = [torch.from_numpy(world_from_camera(encoding.numpy()).matrix()) for encoding in encodings[0]]
    found["world_from_camera"] = torch.stack(poses)
    if "intrinsic" in recorded:
        width, height = (round(2 * float(center)) for center in recorded["intrinsic"][0, 0, :2, 2])
        intrinsic = torch.zeros_like(recorded["intrinsic"])
        intrinsic[..., :2, :2] = torch.diag_embed(pixels_per_unit(encodings, (height, width)))
        intrinsic[..., :, 2] = torch.tensor([width / 2, height / 2, 1.0])
        found["intrinsic"] = intrinsic
    return found


def _of_grid(network: VggtNetwork, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Positions that only a grid decides, in the place of the recorded ones; grids of the dense heads are WxH."""
    if match := re.fullmatch(r"pos_embed_(\d+)x(\d+)", name):
        return {name: network.aggregator.patch_embed.positions((int(match[1]), int(match[2])))}
    if match := re.fullmatch(r"uv_(?:grid|embed)_(\d+)x(\d+)(?:_c(\d+))?", name):
        columns, rows = int(match[1]), int(match[2])
        if match[3] is None:
            diagonal = float(np.hypot(columns, rows))
            x, y = places_along(columns, columns / diagonal), places_along(rows, rows / diagonal)
            whole = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        else:
            maps = add_positions(torch.zeros(1, int(match[3]), rows, columns), columns / rows)
            whole = maps[0].permute(1, 2, 0) / SHARE
        stride = -(-rows // tensor.shape[0])  # large grids were recorded thinned out
        return {name: whole[::stride, ::stride]}
    return {}


def loaded_images(config: Mapping[str, Any], report: ParityReport) -> dict[str, Tensor]:
    """The network's input for every recorded list of pictures, by recorded name without the stride."""
    found: dict[str, Tensor] = {}
    stated = config["preprocess"]
    side, patch = int(stated["official_size"]), int(stated["multiple_of"])
    for case in config.get("preprocess_cases", {}).get("cases", []):
        pad = case["mode"] == "pad"
        plan = (long_side if pad else fixed_width)(side, patch)
        frames = [Frame(0, 0, "camera", _picture(**entry)) for entry in case["inputs"]]
        images = [preprocess(frame, plan, UNIT).pixels[0] for frame in frames]
        batch, _ = stacked(images, (side, side) if pad else (0, 0))
        name = re.sub(r"_s\d+$", "", case["sample"].rpartition("/")[2])
        report.decide(f"shape of preprocess/{name}", list(batch.shape), case["output"])
        mean = torch.tensor(case["mean"])
        report.compare("mean", f"mean of preprocess/{name}", batch.double().mean().float(), mean)
        found[name] = batch
    return found


def _picture(width: int, height: int, alpha: bool) -> NDArray[np.uint8]:
    """The picture that the recording's formula describes; a transparent one over white, as its loader does."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    rgb = np.stack([7 * x + 13 * y + 50 * channel + x * y // 11 for channel in range(3)], axis=-1) % 256
    if not alpha:
        return rgb.astype(np.uint8)
    image = Image.fromarray(np.concatenate([rgb, ((3 * x + 5 * y) % 256)[..., None]], axis=-1).astype(np.uint8), "RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))

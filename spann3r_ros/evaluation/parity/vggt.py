"""VGGT: recorded scenes are replayed through the network; single layers, functions and images are in ``vggt_parts``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.attention import SelfAttention
from spann3r_ros.blocks.rope import RotaryTable, grid_positions
from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.probes import Probes
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.evaluation.parity.vggt_parts import function_tensors, layer_tensors, loaded_images
from spann3r_ros.models.vggt.aggregator import Features
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.camera import pixels_per_unit, points_from_depth, rotations
from spann3r_ros.models.vggt.network import VggtNetwork

INPUTS = {"epsilon": r"\.(in|pos)$", "functions": r"_raw$|_in$|^pose_enc$"}
"""Recorded names that are given, by case; besides the images of a scene."""


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every scene, and what was recorded besides."""
    config, recording = recorded.config, recorded.recording
    network = loaded(VggtNetwork, VggtArchitecture(**sizes_of(config["model"], recorded.weights)), recorded.weights)
    reports = {}
    for case in dict.fromkeys(name.split("/")[0] for name in recording):
        tensors, report = entries(recording, f"{case}/"), ParityReport()
        if "images_u8" in tensors:
            images = tensors.pop("images_u8").permute(0, 1, 4, 2, 3).float() / 255
            compare(report, f"{case}/", scene_tensors(network, images), tensors)
        elif case == "preprocess":
            compare(report, f"{case}/", loaded_images(config, report), tensors)
        else:
            made = layer_tensors if case == "epsilon" else function_tensors
            given = {name for name in tensors if re.search(INPUTS.get(case, r"^\b$"), name)}
            compare(report, f"{case}/", made(network, tensors), {n: t for n, t in tensors.items() if n not in given})
        reports[case] = report
    return reports


def sizes_of(model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of ``VggtArchitecture``: the sizes in a recording's configuration, and the heads that its weights have."""
    grid, patch = int(model["native_grid"]), int(model["patch_size"])
    return {
        "encoder": DinoSizes(
            patch_size=patch,
            width=model["embed_dim"],
            depth=model["dino_depth"],
            heads=model["dino_num_heads"],
            mlp_ratio=model["dino_mlp_ratio"],
            registers=model["num_register_tokens"],
            native_grid=grid,
        ),
        "depth": model["depth"],
        "heads": model["num_heads"],
        "mlp_ratio": model["mlp_ratio"],
        "registers": model["num_register_tokens"],
        "rope_base": model["rope_base"],
        "camera_depth": model["camera_trunk_depth"],
        "camera_heads": model["camera_num_heads"],
        "camera_mlp_ratio": model["camera_mlp_ratio"],
        "camera_iterations": model["camera_iterations"],
        "layers": tuple(model["dpt_layer_indices"]),
        "dpt_width": model["dpt_features"],
        "dpt_last_width": model["dpt_output_conv2_width"],
        "dpt_layer_widths": tuple(model["dpt_out_channels"]),
        "has_depth": "depth_head.norm.weight" in weights,
        "has_points": "point_head.norm.weight" in weights,
        "image_size": (grid * patch, grid * patch),
    }


def compare(report: ParityReport, prefix: str, found: Mapping[str, Tensor], recorded: Recording) -> None:
    """Compare every recorded tensor of a case; ``_s4`` and so on in a name is a stride over rows and columns."""
    for name, tensor in recorded.items():
        match = re.fullmatch(r"(.*)_s(\d+)", name)
        whole = found.get(name if match is None else match[1])
        if whole is None:
            report.unknown.add(prefix + name)
            continue
        if match is not None:
            stride = int(match[2])
            first = whole[..., ::stride, ::stride]
            whole = first if first.shape == tensor.shape else whole[..., ::stride, ::stride, :]
        kind = re.sub(r"_s\d+$", "", re.sub(r"_\d+(x\d+)?(_c\d+)?(?=[._]|$)", "", name))
        report.compare(kind, prefix + name, whole, tensor)


@torch.inference_mode()
def scene_tensors(network: VggtNetwork, images: Tensor) -> dict[str, Tensor]:
    """Everything that is computed of scenes (B, S, 3, H, W) of images in [0, 1], by recorded name."""
    scenes, frames = images.shape[:2]
    with Probes() as probes:
        watch(probes, network)
        features = network.aggregator(images)
        encodings = network.cameras(features)
        dense = dense_tensors(network, features, encodings[-1])
    found = probed_tensors(probes, network, images)
    for name in [name for name in found if name.startswith("agg.layer_")]:
        found[name] = found[name].view(scenes, frames, *found[name].shape[1:])
    return {**found, **camera_tensors(encodings, features.size), **dense}


def dense_tensors(network: VggtNetwork, features: Features, encodings: Tensor) -> dict[str, Tensor]:
    """What the dense heads that the weights have say of (B, S) frames, by recorded name."""
    found: dict[str, Tensor] = {}
    if network.architecture.has_depth:
        depth, confidence = network.depths(features)
        found |= {"depth": depth.unsqueeze(-1), "depth_conf": confidence}
        found["world_points_from_depth"] = points_from_depth(depth, encodings)
    if network.architecture.has_points:
        points, confidence = network.points(features)
        found |= {"world_points": points, "world_points_conf": confidence}
    return found


def camera_tensors(encodings: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Of encodings (iterations, ..., 9) of cameras of (H, W) images, by recorded name."""
    last = encodings[-1]
    intrinsic = torch.zeros(*last.shape[:-1], 3, 3)
    intrinsic[..., :2, :2] = torch.diag_embed(pixels_per_unit(last, size))
    intrinsic[..., :, 2] = torch.tensor([size[1] / 2, size[0] / 2, 1.0])
    return {
        "pose_enc": last,
        "pose_enc_iters": encodings,
        "extrinsic": torch.cat([rotations(last), last[..., :3, None]], dim=-1),
        "intrinsic": intrinsic,
    }


def watch(probes: Probes, network: VggtNetwork) -> None:
    """Keep what the modules of a network see and give, under recorded names; the camera head's once an iteration."""
    encoder, aggregator, camera = network.aggregator.patch_embed, network.aggregator, network.camera_head
    probes.output(encoder.patch_embed, "dino.patch_tokens")
    probes.input(encoder.blocks[0], "dino.tokens_in")
    _outputs(probes, encoder.blocks, "dino.block")
    probes.output(encoder.norm, "dino.norm")
    probes.input(aggregator.frame_blocks[0], "agg.tokens_in")
    for name, blocks in (("frame", aggregator.frame_blocks), ("global", aggregator.global_blocks)):
        _outputs(probes, blocks, f"agg.{name}")
        for number, block in enumerate(blocks):
            _heads(probes, block.attn, f"agg.{name}_{number:02d}")
    probes.output(camera.token_norm, "camera.tokens")
    probes.output(camera.embed_pose, "camera.iter.embed_pose")
    probes.output(camera.poseLN_modulation, "camera.iter.modulation")
    probes.input(camera.trunk[0], "camera.iter.trunk_in")
    _outputs(probes, camera.trunk, "camera.iter.trunk")
    probes.output(camera.trunk_norm, "camera.iter.trunk_norm")
    probes.output(camera.pose_branch, "camera.iter.delta")
    for name in ("depth", "point"):
        if hasattr(network, f"{name}_head"):
            _watch_dense_head(probes, network.get_submodule(f"{name}_head"), name)


def _watch_dense_head(probes: Probes, head: nn.Module, name: str) -> None:
    for level in range(4):
        resize = head.get_submodule(f"resize_layers.{level}")
        probes.input(resize, f"{name}.proj_uv_{level}")
        probes.output(resize, f"{name}.level_{level}")
        probes.output(head.get_submodule(f"scratch.layer{level + 1}_rn"), f"{name}.layer{level + 1}_rn")
        probes.output(head.get_submodule(f"scratch.refinenet{level + 1}"), f"{name}.refinenet{level + 1}")
    probes.output(head.get_submodule("scratch.output_conv1"), f"{name}.output_conv1")
    probes.input(head.get_submodule("scratch.output_conv2"), f"{name}.upsampled_uv")
    probes.output(head.get_submodule("scratch.output_conv2"), f"{name}.raw")


def _outputs(probes: Probes, blocks: nn.ModuleList, name: str) -> None:
    for number, block in enumerate(blocks):
        probes.output(block, f"{name}_{number:02d}")


def _heads(probes: Probes, attention: object, name: str) -> None:
    """Queries and keys after norm and rotation, keys as they were before, and values."""
    assert isinstance(attention, SelfAttention)

    def heads(arguments: tuple[Any, ...]) -> dict[str, Tensor]:
        x: Tensor = arguments[0]
        table: RotaryTable | None = arguments[1]
        query, key, value = attention.split(x, table)
        _, raw, _ = attention.qkv(x).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
        return {f"{name}.q": query, f"{name}.k": key, f"{name}.v": value, f"{name}.raw_k": raw}

    probes.arguments(attention, heads)


def probed_tensors(probes: Probes, network: VggtNetwork, images: Tensor) -> dict[str, Tensor]:
    """What ``watch`` kept in one call, and what follows from it, by recorded name; of dense heads the first frame."""
    found: dict[str, Tensor] = {}
    for name, calls in probes.found.items():
        if name.startswith("camera.iter."):
            found |= {f"camera.iter_{i}.{name.removeprefix('camera.iter.')}": call for i, call in enumerate(calls)}
        else:
            found[name] = calls[0][:1] if name.startswith(("depth.", "point.")) else calls[0]
    aggregator = network.aggregator
    patch = network.architecture.patch_size
    grid = (images.shape[-2] // patch, images.shape[-1] // patch)
    count = images.shape[0] * images.shape[1]
    for number in range(network.architecture.depth):
        frame = found[f"agg.frame_{number:02d}"]
        across = found[f"agg.global_{number:02d}"].view_as(frame)
        found[f"agg.layer_{number:02d}"] = torch.cat([frame, across], dim=-1)
    found["agg.pos"] = grid_positions(grid, offset=1, specials=network.architecture.specials).expand(count, -1, -1)
    found["dino.pos_embed"] = aggregator.patch_embed.positions(grid)
    return found

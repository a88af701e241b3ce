"""Pi3X: recorded sets of images with and without conditions, and its authors' way through a long sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.pi3 import (
    Case,
    answer_tensors,
    compare_all,
    compare_model,
    fixed_size,
    images_of,
    kept_by,
    probe_trunk,
    require,
    trunk_from_config,
)
from spann3r_ros.evaluation.parity.probes import Probes
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.pointmap_edges import surface_edges
from spann3r_ros.models.pi3.model import LEAST_PIXELS
from spann3r_ros.models.pi3x.architecture import Pi3xArchitecture
from spann3r_ros.models.pi3x.conditions import Conditions, rays_of
from spann3r_ros.models.pi3x.dense_head import GROUP_CHANNELS
from spann3r_ros.models.pi3x.model import Pi3x
from spann3r_ros.models.pi3x.network import Pi3xNetwork
from spann3r_ros.sim3 import Sim3


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every case; without the confidence where the weights do not hold what tells it."""
    architecture = architecture_from_config(recorded.config)
    weights = recorded.weights
    if not any(name.startswith("conf_") for name in weights):
        weights = weights | _blank_confidence(architecture)
    network = loaded(Pi3xNetwork, architecture, weights)
    reports = {}
    for case in recorded.config["cases"]:
        tensors = entries(recorded.recording, f"{case['name']}/")
        report = reports[case["name"]] = ParityReport()
        if "chunk_size" in case:
            replay_chunks(report, network, case, tensors)
        else:
            replay_views(report, network, case, tensors)
    return reports


def _blank_confidence(architecture: Pi3xArchitecture) -> dict[str, Tensor]:
    """Zeros for what tells confidence, which is then 0.5 everywhere: all pixels count that are not at an edge."""
    with torch.device("meta"):
        expected = Pi3xNetwork(architecture).state_dict()
    parts = ("conf_decoder.", "conf_head.")
    return {name: torch.zeros(tensor.shape) for name, tensor in expected.items() if name.startswith(parts)}


def architecture_from_config(config: Mapping[str, Any]) -> Pi3xArchitecture:
    """The network that the configuration of a recording describes; DataError for a variation that is not here."""
    model = config["model"]
    encoder, metric, dense = model["encoder"], model["metric"], model["conv_head"]
    trunk = trunk_from_config(config)
    require(dense, dim_proj=trunk.head_out, hidden_factor=2, res_blocks=2, last_conv_size=1, uv=True)
    require(dense, group_norm_channels_per_group=GROUP_CHANNELS)
    require(metric, out_dim=metric["dim"])
    return Pi3xArchitecture(
        trunk=trunk,
        upsample=tuple(dense["upsample"]),
        last_width=dense["last_conv_channels"],
        metric_width=metric["dim"],
        metric_heads=metric["heads"],
        metric_depth=metric["depth"],
        depth_encoder=DinoSizes(
            patch_size=model["patch_size"],
            width=encoder["embed_dim"],
            depth=encoder["depth"],
            heads=encoder["heads"],
            mlp_ratio=encoder["mlp_ratio"],
            registers=encoder["registers"],
            native_grid=encoder["pos_grid"],
            channels=2,
        ),
        inject_after=tuple(model["decoder"]["pose_inject_after_blocks"]),
    )


@torch.inference_mode()
def replay_views(report: ParityReport, network: Pi3xNetwork, case: Case, recorded: Recording) -> None:
    """One set of images with its conditions: every layer, and the answer; without conditions also that of the model."""
    images, conditions = images_of(recorded), conditions_of(recorded)
    with Probes() as probes:
        probe_trunk(probes, network)
        probes.output(network.depth_encoder, "depth_tokens")
        probes.output(network.ray_embed, "ray_tokens")
        probes.output(network.metric_decoder, "metric_hidden")
        for name, block in zip(("xy", "z"), network.point_head.output_block, strict=True):
            probes.output(block, f"point_raw_{name}")
        for number, stage in enumerate(network.point_head.upsample_blocks):
            probes.output(stage, f"point_up{number}")
        for number, block in enumerate(network.pose_inject_blk):
            probes.output(block, f"pose_inject{number:02d}")
        answer = network(images, conditions)
    found = {
        **kept_by(probes, network),
        **answer_tensors(answer),
        "rays": functional.normalize(answer.local_points, dim=-1),
    }
    if answer.metric is not None:
        found["metric"] = answer.metric
    found["enc_pos_embed"] = network.encoder.positions(network.grid(images))
    compare_all(report, case, recorded, found, known={name for name in recorded if name.startswith(("images", "in_"))})
    if len(images) == 1 and conditions is None:
        compare_model(report, Pi3x(network, fixed_size(images), "recording"), case, recorded)


def conditions_of(recorded: Recording) -> Conditions | None:
    """The conditions that were recorded as a network's input."""
    if not any(name.startswith("in_") for name in recorded):
        return None
    height, width = recorded["images_u8"].shape[2:4]
    rays = None
    if "in_intrinsics" in recorded:
        rays = rays_of(recorded["in_intrinsics"], height, width)
    elif "in_rays" in recorded:
        rays = (recorded["in_rays"][..., :2] / (recorded["in_rays"][..., 2:] + 1e-6)).movedim(-1, 2)
    masks = [recorded.get(f"in_mask_add_{name}") for name in ("ray", "depth", "pose")]
    return Conditions(
        rays,
        recorded.get("in_depths"),
        recorded.get("in_poses"),
        *(None if mask is None else mask.bool() for mask in masks),
    )


@torch.inference_mode()
def replay_chunks(report: ParityReport, network: Pi3xNetwork, case: Case, recorded: Recording) -> None:
    """Chunk by chunk, each brought into the first one's world by the views that it shares with the one before.

    Section 9: this is how the authors go through a long sequence. A stream here joins windows by a robust similarity
    instead (``streaming.windowed``); what is compared is what both are made of.
    """
    images = images_of(recorded)
    chunk, overlap, threshold, total = case["chunk_size"], case["overlap"], case["conf_threshold"], images.shape[1]
    points, poses, confidences = [], [], []
    last: tuple[NDArray[Any], NDArray[np.bool_]] | None = None
    for number, start in enumerate(range(0, total, chunk - overlap)):
        views = images[:, start : start + chunk]
        if number and views.shape[1] <= overlap:
            break
        answer = network(views)
        confidence = torch.sigmoid(answer.logits)[0].numpy()
        seen = answer.points_in(answer.scene_from_camera)[0].numpy()
        mask = chunk_mask(answer.local_points[0].numpy(), confidence, threshold)
        world_from_chunk = Sim3() if last is None else joined(seen[:overlap], mask[:overlap], *last)
        if f"step_{number:02d}.sim3" in recorded:
            matrix = torch.from_numpy(world_from_chunk.matrix())[None]
            report.compare(
                "sim3", f"{case['name']}/step_{number:02d}.sim3", matrix, recorded[f"step_{number:02d}.sim3"]
            )
        aligned = world_from_chunk.apply(seen)
        last = aligned[-overlap:], mask[-overlap:]
        new = overlap if number else 0
        points.append(torch.from_numpy(aligned[new:]))
        poses.append(torch.from_numpy(world_from_chunk.matrix() @ answer.scene_from_camera[0].numpy())[new:])
        confidences.append(torch.from_numpy(confidence)[new:])
        if start + chunk >= total:
            break
    found = {"points": points, "camera_poses": poses, "conf": confidences}
    known = {"images_u8", *(name for name in recorded if name.startswith("step_"))}
    compare_all(report, case, recorded, {name: torch.cat(parts)[None] for name, parts in found.items()}, known)


def chunk_mask(local: NDArray[np.float32], confidence: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Pixels (N, h, w) of pointmaps that count in an alignment; confidence becomes 0 at edges, in place."""
    for view, sure in zip(local, confidence, strict=True):
        sure[surface_edges(view, sure > threshold)] = 0.0
    mask = confidence > threshold
    if mask.sum() < LEAST_PIXELS:
        for sure, some in zip(confidence, mask, strict=True):
            some[:] = sure >= np.sort(sure, axis=None)[-max(1, int(0.1 * sure.size))]
    return mask


def joined(
    source: NDArray[Any], source_mask: NDArray[np.bool_], target: NDArray[Any], target_mask: NDArray[np.bool_]
) -> Sim3:
    """``target_from_source`` of pointmaps (o, h, w, 3) of the same views; the identity for fewer than ten pixels."""
    both = source_mask & target_mask
    return umeyama(source[both], target[both]) if both.sum() >= LEAST_PIXELS else Sim3()

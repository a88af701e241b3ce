"""Fast3R: recorded sets of views are replayed through the network, and its demo's cameras through ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.probes import compare_found, probed
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.models.fast3r.cameras import ViewPointmaps, published_cameras
from spann3r_ros.models.fast3r.files import architecture_from_config
from spann3r_ros.models.fast3r.image_ids import id_embedding, image_ids
from spann3r_ros.models.fast3r.network import GLOBAL, LOCAL, Fast3rNetwork

OUTPUTS = {GLOBAL: ("pts3d_in_other_view", "conf"), LOCAL: ("pts3d_local", "conf_local")}

FOCAL_TOLERANCE = 1e-5
POSE_TOLERANCE = 1e-4 if cv2.__version__.startswith("5.") else 2e-2
"""Of PnP: its random choices differ from one major version of OpenCV to another."""


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay all cases; a report for the networks' and one for the cameras'."""
    config, recording = recorded.config, recorded.recording
    architecture = architecture_from_config(config)
    networks: dict[bool, Fast3rNetwork] = {}
    reports: dict[str, ParityReport] = {}
    if "image_idx_emb_rows" in recording:
        rows = id_embedding(torch.tensor(config["image_idx_emb_rows"]), architecture.decoder_width)
        report = reports.setdefault("views", ParityReport())
        report.compare("image_idx_emb_rows", "image_idx_emb_rows", rows, recording["image_idx_emb_rows"])
    for case in config["cases"]:
        tensors = entries(recording, f"{case['name']}/")
        if "images_from" not in case:
            replay_cameras(reports.setdefault("cameras", ParityReport()), case["name"], tensors)
            continue
        sharp = bool(case.get("attn_bias_for_inference", False))
        if sharp not in networks:
            sizes = dataclasses.replace(architecture, sharp_attention=sharp)
            networks[sharp] = loaded(Fast3rNetwork, sizes, recorded.weights)
        images = entries(recording, f"{case['images_from']}/")
        replay_views(reports.setdefault("views", ParityReport()), networks[sharp], case, images, tensors)
    return reports


@torch.inference_mode()
def replay_views(
    report: ParityReport, network: Fast3rNetwork, case: Mapping[str, Any], images: Recording, recorded: Recording
) -> None:
    """Replay one set of views with its recorded ids.

    Args:
        report: is added to.
        network: with the recorded weights.
        case: of the configuration.
        images: ``view_NN.image`` (B, H, W, 3) uint8.
        recorded: ``image_ids`` (B, views), and the tensors of the case.
    """
    views = [images[f"view_{view:02d}.image"] for view in range(case["frames"])]
    pixels = [(view.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5 for view in views]
    ids = recorded.get("image_ids", torch.tensor(case["image_ids"]))
    if not case.get("random_image_ids", True):
        report.decide(f"{case['name']}/image_ids", image_ids(len(views), None).tolist(), ids[:1].tolist())
    found = _stages(network, pixels, ids)
    for head, pointmaps in network(pixels, ids).items():
        for view, pointmap in enumerate(pointmaps):
            found |= {f"view_{view:02d}.{name}": part for name, part in zip(OUTPUTS[head], pointmap, strict=True)}
    compare_found(report, case["name"], found, recorded, r"view_\d+\.image|image_ids")


def _stages(network: Fast3rNetwork, pixels: Sequence[Tensor], ids: Tensor) -> dict[str, Tensor]:
    """What is computed on the way, view by view, by recorded name."""
    encoder, fusion = network.encoder, network.decoder
    found: dict[str, Tensor] = {}
    features = []
    numbered = {f"enc_block_{number:02d}": block for number, block in enumerate(encoder.enc_blocks)}
    for view, image in enumerate(pixels):
        with probed({"patch_embed": encoder.patch_embed, **numbered}) as outputs:
            features.append(network.encode(image))
        found |= {f"{name}_view_{view:02d}": tensor for name, tensor in outputs.items()}
        found[f"view_{view:02d}.feat"] = features[-1]
    if len({feature.shape for feature in features}) == 1:
        found["feat"] = torch.cat(features)
    blocks = {f"dec_block_{number:02d}": block for number, block in enumerate(fusion.dec_blocks)}
    with probed({"decoder_embed": fusion.decoder_embed, **blocks}) as outputs:
        layers = network.fuse(features, ids)
    found |= outputs
    counts = torch.tensor([feature.shape[1] for feature in features])
    embedded = id_embedding(ids, network.architecture.decoder_width).repeat_interleave(counts, dim=1)
    found["dec_input"] = outputs["decoder_embed"] + embedded
    found["dec_norm"] = torch.cat([view[max(view)] for view in layers], dim=1)
    for head, name in ((GLOBAL, "global"), (LOCAL, "local")):
        if head not in network.heads:
            continue
        pyramid = network.get_submodule(f"{head}.dpt")
        scratch = pyramid.get_submodule("scratch")
        parts = {f"layer_rn_{n}": scratch.get_submodule(f"layer_rn.{n}") for n in range(4)}
        parts |= {f"refinenet{n}": scratch.get_submodule(f"refinenet{n}") for n in range(1, 5)}
        for view, image in enumerate(pixels):
            with probed({**parts, "raw": pyramid}) as outputs:
                network.pointmap(head, layers[view], network.grid(image))
            found |= {f"dpt_{name}_{part}_view_{view:02d}": tensor for part, tensor in outputs.items()}
    return found


def replay_cameras(report: ParityReport, case: str, recorded: Recording) -> None:
    """Compare aligned local pointmaps, focal lengths and poses that follow from recorded pointmaps."""
    count = len({name.split(".")[0] for name in recorded if name.startswith("view_")})
    views = [
        ViewPointmaps(*(recorded[f"view_{view:02d}.{name}"].numpy() for names in OUTPUTS.values() for name in names))
        for view in range(count)
    ]
    found = {
        f"view_{view:02d}.pts3d_local_aligned_to_global": torch.from_numpy(maps.aligned())
        for view, maps in enumerate(views)
    }
    given = r"view_\d+\.(pts3d_in_other_view|conf|pts3d_local|conf_local)"
    for method in sorted({name.split(".")[0] for name in recorded if not name.startswith("view_")}):
        cameras = published_cameras(views, method)
        focals = torch.tensor([focal for focal, _ in cameras], dtype=torch.float64)
        poses = [np.eye(4) if pose is None else pose.matrix() for _, pose in cameras]
        allowed = {"focals": (focals, FOCAL_TOLERANCE), "c2w": (torch.from_numpy(np.stack(poses)), POSE_TOLERANCE)}
        for name, (ours, tolerance) in allowed.items():
            place = f"{method}.{name}"
            if place in recorded:
                report.compare(name, f"{case}/{place}", ours, recorded[place], allowed=tolerance)
        given += rf"|{method}\.(focals|c2w)"
    compare_found(report, case, found, recorded, given)

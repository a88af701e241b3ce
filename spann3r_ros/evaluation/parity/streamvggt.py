"""StreamVGGT: recorded streams are replayed frame by frame, and at once through the graph of the training."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.probes import Probes
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, entries, loaded
from spann3r_ros.evaluation.parity.vggt import camera_tensors, compare, dense_tensors, probed_tensors, sizes_of, watch
from spann3r_ros.memory.kv_cache import KvCache
from spann3r_ros.models.streamvggt.architecture import StreamVggtArchitecture
from spann3r_ros.models.streamvggt.network import CAMERA, GLOBAL, StreamVggtNetwork


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every stream."""
    sizes = sizes_of(recorded.config["model"], recorded.weights)
    network = loaded(StreamVggtNetwork, StreamVggtArchitecture(**sizes), recorded.weights)
    reports = {}
    for case in dict.fromkeys(name.split("/")[0] for name in recorded.recording):
        tensors = entries(recorded.recording, f"{case}/")
        if "images_u8" not in tensors:  # functions and layers are VGGT's, and replayed there
            reports[case] = ParityReport(unknown={f"{case}/{name}" for name in tensors})
            continue
        images = tensors.pop("images_u8").permute(0, 3, 1, 2)[None].float() / 255
        report = ParityReport()
        found = stream_tensors(network, images)
        causal = causal_tensors(network, images)
        for part in dict.fromkeys(name.split(".")[0] for name in tensors):
            ours = causal if part == "causal" else entries(found, f"{part}.")
            compare(report, f"{case}/{part}.", ours, entries(tensors, f"{part}."))
        if "causal.pose_enc" in tensors:
            # The recording has this camera cache in the graph of the training only.
            poses = iteration_cache_poses(network, images)
            report.compare(
                "pose_enc, a cache an iteration", f"{case}/causal.pose_enc", poses, tensors["causal.pose_enc"]
            )
        reports[case] = report
    return reports


@torch.inference_mode()
def stream_tensors(network: StreamVggtNetwork, images: Tensor) -> dict[str, Tensor]:
    """Everything that is computed of a stream (1, S, 3, H, W) of images in [0, 1], by recorded name."""
    cache = network.new_cache((images.shape[-2], images.shape[-1]), bound=0, recent=1)
    found: dict[str, Tensor] = {}
    raw: dict[str, list[Tensor]] = {}
    for number in range(images.shape[1]):
        image = images[:, number : number + 1]
        with Probes() as probes:
            watch(probes, network)
            step = network.step(image, cache)
            dense = dense_tensors(network, step.features, step.encodings[-1])
        tensors = probed_tensors(probes, network, image)
        tensors |= {name: tensor[:, 0] for name, tensor in dense.items()}
        tensors |= camera_tensors(step.encodings[:, :, 0], step.features.size)
        for layer in range(network.architecture.depth):
            for kind, kept in (("k", "raw_k"), ("v", "v")):
                tensors[f"kv_new.{kind}_{layer:02d}"] = new = tensors[f"agg.global_{layer:02d}.{kept}"]
                raw.setdefault(f"{kind}_{layer:02d}", []).append(new)
            tensors[f"agg.rope_k_{layer:02d}"] = cache.read(GLOBAL, layer)[0].clone()
        cache.commit()
        tensors |= {f"camera_kv_new.{name}": kept[:, :, -1].unsqueeze(3) for name, kept in _camera_cache(cache).items()}
        found |= {f"step_{number:02d}.{name}": tensor for name, tensor in tensors.items()}
    found |= {f"final.{name}": torch.stack(tensors, dim=2) for name, tensors in raw.items()}
    found |= {f"final.camera_{name}": kept.flatten(2, 3).unsqueeze(3) for name, kept in _camera_cache(cache).items()}
    return found


def _camera_cache(cache: KvCache) -> dict[str, Tensor]:
    """Keys and values (1, heads, frames, iterations, head_dim) of each block of the camera head, by recorded name."""
    return {
        f"{kind}_{block:02d}": buffer[CAMERA][block, None, :, : cache.frames].clone()
        for kind, buffer in (("k", cache.keys), ("v", cache.values))
        for block in range(cache.shapes[CAMERA].layers)
    }


@torch.inference_mode()
def causal_tensors(network: StreamVggtNetwork, images: Tensor) -> dict[str, Tensor]:
    """What the graph of the training gives, by recorded name."""
    with Probes() as probes:
        watch(probes, network)
        features, encodings = network.causal(images)
        dense = dense_tensors(network, features, encodings[-1])
    tensors = probed_tensors(probes, network, images)
    layers = sorted(name for name in tensors if re.fullmatch(r"agg\.layer_\d+", name))
    return {
        **tensors,
        **dense,
        **camera_tensors(encodings, features.size),
        "agg_last": tensors[layers[-1]].view(*images.shape[:2], *tensors[layers[-1]].shape[1:]),
    }


@torch.inference_mode()
def iteration_cache_poses(network: StreamVggtNetwork, images: Tensor) -> Tensor:
    """Encodings (1, S, 9) of a stream whose camera head sees the same iteration of past frames only."""
    cache = network.new_cache((images.shape[-2], images.shape[-1]), bound=0, recent=1)
    found = []
    for number in range(images.shape[1]):
        found.append(network.step(images[:, number : number + 1], cache, shared=False).encodings[-1])
        cache.commit()
    return torch.cat(found, dim=1)

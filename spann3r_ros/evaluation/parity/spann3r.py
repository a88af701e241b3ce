"""Spann3R: a recorded sequence is replayed through the streaming model, and an offline reconstruction through ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.config import Config
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.dust3r import decoder_probes
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.frame import Frame
from spann3r_ros.memory.spatial import SpatialMemory, attention_weights
from spann3r_ros.models.pointmap import View
from spann3r_ros.models.spann3r.files import architecture_from_config
from spann3r_ros.models.spann3r.memory import Spann3rMemory
from spann3r_ros.models.spann3r.model import Spann3r, Step
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.models.spann3r.unordered import reconstruct_unordered
from spann3r_ros.prediction import Prediction

MEMORY_KEYS = {
    "work_mem_size": "working_frames",
    "long_mem_size": "long_term_tokens",
    "attn_thresh": "attention_threshold",
    "sim_thresh": "similarity_threshold",
}


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay a sequence or, where the configuration names the frames that it used, an offline reconstruction."""
    network = loaded(Spann3rNetwork, architecture_from_config(recorded.config), recorded.weights)
    if "idx_used" in recorded.config:
        return {"unordered": replay_unordered(network, recorded.config, recorded.recording)}
    return {"sequence": replay_sequence(network, recorded.config, recorded.recording)}


class RecordedSpann3r(Spann3r):
    """The model with its last step kept for inspection; nothing else differs."""

    last: Step | None = None

    def advance(
        self, pixels: Tensor, memory: Spann3rMemory, view: View | None = None, features: Tensor | None = None
    ) -> Step | None:
        """As the base class."""
        self.last = super().advance(pixels, memory, view, features)
        return self.last


def memory_config(config: Mapping[str, Any], height: int, width: int) -> Config:
    """Parameters under which a recording was made: memory sizes and thresholds, images of (height, width)."""
    settings = Config(output="both", image_height=height, image_width=width)
    for name, value in config.get("memory", {}).items() if isinstance(config.get("memory"), Mapping) else ():
        if name in MEMORY_KEYS:
            setattr(settings.of(Spann3rParameters), MEMORY_KEYS[name], value)
    return settings


def replay_sequence(network: Spann3rNetwork, config: Mapping[str, Any], recording: Recording) -> ParityReport:
    """Replay images in their order through ``Spann3r.step`` (``advance`` for a batch of sequences).

    Args:
        network: with the recorded weights.
        config: of the recording: ``memory``, and optionally a log ``steps`` with decisions.
        recording: ``images_u8`` (N, H, W, 3), or one ``images?_u8`` per sequence of a batch; ``step_TT.name`` and
            ``pred_TT.name`` tensors, optionally strided (``_s4``).
    """
    images = _sequence_images(recording)
    count, batch, height, width = images.shape[:4]
    model = RecordedSpann3r(network, memory_config(config, height, width), "recording")
    memory, report = model.new_memory(), ParityReport()
    hooks, layers = decoder_probes(network.dust3r)
    order = _TokenOrder(batch)
    log = {entry["step"]: entry for entry in config.get("steps", [])}
    final: list[tuple[Tensor, Tensor]] = []
    answers: list[Prediction] = []
    for index in range(count):
        before = _Before.of(model, memory)
        layers.clear()
        if batch == 1:
            answers = model.step(Frame(index, index, "camera", images[index, 0].numpy()), memory)
            step = model.last
        else:
            step = model.advance((images[index].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5, memory)
        if index == 0 and "frame0_input" in recording and memory.pending is not None:
            pixels = (images[0].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            report.compare("input", "frame0_input", pixels, recording["frame0_input"])
        if step is None:
            continue
        assert before is not None and memory.spatial is not None
        number = index - 1
        found = {**_step_tensors(network, step, before), **layers}
        if answers:
            found["pts3d_1"] = torch.from_numpy(answers[0].points)[None]
            found["pts3d_2"] = torch.from_numpy(answers[1].points)[None]
        survivors = None if step.insertion is None else step.insertion.survivors
        recorded = entries(recording, f"step_{number:02d}.")
        if survivors is not None:
            _compare_prune(report, order, survivors, recorded, number)
        found |= _memory_tensors(memory.spatial, before, step, order)
        _compare_step(report, network, number, found, recorded)
        _compare_decisions(report, memory.spatial, step, number, recorded, log.get(number))
        assert step.refined is not None and step.immediate is not None
        final.append((step.refined.points, step.refined.confidence))
        if index == count - 1:
            final.append((step.immediate.points, step.immediate.confidence))
    for hook in hooks:
        hook.remove()
    _compare_predictions(report, final, recording)
    return report


def replay_unordered(network: Spann3rNetwork, config: Mapping[str, Any], recording: Recording) -> ParityReport:
    """Replay an offline reconstruction of ``images_u8``, or of the frames of it that the configuration names."""
    images, chosen = _sequence_images(recording)[:, 0], config["frames_from_main_sequence"]
    if len(images) != len(chosen):
        images = images[chosen]
    # This recording was made with the published memory sizes; those of the main sequence do not count.
    model = Spann3r(network, memory_config({}, *images.shape[1:3]), "recording")
    frames = [Frame(index, index, "camera", image.numpy()) for index, image in enumerate(images)]
    result, report = reconstruct_unordered(model, frames), ParityReport()
    for pair, scores in config["pair_scores"].items():
        i, j = (int(part) for part in pair.split(","))
        for score in scores:
            found = torch.tensor(result.pair_scores[i, j])
            report.compare("pair score", f"pair_scores.{pair}", found, torch.tensor(score))
    report.decide("order of the frames", result.order, config["idx_used"])
    final = [
        (torch.from_numpy(p.points)[None], torch.from_numpy(1.0 / (1.0 - p.confidence))[None])
        for p in result.predictions
    ]
    _compare_predictions(report, final, recording)
    return report


@dataclass(frozen=True, eq=False)
class _Before:
    """What a step changes, as it was before the step."""

    features: Tensor
    read_attention: Tensor | None
    attention: Tensor
    age: Tensor

    @staticmethod
    @torch.inference_mode()
    def of(model: Spann3r, memory: Spann3rMemory) -> _Before | None:
        pending, spatial = memory.pending, memory.spatial
        if pending is None or spatial is None:
            return None
        read, attention = None, spatial.attention[:, : spatial.tokens].clone()
        if pending.query is not None:
            keys = spatial.keys[:, : spatial.tokens]
            read = attention_weights(model.network.norm_q(pending.query), keys, spatial.attention_threshold)
            attention = attention + read.sum(dim=1)
        return _Before(pending.features, read, attention, spatial.age[:, : spatial.tokens].clone())


class _TokenOrder:
    """Where each recorded memory token is in our buffers; a prune may order equally good tokens differently."""

    def __init__(self, batch: int) -> None:
        self._ours = torch.empty((batch, 0), dtype=torch.long)

    def upto(self, tokens: int) -> Tensor:
        new = torch.arange(self._ours.shape[1], tokens).expand(len(self._ours), -1)
        self._ours = torch.cat([self._ours, new], dim=1)
        return self._ours

    def prune(self, ours: Tensor, recorded: Tensor) -> bool:
        """Follow a prune; False when other tokens survived than in the recording."""
        kept = self.upto(int(max(ours.max(), recorded.max())) + 1).gather(1, recorded)
        if not torch.equal(kept.sort(dim=1).values, ours.sort(dim=1).values):
            self._ours = torch.arange(ours.shape[1]).expand(len(ours), -1)
            return False
        self._ours = ours.argsort(dim=1).gather(1, kept.argsort(dim=1).argsort(dim=1))
        return True


def _compare_prune(
    report: ParityReport, order: _TokenOrder, survivors: Tensor, recorded: Recording, number: int
) -> None:
    # Where the recording does not say which tokens survived, they are taken to be ours; the memory's tensors will tell.
    same = order.prune(survivors, recorded.get("prune_indices", survivors))
    if "prune_indices" in recorded:
        report.decide(f"step_{number:02d}.prune_indices: the same tokens survive", same, True)


@torch.inference_mode()
def _step_tensors(network: Spann3rNetwork, step: Step, before: _Before) -> dict[str, Tensor]:
    assert step.refined is not None and step.immediate is not None
    value = step.value
    if value is None:
        # A rejected frame is not paid for in a step, but the recording has its value.
        points = step.refined.points
        value = network.value(points, before.features, network.dust3r.grid(points.permute(0, 3, 1, 2)))
    found = {
        "feat1": before.features,
        "feat2": step.features,
        "fused": step.fused,
        "dec1_last": step.layers1[max(step.layers1)],
        "dec2_last": step.layers2[max(step.layers2)],
        "feat_k1": step.key,
        "feat_k2": step.query,
        "pts3d_1": step.refined.points,
        "conf_1": step.refined.confidence,
        "pts3d_2": step.immediate.points,
        "conf_2": step.immediate.confidence,
        "cur_v": value,
    }
    if step.similarities is not None:
        found["sim_scores"] = step.similarities
    return found


@torch.inference_mode()
def _memory_tensors(spatial: SpatialMemory, before: _Before, step: Step, order: _TokenOrder) -> dict[str, Tensor]:
    """The memory after the step in the recorded order of tokens, and what a prune saw before it."""
    index = order.upto(spatial.tokens)
    rows = index.unsqueeze(-1)
    found = {
        "mem_attn": spatial.attention.gather(1, index).unsqueeze(-1),
        "mem_count": spatial.age.gather(1, index).unsqueeze(-1),
        "mem_k keys": spatial.keys.gather(1, rows.expand(-1, -1, spatial.keys.shape[-1])),
        "mem_k directions": spatial.directions.gather(1, rows.expand(-1, -1, spatial.keys.shape[-1])),
        "mem_v values": spatial.values.gather(1, rows.expand(-1, -1, spatial.keys.shape[-1])),
    }
    if before.read_attention is not None:
        found["read_attn"] = before.read_attention
        found["mem_attn_after_read"] = before.attention.unsqueeze(-1)
    if step.insertion is not None and step.insertion.survivors is not None:
        count = spatial.tokens_per_frame
        attention = functional.pad(before.attention, (0, count))
        age = functional.pad(before.age + 1, (0, count))
        found["prune_weights"] = spatial.weights(attention, age).unsqueeze(-1)
        found["prune_mem_attn_before"] = attention.unsqueeze(-1)
        found["prune_mem_count_before"] = age.unsqueeze(-1)
    return found


@torch.inference_mode()
def _compare_step(
    report: ParityReport, network: Spann3rNetwork, number: int, found: Mapping[str, Tensor], recorded: Recording
) -> None:
    # The memory keeps only what is read: the recorded raw keys and values are brought to that form.
    forms: dict[str, list[tuple[str, Callable[[Tensor], Tensor]]]] = {
        "mem_k": [("keys", network.norm_k), ("directions", lambda k: functional.normalize(k, dim=-1, eps=1e-12))],
        "mem_v": [("values", network.norm_v)],
    }
    for name, tensor in recorded.items():
        place = f"step_{number:02d}.{name}"
        if name in ("counters", "prune_indices"):
            continue
        if name in ("pos1", "pos2"):
            report.compare(name, place, _positions(network, found["pts3d_1"]), tensor)
            continue
        for form, convert in forms.get(name, []):
            report.compare(f"{name} {form}", place, found[f"{name} {form}"], convert(tensor))
        if name in forms:
            continue
        kind, stride = _stride(name)
        if kind not in found:
            report.unknown.add(place)
            continue
        ours, theirs = found[kind], tensor
        if kind == "prune_weights":
            # Protected tokens carry a constant beside which every other weight would vanish.
            ours, theirs = (weights.masked_fill(tensor >= 1e7, 0) for weights in (ours, theirs))
        report.compare(kind, place, ours[:, ::stride, ::stride] if stride > 1 else ours, theirs)


def _compare_decisions(
    report: ParityReport,
    spatial: SpatialMemory,
    step: Step,
    number: int,
    recorded: Recording,
    log: Mapping[str, Any] | None,
) -> None:
    pruned = step.insertion is not None and step.insertion.survivors is not None
    found = [int(step.value is None), spatial.working_frames, spatial.long_term_tokens, spatial.tokens, int(pruned)]
    if "counters" in recorded:
        report.decide(f"step_{number:02d}.counters", found, recorded["counters"].tolist())
    if log is not None:
        expected = [int(log["rejected"]), log["wm"], log["lm"], log["n_tokens"], int(bool(log["pruned"]))]
        report.decide(f"steps[{number}]", found, expected)


def _compare_predictions(report: ParityReport, final: list[tuple[Tensor, Tensor]], recording: Recording) -> None:
    for number, (points, confidence) in enumerate(final):
        for name, tensor in entries(recording, f"pred_{number:02d}.").items():
            kind, stride = _stride(name)
            ours = {"pts3d": points, "conf": confidence}.get(kind)
            if ours is None:
                report.unknown.add(f"pred_{number:02d}.{name}")
                continue
            report.compare(f"final {kind}", f"pred_{number:02d}.{name}", ours[:, ::stride, ::stride], tensor)


def _sequence_images(recording: Recording) -> Tensor:
    """(N, B, H, W, 3) uint8."""
    names = sorted(name for name in recording if re.fullmatch(r"images[A-Z]?_u8", name))
    if not names:
        raise DataError("recording without images", expected="images_u8, or imagesA_u8, imagesB_u8 ... for a batch")
    images = [recording[name] for name in names]
    return images[0] if images[0].ndim == 5 else torch.stack(images, dim=1)


def _stride(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*)_s(\d+)", name)
    return (match.group(1), int(match.group(2))) if match else (name, 1)


def _positions(network: Spann3rNetwork, points: Tensor) -> Tensor:
    """(B, P, 2) rows and columns of the patches of pointmaps (B, H, W, 3), raster order."""
    patch = network.architecture.trunk.patch_size
    rows, columns = points.shape[1] // patch, points.shape[2] // patch
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).expand(len(points), -1, -1)

"""DUSt3R: recorded pairs are replayed through the network, with the head or heads that the weights hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.models.dust3r.keywords import trunk_from_config
from spann3r_ros.models.dust3r.network import Dust3rNetwork


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay all pairs, once with each kind of head."""
    config, weights = recorded.config, recorded.weights
    available = {"dpt": "downstream_head1.dpt.", "linear": "downstream_head1.proj."}
    heads = [head for head in config["heads"] if any(name.startswith(available[head]) for name in weights)]
    return {head: replay_pairs(_network(config, weights, head), head, config, recorded.recording) for head in heads}


def _network(config: Mapping[str, Any], weights: Mapping[str, Tensor], head: str) -> Dust3rNetwork:
    """DUSt3R with one kind of head, of which the weights may hold both."""
    architecture = trunk_from_config({**config, "model": {**config["model"], "head_type": head}})
    other = ".proj." if head == "dpt" else ".dpt."
    kept = {
        name: tensor
        for name, tensor in weights.items()
        if not (name.startswith("downstream_head") and name[len("downstream_head1") :].startswith(other))
    }
    return loaded(Dust3rNetwork, architecture, kept)


def replay_pairs(network: Dust3rNetwork, head: str, config: Mapping[str, Any], recording: Recording) -> ParityReport:
    """Replay DUSt3R image pairs; ``head`` selects the recorded outputs, ``<case>.<head>.pts3d_1`` and so on."""
    report = ParityReport()
    hooks, layers = decoder_probes(network)
    for case, description in config["cases"].items():
        recorded = entries(recording, f"{case}.")
        found: dict[str, list[Tensor]] = {}
        for item in range(len(recorded["images1_u8"])):
            layers.clear()
            for name, tensor in _pair_tensors(network, description, recorded, item):
                found.setdefault(name, []).append(tensor)
            for name, tensor in layers.items():
                found.setdefault(name, []).append(tensor)
        for name, tensors in found.items():
            for candidate in (name, f"{head}.{name}"):
                if candidate in recorded:
                    report.compare(candidate, f"{case}.{candidate}", torch.cat(tensors), recorded[candidate])
        inputs = r"images|true_shape|pos[12]$|" + "|".join(rf"{h}\." for h in config.get("heads", []) if h != head)
        compared = set(found) | {f"{head}.{name}" for name in found}
        report.unknown |= {f"{case}.{name}" for name in recorded if name not in compared and not re.match(inputs, name)}
    for hook in hooks:
        hook.remove()
    return report


@torch.inference_mode()
def _pair_tensors(
    network: Dust3rNetwork, description: Mapping[str, Any], recorded: Recording, item: int
) -> Iterator[tuple[str, Tensor]]:
    """Tensors of one pair, in the layout of the recording.

    The published code may store a portrait image transposed (``ManyAR_PatchEmbed``) and may return the maps of a
    portrait image transposed (``landscape_only``). Ours never does either; the layout is changed here.
    """
    pixels, portrait = [], []
    for view in (1, 2):
        image = (recorded[f"images{view}_u8"][item : item + 1].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        height, width = recorded[f"true_shape{view}"][item].tolist()
        portrait.append(height > width)
        pixels.append(image if image.shape[-2:] == (height, width) else image.transpose(2, 3))
    grids = [network.grid(image) for image in pixels]
    features = [network.encode(image) for image in pixels]
    decoded = network.decode(features[0], features[1], grids[0], grids[1])
    for view in (0, 1):
        yield f"feat{view + 1}", features[view]
        yield f"dec{view + 1}_last", decoded[view][max(decoded[view])]
        pointmap = network.pointmap(view + 1, decoded[view], grids[view])
        turn = description["landscape_only"] and portrait[view]
        yield f"pts3d_{view + 1}", pointmap.points.transpose(1, 2) if turn else pointmap.points
        yield f"conf_{view + 1}", pointmap.confidence.transpose(1, 2) if turn else pointmap.confidence


def decoder_probes(network: Dust3rNetwork) -> tuple[list[Any], dict[str, Tensor]]:
    """Hooks that fill a dictionary with the raw output of every decoder block but the last, by recorded name."""
    layers: dict[str, Tensor] = {}

    def probe(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
            layers[name] = output

        return keep

    hooks = [
        block.register_forward_hook(probe(f"dec{branch}_layer{number:02d}"))
        for branch, blocks in ((1, network.dec_blocks), (2, network.dec_blocks2))
        for number, block in enumerate(list(blocks)[:-1], start=1)
    ]
    return hooks, layers

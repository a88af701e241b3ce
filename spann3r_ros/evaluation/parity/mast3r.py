"""MASt3R: recorded pairs are replayed through the network, recorded maps of descriptors through the matching."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.models.mast3r.keywords import mast3r_from_config
from spann3r_ros.models.mast3r.matching import (
    DescriptorMap,
    PixelMatches,
    grid_pixels,
    inside,
    match,
    match_both_ways,
    match_symmetric,
    nearest_by_distance,
    nearest_by_dot,
    reciprocal_indices,
)
from spann3r_ros.models.mast3r.network import Descriptors, Mast3rNetwork
from spann3r_ros.models.pointmap import Pointmap

BORDER = 3
"""Pixels from the edge within which the published recipe drops matches."""

Found = dict[str, Tensor]


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every case: pairs of images (``forward`` or ``symmetric``), and matching."""
    config, recording, network = recorded.config, recorded.recording, None
    pairs, matching = ParityReport(), ParityReport()
    for case in config["cases"]:
        if "mode" in case:
            network = network or loaded(Mast3rNetwork, mast3r_from_config(config), recorded.weights)
            turned = bool(config["model"].get("landscape_only", False))
            _compare(
                pairs, case["name"], _pair(network, case, entries(recording, f"{case['name']}/"), turned), recording
            )
        else:
            _replay_matching(matching, recording)
    return {name: report for name, report in (("pairs", pairs), ("matching", matching)) if report.comparisons}


def _compare(report: ParityReport, case: str, found: Found, recording: Recording) -> None:
    for name, recorded in entries(recording, f"{case}/").items():
        if name in found:
            kind = re.sub(r"_block\d+(?=_|$)", "_block", name)
            report.compare(kind, f"{case}/{name}", found[name], recorded)
            if name.startswith("pts3d"):  # heavy-tailed: the far points must not hide the near ones
                near = (found[name] - recorded).abs() <= 1e-4 * (recorded.abs() + recorded.abs().median())
                report.decide(f"{case}/{name}, each number", bool(near.all()), True)
        elif not re.fullmatch(r"image[12]_u8", name):
            report.unknown.add(f"{case}/{name}")


@torch.inference_mode()
def _pair(network: Mast3rNetwork, case: Mapping[str, Any], recorded: Recording, turned: bool) -> Found:
    """All tensors of one case by recorded name; ``turned``: the recording has maps of portrait images transposed."""
    images = [(recorded[f"image{i}_u8"].permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5 for i in (1, 2)]
    grids = [network.grid(image) for image in images]
    found: Found = {}
    features = []
    for number, image in enumerate(images, start=1):
        with _probed(network, found, number):
            features.append(network.encode(image))
    with _probed(network, found, None):
        layers = network.decode(features[0], features[1], grids[0], grids[1])
        found |= _outputs(network, layers, grids, ("11", "21"), turned)
    if case["mode"] == "symmetric":
        layers = network.decode(features[1], features[0], grids[1], grids[0])
        found |= _outputs(network, layers, grids[::-1], ("22", "12"), turned)
    return found


def _outputs(
    network: Mast3rNetwork, layers: tuple[Any, Any], grids: list[tuple[int, int]], names: tuple[str, str], turned: bool
) -> Found:
    found: Found = {}
    for branch, (own, grid, name) in enumerate(zip(layers, grids, names, strict=True), start=1):
        points, descriptors = network.described(branch, own, grid)
        for kind, tensor in _named(points, descriptors).items():
            portrait = grid[0] > grid[1]
            found[f"{kind}_{name}"] = tensor.transpose(1, 2) if turned and portrait else tensor
    return found


def _named(points: Pointmap, descriptors: Descriptors) -> Found:
    return {
        "pts3d": points.points,
        "conf": points.confidence,
        "desc": descriptors.vectors,
        "desc_conf": descriptors.confidence,
    }


@contextmanager
def _probed(network: Mast3rNetwork, found: Found, image: int | None) -> Iterator[None]:
    """Intermediate results by recorded name: of the encoder for one of the images, or of decoders and heads."""

    def keep(name: str, change: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            found[name] = change(output)

        return hook

    def numbered(name: str) -> Callable[..., None]:
        calls = iter((1, 2))

        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            found[f"{name}_{next(calls)}"] = output

        return hook

    hooks = []
    if image is not None:
        hooks.append(network.patch_embed.register_forward_hook(keep(f"patch_embed_{image}")))
        for number, block in enumerate(network.enc_blocks):
            hooks.append(block.register_forward_hook(keep(f"enc_block{number:02d}_{image}")))
        hooks.append(network.enc_norm.register_forward_hook(keep(f"enc_norm_{image}")))
    else:
        hooks.append(network.decoder_embed.register_forward_hook(numbered("decoder_embed")))
        hooks.append(network.dec_norm.register_forward_hook(numbered("dec_norm")))
        for branch, blocks in ((1, network.dec_blocks), (2, network.dec_blocks2)):
            for number, block in enumerate(blocks):
                hooks.append(block.register_forward_hook(keep(f"dec{branch}_block{number:02d}")))
        for branch, head in ((1, network.downstream_head1), (2, network.downstream_head2)):
            hooks += _head_hooks(head, f"head{branch}", keep)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _head_hooks(head: Any, name: str, keep: Callable[..., Callable[..., None]]) -> list[Any]:
    scratch = head.dpt.scratch
    named: dict[str, nn.Module] = {f"act{level}": post for level, post in enumerate(head.dpt.act_postprocess)}
    named |= {f"refinenet{level}": getattr(scratch, f"refinenet{level}") for level in (1, 2, 3, 4)}
    named |= {"dpt_raw": head.dpt, "mlp_fc1": head.head_local_features.fc1, "mlp_raw": head.head_local_features}
    return [module.register_forward_hook(keep(f"{name}_{probe}")) for probe, module in named.items()]


def _replay_matching(report: ParityReport, recording: Recording) -> None:
    """Every list of matches of one case; they must be identical, so they are decisions."""
    maps = {
        name: DescriptorMap(recording[f"desc_{name}"], recording[f"desc_conf_{name}"])
        for name in ("11", "21", "22", "12")
    }
    names = {name.partition("/")[0] for name in recording if re.match(r"(dot|l2|bruteforce|symmetric|nonsym)_", name)}
    for name in sorted(names):
        recorded = entries(recording, f"{name}/")
        found = _matches(name, maps, recording)
        for key, tensor in found.items():
            if key in recorded and key == "conf":
                report.compare("conf", f"{name}/{key}", tensor, recorded[key])
            elif key in recorded:
                kind = f"matches {name.partition('_')[0]}"
                report.compare(kind, f"{name}/{key}", tensor.long(), recorded[key].long())
                report.decide(f"{name}/{key}", torch.equal(tensor.long(), recorded[key].long()), True)
        report.unknown |= {f"{name}/{key}" for key in recorded if key not in found and name != "dot_init"}


def _matches(name: str, maps: Mapping[str, DescriptorMap], recording: Recording) -> Found:
    """What our matching finds for one recorded list."""
    a, b = maps["11"], maps["21"]
    first, second = a.vectors, b.vectors
    if name == "bruteforce_dot":
        rows = first.flatten(0, 1), second.flatten(0, 1)
        return {"nn_1to2": nearest_by_dot(*rows), "nn_2to1": nearest_by_dot(*rows[::-1])}
    if found := re.fullmatch(r"dot_init_tol(\d+)", name):
        start = recording["dot_init/x"] + first.shape[1] * recording["dot_init/y"]
        return _listed(match(first, second, start=start, tolerance=float(found[1])))
    if found := re.fullmatch(r"symmetric_S(\d+)", name):
        return _listed(match_symmetric((a, b), (maps["12"], maps["22"]), int(found[1])))
    if found := re.fullmatch(r"nonsym_S(\d+)_tol(\d+)", name):
        return _listed(match_both_ways(a, b, int(found[1]), float(found[2])))
    if found := re.fullmatch(r"(dot|l2)_S(\d+)(_linear|_basin)?", name):
        nearest = nearest_by_dot if found[1] == "dot" else nearest_by_distance
        start = grid_pixels(*a.size, int(found[2]))
        basin = torch.full((a.size[0] * a.size[1] + 1,), -1, dtype=torch.int32) if found[3] == "_basin" else None
        one, other = reciprocal_indices(first, second, start, nearest=nearest, basin=basin)
        if found[3]:
            return {"idx1": one, "idx2": other} | ({} if basin is None else {"basin": basin})
        matches = match(first, second, int(found[2]), nearest=nearest)
        return _listed(matches) | {"kept_border3": inside(matches, a.size, b.size, BORDER)}
    return {}


def _listed(matches: PixelMatches) -> Found:
    found = {"xy1": matches.first, "xy2": matches.second}
    return found if matches.confidence is None else found | {"conf": matches.confidence}

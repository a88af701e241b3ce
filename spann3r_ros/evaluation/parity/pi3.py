"""pi^3: recorded sets of images are replayed through the network, and what its authors do to images and pointmaps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.config import Config
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.probes import Probes
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.pointmap_edges import depth_edges, normal_edges, pointmap_normals, surface_edges
from spann3r_ros.geometry.ray_intrinsics import intrinsics_from_rays
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3.camera_head import rigid_inverse
from spann3r_ros.models.pi3.image_size import size_under
from spann3r_ros.models.pi3.model import Pi3, ViewSetModel
from spann3r_ros.models.pi3.network import Pi3Network
from spann3r_ros.models.pi3.parameters import Pi3Parameters
from spann3r_ros.models.pi3.trunk import Pi3Trunk, ViewSet

Case = Mapping[str, Any]


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every case."""
    config = recorded.config
    network = loaded(Pi3Network, trunk_from_config(config), recorded.weights)
    reports = {}
    for case in config["cases"]:
        tensors = entries(recorded.recording, f"{case['name']}/")
        report = reports[case["name"]] = ParityReport()
        if "output" in tensors:
            compare_images(report, network, case, tensors)
        elif "normals" in tensors:
            compare_edges(report, case, tensors)
        else:
            replay_views(report, network, config, case, tensors)
    sizes = config.get("preprocess", {})
    if "size_table" in sizes and reports:
        report = next(iter(reports.values()))
        for width, height, *expected in sizes["size_table"]:
            found = size_under(width, height, sizes["pixel_limit"], sizes["multiple"])
            report.decide(f"size of the image {width} x {height}", list(found), expected)
    return reports


def trunk_from_config(config: Mapping[str, Any]) -> Pi3Architecture:
    """The trunk that the configuration of a recording describes.

    Raises:
        DataError: a variation of the network that does not exist here.
    """
    model = config["model"]
    encoder, decoder, heads = model["encoder"], model["decoder"], model["heads"]
    sizes = DinoSizes(
        patch_size=model["patch_size"],
        width=encoder["embed_dim"],
        depth=encoder["depth"],
        heads=encoder["heads"],
        mlp_ratio=encoder["mlp_ratio"],
        registers=encoder["registers"],
        native_grid=encoder["pos_grid"],
    )
    require(encoder, norm_eps=1e-6, interpolate_antialias=True, interpolate_offset=0.0)
    require(decoder, embed_dim=sizes.width, qk_norm=True, qk_norm_eps=1e-5, norm_eps=1e-6, layer_scale=True)
    mlp_ratio = decoder["mlp_ratio"]
    require(heads, in_dim=2 * sizes.width, mlp_ratio=mlp_ratio, norm_eps=1e-6, qk_norm=False, layer_scale=False)
    return Pi3Architecture(
        encoder=sizes,
        decoder_depth=decoder["depth"],
        decoder_heads=decoder["heads"],
        mlp_ratio=mlp_ratio,
        registers=decoder["registers"],
        rope_base=decoder["rope_base"],
        head_width=heads["dim"],
        head_heads=heads["heads"],
        head_depth=heads["depth"],
        head_out=heads["out_dim"],
        camera_width=heads["camera_out_dim"],
    )


def require(config: Mapping[str, Any], **fixed: object) -> None:
    """Raise DataError where a configuration states another value than the only one that exists here."""
    for name, value in fixed.items():
        if config.get(name, value) != value:
            raise DataError(f"'{name}' of a recorded network", got=config[name], expected=repr(value))


def probe_trunk(probes: Probes, trunk: Pi3Trunk) -> None:
    """Keep what the parts that pi^3 and Pi3X share give, by recorded name."""
    probes.output(trunk.encoder.patch_embed, "patch_embed")
    probes.output(trunk.encoder, "enc_patch_tokens")
    lists = {"enc": trunk.encoder.blocks, "dec": trunk.decoder}
    for name in ("point", "conf", "camera"):
        decoder = getattr(trunk, f"{name}_decoder")
        lists[name] = decoder.blocks
        probes.output(decoder, f"{name}_hidden")
    for name, blocks in lists.items():
        for number, block in enumerate(blocks.children()):
            probes.output(block, f"{name}_block{number:02d}")
    probes.output(trunk.camera_head.more_mlps, "camera_feat")
    probes.output(trunk.camera_head.fc_t, "camera_t")
    probes.output(trunk.camera_head.fc_rot, "camera_9d")


def kept_by(probes: Probes, trunk: Pi3Trunk) -> dict[str, Tensor]:
    """What was kept in the one call of a network; of an encoder's tokens those of the patches are recorded."""
    found = {name: tensors[0] for name, tensors in probes.found.items()}
    specials = trunk.sizes.encoder.specials
    return found | {name: found[name][:, specials:] for name in ("enc_patch_tokens", "depth_tokens") if name in found}


@torch.inference_mode()
def replay_views(
    report: ParityReport, network: Pi3Network, config: Mapping[str, Any], case: Case, recorded: Recording
) -> None:
    """One set of images: every layer, the answer, the masks, and the same by the model."""
    images = images_of(recorded)
    with Probes() as probes:
        probe_trunk(probes, network)
        probes.output(network.point_head, "point_raw")
        answer = network(images)
    found = {**kept_by(probes, network), **answer_tensors(answer)}
    found["point_raw"] = found["point_raw"].permute(0, 2, 3, 1)
    found["enc_pos_embed"] = network.encoder.positions(network.grid(images))
    compare_all(report, case, recorded, found, known={"images_u8", *compare_masks(report, config, case, recorded)})
    if len(images) == 1:
        compare_model(report, Pi3(network, fixed_size(images), "recording"), case, recorded)


def images_of(recorded: Recording) -> Tensor:
    """(B, N, 3, H, W) float32 in [0, 1]."""
    return recorded["images_u8"].permute(0, 1, 4, 2, 3).float() / 255


def answer_tensors(answer: ViewSet) -> dict[str, Tensor]:
    """A network's answer by recorded names."""
    return {
        "points": answer.points_in(answer.scene_from_camera),
        "local_points": answer.local_points,
        "conf": answer.logits.unsqueeze(-1),
        "camera_poses": answer.scene_from_camera,
    }


def compare_all(
    report: ParityReport, case: Case, recorded: Recording, found: Mapping[str, Tensor], known: set[str]
) -> None:
    """Compare what was found with what was recorded under the same name; list what else was recorded."""
    for name, tensor in recorded.items():
        if name in found:
            report.compare(re.sub(r"\d+$", "", name), f"{case['name']}/{name}", found[name], tensor)
        elif name not in known:
            report.unknown.add(f"{case['name']}/{name}")


def compare_masks(report: ParityReport, config: Mapping[str, Any], case: Case, recorded: Recording) -> set[str]:
    """Masks of the recorded pointmaps (section 5); returns their names."""
    if not {"mask_conf", "conf", "local_points"} <= set(recorded):
        return set()
    rules = config["postprocess"]
    require(rules, kernel=3)
    sure = torch.sigmoid(recorded["conf"][..., 0]) > rules["conf_threshold"]
    found: dict[str, list[Tensor]] = {"depth_edge_rtol": [], "depth_normal_edge": []}
    local = recorded["local_points"].flatten(0, 1).numpy()
    for points, valid in zip(local, sure.flatten(0, 1).numpy(), strict=True):
        edges = surface_edges(points, valid, jump=rules["edge_rtol"], turn=rules["normal_tol_deg"])
        found["depth_edge_rtol"].append(torch.from_numpy(depth_edges(points[..., 2], jump=rules["edge_rtol"])))
        found["depth_normal_edge"].append(torch.from_numpy(edges))
    masks = {"mask_conf": sure, **{name: torch.stack(parts).view(sure.shape) for name, parts in found.items()}}
    masks["mask_final"] = sure & ~masks["depth_normal_edge"]
    flips = case.get("noise_fp32_vs_fp64", {}).get("mask_flips_fp32_vs_fp64", {})
    for name, mask in masks.items():
        if name in recorded:
            decide_mask(report, f"{case['name']}/{name}", mask, recorded[name], flips.get(name, 0))
    return set(masks)


def decide_mask(report: ParityReport, place: str, found: Tensor, recorded: Tensor, flips: int = 0) -> None:
    """Masks must be equal but for as many pixels as rounding turned in the recorded network itself."""
    differing = int((found != recorded.bool()).sum())
    report.decide(f"{place}: pixels that differ beyond {flips}", max(0, differing - flips), 0)


def compare_model(report: ParityReport, model: ViewSetModel, case: Case, recorded: Recording) -> None:
    """The answers that the rest of the package sees: in the first camera's axes, with confidences in [0, 1]."""
    model.settings.edge_filter = False
    images = recorded["images_u8"][0].numpy()
    answers = model.infer([Frame(number, number, "camera", image) for number, image in enumerate(images)])
    place, kind = f"{case['name']}/", "the model's "
    if "conf" in recorded:
        confidence = torch.stack([torch.from_numpy(answer.confidence) for answer in answers])
        report.compare(kind + "confidence", place + "conf", confidence, torch.sigmoid(recorded["conf"][0, ..., 0]))
    if "camera_poses" not in recorded:
        return
    poses = recorded["camera_poses"][0].double()
    first_from_scene = rigid_inverse(poses[0])
    found = [answer.submap_from_camera for answer in answers]
    matrices = torch.stack([torch.from_numpy(pose.matrix()) for pose in found if pose is not None])
    report.compare(kind + "poses", place + "camera_poses", matrices, first_from_scene @ poses)
    if "points" in recorded:
        points = torch.stack([torch.from_numpy(answer.points) for answer in answers])
        expected = recorded["points"][0].double() @ first_from_scene[:3, :3].mT + first_from_scene[:3, 3]
        report.compare(kind + "points", place + "points", points, expected)


def fixed_size(images: Tensor) -> Config:
    """A configuration under which images (..., H, W) stay as they are."""
    return Config(image_height=images.shape[-2], image_width=images.shape[-1])


def compare_images(report: ParityReport, network: Pi3Network, case: Case, recorded: Recording) -> None:
    """Images that are brought to the network's size; of the limit, the recording tells in words only."""
    images = [recorded[name].numpy() for name in sorted(recorded) if re.fullmatch(r"image_\d+_u8", name)]
    frames = [Frame(number, number, "camera", image) for number, image in enumerate(images)]
    stated = re.search(r"pixel limit (\d+)", str(case.get("what", "")))
    config = Config()
    config.of(Pi3Parameters).pixel_limit = case.get("pixel_limit") or (int(stated.group(1)) if stated else 0)
    views = Pi3(network, config, "recording").views(frames)
    colors = torch.stack([torch.tensor(view.colors) for view in views]).permute(0, 3, 1, 2).float() / 255
    report.compare("images", f"{case['name']}/output", colors, recorded["output"])


def compare_edges(report: ParityReport, case: Case, recorded: Recording) -> None:
    """Edges, normals and intrinsics of recorded pointmaps (B, N, H, W, 3)."""
    found: dict[str, list[Tensor]] = {}
    jump, turn = case["rtol"], case["normal_tol_deg"]
    masks = recorded["mask"].flatten(0, 1).bool().numpy()
    for points, mask in zip(recorded["points"].flatten(0, 1).numpy(), masks, strict=True):
        normals, there = pointmap_normals(points, mask)
        parts = {
            "depth_edge_masked": depth_edges(points[..., 2], mask, jump=jump),
            "depth_edge_unmasked": depth_edges(points[..., 2], jump=jump),
            "normals": normals,
            "normal_mask": there,
            "normal_edge": normal_edges(normals, there, turn=turn),
            "depth_normal_edge": surface_edges(points, mask, jump=jump, turn=turn),
            "intrinsics_centred": intrinsics_from_rays(points).matrix(),
            "intrinsics_free": intrinsics_from_rays(points, free_center=True).matrix(),
        }
        for name, part in parts.items():
            found.setdefault(name, []).append(torch.from_numpy(part))
    for name, tensor in recorded.items():
        place = f"{case['name']}/{name}"
        if name not in found:
            report.unknown |= {place} - {f"{case['name']}/points", f"{case['name']}/mask"}
            continue
        ours = torch.stack(found[name]).view(tensor.shape)
        if ours.dtype == torch.bool:
            decide_mask(report, place, ours, tensor)
        else:
            report.compare(name, place, ours, tensor)

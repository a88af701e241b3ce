"""VGGT-Long: plans, alignments, retrieval, graphs, the descriptor, and the whole pipeline on recorded answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.geometry.irls import IrlsSettings, align_irls
from spann3r_ros.mapping.chunked import ChunkAnswer, ChunkedSettings, Infer, reconstruct_in_chunks
from spann3r_ros.mapping.chunks import FrameRange, chunk_of, chunk_plan, loop_items, window_around
from spann3r_ros.mapping.retrieval import RetrievalSettings, similar_pairs, thinned
from spann3r_ros.mapping.sim3_graph import (
    GraphEdge,
    accumulated,
    first_unknowns,
    graph_edges,
    linearized,
    marquardt_step,
    optimized,
)
from spann3r_ros.models.salad.architecture import SaladArchitecture
from spann3r_ros.models.salad.model import normalized
from spann3r_ros.models.salad.network import SaladNetwork
from spann3r_ros.sim3 import Sim3

Case = Mapping[str, Any]

IRLS, SINGLE, DOUBLE, FIRST = 1e-5, 1e-4, 1e-8, 1e-6
"""Tolerances of alignments, of what was recorded in float32, of graphs in float64, and of their first iteration."""

PARTS = ("scale", "rotation", "translation")


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """A report for the tables, and one for each case by what it is of."""
    reports = {"tables": _replay_tables(recorded.config["tables"])} if "tables" in recorded.config else {}
    for case in recorded.config["cases"]:
        tensors = entries(recorded.recording, f"{case['name']}/")
        if "points1" in tensors:
            report = _replay_alignment(case, tensors)
        elif "seq_scale" in tensors:
            report = _replay_graph(case, tensors)
        elif "descriptors" in tensors:
            report = _replay_retrieval(case, tensors, recorded.config)
        elif "chunk_indices" in case:
            report = _replay_pipeline(case, tensors, recorded.config)
        else:
            report = _replay_descriptor(case, tensors, recorded)
        reports[case["name"]] = report
    return reports


def _replay_tables(tables: Mapping[str, Any]) -> ParityReport:
    """Plans of chunks, windows and loop items: decisions, all of them."""
    report = ParityReport()
    decisions = 0
    for row in tables.get("chunk_plan", ()):
        found = chunk_plan(row["images"], row["chunk_size"], row["overlap"])
        report.decide(f"chunk_plan of {row['images']}", [list(chunk) for chunk in found], row["chunks"])
        decisions += 1
    for row in tables.get("frame_range", ()):
        window = window_around(row["index"], FrameRange(*row["chunk"]), row["half_window"])
        report.decide(f"frame_range of {row['index']} in {row['chunk']}", list(window), row["range"])
        decisions += 1
    places = tables.get("find_chunk", {"chunks": [], "index_to_chunk": []})
    for index, chunk in places["index_to_chunk"]:
        found_chunk = chunk_of(index, [FrameRange(*entry) for entry in places["chunks"]])
        report.decide(f"find_chunk of {index}", found_chunk, chunk)
        decisions += 1
    if "loop_items" in tables:
        table = tables["loop_items"]
        chunks = [FrameRange(*entry) for entry in table["chunks"]]
        items = loop_items([(one, other) for one, other in table["pairs"]], chunks, 2 * table["half_window"])
        report.decide("loop_items", _plain(items), table["after_duplicate_removal"])
        decisions += 1
    report.compare("decisions", "tables", torch.tensor([float(decisions)]), torch.tensor([float(decisions)]))
    return report


def _plain(items: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Loop items as JSON holds them."""
    return [[list(part) if isinstance(part, tuple) else part for part in item] for item in items]


def _replay_alignment(case: Case, recorded: Recording) -> ParityReport:
    """One alignment of the second pointmaps to the first ones, every weighted fit of it included."""
    report, name = ParityReport(), case["name"]
    points1, conf1, points2, conf2 = (recorded[key].numpy() for key in ("points1", "conf1", "points2", "conf2"))
    valid = recorded["mask"].numpy() > 0 if "mask" in recorded else None
    settings = IrlsSettings(case["delta"], case["max_iters"], float(case["tol"]), rigid=not case["sim3"])
    found = align_irls(points2, points1, conf2, conf1, settings, valid)
    threshold = torch.tensor([found.threshold], dtype=torch.float64)
    report.compare("conf_threshold", f"{name}/conf_threshold", threshold, recorded["conf_threshold"].view(1))
    for variant in ("numba", "numpy32", "numpy64"):
        _compare_transforms(report, f"{name}/{variant}.", [found.target_from_source], recorded, IRLS)
    report.decide(f"{name}: fits", len(found.estimates), len(recorded["numpy64.trace_scale"]))
    _compare_transforms(report, f"{name}/numpy64.trace_", list(found.estimates), recorded, IRLS)
    inputs = {"points1", "points2", "conf1", "conf2", "mask"}
    _unknown(report, name, recorded, inputs)
    return report


def _compare_transforms(
    report: ParityReport, place: str, found: Sequence[Sim3], recorded: Recording, allowed: float
) -> None:
    """Scales, rotations and translations of one or several similarities, recorded under ``place`` + part."""
    prefix = place.split("/", 1)[1]
    for part in PARTS:
        if prefix + part in recorded:
            tensor = recorded[prefix + part]
            values = torch.from_numpy(np.stack([np.asarray(getattr(one, part), np.float64) for one in found]))
            kind = f"{prefix}{part}"
            report.compare(kind, f"{place}{part}", values.reshape(tensor.shape), tensor, allowed=allowed)


def _unknown(report: ParityReport, case: str, recorded: Recording, inputs: set[str]) -> None:
    """What was recorded and is neither an input nor compared."""
    compared = set(report.comparisons)
    report.unknown |= {f"{case}/{name}" for name in recorded if name not in compared and name not in inputs}


def _transforms(recorded: Recording, prefix: str) -> list[Sim3]:
    """Similarities by the beginning of their parts' names; recorded rotations are as orthogonal as float32 is."""
    scale, rotation, translation = (recorded[prefix + part].double().numpy() for part in PARTS)
    return [
        Sim3(float(scale[i]), Rotation.from_matrix(rotation[i]).as_matrix(), translation[i]) for i in range(len(scale))
    ]


def _replay_graph(case: Case, recorded: Recording) -> ParityReport:
    """One graph: the first iteration in full, and the steps between chunks in the end."""
    report, name = ParityReport(), case["name"]
    steps = _transforms(recorded, "seq_")
    loops = [
        GraphEdge(int(pair[0]), int(pair[1]), transform)
        for pair, transform in zip(recorded["loop_index"].tolist(), _transforms(recorded, "loop_"), strict=True)
    ]
    edges, unknowns = graph_edges(steps, loops), first_unknowns(steps)
    report.decide(f"{name}/first.edge_i", [edge.first for edge in edges], recorded["first.edge_i"].tolist())
    report.decide(f"{name}/first.edge_j", [edge.second for edge in edges], recorded["first.edge_j"].tolist())
    at = linearized(edges, unknowns)
    first = {
        "log_inverse_poses": unknowns,
        "residual": at.residuals,
        "jacobian_i": at.by_first,
        "jacobian_j": at.by_second,
        "delta": marquardt_step(edges, at, len(unknowns), float(case["lambda_init"])),
    }
    for kind, values in first.items():
        tensor = recorded[f"first.{kind}"]
        report.compare(f"first.{kind}", f"{name}/first.{kind}", torch.from_numpy(values), tensor, allowed=FIRST)
    solution = optimized(steps, loops, case["max_iterations"], float(case["lambda_init"]))
    _compare_transforms(report, f"{name}/out_", solution.steps, recorded, SINGLE)
    _compare_transforms(report, f"{name}/out64_", solution.steps, recorded, DOUBLE)
    before, after = _seven(recorded["abs_before"]), _seven(recorded["abs_after"])
    _compare_listed(report, f"{name}/abs_before", accumulated(steps), before)
    # Nothing holds the chunks of a graph as a whole: only what lies between them is determined.
    _compare_listed(report, f"{name}/abs_after", solution.steps, [a.inverse() @ b for a, b in pairwise(after)])
    inputs = {"loop_index", "first.edge_i", "first.edge_j"} | {f"{k}_{part}" for k in ("seq", "loop") for part in PARTS}
    _unknown(report, name, recorded, inputs)
    return report


def _seven(rows: Tensor) -> list[Sim3]:
    """Similarities from rows of translation, quaternion (x, y, z, w) and scale."""
    values = rows.double().numpy()
    return [Sim3(float(row[7]), Rotation.from_quat(row[3:7]).as_matrix(), row[:3]) for row in values]


def _compare_listed(report: ParityReport, place: str, found: Sequence[Sim3], recorded: Sequence[Sim3]) -> None:
    """Similarities as matrices."""
    one, other = (torch.from_numpy(np.stack([each.matrix() for each in every])) for every in (found, recorded))
    report.compare(place.split("/", 1)[1], place, one, other, allowed=SINGLE)


def _replay_retrieval(case: Case, recorded: Recording, config: Mapping[str, Any]) -> ParityReport:
    """Descriptors to pairs, before and after they are thinned out."""
    report, name = ParityReport(), case["name"]
    gap = config["model"]["defaults"]["salad"]["min_frame_gap"]
    settings = RetrievalSettings(case["similarity_threshold"], case["top_k"], gap, case["nms_threshold"])
    found = similar_pairs(recorded["descriptors"].numpy(), settings)
    # The recording may hold a pair once in each direction, with similarities that differ in the last bit.
    before: dict[tuple[int, int], float] = {}
    pairs, similarities = recorded["pairs_before_nms"].tolist(), recorded["similarity_before_nms"].tolist()
    for pair, similarity in zip(pairs, similarities, strict=True):
        before.setdefault((max(pair), min(pair)), similarity)
    report.decide(f"{name}/pairs_before_nms", sorted(pair[:2] for pair in found), sorted(before))
    ours = {pair[:2]: pair.similarity for pair in found}
    if set(ours) == set(before):
        one, other = (torch.tensor([values[pair] for pair in before]) for values in (ours, before))
        report.compare("similarity_before_nms", f"{name}/similarity_before_nms", one, other)
    kept = thinned(found, settings.suppression)
    report.decide(f"{name}/pairs", [list(pair[:2]) for pair in kept], recorded["pairs"].tolist())
    similarity = torch.tensor([pair.similarity for pair in kept])
    report.compare("similarity", f"{name}/similarity", similarity, recorded["similarity"])
    _unknown(report, name, recorded, {"descriptors", "pairs_before_nms", "pairs"})
    return report


def _replay_pipeline(case: Case, recorded: Recording, config: Mapping[str, Any]) -> ParityReport:
    """A whole sequence; the network's answers are the recorded ones."""
    report, name = ParityReport(), case["name"]
    defaults = config["model"]["defaults"]
    irls, graph = defaults["irls"], defaults["sim3_optimizer"]
    settings = ChunkedSettings(
        case["chunk_size"],
        case["overlap"],
        case["loop_chunk_size"],
        IrlsSettings(irls["delta"], irls["max_iters"], float(irls["tol"]), rigid=not case["sim3"]),
        graph["max_iterations"],
        float(graph["lambda_init"]),
    )
    found = reconstruct_in_chunks(
        case["frames"], _recorded_answers(recorded), [(one, other) for one, other in case["loop_list"]], settings
    )
    report.decide(f"{name}: chunks", [list(chunk) for chunk in found.chunks], case["chunk_indices"])
    report.decide(f"{name}: loop items", _plain(found.items), case["loop_items"])
    if "loop.index" in recorded:
        indices = [[loop.first, loop.second] for loop in found.loops]
        report.decide(f"{name}/loop.index", indices, recorded["loop.index"].tolist())
    _compare_transforms(report, f"{name}/sequential.", found.measured, recorded, SINGLE)
    _compare_transforms(report, f"{name}/loop.", [loop.second_from_first for loop in found.loops], recorded, SINGLE)
    _compare_transforms(report, f"{name}/optimised.", found.steps, recorded, SINGLE)
    _compare_transforms(report, f"{name}/accumulated.", found.world_from_chunk[1:], recorded, SINGLE)
    poses = torch.from_numpy(np.stack([pose.matrix() for pose in found.world_from_camera()]))
    report.compare("camera_poses", f"{name}/camera_poses", poses, recorded["camera_poses"], allowed=SINGLE)
    last = torch.from_numpy(found.world_from_chunk[-1].apply(found.answers[-1].points))
    place = f"{name}/last_chunk_aligned_points"
    report.compare("last_chunk_aligned_points", place, last, recorded["last_chunk_aligned_points"], allowed=SINGLE)
    _compare_clouds(report, case, [np.asarray(cloud) for cloud in found.clouds()])
    inputs = {key for key in recorded if key.startswith(("chunk_", "loop_"))} | {"loop.index"}
    _unknown(report, name, recorded, inputs)
    return report


def _compare_clouds(report: ParityReport, case: Case, clouds: Sequence[NDArray[np.float32]]) -> None:
    """Counts and first points of the published files: file 0 and file k + 1 hold chunks 0 and k, and none the last."""
    for file, count in case["point_files"].items():
        number = max(0, int(file.split("_")[0]) - 1)
        report.decide(f"{case['name']}: points of {file}", len(clouds[number]), count)
        first = torch.tensor(case["point_file_first_xyz"][file])
        report.compare(
            "first point", f"{case['name']}/{file}", torch.from_numpy(clouds[number][0]), first, allowed=SINGLE
        )


def _recorded_answers(recorded: Recording) -> Infer:
    """The network whose answers were recorded, by the frames that it is asked for."""
    answers: dict[tuple[int, ...], ChunkAnswer] = {}
    for key in recorded:
        if key.endswith(".frames"):
            stem = key.removesuffix("frames")
            answers[tuple(recorded[key].tolist())] = ChunkAnswer(
                recorded[f"{stem}world_points"].numpy(),
                recorded[f"{stem}world_points_conf"].numpy(),
                [_pose(matrix) for matrix in recorded[f"{stem}extrinsic"].double().numpy()],
            )
    return lambda frames: answers[tuple(frames)]


def _pose(matrix: NDArray[np.float64]) -> Sim3:
    """A rigid pose from a matrix (4, 4) in the precision of float32."""
    return Sim3.rigid(Rotation.from_matrix(matrix[:3, :3]).as_matrix(), matrix[:3, 3])


@torch.inference_mode()
def _replay_descriptor(case: Case, recorded: Recording, everything: RecordedSet) -> ParityReport:
    """Images through SALAD, stage by stage."""
    report, name = ParityReport(), case["name"]
    images = recorded["images_u8"]
    sizes = everything.config["model"]["descriptor"]
    weights = everything.weights
    architecture = SaladArchitecture(
        encoder=DinoSizes(
            patch_size=weights["backbone.model.patch_embed.proj.weight"].shape[-1],
            width=sizes["embed_dim"],
            depth=sizes["depth"],
            heads=sizes["heads"],
            mlp_ratio=weights["backbone.model.blocks.0.mlp.fc1.weight"].shape[0] / sizes["embed_dim"],
            registers=sizes["registers"],
            native_grid=sizes["pos_grid"],
            resize="offset" if sizes["interpolate_offset"] else "exact",
        ),
        hidden=sizes["hidden"],
        clusters=sizes["clusters"],
        cluster_width=sizes["cluster_dim"],
        token_width=sizes["token_dim"],
        iterations=sizes["sinkhorn_iterations"],
        image_size=(images.shape[1], images.shape[2]),
    )
    network = loaded(SaladNetwork, architecture, weights)
    pixels = normalized(images)
    features, token = network.encode(pixels)
    found = network.aggregate(pixels)
    stages = {"features": features, "token": token, "score": found.score, "assignment": found.assignment}
    for kind, tensor in {**stages, "output": found.descriptors}.items():
        if kind in recorded:
            report.compare(kind, f"{name}/{kind}", tensor, recorded[kind])
    _unknown(report, name, recorded, {"images_u8"})
    return report

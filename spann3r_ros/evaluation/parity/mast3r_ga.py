"""Sparse global alignment: recorded answers about pairs are matched and aligned, every recorded stage is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spann3r_ros.alignment.canonical_view import CanonicalSum
from spann3r_ros.alignment.cleaning import cleaned
from spann3r_ros.alignment.matched_pair import MatchedPair, at_cells, pair_score
from spann3r_ros.alignment.sparse_alignment import SparseAlignment, SparseCameras, SparseOptions
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.dust3r_alignment import compare_zero_sets
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries
from spann3r_ros.evaluation.parity.tolerance import stated_tolerance
from spann3r_ros.models.mast3r.matching import DescriptorMap, PixelMatches, match_symmetric

KEYWORDS = {
    "lr1": "coarse_rate",
    "niter1": "coarse_iterations",
    "lr2": "fine_rate",
    "niter2": "fine_iterations",
    "matching_conf_thr": "least_match",
    "opt_pp": "optimize_principal_point",
    "opt_depth": "optimize_depth",
    "kinematic_mode": "tree",
}
TREES = {"hclust-ward": "clusters", "mst": "scores"}

EXACT = ("corres", "anchor", "tree")
TOLERANCES = {"canon": 1e-5, "grad_first": 1e-3, "loss_curve": 1e-3, "coarse": 1e-3}
CLEANED_SHARE = 1e-3


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every case."""
    return {
        case["name"]: _SparseCase(recorded.config, case, recorded.recording).replayed()
        for case in recorded.config["cases"]
    }


def _step(case: Mapping[str, Any]) -> int:
    """The pixels between those that a case looks at."""
    return int(case["kw"].get("subsample", 8))


class _SparseCase:
    """One recorded alignment."""

    def __init__(self, config: Mapping[str, Any], case: Mapping[str, Any], recording: Recording) -> None:
        self.config, self.case, self.name = config, case, str(case["name"])
        self.recorded, self.inputs = entries(recording, f"{self.name}/"), entries(recording, "pred/")
        self.step = _step(case)
        self.matched = [entries(recording, f"{c['name']}/") for c in config["cases"] if _step(c) == self.step]
        self.edges: list[tuple[int, int]] = [(i, j) for i, j in config["pairs"]]
        self.report, self.compared = ParityReport(), set[str]()
        self.allowed = {stage: stated_tolerance(config, stage, default) for stage, default in TOLERANCES.items()}

    def _compare(self, name: str, found: Any, stage: str | None = None) -> None:
        """One recorded tensor, if there is one of that name; whole numbers are decisions."""
        if name not in self.recorded:
            return
        recorded = self.recorded[name]
        tensor = found.detach() if isinstance(found, Tensor) else torch.as_tensor(np.asarray(found))
        kind = "/".join(part.partition(".")[0] for part in name.split("/"))
        if not recorded.is_floating_point():
            same = tensor.long().flatten().tolist() == recorded.long().flatten().tolist()
            self.report.decide(f"{self.name}/{name}", same, True)
        found_alike = tensor.reshape(recorded.shape) if tensor.numel() == recorded.numel() else tensor
        allowed = None if stage is None else self.allowed[stage]
        self.report.compare(kind, f"{self.name}/{name}", found_alike, recorded, allowed=allowed)
        self.compared.add(name)

    def replayed(self) -> ParityReport:
        pairs = [self._pair(edge) for edge in self.edges]
        scene = self.scene = SparseAlignment(self._views(), pairs, self._options())
        self._compare("pairwise_scores", scene.scores)
        self._compare("imsizes_wh", [[view.size[1], view.size[0]] for view in scene.views])
        for image, (view, condensed) in enumerate(zip(scene.views, scene.condensed, strict=True)):
            self._compare(f"core_depth.{image}", view.core_depth, "canon")
            homogeneous = torch.cat([condensed.pixels, torch.ones_like(condensed.pixels[:, :1])], dim=1)
            self._compare(f"anchor.{image}/pixels", homogeneous)
            self._compare(f"anchor.{image}/idx", condensed.anchors)
            self._compare(f"anchor.{image}/offset", condensed.offsets, "canon")
        self._compare("tree_adjacency", scene.links)
        self._compare("tree_root", scene.tree.root)
        self._compare("tree_edges", scene.tree.edges)
        coarse, fine = scene.optimize(began=self._compare_gradients)
        for stage, cameras in (("coarse", coarse), ("fine", fine)):
            self._compare_cameras(stage, cameras)
        ratio = torch.tensor(scene.losses) / self.recorded["loss_curve"]  # each iteration to its own size
        self._compare_curve(ratio)
        self._compare("lr_curve", np.array(scene.rates))
        self._compare_dense(fine)
        self.report.unknown |= {f"{self.name}/{name}" for name in set(self.recorded) - self.compared}
        return self.report

    def _compare_curve(self, ratio: Tensor) -> None:
        place, allowed = f"{self.name}/loss_curve", self.allowed["loss_curve"]
        self.report.compare("loss_curve", place, ratio, torch.ones_like(ratio), allowed=allowed)
        self.compared.add("loss_curve")

    def _options(self) -> SparseOptions:
        keywords = {key: value for key, value in self.case["kw"].items() if key != "subsample"}
        if "kinematic_mode" in keywords:
            keywords["kinematic_mode"] = TREES[keywords["kinematic_mode"]]
        unknown = set(keywords) - set(KEYWORDS)
        if unknown:
            raise DataError(
                f"options of the recorded alignment {self.name}", got=sorted(unknown), expected=list(KEYWORDS)
            )
        return SparseOptions(freeze_root=False, **{KEYWORDS[key]: value for key, value in keywords.items()})

    def _maps(self, edge: tuple[int, int], kind: str) -> dict[str, Tensor]:
        i, j = edge
        return {name: self.inputs[f"{i}_{j}/{kind}_{name}"] for name in ("11", "21", "22", "12")}

    def _pair(self, edge: tuple[int, int]) -> MatchedPair:
        points, confidence = self._maps(edge, "pts3d"), self._maps(edge, "conf")
        name = f"corres.{edge[0]}_{edge[1]}"
        matches = self._matches(edge, name)
        self._compare(f"{name}/score", pair_score(list(confidence.values()), matches))
        return MatchedPair(
            edge,
            matches,
            at_cells(points["21"], confidence["21"], self.step, corner=True),
            at_cells(points["12"], confidence["12"], self.step, corner=True),
        )

    def _matches(self, edge: tuple[int, int], name: str) -> PixelMatches:
        """Of a pair; where a recording leaves descriptors out, which are most of it, the matches that it has instead.

        Those are compared with nothing. They depend on the subsampling alone, so that one case has them for all.
        """
        if f"{edge[0]}_{edge[1]}/desc_11" not in self.inputs:
            place = next(place for place in self.matched if f"{name}/xy1" in place)
            self.compared |= {f"{name}/{part}" for part in ("xy1", "xy2", "conf")}
            return PixelMatches(place[f"{name}/xy1"], place[f"{name}/xy2"], place[f"{name}/conf"])
        vectors, sure = self._maps(edge, "desc"), self._maps(edge, "desc_conf")
        maps = {view: DescriptorMap(vectors[view], sure[view]) for view in vectors}
        matches = match_symmetric((maps["11"], maps["21"]), (maps["12"], maps["22"]), self.step)
        self._compare(f"{name}/xy1", matches.first)
        self._compare(f"{name}/xy2", matches.second)
        self._compare(f"{name}/conf", matches.confidence)
        return matches

    def _views(self) -> list[Any]:
        sums = [CanonicalSum(self.step) for _ in range(self.case["frames"])]
        for edge in self.edges:
            points, confidence = self._maps(edge, "pts3d"), self._maps(edge, "conf")
            for image, own in zip(edge, ("11", "22"), strict=True):
                sums[image].add(points[own], confidence[own])
        views = [each.view() for each in sums]
        for image, view in enumerate(views):
            self._compare(f"canon.{image}/pts3d", view.points, "canon")
            self._compare(f"canon.{image}/reldepth", view.relative_depth, "canon")
            self._compare(f"canon.{image}/conf", view.confidence, "canon")
            self._compare(f"canon.{image}/focal", [view.focal], "canon")
        return views

    def _compare_gradients(self, stage: str, parameters: Mapping[str, Sequence[Tensor]]) -> None:
        for name, tensors in parameters.items():
            for image, tensor in enumerate(tensors):
                if tensor.grad is not None:
                    self._compare(f"grad_first_{stage}/{name}.{image}", tensor.grad.clone(), "grad_first")

    def _compare_cameras(self, stage: str, cameras: SparseCameras) -> None:
        self._compare(f"{stage}/intrinsics", cameras.intrinsics, "coarse")
        self._compare(f"{stage}/cam2root", cameras.in_root(self.scene.tree.root), "coarse")
        points = self.scene.matched_points(cameras)
        for image, depth in enumerate(cameras.depths):
            self._compare(f"{stage}/depth.{image}", depth, "coarse")
            self._compare(f"{stage}/pts3d_root.{image}", self._in_root(cameras, points[image]), "coarse")

    def _in_root(self, cameras: SparseCameras, points: Tensor) -> Tensor:
        root_from_world: Tensor = torch.linalg.inv(cameras.poses[self.scene.tree.root])
        return points @ root_from_world[:3, :3].T + root_from_world[:3, 3]

    def _compare_dense(self, cameras: SparseCameras) -> None:
        if not any(name.startswith("dense_") for name in self.recorded):
            return
        points, depths = self.scene.dense(cameras)
        for image, (own, depth) in enumerate(zip(points, depths, strict=True)):
            self._compare(f"dense_pts3d_root.{image}", self._in_root(cameras, own), "coarse")
            self._compare(f"dense_depth.{image}", depth, "coarse")
        confidences = [view.confidence for view in self.scene.views]
        found = cleaned(confidences, points, depths, cameras.intrinsics, cameras.poses)
        compare_zero_sets(self.report, self.name, found, self.recorded, CLEANED_SHARE, self.compared)

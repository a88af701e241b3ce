"""Global alignment: recorded answers about pairs are aligned, and every recorded stage of that is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spann3r_ros.alignment.cleaning import cleaned
from spann3r_ros.alignment.descent import descend
from spann3r_ros.alignment.edge_predictions import EdgePrediction
from spann3r_ros.alignment.global_alignment import AlignmentOptions, GlobalAlignment, KnownCameras
from spann3r_ros.alignment.pair_graph import pair_graph, retrieval_graph
from spann3r_ros.alignment.spanning_tree import ChainedScene
from spann3r_ros.alignment.transforms import rigid_matrix
from spann3r_ros.alignment.two_views import two_views
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries
from spann3r_ros.evaluation.parity.tolerance import stated_tolerance

KEYWORDS = {
    "dist": "distance",
    "conf": "weight",
    "min_conf_thr": "min_confidence",
    "base_scale": "base_scale",
    "pw_break": "pairwise_break",
    "focal_break": "focal_break",
    "focal_brake": "focal_break",
    "optimize_pp": "optimize_principal_point",
    "allow_pw_adaptors": "adapt_pairs",
    "fx_and_fy": "two_focals",
}
"""What the options are called in a configuration."""

TOLERANCES = {"mst": 2e-4, "init": 2e-4, "grad_iter0": 1e-3, "iter_001": 1e-3, "loss_curve": 2e-3, "final": 1e-2}
TOLERANCES["clean_conf"] = 1e-3

SNAPSHOTS = (1, 10)
"""Steps after which the parameters were recorded."""


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every case, and the graphs of pairs."""
    reports = {}
    if "pair_graphs" in recorded.config:
        reports["graphs"] = replay_graphs(recorded.config["pair_graphs"])
    for case in recorded.config["cases"]:
        reports[case["name"]] = _Case(recorded.config, case, recorded.recording).replayed()
    return reports


def replay_graphs(graphs: Mapping[str, Any]) -> ParityReport:
    """Every recorded graph as a set of pairs."""
    report = ParityReport()
    for entry in graphs.get("graphs", ()):
        found = pair_graph(entry["graph"], entry["n"], prefilter=entry["prefilter"], as_published=True)
        found = found if entry["symmetrize"] else found[: len(found) // 2]
        _compare_pairs(report, f"{entry['graph']} of {entry['n']} {entry['prefilter'] or ''}", found, entry["pairs"])
    retrieval = graphs.get("retrieval", {})
    for entry in retrieval.get("cases", ()):
        similarity = np.array(retrieval["sim_mat"])[: entry["n"], : entry["n"]]
        found = retrieval_graph(similarity, entry["Na"], entry["k"], entry["first_keyframe"] or 0)
        _compare_pairs(report, f"retrieval-{entry['Na']}-{entry['k']}", found, entry["pairs"])
    return report


def _compare_pairs(report: ParityReport, name: str, found: list[tuple[int, int]], recorded: list[list[int]]) -> None:
    pairs = sorted(tuple(pair) for pair in recorded)
    report.compare("graph", name, torch.tensor(sorted(found)), torch.tensor(pairs))
    report.decide(f"graph {name}", sorted(found), pairs)


class _Case:
    """One recorded alignment."""

    def __init__(self, config: Mapping[str, Any], case: Mapping[str, Any], recording: Recording) -> None:
        self.case, self.name = case, str(case["name"])
        self.recorded = entries(recording, f"{self.name}/")
        self.inputs = entries(recording, f"{case.get('predictions_from', self.name)}/pred/")
        self.allowed = {
            stage: stated_tolerance(config, stage, default, self.name) for stage, default in TOLERANCES.items()
        }
        self.report, self.compared = ParityReport(), set[str]()

    def replayed(self) -> ParityReport:
        if self.case["mode"] == "PairViewer":
            self._replay_two_views()
        else:
            self._replay_alignment()
        names = {name for name in self.recorded if not name.startswith(("pred/", "preset/"))}
        self.report.unknown |= {f"{self.name}/{name}" for name in names - self.compared}
        return self.report

    def _compare(self, name: str, found: Any, stage: str | None = None) -> None:
        """One recorded tensor, if there is one of that name; ``stage`` has the tolerance."""
        if name in self.recorded:
            recorded = self.recorded[name]
            tensor = found.detach() if isinstance(found, Tensor) else torch.from_numpy(np.asarray(found))
            kind = name.rstrip("0123456789").rstrip(".")
            allowed = None if stage is None else self.allowed[stage]
            self.report.compare(kind, f"{self.name}/{name}", tensor.reshape(recorded.shape), recorded, allowed=allowed)
            self.compared.add(name)

    def _predictions(self) -> list[EdgePrediction]:
        found = []
        for i, j in self.case["edges"]:
            maps = [self.inputs[f"{kind}.{i}_{j}"].numpy() for kind in ("pts3d_i", "conf_i", "pts3d_j", "conf_j")]
            found.append(EdgePrediction((i, j), *maps))
        return found

    def _replay_two_views(self) -> None:
        of = {prediction.edge: prediction for prediction in self._predictions()}
        found = two_views(of[0, 1], of[1, 0])
        self.report.decide(f"{self.name}: reference", found.reference, self.case["chosen_reference"])
        self._compare("focals", found.focals)
        self._compare("poses_c2w", found.poses)
        self._compare("intrinsics", _intrinsics(found.focals, self.case["sizes_hw"]))
        for image in (0, 1):
            self._compare(f"depth.{image}", found.depths[image])
            self._compare(f"pts3d.{image}", found.points[image])

    def _replay_alignment(self) -> None:
        self.modular = self.case["mode"] == "ModularPointCloudOptimizer"
        scene = self.scene = GlobalAlignment(self._predictions(), self._options(), self._known())
        for image, confidence in enumerate(scene.confidences):
            self._compare(f"im_conf.{image}", confidence)
        if self.case["init"] == "mst":
            self._compare_chain(scene.start_from_tree())
        else:
            scene.start_from_known_poses()
        self._turn_quaternions()
        self._compare_parameters("init", "init")
        self._compare_derived("init", "init")
        self._optimize()
        self._compare_parameters("final", "final")
        self._compare_derived("final", "final")
        self._compare_cleaned()

    def _options(self) -> AlignmentOptions:
        keywords = dict(self.case.get("optimizer_kw", {}))
        unknown = set(keywords) - set(KEYWORDS)
        if unknown:
            raise DataError(
                f"options of the recorded alignment {self.name}", got=sorted(unknown), expected=list(KEYWORDS)
            )
        return AlignmentOptions(
            **{KEYWORDS[key]: value for key, value in keywords.items()},
            mean_of_images=self.modular,
            pnp_iterations=self.case["niter_PnP"],
            as_published=True,
        )

    def _known(self) -> KnownCameras:
        preset = entries(self.recorded, "preset/")
        poses, focals, centers = (entries(preset, f"{kind}.") for kind in ("pose_c2w", "focal", "principal_point"))
        return KnownCameras(
            {int(image): pose.double().numpy() for image, pose in poses.items()},
            {int(image): float(focal.flatten()[0]) for image, focal in focals.items()},
            {int(image): (float(center[0]), float(center[1])) for image, center in centers.items()},
        )

    def _compare_chain(self, chain: ChainedScene) -> None:
        self.report.decide(f"{self.name}/mst/edges", [list(edge) for edge in chain.edges], self.case["mst_edges"])
        self._compare("mst/edges", np.array(chain.edges))
        self._compare("mst/focals", chain.focals, "mst")
        self._compare("mst/poses_c2w", chain.poses, "mst")
        for image, points in enumerate(chain.points):
            self._compare(f"mst/pts3d.{image}", points, "mst")

    def _turn_quaternions(self) -> None:
        """A quaternion and its negative are one rotation: ours take the recorded sign, and so do their gradients."""
        count = len(self.scene.sizes)
        poses = [self.recorded.get(f"init/param.im_poses.{image}") for image in range(count)]
        recorded = torch.stack([pose for pose in poses if pose is not None]) if self.modular else None
        for ours, theirs in (
            (self.scene.pairwise, self.recorded["init/param.pw_poses"]),
            (self.scene.poses, self.recorded["init/param.im_poses"] if recorded is None else recorded),
        ):
            opposite = (ours[:, :4] * theirs[:, :4]).sum(dim=1) < 0
            ours[opposite, :4] *= -1

    def _parameters(self, gradients: bool = False) -> dict[str, Tensor]:
        """By recorded name; in the modular form one tensor an image."""
        scene = self.scene
        named = {"pw_poses": scene.pairwise, "pw_adaptors": scene.adaptors}
        images = {
            "im_poses": scene.poses,
            "im_focals": scene.focals,
            "im_depthmaps": scene.depths,
            "im_pp": scene.principal,
        }
        if gradients:
            named = {name: tensor.grad for name, tensor in named.items() if tensor.grad is not None}
            images = {name: tensor.grad for name, tensor in images.items() if tensor.grad is not None}
        if not self.modular:
            return named | images
        for name, tensor in images.items():
            for image, (height, width) in enumerate(scene.sizes):
                named[f"{name}.{image}"] = tensor[image, : height * width] if name == "im_depthmaps" else tensor[image]
        return named

    def _compare_parameters(self, place: str, stage: str) -> None:
        for name, tensor in self._parameters().items():
            self._compare(f"{place}/param.{name}", tensor, stage)

    @torch.no_grad()
    def _compare_derived(self, place: str, stage: str) -> None:
        scene = self.scene
        self._compare(f"{place}/poses_c2w", scene.camera_poses(), stage)
        self._compare(f"{place}/focals", scene.focal_lengths(), stage)
        self._compare(f"{place}/principal_points", scene.principal_points(), stage)
        self._compare(f"{place}/intrinsics", scene.intrinsics(), stage)
        self._compare(f"{place}/pw_scale", scene.pair_scales(), stage)
        self._compare(f"{place}/pw_poses_scaled", rigid_matrix(*scene.pair_transforms()), stage)
        for image, (depth, points) in enumerate(zip(scene.depth_maps(), scene.point_maps(), strict=True)):
            self._compare(f"{place}/depth.{image}", depth, stage)
            self._compare(f"{place}/pts3d.{image}", points, stage)

    def _optimize(self) -> None:
        steps = 0

        def backward() -> float:
            loss = self.scene.backward()
            if steps == 0:
                for name, gradient in self._parameters(gradients=True).items():
                    self._compare(f"grad_iter0/{name}", gradient, "grad_iter0")
            return loss

        def stepped() -> None:
            nonlocal steps
            steps += 1
            if steps in SNAPSHOTS:
                self._compare_parameters(f"iter_{steps:03d}", "iter_001" if steps == 1 else "final")

        case = self.case
        losses, rates = descend(
            self.scene.parameters(),
            backward,
            case["niter"],
            rate=case["lr"],
            least_rate=case["lr_min"],
            schedule=case["schedule"],
            stepped=stepped,
        )
        self._compare("lr_curve", np.array(rates))
        recorded = self.recorded["loss_curve"]
        ratio = torch.tensor(losses) / recorded  # each step to its own size
        self.report.compare(
            "loss_curve",
            f"{self.name}/loss_curve",
            ratio,
            torch.ones_like(recorded),
            allowed=self.allowed["loss_curve"],
        )
        self.compared.add("loss_curve")

    @torch.no_grad()
    def _compare_cleaned(self) -> None:
        if not any(name.startswith("clean_conf") for name in self.recorded):
            return
        scene = self.scene
        confidences = [torch.from_numpy(confidence) for confidence in scene.confidences]
        found = cleaned(confidences, scene.point_maps(), scene.depth_maps(), scene.intrinsics(), scene.camera_poses())
        compare_zero_sets(self.report, self.name, found, self.recorded, self.allowed["clean_conf"], self.compared)


def compare_zero_sets(
    report: ParityReport, case: str, found: list[Tensor], recorded: Recording, share: float, compared: set[str]
) -> None:
    """Cleaned confidences: zeros in the same places, but for a share of all pixels, and else the same numbers."""
    theirs = [recorded[f"clean_conf.{image}"] for image in range(len(found))]
    differing = sum(int(((a == 0) != (b == 0)).sum()) for a, b in zip(found, theirs, strict=True))
    report.decide(f"{case}/clean_conf: zeros", differing <= share * sum(each.numel() for each in theirs), True)
    for image, (ours, other) in enumerate(zip(found, theirs, strict=True)):
        both = (ours != 0) & (other != 0)
        report.compare("clean_conf", f"{case}/clean_conf.{image}", ours[both], other[both])
        compared.add(f"clean_conf.{image}")


def _intrinsics(focals: Any, sizes: list[list[int]]) -> Any:
    found = np.zeros((len(focals), 3, 3))
    for matrix, focal, (height, width) in zip(found, focals, sizes, strict=True):
        matrix[:] = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
    return found

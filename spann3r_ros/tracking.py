"""Whether the camera is tracked: which images the network is shown, and which of its answers enter the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import TrackingConfig
from spann3r_ros.errors import UnusableImageError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import depth_along
from spann3r_ros.geometry.likeness import correlation, smooth_gray
from spann3r_ros.geometry.sharpness import Sharpness
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

INITIALISING, TRACKING, LOST = "initialising", "tracking", "lost"
"""The world is not certain yet; all is well; the last answer could not be trusted."""

STRIDE = 4
"""Every so many pixels in both directions are compared with what was seen before."""

SAME_DEPTH = 0.15
"""Share of the depth within which a point lies where it was seen before."""

LEAST_OVERLAP = 0.15
"""Share of the points that must fall into an earlier view, or it tells nothing about them."""

SURE_AGREEMENT = 0.8
"""Share of the points that must lie where they were seen in the answer that ends a loss, and after a jump: more than
half of them may by chance, wherever the camera is."""

FARTHEST_JUMP = 1.0
"""Camera motion from one answer to the next, as a share of the scene's depth, that is believed without overlap; after a
long loss none is."""

WIDEST_TURN = 60.0
"""Its turn in degrees likewise."""

SHORT_LOSS = 3
"""Images and answers in a row that may be lost, as in a quick turn, before the camera may be anywhere."""

VIEWS = 3
"""Views of each camera that are remembered."""

CONFIRMATIONS = 8
"""Answers that agree with each other, though not with what was seen before the loss, after which tracking goes on."""

MOST_CAMERAS = 16
"""Cameras whose views are remembered; beyond it the one heard of longest ago is forgotten."""


class _Comparison(NamedTuple):
    """How an answer agrees with an earlier view.

    Attributes:
        overlap: share of its points that fall into the view.
        agreement: share of those that lie as deep as the view saw.
        likeness: correlation of the gray levels of those; NaN where that tells nothing.
    """

    overlap: float
    agreement: float
    likeness: float


@dataclass(frozen=True, eq=False)
class _DepthView:
    """What one answer says: pose of the camera, (h, w) depth along its optical axis and gray levels, calibration."""

    submap: int
    submap_from_camera: Sim3
    depth: NDArray[np.float32]
    gray: NDArray[np.float32]
    intrinsics: Intrinsics
    median: float
    likeness: float = float("nan")  # to the views before it

    @classmethod
    def of(cls, prediction: Prediction) -> _DepthView | None:
        """The view of an answer; None without pose or calibration."""
        pose, intrinsics = prediction.submap_from_camera, prediction.intrinsics
        if pose is None or intrinsics is None:
            return None
        depth = depth_along(prediction.points, pose)
        some = depth[::STRIDE, ::STRIDE]
        ahead = some[some > 0]
        median = float(np.median(ahead)) if len(ahead) else 1.0
        return cls(prediction.submap, pose, depth, smooth_gray(prediction.colors), intrinsics, median)

    def compare(self, points: NDArray[np.float64], gray: NDArray[np.float32]) -> _Comparison:
        """How well points (N, 3) and their gray levels (N,) of another answer agree with this view."""
        x, y, z = self.submap_from_camera.inverse().apply(points).T
        with np.errstate(divide="ignore", invalid="ignore"):
            u = self.intrinsics.fx * x / z + self.intrinsics.cx
            v = self.intrinsics.fy * y / z + self.intrinsics.cy
        height, width = self.depth.shape
        inside = (z > 0) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
        if not inside.any():
            return _Comparison(0.0, 0.0, float("nan"))
        pixels = np.rint(v[inside]).astype(int), np.rint(u[inside]).astype(int)
        seen = self.depth[pixels]
        same = np.abs(z[inside] - seen) < SAME_DEPTH * np.abs(seen)
        return _Comparison(
            float(inside.mean()), float(same.mean()), correlation(gray[inside][same], self.gray[pixels][same])
        )


@dataclass
class _CameraViews:
    """What is known of one camera: trusted views, and those since the loss that agree with each other."""

    trusted: list[_DepthView] = field(default_factory=list)
    candidates: list[_DepthView] = field(default_factory=list)
    is_lost: bool = False

    def trust(self, views: Sequence[_DepthView]) -> None:
        self.trusted = [*self.trusted, *views][-VIEWS:]
        self.candidates = []


class Tracking:
    """The state of tracking. Not thread-safe: it belongs to whoever runs the reconstruction.

    An image without contrast or detail is not shown to the network: a memory that took it in would suffer, and so would
    the answers about its neighbors. An answer is trusted when its camera has a pose and its points lie, where they fall
    into what that camera saw last, as deep as it saw; more of them must after a loss and after a jump. They must look
    as they did, too, for a network may take an image of noise for what it expects to see. While the world is
    ``initialising``, an answer that is not trusted means that it has to begin anew; afterwards tracking is ``lost``,
    until answers show what was known again, or ``CONFIRMATIONS`` of them with each other: these are somewhere else, and
    belong into a submap of their own, so that what was mapped before stays as it is. A world of fewer trusted answers
    than that begins anew, too, when as many answers speak against it as for it.

    Args:
        config: thresholds; live ones may change between frames.
        complaints: hears about every change of the state, kind ``tracking``.

    Attributes:
        state: ``initialising``, ``tracking`` or ``lost``.
        reason: why the state is not ``tracking``; empty when it is, or when nothing was seen yet.
        lost_frames: images and answers that were not trusted since the last reset.
        must_begin_anew: whether the first answers did not agree, so that memory and map have to be forgotten.
        is_elsewhere: whether the last answer is trusted only because it agrees with others since the loss.
    """

    def __init__(self, config: TrackingConfig, complaints: Complaints) -> None:
        self.config, self._complaints = config, complaints
        self.lost_frames = self._trusted = self._lost_since = self._lost_in_row = 0
        self.begin()

    def begin(self) -> None:
        """A new world begins."""
        self.reason, self._trusted = "", 0
        self._complaints.settle("tracking")
        self.begin_anew()
        self.lost_frames = 0

    def begin_anew(self) -> None:
        """The world begins again with the next images, because its first answers did not agree."""
        self.lost_frames += self._trusted
        self.state = INITIALISING
        self.must_begin_anew = self.is_elsewhere = False
        self._trusted = self._doubted = self._lost_in_row = 0
        self._cameras: dict[str, _CameraViews] = {}

    def go_on(self) -> None:
        """The world has begun already: it was loaded."""
        self.state, self._trusted = TRACKING, CONFIRMATIONS

    def go_on_in(self, submap: int, camera: str) -> None:
        """What a camera sees since it is elsewhere is in a submap of this number."""
        views = self._camera(camera)
        views.trusted = [replace(view, submap=submap) for view in views.trusted]

    def check(self, frame: Frame) -> None:
        """Raise UnusableImageError for an image that the network must not see."""
        if not self.config.enabled:
            return
        shown = Sharpness.of(frame.image)
        least_contrast, least_detail = self.config.min_contrast, self.config.min_detail
        if shown.contrast < least_contrast:
            error = UnusableImageError(
                "the image has no contrast",
                got=f"{shown.contrast:.1f} gray levels",
                expected=f">= {least_contrast:g} (tracking.min_contrast)",
                next_step="Is the lens covered, the room dark, or the camera still adjusting its exposure?",
            )
        elif shown.white > self.config.max_white:
            error = UnusableImageError(
                "the image is overexposed",
                got=f"{shown.white:.0%} of it white",
                expected=f"<= {self.config.max_white:.0%} (tracking.max_white)",
                next_step="Is a lamp or a window in view, or the camera still adjusting its exposure?",
            )
        elif shown.detail < least_detail:
            error = UnusableImageError(
                "the image has no detail",
                got=f"{shown.detail:.2f} gray levels from pixel to pixel",
                expected=f">= {least_detail:g} (tracking.min_detail)",
                next_step="Is the lens covered or out of focus, or does the camera move too fast for its exposure?",
            )
        else:
            return
        self._lose(frame.index, frame.camera, str(error))
        raise error

    def trusts(self, prediction: Prediction, reason: str = "") -> bool:
        """Whether an answer may enter the map and be published; a final one changes the state.

        Args:
            prediction: located as far as it can be.
            reason: why it has no pose, when it has none.
        """
        self.is_elsewhere = False
        view, camera = _DepthView.of(prediction), self._camera(prediction.frame.camera)
        fault = reason
        if view is not None:
            is_long = self._lost_in_row > SHORT_LOSS
            fault, likeness = self._fault(prediction, view, camera.trusted, camera.is_lost, is_long)
            view = replace(view, likeness=likeness)
        if not prediction.final:
            return not fault or not self.config.enabled
        if view is not None and not fault:
            camera.trust([view])
            is_of_before = self.state == LOST and prediction.frame.index < self._lost_since
            if not is_of_before:  # an answer that was owed says nothing about where the camera is after the loss
                self._found(prediction.frame.index, camera)
            return True
        confirmed = view is not None and self._confirms(prediction, view, camera)
        if confirmed:
            self.is_elsewhere = True
            self._found(prediction.frame.index, camera)
        else:
            self._doubted += 1
            is_doubtful = self.state == INITIALISING or self._doubted >= self._trusted
            self.must_begin_anew |= (
                is_doubtful and self._trusted < CONFIRMATIONS and self.config.enabled and self.config.first_frames > 0
            )
            self._lose(prediction.frame.index, prediction.frame.camera, fault)
        return confirmed or not self.config.enabled

    def _camera(self, name: str) -> _CameraViews:
        camera = self._cameras.pop(name, None) or _CameraViews()
        self._cameras[name] = camera
        if len(self._cameras) > MOST_CAMERAS:
            del self._cameras[next(iter(self._cameras))]
        return camera

    def _fault(
        self,
        prediction: Prediction,
        view: _DepthView,
        known: Sequence[_DepthView],
        must_be_sure: bool = False,
        must_overlap: bool = False,
    ) -> tuple[str, float]:
        """Why an answer does not fit what its camera saw last, and its likeness to it.

        Empty when it fits, or when nothing was seen. A camera whose images were never like each other, such as one
        that sends noise, is not expected to send such now.
        """
        nan = float("nan")
        views = [other for other in known if other.submap == view.submap]
        if not views or not self.config.enabled:
            return "", nan
        points = prediction.points[::STRIDE, ::STRIDE].reshape(-1, 3).astype(np.float64)
        sure = prediction.confidence[::STRIDE, ::STRIDE].ravel() > 0
        points, gray = points[sure], view.gray[::STRIDE, ::STRIDE].ravel()[sure]
        compared = [other.compare(points, gray) for other in views] if len(points) else []
        seen = [each for each in compared if each.overlap >= LEAST_OVERLAP]
        moved = views[-1].submap_from_camera.inverse() @ view.submap_from_camera
        jump = float(np.linalg.norm(moved.translation)) / views[-1].median
        turn = float(np.degrees(moved.rotation_angle()))
        is_near = jump <= FARTHEST_JUMP and turn <= WIDEST_TURN
        if seen:  # the best of them counts: one of the earlier answers may have been wrong
            agreement, least = max(each.agreement for each in seen), self.config.min_agreement
            if must_be_sure or not is_near:
                least = max(least, SURE_AGREEMENT)
            if agreement < least:
                return f"{agreement:.0%} of the points lie where the last images saw them, {least:.0%} are needed", nan
            likeness = max((each.likeness for each in seen if each.likeness >= -1), default=nan)  # NaN is not
            wanted = self.config.min_likeness
            if likeness < wanted and any(other.likeness >= wanted for other in views):
                return (
                    "the points lie where the last images saw them, but look different: the correlation of their gray "
                    f"levels is {likeness:.2f}, {wanted:g} is needed"
                ), likeness
            return "", likeness
        if must_overlap:
            return "nothing of what was seen before the loss is in view", nan
        if is_near:
            return "", nan
        jumped = (
            f"the camera would have jumped by {jump:.1f} times the depth of the scene and turned by {turn:.0f} degrees"
        )
        return jumped, nan

    def _confirms(self, prediction: Prediction, view: _DepthView, camera: _CameraViews) -> bool:
        """Whether this answer and those before it since the loss agree often enough to go on from them."""
        if self.state == INITIALISING:
            return False
        fault, likeness = self._fault(prediction, view, camera.candidates)
        if fault:
            camera.candidates = []
        camera.candidates.append(replace(view, likeness=likeness))
        if len(camera.candidates) < CONFIRMATIONS:
            return False
        camera.trust(camera.candidates)
        return True

    def _found(self, index: int, camera: _CameraViews) -> None:
        camera.is_lost = False
        self._trusted, self._lost_in_row = self._trusted + 1, 0
        if self.state == INITIALISING and self._trusted < self.config.first_frames:
            return
        if self.state != TRACKING:
            where = ", somewhere else: a new submap begins" if self.is_elsewhere else ""
            self._complaints.settle(
                "tracking", f"tracking since frame {index}{where}; {self.lost_frames} frames were lost"
            )
        self.state, self.reason = TRACKING, ""

    def _lose(self, index: int, camera: str, reason: str) -> None:
        self.lost_frames += 1
        self._camera(camera).is_lost = True
        if self.state == INITIALISING:
            self.reason = reason
            self._complaints.report("tracking", f"the world has not begun yet, at frame {index}: {reason}")
            return
        if self.state == TRACKING:
            self._complaints.report("tracking", f"tracking is lost at frame {index}: {reason}")
            self._lost_since = index
        self._lost_in_row += 1
        self.state, self.reason = LOST, reason

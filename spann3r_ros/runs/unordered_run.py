"""Photographs whose order means nothing, into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import Model, PairModel
from spann3r_ros.models.loading import load_model
from spann3r_ros.models.unordered import UnorderedReconstruction
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.sequence import FileSequence, Sequence
from spann3r_ros.runs.folder import OptionalFiles
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.runs.record import UNORDERED, RunRecord
from spann3r_ros.runs.unordered_methods import UnorderedMethod, UnorderedOptions, method_for
from spann3r_ros.streaming.stream import stream_of

MOST_IMAGES = 60
"""Images that are taken without being asked for more: Spann3R decodes 5,252 times, 3,540 pairs are aligned."""


class UnorderedRun(OfflineRun):
    """One pass over images whose order means nothing; see ``OfflineRun``.

    Poses come from an alignment where there is one, else by PnP as in any run.

    Args:
        sequence: the images.
        config: parameters; the family must be able to go the way that is asked for.
        folder: where the results go.
        files: which optional files are written.
        every, limit, intrinsics: as of ``OfflineRun``; more than ``MOST_IMAGES`` images need a ``limit``.
        options: how they are put together.

    Attributes:
        steps: how many there will be, or None while the number of images is not known.
        unit: what a step is.

    Raises:
        ConfigError: another family of networks, fewer than two images, or more than ``limit`` or ``MOST_IMAGES``.
    """

    mode = UNORDERED

    def __init__(
        self,
        sequence: Sequence,
        config: Config,
        folder: Path,
        files: OptionalFiles | None = None,
        *,
        every: int = 1,
        limit: int = 0,
        intrinsics: tuple[float, float, float, float] | None = None,
        options: UnorderedOptions | None = None,
    ) -> None:
        loaded = load_model(config)
        # A model of pairs is aligned as it is; any other is asked for by its stream.
        model = loaded if isinstance(loaded, PairModel) else stream_of(loaded, config).model
        if config.backend != "torch" and model is not loaded:
            raise ConfigError(
                "parameter 'backend' for photographs in no order",
                got=config.backend,
                expected=f"torch, or a model of pairs; {model.name} takes them by another way than its exported stages",
            )
        method = method_for(model, options or UnorderedOptions())
        files_of = sequence.views if isinstance(sequence, FileSequence) else []
        names = {view.stamp: view.image.name for view in files_of}
        self._stream = UnorderedStream(method, limit or MOST_IMAGES, names)
        self.unit = method.unit
        config.pose.motion_prior = False  # one photograph does not follow from another
        reconstruction = Reconstruction(self._stream, config)
        super().__init__(sequence, reconstruction, folder, files, every=every, limit=limit, intrinsics=intrinsics)
        self.steps = None
        if self.expected is not None:
            self._stream.check_number(self.expected)
            self.steps = method.steps(self.expected)

    def run(
        self,
        progress: Callable[[RunRecord], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        stepped: Callable[[], None] = lambda: None,
    ) -> RunRecord:
        """As ``OfflineRun.run``, but the results come all at once at the end.

        Args:
            progress: called after every image that was read.
            stop: asked before every image, and after every step; then KeyboardInterrupt is raised, since nothing is
                finished before all is.
            stepped: called after every step.
        """

        def watch() -> None:
            stepped()
            if stop():
                raise KeyboardInterrupt

        self._stream.stepped = watch
        return super().run(progress, stop)

    def _close_record(self) -> None:
        super()._close_record()
        if self._stream.result is not None:
            self.record.order = [prediction.frame.index for prediction in self._stream.result.predictions]
            self.record.pair_scores = self._stream.result.pair_scores.round(6).tolist()


class UnorderedStream:
    """Collects images and answers them all when no further one will come; see ``models.base.Stream``.

    Args:
        method: how they are put together.
        most: images that it takes.
        names: of the images by stamp, for errors; where there are none, their indices.

    Attributes:
        stepped: called after every step.
        result: of ``flush``; None before.
    """

    def __init__(self, method: UnorderedMethod, most: int, names: Mapping[int, str] | None = None) -> None:
        self._method, self._most, self._names = method, most, names or {}
        self._frames: list[Frame] = []
        self.stepped: Callable[[], None] = lambda: None
        self.result: UnorderedReconstruction | None = None

    @property
    def model(self) -> Model:
        """The network that runs."""
        return self._method.model

    def fresh(self) -> UnorderedStream:
        """The same network without images."""
        return UnorderedStream(self._method, self._most, self._names)

    def loaded(self, path: Path) -> UnorderedStream:
        """Refused: MemoryMismatchError."""
        raise MemoryMismatchError("an unordered reconstruction cannot be continued", got=str(path))

    def save(self, path: Path) -> None:
        """Refused: MemoryMismatchError."""
        raise MemoryMismatchError("an unordered reconstruction has no memory to save", got=str(path))

    def copied(self) -> Callable[[Path], None]:
        """What refuses, as ``save`` does."""
        return self.save

    def status(self) -> MemoryStatus:
        """How many images were taken."""
        return MemoryStatus(offered=len(self._frames))

    def mark(self) -> None:
        """Nothing: images wait without an order."""

    def step(self, frame: Frame) -> list[Prediction]:
        """Take one image; the answer comes with ``flush``.

        Raises:
            ConfigError: one image too many.
            FrameError: an image that the network cannot take.
        """
        try:
            self.check_number(max(2, len(self._frames) + 1))
        except ConfigError:
            self._frames.clear()  # nobody wants to wait for a part that was not asked for
            raise
        self._method.check(frame)  # one bad image must not end all at the end
        self._frames.append(frame)
        return []

    def flush(self) -> list[Prediction]:
        """The answers of all images, in the order in which they were taken; the first one's camera is the submap.

        Raises:
            ConfigError: fewer than two images.
        """
        self.check_number(len(self._frames))
        names = [self._names.get(frame.stamp, f"image {frame.index}") for frame in self._frames]
        self.result = self._method.reconstruct(self._frames, names, self.stepped)
        return self.result.predictions

    def check_number(self, images: int) -> None:
        """Raise ConfigError for fewer than two images, or for more than are sensible."""
        if images < 2:
            raise ConfigError("images of an unordered reconstruction", got=images, expected=">= 2")
        if images > self._most:
            raise ConfigError(
                "images of an unordered reconstruction",
                got=f"{images}, which take {self._method.steps(images):,} {self._method.unit}s",
                expected=f"at most {self._most} ({self._method.steps(self._most):,})",
                next_step=f"Take fewer with --every or --limit, or give --limit {images} if you have the time",
            )

"""Photographs whose order means nothing, into a run folder: after the best pair, always the surest image follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import Model
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.unordered import UnorderedReconstruction, reconstruct_unordered
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.sequence import Sequence
from spann3r_ros.runs.folder import OptionalFiles
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.runs.record import UNORDERED, RunRecord
from spann3r_ros.streaming.stream import load_stream

MOST_IMAGES = 60
"""Images that are taken without being asked for more: 5,252 decodings."""


def decodings(images: int) -> int:
    """How often the decoders run: on every ordered pair, on the best pair once more, and on all that is left each time.

    Args:
        images: at least 2.
    """
    return images * (images - 1) + 1 + (images - 1) * (images - 2) // 2


class UnorderedRun(OfflineRun):
    """One pass over images whose order means nothing; see ``OfflineRun``. Poses come by PnP as in any run.

    Args:
        sequence: the images.
        config: parameters; the model must be Spann3R.
        folder: where the results go.
        files: which optional files are written.
        every, limit, intrinsics: as of ``OfflineRun``; more than ``MOST_IMAGES`` images need a ``limit``.

    Attributes:
        decodings: how often the decoders will run, or None while the number of images is not known.

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
    ) -> None:
        model = load_stream(config).model
        if not isinstance(model, Spann3r):
            raise ConfigError(
                "parameter 'model' of an unordered reconstruction",
                got=config.model,
                expected=Spann3r.name,
                next_step="Leave out --unordered to take the images in the order of their names",
            )
        self._stream = UnorderedStream(model, limit or MOST_IMAGES)
        reconstruction = Reconstruction(self._stream, config)
        super().__init__(sequence, reconstruction, folder, files, every=every, limit=limit, intrinsics=intrinsics)
        self.decodings = None
        if self.expected is not None:
            self._stream.check_number(self.expected)
            self.decodings = decodings(self.expected)

    def run(
        self,
        progress: Callable[[RunRecord], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        decoded: Callable[[], None] = lambda: None,
    ) -> RunRecord:
        """As ``OfflineRun.run``, but the results come all at once at the end.

        Args:
            progress: called after every image that was read.
            stop: asked before every image, and after every decoding; then KeyboardInterrupt is raised, since nothing
                is finished before all is.
            decoded: called after every decoding.
        """

        def watch() -> None:
            decoded()
            if stop():
                raise KeyboardInterrupt

        self._stream.decoded = watch
        return super().run(progress, stop)

    def _close_record(self) -> None:
        super()._close_record()
        if self._stream.result is not None:
            self.record.order = [prediction.frame.index for prediction in self._stream.result.predictions]
            self.record.pair_scores = self._stream.result.pair_scores.round(6).tolist()


class UnorderedStream:
    """Collects images and answers them all when no further one will come; see ``models.base.Stream``.

    Args:
        model: the network.
        most: images that it takes.

    Attributes:
        decoded: called whenever the decoders have run.
        result: of ``flush``; None before.
    """

    def __init__(self, model: Spann3r, most: int) -> None:
        self._model, self._most = model, most
        self._frames: list[Frame] = []
        self.decoded: Callable[[], None] = lambda: None
        self.result: UnorderedReconstruction | None = None

    @property
    def model(self) -> Model:
        """The network that runs."""
        return self._model

    def fresh(self) -> UnorderedStream:
        """The same network without images."""
        return UnorderedStream(self._model, self._most)

    def loaded(self, path: Path) -> UnorderedStream:
        """Refused: MemoryMismatchError."""
        raise MemoryMismatchError("an unordered reconstruction cannot be continued", got=str(path))

    def save(self, path: Path) -> None:
        """Refused: MemoryMismatchError."""
        raise MemoryMismatchError("an unordered reconstruction has no memory to save", got=str(path))

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
        preprocess(frame, self._model.image_size)  # one bad image must not end all at the end
        self._frames.append(frame)
        return []

    def flush(self) -> list[Prediction]:
        """The answers of all images, in the order in which they were taken; the first one's camera is the submap.

        Raises:
            ConfigError: fewer than two images.
        """
        self.check_number(len(self._frames))
        with _after_each_decoding(self._model.network.dust3r.dec_blocks2[-1], self.decoded):
            self.result = reconstruct_unordered(self._model, self._frames)
        return self.result.predictions

    def check_number(self, images: int) -> None:
        """Raise ConfigError for fewer than two images, or for more than are sensible."""
        if images < 2:
            raise ConfigError("images of an unordered reconstruction", got=images, expected=">= 2")
        if images > self._most:
            raise ConfigError(
                "images of an unordered reconstruction",
                got=f"{images}, which take {decodings(images):,} decodings",
                expected=f"at most {self._most} ({decodings(self._most):,})",
                next_step=f"Take fewer with --every or --limit, or give --limit {images} if you have the time",
            )


@contextmanager
def _after_each_decoding(last_block: nn.Module, action: Callable[[], None]) -> Iterator[None]:
    """Call something whenever the decoders have run through their last block."""
    hook = last_block.register_forward_hook(lambda *_: action())
    try:
        yield
    finally:
        hook.remove()

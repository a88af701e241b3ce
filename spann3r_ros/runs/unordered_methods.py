"""The ways in which images without an order are put together, and which family can go which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from spann3r_ros.alignment.pair_graph import pair_graph, require_graph
from spann3r_ros.alignment.photographs import align_globally, align_sparsely
from spann3r_ros.errors import ConfigError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import Model, PairModel
from spann3r_ros.models.mast3r.model import Mast3r
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.unordered import reconstruct_unordered
from spann3r_ros.models.unordered import UnorderedReconstruction

GLOBAL, SPARSE, SPANN3R = "global", "sparse", "spann3r"

METHODS = (GLOBAL, SPARSE, SPANN3R)


@dataclass(frozen=True)
class UnorderedOptions:
    """How images without an order are put together.

    Attributes:
        align: one of ``METHODS``; empty: what suits the family.
        pairs: graph of the pairs that the alignments look at; see ``alignment.pair_graph``.
        iterations: of the alignments' optimization (sparse: of each of its two stages).
    """

    align: str = ""
    pairs: str = "complete"
    iterations: int = 300


class UnorderedMethod(Protocol):
    """A network and a way to put images together.

    Attributes:
        unit: what ``steps`` counts.
    """

    unit: str

    @property
    def model(self) -> Model: ...  # noqa: D102

    def steps(self, images: int) -> int:
        """How often ``stepped`` will be called for at least two images."""
        ...

    def check(self, frame: Frame) -> None:
        """Raise FrameError for an image that the network cannot take."""
        ...

    def reconstruct(
        self, frames: Sequence[Frame], names: Sequence[str], stepped: Callable[[], None]
    ) -> UnorderedReconstruction:
        """All of them in one frame; ``names`` are for errors."""
        ...


class Spann3rMethod:
    """After the best pair, always the surest image follows (Spann3R, section 3.4)."""

    unit = "decoding"

    def __init__(self, model: Spann3r) -> None:
        self._model = model

    @property
    def model(self) -> Spann3r:  # noqa: D102
        return self._model

    def steps(self, images: int) -> int:  # noqa: D102
        return decodings(images)

    def check(self, frame: Frame) -> None:  # noqa: D102
        preprocess(frame, self._model.image_size)

    def reconstruct(  # noqa: D102
        self, frames: Sequence[Frame], _names: Sequence[str], stepped: Callable[[], None]
    ) -> UnorderedReconstruction:
        with _after_each_decoding(self._model.network.dust3r.dec_blocks2[-1], stepped):
            return reconstruct_unordered(self._model, frames)


class GlobalMethod:
    """All pairs of a graph, aligned by their points (DUSt3R, section 3.4)."""

    unit = "step"

    def __init__(self, model: PairModel, options: UnorderedOptions) -> None:
        self._model, self._options = model, options

    @property
    def model(self) -> PairModel:  # noqa: D102
        return self._model

    def steps(self, images: int) -> int:  # noqa: D102
        iterations = self._options.iterations if images > 2 else 0
        return len(pair_graph(self._options.pairs, images)) + iterations

    def check(self, frame: Frame) -> None:
        """Raise FrameError for an image that the network cannot take; the encoder is not asked twice for it."""
        size = getattr(self._model, "image_size", None)
        if size is not None:
            preprocess(frame, size)

    def reconstruct(  # noqa: D102
        self, frames: Sequence[Frame], names: Sequence[str], stepped: Callable[[], None]
    ) -> UnorderedReconstruction:
        return align_globally(
            self._model,
            frames,
            pairs=self._options.pairs,
            iterations=self._options.iterations,
            names=names,
            stepped=stepped,
        )


class SparseMethod(GlobalMethod):
    """All pairs of a graph, aligned by their matches (MASt3R-SfM)."""

    def __init__(self, model: Mast3r, options: UnorderedOptions) -> None:
        super().__init__(model, options)
        self._matching = model

    def steps(self, images: int) -> int:  # noqa: D102
        return len(pair_graph(self._options.pairs, images)) // 2 + 2 * self._options.iterations

    def reconstruct(  # noqa: D102
        self, frames: Sequence[Frame], names: Sequence[str], stepped: Callable[[], None]
    ) -> UnorderedReconstruction:
        return align_sparsely(
            self._matching,
            frames,
            pairs=self._options.pairs,
            iterations=self._options.iterations,
            names=names,
            stepped=stepped,
        )


def method_for(model: object, options: UnorderedOptions) -> UnorderedMethod:
    """The way that is asked for, or what suits the family.

    Raises:
        ConfigError: a family that cannot go this way, or an unknown way.
    """
    require_graph(options.pairs)
    if options.iterations < 0:
        raise ConfigError("iterations of the alignment", got=options.iterations, expected=">= 0")
    if options.align not in ("", *METHODS):
        raise ConfigError("--align", got=repr(options.align), expected=" | ".join(METHODS))
    suited = SPANN3R if isinstance(model, Spann3r) else SPARSE if isinstance(model, Mast3r) else GLOBAL
    align = options.align or suited
    if align == SPANN3R and isinstance(model, Spann3r):
        return Spann3rMethod(model)
    if align == SPARSE and isinstance(model, Mast3r):
        return SparseMethod(model, options)
    if align == GLOBAL and isinstance(model, PairModel):
        return GlobalMethod(model, options)
    raise ConfigError(
        "family for images without an order" + (f" and --align {options.align}" if options.align else ""),
        got=getattr(model, "name", type(model).__name__),
        expected="spann3r (--align spann3r), dust3r or mast3r (--align global), mast3r (--align sparse)",
        next_step="Leave out --unordered to take the images in the order of their names",
    )


def decodings(images: int) -> int:
    """How often Spann3R's decoders run: every ordered pair, the best one once more, and all that is left each time.

    Args:
        images: at least 2.
    """
    return images * (images - 1) + 1 + (images - 1) * (images - 2) // 2


@contextmanager
def _after_each_decoding(last_block: nn.Module, action: Callable[[], None]) -> Iterator[None]:
    """Call something whenever the decoders have run through their last block."""
    hook = last_block.register_forward_hook(lambda *_: action())
    try:
        yield
    finally:
        hook.remove()

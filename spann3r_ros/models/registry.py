"""The families of networks, one row each; whatever lists, recognizes or builds a network reads the rows.

Importing this costs no PyTorch: a family's modules are imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection

from spann3r_ros.config import SIMULATED, Config
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models.checkpoint.download import OfficialFile
from spann3r_ros.models.cut3r.family import CUT3R
from spann3r_ros.models.dust3r.family import DUST3R
from spann3r_ros.models.family import (
    Architecture,
    DescriptorFamily,
    Family,
    NetworkFamily,
    RelocalizerFamily,
    all_begin,
)
from spann3r_ros.models.fast3r.family import FAST3R
from spann3r_ros.models.mast3r.family import MAST3R
from spann3r_ros.models.pi3.family import PI3
from spann3r_ros.models.pi3x.family import PI3X
from spann3r_ros.models.posenet import classifier
from spann3r_ros.models.posenet.family import POSENET
from spann3r_ros.models.salad.family import SALAD
from spann3r_ros.models.spann3r.family import SPANN3R
from spann3r_ros.models.streamvggt.family import STREAMVGGT
from spann3r_ros.models.vggt.family import VGGT

FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        SPANN3R,
        DUST3R,
        MAST3R,
        CUT3R,
        FAST3R,
        VGGT,
        STREAMVGGT,
        PI3,
        PI3X,
    )
}
"""Those that map, which the parameter ``model`` names."""

RELOCALIZERS: dict[str, RelocalizerFamily] = {row.name: row for row in (POSENET,)}
"""Those that tell poses in a scene that they know, for ``localize``."""

DESCRIPTORS: dict[str, DescriptorFamily] = {row.name: row for row in (SALAD,)}
"""Those that recognize places, for ``loops``."""

FOREIGN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("CroCo", ("enc_blocks.", "prediction_head.")),
    ("GoogLeNet as a classifier (with which `train` can begin PoseNet: --init FILE)", classifier.NAMES),
)
"""Networks that this version does not run, and what their tensors are called, so that they are refused by name."""


def all_families() -> dict[str, NetworkFamily]:
    """All rows by name."""
    return {**FAMILIES, **RELOCALIZERS, **DESCRIPTORS}


def family(name: str) -> Family:
    """The row of a family; ConfigError with the choices for an unknown name."""
    if name not in FAMILIES:
        only = f"{SIMULATED!r} answers recordings that hold the truth: `reconstruct` and `evaluate` take it"
        way_out = only if name == SIMULATED else ""
        raise ConfigError("parameter 'model'", got=repr(name), expected=" | ".join(FAMILIES), next_step=way_out)
    return FAMILIES[name]


def takers_of_depth() -> list[str]:
    """Names of the families that can be told measured depth (``Frame.depth``): they have a parameter ``use_depth``."""
    return [row.name for row in FAMILIES.values() if hasattr(row.parameters, "use_depth")]


def is_told_depth(config: Config) -> bool:
    """Whether the model takes measured depth and its parameter ``use_depth`` allows it."""
    settings = family(config.model).parameters
    return bool(getattr(settings and config.of(settings), "use_depth", False))


def relocalizer_family(name: str, where: str) -> RelocalizerFamily:
    """The row of a relocalizer; CheckpointError with the way out for weights of another family."""
    if name not in RELOCALIZERS:
        raise _of_another_use(name, where, "a relocalizer", RELOCALIZERS)
    return RELOCALIZERS[name]


def descriptor_family(name: str, where: str) -> DescriptorFamily:
    """The row of a descriptor of places; CheckpointError with the way out for weights of another family."""
    if name not in DESCRIPTORS:
        raise _of_another_use(name, where, "a descriptor of places", DESCRIPTORS)
    return DESCRIPTORS[name]


def usage(name: str, checkpoint: object) -> str:
    """How weights of a family are used from the command line."""
    if name in RELOCALIZERS:
        return f"`python -m spann3r_ros localize SOURCE --checkpoint {checkpoint}`"
    if name in DESCRIPTORS:
        return f"`python -m spann3r_ros loops SOURCE --checkpoint {checkpoint}`"
    return f"the parameters model: {name}, checkpoint: {checkpoint}"


def _of_another_use(name: str, where: str, wanted: str, choices: Collection[str]) -> CheckpointError:
    return CheckpointError(
        f"{where} holds no weights of {wanted}",
        got=name,
        expected=" | ".join(choices),
        next_step=f"Use it with {usage(name, where)}",
    )


def family_of(architecture: Architecture) -> NetworkFamily:
    """The row whose networks have architectures of this type; CheckpointError when there is none."""
    for row in all_families().values():
        if type(row.architecture) is type(architecture):
            return row
    raise CheckpointError("architecture of no known family", got=type(architecture).__name__, expected=_titles())


def recognized(names: Collection[str], where: str, wanted: str = "") -> NetworkFamily:
    """The family whose tensors have these names.

    Args:
        names: of the tensors.
        where: they are, for errors.
        wanted: the family that is asked for; it decides between families whose tensors have the same names.

    Raises:
        CheckpointError: tensors of a network that this version does not run, or of an unknown one.
    """
    best = max(all_families().values(), key=lambda row: (row.recognizes(names), row.name == wanted))
    for title, beginnings in FOREIGN:
        if all_begin(beginnings, names) and len(beginnings) > best.recognizes(names):
            raise CheckpointError(
                f"{where} looks like weights of {title}",
                expected=f"weights of {_titles()}",
                next_step="`python -m spann3r_ros models list` shows the families that this version can run",
            )
    if not best.recognizes(names):
        known = " or ".join(f"{' and '.join(row.tensors)} ({row.title})" for row in all_families().values())
        raise CheckpointError(
            f"{where} holds weights of an unknown network",
            got=f"{len(names)} tensors: {', '.join(list(names)[:5])}, ...",
            expected=f"names that begin with {known}",
            next_step="Fetch it again: `python -m spann3r_ros models fetch NAME` (`models list` shows the names)",
        )
    return best


def alike(row: NetworkFamily) -> tuple[str, ...]:
    """Names of the families whose tensors have the same names as this one's, itself first: no file tells them apart."""
    return row.name, *(other.name for other in FAMILIES.values() if other.tensors == row.tensors and other != row)


def official_files() -> dict[str, tuple[NetworkFamily, OfficialFile]]:
    """Official weights of all families by the name that ``models fetch`` takes."""
    return {file.name: (row, file) for row in all_families().values() for file in row.files}


def official_file(name: str) -> OfficialFile:
    """Official weights by name; CheckpointError with the names for an unknown one."""
    known = official_files()
    if name not in known:
        raise CheckpointError("no official weights of that name", got=repr(name), expected=" | ".join(known))
    return known[name][1]


def parameter_groups() -> tuple[type, ...]:
    """The families' own parameters, in the order of the rows."""
    return tuple(row.parameters for row in FAMILIES.values() if row.parameters is not None)


def _titles() -> str:
    """Who can run, for an error."""
    return " or ".join(row.title for row in all_families().values())

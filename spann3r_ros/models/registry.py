"""The families of networks, one row each; whatever lists, recognizes or builds a network reads the rows.

Importing this costs no PyTorch: a family's modules are imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection

from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models.checkpoint.download import OfficialFile
from spann3r_ros.models.cut3r.family import CUT3R
from spann3r_ros.models.dust3r.family import DUST3R
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.fast3r.family import FAST3R
from spann3r_ros.models.spann3r.family import SPANN3R

FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        SPANN3R,
        DUST3R,
        FAST3R,
        CUT3R,
    )
}

FOREIGN = (
    ("MASt3R", ("enc_blocks.", "downstream_head1.head_local_features.")),
    ("VGGT or StreamVGGT", ("aggregator.",)),
    ("Pi3", ("point_decoder.",)),
    ("CroCo", ("enc_blocks.", "prediction_head.")),
)
"""Networks that this version does not run, and what their tensors are called, so that they are refused by name."""


def family(name: str) -> Family:
    """The row of a family; ConfigError with the choices for an unknown name."""
    if name not in FAMILIES:
        raise ConfigError("parameter 'model'", got=repr(name), expected=" | ".join(FAMILIES))
    return FAMILIES[name]


def family_of(architecture: Architecture) -> Family:
    """The row whose networks have architectures of this type; CheckpointError when there is none."""
    for row in FAMILIES.values():
        if type(row.architecture) is type(architecture):
            return row
    raise CheckpointError("architecture of no known family", got=type(architecture).__name__, expected=_titles())


def recognized(names: Collection[str], where: str) -> Family:
    """The family whose tensors have these names.

    Raises:
        CheckpointError: tensors of a network that this version does not run, or of an unknown one.
    """

    def fits(beginnings: tuple[str, ...]) -> bool:
        return all(any(name.startswith(beginning) for name in names) for beginning in beginnings)

    own = [row for row in FAMILIES.values() if fits(row.tensors)]
    best = max(own, key=lambda row: len(row.tensors), default=None)
    foreign = [(title, beginnings) for title, beginnings in FOREIGN if fits(beginnings)]
    for title, beginnings in foreign:
        if best is None or len(beginnings) > len(best.tensors):
            raise CheckpointError(
                f"{where} looks like weights of {title}",
                expected=f"weights of {_titles()}",
                next_step="`python -m spann3r_ros models list` shows the families that this version can run",
            )
    if best is None:
        known = " or ".join(f"{' and '.join(row.tensors)} ({row.title})" for row in FAMILIES.values())
        raise CheckpointError(
            f"{where} holds weights of an unknown network",
            got=f"{len(names)} tensors: {', '.join(list(names)[:5])}, ...",
            expected=f"names that begin with {known}",
            next_step="Fetch it again: `python -m spann3r_ros models fetch NAME` (`models list` shows the names)",
        )
    return best


def official_files() -> dict[str, tuple[Family, OfficialFile]]:
    """Official weights of all families by the name that ``models fetch`` takes."""
    return {file.name: (row, file) for row in FAMILIES.values() for file in row.files}


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
    return " or ".join(row.title for row in FAMILIES.values())

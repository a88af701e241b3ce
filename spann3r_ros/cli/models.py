"""Weights: which exist and under which license, fetching them, and whether a file is good."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models import registry
from spann3r_ros.models.checkpoint import download
from spann3r_ros.models.checkpoint.reading import Checkpoint, load_into, read_checkpoint
from spann3r_ros.models.loading import empty_network, shipped_model
from spann3r_ros.models.tables import with_tables

PAGE = Path("docs/models.md")
SPEEDS = "family_speeds.json"
"""Beside the page: what `bench --family all --write docs/family_speeds.json` measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``list``, ``fetch`` and ``check``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="families of networks and their official weights")
    listing.add_argument(
        "--write", type=Path, metavar="FOLDER", help=f"write the tables of {PAGE} below the package's folder instead"
    )
    fetch = actions.add_parser("fetch", help="download official weights after showing their license")
    fetch.add_argument("name", metavar="NAME", help="a name that `models list` shows")
    fetch.add_argument("--to", type=Path, metavar="DIR", help=f"folder, by default {download.default_folder()}")
    fetch.add_argument(
        *("--accept-license", "--accept-licence"), action="store_true", help="accept the license without being asked"
    )
    fetch.add_argument("--sha256", default="", metavar="HEX", help="refuse a file with another hash")
    check = actions.add_parser("check", help="what a file of weights holds, and whether it can be used")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument(
        "--sha256",
        nargs="?",
        const="",
        metavar="HEX",
        help="compute the file's hash; compare it with HEX or, without one, with that recorded by `models fetch`",
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out one of the actions."""
    if arguments.action == "list" and arguments.write is not None:
        return write_tables(arguments.write / PAGE)
    if arguments.action == "list":
        return list_models()
    if arguments.action == "fetch":
        return fetch_weights(arguments.name, arguments.to, arguments.accept_license, arguments.sha256)
    return check_file(arguments.file, arguments.sha256)


def list_models() -> int:
    """Print families, official files and the model that ships."""
    print("Families (parameter `model`):")
    _print_table((row.name, row.summary) for row in registry.FAMILIES.values())
    print("\nRelocalizers (`python -m spann3r_ros localize`) and descriptors of places (`loops`):")
    _print_table((row.name, row.summary) for row in [*registry.RELOCALIZERS.values(), *registry.DESCRIPTORS.values()])
    print("\nOfficial weights (`python -m spann3r_ros models fetch NAME`):")
    _print_table(
        [
            ("NAME", "FAMILY", "FILE", "SIZE", "COMMERCIAL USE", "LICENSE", "WHERE"),
            *(
                (
                    *(file.name, row.name, file.file, f"{file.gigabytes} GB", "yes" if file.commercial else "no"),
                    *(file.license, file.source.address),
                )
                for row, file in registry.official_files().values()
            ),
        ]
    )
    print("\nTheir licenses:")
    for name in dict.fromkeys(file.license for _, file in registry.official_files().values()):
        print(textwrap.fill(f"{name}: {download.LICENSES[name]}", 116, initial_indent="  ", subsequent_indent="    "))
    shipped = shipped_model()
    print("\nThe model that ships (parameter `checkpoint` empty), Apache-2.0; knows one synthetic apartment only:")
    print(f"  {shipped}" + ("" if shipped.is_file() else " (not in this installation)"))
    return 0


def write_tables(page: Path) -> int:
    """Make the tables of docs/models.md anew."""
    try:
        page.write_text(with_tables(page.read_text(), page.with_name(SPEEDS)))
    except (OSError, ValueError) as error:
        raise ConfigError("--write", got=f"{page}: {error}", expected=f"the package's folder, with {PAGE}") from error
    print(page)
    return 0


def fetch_weights(name: str, folder: Path | None, accepted: bool, sha256: str) -> int:
    """Show the license, ask, download, check."""
    official = registry.official_file(name)
    print(f"{official.file} of {official.source.address}, about {official.gigabytes} GB. {official.note}.")
    print(f"License: {download.LICENSES[official.license]}")
    if not accepted:
        if not sys.stdin.isatty():
            raise CheckpointError(
                "the license was not accepted", got="no terminal to ask on", next_step="Add --accept-license if you do"
            )
        if input("Do you accept it? Type yes: ").strip().lower() != "yes":
            print("Nothing was downloaded.")
            return 1
    with tqdm(unit="B", unit_scale=True, desc=official.file, disable=None) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = download.fetch(official, folder or download.default_folder(), show, sha256)
    return check_file(path, "")


def check_file(path: Path, sha256: str | None) -> int:
    """Print what a file holds and whether its network can be built from it; errors say why not."""
    checkpoint = read_checkpoint(path)
    architecture = checkpoint.architecture
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.state.values())
    left_out = f", {len(checkpoint.unused)} not needed" if checkpoint.unused else ""
    rows = [
        ("file", f"{path} ({path.stat().st_size / 1e6:,.1f} MB)"),
        ("family", checkpoint.family),
        (
            "architecture",
            f"{registry.family_of(architecture).described(architecture)} (known from {checkpoint.origin})",
        ),
        ("tensors", f"{len(checkpoint.state)}{left_out}"),
        ("parameters", f"{checkpoint.parameters / 1e6:.2f} M"),
        ("type", ", ".join(f"{name} ({count} tensors)" for name, count in dtypes.items())),
        *((f"metadata {key}", text) for key, text in checkpoint.metadata.items() if key != "architecture"),
    ]
    if sha256 is not None:
        rows.append(("sha256", _checked_hash(checkpoint, sha256)))
    _print_table(rows)
    load_into(empty_network(architecture), checkpoint)
    print("Good: every tensor is there, has its shape and finite values.")
    if checkpoint.family not in registry.FAMILIES:
        print(f"Use it with {registry.usage(checkpoint.family, path.absolute())}")
        return 0
    named = checkpoint.origin == "metadata"
    names = (checkpoint.family,) if named else registry.alike(registry.family(checkpoint.family))
    print(f"Use it with the parameters model: {' or '.join(names)}, checkpoint: {path.absolute()}")
    if len(names) > 1:
        print("Weights of these families have the same names and shapes: only you know which they are.")
    return 0


def _checked_hash(checkpoint: Checkpoint, expected: str) -> str:
    """The file's hash and what it agrees with."""
    record = download.record_path(checkpoint.path)
    if not expected and not record.is_file():
        return f"{checkpoint.sha256} (nothing to compare with)"
    source = "the one given" if expected else f"that in {record.name}"
    return f"{download.verify(checkpoint.path, expected or record.read_text().split()[0])} (equals {source})"


def _print_table(rows: Sequence[tuple[str, ...]] | Iterator[tuple[str, ...]]) -> None:
    """Left-aligned columns, two spaces apart and indented by two."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

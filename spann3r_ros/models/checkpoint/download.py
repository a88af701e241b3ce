"""Official weights: how a family states them, and how they are fetched from where their authors keep them.

None of these hosts could be reached where this was written: the code was tried against a server on the loopback only.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.checksum import sha256

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes that there will be (None: unknown)."""

CC_BY_NC_SA = "CC BY-NC-SA 4.0"
NON_COMMERCIAL = "non-commercial (see its page)"
VGGT_LICENSE = "VGGT License v1"
CC_BY_NC = "CC BY-NC 4.0"
FAIR_NC = "FAIR Noncommercial Research License"
POSENET_LICENSE = "CC BY-NC 4.0, research only"
UNSTATED = "not stated"

LICENSES = {
    CC_BY_NC_SA: (
        "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International: you may use, share and adapt the "
        "weights if you name their authors, not for commercial purposes, and pass on what you derive under the same "
        "license. Full text: https://creativecommons.org/licenses/by-nc-sa/4.0/"
    ),
    NON_COMMERCIAL: (
        "Its authors allow non-commercial use only. The exact terms stand on the page that the file comes from: read "
        "them there."
    ),
    VGGT_LICENSE: (
        "Meta's VGGT License v1: use, commercial use too, within its acceptable use policy, and redistribution under "
        "the same terms. The policy forbids military use and weapons, and what has to do with critical "
        "infrastructure, transportation technologies or heavy machinery: whether a robot is any of these is for you "
        "to judge. Full text: https://github.com/facebookresearch/vggt/blob/main/LICENSE.txt"
    ),
    CC_BY_NC: (
        "Creative Commons Attribution-NonCommercial 4.0 International: you may use, share and adapt the weights if you "
        "name their authors, not for commercial purposes. Full text: https://creativecommons.org/licenses/by-nc/4.0/"
    ),
    FAIR_NC: (
        "FAIR Noncommercial Research License: for noncommercial research only, which includes whatever the weights "
        "compute; who passes them on does so under the same agreement and with a copy of it. The full text lies beside "
        "the weights"
    ),
    POSENET_LICENSE: (
        "Personal and research use only, by the authors' page, under Creative Commons Attribution-NonCommercial 4.0 "
        "International: not for commercial purposes without their consent. Full text: "
        "https://creativecommons.org/licenses/by-nc/4.0/"
    ),
    UNSTATED: (
        "Nobody says what these weights may be used for: take them for research only, and ask their authors about "
        "anything else."
    ),
}


class Origin(Protocol):
    """A place that files come from."""

    @property
    def address(self) -> str:
        """Where a person would look."""
        ...

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Put the files into the folder; run again after an interruption, continue where it stopped.

        Raises:
            CheckpointError: it could not be done; says what to do by hand.
        """
        ...


@dataclass(frozen=True)
class DriveFolder:
    """One file of a public Google Drive folder, by the library gdown."""

    id: str
    file: str

    @property
    def address(self) -> str:
        """The folder's page."""
        return f"https://drive.google.com/drive/folders/{self.id}"

    def fetch(self, folder: Path, _progress: Progress) -> None:
        """See ``Origin``; gdown shows its own progress."""
        gdown = _optional("gdown")
        by_hand = f"Download {self.file} by hand from {self.address}, then `models check` it"
        try:
            listing = gdown.download_folder(id=self.id, skip_download=True, quiet=True) or []
            found = {Path(entry.path).name: entry.id for entry in listing}
            if self.file not in found:
                raise CheckpointError(
                    f"no {self.file} in {self.address}", got=", ".join(found) or "no files", next_step=by_hand
                )
            if gdown.download(id=found[self.file], output=str(folder / self.file), resume=True) is None:
                raise CheckpointError(f"{self.file} could not be downloaded from {self.address}", next_step=by_hand)
        except CheckpointError:
            raise
        except Exception as error:  # gdown lets through whatever the page or the connection does to it
            raise CheckpointError(f"{self.address} gave an error", got=error, next_step=by_hand) from error


@dataclass(frozen=True)
class DriveFile:
    """One public file of Google Drive, by the library gdown."""

    id: str
    file: str

    @property
    def address(self) -> str:
        """The file's page."""
        return f"https://drive.google.com/file/d/{self.id}"

    def fetch(self, folder: Path, _progress: Progress) -> None:
        """See ``Origin``; gdown shows its own progress."""
        gdown = _optional("gdown")
        by_hand = f"Download {self.file} by hand from {self.address}, then `models check` it"
        try:
            found = gdown.download(id=self.id, output=str(folder / self.file), resume=True)
        except Exception as error:  # gdown lets through whatever the page or the connection does to it
            raise CheckpointError(f"{self.address} gave an error", got=error, next_step=by_hand) from error
        if found is None:
            raise CheckpointError(f"{self.file} could not be downloaded from {self.address}", next_step=by_hand)


@dataclass(frozen=True)
class HubRepository:
    """Files of a repository on the Hugging Face hub, by the library huggingface_hub."""

    repository: str
    files: tuple[str, ...]

    @property
    def address(self) -> str:
        """The repository's page."""
        return f"https://huggingface.co/{self.repository}"

    def fetch(self, folder: Path, _progress: Progress) -> None:
        """See ``Origin``; huggingface_hub shows its own progress."""
        huggingface_hub = _optional("huggingface_hub")
        for file in self.files:
            try:
                huggingface_hub.hf_hub_download(self.repository, file, local_dir=folder)
            except Exception as error:  # the library's own, its HTTP library's, and the system's
                raise CheckpointError(
                    f"{file} could not be downloaded from {self.address}",
                    got=error,
                    next_step="Run the command again; it continues. Or download the files by hand into one folder",
                ) from error


@dataclass(frozen=True)
class Url:
    """A file behind a plain link."""

    address: str

    def fetch(self, folder: Path, progress: Progress) -> None:
        """See ``Origin``."""
        download(self.address, folder / self.address.rsplit("/", 1)[-1], progress)


@dataclass(frozen=True)
class OfficialFile:
    """Weights that their authors publish.

    Attributes:
        name: what ``models fetch`` calls it.
        file: name of the file to load.
        source: where it is.
        gigabytes: about how large.
        license: a key of ``LICENSES``.
        commercial: whether that license allows commercial use.
        note: what else to know.
    """

    name: str
    file: str
    source: Origin
    gigabytes: float
    license: str
    commercial: bool
    note: str


def default_folder() -> Path:
    """Where fetched weights go unless told otherwise: the user's data folder."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "spann3r_ros" / "weights"


def fetch(official: OfficialFile, folder: Path, progress: Progress, expected_sha256: str = "") -> Path:
    """The file of official weights, fetched unless it is there already.

    It appears under its name only when it is complete and has the expected hash; its SHA-256 is written beside it in
    the format of ``sha256sum``. No hash is published for any of these files, so none is known here.

    Args:
        official: what to fetch.
        folder: gets a folder with the name of the weights.
        progress: told as the bytes come in.
        expected_sha256: hexadecimal hash that the file must have; empty: any.

    Raises:
        CheckpointError: it could not be fetched, or is not what was expected.
    """
    home = folder.expanduser() / official.name
    target = home / official.file
    staging = home / ".fetching"
    if not target.exists():
        try:
            staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{home} cannot be made", got=error, next_step="Name a folder with --to") from error
        if not (staging / official.file).exists():
            official.source.fetch(staging, progress)
        verify(staging / official.file, expected_sha256)
        # The file to load comes last, so that it never stands without those that belong to it.
        for path in sorted((p for p in staging.iterdir() if p.is_file()), key=lambda p: p.name == official.file):
            path.replace(home / path.name)
        shutil.rmtree(staging)
    digest = verify(target, expected_sha256)
    record_path(target).write_text(f"{digest}  {target.name}\n")
    return target


def record_path(path: Path) -> Path:
    """Where the hash of a fetched file is kept."""
    return path.with_name(f"{path.name}.sha256")


def verify(path: Path, expected: str) -> str:
    """The SHA-256 of a file; CheckpointError when it is not the expected one (empty: any is right)."""
    digest = sha256(path)
    if expected and digest != expected.strip().lower():
        raise CheckpointError(
            f"SHA-256 of {path}",
            got=digest,
            expected=expected,
            next_step="The file is not the one meant, or is damaged: delete it and fetch it again",
        )
    return digest


def download(url: str, target: Path, progress: Progress, timeout: float = 30.0) -> None:
    """Fetch one file over HTTP(S); it appears under its name when complete.

    What has come in of an interrupted download stays in ``TARGET.part`` and is continued, if the server still has the
    same file (its ETag or date, kept in ``TARGET.part.json``).

    Raises:
        CheckpointError: no connection, a refusal of the server, a web page instead of a file, too little disk, or an
            interruption; says how to go on.
    """
    part, notes_path = (target.with_name(target.name + suffix) for suffix in (".part", ".part.json"))
    notes = _read_notes(notes_path, url)
    done = part.stat().st_size if notes and part.exists() else 0
    total: int | None = notes.get("total")
    try:
        if not done or done != total:
            with _open(url, done, notes.get("validator"), timeout) as response:
                done = done if response.status == 206 else 0
                length = response.headers.get("Content-Length")
                total = None if length is None else done + int(length)
                _check_offer(url, response, target, total, done)
                validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
                notes_path.write_text(json.dumps({"url": url, "validator": validator, "total": total}))
                with part.open("ab" if done else "wb") as file:
                    progress(done, total)
                    while piece := response.read(1 << 20):
                        file.write(piece)
                        done += len(piece)
                        progress(done, total)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise CheckpointError(
            f"download of {url} failed",
            got=f"{type(error).__name__}: {error}",
            next_step="Check the connection and run the command again; it continues where it stopped",
        ) from error
    if total is not None and done != total:
        raise CheckpointError(
            f"download of {url} was cut off",
            got=f"{done:,} bytes",
            expected=f"{total:,}",
            next_step="Run the command again; it continues where it stopped",
        )
    part.replace(target)
    notes_path.unlink()


def _read_notes(path: Path, url: str) -> dict[str, Any]:
    """What is known of an interrupted download of this very address; empty when nothing is."""
    try:
        notes = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) and notes.get("url") == url else {}


def _open(url: str, done: int, validator: str | None, timeout: float) -> Any:
    """The server's response: the rest of the file (status 206) when it can be continued, else the whole (200)."""
    headers = {"User-Agent": "spann3r_ros"}
    if done and validator:
        # If-Range: the server sends the whole file again should it have changed.
        resumed = {**headers, "Range": f"bytes={done}-", "If-Range": validator}
        try:
            return urllib.request.urlopen(urllib.request.Request(url, headers=resumed), timeout=timeout)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # the file shrank: begin anew
                raise
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)


def _check_offer(url: str, response: Any, target: Path, total: int | None, done: int) -> None:
    if "text/html" in response.headers.get("Content-Type", ""):
        raise CheckpointError(
            f"{url} is a web page, not weights", next_step="The file has moved: look at the page of its authors"
        )
    start = response.headers.get("Content-Range", "").partition("bytes ")[2].partition("-")[0]
    if response.status == 206 and start != str(done):
        raise CheckpointError(
            f"{url} continues at the wrong place", got=start, expected=str(done), next_step=f"Delete {target}.part"
        )
    free = shutil.disk_usage(target.parent).free
    if total is not None and total - done > free:
        raise CheckpointError(
            f"too little space in {target.parent}",
            got=f"{free / 1e9:.1f} GB free",
            expected=f"{(total - done) / 1e9:.1f} GB",
            next_step="Make room, or name another folder with --to",
        )


def _optional(package: str) -> Any:
    """A package that only fetching needs."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise CheckpointError(
            f"fetching from there needs the Python package {package}", next_step=f"Install it: `pip install {package}`"
        ) from error

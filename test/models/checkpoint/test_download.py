"""Fetching weights, over real connections to a server on the loopback; Google Drive alone is stood in for."""

import hashlib
import inspect
import os
import subprocess
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models import registry
from spann3r_ros.models.checkpoint import download

CONTENT = bytes(range(256)) * 12000  # 3 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file on every path; knows ranges; can misbehave."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.kind = "application/octet-stream"
        self.status = 200
        self.hang_up_after = None
        self.wrong_range = False
        self.requests = []

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/folder/w.pth"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        server.requests.append((self.command, self.path, dict(self.headers)))
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        if start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", server.kind)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("ETag", server.etag)
        self.send_header("X-Repo-Commit", "0" * 40)  # what the hub adds
        if start:
            first = 0 if server.wrong_range else start
            self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        if body:
            rest = server.content[start:]
            self.wfile.write(rest if server.hang_up_after is None else rest[: server.hang_up_after])
            self.close_connection = True


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def silent(done, total):
    pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_and_its_progress_told(server, tmp_path):
    told = []
    download.download(server.url, tmp_path / "w.pth", lambda *progress: told.append(progress))
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert names(tmp_path) == ["w.pth"]
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def interrupt(server, tmp_path, after=1_000_000):
    server.hang_up_after = after
    with pytest.raises(CheckpointError, match=r"w\.pth .*again; it continues where it stopped"):
        download.download(server.url, tmp_path / "w.pth", silent)
    assert names(tmp_path) == ["w.pth.part", "w.pth.part.json"]
    server.hang_up_after = None


def test_an_interrupted_download_continues(server, tmp_path):
    interrupt(server, tmp_path)
    interrupt(server, tmp_path, after=500_000)
    told = []
    download.download(server.url, tmp_path / "w.pth", lambda *progress: told.append(progress))
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.requests[-1][2]["Range"] == "bytes=1500000-"
    assert told[0] == (1_500_000, len(CONTENT))


def test_a_file_that_changed_meanwhile_is_downloaded_anew(server, tmp_path):
    interrupt(server, tmp_path)
    server.content, server.etag = CONTENT[::-1], '"two"'
    download.download(server.url, tmp_path / "w.pth", silent)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT[::-1]


def test_a_file_that_shrank_meanwhile_is_downloaded_anew(server, tmp_path):
    interrupt(server, tmp_path)
    server.content = CONTENT[:1000]
    download.download(server.url, tmp_path / "w.pth", silent)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT[:1000]


def test_the_rest_of_another_address_is_not_continued(server, tmp_path):
    interrupt(server, tmp_path)
    download.download(server.url.replace("folder", "elsewhere"), tmp_path / "w.pth", silent)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert "Range" not in server.requests[-1][2]


def test_a_complete_part_needs_no_server(server, tmp_path):
    interrupt(server, tmp_path)
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    download.download(server.url, tmp_path / "w.pth", silent)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and len(server.requests) == 1


def test_damaged_notes_begin_anew(server, tmp_path):
    interrupt(server, tmp_path)
    (tmp_path / "w.pth.part.json").write_text("{")
    download.download(server.url, tmp_path / "w.pth", silent)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_server_that_continues_at_the_wrong_place_is_not_believed(server, tmp_path):
    interrupt(server, tmp_path)
    server.wrong_range = True
    with pytest.raises(CheckpointError, match=r"wrong place: got 0; expected 1000000\. Delete .*w\.pth\.part"):
        download.download(server.url, tmp_path / "w.pth", silent)


def test_refusals_of_the_server_are_told(server, tmp_path):
    server.status = 404
    with pytest.raises(CheckpointError, match=r"failed: got HTTPError: HTTP Error 404"):
        download.download(server.url, tmp_path / "w.pth", silent)
    server.status, server.kind = 200, "text/html; charset=utf-8"
    with pytest.raises(CheckpointError, match=r"is a web page, not weights"):
        download.download(server.url, tmp_path / "w.pth", silent)
    assert names(tmp_path) == []


def test_no_connection_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1:9/w\.pth failed.*Check the connection"):
        download.download("http://127.0.0.1:9/w.pth", tmp_path / "w.pth", silent, timeout=5)


def test_too_little_disk_is_told_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _folder: types.SimpleNamespace(free=1_000_000))
    with pytest.raises(CheckpointError, match=r"too little space.*0\.0 GB free.*--to"):
        download.download(server.url, tmp_path / "w.pth", silent)


def official(server, **changes):
    row = {"name": "tiny", "file": "w.pth", "source": download.Url(server.url), "gigabytes": 0.003}
    return download.OfficialFile(**{**row, "license": download.CC_BY_NC_SA, "commercial": False, "note": "", **changes})


def test_a_fetched_file_is_complete_and_its_hash_is_recorded(server, tmp_path):
    path = download.fetch(official(server), tmp_path, silent, DIGEST.upper())
    assert path == tmp_path / "tiny" / "w.pth" and path.read_bytes() == CONTENT
    assert names(path.parent) == ["w.pth", "w.pth.sha256"]
    # The format of sha256sum, checked by the program itself.
    subprocess.run(["sha256sum", "-c", "w.pth.sha256"], cwd=path.parent, check=True, capture_output=True)


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    download.fetch(official(server), tmp_path, silent)
    download.fetch(official(server), tmp_path, silent)
    assert len(server.requests) == 1


def test_a_file_with_another_hash_does_not_get_its_name(server, tmp_path):
    with pytest.raises(CheckpointError, match=rf"SHA-256 of .*w\.pth: got {DIGEST}; expected 00ff\. The file is not"):
        download.fetch(official(server), tmp_path, silent, "00ff")
    assert not (tmp_path / "tiny" / "w.pth").exists()
    # The hash was mistyped, not the file: with the right one it needs no second download.
    download.fetch(official(server), tmp_path, silent, DIGEST)
    assert len(server.requests) == 1


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/tiny cannot be made.*--to"):
        download.fetch(official(server), tmp_path / "file", silent)


def test_the_hub_is_asked_through_its_own_library(server, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the optional package huggingface_hub is not installed")
    code = (
        "import sys; from pathlib import Path; from spann3r_ros.models.checkpoint.download import HubRepository;"
        "HubRepository('someone/something', ('config.json', 'w.pth')).fetch(Path(sys.argv[1]), print)"
    )
    endpoint = f"http://127.0.0.1:{server.server_port}"
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment, capture_output=True)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and (tmp_path / "config.json").exists()
    assert "/someone/something/resolve/main/w.pth" in [path for _, path, _ in server.requests]


def test_errors_of_the_hub_are_told(server, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="the optional package huggingface_hub is not installed")
    real, endpoint = hub.hf_hub_download, f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "hf_hub_download", lambda *a, **k: real(*a, **k, endpoint=endpoint))
    server.status = 404
    with pytest.raises(
        CheckpointError, match=r"w\.pth could not be downloaded from https://huggingface\.co/a/b.*again"
    ):
        download.HubRepository("a/b", ("w.pth",)).fetch(tmp_path, silent)


class Drive(types.ModuleType):
    """In place of gdown, whose addresses are fixed to Google's: the calls that we make, answered from memory."""

    def __init__(self, files):
        super().__init__("gdown")
        self.files = files

    def download_folder(self, id, skip_download, quiet):  # noqa: ARG002 (gdown's names)
        assert skip_download
        return [types.SimpleNamespace(id=f"id of {name}", path=f"folder/{name}") for name in self.files]

    def download(self, id, output, resume):  # noqa: ARG002
        name = id.removeprefix("id of ")
        if self.files[name] is None:
            return None
        with open(output, "wb") as file:  # noqa: PTH123 (as gdown, which takes a text)
            file.write(self.files[name])
        return output


DRIVE_FILE = download.DriveFolder("abc", "w.pth")


def test_one_file_of_a_drive_folder_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", Drive({"other.pth": b"", "w.pth": CONTENT}))
    path = download.fetch(official(server, source=DRIVE_FILE), tmp_path, silent, DIGEST)
    assert path.read_bytes() == CONTENT and names(path.parent) == ["w.pth", "w.pth.sha256"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"other.pth": b""}, r"no w\.pth in https://drive\.google\.com/drive/folders/abc: got other\.pth"),
        ({}, r"no w\.pth in .*got no files"),
        ({"w.pth": None}, r"w\.pth could not be downloaded"),
        (None, r"gave an error"),
    ],
)
def test_troubles_with_a_drive_folder_tell_the_way_by_hand(tmp_path, monkeypatch, files, reason):
    monkeypatch.setitem(sys.modules, "gdown", Drive(files))
    with pytest.raises(CheckpointError, match=reason + r".*by hand from https://drive\.google\.com/drive/folders/abc"):
        DRIVE_FILE.fetch(tmp_path, silent)


def test_a_file_of_a_drive_is_fetched_by_its_id(server, tmp_path, monkeypatch):
    source = download.DriveFile("id of w.pth", "w.pth")
    monkeypatch.setitem(sys.modules, "gdown", Drive({"w.pth": CONTENT}))
    assert download.fetch(official(server, source=source), tmp_path, silent, DIGEST).read_bytes() == CONTENT
    for files, reason in (({"w.pth": None}, "could not be downloaded"), ({}, "gave an error")):
        monkeypatch.setitem(sys.modules, "gdown", Drive(files))
        with pytest.raises(CheckpointError, match=rf"{reason}.*Download w\.pth by hand from https://drive"):
            source.fetch(tmp_path, silent)


def test_the_stand_in_takes_the_arguments_of_the_real_library():
    gdown = pytest.importorskip("gdown", reason="the optional package gdown is not installed")
    for name in ("download", "download_folder"):
        ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (Drive, gdown))
        assert set(ours) - {"self"} <= set(theirs)


@pytest.mark.parametrize(
    ("package", "source"), [("gdown", DRIVE_FILE), ("huggingface_hub", download.HubRepository("a/b", ("w.pth",)))]
)
def test_missing_packages_are_named_with_the_command(tmp_path, monkeypatch, package, source):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CheckpointError, match=rf"needs the Python package {package}.*`pip install {package}`"):
        source.fetch(tmp_path, silent)


def test_every_official_file_is_of_a_family_and_has_a_license():
    for name, (family, row) in registry.official_files().items():
        assert row.name == name and row in family.files and row.license in download.LICENSES
        assert row.source.address.startswith("https://") and row.file


def test_an_unknown_name_lists_the_names():
    with pytest.raises(CheckpointError, match=r"'vggt'; expected spann3r-v1\.01 \| .*dust3r-224-linear"):
        registry.official_file("vggt")


def test_the_default_folder_is_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert download.default_folder() == tmp_path / "spann3r_ros" / "weights"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert download.default_folder().parts[-4:] == (".local", "share", "spann3r_ros", "weights")

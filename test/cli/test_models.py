"""`models list | fetch | check` as a user types them."""

import dataclasses
import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from tiny_models import tiny_architecture

from spann3r_ros.cli.main import main
from spann3r_ros.models import registry
from spann3r_ros.models.checkpoint import download
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.loading import empty_network

ARCHITECTURE = tiny_architecture(metric=True)


@pytest.fixture
def file(tmp_path):
    network = empty_network(ARCHITECTURE).to_empty(device="cpu")
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, network, ARCHITECTURE, {"training": {"steps": 12}}, torch.float16)
    return path


@pytest.fixture
def published(file, monkeypatch):
    """The tiny file as if its authors had published it, on the loopback."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=file.parent)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        source = download.Url(f"http://127.0.0.1:{server.server_port}/{file.name}")
        row = download.OfficialFile("tiny", file.name, source, 0.001, download.CC_BY_NC_SA, False, "For the test")
        family = registry.FAMILIES["spann3r"]
        monkeypatch.setitem(registry.FAMILIES, "spann3r", dataclasses.replace(family, files=(*family.files, row)))
        yield row
        server.shutdown()
        thread.join()


def test_list_shows_families_files_licenses_and_places(capsys):
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    for name in registry.FAMILIES:
        assert f"\n  {name} " in out
    for family, row in registry.official_files().values():
        line = next(line for line in out.splitlines() if line.startswith(f"  {row.name} "))
        assert row.source.address in line and row.file in line and row.license in line and family.name in line
    assert "apartment.safetensors" in out


def test_check_describes_a_good_file(file, capsys):
    assert main(["models", "check", str(file), "--sha256"]) == 0
    out = capsys.readouterr().out
    assert "encoder 2 x 32 (2 heads), decoders 2 x 3 x 24 (2 heads), value encoder 2 x 32, linear heads" in out
    assert "images 64 x 48, metric (known from metadata)" in out
    assert 'metadata training  {"steps": 12}' in out
    assert "float16 (" in out
    assert f"{hashlib.sha256(file.read_bytes()).hexdigest()} (nothing to compare with)" in out
    assert out.splitlines()[-2].startswith("Good:") and str(file) in out.splitlines()[-1]


def test_check_compares_hashes(file, capsys):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert main(["models", "check", str(file), "--sha256", digest]) == 0
    assert "(equals the one given)" in capsys.readouterr().out
    assert main(["models", "check", str(file), "--sha256", "00"]) == 2
    assert f"SHA-256 of {file}: got {digest}; expected 00" in capsys.readouterr().err


def test_check_refuses_a_bad_file_with_status_2(file, capsys):
    file.write_bytes(file.read_bytes()[:-10])
    assert main(["models", "check", str(file)]) == 2
    captured = capsys.readouterr()
    assert "Good" not in captured.out
    assert captured.err.startswith(f"spann3r_ros models: {file} is cut short")


def test_check_refuses_missing_tensors(file, capsys):
    state = {name: torch.zeros(1) for name in ("dust3r.enc_blocks.0.norm1.weight",)}
    write_checkpoint(file, state, ARCHITECTURE)
    assert main(["models", "check", str(file)]) == 2
    assert "does not fit the spann3r network" in capsys.readouterr().err


@pytest.mark.usefixtures("published")
def test_fetch_shows_the_license_downloads_and_checks(tmp_path, capsys):
    assert main(["models", "fetch", "tiny", "--to", str(tmp_path / "weights"), "--accept-license"]) == 0
    out = capsys.readouterr().out
    assert "NonCommercial" in out and "https://creativecommons.org/licenses/by-nc-sa/4.0/" in out
    path = tmp_path / "weights" / "tiny" / "tiny.safetensors"
    assert path.exists() and str(path) in out.splitlines()[-1]
    assert "(equals that in tiny.safetensors.sha256)" in out and "Good:" in out


@pytest.mark.parametrize(("answer", "status"), [("yes", 0), ("YES ", 0), ("y", 1), ("", 1)])
@pytest.mark.usefixtures("published")
def test_fetch_asks_and_downloads_only_after_a_yes(tmp_path, capsys, monkeypatch, answer, status):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _prompt: answer)
    assert main(["models", "fetch", "tiny", "--to", str(tmp_path / "weights")]) == status
    assert (tmp_path / "weights" / "tiny" / "tiny.safetensors").exists() == (status == 0)
    assert ("Nothing was downloaded." in capsys.readouterr().out) == (status == 1)


@pytest.mark.usefixtures("published")
def test_fetch_without_a_terminal_needs_the_option(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(["models", "fetch", "tiny", "--to", str(tmp_path / "weights")]) == 2
    assert "--accept-license" in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()


def test_fetch_of_an_unknown_name_lists_the_names(capsys):
    assert main(["models", "fetch", "nothing"]) == 2
    assert "spann3r-v1.01" in capsys.readouterr().err

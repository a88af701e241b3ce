import pytest

from spann3r_ros.files.atomic import replacing_file, replacing_folder


def write_file(path, text):
    with replacing_file(path) as draft:
        draft.write_text(text)


def write_folder(path, text):
    with replacing_folder(path) as draft:
        (draft / "a").write_text(text)


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "deep" / "file"
    write_file(path, "one")
    write_file(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "deep" / "folder"
    write_folder(path, "one")
    (path / "b").write_text("left over")
    write_folder(path, "two")
    assert [file.name for file in path.iterdir()] == ["a"]
    assert (path / "a").read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("replacing", "name"), [(replacing_file, "file"), (replacing_folder, "folder")])
def test_an_error_leaves_the_old_one_and_nothing_else(tmp_path, replacing, name):
    path = tmp_path / name
    {"file": write_file, "folder": write_folder}[name](path, "old")
    with pytest.raises(RuntimeError, match="disk"), replacing(path) as draft:
        file = draft if name == "file" else draft / "a"
        file.write_text("half of the n")
        raise RuntimeError("disk full")
    kept = path if name == "file" else path / "a"
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_exchange_fails_comes_back(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    write_folder(path, "old")
    rename = type(path).rename

    def fail_for_the_draft(self, target):
        if target == path and (self / "a").read_text() == "new":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", fail_for_the_draft)
    with pytest.raises(OSError, match="no"):
        write_folder(path, "new")
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

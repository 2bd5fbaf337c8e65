from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import fsspec
import pytest

from selfstudy.store.filesystem import Folder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return Folder.at(str(tmp_path / "out"))
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    return Folder.at("memory://out")


def test_write_replaces_and_create_does_not(folder: Folder) -> None:
    folder.write("a/b.json", b"one")
    folder.write("a/b.json", b"two")
    assert folder.read("a/b.json") == b"two"
    assert folder.create("a/b.json", b"three") is False
    assert folder.read("a/b.json") == b"two"
    assert folder.create("a/c.json", b"new") is True
    assert folder.names("a") == ["b.json", "c.json"]
    with folder.open("a/c.json") as file:
        assert file.read() == b"new"


def test_what_is_not_there(folder: Folder) -> None:
    assert folder.names("nothing/here") == []
    assert not folder.exists("nothing")
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")
    folder.remove_folder("nothing")


def test_folders_within(folder: Folder) -> None:
    folder.child("x").write("y/z", b"1")
    assert folder.read("x/y/z") == b"1"
    assert folder.exists("x/y/z")
    assert folder.names("x") == ["y"]
    folder.remove_folder("x")
    assert not folder.exists("x/y/z")


def test_opening_creates_nothing(tmp_path: Path) -> None:
    Folder.at(str(tmp_path / "out")).names("units")
    assert list(tmp_path.iterdir()) == []


def test_of_sixteen_writers_exactly_one_creates(tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    for number in range(30):
        barrier = Barrier(16)

        def create(writer: int, name: str = f"commits/{number}.json", barrier: Barrier = barrier) -> bool:
            barrier.wait()
            return folder.create(name, f"{writer}".encode() * 1000)

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(create, range(16)))
        assert sum(won) == 1
        assert folder.read(f"commits/{number}.json") == f"{won.index(True)}".encode() * 1000
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_reader_never_sees_half_an_object(tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    contents = [bytes([value]) * 200_000 for value in range(4)]
    folder.write("pointer", contents[0])

    def write(_: int) -> None:
        for content in contents:
            folder.write("pointer", content)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        while not all(writer.done() for writer in writers):
            assert folder.read("pointer") in contents


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.at(str(tmp_path))
    folder.write("pointer", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for attempt in (folder.write, folder.create):
        with pytest.raises(OSError, match="No space left"):
            attempt("pointer", b"new")
    assert folder.read("pointer") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["pointer"]


def test_what_a_killed_writer_left_is_no_object(tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    folder.write("commits/a.json", b"1")
    (tmp_path / "commits" / ".b.json.0123.tmp").write_bytes(b"half")
    assert folder.names("commits") == ["a.json"]

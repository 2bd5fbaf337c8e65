"""A folder in a real S3-compatible store, with a network that fails on the way."""

import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from selfstudy.storage import open_file
from selfstudy.store.filesystem import Folder
from tests.services.ceph import Ceph
from tests.services.faultproxy import FaultProxy, Faults


@pytest.fixture
def folder(bucket: str) -> Folder:
    return Folder.at(f"s3://{bucket}/out")


def test_write_replaces_and_create_does_not(folder: Folder) -> None:
    folder.write("a/b.json", b"one")
    folder.write("a/b.json", b"two")
    assert folder.create("a/b.json", b"three") is False
    assert folder.create("a/c.json", b"new") is True
    assert folder.read("a/b.json") == b"two"
    assert folder.names("a") == ["b.json", "c.json"]
    assert folder.names("") == ["a", "lock"]
    with folder.open("a/c.json") as file:
        assert file.read() == b"new"


def test_what_is_not_there_and_what_is_removed(folder: Folder) -> None:
    assert folder.names("nothing/here") == []
    assert not folder.exists("nothing")
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")
    folder.remove_folder("nothing")
    folder.remove("nothing")
    for name in ("x/a", "x/y/b", "xy"):
        folder.write(name, b"1")
    folder.remove_folder("x")
    assert folder.names("x") == []
    assert folder.exists("xy")
    folder.remove("xy")
    assert not folder.exists("xy")


def test_what_another_process_wrote_is_seen_at_once(folder: Folder, ceph: Ceph) -> None:
    bucket, _, root = folder.root.partition("/")
    assert folder.names("a") == [] and not folder.exists("a/late")
    ceph.client.put_object(Bucket=bucket, Key=f"{root}/a/late", Body=b"1")
    assert folder.names("a") == ["late"] and folder.exists("a/late")
    ceph.client.put_object(Bucket=bucket, Key=f"{root}/a/late", Body=b"22")
    assert folder.read("a/late") == b"22"
    with folder.open("a/late") as file:
        assert file.read() == b"22"


def test_a_listing_that_has_many_pages_is_whole(folder: Folder, proxy: FaultProxy) -> None:
    rng = random.Random(3)
    # Names of units, and some that begin with other characters, at the borders of the ranges among them.
    names = {f"{rng.randrange(16**8):08x}-000000.json" for _ in range(1200)}
    names |= {f"{first}{number}" for first in "!-0fgzZé" for number in range(20)} | set("0123456789abcdef")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: folder.write(f"n/{name}", b""), names))
        list(pool.map(lambda name: folder.write(f"folders/{name}/x", b""), names))
    before = proxy.seen["requests"]
    assert folder.names("n") == sorted(names)
    assert proxy.seen["requests"] - before <= 2 + 16
    assert folder.names("folders") == sorted(names)


def test_a_large_object_goes_in_parts_also_when_answers_are_lost(folder: Folder, proxy: FaultProxy) -> None:
    data = bytes(range(256)) * (40 * 4096)
    proxy.set(Faults(ack_loss=0.3))
    before = proxy.seen["requests"]
    folder.write("large", data)
    proxy.set(Faults())
    assert proxy.seen["requests"] - before >= 5
    assert proxy.seen["ack_loss"]
    assert folder.read("large") == data


@pytest.mark.parametrize("num_bytes", [0, 1_000, 20_000_000])
def test_what_is_written_in_pieces_appears_whole_or_not_at_all(
    folder: Folder, proxy: FaultProxy, num_bytes: int
) -> None:
    data = bytes(num_bytes)

    def write(name: str, *, fails: bool) -> None:
        with folder.writing(name) as file:
            for start in range(0, num_bytes, 1_000_000):
                file.write(data[start : start + 1_000_000])
            assert folder.names("pieces") == []
            if fails:
                raise KeyError(name)

    proxy.set(Faults(ack_loss=0.3))
    with pytest.raises(KeyError):
        write("pieces/lost", fails=True)
    assert folder.names("pieces") == []
    write("pieces/kept", fails=False)
    assert folder.read("pieces/kept") == data


def test_a_folder_travels_to_other_processes(folder: Folder) -> None:
    folder.write("a", b"1")
    copy = pickle.loads(pickle.dumps(folder))
    assert copy.read("a") == b"1"
    assert b"secret" not in pickle.dumps(folder)


@pytest.mark.parametrize("faults", [Faults(), Faults(ack_loss=0.3, slow_down=0.1, reset=0.1)])
def test_of_sixteen_writers_exactly_one_creates(folder: Folder, proxy: FaultProxy, faults: Faults) -> None:
    folder.create("warm", b"up")
    proxy.set(faults)
    for number in range(6):
        barrier = Barrier(16)

        def create(writer: int, name: str = f"commits/{number}", barrier: Barrier = barrier) -> bool:
            barrier.wait()
            return folder.create(name, f"writer {writer}".encode())

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(create, range(16)))
        assert sum(won) == 1
        assert folder.read(f"commits/{number}") == f"writer {won.index(True)}".encode()
    assert bool(proxy.seen["ack_loss"]) == bool(faults.ack_loss)


def test_through_thirty_percent_of_faults_everything_arrives(folder: Folder, proxy: FaultProxy) -> None:
    proxy.set(Faults(slow_down=0.06, internal_error=0.06, too_many=0.06, reset=0.06, truncate=0.06))
    contents = {f"n/{number}": bytes([number]) * 50_000 for number in range(40)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: folder.write(*item), contents.items()))
        read = list(pool.map(folder.read, contents))
    assert read == list(contents.values())
    assert len(folder.names("n")) == 40
    with open_file(f"{folder.url}/n/7") as file:
        assert file.read() == contents["n/7"]
    for fault in ("slow_down", "internal_error", "too_many", "reset", "truncate"):
        assert proxy.seen[fault], fault


def test_a_store_that_always_refuses_costs_eight_requests(
    folder: Folder, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfstudy.s3._FIRST_WAIT_S", 0.001)
    folder.write("a", b"some text")
    proxy.set(Faults(slow_down=1))
    before = proxy.seen["requests"]
    with pytest.raises(OSError, match="SlowDown") as caught:
        folder.write("a", b"1")
    assert proxy.seen["requests"] - before == 8
    assert caught.value.errno is not None
    proxy.set(Faults(truncate=1))
    before = proxy.seen["requests"]
    with pytest.raises(OSError) as caught:
        folder.read("a")
    assert proxy.seen["requests"] - before == 8
    assert caught.value.errno is not None


def test_a_full_store_says_so(folder: Folder, ceph: Ceph) -> None:
    folder.write("a", b"1" * 5_000)
    bucket = folder.root.split("/")[0]
    ceph.limit_bucket(bucket, 1_000)
    with pytest.raises(OSError, match="no space left"):
        folder.write("b", b"1" * 5_000)
    ceph.limit_bucket(bucket, None)
    folder.write("b", b"1" * 5_000)


def test_a_store_without_conditional_create_is_found_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    write = type(fs).pipe_file

    def write_anyway(self: object, path: str, value: bytes, **_: object) -> None:
        write(self, path, value)

    monkeypatch.setattr(type(fs), "pipe_file", write_anyway)
    fs.store.clear()
    folder = Folder.at("memory://without-condition")
    assert folder.create("a", b"1") is True
    assert folder.create("a", b"2") is False
    assert folder.read("a") == b"1"
    assert caplog.text.count("the run lock alone") == 1

"""Law 3: what a unit made becomes real by one small object that only one attempt can create."""

import hashlib
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfstudy.store.commits import COMMITS, Commit, CommittedUnits, commit_unit, from_parquet, read_commit, to_parquet
from selfstudy.store.filesystem import Folder

PREFIX = "a" * 24
UNIT = f"{PREFIX}-000000-last"


def tables(value: str = "x", rows: int = 3) -> dict[str, pa.Table]:
    return {"pairs": pa.table({"question": [value] * rows}), "rejects": pa.table({"reason": pa.array([], pa.string())})}


def commit(output: Folder, unit_id: str = UNIT, **fields: Any) -> bool:
    arguments: dict[str, Any] = {
        "unit_id": unit_id,
        "split_id": "s",
        "recipe": "r",
        "created_at": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
        "versions": {"python": "3.11"},
        "counts": {"pairs": 3},
    }
    return commit_unit(output, fields.pop("tables", tables()), **arguments | fields)


def test_a_commit_names_its_files(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    assert commit(output)
    found = read_commit(output, UNIT)
    assert list(found.files) == ["pairs"]
    file = found.files["pairs"]
    data = output.read(file["name"])
    assert file["name"] == f"units/pairs/{UNIT}-{found.attempt}.parquet"
    assert (file["rows"], file["bytes"], file["sha256"]) == (3, len(data), hashlib.sha256(data).hexdigest())
    assert pq.read_table(io.BytesIO(data)).equals(tables()["pairs"])
    assert Commit.parse(found.dump()) == found
    assert not (tmp_path / "units" / "rejects").exists()


def test_of_two_attempts_that_race_exactly_one_wins(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    barrier = Barrier(8)

    def attempt(number: int) -> bool:
        barrier.wait()
        return commit(output, tables=tables(f"attempt {number}"))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    written = {f"units/pairs/{name}" for name in output.names("units/pairs")}
    assert len(written) == 8
    named = read_commit(output, UNIT).files["pairs"]["name"]
    assert named in written
    # What is read is what the winner made; the losers' files are named by nothing.
    winner = f"attempt {won.index(True)}"
    assert set(pq.read_table(tmp_path / named)["question"].to_pylist()) == {winner}
    assert output.names(COMMITS) == [f"{UNIT}.json"]


def test_a_later_attempt_changes_nothing(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    commit(output, tables=tables("first"))
    before = output.read(f"{COMMITS}/{UNIT}.json")
    assert commit(output, tables=tables("second")) is False
    assert output.read(f"{COMMITS}/{UNIT}.json") == before


def test_the_commit_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Folder.at(str(tmp_path))
    order: list[str] = []
    write, create = Folder.write, Folder.create
    monkeypatch.setattr(Folder, "write", lambda self, name, data: (order.append(name), write(self, name, data))[1])
    monkeypatch.setattr(Folder, "create", lambda self, name, data: (order.append(name), create(self, name, data))[1])
    commit(output, tables={"pairs": tables()["pairs"], "chunks": tables()["pairs"]})
    assert [name.split("/")[1] for name in order] == ["pairs", "chunks", "commits"]


def test_a_crash_before_the_commit_leaves_nothing_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Folder.at(str(tmp_path))

    def crash(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "create", crash)
        with pytest.raises(OSError, match="No space"):
            commit(output)
    assert CommittedUnits.find(output).unit_ids(PREFIX) == []
    assert commit(output)


@settings(deadline=None)
@given(st.integers(1, 30), st.data())
def test_a_split_is_complete_when_every_number_is_there(num_units: int, data: st.DataObject) -> None:
    names = [f"{PREFIX}-{number:06d}{'-last' if number == num_units - 1 else ''}" for number in range(num_units)]
    kept = [name for name in names if data.draw(st.booleans())]
    committed = CommittedUnits.of_names(f"{name}.json" for name in data.draw(st.permutations(kept)))
    assert committed.is_complete(PREFIX) == (kept == names)
    assert committed.unit_ids(PREFIX) == kept
    assert not committed.is_complete("b" * 24)
    assert committed.unit_ids("b" * 24) == []


def test_a_gap_before_the_last_unit_is_seen() -> None:
    names = [f"{PREFIX}-000000.json", f"{PREFIX}-000002-last.json", "notes.txt", "x.json"]
    assert not CommittedUnits.of_names(names).is_complete(PREFIX)
    assert CommittedUnits.of_names([*names, f"{PREFIX}-000001.json"]).is_complete(PREFIX)


def test_names_alone_say_what_is_done(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    assert not CommittedUnits.find(output).is_complete(PREFIX)
    # Empty on purpose: nothing may read them.
    output.write(f"{COMMITS}/{UNIT}.json", b"")
    assert CommittedUnits.find(output).is_complete(PREFIX)


def test_a_commit_is_small_and_plain_json(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    commit(output, tables=tables(rows=100_000))
    data = output.read(f"{COMMITS}/{UNIT}.json")
    assert len(data) < 2_000
    assert set(orjson.loads(data)) == set(Commit.__dataclass_fields__)


READ_ALONE = """
import psutil
import pyarrow as pa
from selfstudy.store.commits import from_parquet, to_parquet
content = to_parquet(pa.table({"reused": [True] * 200, "other": range(200)}))
before = psutil.Process().num_threads()
from_parquet(content, ["reused"])
from_parquet(content)
assert psutil.Process().num_threads() == before
"""


def test_a_read_leaves_no_thread_behind() -> None:
    # One that still lets go of the content while Python shuts down aborts the process.
    subprocess.run([sys.executable, "-c", READ_ALONE], check=True, timeout=60)


def test_a_table_is_read_back_whole_or_in_part() -> None:
    table = pa.table({"question": ["a", None, "c"], "tokens": [[1, 2], [], [3]]})
    assert from_parquet(to_parquet(table)) == table
    assert from_parquet(to_parquet(table), ["tokens"]) == table.select(["tokens"])
    assert from_parquet(to_parquet(table.slice(0, 0))) == table.slice(0, 0)

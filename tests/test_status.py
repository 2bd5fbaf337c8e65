"""What `status` reads: names of all commits, the content of so many that the answer comes at once."""

from pathlib import Path

import pytest

from selfstudy.status import status
from selfstudy.store.commits import COMMITS, Commit
from selfstudy.store.filesystem import Folder


def commit_units(folder: Path, number: int) -> Folder:
    (folder / COMMITS).mkdir(parents=True)
    for unit in range(number):
        # Splits of two units; as in a real store the names of neighbours have nothing in common.
        unit_id = f"{hash(f'split {unit // 2}') & 0xFFFFFFFF:08x}{unit // 2:016x}-{unit % 2:06d}{'-last' * (unit % 2)}"
        counts = {"pairs": 100 + unit % 7, "targets_rejected": {"off_target": 1, "refused": 2}}
        content = Commit(
            unit_id=unit_id,
            split_id="s",
            attempt="a",
            recipe="r",
            created_at=f"2026-01-01T00:00:00.{unit:06d}+00:00",
            seconds=1.0,
            versions={},
            counts=counts,
            files={},
        )
        (folder / COMMITS / f"{unit_id}.json").write_bytes(content.dump())
    return Folder.at(str(folder))


def test_a_small_store_is_counted_exactly(tmp_path: Path) -> None:
    found = status(commit_units(tmp_path, 101))
    assert (found.units, found.units_read, found.splits_started, found.splits_complete) == (101, 101, 51, 50)
    assert found.counts == {"pairs": sum(100 + unit % 7 for unit in range(101)), "targets_rejected": 303}
    assert found.last_commit_at == "2026-01-01T00:00:00.000100+00:00"


def test_of_a_large_store_some_commits_are_read(tmp_path: Path) -> None:
    found = status(commit_units(tmp_path, 5001))
    assert found.units == 5001 and found.splits_complete == 2500
    assert 1500 < found.units_read <= 2000
    assert found.counts["pairs"] == pytest.approx(5001 * 103, rel=0.01)
    assert found.counts["targets_rejected"] == 3 * 5001


def test_an_empty_place_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run has written here"):
        status(Folder.at(str(tmp_path)))

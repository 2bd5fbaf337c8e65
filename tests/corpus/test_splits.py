import os
from itertools import pairwise
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfstudy.config import ConfigError, CorpusConfig
from selfstudy.corpus.splits import (
    Source,
    Split,
    bundle_small,
    is_unchanged,
    list_sources,
    plan_splits,
    slice_large,
    stamp_of,
    suffix_of,
)
from tests.factories import source_of, split_of, write_jsonl


def corpus(*paths: Path | str, **fields: object) -> CorpusConfig:
    return CorpusConfig(paths=[str(path) for path in paths], **fields)  # type: ignore[arg-type]


def write_many(folder: Path, number: int) -> None:
    for index in range(number):
        parent = folder / f"{index % 100:02d}"
        if index < 100:
            parent.mkdir()
        (parent / f"{index:05d}.txt").write_text(f"The note number {index} is one paragraph about the old mill.")


def test_one_more_file_among_twenty_thousand_changes_only_its_bundle() -> None:
    sources = [Source(f"file:///notes/{number:05d}.txt", f"{number:05d}.txt", 300, "1") for number in range(20_000)]
    before = [Split(tuple(bundle)) for bundle in bundle_small(sources)]
    assert [source for split in before for source in split.sources] == sources
    assert 100 <= len(before) <= 250

    for place in (0, 1, 9_999, 19_999):
        more = [*sources[:place], Source(f"file:///notes/{place:05d}a.txt", "new", 300, "1"), *sources[place:]]
        after = [Split(tuple(bundle)) for bundle in bundle_small(sorted(more, key=lambda source: source.uri))]
        gone = {split.split_id for split in before} - {split.split_id for split in after}
        new = {split.split_id for split in after} - {split.split_id for split in before}
        assert len(gone) == 1
        assert 1 <= len(new) <= 2


def test_bundles_are_bounded() -> None:
    many = [Source(f"file:///{number:06d}.txt", "x", 0, "1") for number in range(30_000)]
    assert max(len(bundle) for bundle in bundle_small(many)) <= 1024
    heavy = [Source(f"file:///{number:06d}.txt", "x", 900_000, "1") for number in range(500)]
    assert max(sum(source.num_bytes for source in bundle) for bundle in bundle_small(heavy)) < 33_000_000
    assert list(bundle_small([])) == []


def test_every_file_is_in_exactly_one_split(tmp_path: Path) -> None:
    write_many(tmp_path, 500)
    plan = plan_splits(corpus(tmp_path, tmp_path / "00", str(tmp_path / "*" / "0000*.txt")), seed=0)
    uris = [source.uri for split in plan.splits for source in split.sources]
    assert len(uris) == len(set(uris)) == plan.num_files == 500


def test_the_seed_orders_the_splits_and_does_not_name_them(tmp_path: Path) -> None:
    write_many(tmp_path, 2000)
    one, other, again = (plan_splits(corpus(tmp_path), seed=seed).splits for seed in (1, 2, 1))
    assert one == again
    assert one != other
    assert set(one) == set(other)


def test_a_split_is_named_by_what_it_covers(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    split = split_of(file)
    stat = file.stat()
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    names = {
        split.split_id,
        split_of(file).split_id,
        Split(split.sources, start=0, stop=2).split_id,
        Split(split.sources, start=1, stop=2).split_id,
        Split(split.sources, max_documents=1).split_id,
        Split((*split.sources, *split.sources)).split_id,
    }
    assert len(names) == 6


def test_a_changed_or_missing_file_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    source = source_of(file)
    assert is_unchanged(source)
    os.utime(file, ns=(0, 0))
    assert not is_unchanged(source)
    source = source_of(file)
    file.write_text("other size")
    os.utime(file, ns=(0, 0))
    assert not is_unchanged(source)
    file.unlink()
    assert not is_unchanged(source)


def test_two_files_with_the_same_content_are_two_documents(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("same")
    sources = [source for split in plan_splits(corpus(tmp_path), 0).splits for source in split.sources]
    assert sorted(source.name for source in sources) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", ["deep/er/c.txt", "deep/b.md", "a.txt"]),
        ("deep", ["er/c.txt", "b.md"]),
        ("a.txt", ["a.txt"]),
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["a.txt", "deep/er/c.txt"]),
        ("deep/*/*.txt", ["er/c.txt"]),
        ("de*/b.md", ["deep/b.md"]),
    ],
)
def test_names_are_relative_to_the_folder_or_the_fixed_part_of_the_glob(
    tmp_path: Path, path: str, names: list[str]
) -> None:
    for name in ("a.txt", "deep/b.md", "deep/er/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = list_sources(str(tmp_path / path) if path else str(tmp_path))
    assert sorted(source.name for source in found) == sorted(names)


def test_any_file_system_of_fsspec() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe({"/splits/a.txt": b"one", "/splits/in/b.md": b"two", "/splits/c.png": b"three"})
    plan = plan_splits(corpus("memory://splits"), 0)
    sources = [source for split in plan.splits for source in split.sources]
    assert sorted((source.uri, source.name) for source in sources) == [
        ("memory:///splits/a.txt", "a.txt"),
        ("memory:///splits/in/b.md", "in/b.md"),
    ]
    assert all(source.stamp and is_unchanged(source) for source in sources)
    assert plan.skipped == {".png": 1}
    fs.rm("/splits", recursive=True)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.txt", ".txt"),
        ("A.JSONL.GZ", ".jsonl.gz"),
        ("a.ndjson", ".jsonl"),
        ("a.markdown", ".md"),
        ("a.tar.gz", ".tar.gz"),
        ("a.gz", ".gz"),
        ("none", ""),
        ("v1.2/none", ""),
        ("a.b.parquet", ".parquet"),
    ],
)
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix_of(f"file:///x.y/{name}") == suffix


def test_paths_without_readable_files_are_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"x")
    (tmp_path / "a.txt").write_text("fine")
    with pytest.raises(ConfigError) as error:
        plan_splits(corpus(tmp_path / "a.txt", tmp_path / "nothing", tmp_path / "*.md", tmp_path / "pictures"), seed=0)
    problems = error.value.problems
    assert [problem.split(":")[0] for problem in problems] == ["corpus.paths.1", "corpus.paths.2", "corpus.paths.3"]
    assert "no file" in problems[0]
    assert "1 files, none that can be read" in problems[2]


def test_names_that_no_table_can_hold_are_counted_not_read(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("x")
    (tmp_path / "a::b.txt").write_text("x")
    (tmp_path / "a#b c%20[1]?.txt").write_text("x")
    (tmp_path / os.fsdecode(b"latin-\xe9.txt")).write_text("x")
    (tmp_path / "README").write_text("x")
    plan = plan_splits(corpus(tmp_path), seed=0)
    assert plan.num_files == 2
    assert plan.skipped == {"(:: in the name)": 1, "(name not in UTF-8)": 1, "(no suffix)": 1}


def test_stamps_prefer_the_etag() -> None:
    assert stamp_of({"ETag": '"abc"', "mtime": 3}) == "abc"
    assert stamp_of({"mtime": 3.5}) == "3.5"
    assert stamp_of({"LastModified": "today"}) == "today"
    assert stamp_of({"size": 3}) == ""


def test_a_large_jsonl_file_is_cut_into_ranges_without_gaps(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "x" * 100} for _ in range(1000)])
    source = source_of(file)
    slices = slice_large(source, split_mb=0.01)
    assert len(slices) == -(-source.num_bytes // 10_000)
    borders = [(split.start, split.stop) for split in slices]
    assert borders[0][0] == 0
    assert borders[-1][1] == source.num_bytes
    assert all(one[1] == other[0] for one, other in pairwise(borders))
    assert sum(split.num_bytes for split in slices) == source.num_bytes
    assert slice_large(source, split_mb=1) == [Split((source,))]


def test_a_large_parquet_file_is_cut_between_row_groups(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"{number:0100d}" for number in range(1000)]}), file, row_group_size=100)
    slices = slice_large(source_of(file), split_mb=0.003)
    groups = [group for split in slices for group in range(split.start, split.stop or 0)]
    assert groups == list(range(10))
    assert len(slices) > 2


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".txt", ".html", ".parquet"])
def test_what_cannot_be_sliced_is_one_split(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"not what the suffix says " * 1000)
    assert slice_large(source_of(file), split_mb=0.001) == [split_of(file)]

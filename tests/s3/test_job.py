"""The whole job from and to a real S3-compatible store, and what goes wrong there, in one line each."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

import selfstudy
from selfstudy.corpus.read import read_split
from selfstudy.corpus.splits import is_unchanged, list_sources, plan_splits
from selfstudy.records import Reject
from selfstudy.status import status
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.conftest import CommandLine
from tests.runs import (
    RunProcess,
    config_of,
    ended_targets,
    num_commits,
    parsed,
    planned_targets,
    published,
    run_here,
    wait_until,
    write_corpus,
)
from tests.services.ceph import Ceph, free_port
from tests.services.faultproxy import FaultProxy, Faults
from tests.services.orphans import orphans

pytestmark = pytest.mark.fault


@pytest.fixture
def corpus(bucket: str, ceph: Ceph, tmp_path: Path) -> str:
    """Documents of three formats in the bucket; returns the URL of their folder."""
    path = write_corpus(tmp_path / "corpus", num_documents=4)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    parquet = [row | {"id": f"{row['id']}-parquet", "text": row["text"].replace("valve", "pump")} for row in rows]
    pl.DataFrame(parquet).write_parquet(tmp_path / "documents.parquet", row_group_size=2)
    note = " ".join(f"Note {number} on the mill says that its wheel turned {number} times." for number in range(20))
    for name, data in {
        "documents.jsonl": path.read_bytes(),
        "documents.parquet": (tmp_path / "documents.parquet").read_bytes(),
        "notes/mill.txt": note.encode(),
    }.items():
        ceph.client.put_object(Bucket=bucket, Key=f"corpus/{name}", Body=data)
    return f"s3://{bucket}/corpus"


def test_the_whole_job_from_s3_to_s3(corpus: str, bucket: str, tmp_path: Path) -> None:
    output = f"s3://{bucket}/out"
    config = config_of(corpus, output, corpus={"split_mb": 0.005}, engine={"kind": "scripted", "random_text": True})
    run = RunProcess(config, tmp_path)
    assert run.wait() == 0, run.stderr
    verdict = verify(Folder.at(output))
    assert verdict.ok, verdict.violations
    assert selfstudy.load(output).select(pl.len()).collect().item() == run.summary()["counts"]["pairs"] > 50
    assert selfstudy.load(output, "train").collect()["source_uri"].str.starts_with(corpus).all()
    assert status(Folder.at(output)).snapshot_complete
    calm = run_here(parsed(corpus, tmp_path / "calm", corpus={"split_mb": 0.005}))
    assert calm["counts"]["targets"] == run.summary()["counts"]["targets"]
    again = RunProcess(config, tmp_path)
    assert again.wait() == 0, again.stderr
    assert again.summary()["nothing_to_do"]


def test_two_runs_at_once_make_exactly_one_set_of_units(
    corpus: str, bucket: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    output = f"s3://{bucket}/out"
    engine = {"kind": "scripted", "random_text": True, "latency_s": 0.02}
    config = config_of(corpus, output, engine=engine, limits={"lock_lease_s": 4})
    proxy.set(Faults(ack_loss=0.05, slow_down=0.05))
    both = [RunProcess(config, tmp_path) for _ in range(2)]
    try:
        assert sorted(run.wait() for run in both) == [0, 1], [run.stderr for run in both]
    finally:
        for run in both:
            run.kill()
    proxy.set(Faults())
    winner, loser = sorted(both, key=lambda run: run.process.returncode)
    assert winner.summary()["run"] in loser.stderr and "--steal-lock" in loser.stderr
    tables = published(output)
    assert planned_targets(tables) == ended_targets(tables)
    assert winner.summary()["targets"] == len(planned_targets(tables))
    assert verify(Folder.at(output)).ok
    assert orphans(Folder.at(output)) == []


def test_a_store_that_fails_on_the_way_is_one_line_and_what_was_committed_stays(
    corpus: str, bucket: str, ceph: Ceph, tmp_path: Path
) -> None:
    output = f"s3://{bucket}/out"
    config = config_of(corpus, output, engine={"kind": "scripted", "latency_s": 0.3, "max_concurrency": 2})
    run = RunProcess(config, tmp_path)
    try:
        wait_until(lambda: num_commits(output) >= 2, "two commits")
        ceph.limit_bucket(bucket, 1)
        assert run.wait() == 1
    finally:
        run.kill()
        ceph.limit_bucket(bucket, None)
    assert "Traceback" not in run.stderr
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("selfstudy: ")]
    assert "no space left in the store" in line and "What was committed stays" in line
    stored = num_commits(output)
    again = RunProcess(config | {"engine": {"kind": "scripted", "max_concurrency": 2}}, tmp_path)
    assert again.wait() == 0, again.stderr
    assert again.summary()["units"] == num_commits(output) - stored
    assert verify(Folder.at(output)).ok


def test_slices_and_row_groups_give_each_document_once(corpus: str) -> None:
    config = parsed(corpus, "unused", corpus={"split_mb": 0.005}).corpus
    # Small files: one bundle, unless the random name of the bucket makes a cut between two of them.
    documents = [document for split in plan_splits(config, seed=0).splits for document in read_split(split, config)]
    assert not [item for item in documents if isinstance(item, Reject)]
    assert len(documents) == 9


def test_what_is_listed_has_the_stamp_by_which_changes_are_seen(corpus: str, bucket: str, ceph: Ceph) -> None:
    sources = {source.name: source for source in list_sources(f"{corpus}/**")}
    assert sorted(sources) == ["documents.jsonl", "documents.parquet", "notes/mill.txt"]
    assert sources == {source.name: source for source in list_sources(corpus)}
    assert [source.name for source in list_sources(f"{corpus}/*.jsonl")] == ["documents.jsonl"]
    (note,) = list_sources(f"{corpus}/notes/mill.txt")
    assert is_unchanged(note)
    ceph.client.put_object(Bucket=bucket, Key="corpus/notes/mill.txt", Body=b"x" * note.num_bytes)
    assert not is_unchanged(note)
    ceph.client.delete_object(Bucket=bucket, Key="corpus/notes/mill.txt")
    assert not is_unchanged(note)


def test_a_listing_that_fails_is_no_smaller_corpus(
    corpus: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfstudy.s3._FIRST_WAIT_S", 0.001)
    proxy.set(Faults(internal_error=1))
    for path in (corpus, f"{corpus}/*.jsonl", f"{corpus}/**", f"{corpus}/documents.jsonl"):
        with pytest.raises(OSError):
            list(list_sources(path))


def deny(ceph: Ceph, bucket: str, prefix: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*"}
    objects = statement | {"Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/{prefix}/*"}
    listing = statement | {
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
        "Condition": {"StringLike": {"s3:prefix": f"{prefix}/*"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [objects, listing]}
    ceph.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def test_a_folder_within_that_cannot_be_listed_is_no_empty_one(corpus: str, bucket: str, ceph: Ceph) -> None:
    deny(ceph, bucket, "corpus/notes")
    assert len(list(list_sources(f"{corpus}/*.jsonl"))) == 1
    with pytest.raises(PermissionError):
        list(list_sources(f"{corpus}/*/*.txt"))


@pytest.mark.parametrize("place", ["corpus", "output"])
@pytest.mark.parametrize("trouble", ["key", "bucket", "denied", "unreachable", "userinfo", "name"])
def test_a_wrong_place_is_one_clear_line_and_exit_2(
    place: str,
    trouble: str,
    bucket: str,
    ceph: Ceph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command_line: CommandLine,
) -> None:
    monkeypatch.setattr("selfstudy.s3._FIRST_WAIT_S", 0.001)
    other = write_corpus(tmp_path / "here", num_documents=1) if place == "output" else tmp_path / "out"
    url = f"s3://{bucket}/x"
    if trouble == "key":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "PLANTED/wrong")
    elif trouble == "bucket":
        url = f"s3://no-such-{bucket}/x"
    elif trouble == "denied":
        deny(ceph, bucket, "denied")
        url = f"s3://{bucket}/denied/x"
    elif trouble == "unreachable":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    elif trouble == "userinfo":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://USER:PLANTED@127.0.0.1:{free_port()}")
    else:
        url = "s3://no bucket!/x"
    expected = {
        "key": "refuses",
        "bucket": "no-such" if place == "output" else "matches no file",
        "denied": "denied",
        "unreachable": "onnect",
        "userinfo": "credentials encoded in URL",
        "name": "nvalid bucket name",
    }[trouble]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_of(url, other) if place == "corpus" else config_of(other, url)))
    for arguments in [("run", path), *([("verify", url), ("status", url)] if place == "output" else [])]:
        refused = command_line(*arguments)
        assert refused.code == 2, refused.stderr
        (line,) = refused.stderr.splitlines()
        assert line.startswith("selfstudy: ") and "PLANTED" not in line
        if arguments[0] == "run":
            assert place in line and expected in line

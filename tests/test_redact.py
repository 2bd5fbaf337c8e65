"""No credential in what is written, printed or raised: secrets are planted and looked for."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import selfstudy
from selfstudy.config import ConfigError, parse_config
from selfstudy.redact import carries_credentials, redacted
from selfstudy.store.filesystem import Folder
from tests.runs import config_of, write_corpus

SECRETS = [
    "s3://AKIAPLANTED:PLANTED/secret+key@bucket/out",
    "s3://AKIA:PLANTED@bucket/out",
    "s3://PLANTED@bucket/out",
    "https://user:PLANTED@host.example/a.jsonl",
    "https://PLANTED@host.example/a.jsonl",
    "https://user:12345PLANTED@host.example:8000/a.jsonl",
    "https://host.example/a.jsonl?X-Amz-Signature=PLANTED&X-Amz-Credential=PLANTED",
    "http://127.0.0.1:9/a.jsonl?token=PLANTED",
    "s3://bucket/a.jsonl?X-Amz-Signature=PLANTED",
    "sftp://user:PLANTED@host.example/out",
]
HARMLESS = [
    "s3://bucket/folder/*.jsonl",
    "s3://bucket/folder/shard-0?.jsonl",
    "http://127.0.0.1:8000/v1",
    "http://127.0.0.1:8000/people/me@home",
    "abfs://container@account.dfs.core.windows.net/folder",
    "/data/a?b=c.jsonl",
    "out/me@home:8000",
]


@pytest.mark.parametrize("url", SECRETS)
def test_what_is_secret_is_cut_out_wherever_it_stands(url: str) -> None:
    for text in (url, f"cannot open {url}: 403", f"'{url}'", f'{{"url": "{url}"}}'):
        assert "PLANTED" not in redacted(text)
        assert "PLANTED" not in str(redacted({"a": [text, {"b": (text,)}]}))
    assert carries_credentials(url)


@pytest.mark.parametrize("url", HARMLESS)
def test_what_is_no_secret_stays(url: str) -> None:
    assert not carries_credentials(url)
    if "?" not in url and "container@" not in url:
        assert redacted(url) == url


def test_a_signed_path_without_its_protocol_is_cut_too() -> None:
    said = redacted("FileNotFoundError: bucket/a.jsonl?X-Amz-Credential=PLANTED&X-Amz-Signature=PLANTED: 404")
    assert "PLANTED" not in said and "bucket/a.jsonl" in said and "404" in said


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("place", ["corpus", "output"])
def test_a_url_with_credentials_is_refused_in_one_line_before_anything_is_written(
    url: str, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    corpus = write_corpus(tmp_path / "corpus", num_documents=1)
    config = config_of(url, tmp_path / "out") if place == "corpus" else config_of(corpus, url)
    with pytest.raises(ConfigError) as caught:
        selfstudy.run(parse_config(config))
    (line,) = caught.value.problems
    assert place in line and "credentials" in line
    said = "".join([str(caught.value), repr(caught.value), caplog.text, *capfd.readouterr()])
    assert "PLANTED" not in said
    assert not (tmp_path / "out").exists()


def test_the_command_line_keeps_them_too(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=1)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_of(corpus, SECRETS[0])))
    for arguments in (["run", str(path), "-v"], ["plan", str(path)], ["status", SECRETS[0]], ["verify", SECRETS[0]]):
        command = [sys.executable, "-m", "selfstudy.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 2, done.stderr
        assert "PLANTED" not in done.stdout + done.stderr


def test_opening_and_loading_refuse_them() -> None:
    for url in SECRETS:
        for attempt in (Folder.at, selfstudy.load):
            with pytest.raises(ConfigError) as caught:
                attempt(url)
            assert "PLANTED" not in str(caught.value)

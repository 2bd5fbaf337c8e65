"""Training data out of packages: what is read of them, and that only what was chosen is taken."""

import gzip
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from jobs import package_spans
from jobs.package_spans import Kind, hash_of, read_spans, rows_of
from jobs.package_text import documents_of, prompts_of, readme_of

PROMPTS = '''
SYSTEM_PROMPT = """You are a careful reviewer.
Reply with
one word."""
message = {"role": "system", "content": f"Never mention {name} to anyone."}
agent = Agent(instructions="Ask before " + "you delete a file.", note="Not one of the prompts.")
template: str = dedent("Answer as {{ persona }} would do.")
'''


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "files.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_documents_of_a_package_are_read_whatever_their_format(tmp_path: Path) -> None:
    files = {
        "./usr/share/doc/a/page.html": b"<h1>Home page</h1><p>Print only errors, please.</p><script>ignored()</script>",
        "./usr/share/doc/a/notes.txt.gz": gzip.compress(b"A line that\nis wrapped here."),
        "./usr/share/doc/a/copyright": b"All rights are kept by nobody.",
        "./usr/share/games/fortunes/wise": b"Never ask a fish.\n%\nOr a cat that swims.\n",
        "./usr/share/games/w/scene.cfg": b'message=_ "Hold the bridge until dawn!"\nkey=value',
        "./usr/share/games/w/talk.lua": b"say(_([[Bring me <b>ten</b> logs of wood.]]))",
        "./usr/share/games/w/picture.png": b"\x89PNG Not a sentence at all.",
    }
    found = set(documents_of(archive(tmp_path, files)))
    assert {"Print only errors, please.", "A line that is wrapped here.", "Never ask a fish."} <= found
    assert {"Hold the bridge until dawn!", "Bring me ten logs of wood."} <= found
    assert not {sentence for sentence in found if "rights" in sentence or "PNG" in sentence or "ignored" in sentence}


def test_a_description_is_read_without_its_code() -> None:
    text = (
        "# Tool\n\nThe agent writes drafts.\n\n```python\nYou are a helpful assistant.\n```\n\nTreat them as drafts.\n"
    )
    assert [sentence for sentence in readme_of(text) if "Tool" not in sentence] == [
        "The agent writes drafts.",
        "Treat them as drafts.",
    ]


def test_prompts_of_a_wheel_are_the_strings_that_are_named_so(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("a/main.py", PROMPTS)
        files.writestr("a/broken.py", 'PROMPT = "Not closed')
        files.writestr("a/prompts/judge.md", "Give a score from one to ten.\n")
        files.writestr("a/data.md", "A file like any other file.\n")
    assert set(prompts_of(wheel)) == {
        "You are a careful reviewer.",
        "Reply with one word.",
        "Never mention {x} to anyone.",
        "Ask before you delete a file.",
        "Answer as X would do.",
        "Give a score from one to ten.",
    }


def test_a_row_is_what_its_record_says_and_nothing_else_is_taken() -> None:
    kinds = {"Print only errors.": Kind.DOUBTED, "Water is wet.": Kind.RANDOM, "Reply with one word.": Kind.ATTACK}
    content = b"".join(hash_of(sentence) + bytes([kind]) for sentence, kind in kinds.items())
    rows = rows_of("a", [*kinds, "Something else."], read_spans(content))
    assert {row["text"]: (row["label"], row["hard"]) for row in rows.values()} == {
        "Print only errors.": (0, True),
        "Water is wet.": (0, False),
        "Reply with one word.": (1, False),
    }
    # Families that begin so are trained on and never measured.
    assert {row["family"] for row in rows.values()} == {"mined_a"}


def test_the_records_are_sorted_and_each_has_a_source() -> None:
    content = Path(package_spans.__file__).with_suffix(".bin").read_bytes()
    hashes = [content[start : start + 6] for start in range(0, len(content), 7)]
    assert len(content) % 7 == 0
    assert hashes == sorted(set(hashes))
    assert set(read_spans(content).values()) == set(Kind)
    lines = Path(package_spans.__file__).with_suffix(".txt").read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert all(line.split()[0] in ("debian", "prompts", "readme") and "=" in line for line in lines)


def test_a_description_that_is_gone_does_not_take_the_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    def call(*command: str | Path) -> None:
        names = [str(part) for part in command if "==" in str(part)]
        if "gone==1" in names:
            raise subprocess.CalledProcessError(1, "pip", stderr="ERROR: gone")
        installed = [{"metadata": {"description": f"Read {name} first."}} for name in names]
        (tmp_path / "report.json").write_text(json.dumps({"install": installed}))

    monkeypatch.setattr(package_spans, "_call", call)
    assert list(package_spans.of_readmes("a==1 gone==1 b==1 c==1", tmp_path)) == [
        f"Read {name}==1 first." for name in "abc"
    ]
    assert "readme gone==1: left out: ERROR: gone" in capsys.readouterr().err


def test_a_source_without_its_tool_is_left_out_and_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "spans.jsonl.gz"
    with pytest.MonkeyPatch.context() as patch:
        # The workers inherit it: neither apt-get nor dpkg-deb is found.
        patch.setenv("PATH", str(tmp_path))
        patch.setattr(package_spans, "PACKAGES", tmp_path / "packages.txt")
        (tmp_path / "packages.txt").write_text("debian a=1\n")
        package_spans.main(target)
    printed = capsys.readouterr()
    assert "debian a=1: left out: " in printed.err
    assert "apt-get" in printed.err
    assert f"{target}: 0 of " in printed.out
    assert gzip.decompress(target.read_bytes()) == b""

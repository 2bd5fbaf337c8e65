"""Every mistake is one line: the path of the field, the value, what was expected."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from selfstudy.config import (
    STYLES,
    Config,
    ConfigError,
    ScriptedEngine,
    VllmEngine,
    engine_recipe,
    load_config,
    parse_config,
)

SMALLEST: dict[str, Any] = {
    "corpus": {"paths": ["docs/*.md"], "text_field": "text", "id_field": "id"},
    "output": "out",
    "engine": {"kind": "extractive"},
}


def problems_of(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(raw)
    return error.value.problems


def changed(path: str, value: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {name: dict(part) if isinstance(part, dict) else part for name, part in SMALLEST.items()}
    *parents, leaf = path.split(".")
    section = raw
    for name in parents:
        section = section.setdefault(name, {})
    section[leaf] = value
    return raw


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_smallest_config_has_defaults_for_all_else() -> None:
    config = parse_config(SMALLEST)
    assert config.filter.kind != "none"
    assert config.targets.styles == list(STYLES)
    assert config.corpus.max_document_mb == 64
    assert config.chunks.per_unit == 128
    assert config.answer_engine is None


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("corpus.txt_field", "body", "corpus.txt_field: unknown key"),
        ("outputs", "x", "outputs: unknown key"),
        ("corpus.paths", [], "corpus.paths: []: "),
        ("corpus.paths", "docs", "corpus.paths: 'docs': "),
        ("corpus.max_document_mb", 0, "corpus.max_document_mb: 0: "),
        ("chunks.min_tokens", -1, "chunks.min_tokens: -1: "),
        ("chunks.min_tokens", 500, "chunks: "),
        ("filter.kind", "magic", "filter.kind: 'magic': "),
        ("filter.threshold", 1.5, "filter.threshold: 1.5: "),
        ("targets.styles", ["factual", "poem"], "targets.styles.1: 'poem': "),
        ("targets.fraction", 0, "targets.fraction: 0: "),
        ("targets.per_chunk", "many", "targets.per_chunk: 'many': "),
        ("targets.epoch", -1, "targets.epoch: -1: "),
        ("engine.temperature", 1, "engine.temperature: unknown key"),
        ("engine", {"kind": "oracle"}, "engine: {'kind': 'oracle'}: "),
        ("engine", {"latency_s": 1}, "engine: {'latency_s': 1}: "),
        ("engine", {"kind": "scripted", "failure_rate": 2}, "engine.failure_rate: 2: "),
        ("engine", {"kind": "vllm"}, "engine.model: missing"),
        ("answer_engine", {"kind": "scripted", "failure_rate": 2}, "answer_engine.failure_rate: 2: "),
        ("answer_engine", {"kind": "extractive", "x": 2}, "answer_engine.x: unknown key"),
        ("resources.engine_gpus", -1, "resources.engine_gpus: -1: "),
        ("seed", "abc", "seed: 'abc': "),
    ],
)
def test_a_mistake_is_one_line_with_path_and_value(path: str, value: Any, line: str) -> None:
    problems = problems_of(changed(path, value))
    assert len(problems) == 1
    assert problems[0].startswith(line)
    assert "\n" not in problems[0]


def test_each_mistake_gets_its_line() -> None:
    problems = problems_of({"corpus": {}, "engine": {"kind": "extractive"}, "sead": 1})
    assert sorted(problems) == ["corpus.paths: missing", "output: missing", "sead: unknown key"]


def test_a_long_value_is_shown_in_part() -> None:
    (problem,) = problems_of(changed("corpus.text_format", "x" * 10_000))
    assert len(problem) < 200


def test_per_chunk_and_fraction_exclude_each_other() -> None:
    raw = changed("targets.fraction", 0.5)
    assert parse_config(raw).targets.fraction == 0.5
    raw["targets"]["per_chunk"] = 4
    assert "per_chunk or fraction" in problems_of(raw)[0]


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config(SMALLEST).seed = 1  # type: ignore[misc]


def test_engines_are_told_apart_by_kind() -> None:
    raw = changed("engine", {"kind": "vllm", "model": "a/b"})
    raw["answer_engine"] = {"kind": "scripted", "obedience": 0.5}
    config = parse_config(raw)
    assert isinstance(config.engine, VllmEngine)
    assert isinstance(config.answer_engine, ScriptedEngine)


def test_a_key_is_named_never_given() -> None:
    problems = problems_of(changed("engine", {"kind": "openai", "model": "m", "base_url": "https://me:pw@host/v1"}))
    assert len(problems) == 1
    assert problems[0].startswith("engine.base_url: ")
    assert "pw" not in problems[0]
    keyless = {"kind": "openai", "model": "m", "base_url": "https://host/v1", "api_key_env": "NOT_SET_ANYWHERE"}
    parse_config(changed("engine", keyless))


def test_speed_is_no_part_of_the_recipe() -> None:
    def recipe(**fields: Any) -> dict[str, Any]:
        return engine_recipe(parse_config(changed("engine", {"kind": "vllm", "model": "a/b", **fields})).engine)

    assert recipe() == recipe(max_num_seqs=7, gpu_memory_utilization=0.5)
    assert recipe() != recipe(revision="abc")


def test_overrides_are_yaml_and_make_missing_sections(tmp_path: Path) -> None:
    file = write(tmp_path, yaml.safe_dump(SMALLEST))
    config = load_config(
        file,
        [
            "corpus.paths=[a.txt, 'b c/*.md']",
            "limits.max_hours=1.5",
            "targets.styles=[factual]",
            "engine={kind: scripted, obedience: 1}",
            "corpus.id_field=null",
            "output=s3://bucket/path?x=y",
        ],
    )
    assert config.corpus.paths == ["a.txt", "b c/*.md"]
    assert config.limits.max_hours == 1.5
    assert config.targets.styles == ["factual"]
    assert config.engine.kind == "scripted"
    assert config.corpus.id_field is None
    assert config.output == "s3://bucket/path?x=y"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("targets.per_chunk", "--set targets.per_chunk: expected a.b=value"),
        ("=3", "--set =3: expected a.b=value"),
        ("output.url=x", "--set output.url=x: output is a value, not a section"),
        ("corpus.paths=[a", "--set corpus.paths=[a: the value is not valid YAML"),
        ("corpus.pathes=[a]", "corpus.pathes: unknown key"),
        ("targets.per_chunk=0", "targets.per_chunk: 0: "),
    ],
)
def test_a_wrong_override_is_one_line(tmp_path: Path, override: str, line: str) -> None:
    file = write(tmp_path, yaml.safe_dump(SMALLEST))
    with pytest.raises(ConfigError) as error:
        load_config(file, [override])
    assert len(error.value.problems) == 1
    assert error.value.problems[0].startswith(line)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "expected a mapping"),
        ("- a\n- b\n", "expected a mapping"),
        ("corpus: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, text))
    (problem,) = error.value.problems
    assert what in problem
    assert "\n" not in problem


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, what in ((tmp_path / "missing.yaml", "cannot be read"), (tmp_path, "cannot be read"), (binary, "YAML")):
        with pytest.raises(ConfigError) as error:
            load_config(path)
        assert len(error.value.problems) == 1
        assert what in error.value.problems[0]


def test_every_field_says_what_it_is_for_or_has_a_name_that_does() -> None:
    schema = Config.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    assert all(section.get("additionalProperties") is False for section in sections)

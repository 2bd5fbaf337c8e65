"""Templates and their version: a request becomes three pieces of text, a completion a question or an answer.

Reads `prompts.yaml` or a file of the user with the same keys. The pieces are `system` (constant), `passage`
(the same for every target of a chunk and for both calls) and `instruction` (this target's question, or its
answer), in this order, so that everything before the instruction is a shared prefix.

Nothing here knows about control tokens: all three pieces are data, and the engine alone adds the chat template
around them. Parsing never rewrites the model's text; it cuts the reasoning off and strips white space.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import yaml

from selfstudy.config import STYLES, ConfigError
from selfstudy.engines.base import Call, Completion, Request
from selfstudy.ids import content_hash

_VERSION_CHARS = 12
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_PLACEHOLDERS = {
    "system": frozenset[str](),
    "titled": frozenset({"title", "passage"}),
    "passage": frozenset({"passage"}),
    "question": frozenset({"style", "target"}),
    "answer": frozenset({"question"}),
}
_REASONING = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The templates; `styles` maps each style to its wordings. Plain data: the driver sends it to the actors."""

    system: str
    titled: str
    passage: str
    question: str
    answer: str
    styles: dict[str, tuple[str, ...]]

    @property
    def version(self) -> str:
        """12 hex characters that name the templates, whatever file they came from."""
        return content_hash("prompts", asdict(self))[:_VERSION_CHARS]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request as text. `system` and `passage` are equal for all requests of a chunk."""

    system: str
    passage: str
    instruction: str

    @property
    def user(self) -> str:
        return self.passage + self.instruction


def load_prompts(file: str | Path | None = None) -> Prompts:
    """Read the templates, by default the ones of this package.

    Raises:
        ConfigError: one line per mistake in the file.
    """
    name = str(file) if file is not None else "prompts.yaml"
    try:
        source = Path(file) if file is not None else resources.files("selfstudy") / "prompts.yaml"
        raw = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"prompts.file: {name}: cannot be read: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"prompts.file: {name}: not valid YAML: {' '.join(str(error).split())}"]) from None
    problems = _problems(raw)
    if problems:
        raise ConfigError([f"prompts.file: {name}: {problem}" for problem in problems])
    styles = {style: tuple(wordings) for style, wordings in raw["styles"].items()}
    return Prompts(**{key: raw[key] for key in _PLACEHOLDERS}, styles=styles)


def render(request: Request, prompts: Prompts) -> Prompt:
    """Lay a request out as text. A pure function; `seed` chooses the wording of the style."""
    if request.call is Call.QUESTION:
        wordings = prompts.styles[request.style]
        values = {"style": wordings[request.seed % len(wordings)], "target": request.target}
        instruction = _fill(prompts.question, values)
    else:
        instruction = _fill(prompts.answer, {"question": request.question})
    return Prompt(prompts.system, passage_text(request, prompts), instruction)


def passage_text(request: Request, prompts: Prompts) -> str:
    """The piece that all requests of a chunk share, so that an engine tokenises it once per chunk_key."""
    template = prompts.titled if request.title else prompts.passage
    return _fill(template, {"title": request.title, "passage": request.passage})


def answer_schema(call: Call) -> dict[str, Any]:
    """The JSON Schema that structured output asks a model to follow."""
    return {
        "type": "object",
        "properties": {call.value: {"type": "string"}},
        "required": [call.value],
        "additionalProperties": False,
    }


def parse_question(completion: Completion) -> str | None:
    """The question, "" if the model wrote nothing, None if what it wrote cannot be read."""
    return _parse(completion, Call.QUESTION)


def parse_answer(completion: Completion) -> str | None:
    """The answer; see `parse_question`."""
    return _parse(completion, Call.ANSWER)


def cut_reasoning(text: str) -> str | None:
    """Return what follows the model's reasoning, None if the reasoning never ended.

    A template may open the reasoning inside the prompt, so a closing mark alone counts too. An opening mark
    further inside the text is content.
    """
    body = text.lstrip()
    for opening, closing in _REASONING:
        before, mark, after = body.partition(closing)
        if body.startswith(opening) and not mark:
            return None
        if mark and (body.startswith(opening) or opening not in before):
            return after
    return text


def _parse(completion: Completion, call: Call) -> str | None:
    text = cut_reasoning(completion.text)
    if text is None:
        return None
    if not completion.structured:
        return text.strip()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get(call.value), str):
        return None
    return str(value[call.value]).strip()


def _fill(template: str, values: dict[str, str]) -> str:
    # One pass, so that a placeholder inside the corpus's text stays text.
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def _problems(raw: Any) -> list[str]:
    if not isinstance(raw, dict):
        return [f"expected a mapping with {', '.join([*_PLACEHOLDERS, 'styles'])}"]
    problems = [f"{key}: unknown key" for key in raw if key not in _PLACEHOLDERS and key != "styles"]
    for key, wanted in _PLACEHOLDERS.items():
        if not isinstance(raw.get(key), str):
            problems.append(f"{key}: expected text")
            continue
        found = _PLACEHOLDER.findall(raw[key])
        if key != "system" and sorted(found) != sorted(wanted):
            names = " ".join(f"{{{name}}}" for name in sorted(wanted))
            problems.append(f"{key}: expected each of {names} exactly once, got {found}")
    styles = raw.get("styles")
    if not isinstance(styles, dict):
        return [*problems, "styles: expected a mapping from style to wordings"]
    problems += [f"styles.{style}: unknown style" for style in styles if style not in STYLES]
    for style in STYLES:
        wordings = styles.get(style)
        if not isinstance(wordings, list) or not wordings or not all(isinstance(w, str) for w in wordings):
            problems.append(f"styles.{style}: expected a list of wordings")
    return problems

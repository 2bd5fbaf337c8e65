"""Prompts as token ids: the chat template's tokens are control, everything else is plain characters.

A tokenizer turns `<|im_start|>` into one control token wherever it meets it, so a document could open a turn of its
own. Here the template's own pieces are encoded as such, and every other text (system text, passage, target, question)
by a copy of the tokenizer that knows no added token at all. Where plain encoding gives a control id all the same
(vocabularies that hold `</s>` as an ordinary piece), the text is cut inside the look-alike and encoded in parts.

The passage is encoded once per chunk_key. Knows Hugging Face tokenizers by what it calls on them; imports none.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfstudy.engines.base import EngineUnusable
from selfstudy.prompts import Prompt

_CHUNKS_REMEMBERED = 2048
# White space would be trimmed by some templates; nothing would touch this.
_SYSTEM, _USER = "selfstudysystemtext", "selfstudyusertext"


class Frame(NamedTuple):
    """The rendered chat template around the texts: head, system text, middle, user text, tail."""

    head: str
    middle: str
    tail: str
    has_system: bool


class PromptEncoder:
    """Turn prompts into token ids. `system` is the constant system text of all of them."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        system: str,
        chat_template: str | None,
        chat_template_kwargs: dict[str, Any],
    ) -> None:
        self._tokenizer = tokenizer
        self._plain = _without_added_tokens(tokenizer)
        added = {str(token): int(index) for token, index in tokenizer.get_added_vocab().items()}
        specials = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        added.update({str(token): int(index) for token, index in specials})
        # Runs of white space are added tokens of some models, and the unknown token is what plain characters
        # become in vocabularies without bytes: neither controls anything.
        added = {token: index for token, index in added.items() if token.strip(" \n\t\r\u2581")}
        self.control_ids = frozenset(added.values()) - {tokenizer.unk_token_id}
        lookalikes = sorted((token for token in added if len(token) > 1), key=len, reverse=True)
        self._lookalikes = re.compile("|".join(map(re.escape, lookalikes))) if lookalikes else None
        frame = chat_frame(tokenizer, chat_template, chat_template_kwargs)
        head = self.encode_control(frame.head)
        if frame.has_system:
            head += self.encode_text(system) + self.encode_control(frame.middle)
        elif system:
            head += self.encode_text(f"{system}\n\n")
        self._head = np.asarray(head, dtype=np.int32)
        self._tail = self.encode_control(frame.tail)
        self._prefixes: OrderedDict[str, NDArray[np.int32]] = OrderedDict()

    def encode(self, prompt: Prompt, chunk_key: str) -> list[int]:
        """Return the prompt's ids. Prompts of one chunk_key must have equal passages."""
        prefix = self._prefixes.get(chunk_key)
        if prefix is None:
            passage = np.asarray(self.encode_text(prompt.passage), dtype=np.int32)
            prefix = np.concatenate([self._head, passage])
            self._prefixes[chunk_key] = prefix
            if len(self._prefixes) > _CHUNKS_REMEMBERED:
                self._prefixes.popitem(last=False)
        ids: list[int] = prefix.tolist()
        return ids + self.encode_text(prompt.instruction) + self._tail

    def encode_control(self, text: str) -> list[int]:
        """Encode a piece of the chat template: what looks like a control token is one."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False) if text else []
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Encode text that may hold anything: no id of a control token ever comes out."""
        if not text:
            return []
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        if self.control_ids.isdisjoint(ids):
            return ids
        parts = _cut_inside(text, self._lookalikes) if self._lookalikes else [text]
        ids = [index for part in parts for index in self._plain.encode(part, add_special_tokens=False).ids]
        if self.control_ids.isdisjoint(ids):
            return ids
        # Character by character: what is a control token even then cannot be said to this model.
        single = (index for char in text for index in self._plain.encode(char, add_special_tokens=False).ids)
        return [index for index in single if index not in self.control_ids]


def chat_frame(tokenizer: Any, template: str | None, options: dict[str, Any]) -> Frame:
    """Render the chat template around two place holders and return what stands around them.

    A template without a place for the system text (Gemma) gets it at the start of the user's; a tokenizer without a
    template gets plain text.

    Raises:
        EngineUnusable: the template does not keep the texts apart.
    """
    if template is None and not getattr(tokenizer, "chat_template", None):
        starts_with_bos = tokenizer.bos_token and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
        return Frame(tokenizer.bos_token if starts_with_bos else "", "\n\n", "\n\n", True)
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
    rendered = _rendered(tokenizer, messages, template, options)
    if rendered is not None and rendered.count(_SYSTEM) == 1 and rendered.count(_USER) == 1:
        head, _, rest = rendered.partition(_SYSTEM)
        middle, found, tail = rest.partition(_USER)
        if found:
            return Frame(head, middle, tail, True)
    rendered = _rendered(tokenizer, messages[1:], template, options)
    if rendered is None or rendered.count(_USER) != 1:
        raise EngineUnusable("the chat template does not show a user's message exactly once")
    head, _, tail = rendered.partition(_USER)
    return Frame(head, "", tail, False)


def _rendered(tokenizer: Any, messages: list[Any], template: str | None, options: dict[str, Any]) -> str | None:
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=True, **options
            )
        )
    except TemplateError:
        return None


def _without_added_tokens(tokenizer: Any) -> Any:
    """Return a copy of the fast tokenizer that reads every character as text."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EngineUnusable(f"{type(tokenizer).__name__} has no fast tokenizer; selfstudy needs a tokenizer.json")
    state = json.loads(backend.to_str())
    state["added_tokens"] = []
    # It would look for the tokens that are gone, and plain text wants none of them.
    state["post_processor"] = None
    state["truncation"] = state["padding"] = None
    return Tokenizer.from_str(json.dumps(state))


def _cut_inside(text: str, lookalikes: re.Pattern[str]) -> list[str]:
    """Cut the text after the first character of everything that reads like a control token."""
    cuts = [match.start() + 1 for match in lookalikes.finditer(text)]
    borders = [0, *cuts, len(text)]
    return [text[start:end] for start, end in itertools.pairwise(borders) if end > start]

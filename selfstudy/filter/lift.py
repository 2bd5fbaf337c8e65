"""Chunks -> the same chunks with instruction-like sentences marked as removed, and what was removed.

Reads: chunks (text, sentences, title, markup). Writes: chunks whose flagged sentences have the reason REMOVED,
whose flagged titles are empty and whose markup is judged and dropped; one RemovedSpan per run of removed
sentences, per title and per piece of markup. Text and offsets never change: what models see is made later.

Each chunk is judged for itself, so that its verdicts do not depend on the unit, file or shard it is in. It does
not judge kept fields: they enter no prompt.

A chunk has one threshold for its sentences: the configured one, and up to a tenth more where many of them are somewhat
doubtful, since exercises, guidelines and scripts give orders to people all along. Titles and markup have the
configured one.

The unit of removal is what makes the instruction harmless while the text around it stays:
- a sentence that scores at least the threshold;
- the sentences next to it that carry on from it, each judged as a continuation, one after the other, and after it
  also what it is about: announced by a colon, or asked on the same line. Not beside an example in quotation marks;
- two or three sentences in a row of which none is flagged but which say it together;
- the whole comment or chat turn that holds a flagged sentence, and the fence of which it is the greater part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from selfstudy.config import FilterConfig
from selfstudy.filter.allow import is_allowed
from selfstudy.filter.blocks import Block, find_blocks
from selfstudy.filter.judge import BlockKind, Context, Judge, Verdict
from selfstudy.reasons import Ineligible
from selfstudy.records import Chunk, RemovedSpan, Sentence

_REMOVED_WHOLE = {BlockKind.COMMENT, BlockKind.TURN}
# Code with odd lines stays; where the instruction is the greater part of the fence, it is the point.
_FENCE_SHARE = 0.5
# A sentence that scores at least this share of the threshold is worth reading together with its neighbours.
_DOUBT_SHARE = 0.9
# Nearly all clean sentences score less: they have no part in what others say together.
_LEAST_TOGETHER = 0.3
# What sentences that stay score on average: more than this raises the threshold by as much, up to a tenth.
_USUAL_DOUBT = 0.06
_MAX_RISE = 0.1
# The average of fewer says little about a text.
_LEAST_SENTENCES = 12
_MAX_WINDOW_CHARS = 600
_COLONS = (":", "\uff1a")
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")
_QUOTATION_MARKS = ('"', "\u201c", "\u201d", "\u201e", "\u00ab", "\u00bb", "\u300c", "\u300d")


def lift(
    chunks: Sequence[Chunk], judge: Judge | None, config: FilterConfig
) -> tuple[tuple[Chunk, ...], tuple[RemovedSpan, ...]]:
    """Judge the chunks of one unit. Without a judge nothing is removed but the markup is dropped all the same.

    Returns:
        The chunks in order, and the removed spans in order of chunk, field (title, markup, text) and offset.
    """
    if judge is None:
        return tuple(replace(chunk, markup=()) for chunk in chunks), ()
    lifted: list[Chunk] = []
    removed: list[RemovedSpan] = []
    titles: dict[str, Verdict] = {}
    for chunk in chunks:
        cleaned, spans = _ChunkFilter(chunk, judge, config).run(titles)
        lifted.append(cleaned)
        # A title is gone from all its document's chunks, in whichever unit they are, but was removed once: with
        # the first of them.
        removed.extend(span for span in spans if span.field != "title" or chunk.start == 0)
    return tuple(lifted), tuple(removed)


class _ChunkFilter:
    """Judges one chunk."""

    def __init__(self, chunk: Chunk, judge: Judge, config: FilterConfig) -> None:
        self.chunk = chunk
        self.judge = judge
        self.config = config
        self.threshold = config.threshold
        self.texts = [chunk.sentence_text(index) for index in range(len(chunk.sentences))]
        self.blocks = list(self._block_of_each_sentence())
        self.flagged: dict[int, Verdict] = {}

    def run(self, titles: dict[str, Verdict]) -> tuple[Chunk, list[RemovedSpan]]:
        removed = [*self._judge_title(titles), *self._judge_markup()]
        title = "" if any(span.field == "title" for span in removed) else self.chunk.title
        self._judge_sentences()
        removed.extend(self._removed_runs())
        sentences = tuple(
            Sentence(sentence.start, sentence.end, Ineligible.REMOVED) if index in self.flagged else sentence
            for index, sentence in enumerate(self.chunk.sentences)
        )
        return replace(self.chunk, title=title, markup=(), sentences=sentences), removed

    def _judge_title(self, titles: dict[str, Verdict]) -> Iterator[RemovedSpan]:
        title = self.chunk.title
        if not title.strip():
            return
        if title not in titles:
            # Judged alone, since each of its document's chunks has to judge it alike.
            titles[title] = self._worst([Context(title, kind=BlockKind.TITLE)])
        verdict = titles[title]
        if verdict.score >= self.threshold and not is_allowed(title, self.config.allow):
            yield self._span("title", title, verdict)

    def _judge_markup(self) -> Iterator[RemovedSpan]:
        for text in self.chunk.markup:
            if not text.strip():
                continue
            verdict = self._worst([Context(piece, self.chunk.text, BlockKind.MARKUP) for piece in _windows(text)])
            if verdict.score >= self.threshold:
                yield self._span("markup", text, verdict)

    def _worst(self, contexts: Sequence[Context]) -> Verdict:
        return max(self.judge.score(contexts), key=lambda verdict: verdict.score)

    def _judge_sentences(self) -> None:
        if not self.texts:
            return
        verdicts = self.judge.score([self._context(index, self.texts[index]) for index in range(len(self.texts))])
        self.threshold = _threshold_among([verdict.score for verdict in verdicts], self.threshold)
        for index, verdict in enumerate(verdicts):
            if verdict.score >= self.threshold:
                self.flagged[index] = verdict
        self._flag_said_together(verdicts)
        self._flag_continuations()
        self._flag_whole_blocks()

    def _flag_said_together(self, verdicts: Sequence[Verdict]) -> None:
        """Judge pairs and triples of sentences around a doubtful one, none of which is flagged alone."""
        doubt = self.config.threshold * _DOUBT_SHARE
        windows: dict[tuple[int, int], None] = {}
        for index, verdict in enumerate(verdicts):
            if index in self.flagged or verdict.score < doubt:
                continue
            for first, last in ((index - 1, index), (index, index + 1), (index - 1, index + 1)):
                if self._is_open_window(first, last) and all(
                    one.score >= _LEAST_TOGETHER for one in verdicts[first : last + 1]
                ):
                    windows[first, last] = None
        if not windows:
            return
        contexts = [self._context(first, self._text_of(first, last)) for first, last in windows]
        for (first, last), verdict in zip(windows, self.judge.score(contexts), strict=True):
            if verdict.score >= self.threshold:
                for index in range(first, last + 1):
                    # What only stands beside the doubtful sentence stays, unless it is doubtful too.
                    if verdicts[index].score > 0 and index not in self.flagged:
                        self.flagged[index] = verdict

    def _is_open_window(self, first: int, last: int) -> bool:
        if first < 0 or last >= len(self.texts):
            return False
        inside = range(first, last + 1)
        return (
            not any(index in self.flagged for index in inside)
            and all(self._goes_on(index - 1, index) for index in inside if index > first)
            and sum(len(self.texts[index]) for index in inside) <= _MAX_WINDOW_CHARS
        )

    def _flag_continuations(self) -> None:
        """Walk away from every flagged sentence while the next one carries on from it."""
        frontier = sorted(self.flagged)
        while frontier:
            beside = {
                index + step: index for step in (-1, 1) for index in frontier if self._may_carry_on(index, index + step)
            }
            if not beside:
                return
            contexts = [self._context(index, self.texts[index], beside_removed=True) for index in beside]
            frontier = []
            for (neighbour, index), verdict in zip(beside.items(), self.judge.score(contexts), strict=True):
                if verdict.score >= self.threshold:
                    self.flagged[neighbour] = verdict
                    frontier.append(neighbour)
                elif neighbour > index and self._has_more_to_say(index):
                    self.flagged[neighbour] = self.flagged[index]

    def _may_carry_on(self, index: int, neighbour: int) -> bool:
        return (
            0 <= neighbour < len(self.texts)
            and neighbour not in self.flagged
            # What stands beside an example in quotation marks is the text that gives it.
            and not _is_quoted(self.texts[index])
            and self._goes_on(min(index, neighbour), max(index, neighbour))
            # What carries on may stand on the next line; what leads up to it stands on the same.
            and (neighbour > index or not self._is_line_between(neighbour, index))
        )

    def _has_more_to_say(self, index: int) -> bool:
        """Whether the next sentence is what a removed one is about, whatever it says."""
        if self.texts[index].endswith(_COLONS):
            return True
        return self.texts[index + 1].endswith(_QUESTION_MARKS) and not self._is_line_between(index, index + 1)

    def _flag_whole_blocks(self) -> None:
        worst: dict[Block, Verdict] = {}
        num_chars: dict[Block, int] = {}
        for index, verdict in self.flagged.items():
            block = self.blocks[index]
            num_chars[block] = num_chars.get(block, 0) + len(self.texts[index])
            if block not in worst or verdict.score > worst[block].score:
                worst[block] = verdict
        for index, block in enumerate(self.blocks):
            if block in worst and index not in self.flagged and self._goes_whole(block, num_chars[block]):
                self.flagged[index] = worst[block]

    @staticmethod
    def _goes_whole(block: Block, num_flagged_chars: int) -> bool:
        if block.kind is BlockKind.FENCE:
            return num_flagged_chars >= _FENCE_SHARE * (block.end - block.start)
        return block.kind in _REMOVED_WHOLE

    def _goes_on(self, first: int, second: int) -> bool:
        """Whether two sentences in a row stand in one block, or in items of one list."""
        one, other = self.blocks[first], self.blocks[second]
        return one == other or (one.kind is other.kind is BlockKind.LIST)

    def _is_line_between(self, first: int, second: int) -> bool:
        start, end = self.chunk.sentences[first].end, self.chunk.sentences[second].start
        return "\n" in self.chunk.text[start - self.chunk.start : end - self.chunk.start]

    def _text_of(self, first: int, last: int) -> str:
        start, end = self.chunk.sentences[first].start, self.chunk.sentences[last].end
        return self.chunk.text[start - self.chunk.start : end - self.chunk.start]

    def _context(self, index: int, text: str, *, beside_removed: bool = False) -> Context:
        return Context(text, self.chunk.text, self.blocks[index].kind, beside_removed)

    def _block_of_each_sentence(self) -> Iterator[Block]:
        blocks = iter(find_blocks(self.chunk.text))
        block = next(blocks, None)
        for sentence in self.chunk.sentences:
            start = sentence.start - self.chunk.start
            while block is not None and block.end <= start:
                block = next(blocks, None)
            yield block or Block(start, sentence.end - self.chunk.start, BlockKind.PARAGRAPH)

    def _removed_runs(self) -> Iterator[RemovedSpan]:
        for first, last in _runs(sorted(self.flagged)):
            start, end = self.chunk.sentences[first].start, self.chunk.sentences[last].end
            worst = max((self.flagged[index] for index in range(first, last + 1)), key=lambda verdict: verdict.score)
            text = self._text_of(first, last)
            if is_allowed(text, self.config.allow):
                for index in range(first, last + 1):
                    del self.flagged[index]
                continue
            yield self._span("text", text, worst, start, end)

    def _span(
        self, field: str, text: str, verdict: Verdict, start: int | None = None, end: int | None = None
    ) -> RemovedSpan:
        return RemovedSpan(
            chunk_id=self.chunk.chunk_id,
            doc_id=self.chunk.doc_id,
            source_uri=self.chunk.source_uri,
            field=field,
            start=start,
            end=end,
            text=text,
            score=verdict.score,
            judge=verdict.judge,
        )


def _threshold_among(scores: Sequence[float], threshold: float) -> float:
    """Return the threshold of sentences with such scores. What reaches the configured one speaks for no other: an
    instruction does not make the next one harmless."""
    doubt = sum(score for score in scores if score < threshold) / max(len(scores), _LEAST_SENTENCES)
    return round(threshold + min(_MAX_RISE, max(0.0, doubt - _USUAL_DOUBT)), 4)


def _is_quoted(text: str) -> bool:
    return text.startswith(_QUOTATION_MARKS) and text.endswith(_QUOTATION_MARKS)


def _windows(text: str) -> list[str]:
    """Cut a long piece of hidden text into overlapping windows, so that padding does not thin it out."""
    if len(text) <= _MAX_WINDOW_CHARS:
        return [text]
    step = _MAX_WINDOW_CHARS // 2
    return [text[start : start + _MAX_WINDOW_CHARS] for start in range(0, len(text) - step, step)]


def _runs(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each run of consecutive indices."""
    first = last = None
    for index in indices:
        if first is None or last is None:
            first = last = index
        elif index == last + 1:
            last = index
        else:
            yield first, last
            first = last = index
    if first is not None and last is not None:
        yield first, last

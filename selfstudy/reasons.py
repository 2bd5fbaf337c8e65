"""The closed lists: why a document, a sentence, a target or a pair was not used.

A reason is a value of one of these enums wherever it is stored, so that a reader of the published
tables can rely on the lists below. Adding one is a change of the tables' version.
"""

from enum import StrEnum


class Ineligible(StrEnum):
    """Why a sentence is never asked about. It stays in the chunk and is shown to the model."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    MARKUP_DEBRIS = "markup_debris"
    CODE = "code"
    BOILERPLATE = "boilerplate"
    HEADING = "heading"
    LIST_STUB = "list_stub"
    TABLE_ROW = "table_row"
    SYMBOLS = "symbols"
    NUMBERS = "numbers"
    QUESTION = "question"
    FRAGMENT = "fragment"
    REPEAT = "repeat"
    OVERSIZED_CHUNK = "oversized_chunk"
    REMOVED = "removed"  # not a property of the sentence: the filter lifted it


class Stage(StrEnum):
    """Where something planned ended."""

    READ = "read"
    PREPARE = "prepare"
    GENERATE = "generate"
    CHECK = "check"
    PUBLISH = "publish"


class DocumentReject(StrEnum):
    """Why a document (stages read and prepare) has no chunks. Each counts as one document."""

    UNREADABLE_FILE = "unreadable_file"
    TRUNCATED_FILE = "truncated_file"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_UTF8 = "invalid_utf8"
    MISSING_TEXT = "missing_text"
    WRONG_TYPE = "wrong_type"
    EMPTY_DOCUMENT = "empty_document"
    DOCUMENT_TOO_LARGE = "document_too_large"
    DUPLICATE_DOCUMENT = "duplicate_document"


class TargetReject(StrEnum):
    """Why a planned target did not become a pair (stages generate, check and publish)."""

    TOO_LONG = "too_long"
    REQUEST_FAILED = "request_failed"
    UNIT_QUARANTINED = "unit_quarantined"
    EMPTY_QUESTION = "empty_question"
    EMPTY_ANSWER = "empty_answer"
    TRUNCATED_QUESTION = "truncated_question"
    TRUNCATED_ANSWER = "truncated_answer"
    UNPARSABLE_QUESTION = "unparsable_question"
    UNPARSABLE_ANSWER = "unparsable_answer"
    REFUSAL = "refusal"
    OFF_TARGET = "off_target"
    NEEDS_PASSAGE = "needs_passage"
    DUPLICATE_QUESTION = "duplicate_question"
    NEAR_DUPLICATE_QUESTION = "near_duplicate_question"
    REPEATS_REMOVED = "repeats_removed"
    DUPLICATE_CHUNK = "duplicate_chunk"
    DUPLICATE_DOCUMENT = "duplicate_document"


# Verdicts on a place in the corpus, which asking again would not change.
_ABOUT_THE_PLACE = (TargetReject.DUPLICATE_CHUNK, TargetReject.DUPLICATE_DOCUMENT)
RETRIABLE = tuple(reason for reason in TargetReject if reason not in _ABOUT_THE_PLACE)

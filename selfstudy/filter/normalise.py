"""Undo what hides words from a judge. Only judges see the result; the stored text is never changed.

`views` gives the readings of a span: first its folded text, then what is encoded in it (base64, hex, percent,
rot13, leetspeak, Unicode tag characters) or shouted in the middle of it. A span is as instruction-like as its worst
reading.
"""

import base64
import binascii
import codecs
import html
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

_INVISIBLE = {
    code: None
    for first, last in (
        (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF),
        # Marks on top of letters: accents (so that lists and models need one spelling), zalgo, Arabic vowel signs.
        (0x0300, 0x036F), (0x0610, 0x061A), (0x0640, 0x0640), (0x064B, 0x065F), (0x20D0, 0x20FF),
    )
    for code in range(first, last + 1)
}  # fmt: skip
_LATIN_WITH_MARKS = {
    code: unicodedata.normalize("NFD", chr(code))[0]
    for first, last in ((0x00C0, 0x024F), (0x1E00, 0x1EFF))
    for code in range(first, last + 1)
}
_SMALL_CAPITALS = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢıɡɑ", "abcdefghijklmnoprstuvwyziga", strict=True))
_FOLD = str.maketrans(
    {
        **{chr(code): mark for code, mark in _INVISIBLE.items()},
        **{chr(code): letter for code, letter in _LATIN_WITH_MARKS.items()},
        **_SMALL_CAPITALS,
        **{chr(0x1F1E6 + index): chr(ord("a") + index) for index in range(26)},
        **dict.fromkeys("‘’‚‛ʼ`´", "'"),
        **dict.fromkeys("“”„‟«»「」『』", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)
_LOOKALIKES = str.maketrans(
    {
        "а": "a", "в": "b", "е": "e", "ё": "e", "з": "3", "и": "u", "к": "k", "м": "m", "н": "h", "о": "o", "р": "p",
        "с": "c", "т": "t", "у": "y", "х": "x", "ь": "b", "і": "i", "ї": "i", "ј": "j", "ѕ": "s", "ԁ": "d", "һ": "h",
        "ԛ": "q", "ԝ": "w", "ѵ": "v", "ү": "y", "ӏ": "l", "ғ": "f", "г": "r", "п": "n", "ԍ": "g", "ո": "n", "ս": "u",
        "α": "a", "β": "b", "ε": "e", "η": "n", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "τ": "t", "υ": "u",
        "χ": "x", "γ": "y", "ω": "w", "ϲ": "c", "μ": "u", "σ": "o", "δ": "d",
    }
)  # fmt: skip
_WORD = re.compile(r"\w+")
_FOREIGN = re.compile(r"[\u0370-\u058f]")
_ASCII_LETTER = re.compile(r"[a-z]")
_SPACED = re.compile(r"(?<!\w)(?:\w([ .\-_*·|/]))(?:\w\1){2,}\w(?!\w)(?:[ ]{2,}(?:\w\1){1,}\w(?!\w))*")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d?);", re.IGNORECASE)
# A line break that was written out; what goes on in small letters is a path.
_WRITTEN_BREAK = re.compile(r"\\[nrt](?![a-z])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}[ :,]?){10,}(?![0-9a-fA-F])")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2}[\w.,-]*){3,}")
_ROT13_WORD = re.compile(
    r"\b(?:gur|naq|lbh|lbhe|guvf|gung|jvgu|nyy|nal|sebz|cerivbhf|nobir|vtaber|nafjre|erfcbafr|bayl|abg|qb|nf|va)\b"
)
# Letters, and digits and signs that look like letters; no part of an address, a version or a hash.
_LEET_WORD = re.compile(
    r"(?<![\w/.:#=?&@$!-])(?=[013457@$!]*[a-z])(?=[a-z]*[013457@$!])(?:[a-z013457@$]|!(?=[a-z])){4,}(?![\w/:=@-]|\.\w)"
)
_LEAST_LEET_SHARE = 0.15
_LEET = str.maketrans("013457@$!", "oieastasi")
_TAG_CHARACTERS = re.compile("[\U000e0020-\U000e007e]{4,}")
# Two, since a pattern that may begin with anything is five times as slow.
_OPENING = re.compile(r"<!--+|\W*?(?:/\*+|//+|#+|\{#|[-*+•>|])\s|\(?\d{1,3}[.)]\s")
_INNER_MARK = re.compile(r"<!--+|--+>|\*+/|#\}|(?<=\s)\|$")
_MIN_DECODED_CHARS = 10
_MAX_ENCODED_CHARS = 20_000
_SHOUTED = r"\b[A-ZÀ-Þ]+(?:[ ,'’-]+[A-ZÀ-Þ]+){2,}\b"
_SHOUTED_RUN = re.compile(_SHOUTED)
_SAID = re.compile(r"\b\w*[a-zß-ÿ]\w*")
_LEAST_SAID_WORDS = 4
# An ASCII text without any of these has one reading, itself in lower case (rot13 apart).
_SUSPICIOUS = re.compile(
    r"[&\\%<]|\S{24}|\b\w[ .*_|/-]\w[ .*_|/-]\w\b|[a-z][0-9@$!][a-z]|(?-i:" + _SHOUTED + ")", re.IGNORECASE
)


def fold(text: str) -> str:
    """Return the text as a reader takes it: compatibility forms, look-alikes, accents and case undone.

    >>> fold("Ｉｇｎｏｒｅ рrevious in\u200bstructions")
    'ignore previous instructions'
    """
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
        text = _WRITTEN_BREAK.sub("\n", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold().translate(_FOLD)
        if _FOREIGN.search(text) and _ASCII_LETTER.search(text):
            text = _undo_lookalikes(text)
    else:
        text = text.lower()
    if "<" in text:
        # A tag inside a word splits it for a machine only.
        text = re.sub(r"(?<=\w)</?(?:b|i|em|strong|span|font|wbr|u|s)\b[^<>]{0,200}>(?=\w)", "", text)
    return _SPACED.sub(_join_letters, text)


def unwrap(folded: str) -> str:
    """Return a folded text without the marks of the comment, list item or table row that it stands in.

    Where a span stands is said by its block; the marks themselves must not count as words.
    """
    opening = _OPENING.match(folded)
    if opening is None and _INNER_MARK.search(folded) is None:
        return folded
    return _INNER_MARK.sub(" ", folded[opening.end() if opening else 0 :]).strip()


@lru_cache(maxsize=1024)
def views(text: str) -> tuple[str, ...]:
    """Return the readings of a span: the folded text first, then hidden ones.

    Remembers those of the last batch: two judges asked together read the same spans one after the other.
    """
    if text.isascii() and not _SUSPICIOUS.search(text):
        folded = text.lower()
        hidden = _rot13(folded)
        return (folded, hidden) if hidden else (folded,)
    folded = fold(text)
    readings = [folded]
    readings.extend(fold(payload) for payload in _payloads(text, folded))
    return tuple(dict.fromkeys(readings))


def _payloads(text: str, folded: str) -> list[str]:
    payloads = ["".join(chr(ord(char) - 0xE0000) for char in match[0]) for match in _TAG_CHARACTERS.finditer(text)]
    piece = text[:_MAX_ENCODED_CHARS]
    payloads += [decoded for match in _BASE64.finditer(piece) if (decoded := _from_base64(match[0]))]
    payloads += [decoded for match in _HEX.finditer(piece) if (decoded := _from_hex(match[0]))]
    if "%" in piece:
        payloads += [unquote(match[0]) for match in _PERCENT.finditer(piece)]
    if len(_LEET_WORD.findall(folded)) >= max(2.0, _LEAST_LEET_SHARE * len(folded.split())):
        payloads.append(_LEET_WORD.sub(lambda match: match[0].translate(_LEET), folded))
    if rotated := _rot13(folded):
        payloads.append(rotated)
    shouted = _SHOUTED_RUN.findall(text)
    if shouted and len(_SAID.findall(text)) >= _LEAST_SAID_WORDS:
        # What is shouted into a sentence is a sentence of its own.
        payloads += shouted
    return payloads


def _undo_lookalikes(text: str) -> str:
    """Map Cyrillic and Greek letters to Latin ones in words that cannot be meant as Cyrillic or Greek."""
    num_latin = sum("a" <= char <= "z" for char in text)
    mostly_latin = num_latin > len(_FOREIGN.findall(text))

    def undo(match: re.Match[str]) -> str:
        word = match[0]
        if word.isascii() or not _FOREIGN.search(word):
            return word
        mapped = word.translate(_LOOKALIKES)
        mixed = _ASCII_LETTER.search(word) is not None
        return mapped if mixed or (mostly_latin and mapped.isascii() and len(word) > 1) else word

    return _WORD.sub(undo, text)


def _join_letters(match: re.Match[str]) -> str:
    """Join "i g n o r e   a l l": single separators inside words, two or more spaces between them."""
    separator = match[1]
    words = re.split(r" {2,}", match[0])
    return " ".join(word.replace(separator, "") for word in words)


def _from_base64(piece: str) -> str | None:
    # Words joined by hyphens or slashes look like base64 too; real payloads mix cases or digits.
    if piece.islower() or piece.isupper() or piece.isdigit():
        return None
    piece = piece.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _readable(base64.b64decode(piece[: len(piece) - (len(piece) % 4 == 1)] + "=" * (-len(piece) % 4)))
    except (binascii.Error, ValueError):
        return None


def _from_hex(piece: str) -> str | None:
    try:
        return _readable(bytes.fromhex(re.sub(r"[ :,]", "", piece)))
    except ValueError:
        return None


def _readable(data: bytes) -> str | None:
    """Return decoded bytes if they are text, with words or a script of its own."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if len(text) < _MIN_DECODED_CHARS or not text.isprintable():
        return None
    num_letters = sum(char.isalpha() or char == " " for char in text)
    return text if num_letters > 0.8 * len(text) else None


def _rot13(folded: str) -> str | None:
    # Two of the three commonest English words first: that is cheap, and any sentence or two has them.
    if "gur" not in folded and "naq" not in folded and "lbh" not in folded:
        return None
    return codecs.encode(folded, "rot13") if len(set(_ROT13_WORD.findall(folded))) >= 3 else None

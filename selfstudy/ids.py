"""Content hashes, and the one place where randomness is keyed.

Everything here is a pure function of its arguments: the same corpus, config and seed give the same
ids, permutations and request seeds in any order and on any cluster (law 2).
"""

import hashlib
import json

ID_HEX_CHARS = 32
_ID_BYTES = ID_HEX_CHARS // 2
# Made once: most of the time of a short hash would go into making it.
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def content_hash(kind: str, *parts: object) -> str:
    """Return 32 hex characters that name `parts`, a JSON-able sequence.

    `kind` separates the name spaces, so that a chunk and a pair made of the same parts never share an id.
    JSON keeps the borders between the parts: ("ab", "c") and ("a", "bc") differ.
    """
    payload = _encode(parts)
    digest = hashlib.blake2b(payload.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES, person=kind.encode())
    return digest.hexdigest()


def keyed_order(key: str, seed: int, size: int) -> list[int]:
    """Return a permutation of range(size) that depends on `key` and `seed` alone."""
    return sorted(range(size), key=lambda index: content_hash("order", key, seed, index))


def keyed_fraction(kind: str, *parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return int(content_hash(kind, *parts)[:13], 16) / 16**13


def request_seed(pair_id: str, attempt: int) -> int:
    """Return the sampling seed of a request: 31 bits, which every engine accepts."""
    return int(content_hash("seed", pair_id, attempt)[:8], 16) & 0x7FFFFFFF

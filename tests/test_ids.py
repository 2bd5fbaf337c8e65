import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from selfstudy.ids import ID_HEX_CHARS, content_hash, keyed_fraction, keyed_order, request_seed

PARTS = st.lists(st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=4), max_size=3), max_size=4)


@given(PARTS, PARTS)
def test_different_parts_have_different_names(one: list[object], other: list[object]) -> None:
    assert (content_hash("chunk", *one) == content_hash("chunk", *other)) == (one == other)


def test_the_borders_between_parts_count() -> None:
    names = {content_hash("k", *parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), (["a", "bc"],), ("a", ["bc"]))}
    assert len(names) == 5


@given(PARTS)
def test_kinds_are_name_spaces(parts: list[object]) -> None:
    kinds = ("split", "unit", "chunk", "chunk_key", "pair", "document", "recipe", "ask", "snapshot", "order", "seed")
    names = {content_hash(kind, *parts) for kind in kinds}
    assert len(names) == len(kinds)
    assert all(len(name) == ID_HEX_CHARS for name in names)


def test_a_lone_surrogate_has_a_name_too() -> None:
    assert content_hash("split", "\udcff.txt") != content_hash("split", "\udcfe.txt")


@given(st.text(max_size=20), st.integers(), st.integers(0, 200))
def test_order_is_a_permutation_that_only_key_and_seed_decide(key: str, seed: int, size: int) -> None:
    order = keyed_order(key, seed, size)
    assert sorted(order) == list(range(size))
    assert order == keyed_order(key, seed, size)


def test_key_and_seed_change_the_order() -> None:
    orders = {tuple(keyed_order(key, seed, 30)) for key in ("a", "b", "c") for seed in (0, 1, 2)}
    assert len(orders) == 9


def test_every_place_gets_every_rank_about_equally_often() -> None:
    first = [keyed_order(f"chunk {number}", 0, 8)[0] for number in range(4000)]
    counts = [first.count(place) for place in range(8)]
    # Binomial with mean 500 and deviation 21; the ids are fixed, so this either holds or does not.
    assert min(counts) > 400
    assert max(counts) < 600


@given(st.text(), st.integers(0, 10))
def test_fractions_and_seeds_stay_in_their_ranges(text: str, attempt: int) -> None:
    assert 0 <= keyed_fraction("validation", 0, text) < 1
    assert 0 <= request_seed(text, attempt) < 2**31


def test_a_second_attempt_has_another_seed() -> None:
    assert len({request_seed("pair", attempt) for attempt in range(10)}) == 10


def test_ids_are_the_same_in_every_process() -> None:
    code = "from selfstudy.ids import *; print(content_hash('a', {'y': 1, 'x': 'é'}), keyed_order('k', 1, 9))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{content_hash('a', {'x': 'é', 'y': 1})} {keyed_order('k', 1, 9)}\n"}

"""Turns: together, or alone, and nobody waits for ever."""

import threading

from selfstudy.turns import Turns


def test_one_that_wants_to_be_alone_is_and_all_get_their_turn() -> None:
    turns = Turns()
    lock = threading.Lock()
    inside: list[bool] = []
    seen: list[tuple[bool, int]] = []

    def visit(alone: bool) -> None:
        with turns.take(alone=alone):
            with lock:
                inside.append(alone)
                seen.append((alone, len(inside)))
                assert not any(inside) or len(inside) == 1
            with lock:
                inside.remove(alone)

    threads = [threading.Thread(target=visit, args=(number % 5 == 0,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(seen) == 60
    assert all(num_inside == 1 for alone, num_inside in seen if alone)


def test_many_may_be_inside_together() -> None:
    turns = Turns()
    meeting = threading.Barrier(4, timeout=60)

    def visit() -> None:
        with turns.take(alone=False):
            meeting.wait()

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not meeting.broken

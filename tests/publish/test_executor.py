"""A shuffle brings every part to its bucket, in the order of the items, however many buckets there are."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from selfstudy.pipeline import OnRay
from selfstudy.publish.executor import Executor, Here
from selfstudy.resources import ClusterFailedError


def deal(num_buckets: int, item: int) -> list[tuple[int, int]]:
    return [(item, bucket) for bucket in range(num_buckets)]


def write(bucket: int, parts: list[tuple[int, int]]) -> tuple[int, list[int]]:
    assert {dealt_to for _, dealt_to in parts} == {bucket}
    return bucket, [item for item, _ in parts]


def total(index: int, group: list[tuple[int, list[int]]]) -> tuple[int, int]:
    return index, sum(len(items) for _, items in group)


def check(executor: Executor, num_items: int, num_buckets: int) -> None:
    handles = executor.shuffle(partial(deal, num_buckets), range(num_items), write, num_buckets)
    expected: list[Any] = [(bucket, list(range(num_items))) for bucket in range(num_buckets)]
    assert executor.fetch(handles) == expected
    assert executor.fetch(executor.combine(total, [handles])) == [(0, num_items * num_buckets)]


@pytest.mark.parametrize("num_items", [1, 33, 70])
@pytest.mark.parametrize("num_buckets", [1, 5, 32, 33, 100, 1_000])
def test_in_this_process(num_items: int, num_buckets: int) -> None:
    check(Here(), num_items, num_buckets)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("num_buckets", [1, 5, 40])
def test_on_ray(num_buckets: int) -> None:
    check(OnRay(), 35, num_buckets)


def die() -> Sequence[int]:
    os._exit(1)


@pytest.mark.usefixtures("ray_cluster")
def test_a_task_that_dies_again_and_again_is_one_line() -> None:
    executor = OnRay()
    with pytest.raises(ClusterFailedError, match=r"^Ray: .*died") as caught:
        executor.fetch(executor.call(die, (), 1))
    assert "\n" not in str(caught.value)

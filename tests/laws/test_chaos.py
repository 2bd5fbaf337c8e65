"""One short round of chaos.py; `make chaos` plays them all."""

import pytest

from tests.laws.chaos import play_round, world
from tests.services.ceph import missing_programs

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(bool(missing_programs()), reason=f"an S3 server needs {missing_programs()}: make deps-test"),
]


def test_a_round_of_chaos_loses_and_repeats_nothing() -> None:
    with world() as here:
        played = play_round(here, 2, seed=1)
    assert played.ok, played
    assert sum(played.faults.values()) == 2, played

"""One local Ray for all tests that need one; everything else runs without."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A small local cluster, started once. Tests that kill processes start their own in a subprocess."""
    import ray

    from selfstudy import pipeline

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    yield
    pipeline.stop_ray()

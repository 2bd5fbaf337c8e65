"""What Ray is told before it starts: nothing of it can be set later. A cluster that others start has an environment of
its own."""

import logging
import os
import warnings

logger = logging.getLogger(__name__)


def prepare_environment() -> None:
    """Set what the user's environment leaves open."""
    # Ray gives its workers a niceness of 15, and with them the engines: whatever else runs on the machine goes
    # before the GPU's scheduler.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Half a minute, the default, is short for a busy machine.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "60")
    # Results below 100 kB would wait in the driver, where they add up while publishing deals small parts.
    os.environ.setdefault("RAY_max_direct_call_object_size", "4096")
    if not logger.isEnabledFor(logging.DEBUG):
        _keep_quiet()


def _keep_quiet() -> None:
    """Keep what Ray says to its own developers off the user's terminal; -v brings it back."""
    for name in ("ray.data", "ray._private.authentication"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Of every actor pool: "has constructor arguments in the object store".
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Of calls that Ray makes for itself and nobody waits for; what concerns us is raised as well.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    # A corpus of one split is no reason to warn that two could be prepared at once.
    warnings.filterwarnings("ignore", message="The maximum number of concurrent tasks")

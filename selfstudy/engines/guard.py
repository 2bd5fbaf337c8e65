"""No process of an engine outlives the job.

vLLM runs its engine core, and with tensor parallelism its workers, in processes of their own. When the process that
started them is killed they would keep the GPU's memory for ever. vLLM calls `die_with_owner` in each of its
processes (entry point `vllm.general_plugins`); there it asks the kernel for SIGKILL on the death of the parent.

Does not cover: systems other than Linux, and processes that die before they have loaded their plugins, which end by
themselves at that point.
"""

import ctypes
import os
import signal
import sys

OWNER_VARIABLE = "SELFSTUDY_ENGINE_OWNER"
PLUGIN = "selfstudy_guard"
_PR_SET_PDEATHSIG = 1


def own_engines() -> None:
    """Call in the process that is about to start engines: its children will die with it."""
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and PLUGIN not in allowed.split(","):
        os.environ["VLLM_PLUGINS"] = f"{allowed},{PLUGIN}" if allowed else PLUGIN
    # A forked child would inherit the note that plugins are loaded already, and skip the guard.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"


def die_with_owner() -> None:
    """Die when the parent dies; end now if the owner is gone already. Does nothing outside of a selfstudy job."""
    owner = os.environ.get(OWNER_VARIABLE)
    if owner is None or int(owner) == os.getpid() or sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before the kernel knew of our wish.
    if os.getppid() != parent or not _is_alive(int(owner)):
        os._exit(1)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

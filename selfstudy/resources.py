"""Do the stages of a run fit on the machines at hand? Arithmetic over what actors hold for life and nodes have.

Actors never give their CPUs back, so a graph whose pools fill the cluster would wait for a prepare task for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from selfstudy.config import Config

Node = Mapping[str, float]
"""What one machine has: {"CPU": 8, "GPU": 1, ...}."""


class ClusterFailedError(RuntimeError):
    """Ray lost what the run stood on, such as the node of one of its own actors. What was committed stays."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Actors of one stage, and what each of them holds for life."""

    actors: int
    cpus: float
    gpus: float = 0

    def bundle(self) -> dict[str, float]:
        """Return what one actor needs from one machine."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})


def pools_of(config: Config) -> dict[str, Pool]:
    """Return the actor pools by what their fields in the config's resources begin with."""
    resources = config.resources
    pools = {
        "filter": Pool(resources.filter_actors, resources.filter_cpus),
        "engine": Pool(resources.engine_actors, resources.engine_cpus, resources.engine_gpus),
    }
    if config.answer_engine is not None:
        pools["answer"] = Pool(resources.answer_actors, resources.answer_cpus, resources.answer_gpus)
    return pools


def to_begin(pools: Mapping[str, Pool], nodes: Sequence[Node]) -> dict[str, Pool]:
    """Return what has to fit before a run begins: of a pool with GPUs what can start now, one actor at least.

    Actors without GPUs would all start, so they must leave a task's CPUs to prepare. A GPU that comes later brings
    CPUs of its own.
    """
    left = _total(nodes, "GPU") - sum(pool.gpus for pool in pools.values())
    begin = {}
    for name, pool in pools.items():
        more = min(pool.actors - 1, max(0, int(left / pool.gpus))) if pool.gpus else pool.actors - 1
        left -= more * pool.gpus
        begin[name] = replace(pool, actors=1 + more)
    return begin


def too_small(prepare_cpus: float, pools: Mapping[str, Pool], nodes: Sequence[Node]) -> list[str]:
    """Return what does not fit, a line each: the sums, then what no single machine can hold."""
    cpus = sum(pool.actors * pool.cpus for pool in pools.values())
    gpus = sum(pool.actors * pool.gpus for pool in pools.values())
    has_cpus, has_gpus = _total(nodes, "CPU"), _total(nodes, "GPU")
    problems = []
    if cpus + prepare_cpus > has_cpus:
        knobs = [f"{name}_{what}" for name in pools for what in ("actors", "cpus")]
        problems.append(
            f"resources: {cpus:g} CPUs of actors and {prepare_cpus:g} of a prepare task do not fit "
            f"into the cluster's {has_cpus:g}; lower {', '.join(knobs[:-1])} or {knobs[-1]}"
        )
    if gpus > has_gpus:
        names = " and ".join(f"{name}_gpus" for name, pool in pools.items() if pool.gpus)
        problems.append(f"resources.{names}: {gpus:g} GPUs do not fit into the cluster's {has_gpus:g}")
    if problems:
        return problems
    bundles = {"prepare": {"CPU": prepare_cpus}} | {name: pool.bundle() for name, pool in pools.items()}
    return [
        f"resources.{name}_cpus: no machine of the cluster has {_shown(bundle)}"
        for name, bundle in bundles.items()
        if not any(all(node.get(kind, 0) >= amount for kind, amount in bundle.items()) for node in nodes)
    ]


def _total(nodes: Sequence[Node], kind: str) -> float:
    return sum(node.get(kind, 0) for node in nodes)


def _shown(bundle: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {kind}s" for kind, amount in bundle.items())

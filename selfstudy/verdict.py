"""What `verify` found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SHOWN_PER_LAW = 20


@dataclass(slots=True)
class Verdict:
    """`checked` counts what was looked at; `violations` holds at most 20 lines per law, `num_violations` all."""

    snapshot: str | None
    checked: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    num_violations: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        return not self.num_violations

    def violated(self, law: str, detail: str) -> None:
        self.num_violations[law] += 1
        if self.num_violations[law] <= _SHOWN_PER_LAW:
            self.violations.append(f"{law}: {detail}")

    def expect(self, law: str, found: object, expected: object, where: str) -> None:
        self.checked[law] += 1
        if found != expected:
            self.violated(law, f"{where}: expected {_short(expected)}, found {_short(found)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."

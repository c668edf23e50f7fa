"""Long proofs are samples: a run goes through a part of each, which its seed chooses. The seed is the commit's hash, so
that a run repeats and another commit sees another part. `script/test --full` runs samples, `--all` the whole.

A test that has many cases is marked `sampled(most)`, a proof that finds its cases while it runs asks `samples()`.
"""

import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
Case = TypeVar("Case")


@dataclass(frozen=True)
class Samples:
    """`seed` chooses; with `whole` there is nothing to choose."""

    seed: str
    whole: bool

    def chance(self, name: str) -> random.Random:
        """The random numbers of the proof `name`: the same in each run with this seed."""
        return random.Random(f"{self.seed} {name}")

    def number(self, name: str) -> int:
        """One such number, for a library that wants a seed of its own."""
        return self.chance(name).getrandbits(32)

    def of(self, name: str, cases: Sequence[Case], most: int) -> list[Case]:
        """At most so many of the cases, in their order; all of them in a whole run."""
        if self.whole or len(cases) <= most:
            return [*cases]
        return [cases[index] for index in sorted(self.chance(name).sample(range(len(cases)), most))]

    def size(self, *, whole: int, sample: int) -> int:
        """How long a proof is that has no cases to choose from."""
        return whole if self.whole else sample

    def takes(self, name: str, share: float) -> bool:
        """Whether the case `name` is one of the sample, which about this share of all cases belongs to."""
        return self.whole or self.chance(name).random() < share


_present: list[Samples] = []


def begin(samples: Samples) -> None:
    """What this process's tests are to go through."""
    _present[:] = [samples]


def samples() -> Samples:
    """What this process's tests go through."""
    return _present[0]


def commit() -> str:
    """The hash of the commit that is tested, shortened; its branch's name and other circumstances don't matter."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    return asked.stdout.strip() or "no-commit"


def chosen(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The items without the cases of `sampled` tests that are not of the sample."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled") is not None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {item.nodeid for name, of_test in cases.items() for item in samples().of(name, of_test, _most(of_test[0]))}
    return [item for item in items if item.get_closest_marker("sampled") is None or item.nodeid in kept]


def _most(item: pytest.Item) -> int:
    mark = item.get_closest_marker("sampled")
    assert mark is not None
    return int(mark.args[0])


def in_turn(groups: Sequence[Sequence[Case]], seed: str, kind: Callable[[Case], str]) -> list[Case]:
    """One of each group; kinds take turns, so that all are seen where there are at least as many groups."""
    kinds = sorted({kind(case) for group in groups for case in group})
    random.Random(seed).shuffle(kinds)
    taken = []
    for number, group in enumerate(groups):
        of_kind = {kind(case): case for case in group}
        turn = [*kinds[number % len(kinds) :], *kinds[: number % len(kinds)]]
        taken.append(next(of_kind[each] for each in turn if each in of_kind))
    return taken

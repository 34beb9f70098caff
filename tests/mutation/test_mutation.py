"""Mutation testing of a sample."""

import re
from typing import Any

import pytest

pytest.importorskip("cosmic_ray")  # of the dependency group `proof`

from mutation import campaign
from mutation.mutants import Mutant


def mutants(module: str, *numbers: int) -> list[Mutant]:
    """Make a mutant for each number."""
    return [
        Mutant(module, "f", "NumberReplacer", f"x = {n}", f"x = {n + 1}", 1, n, "", n)
        for n in numbers
    ]


def test_a_sample_changes_only_where_the_code_does() -> None:
    """The same seed draws the same mutants, also of a module from which code was deleted."""
    every = mutants("m.py", *range(100))
    sample = campaign.drawn(every, 10, seed=1)
    assert campaign.drawn([*reversed(every)], 10, seed=1) == sample
    assert campaign.drawn(every, 10, seed=2) != sample
    rest = [mutant for mutant in every if mutant != sample[0]]
    assert campaign.drawn(rest, 9, seed=1) == sample[1:]


def test_the_report_names_samples(monkeypatch: Any) -> None:
    """The table says of which modules only a sample was tried."""

    def known(_package: Any, module: str, _cache: Any) -> list[Mutant]:
        return mutants(module, *range(100))

    monkeypatch.setattr(campaign, "known_mutants", known)
    tried = campaign.Campaign(["_gate.py", "_migrate"])
    assert len(tried.mutants) == 1100
    gate, migrate = tried.report().splitlines()[2:4]
    assert gate.startswith("| `_gate.py` | 100 |")
    assert re.match(r"\| `_migrate` \| a sample of 1000 of \d,\d00 \|", migrate)

"""Which mutants are tried, their verdicts, and the report."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tomllib
from pathlib import Path
from typing import Any, TypeAlias

from mutation.mutants import Mutant, known_mutants, text_of
from mutation.trial import PACKAGE, ROOT, Plot, Stage, Verdict, Work, trials

HERE = Path(__file__).parent
CACHE = ROOT / ".mutation_cache"
COLUMNS = ("mutants", "tried", "killed", "by a timeout", "equivalent", "survived")

Key: TypeAlias = tuple[str, ...]


def say(line: str) -> None:
    """Print progress to stderr, apart from the table."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - it is a command


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def mutants_of(name: str) -> list[Mutant]:
    """Return the mutants of a module, or of all modules in a folder."""
    found = PACKAGE / name
    paths = sorted(found.glob("*.py")) if found.is_dir() else [found]
    modules = [path.relative_to(PACKAGE).as_posix() for path in paths]
    return [mutant for module in modules for mutant in known_mutants(PACKAGE, module, CACHE)]


def is_in(module: str, name: str) -> bool:
    """Tell whether a module has that name, or is in the folder of that name."""
    return Path(module).is_relative_to(name)


def drawn(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Draw a sample. If the code changes, mutants that remain stay in the sample."""
    return sorted(mutants, key=lambda mutant: digest(str(seed), *mutant.key))[:count]


def explanations() -> dict[Key, str]:
    """Return why no test can kill a mutant, by its key."""
    found: dict[Key, str] = {}
    listed = tomllib.loads((HERE / "equivalent.toml").read_text("utf-8"))
    for entry in listed.get("equivalent", []):
        what = [entry[name] for name in ("module", "where", "operator", "before", "after")]
        found[(*what, str(entry.get("which", 1)))] = entry["why"]
    return found


class Campaign:
    """Mutants, the stages of tests that each must survive, and the verdicts."""

    def __init__(self, modules: list[str], match: str = "", stages: int = 9) -> None:
        self._plan = tomllib.loads((HERE / "plan.toml").read_text("utf-8"))
        self.explained = explanations()
        self._stages = stages
        self._path = CACHE / "{}.{}.jsonl".format(*sys.version_info)
        self.mutants: list[Mutant] = []
        #: All mutants, by the names in plan.toml; of some only a sample is tried.
        self.of: dict[str, list[Mutant]] = {}
        for name in modules or self._plan["modules"]:
            self.of[name] = found = mutants_of(name)
            if name in self._plan["sample"]:
                found = drawn(found, self._plan["sample"][name], self._plan["seed"])
            self.mutants += [mutant for mutant in found if match in str(mutant)]
        patterns = ("**/*.py", "**/*.txt")
        tests = sorted(path for pattern in patterns for path in HERE.parent.glob(pattern))
        self._tests = digest(*(path.read_text("utf-8") for path in tests))
        self._here: dict[Key, dict[str, Any]] = {}
        self._elsewhere: dict[Key, dict[str, Any]] = {}
        for path in sorted(CACHE.glob("*.jsonl")):
            known = self._here if path == self._path else self._elsewhere
            for line in path.read_text("utf-8").splitlines():
                entry = json.loads(line)
                key: Key = tuple(entry["key"])
                known[key] = entry

    def last(self, mutant: Mutant) -> dict[str, Any] | None:
        """Return the last result of a mutant: killed on some Python, or else survived on one."""
        entries = [known.get(mutant.key) for known in (self._here, self._elsewhere)]
        found = [
            entry
            for entry in entries
            if entry is not None and entry["function"] == digest(mutant.function)
        ]
        return max(found, key=lambda entry: bool(entry["killed"]), default=None)

    def is_known(self, mutant: Mutant) -> bool:
        """Tell whether it was killed, or has survived all current tests on this Python."""
        last, here = self.last(mutant), self._here.get(mutant.key)
        if last is None or here is None:
            return last is not None and bool(last["killed"])
        same = here["tests"] == self._tests and here["function"] == digest(mutant.function)
        return bool(last["killed"]) or (same and here["stages"] >= self._stages)

    def stages(self, module: str) -> list[Stage]:
        """Return the tests that a mutant of the module must survive."""
        found: list[Stage] = []
        done: set[str] = set()
        planned = next(plan for of, plan in self._plan["modules"].items() if is_in(module, of))
        for number, (name, tests) in enumerate(planned.items()):
            new = [test for entry in tests for test in self._plan["tests"].get(entry, [entry])]
            new = [test for test in dict.fromkeys(new) if test not in done]
            done.update(new)
            if new:
                found.append(Stage(name, tuple(new), self._plan["seconds"][number]))
        return found[: self._stages]

    def run(self, jobs: int, *, survivors: bool = False) -> None:
        """Try the mutants that are not known, or of these only those that survived before."""
        CACHE.mkdir(exist_ok=True)
        plots = [Plot(CACHE / f"plot{number}") for number in range(jobs)]
        wanted = [
            mutant
            for mutant in self.mutants
            if not self.is_known(mutant)
            and mutant.key not in self.explained
            and (not survivors or self._has_survived(mutant))
        ]
        random.Random(1).shuffle(wanted)  # so that it has tried a sample wherever it stops
        self._check_that_all_pass({mutant.module for mutant in wanted}, plots)
        work = (
            Work(mutant, mutant.module, text_of(mutant, PACKAGE), self.stages(mutant.module))
            for mutant in wanted
        )
        with self._path.open("a", encoding="utf-8") as file:
            for count, (piece, stage, verdict) in enumerate(trials(work, plots), 1):
                if piece.what is not None:
                    entry = self._learn(piece.what, stage, verdict)
                    file.write(json.dumps(entry) + "\n")
                    file.flush()
                if not verdict.killed:
                    say(f"survived: {piece.what}")
                elif count % 25 == 0:
                    say(f"{count} of {len(wanted)}")

    def _has_survived(self, mutant: Mutant) -> bool:
        last = self.last(mutant)
        return last is not None and not last["killed"]

    def _check_that_all_pass(self, modules: set[str], plots: list[Plot]) -> None:
        """Check that the tests pass without a change."""
        stages = [stage for module in modules for stage in self.stages(module)]
        tests = tuple(sorted({test for stage in stages for test in stage.tests}))
        work = [Work(None, "__init__.py", None, [Stage("unchanged", tests, 1800)])]
        for _, _, verdict in trials(iter(work if tests else []), plots):
            if verdict.killed:
                message = f"before anything is changed, this fails: {verdict.by}"
                raise SystemExit(message)

    def _learn(self, mutant: Mutant, stage: str, verdict: Verdict) -> dict[str, Any]:
        entry = self._here[mutant.key] = {
            "key": mutant.key,
            "function": digest(mutant.function),
            "tests": self._tests,
            "stage": stage,
            "stages": self._stages,
            "killed": verdict.killed,
            "by": verdict.by,
            "seconds": round(verdict.seconds, 2),
        }
        return entry

    def unexplained(self) -> list[Mutant]:
        """Return the survivors without an explanation."""
        found: list[Mutant] = []
        for mutant in self.mutants:
            entry = self.last(mutant)
            if mutant.key not in self.explained and entry is not None and not entry["killed"]:
                found.append(mutant)
        return found

    def stale(self) -> list[Key]:
        """Return the explanations of mutants that do not exist."""
        keys = {mutant.key for found in self.of.values() for mutant in found}
        mine = [key for key in self.explained if any(is_in(key[0], name) for name in self.of)]
        return [key for key in mine if key not in keys]

    def report(self) -> str:
        """Return the score as Markdown, and what is left to do."""
        lines = [f"| module | {' | '.join(COLUMNS)} |", "|---" + "|---:" * len(COLUMNS) + "|"]
        total = [0] * len(COLUMNS)
        for name, every in self.of.items():
            mine = [mutant for mutant in self.mutants if is_in(mutant.module, name)]
            entries = [self.last(mutant) for mutant in mine if mutant.key not in self.explained]
            tried = [entry for entry in entries if entry is not None]
            killed = [entry for entry in tried if entry["killed"]]
            timeouts = sum(entry["by"] == "timeout" for entry in killed)
            equal = len(mine) - len(entries)
            left = len(tried) - len(killed)
            row = [len(every), len(tried) + equal, len(killed), timeouts, equal, left]
            total = [a + b for a, b in zip(total, row, strict=True)]
            sample = self._plan["sample"].get(name)
            of = f"a sample of {sample} of " if sample else ""
            lines.append(f"| `{name}` | {of}" + " | ".join(f"{number:,}" for number in row) + " |")
        lines.append("| all | " + " | ".join(f"{number:,}" for number in total) + " |")
        lines += [f"survived: {mutant}" for mutant in self.unexplained()]
        lines += [f"explained, but no mutant: {key}" for key in self.stale()]
        return "\n".join(lines)

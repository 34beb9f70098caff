"""The migration knows what a name stands for: compared with the compiler's own tables."""

import ast
import asyncio
import importlib
import re
import symtable
from collections import Counter
from pathlib import Path

import pytest

from structgather._migrate.names import Comprehension, Names
from structgather._migrate.rewrite import rewrite

FILES = sorted(
    [
        *Path(asyncio.__file__).parent.glob("*.py"),
        *(
            Path(str(importlib.import_module(name).__file__))
            for name in ("ast", "enum", "inspect", "contextlib", "argparse")
        ),
    ]
)


COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
Bound = Counter[tuple[str, ...]]


def named(names: set[str], declared: set[str]) -> tuple[str, ...]:
    """Leave out names that are mangled, and those that `global` and `nonlocal` tell of."""
    return tuple(sorted(n for n in names - declared if not re.match(r"\.|__|_[A-Z]\w*?__", n)))


def bound_for_python(table: symtable.SymbolTable, declared: set[str], found: Bound) -> set[str]:
    """Collect which names are bound in each scope, as the compiler has it.

    A comprehension counts with what is around it, as it does for the compiler since 3.12. What it
    makes for annotations and type parameters is no scope of the programmer's.
    """
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_parameter() or symbol.is_imported()
    }
    for child in table.get_children():
        if child.get_name() != "__annotate__":
            inner = bound_for_python(child, declared, found)
            if child.get_name().strip("<>") in COMPREHENSIONS:
                names |= inner
    kind = str(table.get_type()).rpartition(".")[2].lower()
    if table.get_name().strip("<>") not in COMPREHENSIONS and kind in {
        "module",
        "function",
        "class",
    }:
        found[named(names, declared)] += 1
    return names


def bound_for_us(scopes: Names) -> Bound:
    """Collect the same from our own tables."""
    declared = {name for scope in scopes.all for name in scope.declared}
    bound = {id(scope): set(scope.bindings) for scope in scopes.all}
    found: Bound = Counter()
    for scope in reversed(scopes.all):  # the inner ones first
        if isinstance(scope.node, Comprehension) and scope.parent is not None:
            bound[id(scope.parent)] |= bound[id(scope)]
        else:
            found[named(bound[id(scope)], declared)] += 1
    return found


def check(source: str) -> None:
    """Fail where the two differ."""
    scopes = Names(ast.parse(source))
    declared = {name for scope in scopes.all for name in scope.declared}
    pythons: Bound = Counter()
    bound_for_python(symtable.symtable(source, "file", "exec"), declared, pythons)
    assert bound_for_us(scopes) == pythons


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_scopes_are_the_compilers(path: Path) -> None:
    """In each scope of each file the same names are bound as the compiler says."""
    check(path.read_text("utf-8"))


ODD = """
import a.b, c.d as e
from x import *
class K(B, m=n):
    import f
    def g(self, h: i = j, *k, l, **o): return (lambda p=q, *r: p)
    s = [t for t in u]
def w():
    global y, z
    y = z = 1
    nonlocal_ = 2
    def aa():
        nonlocal nonlocal_
        nonlocal_ = [bb := 1]
        try: pass
        except E as cc: del dd
        match ee:
            case {"k": ff, **gg} | [*hh, KK(x=ii) as jj]: pass
        for kk, (ll, *mm) in nn: pass
        with oo as (pp, qq[rr]), ss as tt.uu: pass
        async def vv(): return {ww: xx async for ww, xx in yy if [zz := ww]}
"""


def test_everything_that_binds_is_known() -> None:
    """Each construct that binds a name is known, in the scope where it binds."""
    check(ODD)


@pytest.mark.skipif(not hasattr(ast, "TypeVar"), reason="since Python 3.12")
def test_type_parameters_are_no_modules() -> None:
    """A type parameter hides an import of the same name."""
    source = "import asyncio\nasync def main[asyncio](x): await asyncio.gather(x)"
    assert rewrite(source).findings == []

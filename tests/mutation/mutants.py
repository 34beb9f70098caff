"""The mutants of a module: cosmic-ray's operators, and one more that deletes a statement.

What only type checkers read is left alone: annotations, overloads, imports for types. So is a
mutant that does not compile, or that compiles to what another one, or the module, compiles to.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Keyword

# cosmic-ray has no types.
# pyright: basic

#: One replacement for each comparison that shifts its boundary, and one that turns it round; one
#: for each arithmetic operator. The others of cosmic-ray's two hundred die of the same tests.
OPERATORS = re.compile(
    r"""core/(?:
      AddNot | ExceptionReplacer | NumberReplacer | RemoveDecorator | ZeroIterationForLoop
    | Replace(?:AndWithOr | OrWithAnd | BreakWithContinue | ContinueWithBreak)
    | Replace(?:FalseWithTrue | TrueWithFalse)
    | ReplaceUnaryOperator_(?:Delete_Not | USub_UAdd)
    | ReplaceComparisonOperator_(?:Eq_NotEq | NotEq_Eq | Is_IsNot | IsNot_Is | In_NotIn | NotIn_In
        | Lt_LtE | LtE_Lt | Gt_GtE | GtE_Gt | Lt_GtE | LtE_Gt | Gt_LtE | GtE_Lt)
    | ReplaceBinaryOperator_(?:Add_Sub | Sub_Add | Mul_Div | Div_Mul | FloorDiv_Mul | Mod_Mul)
    )""",
    re.VERBOSE,
)
FOR_TYPES = {"overload", "final", "override"}

Position = tuple[int, int]


class DeleteStatement(Operator):
    """Puts `pass` in the place of a statement of a function."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        if node.type == "simple_stmt" and parso_function(node) and deletable(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        first = node.get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, prefix=first.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def parso_function(node: Any) -> Any:
    return parso.tree.search_ancestor(node, "funcdef")


def deletable(statement: Any) -> bool:
    if statement.type in {"string", "import_name", "import_from"}:
        return False
    if statement.type == "expr_stmt" and statement.children[1].type == "annassign":
        return len(statement.children[1].children) > 2
    code = statement.get_code().strip()
    return code not in {"pass", "..."} and not code.startswith("raise NotImplementedError")


class Mutant(NamedTuple):
    """One change of one module."""

    module: str
    where: str
    operator: str
    before: str
    after: str
    #: Which one it is of those that are alike in all of these.
    which: int
    line: int
    text: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.module, self.where, self.operator, self.before, self.after, str(self.which))

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.where} [{self.operator}]\n  - {self.before}\n  + {self.after}"


def mutants(package: Path, module: str) -> Iterator[Mutant]:
    """Yield the mutants of a module, in the order of its lines for each operator."""
    source = (package / module).read_text("utf-8")
    skipped = read_by_type_checkers(source)
    seen = {essence(compile(source, module, "exec"))}
    alike: dict[tuple[str, ...], int] = {}
    tree = get_ast(source)
    for name, operator in operators():
        positions = (
            (node, position)
            for node in ast_nodes(tree)
            for position in operator.mutation_positions(node)
        )
        for occurrence, (node, (start, end)) in enumerate(positions):
            if node.parent is not None and node.parent.type in {"parameters", "param"}:
                continue  # the star of keyword-only arguments is no multiplication
            if any(first <= start and end <= last for first, last in skipped):
                continue
            text = mutate_code(source, operator, occurrence)
            try:
                compiled = essence(compile(text, module, "exec"))
            except SyntaxError:
                continue
            if compiled in seen:
                continue
            seen.add(compiled)
            before, after = changed(source, text)
            same = (module, function_at(source, start[0]), name, before, after)
            alike[same] = alike.get(same, 0) + 1
            yield Mutant(*same, alike[same], start[0], text)


def operators() -> Iterator[tuple[str, Operator]]:
    yield "DeleteStatement", DeleteStatement()
    for name in sorted(operator_names()):
        if OPERATORS.fullmatch(name):
            yield name.removeprefix("core/"), get_operator(name)()


def changed(before: str, after: str) -> tuple[str, str]:
    old, new = [line.strip() for line in before.split("\n")], after.split("\n")
    lines = [*difflib.ndiff(before.split("\n"), new)] if len(old) != len(new) else []
    if lines:
        removed = [line[2:].strip() for line in lines if line.startswith("- ")]
        added = [line[2:].strip() for line in lines if line.startswith("+ ")]
    else:
        pairs = [(a, b.strip()) for a, b in zip(old, new, strict=True) if a != b.strip()]
        removed, added = [a for a, _ in pairs], [b for _, b in pairs]
    return " ".join(removed), " ".join(added)


def essence(code: CodeType) -> tuple[Any, ...]:
    """What a code object does, wherever its lines are."""
    constants = tuple(
        essence(constant) if isinstance(constant, CodeType) else (type(constant), repr(constant))
        for constant in code.co_consts
    )
    return (code.co_code, code.co_exceptiontable, code.co_flags, code.co_names, code.co_varnames,
            code.co_freevars, code.co_argcount, code.co_kwonlyargcount, constants)


def read_by_type_checkers(source: str) -> list[tuple[Position, Position]]:
    """Where a module has what is never looked at when it runs."""
    found: list[tuple[Position, Position]] = []

    def skip(node: ast.expr | ast.stmt | None) -> None:
        if node is not None:
            end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
            found.append(((node.lineno, node.col_offset), end))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.AnnAssign):
            skip(node.annotation)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("TypeVar("):
            skip(node)
        if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
            skip(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            skip(node.returns)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if ast.unparse(decorator) in FOR_TYPES:
                    found.append(((decorator.lineno, 0), (decorator.lineno + 1, 0)))
                    if ast.unparse(decorator) == "overload":
                        skip(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skip(node)
    return found


def function_at(source: str, line: int) -> str:
    best = "<module>"

    def visit(node: ast.AST, names: tuple[str, ...]) -> None:
        nonlocal best
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                if not first <= line <= (child.end_lineno or line):
                    continue
                inner = (*names, child.name)
                best = ".".join(inner)
            visit(child, inner)

    visit(ast.parse(source), ())
    return best

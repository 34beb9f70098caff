"""The mutants of a module: cosmic-ray's operators, and one more that deletes a statement.

Code for type checkers only is left alone: annotations, overloads, imports for types. So is a mutant
that does not compile, or that compiles to the same code as another one, or as the module.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple, TypeAlias

# They have no types, and are not installed where types are checked.
_trees: Any = importlib.import_module("cosmic_ray.ast")
_mutating: Any = importlib.import_module("cosmic_ray.mutating")
_plugins: Any = importlib.import_module("cosmic_ray.plugins")
_nodes: Any = importlib.import_module("parso.python.tree")

Position: TypeAlias = tuple[int, int]

#: Of each comparison one replacement that shifts its boundary and one that inverts it, of each
#: arithmetic operator one. The same tests kill the others of cosmic-ray's two hundred.
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


class DeleteStatement:
    """An operator for cosmic-ray: replaces a statement of a function by `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        of_a_function = node.type == "simple_stmt" and node.search_ancestor("funcdef") is not None
        if of_a_function and _is_deletable(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        first = node.get_first_leaf()
        node.children[0] = _nodes.Keyword("pass", first.start_pos, prefix=first.prefix)
        return node


def _is_deletable(statement: Any) -> bool:
    if statement.type in {"string", "import_name", "import_from"}:
        return False
    if statement.type == "expr_stmt" and statement.children[1].type == "annassign":
        return len(statement.children[1].children) > 2  # it is an assignment with a value
    code: str = statement.get_code().strip()
    return code not in {"pass", "..."} and not code.startswith("raise NotImplementedError")


class Mutant(NamedTuple):
    """One change of one module."""

    module: str
    where: str
    operator: str
    before: str
    after: str
    #: Its number among mutants that are alike in all of these.
    which: int
    line: int
    #: The original function: while it stays the same, so does the verdict.
    function: str
    #: Its number among those that the operator makes of the module.
    occurrence: int

    @property
    def key(self) -> tuple[str, ...]:
        return (self.module, self.where, self.operator, self.before, self.after, str(self.which))

    def __str__(self) -> str:
        place = f"{self.module}:{self.line} {self.where} [{self.operator}]"
        return f"{place}\n  - {self.before}\n  + {self.after}"


def text_of(mutant: Mutant, package: Path) -> str:
    """Return the text of the whole module with the change."""
    source = (package / mutant.module).read_text("utf-8")
    text: str = _mutating.mutate_code(source, _operator(mutant.operator), mutant.occurrence)
    return text


def known_mutants(package: Path, module: str, cache: Path) -> list[Mutant]:
    """Return the mutants of a module, from the cache if it has them: making them takes a while."""
    key = hashlib.sha256((package / module).read_bytes() + Path(__file__).read_bytes()).hexdigest()
    path = cache / f"{Path(module).stem}-{key[:16]}.json"
    if not path.exists():
        cache.mkdir(exist_ok=True)
        path.write_text(json.dumps([*mutants(package, module)]), "utf-8")
    return [Mutant(*fields) for fields in json.loads(path.read_text("utf-8"))]


def mutants(package: Path, module: str) -> Iterator[Mutant]:
    """Yield the mutants of a module, in the order of its lines for each operator."""
    source = (package / module).read_text("utf-8")
    skipped = _read_by_type_checkers(source)
    seen = {_essence(compile(source, module, "exec"))}
    alike: dict[tuple[str, ...], int] = {}
    tree = _trees.get_ast(source)
    for name, operator in _operators():
        positions = (
            (node, position)
            for node in _trees.ast_nodes(tree)
            for position in operator.mutation_positions(node)
        )
        for occurrence, (node, (start, end)) in enumerate(positions):
            if node.parent is not None and node.parent.type in {"parameters", "param"}:
                continue  # the star of keyword-only arguments is not a multiplication
            if any(first <= start and end <= last for first, last in skipped):
                continue
            try:
                text: str = _mutating.mutate_code(source, operator, occurrence)
            except AttributeError:
                continue  # cosmic-ray can't replace an exception of a tuple whose name has a dot
            try:
                compiled = _essence(compile(text, module, "exec"))
            except SyntaxError:
                continue
            if compiled in seen:
                continue
            seen.add(compiled)
            before, after = _changed(source, text)
            where, function = _function_at(source, start[0])
            same = (module, where, name, before, after)
            alike[same] = alike.get(same, 0) + 1
            yield Mutant(*same, alike[same], start[0], function, occurrence)


def _operators() -> Iterator[tuple[str, Any]]:
    names = [name for name in sorted(_plugins.operator_names()) if OPERATORS.fullmatch(name)]
    for name in ["DeleteStatement", *(name.removeprefix("core/") for name in names)]:
        yield name, _operator(name)


def _operator(name: str) -> Any:
    return (
        DeleteStatement() if name == "DeleteStatement" else _plugins.get_operator(f"core/{name}")()
    )


def _changed(before: str, after: str) -> tuple[str, str]:
    old, new = [line.strip() for line in before.split("\n")], after.split("\n")
    lines = [*difflib.ndiff(before.split("\n"), new)] if len(old) != len(new) else []
    if lines:
        removed = [line[2:].strip() for line in lines if line.startswith("- ")]
        added = [line[2:].strip() for line in lines if line.startswith("+ ")]
    else:
        pairs = [(a, b.strip()) for a, b in zip(old, new, strict=True) if a != b.strip()]
        removed, added = [a for a, _ in pairs], [b for _, b in pairs]
    return " ".join(removed), " ".join(added)


def _essence(code: CodeType) -> tuple[Any, ...]:
    """Return what a code object does, whatever its line numbers."""
    constants = tuple(
        _essence(constant)
        if isinstance(constant, CodeType)
        else (constant.__class__.__name__, repr(constant))
        for constant in code.co_consts
    )
    return (
        code.co_code,
        code.co_exceptiontable,
        code.co_flags,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_argcount,
        code.co_kwonlyargcount,
        constants,
    )


def _read_by_type_checkers(source: str) -> list[tuple[Position, Position]]:
    """Return the parts of a module that are not used at run time."""
    return [
        ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0))
        if not isinstance(part, _Decorator)
        else ((part.lineno, 0), (part.lineno + 1, 0))
        for node in ast.walk(ast.parse(source))
        for part in _for_type_checkers(node)
    ]


class _Decorator(NamedTuple):
    lineno: int


def _for_type_checkers(node: ast.AST) -> Iterator[ast.expr | ast.stmt | _Decorator]:
    """Yield the parts of a node, or the node itself, that only type checkers read."""
    match node:
        case ast.arg(annotation=ast.expr() as annotation):
            yield annotation
        case ast.AnnAssign(annotation=annotation):
            yield node if "TypeAlias" in ast.unparse(annotation) else annotation
        case (
            ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar")))
            | ast.ClassDef(bases=[ast.Name(id="Protocol")])
        ):
            yield node
        case ast.If(test=test) if "TYPE_CHECKING" in ast.unparse(test):
            yield node
        case ast.BoolOp(values=[ast.Attribute(attr="end_lineno" | "end_col_offset"), default]):
            yield default  # a parsed node has an end
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            decorators = {ast.unparse(each): each for each in node.decorator_list}
            for name in FOR_TYPES & decorators.keys():
                yield _Decorator(decorators[name].lineno)
            if "overload" in decorators:
                yield node
            elif not isinstance(node, ast.ClassDef) and node.returns is not None:
                yield node.returns
        case _:
            return


def _function_at(source: str, line: int) -> tuple[str, str]:
    """Return the qualified name and the text of the function at a line, or else the module."""
    best, text = "<module>", source

    def visit(node: ast.AST, names: tuple[str, ...]) -> None:
        nonlocal best, text
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                if not first <= line <= (child.end_lineno or line):
                    continue
                inner = (*names, child.name)
                best = ".".join(inner)
                text = ast.get_source_segment(source, child) or source
            visit(child, inner)

    visit(ast.parse(source), ())
    return best, text

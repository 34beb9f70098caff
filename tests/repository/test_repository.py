"""What holds for the repository as a whole: its package, its versions, its files."""

import ast
import asyncio
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import structgather

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "structgather").glob("**/*.py"))
TESTS = sorted((ROOT / "tests").glob("**/test_*.py"))
LONGEST_README = 250

each_module = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(ROOT))
)


@functools.cache
def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def lines(nodes: Iterator[ast.expr | ast.stmt | ast.excepthandler]) -> list[str]:
    """Show what was found, so that a failure says where."""
    return [f"line {node.lineno}: {ast.unparse(node)[:80]}" for node in nodes]


def project() -> dict[str, Any]:
    """Read the table `project` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def repository_files() -> list[Path]:
    """List what is committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git repository")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# The package


def test_the_package_needs_no_other() -> None:
    """The package has no dependencies, not even optional ones."""
    assert project()["dependencies"] == []
    assert "optional-dependencies" not in project()


@each_module
def test_imports_are_of_the_standard_library(module: Path) -> None:
    """Each module imports the standard library and the package itself, nothing else."""
    allowed = sys.stdlib_module_names | {"structgather"}
    imported = [
        name
        for node in ast.walk(tree(module))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    ]
    assert [name for name in imported if name.partition(".")[0] not in allowed] == []


def is_private(name: str) -> bool:
    """Tell whether a name is somebody's own business."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


@functools.cache
def names_of_the_package() -> set[str]:
    """Collect the private names that the package's own modules and classes define."""
    found: set[str] = set()
    for module in MODULES:
        found.add(module.stem)
        for node in ast.walk(tree(module)):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    found.add(node.name)
                case ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    found.add(name)
                case _:
                    pass
    return found


@functools.cache
def private_names_of_asyncio() -> set[str]:
    """Collect the private names of the objects that asyncio hands out."""
    loop = asyncio.new_event_loop()
    try:
        classes = [
            asyncio.Task,
            asyncio.Future,
            asyncio.TaskGroup,
            asyncio.Timeout,
            asyncio.Semaphore,
        ]
        found = {name for cls in classes for name in dir(cls)}
        found.update(dir(loop), dir(asyncio.TaskGroup()), dir(loop.call_soon(print)))
    finally:
        loop.close()
    return found


def private_attributes(node: ast.AST, own: set[str], foreign: set[str]) -> bool:
    """Tell whether an object's private attribute is read that no class of the package defines."""
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return False
        case ast.Attribute(attr=name):
            return is_private(name) and (name in foreign or name not in own)
        case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"), args=args):
            return any(isinstance(a, ast.Constant) and is_private(str(a.value)) for a in args[1:2])
        case _:
            return False


def private_imports(node: ast.AST) -> bool:
    """Tell whether a private module, or a private name of a module, is imported from elsewhere."""
    match node:
        case ast.Import(names=names):
            paths = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0, names=names):
            paths = [f"{module}.{alias.name}" for alias in names]
        case _:
            return False
    foreign = [path.split(".") for path in paths if not path.startswith("structgather.")]
    return any(is_private(part) for path in foreign for part in path)


def private_inheritance(node: ast.AST, foreign: set[str]) -> bool:
    """Tell whether a subclass of one of asyncio's classes uses what it inherits in private."""
    if not isinstance(node, ast.ClassDef) or "asyncio" not in "".join(map(ast.unparse, node.bases)):
        return False
    used = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    return any(is_private(name) for name in used & foreign)


def private_uses(source: ast.Module) -> Iterator[ast.expr | ast.stmt]:
    """Yield each use of a private name that is not of the package itself."""
    own, foreign = names_of_the_package(), private_names_of_asyncio()
    for node in ast.walk(source):
        if (
            private_attributes(node, own, foreign)
            or private_imports(node)
            or private_inheritance(node, foreign)
        ):
            assert isinstance(node, ast.expr | ast.stmt)
            yield node


@each_module
def test_no_private_name_of_asyncio_is_used(module: Path) -> None:
    """Each module keeps to public names, save the package's own."""
    assert lines(private_uses(tree(module))) == []


@pytest.mark.parametrize(
    "source",
    [
        "asyncio._get_running_loop()",
        "task._loop",
        "loop._ready.popleft()",
        "from asyncio.tasks import _all_tasks",
        "from _asyncio import Task",
        "import asyncio, _asyncio",
        "getattr(task, '_callbacks')",
        "class Child(asyncio.Task):\n    def look(self): return self._callbacks",
    ],
)
def test_the_check_for_private_names_finds_them(source: str) -> None:
    """The check above is no formality: it finds each way to a private name."""
    assert len(list(private_uses(ast.parse(source)))) == 1


@each_module
def test_wait_for_is_not_used(module: Path) -> None:
    """No module calls asyncio.wait_for, which can swallow a cancellation on 3.11."""
    named = (
        node
        for node in ast.walk(tree(module))
        if (isinstance(node, ast.Name) and node.id == "wait_for")
        or (isinstance(node, ast.Attribute) and node.attr == "wait_for")
        or (isinstance(node, ast.ImportFrom) and any(a.name == "wait_for" for a in node.names))
    )
    assert lines(named) == []


@each_module
def test_no_except_is_bare(module: Path) -> None:
    """Each `except` says what it catches."""
    handlers = (node for node in ast.walk(tree(module)) if isinstance(node, ast.ExceptHandler))
    assert lines(node for node in handlers if node.type is None) == []


def yields_in_with(node: ast.AST, *, inside: bool = False) -> Iterator[ast.expr]:
    """Yield each `yield` of a function that stands within one of its own `with` blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if inside and isinstance(child, ast.Yield):
            yield child
        yield from yields_in_with(
            child, inside=inside or isinstance(child, ast.With | ast.AsyncWith)
        )


@each_module
def test_no_async_generator_yields_inside_with(module: Path) -> None:
    """No asynchronous generator suspends inside a `with` block: PEP 789 tells what that breaks."""
    functions = (node for node in ast.walk(tree(module)) if isinstance(node, ast.AsyncFunctionDef))
    assert lines(found for node in functions for found in yields_in_with(node)) == []


# The versions


def test_the_version_is_the_same_everywhere() -> None:
    """The package, pyproject.toml and the changelog name one version."""
    assert project()["version"] == structgather.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest, *older = re.findall(r"(?m)^## \[(.+?)\]", changelog)
    assert newest in {"Unreleased", structgather.__version__}
    if newest == "Unreleased" and older:
        released, current = (v.split(".") for v in (older[0], structgather.__version__))
        assert [int(part) for part in released] <= [int(part) for part in current]


def test_the_classifiers_name_the_pythons_that_are_supported() -> None:
    """The classifiers name Python 3.11 to 3.15, as `requires-python` has it."""
    prefix = "Programming Language :: Python :: 3."
    minors = [int(c.removeprefix(prefix)) for c in project()["classifiers"] if c.startswith(prefix)]
    assert minors == list(range(11, 16))
    assert project()["requires-python"] == f">=3.{minors[0]}"


# The files


def test_the_readme_is_read_in_five_minutes() -> None:
    """README.md has no more than 250 lines."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= LONGEST_README


def documents() -> list[Path]:
    """List the Markdown files."""
    return [path for path in repository_files() if path.suffix == ".md"]


def prose(document: Path) -> str:
    """Read a document without its blocks of code."""
    return re.sub(r"(?ms)^ *(```+|~~~+).*?^ *\1 *$", "", document.read_text("utf-8"))


def test_headings_are_in_order() -> None:
    """Each document has one title, first of all, and skips no level of heading."""
    for document in documents():
        levels = [len(mark) for mark in re.findall(r"(?m)^(#+) ", prose(document))]
        assert levels[:1] == [1], document
        assert levels.count(1) == 1, document
        assert all(below - above <= 1 for above, below in pairwise(levels)), document


def anchors(document: Path) -> set[str]:
    """Work out the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+?) *$", prose(document))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def test_links_lead_somewhere() -> None:
    """Each relative link in a document leads to a file, and to a heading in it if it names one."""
    dead: list[str] = []
    for document in documents():
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
            if ":" in link:
                continue
            name, _, anchor = link.partition("#")
            target = (document.parent / name).resolve() if name else document
            if not target.exists() or (anchor and anchor not in anchors(target)):
                dead.append(f"{document.relative_to(ROOT)}: {link}")
    assert dead == []


# Written so that this file does not name them either.
REGISTRIES = ["pypi[.]org", "pythonhosted[.]org", "debian[.]org", "npmjs[.](?:org|com)"]
MACHINE = r"(?<![\w.~$}])/(?:root|home|work|Users|opt)/\w"
FOREIGN = re.compile("|".join([*REGISTRIES, MACHINE]))


@pytest.mark.parametrize(
    "parts",
    [("pypi", ".org"), ("files.pythonhosted", ".org"), ("deb.debian", ".org"), ("/", "root/x")],
    ids="".join,
)
def test_the_check_for_hosts_and_paths_finds_them(parts: tuple[str, str]) -> None:
    """The check below is no formality: it finds each kind of name."""
    assert FOREIGN.search(f"at {''.join(parts)} there is")


def test_no_file_names_a_registry_or_a_machine() -> None:
    """No file names the host of a package registry, or a path that only one machine has."""
    found: list[str] = []
    for path in repository_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []


def each_test_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the test functions of a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node


def test_every_test_states_its_claim() -> None:
    """Each test has a docstring of one line, which says what is true if it passes."""
    silent: list[str] = []
    for path in TESTS:
        for function in each_test_of(path):
            claim = ast.get_docstring(function)
            if claim is None or "\n" in claim:
                silent.append(f"{path.relative_to(ROOT)}: {function.name}")
    assert silent == []

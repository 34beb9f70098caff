"""Tests of the repository as a whole: its source, metadata, files and language."""

import ast
import asyncio
import contextlib
import functools
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from integrations.skips import requirements as group_requirements
from packaging.requirements import Requirement

import structgather

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "structgather").glob("**/*.py"))
TESTS = sorted((ROOT / "tests").glob("**/test_*.py"))
LONGEST_README = 250
SUPPORTED = ["3.11", "3.12", "3.13", "3.14", "3.15"]

each_module = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(ROOT))
)


@functools.cache
def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def lines(nodes: Iterator[ast.expr | ast.stmt | ast.excepthandler]) -> list[str]:
    """Format nodes for the message of a failure."""
    return [f"line {node.lineno}: {ast.unparse(node)[:80]}" for node in nodes]


def pyproject() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def repository_files() -> list[Path]:
    """List the files that git tracks or would add."""
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


def test_the_package_has_no_dependencies() -> None:
    """The package has no dependencies, not even optional ones."""
    assert pyproject()["project"]["dependencies"] == []
    assert "optional-dependencies" not in pyproject()["project"]


@each_module
def test_imports_are_of_the_standard_library(module: Path) -> None:
    """Each module imports the standard library, and what type checkers bring, nothing else."""
    allowed = sys.stdlib_module_names | {"structgather"}
    only_checked = [
        child
        for node in ast.walk(tree(module))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
        if isinstance(child, ast.ImportFrom) and child.module == "typing_extensions"
    ]
    imported = [
        name
        for node in ast.walk(tree(module))
        if node not in only_checked
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
    """Tell whether a name is private."""
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
    """Collect the names of asyncio's public objects, the private ones included."""
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
    """Tell whether a node uses a private attribute that no class of the package defines."""
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
    """Tell whether a node imports a private module or name from outside the package."""
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
    """Tell whether a subclass of an asyncio class uses a private attribute that it inherits."""
    if not isinstance(node, ast.ClassDef) or "asyncio" not in "".join(map(ast.unparse, node.bases)):
        return False
    used = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    return any(is_private(name) for name in used & foreign)


def private_uses(source: ast.Module) -> Iterator[ast.expr | ast.stmt]:
    """Yield each use of a private name from outside the package."""
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
    """No module uses a private name from outside the package."""
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
    """The check above finds each way of using a private name."""
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
    """Every `except` names the exceptions that it catches."""
    handlers = (node for node in ast.walk(tree(module)) if isinstance(node, ast.ExceptHandler))
    assert lines(node for node in handlers if node.type is None) == []


def yields_in_with(node: ast.AST, *, inside: bool = False) -> Iterator[ast.expr]:
    """Yield each `yield` expression inside a `with` block of the same function."""
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
    """No asynchronous generator yields inside a `with` block, for the reasons given in PEP 789."""
    functions = (node for node in ast.walk(tree(module)) if isinstance(node, ast.AsyncFunctionDef))
    assert lines(found for node in functions for found in yields_in_with(node)) == []


# The metadata


def test_the_version_is_the_same_everywhere() -> None:
    """The package and pyproject.toml have one version, and the changelog has no newer one."""
    assert pyproject()["project"]["version"] == structgather.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest, *older = re.findall(r"(?m)^## \[(.+?)\]", changelog)
    assert newest in {"Unreleased", structgather.__version__}
    if newest == "Unreleased" and older:
        released, current = (v.split(".") for v in (older[0], structgather.__version__))
        assert [int(part) for part in released] <= [int(part) for part in current]


def test_the_supported_pythons_are_the_same_everywhere() -> None:
    """The classifiers, `requires-python` and the checks agree on the supported versions."""
    prefix = "Programming Language :: Python :: 3."
    classifiers = pyproject()["project"]["classifiers"]
    minors = [c.removeprefix(prefix) for c in classifiers if c.startswith(prefix)]
    assert [f"3.{minor}" for minor in minors] == SUPPORTED
    assert pyproject()["project"]["requires-python"] == f">={SUPPORTED[0]}"
    (checked,) = re.findall(r"(?m)^SUPPORTED = (.*)$", (ROOT / ".ci/checks.py").read_text("utf-8"))
    assert list(ast.literal_eval(checked)) == SUPPORTED


LOCKED: dict[str, str] = runpy.run_path(str(ROOT / ".ci/requirements.py"))["FILES"]
each_group = pytest.mark.parametrize(("group", "file"), LOCKED.items())


def pins_of(text: str) -> list[tuple[Requirement, list[str]]]:
    """Parse a requirements file: each requirement with its hashes."""
    joined = re.sub(r"\\\n", "", re.sub(r"(?m)^ *#.*\n", "", text))
    found: list[tuple[Requirement, list[str]]] = []
    for line in joined.splitlines():
        requirement, *options = re.split(r" +--hash=", line)
        found.append((Requirement(requirement), options))
    return found


def applies(requirement: Requirement, python: str) -> bool:
    """Tell whether a requirement's marker holds on a version of Python, on this platform."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def test_every_dependency_group_is_locked() -> None:
    """Each dependency group has a requirements file."""
    assert LOCKED.keys() == pyproject()["dependency-groups"].keys()


@each_group
@pytest.mark.parametrize("python", SUPPORTED)
def test_requirements_are_what_the_group_asks_for(group: str, file: str, python: str) -> None:
    """On each Python, a requirements file has one pin for each requirement of its group."""
    pins = [pin for pin, _ in pins_of((ROOT / file).read_text("utf-8")) if applies(pin, python)]
    versions = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(versions) == len(pins)
    for requirement in group_requirements(group):
        if applies(requirement, python):
            assert requirement.specifier.contains(versions[requirement.name]), requirement


@each_group
def test_requirements_are_pinned_and_hashed(group: str, file: str) -> None:
    """Each line of a requirements file is a pin with hashes; no option names an index."""
    del group
    for pin, hashes in pins_of((ROOT / file).read_text("utf-8")):
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), pin
        assert pin.url is None
        assert hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes), pin


def test_requirements_agree_on_shared_packages() -> None:
    """A package that several requirements files have is the same release in all of them."""
    pins = {pin for file in LOCKED.values() for pin, _ in pins_of((ROOT / file).read_text("utf-8"))}
    releases = {(pin.name, str(pin.specifier)) for pin in pins}
    assert len(releases) == len({name for name, _ in releases})


# The files


def test_the_readme_is_read_in_five_minutes() -> None:
    """README.md has at most 250 lines."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= LONGEST_README


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each text file."""
    for path in repository_files():
        with contextlib.suppress(UnicodeDecodeError):
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def documents() -> list[Path]:
    """List the Markdown files."""
    return [path for path in repository_files() if path.suffix == ".md"]


def prose(document: Path) -> str:
    """Read a document without its blocks of code."""
    return re.sub(r"(?ms)^ *(```+|~~~+).*?^ *\1 *$", "", document.read_text("utf-8"))


def test_headings_are_in_order() -> None:
    """Each document begins with its only title and skips no level of heading."""
    for document in documents():
        levels = [len(mark) for mark in re.findall(r"(?m)^(#+) ", prose(document))]
        assert levels[:1] == [1], document
        assert levels.count(1) == 1, document
        assert all(below - above <= 1 for above, below in pairwise(levels)), document


def anchors(document: Path) -> set[str]:
    """Compute the anchors of a document's headings, as GitHub does."""
    headings = re.findall(r"(?m)^#+ (.+?) *$", prose(document))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def test_no_link_is_dead() -> None:
    """Each relative link in a document names a file, and a heading in it if it has an anchor."""
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


# Written so that this file does not match.
REGISTRIES = ["pypi[.]org", "pythonhosted[.]org", "debian[.]org", "npmjs[.](?:org|com)"]
MACHINE = r"(?<![\w.~$}])/(?:root|home|work|Users|opt)/\w"
FOREIGN = re.compile("|".join([*REGISTRIES, MACHINE]))


@pytest.mark.parametrize(
    "parts",
    [("pypi", ".org"), ("files.pythonhosted", ".org"), ("deb.debian", ".org"), ("/", "root/x")],
    ids="".join,
)
def test_the_check_for_hosts_and_paths_finds_them(parts: tuple[str, str]) -> None:
    """The check below finds each kind of name."""
    assert FOREIGN.search(f"at {''.join(parts)} there is")


def test_no_file_names_a_registry_or_a_machine() -> None:
    """No file names the host of a package registry, or a path of one machine."""
    assert [
        f"{name}: {match[0]}" for name, text in texts() for match in FOREIGN.finditer(text)
    ] == []


def each_test_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the test functions of a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node


def test_every_test_has_a_docstring_of_one_line() -> None:
    """Each test has a docstring of one line, which says what is true if it passes."""
    found: list[str] = []
    for path in TESTS:
        for function in each_test_of(path):
            docstring = ast.get_docstring(function)
            if docstring is None or "\n" in docstring:
                found.append(f"{path.relative_to(ROOT)}: {function.name}")
    assert found == []


# The language: words and phrases that the documentation of asyncio does not use, with what it says.
DIALECT = {
    "(?:some|no)body": "a third party, the user; nothing, no caller",
    "who(?:m)?ever": "whatever, any",
    "who (?:is|has|asks|calls|cancels|closes|ends|keeps|leaves|takes|waits)": "code or a task that",
    "dear(?:er)?": "expensive",
    "hand(?:s|ed|ing)? (?:over|out|back|on)": "adopt, pass; yield; return; pass on",
    "hear(?:s|d)? (?:of|why)": "is notified, receives",
    "(?:let|lets|letting) go of": "drop, release",
    "(?:some turns|turns? of the loop)": "loop iterations",
    "by its own doing": "itself",
    "go(?:es|ing)? on": "continue, run on; propagate",
    "com(?:e|es|ing) (?:out|up)": "be raised, be yielded, propagate",
    "bec(?:ame|omes?) of": "how it finished",
    "be had": "is available",
    "for ever": "forever",
    "account(?:s|ed)? for": "settled",
    "amid": "during",
    "in the midst": "during, inside",
    "mended": "fixed",
    "no formality": "it finds ...",
    "short cuts?": "shortcut",
    "told apart": "distinguished",
}
# A phrase may continue in the next line of a comment, and may be part of a name.
MATCH = re.compile(
    r"(?<![^\W_])(?:{})(?![^\W_])".format("|".join(DIALECT)).replace(" ", r"[\s#*>_]+"),
    re.IGNORECASE,
)
# The files that have such words all the same, and why.
EXCEPTIONS = {
    "tests/repository/test_repository.py": "it lists them",
}


def dialect() -> dict[str, list[str]]:
    """List the matches of each file that has some."""
    matches = {name: [match[0] for match in MATCH.finditer(text)] for name, text in texts()}
    return {name: found for name, found in matches.items() if found}


@pytest.mark.parametrize(
    "text",
    ["Nobody waits.", "is dear:", "handed\n    # over", "turn of the loop", "def test_it_goes_on("],
)
def test_the_check_for_the_language_finds_words(text: str) -> None:
    """The check below finds words in any case, phrases across lines, and parts of names."""
    assert MATCH.search(text)


def test_the_language_is_that_of_asyncio() -> None:
    """No file has a word of the dialect, except those with a reason."""
    found = dialect()
    assert {name: found[name] for name in found if not name.startswith(tuple(EXCEPTIONS))} == {}

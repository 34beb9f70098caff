"""What is excluded, what pyproject.toml says, and what is said of files that do not parse."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from migrate.project import AFTER, BEFORE, make

from structgather._migrate.cli import main
from structgather._migrate.files import parsed_by

Printed = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
REMINDER = "Add structgather to the project's dependencies.\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the project, and go there."""
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


# --exclude, and [tool.structgather].


@pytest.mark.parametrize(
    "glob",
    ["moved.py", "mov*.py", "app", "app/", "app/*.py", "./app/moved.py", "**/moved.py", "app/**"],
)
@pytest.mark.parametrize("configured", [False, True], ids=["option", "pyproject"])
def test_excluded_files_are_left(project: Path, glob: str, *, configured: bool) -> None:
    """A glob leaves out files and folders, also a file that is named."""
    options = ["--exclude", glob]
    if configured:
        (project / "pyproject.toml").write_text(f"[tool.structgather]\nexclude = ['{glob}']\n")
        options = []
    (project / "else.py").write_text(BEFORE)
    assert main(["migrate", "--write", *options, "app/moved.py", "."]) == 0
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert (project / "else.py").read_text() == AFTER


@pytest.mark.parametrize("glob", ["moved", "pp", "app/m", "other/*.py", "/app"])
def test_other_files_are_not_excluded(project: Path, glob: str) -> None:
    """A glob means whole names."""
    assert main(["migrate", "--write", "--exclude", glob, "app"]) == 0
    assert (project / "app" / "moved.py").read_text() == AFTER


def test_globs_are_relative_to_the_pyproject(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the command is started does not matter for what the project excludes."""
    (project / "pyproject.toml").write_text("[tool.structgather]\nexclude = ['app/moved.py']\n")
    monkeypatch.chdir(project / "app")
    assert main(["migrate", "--check", "."]) == 0


def test_outside_the_folder_globs_are_relative_to_the_root(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--exclude` matches a file outside the current folder by its whole path."""
    path = project / "else.py"
    path.write_text(BEFORE)
    monkeypatch.chdir(project / "app")
    glob = path.relative_to(path.anchor).as_posix()
    assert main(["migrate", "--check", "--exclude", glob, "../else.py"]) == 0
    assert main(["migrate", "--check", "--exclude", "app/else.py", "../else.py"]) == 1


def test_nothing_but_excluded_files_is_exit_code_0(project: Path) -> None:
    """A hook is given the names of excluded files, and must not fail for that."""
    assert main(["migrate", "--check", "--exclude", "moved.py", "app/moved.py"]) == 0
    (project / "pyproject.toml").write_text("[tool.structgather]\nexclude = ['app']\n")
    assert main(["migrate", "--check", "app/moved.py"]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.structgather]\nexclude = 'app'\n", "exclude must be a list of strings"),
        ("[tool.structgather]\nexclude = [1]\n", "exclude must be a list of strings"),
        ("[tool.structgather]\nexcluded = []\n", "has an unknown key: excluded"),
        ("[tool.structgather\n", "pyproject.toml: "),
    ],
)
def test_what_is_wrong_in_the_pyproject_is_said(
    project: Path, capsys: Printed, text: str, said: str
) -> None:
    """A key that is not known, or a value of the wrong type, is exit code 2."""
    (project / "pyproject.toml").write_text(text)
    assert main(["migrate", "--write", "app"]) == 2
    assert said in capsys.readouterr().err
    assert (project / "app" / "moved.py").read_text() == BEFORE


# The project's imports and dependencies.


@pytest.mark.parametrize(
    ("name", "text", "depends"),
    [
        ("pyproject.toml", "[project]\ndependencies = ['structgather>=0.1']\n", True),
        ("pyproject.toml", "[dependency-groups]\nmain = ['structgather']\n", True),
        ("pyproject.toml", "[tool.poetry.dependencies]\nstructgather = '*'\n", True),
        ("pyproject.toml", "[tool.structgather]\nexclude = []\n", False),
        ("pyproject.toml", "[project]\ndependencies = ['structgather-extras']\n", False),
        ("requirements.txt", "httpx\nstructgather==0.1\n", True),
        ("requirements-dev.txt", "# structgather?\n", False),
        ("setup.py", "setup(install_requires=['structgather'])\n", True),
        ("setup.cfg", "[options]\ninstall_requires =\n    structgather\n", True),
    ],
)
def test_a_missing_dependency_is_pointed_out(
    project: Path, capsys: Printed, name: str, text: str, *, depends: bool
) -> None:
    """Where something is moved, and structgather is not among the dependencies, that is said."""
    (project / "pyproject.toml").write_text("")
    (project / name).write_text(text)
    main(["migrate", "app"])
    assert capsys.readouterr().out.endswith(REMINDER) is not depends
    main(["migrate", "app/left.py"])
    assert not capsys.readouterr().out.endswith(REMINDER)


@pytest.mark.parametrize("folder", [".", "src"])
def test_the_projects_own_packages_come_last(project: Path, folder: str) -> None:
    """The new import stands between other people's packages and the project's."""
    (project / "pyproject.toml").write_text("")
    (project / folder / "mine").mkdir(parents=True)
    imports = "import asyncio\n\nimport httpx\n\nfrom mine import one\n"
    (project / "app" / "moved.py").write_text(f"{imports}{BEFORE.partition(chr(10))[2]}")
    assert main(["migrate", "--write", "app"]) == 0
    after = "import httpx\nfrom structgather import gather_structured\n\nfrom mine import one\n"
    assert (project / "app" / "moved.py").read_text().startswith(after)


def test_a_part_of_a_namespace_may_be_of_others(project: Path) -> None:
    """It stands among other people's packages, though its name is that of the project."""
    (project / "pyproject.toml").write_text("")
    path = project / "app" / "moved.py"
    imports = "import asyncio\n\nfrom app.store import x\nfrom yarl import URL\n\n"
    path.write_text(f"{imports}from app.other import y\n{BEFORE.partition(chr(10))[2]}")
    assert main(["migrate", "--write", "app"]) == 0
    after = imports.partition("\n\n")[2].replace(
        "from yarl", "from structgather import gather_structured\nfrom yarl"
    )
    assert path.read_text().startswith(after)


@pytest.mark.parametrize("module", ["setup.py", "main.py"])
@pytest.mark.parametrize("inner", ["", "inner", "inner/most"])
def test_packages_on_the_way_to_a_file_are_its_own(project: Path, module: str, inner: str) -> None:
    """Where there is no pyproject.toml; a module that is called setup is no sign of a project."""
    folder = project / "app" / inner
    folder.mkdir(parents=True, exist_ok=True)
    for one in {folder, folder.parent, project / "app"} - {project}:
        for name in ("__init__.py", "httpx.py", module):
            (one / name).write_text("")
    path = folder / "moved.py"
    imports = "import asyncio\n\nimport httpx\n\nfrom app.other import x\n"
    path.write_text(f"{imports}{BEFORE.partition(chr(10))[2]}")
    assert main(["migrate", "--write", "app"]) == 0
    after = "import httpx\nfrom structgather import gather_structured\n\nfrom app.other import x\n"
    assert path.read_text().startswith(after)


@pytest.mark.parametrize(("tool", "key"), [("ruff", "line-length"), ("isort", "line_length")])
def test_a_long_call_is_wrapped_at_the_projects_line_length(
    project: Path, tool: str, key: str
) -> None:
    """A line that gets longer than that is split."""
    path = project / "app" / "moved.py"
    for length in (38, 37):
        path.write_text(BEFORE)
        (project / "pyproject.toml").write_text(f"[tool.{tool}]\n{key} = {length}\n")
        main(["migrate", "--write", "app"])
        assert ("    return await gather_structured(*a)\n" in path.read_text()) is (length == 38)


@pytest.mark.parametrize("length", [88, 89])
def test_the_default_line_length_is_88(project: Path, length: int) -> None:
    """Without a line length in pyproject.toml, a call longer than 88 columns is split."""
    (project / "pyproject.toml").write_text("[tool.ruff]\n")
    path = project / "app" / "moved.py"
    name = "a" * (length - 37)
    path.write_text(BEFORE.replace("(*a)", f"(*{name})"))
    main(["migrate", "--write", "app"])
    line = f"    return await gather_structured(*{name})\n"
    assert (line in path.read_text()) is (length == 88)


# Files that do not parse.


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("print 'hello'", "Python 2"),
        ("except ValueError, error:", "Python 2"),
        ("raise ValueError, 'no'", "Python 2"),
        ("x = 0777", "Python 2"),
        ("f(async=True)", "Python 3.6"),
        ("lazy import os", "Python 3.15" if sys.version_info < (3, 15) else ""),
        ("except ValueError, KeyError:", "Python 3.14" if sys.version_info < (3, 14) else ""),
        ("type Pair[T] = tuple[T, T]", "Python 3.12" if sys.version_info < (3, 12) else ""),
        ("def f(", ""),
        ("{{ cookiecutter.name }}", ""),
    ],
)
def test_the_python_that_would_parse_it_is_named(
    project: Path, capsys: Printed, line: str, python: str
) -> None:
    """A file that does not parse is named with its line, and the Python that would parse it."""
    assert parsed_by(line) == python
    (project / "app" / "old.py").write_text(f"x = 1\n{line}\n")
    assert main(["migrate", "--check", "app/old.py"]) == 0
    printed = capsys.readouterr().out
    if "does not parse" in printed:  # {{ }} does
        assert re.search(r"(?m)^app/old\.py:\d+: does not parse on Python 3\.\d+: ", printed)
        assert (f"; {python} would parse it" in printed) is bool(python)


@pytest.mark.parametrize(
    ("running", "python"), [((3, 11), "Python 3.12"), ((3, 12), ""), ((3, 13), "")]
)
def test_no_older_python_is_named(
    monkeypatch: pytest.MonkeyPatch, running: tuple[int, int], python: str
) -> None:
    """Syntax that the running Python knows is not given as the reason."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", (*running, 0, "final", 0))
        named = parsed_by("type Pair[T] = tuple[T, T]")
    assert named == python


# The console script, and the hook.


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as pip writes it, in a folder."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts["structgather"].partition(":")
    script = folder / "bin" / "structgather"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(  # noqa: S603 - itself
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_does_not_mind_what_is_in_the_folder(project: Path) -> None:
    """A `types.py` in the folder is not taken for Python's own."""
    (project / "types.py").write_text("raise SystemExit('not me')\n")
    done = command(project, "migrate", "--check", "app")
    assert done.stderr == ""
    assert done.returncode == 1


def test_the_hook_checks_the_files_that_it_is_given(project: Path) -> None:
    """The hook's entry, with the names of files behind it, fails where one can be moved."""
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    (entry,) = re.findall(r"(?m)^  entry: structgather (.*)$", hook)
    assert "- id: structgather-check\n" in hook
    assert command(project, *entry.split(), "app/left.py", "app/other.py").returncode == 0
    assert command(project, *entry.split(), "app/left.py", "app/moved.py").returncode == 1

"""What tests replace in the code that is moved beside them keeps its name, and its calls."""

from pathlib import Path

import pytest
from migrate.project import git

from structgather._migrate.cli import main

Printed = pytest.CaptureFixture[str]

BY_NAME = "from asyncio import gather\n\n\nasync def main(a):\n    await gather(*a)\n"
BY_MODULE = "import asyncio\n\n\nasync def main(a):\n    await asyncio.gather(*a)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a package with a module that imports the function, and one that imports asyncio."""
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    for name, text in (("__init__", ""), ("user", BY_NAME), ("user2", BY_MODULE)):
        (tmp_path / "src" / "pkg" / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def moved(package: Path, test: str) -> set[str]:
    """Write a test, move all files, and tell which modules of the package were moved."""
    (package / "tests" / "test_it.py").write_text(test)
    main(["migrate", "--write", "."])
    texts = {path.stem: path.read_text() for path in (package / "src" / "pkg").glob("u*.py")}
    for name, before in (("user", BY_NAME), ("user2", BY_MODULE)):
        assert texts[name] == before or "asyncio" not in texts[name]
    return {name for name, text in texts.items() if "gather_structured(*a)" in text}


@pytest.mark.parametrize(
    "line",
    [
        "with patch('pkg.user.gather', fake): ...",
        "with mock.patch('src.pkg.user.gather'): ...",
        "monkeypatch.setattr('pkg.user.gather', fake)",
        "monkeypatch.setattr(user, 'gather', fake)",
        "mocker.patch('pkg.user.gather')",
        "mocker.spy(user, 'gather')",
        "with patch.object(user, 'gather', fake): ...",
        "user.gather = fake",
        "with patch(f'{MODULE}.gather'): ...",
        "copy = MODULE; name = f'{copy}.gather'; mocker.patch(name)",
    ],
)
def test_a_name_that_is_patched_stays(package: Path, capsys: Printed, line: str) -> None:
    """The patched name keeps its import and its call, with the reason; other modules are moved."""
    test = f"from pkg import user\nMODULE = 'pkg.user'\n\ndef test(fake):\n    {line}\n"
    assert moved(package, test) == {"user2"}
    printed = capsys.readouterr().out
    assert "A test patches this name, and would no longer reach the call." in printed
    assert "src/pkg/user.py:5:11: await gather(*a)\n" in printed


@pytest.mark.parametrize(
    "line",
    [
        "with patch('pkg.user2.asyncio', fake): ...",
        "with patch('pkg.user2.asyncio.gather', fake): ...",
        "monkeypatch.setattr(user2, 'asyncio', fake)",
        "monkeypatch.setattr(user2.asyncio, 'gather', fake)",
        "with patch.object(pkg.user2, 'asyncio', fake): ...",
        "with patch('asyncio.gather', fake): ...",
        "with patch('asyncio.tasks.gather', fake): ...",
        "monkeypatch.setattr(asyncio, 'gather', fake)",
        "asyncio.gather = fake",
    ],
)
def test_a_module_that_is_patched_stays(package: Path, line: str) -> None:
    """Calls through a patched asyncio stay, in the module that is meant or is tested there."""
    test = f"import asyncio\nimport pkg.user2\nfrom pkg import user2\n\ndef test():\n    {line}\n"
    assert moved(package, test) == {"user"}


@pytest.mark.parametrize(
    "line",
    [
        "with patch('pkg.user.main'): ...",
        "with patch('other.user.gather'): ...",
        "with patch('gather'): ...",
        "print('pkg.user.gather', getattr(user, 'gather_all'))",
        "with patch('asyncio.sleep'): ...",
        "self.gather = fake",
        "modules()['pkg.user'].gather = fake",
        "monkeypatch.setattr(modules(), 'gather', fake)",
        "one = two; two = one; patch(one)",
        "path = f'{path}.gather'; patch(path)",
    ],
)
def test_what_is_not_patched_is_moved(package: Path, line: str) -> None:
    """Other names, other modules, and strings that replace nothing do not matter."""
    assert moved(package, f"import user3\n\ndef test(self):\n    {line}\n") == {"user", "user2"}


def test_a_part_of_asyncio_that_is_patched_keeps_the_import(package: Path) -> None:
    """What is patched through a module's own name for asyncio must still be there."""
    test = "def test():\n    with patch('pkg.user2.asyncio.sleep'): ...\n"
    (package / "tests" / "test_it.py").write_text(test)
    main(["migrate", "--write", "."])
    after = (package / "src" / "pkg" / "user2.py").read_text()
    assert after.startswith("import asyncio\n\nfrom structgather import gather_structured\n")


def test_a_library_of_the_same_name_is_another_module(package: Path) -> None:
    """`from user2.asyncio import x` means no name of a file that is called user2.py."""
    assert moved(package, "from user2.asyncio.client import gather\n") == {"user", "user2"}


def test_files_that_are_not_given_are_not_read(package: Path) -> None:
    """What is given together is read together, and nothing else."""
    (package / "tests" / "test_it.py").write_text("patch('pkg.user.gather')\n")
    main(["migrate", "--write", "src/pkg/user.py"])
    assert "gather_structured" in (package / "src" / "pkg" / "user.py").read_text()


def test_a_file_in_the_folder_that_does_not_parse_is_no_obstacle(package: Path) -> None:
    """The others are read all the same."""
    (package / "tests" / "broken.py").write_text("patch('pkg.user.gather'\n")
    assert moved(package, "x = 1\n") == {"user", "user2"}


def test_what_is_printed_can_be_applied(package: Path, capsys: Printed) -> None:
    """All of it, the report included, may be piped into `git apply`."""
    git("init", "-q")
    main(["migrate", "src"])
    (package / "change.diff").write_text(capsys.readouterr().out)
    git("apply", "change.diff")
    assert "gather_structured" in (package / "src" / "pkg" / "user.py").read_text()

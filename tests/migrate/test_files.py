"""`python -m structgather migrate`: which files it reads, and what one takes from another."""

from pathlib import Path

import pytest
from migrate.project import AFTER, BEFORE, git, make

from structgather._migrate.cli import main

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the project, and go there."""
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


def migrated(folder: Path) -> set[str]:
    """Run it, and list the files that were moved."""
    main(["migrate", "--write", str(folder)])
    written = AFTER.encode()
    moved = (path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == written)
    return {str(path.relative_to(folder)) for path in moved}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with all that is not to be touched."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.py",
        "sub/b.py",
        "sub/readme.md",
        ".hidden/c.py",
        "venv/lib/d.py",
        "venv/pyvenv.cfg",
        "sub/__pycache__/e.py",
        "build/f.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(BEFORE)
    return tmp_path


def test_git_says_what_is_the_users_own(tree: Path) -> None:
    """What git ignores is left alone; what it does not know yet is not."""
    git("init", "-q")
    (tree / ".gitignore").write_text("build/\nvenv/\n__pycache__/\n")
    git("add", "a.py")
    assert migrated(tree) == {"a.py", "sub/b.py", ".hidden/c.py"}


def test_without_git_environments_and_hidden_folders_are_left(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no git, hidden folders, caches and virtual environments are left alone."""
    monkeypatch.setenv("PATH", "")
    assert migrated(tree) == {"a.py", "sub/b.py", "build/f.py"}


def test_what_is_named_is_taken(tree: Path) -> None:
    """A file or a folder that is named is taken although git ignores it."""
    git("init", "-q")
    (tree / ".gitignore").write_text("build/\nvenv/\n")
    main(["migrate", "--write", "venv/lib/d.py", "sub/readme.md", "build"])
    for name in ("venv/lib/d.py", "sub/readme.md", "build/f.py"):
        assert (tree / name).read_text() == AFTER


def test_a_deleted_file_that_git_still_knows_is_no_error(tree: Path) -> None:
    """A file that is gone, but still in git's index, is passed over."""
    git("init", "-q")
    git("add", "a.py", "sub/b.py")
    (tree / "a.py").unlink()
    assert main(["migrate", "sub", "."]) == 0


def test_links_in_a_folder_are_passed_over(tmp_path: Path, project: Path) -> None:
    """What a link points to is not written through it, be it a file, a folder, or not there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs.py").write_text(BEFORE)
    app = project / "app"
    (app / "theirs.py").symlink_to(outside / "theirs.py")
    (app / "folder").symlink_to(outside)
    (app / "gone.py").symlink_to(outside / "nowhere.py")
    (app / "again.py").symlink_to(app / "moved.py")
    for repository in (False, True):
        if repository:
            git("init", "-q")
            git("add", "app")
        (app / "moved.py").write_text(BEFORE)
        assert main(["migrate", "--write", "app"]) == 0
        assert (app / "moved.py").read_text() == AFTER
        assert (outside / "theirs.py").read_text() == BEFORE


def test_a_repository_in_a_repository_is_left(tree: Path) -> None:
    """A submodule, or another repository in a folder, is a project of its own."""
    git("init", "-q")
    (tree / ".gitignore").write_text("venv/\n__pycache__/\nbuild/\n")
    git("init", "-q", "inner")
    (tree / "inner" / "own.py").write_text(BEFORE)
    assert migrated(tree) == {"a.py", "sub/b.py", ".hidden/c.py"}
    assert migrated(tree / "inner") == {"own.py"}


def test_in_a_hook_of_gits_the_named_folder_counts(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What git tells its hooks about another repository does not say what is ignored in this."""
    git("init", "-q")
    (tree / ".gitignore").write_text("build/\nvenv/\n__pycache__/\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    git("init", "-q", str(elsewhere))
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(elsewhere / ".git" / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(elsewhere))
    assert migrated(tree) == {"a.py", "sub/b.py", ".hidden/c.py"}


@pytest.mark.parametrize(
    ("name", "other", "stays"),
    [
        ("moved.py", "from app.moved import gather\n", True),
        ("moved.py", "from .moved import gather as g\n", True),
        ("moved.py", "from .moved import *\n", True),
        ("moved.py", "from . import moved as m\nm.gather()\n", True),
        ("moved.py", "import app.moved\napp.moved.gather()\n", True),
        ("__init__.py", "from app import gather\n", True),
        ("__init__.py", "", False),
        ("moved.py", "from .others import gather\n", False),
        ("moved.py", "from .moved import main  # gather\n", False),
        ("moved.py", "def gather(\n", False),
    ],
)
def test_what_another_module_imports_stays(
    project: Path, name: str, other: str, *, stays: bool
) -> None:
    """The name stays in a module from which another one of the run takes it."""
    path = project / "app" / name
    path.write_text("from asyncio import gather\n\n\nasync def main(a):\n    await gather(*a)\n")
    (project / "app" / "other.py").write_text(other)
    main(["migrate", "--write", "app"])
    assert "await gather_structured(*a)" in path.read_text()
    assert ("from asyncio import gather\n" in path.read_text()) is stays

"""What a project says of itself: `[tool.structgather]`, its line length, packages, dependencies."""

from __future__ import annotations

import fnmatch
import functools
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

_ROOTS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_DEPENDS = re.compile(r"(^[ \t]*|[\"'])structgather(?![\w.-])", re.MULTILINE)


class ConfigError(Exception):
    """What pyproject.toml says can't be read, or is not known."""


@dataclass(frozen=True, slots=True)
class Config:
    """What is known of the project in a folder."""

    root: Path | None = None
    #: Globs of files and folders that are left alone, relative to the root.
    exclude: list[str] = field(default_factory=list[str])
    #: How long its lines are, for the tool that formats them.
    width: int = 88
    #: Whether structgather is among its dependencies.
    depends: bool = False
    #: Packages that are the project's own, where it has no root to look into.
    own: frozenset[str] = frozenset()

    def is_own(self, package: str) -> bool:
        """Tell whether a package is the project's own."""
        bases = (self.root, self.root / "src") if self.root else ()
        return package in self.own or any(
            (one / package).is_dir() or (one / f"{package}.py").exists() for one in bases
        )

    def excludes(self, path: Path) -> bool:
        """Tell whether a file is to be left alone."""
        return is_excluded(path, self.root or Path(), self.exclude)


def is_excluded(path: Path, root: Path, globs: list[str]) -> bool:
    """Tell whether a glob means a file, or a folder that it is in.

    A glob without a slash means a name at any depth; others are relative to the root.
    """
    try:
        parts = path.resolve().relative_to(root.resolve()).parts
    except ValueError:
        parts = path.resolve().parts[1:]
    above = ["/".join(parts[: number + 1]) for number in range(len(parts))]
    for glob in (glob.rstrip("/").removeprefix("./") for glob in globs):
        variants = {glob, glob.replace("**/", ""), glob.removesuffix("/**")}
        names = above if "/" in glob else parts
        if any(fnmatch.fnmatchcase(name, one) for name in names for one in variants):
            return True
    return False


@functools.cache
def of(folder: Path) -> Config:
    """Return what is known of the project that a folder is in.

    Raises:
        ConfigError: Its pyproject.toml can't be used.
    """
    for root in (folder, *folder.parents):
        is_package = (root / "__init__.py").exists()  # whose setup.py is a module of it
        if not is_package and any((root / name).exists() for name in _ROOTS):
            return _read(root)
    packages = [one for one in (folder, *folder.parents) if (one / "__init__.py").exists()]
    top = packages[-1] if packages else folder
    return Config(own=frozenset({top.name, top.parent.name}))  # or a namespace around it


def _read(root: Path) -> Config:
    path = root / "pyproject.toml"
    try:
        found = tomllib.loads(path.read_text("utf-8") if path.exists() else "")
    except (OSError, ValueError) as error:
        message = f"{path}: {error}"
        raise ConfigError(message) from error
    tool: dict[str, dict[str, Any]] = found.get("tool", {})
    ours = tool.get("structgather", {})
    exclude = cast("list[str]", ours.get("exclude", []))
    wrong = ""
    if unknown := sorted(ours.keys() - {"exclude"}):
        wrong = f"has an unknown key: {', '.join(unknown)}"
    elif type(exclude) is not list or {type(glob) for glob in exclude} - {str}:
        wrong = "exclude must be a list of strings"
    if wrong:
        message = f"{path}: [tool.structgather] {wrong}"
        raise ConfigError(message)
    names = {"ruff": "line-length", "black": "line-length", "isort": "line_length"}
    widths = (tool.get(name, {}).get(key) for name, key in names.items())
    width = next((one for one in widths if isinstance(one, int)), 88)
    return Config(root, exclude, width, _depends(root))


def _depends(root: Path) -> bool:
    files = [*root.glob("*requirements*.txt"), *root.glob("requirements/*.txt")]
    files += [root / name for name in ("pyproject.toml", "setup.py", "setup.cfg", "Pipfile")]
    return any(
        _DEPENDS.search(path.read_text("utf-8", "replace")) for path in files if path.exists()
    )

"""The API reference agrees with the signatures and docstrings."""

import inspect
import re
from typing import Any

import pytest

import structgather
from structgather._rate_limit import Admission
from support.documents import ROOT

PAGE = (ROOT / "structgather" / "README.md").read_text("utf-8")
SECTIONS = {
    name: section
    for heading, section in re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE)
    for name in heading.split(", ")
}
#: Classes that users do not create.
RESULTS = {"AsCompleted", "FirstN", "Gathered"}
CLASSES = [name for name in structgather.__all__ if isinstance(getattr(structgather, name), type)]


def signature(name: str, value: Any) -> str:
    """Return `name(arguments)` without types."""
    found = inspect.signature(value)
    parameters = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    without_self = [p for p in parameters if p.name != "self"]
    bare = found.replace(parameters=without_self, return_annotation=found.empty)
    return f"{name}{bare}"


def members(cls: type) -> dict[str, Any]:
    """Return the public members that a class of the package defines."""
    return {
        name: value
        for base in cls.__mro__
        if base.__module__.startswith("structgather")
        for name, value in vars(base).items()
        if not name.startswith("_")
    }


def named_in(docstring: str | None, part: str) -> set[str]:
    """Return the names that a section of a docstring, "Args" or "Raises", describes."""
    section = re.search(rf"(?ms)^{part}:\n(.*?)(?=^\S|\Z)", inspect.cleandoc(docstring or ""))
    names = re.findall(r"(?m)^    (\*?\w[\w., ]*):", section[1]) if section else []
    return {name for several in names for name in several.split(", ")}


def test_every_public_name_has_a_section() -> None:
    """Each name of `__all__` has a section, and there is no other section."""
    assert set(SECTIONS) == set(structgather.__all__)


@pytest.mark.parametrize(
    "name", [n for n in structgather.__all__ if n not in RESULTS | {"Outcome"}]
)
def test_signatures_are_those_of_the_code(name: str) -> None:
    """Functions and classes are shown with their arguments and defaults."""
    assert f"    {signature(name, getattr(structgather, name))}\n" in SECTIONS[name]


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_member_is_described(name: str) -> None:
    """Each public attribute has a row, and each method one with its arguments."""
    for member, value in members(getattr(structgather, name)).items():
        shown = signature(member, value) if inspect.isfunction(value) else member
        assert f"| `.{shown}` |" in SECTIONS[name]


def test_call_and_settle_are_described() -> None:
    """The admission of a call, and its settlement, have other names in the reference."""
    section = SECTIONS["RateLimit"]
    assert f"`{signature('limit', structgather.RateLimit.__call__)}`" in section
    assert f"`{signature('call.settle', Admission.settle)}`" in section


@pytest.mark.parametrize("name", structgather.__all__)
def test_arguments_and_errors_are_those_of_the_docstrings(name: str) -> None:
    """Docstrings describe every argument; the page has every argument and error of theirs."""
    value = getattr(structgather, name)
    described = [value, *members(value).values()] if name in CLASSES else [value]
    for each in described:
        if not (inspect.isfunction(each) or inspect.isclass(each)):
            continue
        arguments = named_in(each.__doc__, "Args")
        if inspect.isfunction(each):
            parameters = inspect.signature(each).parameters.values()
            names = {f"{'*' * (p.kind is p.VAR_POSITIONAL)}{p.name}" for p in parameters}
            if len(names - {"self"}) > 1 or arguments:
                assert arguments == names - {"self"}
        for found in named_in(each.__doc__, "Raises"):
            assert f"`{found}`" in SECTIONS[name], found
        for found in arguments:
            assert re.search(rf"[`(*, ]{re.escape(found)}[`),=]", SECTIONS[name]), found


def test_constructors_name_arguments_as_docstrings_do() -> None:
    """The arguments of `RateLimit` are those that its docstring describes."""
    parameters = inspect.signature(structgather.RateLimit).parameters
    assert named_in(structgather.RateLimit.__doc__, "Args") == set(parameters)

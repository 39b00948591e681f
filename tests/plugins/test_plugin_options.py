"""The options of a plugin: the parameters of its class, checked as the persona is bound."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from personakit import ConfigError, Persona, PersonaError, PluginError, hookimpl
from personakit.plugins.options import make, parameters
from personakit.testing import persona, runner

if TYPE_CHECKING:
    from collections.abc import Sequence as OnlyForTheTypeChecker


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclass
class Rule:
    name: str
    weight: float = 1.0


@dataclass(eq=False)
class Plugin:
    """Has an option of each kind; none is needed but `name`."""

    name: str
    words: list[str] = field(default_factory=lambda: ["a"])
    pair: tuple[int, int] = (0, 0)
    count: int = 1
    share: float = 0.5
    strict: bool = False
    kind: Literal["soft", "hard"] = "soft"
    level: Level = Level.LOW
    file: Path | None = None
    rule: Rule = field(default_factory=lambda: Rule("none"))
    rules: dict[str, Rule] = field(default_factory=dict)
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    anything: Any = None
    shared: ClassVar[int] = 1
    hidden: int = field(default=0, init=False)

    @hookimpl
    def chat(self) -> None: ...


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        ("words", ["x", "y"], ["x", "y"]),
        ("words", [], []),
        ("pair", [1, 2], (1, 2)),
        ("count", 3, 3),
        ("share", 1, 1.0),
        ("strict", True, True),
        ("kind", "hard", "hard"),
        ("level", "high", Level.HIGH),
        ("file", "a/b.txt", Path("a/b.txt")),
        ("file", None, None),
        ("rule", {"name": "r", "weight": 2}, Rule("r", 2.0)),
        ("rules", {"x": {"name": "r"}}, {"x": Rule("r")}),
        ("percent", 100, 100),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_an_option_has_the_type_of_its_parameter(option: str, given: Any, value: Any) -> None:
    made = make("plugin 'p'", Plugin, {"name": "n", option: given})
    assert getattr(made, option) == value
    assert type(getattr(made, option)) is type(value)


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("words", "x", 'array, found "x"'),
        ("words", ["x", 1], r"\[1\]: .*string, found 1"),
        ("pair", [1], r"\[1\]: Field required"),
        ("count", "3", 'integer, found "3"'),
        ("count", 3.5, "integer.*found 3.5"),
        ("count", True, "integer, found true"),
        ("strict", "yes", 'boolean, found "yes"'),
        ("strict", 1, "boolean, found 1"),
        ("kind", "mild", "'soft' or 'hard', found \"mild\""),
        ("level", "mild", "'low' or 'high', found \"mild\""),
        ("file", 3, "string, found 3"),
        ("rule", {"weight": 1}, r"\[name\]: Field required"),
        ("rule", {"name": "r", "weight": "heavy"}, r"\[weight\]: .*number, found \"heavy\""),
        ("percent", 101, "less than or equal to 100, found 101"),
    ],
)
def test_an_option_of_another_type(option: str, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^plugin 'p', option '{option}': .*{message}"):
        make("plugin 'p'", Plugin, {"name": "n", option: given})


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make("plugin 'p'", Plugin, {"word": ["x"], "zzz": 1, "count": "many", "hidden": 1})
    faults = str(caught.value).splitlines()
    assert faults[0] == "plugin 'p' has no option 'word'; did you mean 'words'?"
    assert faults[1].startswith("plugin 'p' has no option 'zzz' (it has: name, words, pair, count")
    assert faults[2].startswith("plugin 'p' has no option 'hidden'")
    assert faults[3] == "plugin 'p' needs the option 'name'"
    assert faults[4].startswith("plugin 'p', option 'count'")
    assert len(faults) == 5


def test_options_left_out_have_their_defaults_and_are_not_shared() -> None:
    one, two = (make("p", Plugin, {"name": "n"}) for _ in range(2))
    assert one.words == ["a"]
    assert one.words is not two.words


def test_a_plugin_may_change_its_options_but_not_the_persona_s() -> None:
    given = {"name": "n", "words": ["x"], "anything": {"a": ["b"]}}
    made = make("p", Plugin, given)
    made.words.append("y")
    made.anything["a"].append("c")
    assert given == {"name": "n", "words": ["x"], "anything": {"a": ["b"]}}


class WithInit:
    """A plain class: the parameters of `__init__` are the options."""

    def __init__(self, first: int, *rest: Any, untyped=None, last: str = "z", **more: Any) -> None:  # type: ignore[no-untyped-def]
        self.values = (first, rest, untyped, last, more)


class WithoutInit:
    @hookimpl
    def chat(self) -> None: ...


def test_a_plain_class() -> None:
    assert list(parameters(WithInit)) == ["first", "untyped", "last"]
    made = make("p", WithInit, {"first": 1, "untyped": ["a"]})
    assert made.values == (1, (), ["a"], "z", {})
    with pytest.raises(ConfigError, match="has no option 'more'"):
        make("p", WithInit, {"first": 1, "more": 1})


@pytest.mark.parametrize("target", [WithoutInit, WithoutInit(), pytest])
def test_a_plugin_without_options(target: Any) -> None:
    make("plugin 'p'", target, {})
    with pytest.raises(
        ConfigError, match=r"(has no option 'x' \(it has: none\)|accepts no options, found x)"
    ):
        make("plugin 'p'", target, {"x": 1})


@dataclass
class Checks:
    rate: float = 1.0
    file: str = ""

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError("the rate must be above 0")
        if self.file:
            raise FileNotFoundError(self.file)

    @hookimpl
    def chat(self) -> None: ...


def test_a_class_may_check_its_options() -> None:
    with pytest.raises(ConfigError, match=r"^plugin 'p': the rate must be above 0") as caught:
        make("plugin 'p'", Checks, {"rate": 0})
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_class_that_cannot_be_made_is_a_broken_plugin(install: Callable[..., None]) -> None:
    install(checks=Checks)
    who = persona(plugins=[{"checks": {"file": "gone.txt"}}])
    with pytest.raises(
        PluginError, match=r"plugin 'checks' \(of acme 1.0\).*FileNotFoundError"
    ) as e:
        runner()[0].run(who)
    assert isinstance(e.value.__cause__, FileNotFoundError)
    assert e.value.plugin == "checks"


class NotForYaml:
    """A class that pydantic knows nothing of."""


@dataclass
class OddTypes:
    good: int = 0
    words: OnlyForTheTypeChecker[str] = ()
    client: NotForYaml | None = None

    @hookimpl
    def chat(self) -> None: ...


@pytest.mark.parametrize(("option", "given"), [("words", ["x"]), ("client", {})])
def test_a_type_that_cannot_be_checked_is_an_error_when_it_is_needed(
    option: str, given: Any
) -> None:
    with pytest.raises(
        ConfigError, match=f"option '{option}': its type cannot be used at run time"
    ):
        make("plugin 'p'", OddTypes, {option: given})
    assert make("plugin 'p'", OddTypes, {"good": 1}).good == 1


def test_errors_point_into_the_persona(install: Callable[..., None]) -> None:
    install(plugin=Plugin)
    text = "system: You.\nplugins:\n  - plugin: {name: n}\n  - use: plugin\n    options: {nam: n}\n"
    with pytest.raises(PersonaError) as caught:
        runner()[0].run(Persona.parse(text, "who.yaml"))
    first, second = caught.value.problems
    assert (first.path, first.line, first.column) == ("who.yaml", 5, 15)
    assert "has no option 'nam'; did you mean 'name'?" in first.message
    assert (second.path, second.line, second.column) == ("who.yaml", 4, 5)
    assert "needs the option 'name'" in second.message

"""The shortcut around the meter: the same texts and the same errors, for less."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import personakit
from personakit import Config, Persona, PersonakitError, Request, Runner
from personakit.testing import persona, runner

# The first render is metered, and the second one compiles the shortcut.
TIMES = 4


def outcome(render: Callable[[], Any]) -> str:
    """Return the texts of a request, or the error, with what kind it is."""
    try:
        return repr([(message.role, message.content) for message in render().messages])
    except PersonakitError as error:
        return f"{type(error).__name__}: {error}"


def outcomes(
    found: Persona,
    values: dict[str, Any],
    prompt: str | None = None,
    *,
    using: Runner | None = None,
) -> list[str]:
    """Return what each of a few renders gives."""
    using = using or runner()[0]
    return [outcome(lambda: using.render(found, prompt, variables=values)) for _ in range(TIMES)]


def calls(function: Callable[[], Any]) -> int:
    """Return the number of calls of Python functions that a function makes."""
    made = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return made


def saves(template: str, values: dict[str, Any] | None = None, prompt: str | None = None) -> bool:
    """Tell whether a later render makes far fewer calls than the first; all must be the same."""
    values = {**VALUES} if values is None else values
    found = persona(template, variables=_declared(values))
    using = runner()[0]
    using.plugins.installed()
    using.catalog.compiled(found)

    def render() -> Request:
        return using.render(found, prompt, variables=values)

    first, texts = calls(render), [outcome(render) for _ in range(TIMES)]
    assert len(set(texts)) == 1, texts
    return calls(render) < first / 2


def _declared(values: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        bool: "boolean", int: "integer", float: "number", list: "array", tuple: "array",
        dict: "object",
    }  # fmt: skip
    return {
        name: {"default": None}
        if value is None
        else {"type": kinds.get(type(value), "string"), "required": True}
        for name, value in values.items()
    }


VALUES: dict[str, Any] = {
    "s": "Ada", "t": "two words", "n": 3, "f": 2.5, "b": True, "e": "",
    "l": ["b", "a", "c"], "m": [1, "x", 2.5], "d": {"name": "Zoe", "age": 7, "city": {"in": "FR"}},
    "r": [{"k": "one", "v": [1, 2]}, {"k": "two", "v": []}],
}  # fmt: skip

SHORT = [
    "{{ s }}{{ n }}{{ f }}{{ b }}{{ e }}",
    "{% if s %}a{% elif n %}b{% else %}c{% endif %}{% if not e %}d{% endif %}",
    "{% for x in l %}- {{ x }}\n{% else %}none{% endfor %}",
    "{% for x in l %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for x in m if x is string %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 'a' %}{% continue %}{% endif %}{{ x }}{% break %}{% endfor %}",
    "{% for x in ['p', 'q'] %}{{ x }}{% endfor %}{% for i in (1, 2) %}{{ i }}{% endfor %}",
    "{% for y in r %}{{ y.k }}:{% for x in y.v %} {{ x }}{% endfor %};{% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(n, 9, 2) %}{{ i }}{% endfor %}",
    "{% for c in s %}{{ c }}{{ loop.index }}{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}{{ v if v is not mapping }}{% endfor %}",
    "{% for k in d.keys() %}{{ k }}{% endfor %}{% for k in d.values() %}.{% endfor %}",
    "{{ d.name }} {{ d['age'] }} {{ d.city['in'] }} {{ l[0] }} {{ l[-1] }} {{ s[0] }}{{ s[1:] }}",
    "{{ d.zzz is defined }} {{ d.zzz | default('none') }}"
    " {{ d.zz | d('x') }}{{ e | d('x', true) }}",
    "{{ s | upper | lower | title | trim | capitalize }}"
    " {{ t | replace('o', '0') }}{{ s | string }}",
    "{{ l | join(', ') }} {{ m | join }} {{ l | first }} {{ l | last }}"
    " {{ l | length }}{{ s | count }}",
    "{{ r | map(attribute='k') | join(', ') }} {{ r | join('-', attribute='k') }}",
    "{{ l | sort | join }} {{ f | round }} {{ f | round(1) }} {{ f | int }} {{ '42' | int }}",
    "{{ d | tojson }} {{ l | tojson(indent=2) }} {{ s | tojson }} {{ b | tojson }}",
    "{{ s.upper() }} {{ s.lower() }} {{ t.title() }} {{ t.strip() }} {{ s.capitalize() }}",
    "{{ s ~ n ~ f ~ '!' ~ b }} {{ s + t }} {{ n + 1 }} {{ n * 2 - 1 }} {{ n / 2 }} {{ n // 2 }}",
    "{{ n % 2 }} {{ -n }} {{ +f }} {{ 1 + n * f }}",
    "{{ n > 2 and n < 5 or b }} {{ 1 < n <= 3 }} {{ s != t }} {{ 'A' in s }} {{ 'a' not in l }}",
    "{{ n in [1, 2, 3] }} {{ s in ('Ada', 'Bob') }} {{ s != none }} {{ n == none }}",
    "{{ n is odd }} {{ n is even }} {{ n is number }} {{ s is string }} {{ d is mapping }}",
    "{{ b is true }} {{ b is false }} {{ b is boolean }} {{ f is float }} {{ n is integer }}",
    "{{ s is none }} {{ s is not none }} {{ s is undefined }}",
    "{{ m is iterable }} {{ n is iterable }} {{ l is sequence }} {{ n is divisibleby 3 }}",
    "{{ s.startswith('A') }} {{ s.endswith('a') }} {{ s.replace('d', 'n') }} {{ ', '.join(l) }}",
    "{{ t.split() | join('/') }} {{ t.split('o') | last }}"
    " {% for w in t.split() %}{{ w }}{% endfor %}",
    "{{ '%s: %d of %.1f%%' | format(s, n, f) }} {{ t | wordcount }} {{ -n | abs }}",
    "{{ r[0].v | sum }} {{ r[0].v | min }} {{ r[0].v | max }} {{ l | list | length }}",
    "{% set x = s ~ '!' %}{{ x }}{% set y = x | upper %}{{ y }}{{ x if y else n }}",
    "{% set x = s %}{% if n %}{% set x = t %}{% endif %}{{ x }}",
    "{% set x = 1 %}{% for y in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{{ s }}{% set s = 'changed' %}{{ s }}",
    "{% with x = s, y = n %}{{ x }}{{ y }}{% endwith %}",
    "{% raw %}{{ s }}{% endraw %}{# no #}{{ '{{' }}{{ 'a' 'b' }}{{ true }}{{ 1.5 }}",
    "  {% if b %}\n  indented\n  {% endif %}\n{%- if b -%} \n tight {%- endif %}\n",
]  # fmt: skip


@pytest.mark.parametrize("template", SHORT)
def test_what_is_usual_is_rendered_the_short_way(template: str) -> None:
    assert saves(template)


METERED = [
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(s) }}",

    "{{ l }}", "{{ d }}", "{{ [s, n] }}", "{{ {'a': s} }}", "{{ (1, 2) }}", "{{ l[1:] }}",
    "{{ l | map('upper') | join }}", "{{ l | select('string') | list }}", "{{ d | items | list }}",
    "{{ l | reverse | join }}", "{{ r | groupby('k') | length }}", "{{ [n, n] | max }}",
    "{{ s * 3 }}", "{{ n ** 2 }}", "{{ '%s!' % s }}", "{{ s.count('A') }}",
    "{{ l | min }} {{ r | sum(attribute='zz') if e }}", "{{ '%9s' | format(s) }}",
    "{{ s.replace('A', 'B', 1) }} {{ t.split('o', 1) | join }}", "{{ t.split() == ['two'] }}",
    "{% set q %}{{ s }}{% endset %}{{ q }}", "{% filter upper %}{{ s }}{% endfilter %}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}", "{{ dict(a=1).a }}",
    "{% for i in l recursive %}{{ i }}{% endfor %}", "{{ l == ['b', 'a', 'c'] }}",
    "{{ l < ['c'] }}",
    "{{ s | center(20) }}", "{{ t | wordwrap(4) }}", "{{ l | sort == l }}",
    "{{ d['zzz'] is defined }}",
    "{{ l | sort(reverse=true) | join }}", "{{ 10 ** 20 }}", "{{ '9' * 30 | int }}",
    "{{ l is eq(l) }}",
    "{% for k, v in r[0].items() %}{{ k }}{{ v }}{% endfor %}",

    "{% for p in d.items() %}{{ p }}{% endfor %}",
]  # fmt: skip


@pytest.mark.parametrize("template", METERED)
def test_anything_else_is_rendered_all_the_same(template: str) -> None:
    found = outcomes(persona(template, variables=_declared(VALUES)), VALUES)
    assert len(set(found)) == 1
    assert found[0].startswith("[")


WRONG = [
    "{{ d.zzz }}", "{{ d.zzz.y }}", "{{ d['zzz'] }}", "{{ l[7] }}", "{{ n.real.x }}", "{{ s.zzz }}",
    "{{ none }}", "{{ s ~ none }}", "{{ n + s }}", "{{ n / 0 }}", "{{ l | join(none) }}",
    "{{ [] | first }}", "{{ n | upper ~ d.zzz }}", "{{ d.zzz > 1 }}",
    "{% for x in n %}{% endfor %}",
    "{% for a, b in l %}{% endfor %}", "{{ d.items }}", "{{ s.upper }}", "{{ loop }}", "{{ self }}",
    "{% for i in range(s) %}{% endfor %}", "{% for i in range(10 ** 9) %}{% endfor %}",
    "{% for i in range(1000000) %}{% endfor %}", "{% for i in range(1, 9, 0) %}{% endfor %}",
    "{% set range = 3 %}{% for i in range(3) %}{% endfor %}",
    "{{ d.zzz | upper }}", "{{ n | length }}", "{{ s.__class__ }}", "{{ d.__class__ }}",
    "{{ s['__class__'] }}", "{% for x in l %}{{ loop._iterable }}{% endfor %}", "{{ n < s }}",
    "{% for x in l %}{{ loop }}{% endfor %}", "{{ l | join(attribute='__class__') }}",
    "{{ r | map(attribute='zzz') | join }}", "{{ '%99999999999d' is odd }}",
    "{{ '%99999999d' is divisibleby 1 }}", "{{ '%99999999d' is even }}",
]  # fmt: skip


@pytest.mark.parametrize("template", WRONG)
def test_a_mistake_is_the_same_mistake_every_time(template: str) -> None:
    found = outcomes(persona(template, variables=_declared(VALUES)), VALUES)
    assert len(set(found)) == 1
    assert found[0].startswith("TemplateError: ")


class Colour(StrEnum):
    RED = "red"


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper() + "!"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ x }}", Loud("a")), ("{{ x | upper }}", Loud("a")), ("{{ x }}", Colour.RED),
        ("{{ x | join }}", [Loud("a")]), ("{% for y in x %}{{ y }}{% endfor %}", (Loud("a"), "b")),
        ("{{ x.a }}", {"a": Loud("a")}), ("{{ x[1] }}", {1: "one"}), ("{{ x.a }}", {"a": None}),
        ("{{ x }}", None), ("{% if x %}{{ x }}{% endif %}{{ x is none }}", None),
        ("{{ x }}", 10**400), ("{{ x + 1 }}", 2**70), ("{{ x }}", True),
        ("{{ x }}", 1e308), ("{{ x * x }}", 1e308), ("{{ x | int }}", 1e308), ("{{ x }}", -0.0),
        ("{{ x.y }}", {"y": {1, 2}}),
        ("{{ x.y | join }}", {"y": {1}}),
        ("{{ x.y }}", {"y": object}),
        ("{{ x | length }}", ({"a": 1},)), ("{{ x }}", "\ud800"), ("{{ x | upper }}", "ßß"),
        ("{{ x | tojson }}", {"a": (1, [2, {"b": None}])}), ("{{ x | tojson }}", [1e400, "é\n"]),
    ("{{ x | tojson }}", {"a": Loud("a")}), ("{{ x | first }}", []), ("{{ x | sort | join }}", ["B",
    "a"]),
        ("{{ x | sort | join }}", [1, "a"]),
        ("{{ x[0][0] }}", [[1]]),
        ("{{ x in ['a', 1] }}", True),
    ],
)  # fmt: skip
def test_any_value_gives_the_same(template: str, value: Any) -> None:
    assert (
        len(
            set(
                outcomes(
                    persona(template, variables=_declared({"x": value})),
                    {"x": value} if value is not None else {},
                )
            )
        )
        == 1
    )


LARGE = [
    ("{% for a in l %}{% for b in l %}{% for c in l %}.{% endfor %}{% endfor %}{% endfor %}", 90),
    ("{% for a in l %}{% for b in l %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}", 700),
    ("{% for a in l %}{{ s }}{% endfor %}", 500),
    ("{% for a in l %}" + "x" * 5000 + "{% endfor %}", 500),
    ("{% for a in l %}{% if s | upper == s %}{% endif %}{% endfor %}", 3000),
    ("{% set s = s ~ s %}" * 30 + "{{ s }}", 1),
    ("{% set s = s | replace('x', s) %}" * 5 + "{{ s }}", 1),
    ("{% for a in l %}{{ l | join(s) }}{% endfor %}", 300), ("{{ l | join(s) }}", 300),
    ("{% for a in l %}{% for b in l %}{{ l | tojson | length }}{% endfor %}{% endfor %}", 200),
    ("{% for a in l %}{% for b in l | sort %}{% endfor %}{% endfor %}", 2000),
]  # fmt: skip


@pytest.mark.parametrize(("template", "turns"), LARGE)
def test_what_is_too_much_is_refused_every_time(template: str, turns: int) -> None:
    values = {"l": [f"{n:04}" for n in range(turns)], "s": "x" * 3000}
    found = outcomes(persona(template, variables=_declared(values)), values)
    assert len(set(found)) == 1
    assert "limit is" in found[0]


def test_a_large_text_is_no_excess() -> None:
    assert saves(
        "{{ s }}{% for x in l %}{{ x }}{% endfor %}", {"s": "x" * 300_000, "l": ["a"] * 500}
    )


# --- partials and parents -------------------------------------------------------------------------


def test_partials_and_parents_are_part_of_the_shortcut(tmp_path: Path) -> None:
    (tmp_path / "partials").mkdir()
    files = {
        "partials/item.md": "{{ loud | upper }}{% set loud = 'inner' %}{{ loud }} {{ x }}\n",
        "partials/list.md": "{% for x in l %}{% include 'partials/item.md' %}{% endfor %}",
        "base.yaml": "variables: {tone: kind}\nsystem: 'Be {{ tone }}.'",
        "a.yaml": (
            "extends: base\nvariables: {l: [p, q], loud: outer, x: top}\n"
            "system: |\n  {{ parent.system }}\n"
            "  {% set tone = 'set' %}{{ tone }} {{ parent.system }}\n"
            "  {% include 'partials/list.md' %}\n"
            "  {% include 'partials/item.md' %}\n"
            "messages: [{user: Hello}, {assistant: '{{ tone }}'}]\nprompt: '{{ input }} {{ x }}'"
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, "utf-8")
    using = Runner(Config(path=(tmp_path,)))
    found = using.load("a")
    using.catalog.compiled(found)
    values = {"tone": "firm", "l": ["1", "2", "3"]}

    def render() -> Request:
        return using.render(found, "Hi", variables=values)

    first, texts = calls(render), outcomes(found, values, "Hi", using=using)
    assert len(set(texts)) == 1
    assert "OUTERinner 1\n" in render().system
    assert "Be firm.\nset Be firm." in render().system
    assert [message.text for message in render().messages[1:]] == ["Hello", "firm", "Hi top"]
    assert calls(render) < first / 2
    (tmp_path / "partials" / "item.md").write_text("changed\n", "utf-8")
    assert "changed\nchanged\nchanged\n" in render().system
    assert outcomes(found, values, "Hi", using=using)[0] == outcome(render)
    (tmp_path / "partials" / "item.md").write_text("{{ l | pprint }}", "utf-8")
    assert outcome(render).startswith("TemplateError")
    (tmp_path / "partials" / "item.md").unlink()
    assert "no file 'partials/item.md' to include" in outcome(render)


def test_includes_that_multiply_have_no_shortcut(tmp_path: Path) -> None:
    for n in range(12):
        (tmp_path / f"p{n}.md").write_text(f"{{% include 'p{n + 1}.md' %}}" * 3)
    (tmp_path / "p12.md").write_text("x")
    (tmp_path / "a.yaml").write_text("system: \"{% include 'p0.md' %}\"")
    using = Runner(Config(path=(tmp_path,)))
    texts = outcomes(using.load("a"), {}, using=using)
    assert len(set(texts)) == 1
    assert "does too much" in texts[0]


def test_the_prompt_is_read_the_short_way() -> None:
    found = persona("hi", prompt="{{ input | default('Go!') }} {{ input is defined }}")
    assert len(set(outcomes(found, {}))) == len(set(outcomes(found, {}, "{{ 1 }}"))) == 1
    assert outcomes(found, {})[-1] == "[('system', 'hi'), ('user', 'Go! False')]"
    assert outcomes(found, {}, "{{ 1 }}")[-1] == "[('system', 'hi'), ('user', '{{ 1 }} True')]"
    needs = outcomes(persona("hi", prompt="{{ input }}"), {})
    assert len(set(needs)) == 1
    assert "needs a prompt" in needs[0]


def test_values_stay_the_callers(tmp_path: Path) -> None:
    rows = [{"name": "a"}]
    using, found = runner()[0], persona("{% for x in r %}{{ x.name }}{% endfor %}", variables={
        "r": {"type": "array", "default": [{"name": "z"}]}})  # fmt: skip
    for _ in range(TIMES):
        request = using.render(found, variables={"r": rows})
        rows[0]["name"] += "b"
        assert request.variables["r"][0]["name"] == request.system
        with pytest.raises(TypeError, match="read-only"):
            request.variables["r"][0]["name"] = "c"
    assert using.render(found).system == "z"


# --- a run ----------------------------------------------------------------------------------------


def test_a_run_with_no_plugin_makes_few_calls() -> None:
    found = persona(
        "{{ s }} {{ t }}{% for x in l %}{{ x }}{% endfor %}{% if b %}{{ n }}{% endif %}{{ f }}",
        variables=_declared(given := {name: VALUES[name] for name in "stnfbl"}),
    )
    using = runner()[0]
    package = str(Path(personakit.__file__).parent)
    made: list[str] = []
    for _ in range(TIMES):
        using.run(found, "Hi", variables=given)

    def note(frame: Any, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(package):
            made.append(code.co_qualname)

    sys.setprofile(note)
    try:
        using.run(found, "Hi", variables=given)
    finally:
        sys.setprofile(None)
    # The fake upstream takes some, too.
    assert len(made) <= 40, made


# --- any template ---------------------------------------------------------------------------------

ATOM = st.sampled_from([
    *VALUES, "x", "y", "loop.index", "loop.last", "d.name", "d.city.in", "d['age']", "d.zzz",
    "r[0].k", "l[1]", "1", "2.5", "'q'", "''", "true", "none", "y.k", "y.v",
])  # fmt: skip
FILTERED = st.sampled_from(
    "upper lower title trim capitalize length first last join join(', ') default('z') d('z',true) "
    "string int round sort tojson replace('a','bb') count abs wordcount min max sum list "
    "format('%d') format(x) format(2,n)".split(" ")
)
TESTED = st.sampled_from(
    "defined undefined none string number mapping boolean integer float odd even true false "
    "iterable sequence divisibleby(2) divisibleby(n) divisibleby(x)".split()
)
OPERATOR = st.sampled_from([*"+ - * / // % ~ == != < <= > >= in and or".split(), "not in"])
EXPRESSION = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, OPERATOR, inner),
        st.builds("({} | {})".format, inner, FILTERED),
        st.builds("({} is {})".format, inner, TESTED),
        st.builds("({} is not {})".format, inner, TESTED),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} if {})".format, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds(
            "{}.{}".format,
            inner,
            st.sampled_from(
                "upper() split() split('a') startswith('a') endswith(x) "
                "replace('a',x) join(l)".split()
            ),
        ),
        st.builds("{}[{}]".format, inner, inner),
    ),
    max_leaves=6,
)
ITERABLE = st.one_of(
    st.sampled_from(
        [
            "l",
            "m",
            "r",
            "y.v",
            "d.items()",
            "['a', 'b']",
            "(1, 2)",
            "r[0].v",
            "l | sort",
            "range(n)",
            "range(x)",
        ]
    ),
    EXPRESSION,
)
TARGET = st.sampled_from(["x", "y", "s", "x, y"])
TEMPLATE = st.recursive(
    st.one_of(
        st.text(alphabet="ab \n", max_size=6),
        st.builds("{{{{ {} }}}}".format, EXPRESSION),
        st.builds("{{% set {} = {} %}}".format, st.sampled_from(["x", "y", "s", "n"]), EXPRESSION),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, EXPRESSION, inner, inner),
        st.builds("{{% for {} in {} %}}{}{{% endfor %}}".format, TARGET, ITERABLE, inner),
        st.builds(
            "{{% for {} in {} if {} %}}{}{{% else %}}{}{{% endfor %}}".format,
            TARGET, ITERABLE, EXPRESSION, inner, inner,
        ),
        st.builds("{{% with {} = {} %}}{}{{% endwith %}}".format, TARGET, EXPRESSION, inner),
    ),
    max_leaves=6,
)  # fmt: skip
PLAIN = st.recursive(
    st.one_of(
        st.text(alphabet="aAß<{% ", max_size=5), st.integers(-3, 3), st.integers(), st.booleans(),
        st.floats(), st.none(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["k", "v", "name", "items"]), inner, max_size=3),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(TEMPLATE, st.lists(PLAIN, max_size=3), st.dictionaries(st.text("ab", max_size=2), PLAIN))
def test_any_template_gives_the_same(template: str, items: list[Any], held: dict[str, Any]) -> None:
    values = {**VALUES, "l": items, "d": {**VALUES["d"], **held}, "x": "x", "y": VALUES["r"][0]}
    found = outcomes(persona(template, variables=_declared(values)), values, "hi")
    assert len(set(found)) == 1, found

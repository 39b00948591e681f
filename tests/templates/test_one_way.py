"""A template renders in one way: what it costs, what it refuses, and what it says of a mistake."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import personakit
from personakit import Config, Persona, Runner, TemplateError
from personakit.templates.budget import MAX_STEPS
from personakit.testing import persona, runner

TIMES = 4


def render(system: str, values: dict[str, Any], times: int = TIMES) -> str:
    """Render a template several times; return its text or its error, always the same."""
    kinds: dict[type, str] = {
        bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"
    }  # fmt: skip
    declared = {
        n: {"type": kinds.get(type(v), "string"), "required": True} for n, v in values.items()
    }
    found, using = persona(system, variables=declared), runner()[0]

    def once() -> str:
        try:
            return using.render(found, variables=values).system
        except TemplateError as error:
            return str(error)

    results = {once() for _ in range(times)}
    assert len(results) == 1, results
    return results.pop()


# --- large values: what is refused by the work that it takes -------------------------------------

A, B = "x" * 400_000, "x" * 399_999 + "y"
TEXTS = [f"{'x' * 200}{n}" for n in range(1500)]
NESTED: list[Any] = [[["t" * 9, n] for n in range(100)] for _ in range(30)]
TURNS = "{% for i in range(9999) %}"
MANY = f"{TURNS}{TURNS}"
LARGE = {
    "key": f"{MANY}{{% if d.a %}}{{% endif %}}",
    "item": f"{MANY}{{% if d['a'] %}}{{% endif %}}",
    "attribute of loop": f"{MANY}{{% if loop.index %}}{{% endif %}}",
    "output": f"{MANY}{{{{ d.a }}}}",
    "views": f"{MANY}{{% if d.items() %}}{{% endif %}}",
    "short comparison": f"{MANY}{{% if d.a == 'x' %}}{{% endif %}}",
    "comparison of numbers": f"{MANY}{{% if i < 3 %}}{{% endif %}}",
    "filters of short texts": f"{MANY}{{% if d.b | upper | trim %}}{{% endif %}}",
    "replace in a short text": f"{MANY}{{% if d.b | replace('s', 'b') %}}{{% endif %}}",
    "tests of a kind": f"{MANY}{{% if d.b is string %}}{{% endif %}}",
    "a macro": f"{{% macro m() %}}{{% endmacro %}}{MANY}{{{{ m() }}}}",
    "default of a macro": (
        "{% macro m(x=" + "d.a ~ " * 200 + f"d.a) %}}{{% endmacro %}}{MANY}{{{{ m() }}}}"
    ),
    "elif": f"{MANY}{{% if d.a == 'q' %}}" + "{% elif d.a == 'q' %}" * 50 + "{% endif %}",
    "filter of a loop": f"{TURNS}{{% for x in texts if x == '' or x == 'y' %}}{{% endfor %}}",
    "namespace": f"{{% set n = namespace(v=0) %}}{MANY}{{% set n.v = n.v + 1 %}}",
    "include of nothing": f"{MANY}{{% with x = 1 %}}{{% endwith %}}",
    "== of long texts": f"{TURNS}{{% if a ~ '' == b %}}{{% endif %}}",
    "< of long texts": f"{TURNS}{{% if a < b %}}{{% endif %}}",
    "a chain of ==": f"{TURNS}{{% if a == b == a == b == a == b %}}{{% endif %}}",
    "== of nested lists": f"{TURNS}{{% if l == m == l == m %}}{{% endif %}}",
    "< of nested lists": f"{TURNS}{{% if l < m %}}{{% endif %}}",
    "in a nested list": f"{TURNS}{{% if l[0] in m %}}{{% endif %}}",
    "in a list of texts": f"{TURNS}{{% if texts[7] in texts %}}{{% endif %}}",
    "in a list of texts, in a chain": f"{TURNS}{{% if (1 in texts) in texts in l %}}{{% endif %}}",
    "in a long text": f"{TURNS}{{% if b in a %}}{{% endif %}}",
    "in a text that repeats": f"{TURNS}{{% if b[-99:] in a[:20000] %}}{{% endif %}}",
    "is in": f"{TURNS}{{% if texts[7] is in(texts) %}}{{% endif %}}",
    "is eq": f"{TURNS}{{% if l is eq(m) %}}{{% endif %}}",
    "in a range": f"{TURNS}{{% if 'x' in range(99999) %}}{{% endif %}}",
    "trim with characters": f"{TURNS}{{% if a | trim(b) %}}{{% endif %}}",
    "strip with characters": f"{TURNS}{{% if a.strip(b) %}}{{% endif %}}",
    "replace": f"{TURNS}{{% if a | replace(b, '') %}}{{% endif %}}",
    "replace that grows": "{{ a | replace('x', a) }}",
    "find": f"{TURNS}{{% if a[:20000].find(b[-99:]) %}}{{% endif %}}",
    "rfind": f"{TURNS}{{% if a.rfind('y' ~ a) %}}{{% endif %}}",
    "count of a list": f"{TURNS}{{% if l.count(m[0]) %}}{{% endif %}}",
    "index of a list": f"{TURNS}{{% if texts.index(texts[1499]) %}}{{% endif %}}",
    "join": f"{TURNS}{{% if texts | join(a) %}}{{% endif %}}",
    "join, the method": f"{TURNS}{{% if a.join(texts) %}}{{% endif %}}",
    "sort": f"{TURNS}{{% if texts | sort %}}{{% endif %}}",
    "sort by an attribute": f"{TURNS}{{% if rows | sort(attribute='v') %}}{{% endif %}}",
    "min": f"{TURNS}{{% if texts | min %}}{{% endif %}}",
    "unique": f"{TURNS}{{% if texts | unique | list %}}{{% endif %}}",
    "groupby": f"{TURNS}{{% if rows | groupby('v') %}}{{% endif %}}",
    "map with a long attribute": (
        f"{TURNS}{{% if rows | map(attribute='{'v.' * 900}v', default=1) | list %}}{{% endif %}}"
    ),
    "select that finds nothing": f"{TURNS}{{% if texts | select('eq', '') | list %}}{{% endif %}}",
    "slices": f"{TURNS}{{% if a[1:] %}}{{% endif %}}",
    "slices of lists": f"{TURNS}{{% if texts[1:] %}}{{% endif %}}",
    "%": f"{TURNS}{{% if '%s' % a %}}{{% endif %}}",
    "% with a width": "{{ '%999999999d' % 1 }}",
    "* of a text": "{{ a * 9999 }}",
    "* of a list": "{{ texts * 9999 }}",
    "format": "{{ '%999999999d' | format(1) }}",
    "upper": f"{TURNS}{{% if a | upper %}}{{% endif %}}",
    "escape": f"{TURNS}{{% if a | e %}}{{% endif %}}",
    "safe": f"{TURNS}{{% if a | safe %}}{{% endif %}}",
    "escape that grows": f"{TURNS}{{% if ('&' * 190000) | forceescape %}}{{% endif %}}",
    "what is safe, joined": "{{ ('<' | safe).join(texts * 90) }}",
    "recursion in macros": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "recursion in macros that branches": (
        "{% macro m(n) %}{% if n < 40 %}{{ m(n + 1) }}{{ m(n + 1) }}{% endif %}{% endmacro %}"
        "{{ m(0) }}"
    ),
    "changed": f"{TURNS}{{% if loop.changed(l) %}}{{% endif %}}",
    "tojson": f"{TURNS}{{% if l | tojson %}}{{% endif %}}",
    "a number of many digits": "{{ 9 ** 9999 }}",
    "a key of a long tuple": f"{TURNS}{{% if d[(texts | list, 1)] is defined %}}{{% endif %}}",
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_too_much_work_is_refused_by_its_count(name: str) -> None:
    values = {
        "a": A, "b": B, "texts": TEXTS, "l": NESTED, "m": [*NESTED[:-1], []],
        "d": {"a": "x", "b": "short"}, "rows": [{"v": text} for text in TEXTS],
    }  # fmt: skip
    system = LARGE[name]
    ends = "{% endfor %}" * system.count("{% for i in range(9999)")
    told = render(system + ends, values, times=2)
    assert "the limit is" in told or "recursion" in told or "unhashable" in told, told[:200]


def test_a_large_text_is_no_excess() -> None:
    values = {"s": "x" * 300_000, "l": ["a"] * 500}
    text = render("{{ s }}{% for x in l %}{{ x }}{% endfor %}{{ s | upper | length }}", values)
    assert text == "x" * 300_000 + "a" * 500 + "300000"


def test_an_honest_loop_over_much_is_not_refused() -> None:
    rows = [{"name": f"row {n}", "tags": ["a", "b"]} for n in range(3000)]
    system = (
        "{% for r in rows %}{{ loop.index }}. {{ r.name | upper }} {{ r.tags | join }};{% endfor %}"
    )
    assert render(system, {"rows": rows}).count(";") == 3000
    assert MAX_STEPS == 400_000


# --- mistakes ------------------------------------------------------------------------------------

ORDER = {
    "items": ["tea"],
    "lines": [{"name": "a", "tags": []}, {"name": "b"}],
    "customer": {"id": 1},
}
MISSING = {
    "{% for x in [1] %}{{ loop.indx }}{% endfor %}": (
        "'loop' has no field 'indx'; did you mean 'index'?"
    ),
    "{{ order.custmer }}": "'order' has no field 'custmer'; did you mean 'customer'?",
    "{{ order.customer.city }}": "'order.customer' has no field 'city' (it has: id)",
    "{% for line in order.lines %}{{ line.tags }}{% endfor %}": (
        "item 2 of 'order.lines' has no field 'tags' (it has: name)"
    ),
    "{% for line in order.lines %}{{ line['nme'] }}{% endfor %}": (
        "item 1 of 'order.lines' has no field 'nme'; did you mean 'name'?"
    ),
    "{{ order.lines[2].name }}": (
        "'order.lines' has 2 items, none at index 2; indexes begin at 0"
    ),
    "{{ order.lines[9] }}": "'order.lines' has 2 items, none at index 9",
    "{% set x = order.lines | first %}{{ x.tgs }}": (
        "item 1 of 'order.lines' has no field 'tgs'; did you mean 'tags'?"
    ),
    "{{ order.lines[order.nme] }}": "'order' has no field 'nme' (it has: items, lines, customer)",
    "{{ name[order.customer[order.lnes]] }}": (
        "'order' has no field 'lnes'; did you mean 'lines'?"
    ),
    "{{ {'a': 1}.b }}": "the mapping has no field 'b' (it has: a)",
    "{{ name.first }}": "a string 'Ann' has no field 'first'",
}  # fmt: skip


@pytest.mark.parametrize("template", MISSING)
def test_a_missing_field_is_named_with_its_place(template: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "variables:\n  order: {type: object}\n  name: Ann\nsystem: |\n  One line.\n"
        f"  {template}\n"
    )
    using = Runner(Config(path=(tmp_path,)))
    with pytest.raises(TemplateError) as caught:
        using.render("a", variables={"order": ORDER})
    (problem,) = caught.value.problems
    assert problem.message == f"system: {MISSING[template]}"
    assert problem.line == 6
    if found := re.search(r"no field '(\w+)'", problem.message):
        assert problem.column == len("  ") + template.index(found[1]) + 1


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ t[t[t[t]]] }}", "a string 'Ann' has no field 'Ann'"),
        ("{{ t | attr(t[t]) }}", "a string 'Ann' has no field 'Ann'"),
        ("{{ [1] | map(attribute=t[t[t]]) | list }}", "a string 'Ann' has no field 'Ann'"),
        ("{{ t[range] }}", "a string 'Ann' has no item <function bounded_range>"),
        ("{{ d[[t.upper]] }}", "'d' has no field [<built-in method upper of str object>] (it"),
        ("{{ d[t.upper] }}", "'d' has no field <built-in method upper of str object> (it has: a)"),
        ("{% for x in [1] %}{{ loop[range] }}{% endfor %}", "no field <function bounded_range>"),
    ],
)
def test_a_missing_field_of_any_name_is_an_error_of_the_template(template: str, told: str) -> None:
    assert told in render(template, {"t": "Ann", "d": {"a": 1}})


@pytest.mark.parametrize(
    "marked",
    [
        "{{ a.x }} {{ b.^x }}",
        "{{ a.x }} {{ b['^x'] }}",
        "a.x b.x {{ b.^x }}",
        "{{ list[^3] }}",
        "{{ list | map(attribute='^x') | join }}",
        "{{ list | sum('^x') }}",
        "{% for b in list %}{{ b.^x }}{{ b.x }}{% endfor %}",
        # Which of them it is cannot be known.
        "{% for c in list %}{{ a.x }}{{ c.x }}{% endfor %}",
        # The field is not in the text of the line.
        "{{ b[key] }}\n  {{ a.x }}",
    ],
)
def test_the_position_of_a_missing_field_is_right_or_left_out(marked: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "system: |\n  " + marked.replace("^", "") + "\nvariables:\n  a: {default: {x: 1}}\n"
        "  b: {default: {y: 1}}\n  list: {default: [{y: 1}]}\n  key: x\n"
    )
    with pytest.raises(TemplateError) as caught:
        Runner(Config(path=(tmp_path,))).render("a")
    (problem,) = caught.value.problems
    column = len("  ") + marked.index("^") + 1 if "^" in marked else 0
    assert (problem.line, problem.column) == (2, column)


@pytest.mark.parametrize("name", "items keys values get update pop copy".split())
@pytest.mark.parametrize("use", ["{% for x in order.NAME %}{% endfor %}", "{{ order.NAME }}"])
def test_a_key_that_is_a_method_of_mappings_is_told(name: str, use: str) -> None:
    told = render(use.replace("NAME", name), {"order": {name: ["tea", "milk"]}})
    assert f"order.{name} is a method that every mapping has" in told
    assert f'write order["{name}"]' in told
    assert render(f"{{{{ order['{name}'] | join }}}}", {"order": {name: ["tea"]}}) == "tea"


def test_a_method_that_is_no_key_is_told_as_such() -> None:
    shown = render("{% for x in d.items %}{% endfor %}", {"d": {"a": 1}})
    assert "call a method such as items, keys, values with ()" in shown
    assert (
        render("{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}", {"d": {"items": 1}})
        == "items1"
    )


BRANCHES = [
    "{% if b %}{% set n = 9 %}{% else %}{% set n = 1 %}{% endif %}{{ n }}",
    "{% if not b %}{% elif b %}{% set n = 9 %}{% endif %}{{ n }}",
    "{% if b %}{% set n %}9{% endset %}{% endif %}{{ n }}",
    "{% if b %}{% set n = 9 %}{% endif %}{{ n | default('x') }}",
    "{% for x in [9] %}{% set n = x %}{{ n }}{% endfor %}",
    "{% if b %}{% macro n() %}9{% endmacro %}{% else %}{% macro n() %}{% endmacro %}{% endif %}"
    "{{ n() }}",
    "{% macro m() %}{% if b %}{% set n = 9 %}{% endif %}{{ n }}{% endmacro %}{{ m() }}",
    "{% with %}{% if b %}{% set n = 9 %}{% endif %}{{ n }}{% endwith %}",
    "{% if b %}{% set n, m = 9, 1 %}{% endif %}{{ n }}",
]  # fmt: skip


@pytest.mark.parametrize("template", BRANCHES)
def test_a_name_that_a_template_sets_somewhere_is_not_undeclared(template: str) -> None:
    assert render(template, {"b": True}) == "9"


def test_one_that_is_not_set_when_it_is_used_is_found_then() -> None:
    template = "{% if b %}{% set n = 9 %}{% endif %}{{ n }}"
    assert "'n' is undefined" in render(template, {"b": False})


@pytest.mark.parametrize(("number", "told"), [
    ("9" * 5000, "cannot be compiled"), ("1e400", "a number is too large"),
    ("0x" + "f" * 9000, "cannot be compiled"),
])  # fmt: skip
def test_a_number_that_is_too_large_is_an_error_of_the_template(number: str, told: str) -> None:
    assert told in render(f"{{{{ {number} }}}}", {})


def test_filters_of_html_do_what_they_do_in_jinja() -> None:
    assert render("{{ t | safe }}{{ t | e }}{{ t | e | e }}", {"t": "<a>"}) == (
        "<a>&lt;a&gt;&lt;a&gt;"
    )
    assert render("{{ t | forceescape }}{{ t | e | forceescape }}", {"t": "<"}) == "&lt;&amp;lt;"


# --- partials and parents ------------------------------------------------------------------------


def test_a_partial_sees_what_jinja_would_give_it(tmp_path: Path) -> None:
    (tmp_path / "partials").mkdir()
    files = {
        "partials/item.md": "{{ loud | upper }}{% set loud = 'inner' %}{{ loud }} {{ x }}\n",
        "partials/list.md": "{% for x in l %}{% include 'partials/item.md' %}{% endfor %}",
        "partials/tone.md": "<{{ tone }}|{{ parent.system }}>",
        "base.yaml": "variables: {tone: kind}\nsystem: 'Be {{ tone }}.'",
        "a.yaml": (
            "extends: base\nvariables: {l: [p, q], loud: outer, x: top}\n"
            "system: |\n  {% include 'partials/tone.md' %}{% set tone = 'set' %}{{ tone }}"
            " {{ parent.system }}\n"
            "  {% include 'partials/list.md' %}\n"
            "  {% include 'partials/item.md' %}\n"
            "messages: [{user: Hello}, {assistant: '{{ tone }}'}]\nprompt: '{{ input }} {{ x }}'"
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, "utf-8")
    using = Runner(Config(path=(tmp_path,)))
    values = {"tone": "firm", "l": ["1", "2", "3"]}
    requests = [using.render("a", "Hi", variables=values) for _ in range(TIMES)]
    assert len({tuple(m.text for m in request.messages) for request in requests}) == 1
    assert requests[0].system.startswith("<firm|Be firm.>set Be firm.")
    assert "OUTERinner 1\n" in requests[0].system
    assert [message.text for message in requests[0].messages[1:]] == ["Hello", "firm", "Hi top"]
    (tmp_path / "partials" / "item.md").write_text("changed\n", "utf-8")
    assert "changed\nchanged\nchanged\n" in using.render("a", "Hi", variables=values).system


def test_values_stay_the_callers() -> None:
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


def test_what_a_filter_of_a_plugin_changes_stays_in_one_render() -> None:
    class Sorts:
        @personakit.hookimpl
        def setup(self, registry: personakit.Registry) -> None:
            registry.template_filter("grow", lambda value: value.append("!") or len(value))

    using = Runner(Config(path=()), plugins=[Sorts()])
    found = Persona.parse(
        "system: '{{ r | grow }}{{ r | length }}'\nvariables: {r: {type: array, default: [a]}}"
    )
    assert {using.render(found).system for _ in range(TIMES)} == {"22"}


# --- a run ---------------------------------------------------------------------------------------


def test_a_run_with_no_plugin_makes_few_calls() -> None:
    values = {"s": "Ada", "t": "two words", "n": 3, "f": 2.5, "b": True, "l": ["b", "a", "c"]}
    found = persona(
        "{{ s }} {{ t }}{% for x in l %}{{ x }}{% endfor %}{% if b %}{{ n }}{% endif %}{{ f }}",
        variables={name: {"default": value} for name, value in values.items()},
    )
    using = runner()[0]
    package = str(Path(personakit.__file__).parent)
    made: list[str] = []
    for _ in range(TIMES):
        using.run(found, "Hi", variables=values)

    def note(frame: Any, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(package):
            made.append(code.co_qualname)

    sys.setprofile(note)
    try:
        using.run(found, "Hi", variables=values)
    finally:
        sys.setprofile(None)
    # The fake upstream takes some, too.
    assert len(made) <= 41, made

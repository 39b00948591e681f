"""A template cannot take the process down, and an honest one is never stopped.

The bombs run in a process of their own that may have 1 GB, so that one that goes off fails a test.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

import pytest

from personakit import Persona, TemplateError
from personakit.templates.budget import (
    MAX_SIZE,
    MAX_STEPS,
    Budget,
    LimitExceeded,
    bounded_range,
    size_of,
)
from personakit.testing import runner

CHILD = """
import json, pathlib, resource, sys
from personakit import Persona, Runner, TemplateError
from personakit.config import Config
running = Runner(Config(path=()))
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
for line in sys.stdin:
    source = json.dumps({"variables": {"x": "X"}, "system": json.loads(line)}, ensure_ascii=False)
    try:
        result = ["text", running.render(Persona.parse(source, "x.yaml")).system[:100]]
    except TemplateError as error:
        result = ["refused", str(error)]
    except BaseException as error:
        result = ["crashed", f"{type(error).__name__}: {error}"]
    # Not getrusage(): what the process was forked from counts there.
    status = pathlib.Path("/proc/self/status")
    peak = status.read_text().split("VmHWM:")[1].split()[0] if status.exists() else 0
    result.append(int(peak) // 1024)
    print(json.dumps(result), flush=True)
"""


class Child:
    """Renders templates in a process; starts a new one after a hang or a crash."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def render(self, system: str) -> tuple[str, str, int]:
        """Return how it ended, what came out, and the megabytes the process has had at most."""
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, "-c", CHILD]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        stdin, stdout = _pipes(self.process)
        stdin.write(json.dumps(system) + "\n")
        stdin.flush()
        # Bounds a hang only: a render ends by itself after a second of work.
        if not select.select([stdout], [], [], 30)[0]:
            self.close()
            pytest.fail("the template hangs")
        line = stdout.readline()
        assert line, "the process died"
        how, what, megabytes = json.loads(line)
        return how, what, megabytes

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


A, B = '{% set a = "a" * 190000 %}', '{% set b = "a" * 189999 ~ "b" %}'
MANY = " ~ ".join("a" * 1500)
LOOP, END = "{% for i in range(190000) %}", "{% endfor %}"
NS = "{% set n = namespace(v='ab') %}{% for i in range(60) %}"
NS_OF_NS = f"{NS}{{% set n.v = namespace(a=n.v, b=n.v) %}}{{% endfor %}}"
DO, SIZE, DEEP, BITS = "too much", "too large", "deep", "number would be too large"

BOMBS: dict[str, tuple[str, str]] = {
    # loops and calls
    "nested loops": (LOOP + LOOP + END + END, DO),
    "a long range": ("{% for i in range(10**9) %}{% endfor %}", "range is too large"),
    "the last of a range": ("{{ range(10**30) | last }}", "range is too large"),
    "a loop that calls itself": (
        f"{{% for i in [1] recursive %}}{{{{ loop(range(190000)) if loop.depth < 9 }}}}{END}", DO),
    "a loop around long comparisons": (
        f"{A}{B}{{% for i in [1] recursive %}}{{% if loop.depth == 1 %}}"
        f"{{{{ loop(range(190000)) }}}}{{% elif a < b %}}{{% endif %}}{END}", DO),
    "a macro that calls itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", DEEP),
    "a tree of calls": (
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        DO),
    "a chain of macros": (
        "{% macro m0() %}{% endmacro %}" + "".join(
            f"{{% macro m{n}() %}}{{{{ m{n - 1}() }}}}{{{{ m{n - 1}() }}}}{{% endmacro %}}"
            for n in range(1, 50)) + "{{ m49() }}", DO),
    "nested call blocks": (
        "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}" + "{% call m() %}" * 18
        + "x" * 9 + "{% endcall %}" * 18, DO),
    "assignments in a loop": (LOOP + "{% set q = 1 %}" * 900 + END, "limit"),
    "negations in a loop": (LOOP + "{% set q = not x %}" * 800 + END, "limit"),
    "empty set blocks in a loop": (LOOP + "{% set q %}{% endset %}" * 600 + END, "limit"),
    "attributes in a loop": (LOOP + "{% set q = x.upper %}" * 700 + END, "limit"),
    "texts in a loop": (LOOP + "x" * 1000 + END, DO),
    "slices in a recursion": (
        A + "{% macro m() %}{% set q = a[1:] %}{{ m() }}{% endmacro %}{{ m() }}", "limit"),
    # texts that double
    "~": (f"{NS}{{% set n.v = n.v ~ n.v %}}{END}", SIZE),
    "+": (f"{NS}{{% set n.v = n.v + n.v %}}{END}", SIZE),
    "*": ("{{ 'a' * 400000000 }}", SIZE),
    "* from the left": ("{{ 400000000 * 'a' }}", SIZE),
    "a set block": (f"{NS}{{% set q %}}{{{{ n.v }}}}{{{{ n.v }}}}{{% endset %}}"
                    f"{{% set n.v = q %}}{END}", SIZE),
    "join of itself": (f"{NS}{{% set n.v = n.v.join([n.v, n.v]) %}}{END}", SIZE),
    "replace": ("{{ ('a' * 100000).replace('a', 'b' * 100000) }}", SIZE),
    "replace of nothing": ("{{ ('a' * 100000) | replace('', 'b' * 100000) }}", SIZE),
    "replace by name": ("{{ ('a' * 100000) | replace(new='b' * 100000, old='a') }}", SIZE),
    "a filter block": (
        "{% filter replace('a', 'b' * 100000) %}{{ 'a' * 100000 }}{% endfilter %}", SIZE),
    "zfill": ("{{ '1'.zfill(900000000) }}", SIZE),
    "ljust": ("{{ 'a'.ljust(900000000) }}", SIZE),
    "center": ("{{ 'a' | center(900000000) }}", SIZE),
    "center by name": ("{{ 'a' | center(width=900000000) }}", SIZE),
    "expandtabs": ("{{ ('\\t' * 1000).expandtabs(100000) }}", SIZE),
    "expandtabs by name": ("{{ '\\t'.expandtabs(tabsize=900000000) }}", SIZE),
    "indent": ("{{ ('a\\n' * 90000) | indent(900000) }}", SIZE),
    "indent by a text": ("{{ ('a\\n' * 90000) | indent('b' * 100000) }}", SIZE),
    "wordwrap": ("{{ ('a ' * 90000) | wordwrap(1, wrapstring='b' * 100000) }}", SIZE),
    "wordwrap of one word": ("{{ ('a' * 99000) | wordwrap(1) | length }}", "limit"),
    "wordwrap of spaces": ("{{ (' ' * 99000) | wordwrap(1) | length }}", "limit"),
    "urlencode": ("{{ ('😀' * 190000) | urlencode }}", SIZE),
    "join with a long joint": ("{{ range(100000) | list | join('x' * 190000) }}", SIZE),
    "join of a generator": ("{{ range(100000) | map('string') | join('x' * 190000) }}", DO),
    "join of a generator, the method": (
        "{{ ('x' * 190000).join(range(100000) | map('string')) }}", DO),
    "join of a generator by a safe text": (
        "{{ (('x' * 30000) | safe).join(range(30000) | map('string')) }}", SIZE),
    "join by a safe text": ("{{ (('x' * 16000) | safe).join(['a'] * 8000) }}", SIZE),
    "join by name": ("{{ [1, 2] | join(attribute='real', d='x' * 190000) }}"
                     "{{ range(9999) | list | join(attribute='real', d='x' * 190000) }}", SIZE),
    "join of an attribute": (
        "{% set n = namespace(v='a' * 190000) %}{{ ([n] * 9999) | join('', 'v') }}", SIZE),
    "~ in a comparison": (f"{A}{{% if ({MANY}) == x %}}{{% endif %}}", SIZE),
    "~ in a list": (f"{A}{{% set q = [{MANY}] %}}", SIZE),
    "~ in a tuple": (f"{A}{{% set q = ({MANY}, 1) %}}", SIZE),
    "~ in a mapping": (f"{A}{{% set q = {{'a': {MANY}}} %}}", SIZE),
    "~ in a slice": (f"{A}{{% set q = ({MANY})[:1] %}}", SIZE),
    "~ in ~": (f"{A}{{% set q = x ~ ({MANY}) ~ x %}}", SIZE),
    # formats
    "%": ("{{ '%900000000d' % 1 }}", SIZE),
    "% with a precision": ("{{ '%.900000000f' % 1 }}", SIZE),
    "% with a star": ("{{ '%*d' % (900000000, 1) }}", SIZE),
    "% with a key": ("{{ '%(a)900000000s' % {'a': 1} }}", SIZE),
    "% with a key of parentheses": ("{{ '%(a(b))900000000s' % {'a(b)': 1} }}", SIZE),
    "% with a key many times": ("{{ ('%(a)s' * 30000) % {'a': 'x' * 100000} }}", SIZE),
    "format": ("{{ ('%(a)s' * 30000) | format(a='x' * 100000) }}", SIZE),
    "format by map": ("{{ ['%900000000d'] | map('format', 1) | list }}", SIZE),
    "a character with a width": ("{{ '%900000000c' % 65 }}", SIZE),
    # lists that double
    "a list": ("{{ [0] * 1000000000 }}", SIZE),
    "a tuple": ("{% set q = (0, 0) * 1000000000 %}", SIZE),
    "a list of itself": (f"{NS}{{% set n.v = [n.v, n.v] %}}{END}", SIZE),
    "a tuple of itself": (f"{NS}{{% set n.v = n.v, n.v %}}{END}", SIZE),
    "a mapping of itself": (f"{NS}{{% set n.v = {{'a': n.v, 'b': n.v}} %}}{END}", SIZE),
    "dict() of itself": (f"{NS}{{% set n.v = dict(a=n.v, b=n.v) %}}{END}", SIZE),
    "list + list": (f"{NS}{{% set n.v = [n.v] + [n.v] %}}{END}", SIZE),
    "a long list of long texts": ("{{ (['a' * 100000] * 100000) ~ '' }}", SIZE),
    "varargs of varargs": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1, varargs, varargs[:]) }}{% else %}"
        "{{ varargs[0] == varargs[1] }}{% endif %}{% endmacro %}{{ m(40, 1) }}", SIZE),
    "a namespace of namespaces, written": (NS_OF_NS + "{{ n.v ~ '' }}", "not allowed"),
    "a namespace of namespaces, as text": (NS_OF_NS + "{{ n.v | string }}", "not allowed"),
    "a namespace of namespaces, formatted": (NS_OF_NS + "{{ '%s' % [n.v] }}", "not allowed"),
    "a namespace of namespaces, as a key": (NS_OF_NS + "{{ {}[n.v] }}", "no field <namespace>"),
    "a namespace of namespaces, called": (
        NS_OF_NS + "{% set n.unsafe_callable = 1 %}{{ n() }}", "<namespace> is not safely"),
    "sum of lists": ("{{ ([[1] * 200] * 400) | sum(start=[]) | length }}", "numbers only"),
    "sum of tuples": ("{{ [(1,), (2,)] | sum(start=()) }}", "numbers only"),
    "many slices": ("{{ [1] | slice(900000000) | list }}", SIZE),
    "a wide batch": ("{{ [1] | batch(900000000, 0) | list }}", SIZE),
    "sort of long texts": ("{{ (['a' * 9999, 'b' * 9999] * 9999) | sort | length }}", SIZE),
    "unique long texts": ("{{ (['a' * 9999, 'b' * 9999] * 9999) | unique | list }}", SIZE),
    "groups of long texts": ("{{ ([{'k': 'A' * 9999}] * 9999) | groupby('k') }}", SIZE),
    "sort by a long attribute": (
        "{% set n = namespace(v='A' * 190000) %}{{ ([n] * 40000) | sort(attribute='v') }}", DO),
    "sorts in a loop": (f"{LOOP}{{% set q = range(9999) | sort %}}{END}", DO),
    "deep JSON": (
        f"{{% set n = namespace(v=1) %}}{{% for i in range(900) %}}{{% set n.v = [n.v] %}}{END}"
        "{{ n.v | tojson(indent=16) }}", SIZE),
    "JSON with a wide indent": ("{{ [1] | tojson(indent=900000000) }}", "from 0 to 16"),
    # comparisons and searches
    "in": (f"{A}{{% set b = 'a' * 95000 ~ 'b' %}}{LOOP}{{% if b in a %}}{{% endif %}}{END}", DO),
    "is in": (f"{A}{B}{LOOP}{{% if b is in a %}}{{% endif %}}{END}", DO),
    "<": (f"{A}{B}{LOOP}{{% if a < b %}}{{% endif %}}{END}", DO),
    "select": (f"{A}{B}{LOOP}{{% set q = [a] | select('ne', b) | list %}}{END}", DO),
    "loop.changed": (f"{A}{B}{LOOP}{{% if loop.changed(a if i % 2 else b) %}}{{% endif %}}{END}",
                     DO),
    "equal mappings": (
        "{% set a = {}.fromkeys(range(60000)) %}{% set b = {}.fromkeys(range(60000)) %}"
        f"{LOOP}{{% if a.items() == b.items() %}}{{% endif %}}{END}", "limit"),
    "rfind": (f"{A}{{{{ a.rfind('ab' + 'a' * 95000) }}}}", DO),
    "rsplit": (f"{A}{{{{ a.rsplit('ab' + 'a' * 95000) }}}}", DO),
    "strip": (f"{A}{{{{ a.strip('b' * 190000) }}}}", DO),
    "trim": (f"{A}{{{{ a | trim('b' * 190000) }}}}", DO),
    # numbers
    "**": ("{{ 2 ** (2 ** 40) }}", BITS),
    "** of a number": ("{{ 10 ** 5000 }}", BITS),
    "multiplications": (
        f"{{% set n = namespace(v=3) %}}{LOOP}{{% set n.v = n.v * n.v %}}{END}", BITS),
    "a number of many digits": ("{{ ('1' * 190000) | int(0, 2) }}", BITS),
    "a division of many digits": (
        "{% set a = ('1' * 190000) | int(0, 16) %}" + LOOP + "{% set q = a // 3 %}" + END, BITS),
    "round": ("{{ 5 | round(-900000000) }}", BITS),
    "round up": ("{{ 5 | round(900000000, 'ceil') }}", BITS),
    "round by name": ("{{ 5 | round(precision=-900000000) }}", BITS),
    "bytes of a number": ("{{ (5).to_bytes(900000000, 'little') }}", "unsafe"),
    "a number of bytes": ("{{ (5).from_bytes(range(9) | list, 'little') }}", "unsafe"),
    "more digits than Python writes": ("{{ 10 ** 1200 }}{{ 9 ** 1290 }}", "limit"),
    # code
    "a long template": ("{{ x }}" * 100_000, DO),
    "a long list display": ("{{ [" + "x," * 200_000 + "] }}", DO),
    "a long comparison": ("{{ 1" + " < 1" * 100_000 + " }}", DO),
    "a deep template": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deep"),
    "a deep sum": ("{{ 1" + " + 1" * 3000 + " }}", "nested too deep"),
    "a deep chain of filters": ("{{ x" + " | upper" * 1500 + " }}", "nested too deep"),
    "blocks in a loop": (
        LOOP + "".join(f"{{% block b{n} scoped %}}{{% endblock %}}" for n in range(700)) + END,
        "{% block %} is not supported; use {% macro %}"),
    "a long number": ("{{ " + "9" * 100_000 + " }}", "cannot be compiled"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(name: str, child: Child) -> None:
    system, message = BOMBS[name]
    how, what, megabytes = child.render(system)
    assert how == "refused", what
    assert message in what
    assert what.startswith("x.yaml:")
    assert len(what) < 2000
    assert megabytes < 200


@pytest.mark.parametrize("kept", ['"é" * 99000', '("é " * 60000).split()', "range(50000) | list"])
def test_what_a_template_keeps_is_bounded(kept: str, child: Child) -> None:
    system = "".join(f"{{% set a{n} = {kept} %}}" for n in range(200))
    how, what, megabytes = child.render(system)
    assert how == "refused"
    assert "too much" in what
    assert "compiled" not in what
    assert megabytes < 200


def test_every_text_of_a_persona_counts() -> None:
    messages = "".join(f"- user: \"{{{{ 'a' * 99000 }}}}{n}\"\n" for n in range(9))
    found = Persona.parse(f"system: hi\nmessages:\n{messages}", "x.yaml")
    with pytest.raises(TemplateError, match="too large"):
        runner()[0].render(found)
    many = "".join(f'- user: "{{{{ x }}}}{n}"\n' for n in range(9000))
    found = Persona.parse(f"system: hi\nvariables: {{x: 1}}\nmessages:\n{many}", "x.yaml")
    with pytest.raises(TemplateError, match="does too much"):
        runner()[0].render(found)


# --- honest templates ---------------------------------------------------------------------------

DOCS = [{"title": f"Doc {n}", "kind": "ab"[n % 2], "text": "word " * 60} for n in range(500)]
HONEST: dict[str, str] = {
    "a loop over documents": (
        "{% for d in docs if d.kind == 'a' %}{{ loop.index }}. {{ d.title | upper }}\n"
        "{{ d.text | trim | indent(2) }}\n{% endfor %}"
    ),
    "a list joined": "{{ docs | map(attribute='title') | join(', ') }}",
    "a list sorted": "{{ (docs | sort(attribute='title', reverse=true) | first).title }}",
    "groups": "{% for k, g in docs | groupby('kind') %}{{ k }}: {{ g | length }}\n{% endfor %}",
    "JSON": "{{ docs | tojson(indent=2) }}",
    "a number of words": "{{ docs | map(attribute='text') | map('wordcount') | sum }}",
    "a long text": "{{ text | wordwrap(79) }}",
    "a long text, changed": "{{ text | replace('word', 'term') | upper | truncate(99999) }}",
    "a long text, twice": "{{ text }}{{ text ~ text }}",
    "a long text, split": "{{ text.split() | unique | list | length }}",
    "lines of a text": "{% for line in text.splitlines() %}> {{ line }}\n{% endfor %}",
    "a table": (
        "{% for i in range(60) %}{% for j in range(60) %}{{ i * j }} {% endfor %}\n{% endfor %}"
    ),
    "a sum": (
        "{% set n = namespace(n=0) %}{% for i in range(3000) %}{% set n.n = n.n + i %}{% endfor %}"
        "{{ n.n }}"
    ),
    "a list that grows": (
        "{% set n = namespace(l=[]) %}{% for i in range(150) %}{% set n.l = n.l + [i] %}"
        "{% endfor %}{{ n.l | length }}"
    ),
    "a macro": (
        "{% macro item(d) %}- {{ d.title }} ({{ d.kind }}){% endmacro %}"
        "{% for d in docs %}{{ item(d) }}\n{% endfor %}"
    ),
    "a membership": "{% for d in docs %}{{ d.title if d.title in titles }}{% endfor %}",
    "a template with much code": "{% if x %}{{ x }}{% endif %}" * 300,
    "a long static text": "word " * 150_000 + "{{ x }}",
    "a percent sign": "100 % of 5000000 {{ '%s of %d' % (x, 5) }}",
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_template_is_rendered(name: str) -> None:
    declared = {
        "x": "X",
        "docs": {"type": "array", "default": []},
        "titles": {"type": "array", "default": []},
        "text": "",
    }
    source = json.dumps({"variables": declared, "system": HONEST[name]})
    values: dict[str, Any] = {
        "docs": DOCS,
        "titles": [doc["title"] for doc in DOCS[:200]],
        "text": "word " * 9 + "\n" + ("word " * 15 + "\n") * 3000,
    }
    assert runner()[0].render(Persona.parse(source, "x.yaml"), variables=values).system


def test_what_the_caller_gives_is_never_too_much() -> None:
    source = "variables: {text: ''}\nsystem: '{{ text }}{{ text | upper }}'\nprompt: '{{ input }}'"
    text = "word " * 1_000_000
    found = runner()[0].render(
        Persona.parse(source, "x.yaml"), "b" * 3_000_000, variables={"text": text}
    )
    assert found.system == text + text.upper()
    assert found.messages[-1].content == "b" * 3_000_000


# --- the budget itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("abc", 3), ("", 0), (b"ab", 2), (7, 1), (None, 1), ([], 1), (["ab", "c"], 6), ((1, 2), 5),
        ({"a": "bc"}, 5), ({"a": {"b": []}}, 7), ({1, 2}, 5), (range(3), 18),
        ({"a": 1}.values(), 3),
    ],
)  # fmt: skip
def test_the_size_of_a_value(value: Any, size: int) -> None:
    assert size_of(value) == size


def test_the_size_of_a_value_is_counted_up_to_a_limit() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value, value]
    assert size_of(value, 1000) > 1000


def test_a_budget_is_used_up() -> None:
    budget = Budget()
    budget.charge(MAX_STEPS)
    with pytest.raises(LimitExceeded, match="does too much: the limit is 400,000 steps"):
        budget.charge(1)
    with pytest.raises(LimitExceeded, match="the limit is 200,000 characters"):
        Budget().room(MAX_SIZE + 1)
    Budget(allowance=1, source=2).room(MAX_SIZE + 6)


@pytest.mark.parametrize(
    ("method", "args", "steps"),
    [
        ("charge", [5], 5), ("room", [6400], 201), ("room", [0], 1), ("read", [7], 0),
        ("read", ["a" * 6400], 200), ("read", [list(range(1200))], 200),
        ("whole", ["a" * 6400], 201), ("whole", [list(range(600))], 201), ("whole", [7], 0),
        ("whole", [[["a" * 600]]], 101), ("whole", [{"a": {"b": [1] * 600}}], 202),
        ("made", ["a" * 6400], 201), ("made", [list(range(600))], 201), ("made", [7], 0),
        ("concat", [["a"] * 640], 21),
        ("binop", ["-", 1, 2], 0), ("binop", ["+", 1, 2], 0),
        ("binop", ["+", "a" * 64, "a" * 64], 5),
        ("binop", ["+", [1] * 60, [1] * 60], 41), ("binop", ["*", "a" * 64, 10], 21),
        ("binop", ["*", 3, [1] * 60], 61), ("binop", ["%", "%s", "a" * 62], 3),
        ("call", ["ab".upper, (), {}], 1), ("call", ["a".join, (["a"] * 60,), {}], 22),
        ("searching", ["a" * 4096, "b" * 9], 137),
    ],
)  # fmt: skip
def test_what_each_thing_costs(method: str, args: list[Any], steps: int) -> None:
    budget = Budget()
    getattr(budget, method)(*args)
    assert MAX_STEPS - budget.left == steps


@pytest.mark.parametrize("args", [(5,), (1, 5), (0, 10**9, 10**8), (5, 0), (-3, 3), (200_000,)])
def test_a_range_that_is_allowed(args: tuple[int, ...]) -> None:
    assert bounded_range(*args) == range(*args)


@pytest.mark.parametrize("args", [(200_001,), (10**30,), (0, -(10**9), -1)])
def test_a_range_that_is_not(args: tuple[int, ...]) -> None:
    with pytest.raises(LimitExceeded, match="the range is too large"):
        bounded_range(*args)

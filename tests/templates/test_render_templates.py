"""What templates can do, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.render import refused, system

from personakit import Config, PersonaError, Runner, TemplateError, hookimpl
from personakit.testing import persona


def test_nothing_is_worked_out_before_it_is_rendered() -> None:
    assert system("{% if false %}{{ 1 if 1[1] else 2 }}{% endif %}ok") == "ok"
    assert refused("{{ 1 if 1[1] else 2 }}") == "an integer 1 has no item 1"
    assert "'x' is undefined" in refused("{{ x if false else 2 }}")


def test_a_long_name_does_not_make_a_long_message() -> None:
    for template in (f"{{{{ {'a' * 90000} }}}}", f"{{{{ 1 | {'a' * 90000} }}}}"):
        assert len(refused(template)) < 2000


# --- what a template may use --------------------------------------------------------------------


ABLE: list[tuple[str, str]] = [
    ("{{ x | upper }} {{ x | title }} {{ x | replace('b', 'c') }}", "ABC Abc acc"),
    ("{{ l | join(', ') }} {{ l | sort }} {{ l | sum }} {{ l | max }}", "3, 1, 2 [1, 2, 3] 6 3"),
    ("{{ l | map('string') | join('-') }} {{ l | select('odd') | list }}", "3-1-2 [3, 1]"),
    ("{{ l | first }}{{ l | last }}{{ l | length }} {{ l | reverse | list }}", "323 [2, 1, 3]"),
    ("{{ l | batch(2) | list }} {{ l | slice(2) | list }}", "[[3, 1], [2]] [[3, 1], [2]]"),
    ("{{ l[1:] }} {{ x[:2] }} {{ l[0] }} {{ x[-1] }}", "[1, 2] ab 3 c"),
    ("{{ d.a }} {{ d['a'] }} {{ d | items | list }}", "1 1 [('a', 1)]"),
    ("{{ {'b': 1, 'a': 2} | dictsort }}", "[('a', 2), ('b', 1)]"),
    ("{{ d.zzz | default('none') }} {{ d.zzz is defined }}", "none False"),
    ("{{ d | tojson }} {{ '<b>' | tojson }} {{ 'é' | tojson }}", '{"a": 1} "<b>" "é"'),
    ("{{ d | tojson(indent=2) }}", '{\n  "a": 1\n}'),
    ("{{ [{'k': 1, 'v': 'a'}, {'k': 1, 'v': 'b'}] | groupby('k') | length }}", "1"),
    ("{{ [{'v': 'a'}, {'v': 'b'}] | map(attribute='v') | join }}", "ab"),
    ("{{ 'a b' | urlencode }} {{ 'a\nb' | indent(2) }}", "a%20b a\n  b"),
    ("{{ 'a b c' | wordwrap(2) }}", "a\nb\nc"),
    ("{{ '%s is %d' % (x, 3) }} {{ '%(a)03d' % d }} {{ '%s' | format(x) }}", "abc is 3 001 abc"),
    ("{{ 7 // 2 }} {{ 7 / 2 }} {{ 7 % 2 }} {{ 2 ** 3 }} {{ -7 }}", "3 3.5 1 8 -7"),
    ("{{ 'a' ~ 1 ~ 2.5 ~ true }} {{ 'a' + 'b' }} {{ 'a' * 3 }}", "a12.5True ab aaa"),
    ("{{ [0] * 2 }} {{ [1] + l }} {{ (1, 2) + (3,) }}", "[0, 0] [1, 3, 1, 2] (1, 2, 3)"),
    ("{{ 1 < 2 < 3 and x in ['abc'] and not 0 }} {{ 'b' in x }}", "True True"),
    ("{{ x is string }} {{ x is upper }} {{ 3 is divisibleby 3 }}", "True False True"),
    ("{{ ', '.join(['a', 'b']) }} {{ x.split('b') }} {{ x.find('c') }}", "a, b ['a', 'c'] 2"),
    ("{{ range(3) | list }} {{ dict(a=1) }} {{ dict(d, b=2).b }}", "[0, 1, 2] {'a': 1} 2"),
    ("{% set n = namespace(v=0) %}{% for i in l %}{% set n.v = i %}{% endfor %}{{ n.v }}", "2"),
    ("{% for i in l %}{{ loop.index }}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "13,21,32"),
    ("{% for i in l if i > 1 %}{{ i }}{% else %}none{% endfor %}", "32"),
    ("{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}", "3"),
    ("{% for i in [1] recursive %}{{ i }}{{ loop([2, 3]) if i == 1 }}{% endfor %}", "123"),
    ("{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{% endmacro %}{{ m(1, 3, 4) }}", "13(4,)"),
    ("{% macro m(a, b=2) %}{{ a }}{{ b }}{{ kwargs }}{% endmacro %}{{ m(1, c=3) }}", "12{'c': 3}"),
    ("{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(u) m() %}{{ u }}{% endcall %}", "<1>"),
    ("{% set q %}a{{ x }}{% endset %}{{ q }}{% filter upper %}b{% endfilter %}", "aabcB"),
    ("{% set a, b = 1, 2 %}{{ a }}{{ b }}{% with c = 3 %}{{ c }}{% endwith %}", "123"),
    ("{{ 5.567 | round(1) }} {{ 7 | round(-1) }} {{ '42' | int + 1 }}", "5.6 10 43"),
    ("{{ 'a' if false else 'b' }}{{ 'c' if false }}", "b"),
    ("{{ ([range] + [1]) | length }} {{ {(1, 2): 3}[(1, 2)] }}", "2 3"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "text"), ABLE)
def test_what_a_template_can_do(template: str, text: str) -> None:
    declared = {"x": "abc", "l": [3, 1, 2], "d": {"default": {"a": 1}}}
    assert system(template, declared) == text


OBJECTS = [
    "{{ range }}", "{{ range(3) }}", "{{ 'x'.upper }}", "{{ ['x'.upper] }}", "{{ {'a': range} }}",
    "{{ 'a' | map('upper') }}", "{{ namespace(a=1) }}", "{{ {}.items() }}", "{{ range ~ '' }}",
    "{{ range | string }}", "{{ range | upper }}", "{{ [range] | join }}", "{{ '%s' % range }}",
    "{{ '%s' % (range,) }}", "{{ 'a' | replace('a', range) }}", "{{ ('a' | map('upper')) | trim }}",
    "{% for i in [1] %}{{ loop }}{% endfor %}", "{% macro m() %}{% endmacro %}{{ m }}",
    "{{ ('a' | safe).join([range]) }}", "{{ ('a' | safe).join(([range] | map('d'))) }}",
    "{{ ('a' | safe).replace('a', range) }}", "{{ ('a' | safe).ljust(9, range) }}",
]  # fmt: skip


@pytest.mark.parametrize("template", OBJECTS)
def test_no_object_is_written(template: str) -> None:
    found = refused(template)
    assert " object is not allowed in a prompt; " in found
    assert "0x" not in found


MACRO = "{% macro m() %}{% endmacro %}"


ESCAPES = [
    "{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ '' | attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') | list }}", "{{ range.__globals__ }}",
    "{{ '' | attr('\\x5f\\x5fclass\\x5f\\x5f') }}", "{{ dict.__subclasses__() }}",
    "{{ dict.mro() }}", "{{ x.__init__ }}", "{{ x.format(x) }}", "{{ x.format_map({}) }}",
    "{% set f = x.format %}{{ f(1) }}", "{{ (x | attr('format'))(1) }}",
    "{{ [x] | map('attr', 'format') | first }}", "{{ x.translate({}) }}",
    "{{ x.encode('punycode') }}", "{{ x.maketrans('a', 'b') }}", "{{ (1).to_bytes(9, 'big') }}",
    "{{ true.from_bytes([1], 'big') }}", MACRO + "{{ m.__globals__ }}", MACRO + "{{ m._func }}",
    "{% for i in [1] %}{{ loop._iterable }}{% endfor %}", "{{ ('a' | map('upper')).gi_frame }}",
    "{{ ('a' | map('upper')).gi_code }}", "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}", "{{ [].append(1) }}", "{{ {}.update(a=1) }}",
    "{{ {}.pop('a') }}", "{{ [1].sort() }}", "{{ {}.setdefault('a', 1) }}", "{{ [1].clear() }}",
    "{{ [1].__iadd__([2]) }}", "{{ x.upper.__self__ }}", "{{ {}.fromkeys.__self__ }}",
    "{{ (x | safe).escape(range) }}",
]  # fmt: skip


@pytest.mark.parametrize("template", ESCAPES)
def test_the_sandbox_is_closed(template: str) -> None:
    found = refused(template, {"x": "{0.__class__}"})
    assert "unsafe" in found or "has no attribute" in found or "undefined" in found
    assert "<class" not in found


GONE = [
    "cycler", "joiner", "lipsum", "config", "request", "get_flashed_messages", "url_for", "self",
    "context", "environment", "os", "__builtins__", "open", "print", "eval", "caller", "varargs",
]  # fmt: skip


@pytest.mark.parametrize("name", GONE)
def test_no_other_name_is_there(name: str) -> None:
    found = refused(f"{{{{ {name} }}}}")
    assert f"{name!r} is undefined" in found or "object is not allowed" in found


@pytest.mark.parametrize("name", "pprint random striptags urlize xmlattr".split())
def test_filters_with_no_place_in_a_prompt_are_gone(name: str) -> None:
    assert f"unknown filter {name!r}" in refused(f"{{{{ 'a' | {name} }}}}")


@pytest.mark.parametrize(
    "name", ["dict.update(d, b=2)", "dict.pop(d, 'a')", "d.__setitem__('b', 2)"]
)
def test_a_template_changes_nothing(name: str) -> None:
    declared = {"d": {"default": {"a": 1}}}
    refused(f"{{% set d = {{'a': 1}} %}}{{% set q = {name} %}}{{{{ d }}}}", declared)


# --- the method join ------------------------------------------------------------------------------

PAIRS = {"d": {"default": {"a": 1}}, "l": [3, 1, 2]}
NOT_TEXTS = {
    "{{ '-'.join(l) }}": "sequence item 0: expected str instance, int found",
    "{{ '-'.join(d | dictsort) }}": "sequence item 0: expected str instance, tuple found",
    "{{ '-'.join(l | map('abs')) }}": "sequence item 0: expected str instance, int found",
    "{% for x in l if 'a' == 'a'.join(l) %}{% endfor %}": "expected str instance, int found",
}


@pytest.mark.parametrize("template", NOT_TEXTS)
def test_the_method_join_takes_texts_only_and_names_the_filter(template: str) -> None:
    found = refused(template, PAIRS)
    assert NOT_TEXTS[template] in found
    assert found.endswith("; the filter join takes any values, as in {{ x | join(', ') }}")


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("join()", "str.join() takes exactly one argument (0 given)"),
        ("join(d, d)", "str.join() takes exactly one argument (2 given)"),
        ("join(d, a=1)", "str.join() takes no keyword arguments"),
        ("join(5)", "'int' object is not iterable"),
        ("join([d.b])", "'d' has no field 'b' (it has: a)"),
    ],
)
def test_the_method_join_takes_one_argument(call: str, fault: str) -> None:
    assert fault in refused(f"{{{{ '-'.{call} }}}}", PAIRS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ '-'.join(d) }} {{ '-'.join('abc') }} {{ '-'.join(d.keys()) }}", "a a-b-c a"),
        ("{{ '-'.join('ab' | map('upper')) }} {{ '-'.join(['<' | safe, 'b']) }}", "A-B <-b"),
        ("{% for x in l %}{{ '-'.join(['a', 'b']) }} {% endfor %}", "a-b a-b a-b "),
        ("{{ ('<' | safe).join(['<', 1, none, '&' | safe]) }}", "&lt;<1<None<&"),
    ],
)
def test_the_method_join_gives_the_text_of_python(template: str, text: str) -> None:
    assert system(template, PAIRS) == text


# --- extends and include ------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Runner:
    """A runner whose library is an empty folder."""
    return Runner(Config(path=(tmp_path,), model="test/model"))


def write(folder: Path, **files: str) -> None:
    """Write files; of a name, two underscores are a slash and one before the ending is a dot."""
    for name, content in files.items():
        file = folder / name.replace("__", "/").replace("_md", ".md").replace("_yaml", ".yaml")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, "utf-8")


def test_the_text_of_the_parent(library: Runner, tmp_path: Path) -> None:
    write(
        tmp_path,
        base_yaml="variables: {tone: polite}\nsystem: 'Be {{ tone }}.'",
        child_yaml="extends: base\nsystem: '{{ parent.system }} Be brief.'",
        last_yaml="extends: child\nvariables: {tone: warm}\nsystem: '{{ parent.system }} Bye.'",
        heir_yaml="extends: base",
    )
    assert library.render("child").system == "Be polite. Be brief."
    assert library.render("child", variables={"tone": "{{ 1 }}"}).system == "Be {{ 1 }}. Be brief."
    assert library.render("last").system == "Be warm. Be brief. Bye."
    assert library.render("heir").system == "Be polite."


def test_a_partial_sees_the_variables(library: Runner, tmp_path: Path) -> None:
    write(
        tmp_path,
        tone_md="Be {{ tone }}.",
        partials__tone_md="Be {{ tone }}.\n",
        a_yaml="variables: {tone: kind}\nsystem: |\n  {% include 'partials/tone.md' %}\n  Bye.\n",
        b_yaml="system: \"{% set tone = 'firm' %}{% include 'tone.md' %}\"",
        c_yaml="system: |\n  hi\n  {% include 'partials/tone.md' %}\n",
    )
    assert library.render("a").system == "Be kind.\nBye.\n"
    assert library.render("a", variables={"tone": "{{ 1 }}"}).system == "Be {{ 1 }}.\nBye.\n"
    assert library.render("b").system == "Be firm."
    with pytest.raises(TemplateError) as caught:
        library.render("c")
    assert "'tone' is undefined" in str(caught.value)
    assert f"{tmp_path / 'partials' / 'tone.md'}:1:7: " in str(caught.value)


def test_a_partial_is_read_again_when_it_changes(library: Runner, tmp_path: Path) -> None:
    write(tmp_path, p_md="one", a_yaml="system: \"{% include 'p.md' %}\"")
    assert library.render("a").system == "one"
    write(tmp_path, p_md="three")
    assert library.render("a").system == "three"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (
            "'../secret.md'",
            "include '../secret.md' is not allowed: write a path inside the library",
        ),
        ("'/etc/passwd'", "is not allowed"),
        ("'a//b.md'", "is not allowed"),
        ("'a/../b.md'", "is not allowed"),
        ("'C:/x.md'", "is not allowed"),
        ("'http://x.y/z.md'", "is not allowed"),
        ("''", "is not allowed"),
        ("'link.md'", "is outside the library folder"),
        ("'none.md'", "; create it, or correct the name"),
        ("x", "the path to include must be a literal string"),
        ("['a.md', 'b.md']", "the path to include must be a literal string"),
        ("'self.md'", "include 'self.md' includes itself"),
        ("'../no file.md' ignore missing", "is not allowed"),
        ("'link.md' ignore missing", "is outside the library folder"),
    ],
)
def test_what_cannot_be_included(library: Runner, tmp_path: Path, name: str, fault: str) -> None:
    inner = tmp_path / "inner"
    write(tmp_path, secret_md="SECRET")
    write(tmp_path, inner__self_md="{% include 'self.md' %}")
    (inner / "link.md").symlink_to(tmp_path / "secret.md")
    (inner / "a.yaml").write_text(f"variables: {{x: 1}}\nsystem: |\n  {{% include {name} %}}\n")
    with pytest.raises(PersonaError) as caught:
        Runner(Config(path=(inner,))).render("a")
    assert fault in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_includes_that_multiply_are_bounded(library: Runner, tmp_path: Path) -> None:
    for n in range(12):
        (tmp_path / f"p{n}.md").write_text(f"{{% include 'p{n + 1}.md' %}}" * 50)
    write(tmp_path, p12_md="", a_yaml="system: \"{% include 'p0.md' %}\"")
    with pytest.raises(TemplateError, match="does too much"):
        library.render("a")


# --- plugins ------------------------------------------------------------------------------------


class Shouts:
    """A plugin that contributes a filter and a name."""

    @staticmethod
    @hookimpl
    def setup(registry: Any) -> None:
        registry.template_filter("shout", lambda text, mark="!": str(text).upper() + mark)
        registry.template_filter("spread", lambda text, times: [text] * times)
        registry.template_global("today", lambda: "Monday")


def test_a_plugin_contributes_filters_and_names(install: Any) -> None:
    install(shouts=Shouts)
    running = Runner(Config(path=()))
    assert running.render(persona("{{ 'hi' | shout }} {{ today() }}")).system == "HI! Monday"
    with pytest.raises(TemplateError, match="too large"):
        running.render(persona("{{ 'hi' | spread(10000000) | length }}"))
    with pytest.raises(TemplateError, match="unknown filter 'shot'; did you mean 'shout'"):
        running.render(persona("{{ 'hi' | shot }}"))

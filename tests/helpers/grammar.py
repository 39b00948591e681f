"""Random templates, and values for them: what the tests of rendering are fed with.

Most expressions have the types that their operators take, so that most templates give a text; some
have any, and most of those are errors.
"""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

VALUES: dict[str, Any] = {
    "s": "Ada", "t": "two words", "n": 3, "f": 2.5, "b": True, "e": "",
    "l": ["b", "a", "c"], "m": [1, "x", 2.5], "d": {"name": "Zoe", "age": 7, "city": {"in": "FR"}},
    "r": [{"k": "one", "v": [1, 2], "items": 4}, {"k": "two", "v": [], "items": 5}],
    "u": "Żółć ß ｉ 漢字", "z": 0, "x": "X", "y": {"k": "why", "v": [7]},
}  # fmt: skip

Texts = st.SearchStrategy[str]


def pick(words: str | list[str]) -> Texts:
    """Return one of some words."""
    return st.sampled_from(words.split() if isinstance(words, str) else words)


def form(pattern: str, *parts: Texts) -> Texts:
    """Return a pattern with parts in its braces."""
    return st.builds(pattern.format, *parts)


def _named(name: str) -> Texts:
    found: Texts = globals()[name]
    return found


LOOP = pick(
    "index index0 revindex revindex0 first last length depth depth0 cycle('p','q') changed(n) "
    "changed(loop.index0//2) previtem|default('-') nextitem|default('-')"
)
SLICE = pick("1: :2 ::2 ::-1 -2: n: :n")

text: Texts = st.deferred(lambda: _named("TEXT"))
number: Texts = st.deferred(lambda: _named("NUMBER"))
truth: Texts = st.deferred(lambda: _named("TRUTH"))
items: Texts = st.deferred(lambda: _named("ITEMS"))
value: Texts = st.deferred(lambda: _named("VALUE"))

TEXT_ATOM = pick(["s", "t", "u", "e", "'q'", "'<&>'", "r[0].k", "d.name", "d['name']", "y.k", "''"])
TEXT = TEXT_ATOM | st.one_of(
    TEXT_ATOM,
    form("({} ~ {})", text, value),
    form("({} + {})", text, text),
    form("({} | {})", text, pick(
        "upper lower title trim trim('a') capitalize replace('a','bb') replace('a','b',1) string "
        "center(9) indent indent(2,true) truncate(4) wordwrap(3) urlencode e escape forceescape "
        "safe default('z') reverse first last join('.') tojson format"
    )),
    form("{}.{}", TEXT_ATOM, pick(
        "upper() strip('a') title() zfill(5) ljust(6,'.') replace('a',s) join(l) lower()"
    )),
    form("{}.join({})", TEXT_ATOM, pick(["m", "d", "u", "(d | dictsort)", "(l | map('upper'))"])),
    form("({} | safe).{}", TEXT_ATOM, pick(
        "upper() join(l) join(m) join(d) replace('a','<') ljust(6,'.') zfill(5) strip('a') title()"
    )),
    form("{}[{}]", TEXT_ATOM, SLICE),
    form("({} if {} else {})", text, truth, text),
    form("({} | string)", number),
    form("({} | {})", items, pick(["join", "join(', ')", "join(s)", "tojson", "tojson(indent=2)"])),
    form("({} | default({}))", pick("d.zzz s ns.a missing.y r[0].zz"), text),
    form("({} | d({}, true))", text, text),
    form("('%s: %s' | format({}, {}))", value, value),
    form("('%s!' % {})", number),
    form("({} * {})", TEXT_ATOM, pick("0 1 3")),
)  # fmt: skip
NUMBER_ATOM = pick("n f z 1 2.5 7 d.age d['age'] r[0].v[1] y.v[0]")
NUMBER = NUMBER_ATOM | st.one_of(
    form("({} {} {})", number, pick("+ - *"), number),
    form("({} {} {})", number, pick("/ // %"), pick("1 2 3 2.5")),
    form("({} ** 2)", NUMBER_ATOM),
    form("(-{})", number),
    form("({} | {})", number, pick("abs round round(1) int float")),
    form("({} | {})", items, pick("length count")),
    form("({} | {})", text, pick("length wordcount int")),
    form("({} | {})", pick(["[1, 2]", "y.v", "r[0].v", "range(4)"]), pick("sum min max first")),
    form("{}.count('a')", TEXT_ATOM),
)
TRUTH = pick("b true false") | st.one_of(
    form("({} {} {})", number, pick("== != < <= > >="), number),
    form("({} < {} <= {})", number, number, number),
    form("({} {} {})", text, pick(["==", "!=", "<", "in", "not in"]), text),
    form("({} {} {})", text, pick(["in", "not in"]), items),
    form("({} {} {})", items, pick("== != <"), items),
    form("({} in {} in {})", TEXT_ATOM, TEXT_ATOM, pick(["[s, t, e]", "l"])),
    form("({} {} {})", truth, pick("and or"), truth),
    form("(not {})", truth),
    form("({} is {}{})", value, pick(["", "not "]), pick(
        "defined undefined none string number mapping boolean integer float true false iterable "
        "sequence callable in(l) eq(n) ne(s) sameas(s) escaped"
    )),
    form("({} is {})", number, pick("odd even divisibleby(2) gt(2) lt(n)")),
    form("({} is {})", text, pick("lower upper in(s) eq(s)")),
    pick(["(d.zzz is defined)", "(missing is defined)", "(r[5] is undefined)", "('k' in y)"]),
)  # fmt: skip
ITEMS_ATOM = pick(["l", "m", "['a', s]", "(1, 2)", "[]", "y.v", "r[0].v"])
ITEMS = ITEMS_ATOM | st.one_of(
    form("[{}, {}]", value, value),
    form("({}[{}])", pick("l m r"), SLICE),
    form("({} + {})", pick(["l", "m", "['a']"]), pick(["l", "m", "[1, [2, 'z']]"])),
    form("({} | {})", pick(["l", "['b', 'A', 'a']", "t.split()", "u"]), pick(
        "sort sort(reverse=true) sort(case_sensitive=true) reverse|list unique|list "
        "map('upper')|list map('length')|list list batch(2)|list slice(2)|list select|list "
        "select('in','ab')|list reject('eq','a')|list groupby(0)|list"
    )),
    form("(r | {})", pick(
        "map(attribute='k')|list map(attribute='zz',default=1)|list selectattr('v')|list "
        "rejectattr('v')|list selectattr('k','eq','one')|list sort(attribute='k',reverse=true) "
        "groupby('k')|list sum(attribute='items')|string|list map('length')|list"
    )),
    form("{}.split({})", TEXT_ATOM, pick(["", "'a'", "' ', 1"])),
    form("(d | {})", pick("dictsort items|list list length|string|list")),
    pick(["d.items()|list", "d.keys()|list", "d.values()|list", "range(3)|list", "u|list"]),
)  # fmt: skip
ANYTHING = st.recursive(
    st.one_of(
        value,
        pick([
            "d", "r", "y", "none", "d.zzz", "r[0].items", "r[0]['items']", "y.items", "l[9]",
            "ns.a", "ns.zz", "o", "o()", "o(1)", "o(s, q=n)", "caller()", "varargs", "kwargs",
            "loop.index", "loop", "loop.ｉndex", "dict(a=n)", "{'a': s, n: l}", "{'k': d}.k.name",
            "self", "range(3)", "1e400", "missing", "d.city.in.x", "l|map('nosuch')",
        ]),
    ),
    lambda inner: st.one_of(
        form("({} {} {})", inner, pick("+ - * / // % ~ == < in and or **"), inner),
        form("({} | {})", inner, pick(
            "upper length first last join sort tojson list sum min max int round abs dictsort "
            "items unique reverse default('z') attr('k') map(attribute='k')|list batch(2) format(1)"
        )),
        form("({} is {})", inner, pick("odd divisibleby(2) lower in(l) sameas(x) gt(1)")),
        form("{}[{}]", inner, inner),
        form("{}.{}", inner, pick("items() keys() get('k') copy() index('a') format(1) k v real")),
        form("{}.{}({})", inner, pick("join count index replace split startswith strip"), inner),
        form("({} if {})", inner, inner),
        form("(-{})", inner),
    ),
    max_leaves=4,
)  # fmt: skip
VALUE = st.one_of(text, text, number, truth, items, st.just("x"))
WRITTEN = st.one_of(text, text, number, truth, items, items, st.sampled_from(["x", "d", "r", "y"]))
ITERABLE = st.one_of(
    items, items,
    pick(["d", "d.keys()", "range(n)", "u", "l | map('upper')", "r | groupby('k')"]),
)  # fmt: skip

OPEN, CLOSE = pick(["{%", "{%", "{%-", "{%+"]), pick(["%}", "%}", "-%}"])


def tag(*parts: Texts | str) -> Texts:
    """Return a statement, with or without whitespace control."""
    made = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.builds(lambda *words: " ".join(words), OPEN, *made, CLOSE)


def block(*parts: Texts) -> Texts:
    """Return statements and bodies, one after the other."""
    return st.tuples(*parts).map("".join)


NAME = pick("v w s n x l")
INCLUDE = tag(pick(["include 'p.md'", "include 'q.md'", "include 'q.md' ignore missing"]))
DATA = st.text(alphabet="ab \n\t", max_size=6)
LEAF = st.one_of(
    DATA, INCLUDE, INCLUDE,
    form("{{{{ {} }}}}", WRITTEN), form("{{{{ {} }}}}", WRITTEN), form("{{{{- {} -}}}}", WRITTEN),
    pick(["{{ v | default('-') }}", "{{ w | default('-') }}", "{{ ns.a }}", "{{ o(x) }}"]),
    tag("set", NAME, "=", WRITTEN), tag("set ns.a =", WRITTEN), tag("set ns.b = ns.b ~ 'b'"),
    tag("set v, w =", pick(["(1, 2)", "t.split()", "('a', l)"])),
    pick(["{# no #}", "{% raw %}{{ s }}{% endraw %}", "{% if v is defined %}{{ v }}{% endif %}"]),
)  # fmt: skip
WILD = form("{{{{ {} }}}}", ANYTHING)


def statements(leaf: Texts, inside: Callable[[], Texts]) -> Texts:
    """Return statements whose leaves are these; `inside` returns those of a loop."""
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=4).map("".join),
            block(tag("if", truth), inner, tag("else"), inner, tag("endif")),
            block(tag("if", truth), inner, tag("elif", value), inner, tag("endif")),
            block(tag("for x in", ITERABLE), inside(), tag("endfor")),
            block(tag("for v in", ITERABLE), inside(), tag("else"), inner, tag("endfor")),
            block(tag("for x in", ITERABLE, "if", truth), inside(), tag("endfor")),
            block(tag("for v, x in d.items()"), inside(), tag("endfor")),
            block(
                tag("for x in [l, [s, [n]]] recursive"), inside(),
                st.just("{{ loop(x) if x is sequence and x is not string and loop.depth < 4 }}"),
                tag("endfor"),
            ),
            block(
                tag("for x in", ITERABLE), inner,
                pick(["{% break %}", "{% if loop.first %}{% continue %}{% endif %}"]),
                inner, tag("endfor"),
            ),
            block(tag("with", NAME, "=", WRITTEN), inner, tag("endwith")),
            block(tag("set", NAME), inner, tag("endset")),
            block(tag("set", NAME, "| upper"), inner, tag("endset")),
            block(tag("filter", pick("upper trim length")), inner, tag("endfilter")),
            block(tag("macro o(p=1, q=s)"), st.just("{{ p }}{{ q }}"), inner, tag("endmacro")),
            block(
                tag("macro o(p, q=n)"), st.just("{{ p }}{{ q }}{{ caller(p) }}{{ varargs }}"),
                tag("endmacro"), tag("call(v) o(", value, ", 1, 2)"), inner, tag("endcall"),
                st.just("{% macro o(p=1, q=2) %}{{ p }}{% endmacro %}"),
            ),
        ),
        max_leaves=6,
    )  # fmt: skip


IN_LOOP = statements(st.one_of(LEAF, form("{{{{ loop.{} }}}}", LOOP)), lambda: LEAF)
TEMPLATE = statements(
    st.one_of(LEAF, LEAF, LEAF, LEAF, WILD),
    lambda: st.one_of(IN_LOOP, form("{{{{ loop.{} }}}}", LOOP)),
)
PLAIN = st.recursive(
    st.one_of(
        st.text(alphabet="aAß<{% ｉ", max_size=5), st.integers(-3, 3), st.integers(), st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False), st.none(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["k", "v", "name", "items", "a b"]), inner, max_size=3),
    ),
    max_leaves=5,
)  # fmt: skip

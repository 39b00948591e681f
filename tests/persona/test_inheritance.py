"""Personas that extend others and include partials."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.persona import system_of

from personakit import PersonaError, PersonakitError, Runner
from personakit.config import Config

Write = Callable[..., Runner]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files below a library folder and return a runner that has it."""

    def files(**contents: str) -> Runner:
        for name, text in contents.items():
            path = tmp_path / name.replace("__", "/")
            path = path if path.suffix else path.with_suffix(".yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), "utf-8")
        return Runner(Config(path=(tmp_path,)))

    return files


def system(runner: Runner, name: str, **variables: object) -> str:
    return runner.render(name, variables=variables).system


BASE = """
    description: The base.
    version: "1"
    tags: [a, b]
    license: MIT
    metadata: {x: 1, y: 1}
    model: openai/base
    parameters: {temperature: 0.1, seed: 1}
    variables:
      n: {type: integer, default: 2, minimum: 1, description: A number}
      tone: {type: string, enum: [formal, casual], default: formal}
    system: Base {{ n }} {{ tone }}.
    messages: [user: base]
    prompt: "base: {{ input }}"
    tools: [search]
    output: {type: object}
    history: {keep: 4}
    plugins: [one, two: {k: 1}]
    tests: [{render: {contains: Base}}]
"""


def test_a_child_takes_over_what_it_does_not_say(write: Write) -> None:
    child = write(base=BASE, child="extends: base\n").load("child")
    assert (child.name, child.description, child.tags) == ("child", "The base.", ("a", "b"))
    assert (child.version, child.license, child.tests) == ("", "", ())
    assert (child.model, child.tools) == ("openai/base", ("search",))
    assert child.output == {"type": "object"}
    assert child.history is not None
    assert child.history.keep == 4
    assert [use.name for use in child.plugins] == ["one", "two"]
    assert (system_of(child), len(child.messages)) == ("Base {{ n }} {{ tone }}.", 1)


def test_mappings_merge_lists_append_and_texts_replace(write: Write) -> None:
    child = write(
        base=BASE,
        child="""
            extends: base
            description: Mine.
            tags: [b, c]
            metadata: {y: 2}
            parameters: {seed: 2}
            variables: {n: {default: 5}, tone: casual, extra: x}
            system: Mine {{ n }} {{ extra }} {{ tone }}
            messages: []
            tools: [look]
            plugins: [two: {k: 2}, three, one]
        """,
    ).load("child")
    assert child.tags == ("a", "b", "c")
    assert child.metadata == {"x": 1, "y": 2}
    assert child.parameters == {"temperature": 0.1, "seed": 2}
    assert child.tools == ("search", "look")
    assert [use.name for use in child.plugins] == ["one", "two", "two", "three"]
    assert child.messages == ()
    number = child.variables["n"]
    assert (number.default, number.minimum, number.description) == (5, 1, "A number")
    assert (child.variables["tone"].default, child.variables["tone"].enum) == (
        "casual",
        ("formal", "casual"),
    )


def test_a_list_of_parents_is_taken_in_order(write: Write) -> None:
    runner = write(
        a="system: A\nparameters: {seed: 1, top_p: 1}\ntags: [a]\n",
        b="parameters: {seed: 2}\ntags: [b]\nvariables: {x: 1}\n",
        child="extends: [a, b]\ntags: [c]\nsystem: '{{ parent.system }} {{ x }}'\n",
    )
    child = runner.load("child")
    assert (child.tags, dict(child.parameters)) == (("a", "b", "c"), {"seed": 2, "top_p": 1})
    assert system(runner, "child") == "A 1"


def test_parent_system_is_the_rendered_text_of_each_generation(write: Write) -> None:
    runner = write(
        a="system: a {{ x }}\nvariables: {x: 1}\n",
        b="extends: a\nsystem: '{{ parent.system }} b'\n",
        c="extends: b\n",
        d="extends: c\nvariables: {x: 3}\nsystem: '{{ parent.system }} d'\n",
    )
    assert system(runner, "d") == "a 3 b d"
    assert system(runner, "c") == "a 1 b"
    assert system(runner, "d", x=9) == "a 9 b d"


def test_what_a_parent_renders_is_not_a_template(write: Write) -> None:
    runner = write(
        a="system: '{{ x }}'\nvariables: {x: '{{ y }}'}\n",
        b="extends: a\nsystem: '{{ parent.system }}'\n",
    )
    assert system(runner, "b") == "{{ y }}"


def test_a_literal_parent_stays_literal(write: Write) -> None:
    runner = write(
        a="system: 'a {{ x }}'\ntemplate: none\n",
        b="extends: a\n",
        c="extends: a\nsystem: '{{ parent.system }} {{ 1 + 1 }}'\n",
    )
    assert (system(runner, "b"), system(runner, "c")) == ("a {{ x }}", "a {{ x }} 2")


def test_a_persona_extends_one_of_its_name_further_along_the_path(write: Write) -> None:
    runner = write(chef="extends: chef\nvariables: {cook: Zoë}\n")
    assert "Zoë" in system(runner, "chef")
    assert runner.load("chef").parameters["max_tokens"] == 2084


def test_a_file_is_itself_by_whatever_path(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(chef="extends: chef\nsystem: '{{ parent.system }}!'\n")
    monkeypatch.chdir(tmp_path)
    runner = Runner(Config(path=(Path(),)))
    text = system(runner, str(tmp_path / "chef.yaml"))
    assert "Florent" in text
    assert text.count("!") == text.rstrip("!").count("!") + 1


def test_messages_are_appended_to_those_of_all_parents(write: Write) -> None:
    runner = write(
        a="""
            messages:
              - user: a {{ n }}
              - assistant: b
            variables: {n: 1}
        """,
        b="""
            extends: a
            messages:
              append:
                - user: "{{ n }} c"
            variables: {n: 2}
        """,
        c="""
            extends: b
            messages: {append: [assistant: d]}
        """,
        plain="extends: c\nmessages: [user: e]\n",
        nothing="extends: [x, c]\nmessages: {append: []}\n",
        x="system: x\n",
        first="extends: x\nmessages: {append: [user: f]}\n",
    )

    def texts(name: str) -> list[str]:
        return [message.text for message in runner.render(name).messages]

    assert texts("c") == ["a 2", "b", "2 c", "d"]
    assert texts("plain") == ["e"]
    assert texts("nothing") == ["x", "a 2", "b", "2 c", "d"]
    assert texts("first") == ["x", "f"]
    places = [(Path(text.document.path).stem, text.at) for _, text in runner.load("c").messages]
    assert places == [
        ("a", ("messages", 0, "user")),
        ("a", ("messages", 1, "assistant")),
        ("b", ("messages", "append", 0, "user")),
        ("c", ("messages", "append", 0, "assistant")),
    ]
    before = runner.hash("c")
    write(b="extends: a\nmessages: {append: [user: changed]}\n")
    assert texts("c") == ["a 1", "b", "changed", "d"]
    assert runner.hash("c") != before


def test_an_error_in_an_appended_message_is_where_it_is(write: Write) -> None:
    runner = write(
        a="messages: [user: a]\n",
        b="extends: a\nmessages:\n  append:\n    - user: a\n    - user: '{{ x }}'\n",
        c="extends: a\nmessages: {append: [usr: a]}\n",
        d="extends: a\nmessages: {append: a, apend: b}\n",
    )
    for name, message in {
        "b": "b.yaml:5:17: messages.append.1.user: 'x' is undefined",
        "c": "c.yaml:2:21: unknown role 'usr'",
        "d": "d.yaml:2:20: append: expected a list, found a string 'a'",
    }.items():
        with pytest.raises(PersonaError) as caught:
            runner.render(name)
        assert message in str(caught.value)


def test_a_parent_may_have_no_system_message(write: Write) -> None:
    runner = write(
        a="messages: [user: a]\n",
        b="extends: a\nsystem: b\n",
        c="extends: [b, a]\nprompt: c\n",
        d="extends: a\nmessages: [user: 'd']\nsystem: |\n  d\n  {{ parent.system }}\n",
    )
    for name, roles in {"a": "user", "b": "system user", "c": "system user user"}.items():
        assert [it.role for it in runner.render(name).messages] == roles.split()
    with pytest.raises(PersonaError, match=r"d.yaml:5:6: system: the parent has no system message"):
        runner.render("d")


WRONG = [
    ({"a": "extends: a\n"}, "a.yaml:1:10: extends: found a cycle: a -> a"),
    ({"a": "extends: b\n", "b": "extends: c\n", "c": "extends: a\n"},
     "found a cycle: a -> b -> c -> a"),
    ({"a": "extends: bb\n", "b": "system: x\n"}, "no persona 'bb'"),
    ({"a": "extends: ../b\n"}, "invalid persona name"),
    ({"a": "extends: /etc/passwd\n"}, "invalid persona name"),
    ({"a": "extends: http://127.0.0.1/x\n"}, "no installed plugin provides the scheme 'http:'"),
    ({"a": "extends: b.yaml\n", "b": "system: x\n"}, "invalid persona name"),
    ({"a": "extends: [b, 3]\n", "b": "system: x\n"}, "a.yaml:1:14: extends: expected a string"),
    ({"a": "extends: b\n", "b": "system: x\nversion: 1.0\n"}, "b.yaml:2:10: version"),
    ({"a": "extends: b\n", "b": "tags: [x]\n"}, "a.yaml:1:1: the persona sends nothing"),
    ({"a": "extends: b\nvariables: {n: {default: 0}}\n",
      "b": "system: '{{ n }}'\nvariables: {n: {default: 2, minimum: 1}}\n"}, "a.yaml:2"),
    ({"a": "extends: b\nsystem: x\n", "b": "system: '{{ who }}'\n"}, ""),
    ({"a": "extends: b\n", "b": "system: '{{ who }}'\n"}, "b.yaml:1"),
    ({"a": "system: '{{ parent.system }}'\n"}, "'parent' is undefined"),
    ({"a": "system: '{% include \"no.md\" %}'\n"}, "no file 'no.md'"),
    ({"a": "system: '{% include \"../x.md\" %}'\n"}, "not allowed"),
    ({"a": "system: '{% include \"/etc/passwd\" %}'\n"}, "not allowed"),
    ({"a": "system: '{% include x %}'\nvariables: {x: y}\n"}, "must be a literal string"),
    ({"a": "system: '{% import \"x.md\" as x %}'\n"}, "not supported"),
    ({"a": "system: '{% include \"x.md\" %}'\n", "x.md": "a\n{{ who }}"}, "x.md:2:4: 'who'"),
    ({"a": "system: '{% include \"x.md\" %}'\n", "x.md": "a\n{% if %}"}, "x.md:2:1: template"),
    ({"a": "system: '{% include \"x.md\" %}'\n", "x.md": "a\n\n{{ 1 / 0 }}"}, "x.md:3:1: the temp"),
    ({"a": "system: '{% include \"x.md\" %}'\n", "x.md": "{% include 'x.md' %}"}, "itself"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message"), WRONG, ids=[f"{i}" for i in range(len(WRONG))])
def test_wrong_parents_and_partials_are_named(
    write: Write, files: dict[str, str], message: str
) -> None:
    runner = write(**files)
    if not message:
        assert system(runner, "a") == "x"
        return
    with pytest.raises(PersonaError) as caught:
        runner.render("a")
    assert message in str(caught.value)


def test_the_depth_of_inheritance_is_bounded(write: Write) -> None:
    chain = {f"c{n}": f"extends: c{n + 1}\n" for n in range(40)}
    runner = write(**chain, c40="system: end\n")
    assert system(runner, "c25") == "end"
    with pytest.raises(PersonaError, match="the limit is 16 files"):
        runner.render("c0")


def test_partials_see_the_variables_and_what_is_set_around_them(write: Write) -> None:
    runner = write(
        **{
            "p": """
                variables: {who: you, items: {type: array, default: [a, b]}}
                system: |
                  {% set greeting = "Hello" %}
                  {% include "partials/hello.md" %}
                  {% for item in items %}
                  {% include "partials/item.md" %}
                  {% endfor %}
            """,
            "partials__hello.md": "{{ greeting }} {{ who }}.\n",
            "partials__item.md": '- {{ item }} {% include "partials/end.md" %}\n',
            "partials__end.md": "for {{ who }}\n",
        }
    )
    assert system(runner, "p") == "Hello you.\n- a for you\n- b for you\n"


def test_an_include_that_may_be_missing(write: Write) -> None:
    runner = write(p="system: a{% include 'no.md' ignore missing %}b\n")
    assert system(runner, "p") == "ab"


def test_links_out_of_the_library_are_refused(write: Write, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.md"
    outside.write_text("secret", "utf-8")
    runner = write(p="system: '{% include \"link.md\" %}'\n", q="extends: partials/link\n")
    (tmp_path / "link.md").symlink_to(outside)
    (tmp_path / "partials").mkdir()
    (tmp_path / "partials" / "link.yaml").symlink_to(outside)
    for name in ("p", "q"):
        with pytest.raises(PersonaError, match="is outside the library"):
            runner.render(name)


def test_a_persona_from_elsewhere_reads_no_file_beside_itself(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from personakit import Persona

    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "secret.md").write_text("secret", "utf-8")
    monkeypatch.chdir(tmp_path / "cwd")
    runner = write()
    stranger = Persona.parse("system: '{% include \"secret.md\" %}'\n", "git:some/where")
    with pytest.raises(PersonakitError, match=r"no file 'secret.md'"):
        runner.render(stranger)


def test_a_changed_parent_or_partial_is_seen_at_the_next_run(write: Write, tmp_path: Path) -> None:
    runner = write(
        **{
            "a": "system: 'one {% include \"x.md\" %}'\n",
            "b": "extends: a\nsystem: '{{ parent.system }}!'\n",
            "x.md": "partial",
        }
    )
    assert system(runner, "b") == "one partial!"
    write(a="system: 'second {% include \"x.md\" %}'\n")
    assert system(runner, "b") == "second partial!"
    write(**{"x.md": "new partial"})
    assert system(runner, "b") == "second new partial!"
    write(a="system: [wrong]\n")
    with pytest.raises(PersonaError, match=r"a\.yaml:1:9"):
        system(runner, "b")
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(PersonaError, match="no persona 'a'"):
        system(runner, "b")

"""What an import writes, keeps, skips and reports; where it reads from."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from personakit import Config, Runner, UsageError, hookimpl
from personakit.formats import (
    CODES,
    Draft,
    File,
    Note,
    Outgoing,
    Report,
    Text,
    export_persona,
    formats,
    import_personas,
)
from personakit.persona import yaml

AGENT = "---\nname: {name}\ndescription: Does it.\n---\n\n{text}\n"


def agent(folder: Path, name: str, text: str = "Work.") -> Path:
    path = folder / "agents" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(AGENT.format(name=name, text=text), "utf-8")
    return path


def statuses(report: Report) -> dict[str, str]:
    return {one.name: one.status for one in report.personas}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "personas"


def test_the_same_import_again_writes_nothing(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "source"
    for name in ("a", "b"):
        agent(source, name)
    assert statuses(import_personas(source, out)) == {"a": "new", "b": "new"}
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert statuses(import_personas(source, out)) == {"a": "same", "b": "same"}
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.iterdir()} == before
    other = tmp_path / "other"
    import_personas(source, other)
    assert (other / "a.yaml").read_bytes() == (out / "a.yaml").read_bytes()


def test_a_changed_item_is_written_again_unless_the_user_has_edited_it(
    tmp_path: Path, out: Path
) -> None:
    source = tmp_path / "source"
    agent(source, "a")
    agent(source, "b")
    import_personas(source, out)
    (out / "b.yaml").write_text((out / "b.yaml").read_text() + "tags: [mine]\n")
    agent(source, "a", "Work well.")
    agent(source, "b", "Work well.")
    report = import_personas(source, out)
    assert statuses(report) == {"a": "changed", "b": "kept"}
    assert "Work well." in (out / "a.yaml").read_text()
    assert "tags: [mine]" in (out / "b.yaml").read_text()
    assert "--force" in report.personas[1].notes[-1].message
    assert statuses(import_personas(source, out, force=True)) == {"a": "same", "b": "changed"}
    assert "tags" not in yaml.parse((out / "b.yaml").read_bytes()).data


def test_no_other_file_is_ever_replaced(tmp_path: Path, out: Path) -> None:
    out.mkdir()
    (out / "a.yaml").write_text("system: Mine.\n")
    source = tmp_path / "source"
    agent(source, "a")
    for force in (False, True):
        report = import_personas(source, out, force=force)
        assert [one.name for one in report.personas] == ["a-2"]
        assert (out / "a.yaml").read_text() == "system: Mine.\n"
    assert statuses(report) == {"a-2": "same"}


def test_rows_keep_their_names_when_one_is_inserted_before(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "p.csv"
    source.write_text("act,prompt\nCook,Cook.\nCook,Bake.\nPilot,Fly.\n")
    assert [*statuses(import_personas(source, out))] == ["cook", "cook-2", "pilot"]
    source.write_text("act,prompt\nNurse,Care.\nCook,Cook.\nCook,Bake.\nPilot,Fly high.\n")
    report = import_personas(source, out)
    assert statuses(report) == {
        "nurse": "new", "cook": "same", "cook-2": "same", "pilot": "changed"
    }  # fmt: skip
    assert "Bake." in (out / "cook-2.yaml").read_text()


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "source"
    agent(source, "good")
    (source / "agents" / "bad.md").write_bytes(b"---\nname: bad\ndescription: x\n---\n\xff\n")
    (source / ".claude" / "agents").mkdir(parents=True)
    (source / ".claude" / "agents" / "empty.md").write_text("---\nname: e\n---\n\n")
    report = import_personas(source, out, format="claude")
    assert [one.name for one in report.personas] == ["good"]
    reasons = {skipped.source: skipped.reason for skipped in report.skipped}
    assert "0xff" in reasons["agents/bad.md"]
    assert "empty" in reasons[".claude/agents/empty.md"]
    assert {skipped.line for skipped in report.skipped} >= {5}


def test_a_dry_run_and_the_report(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "p.csv"
    source.write_text("act,prompt,extra\nCook,As ${job title:cook} for ${x},kept\n")
    report = import_personas(source, out, dry_run=True)
    assert not out.exists()
    plain = report.plain()
    json.dumps(plain)
    assert plain["personas"] == [
        {
            "path": str(out / "cook.yaml"), "name": "cook", "source": "p.csv", "index": 1,
            "variables": {"job title": "job_title", "x": "x"}, "input": None, "status": "new",
        }
    ]  # fmt: skip
    codes = {note["code"]: note for note in plain["notes"]}
    assert {*codes} == {"name", "variable-renamed", "unmapped"}
    assert codes["unmapped"]["line"] == 2
    assert {*codes["name"]} == {"persona", "code", "field", "line", "message", "lost"}


def test_what_is_read_is_never_run_or_fetched(tmp_path: Path, out: Path) -> None:
    (tmp_path / "secret.json").write_text('{"x": 1}')
    source = tmp_path / "source"
    source.mkdir()
    bad = {
        "a.prompty": "---\nname: a\nsample: ../secret.json\n---\nsystem:\nx\n",
        "b.prompty": "---\nname: b\nsample: /etc/hostname\n---\nsystem:\nx\n",
        "c.prompt": "{{>../secret}}",
        "d.json": json.dumps({"_type": "prompt", "template_path": "../secret.json"}),
    }
    for name, text in bad.items():
        (source / name).write_text(text)
    (source / "link.prompty").symlink_to(tmp_path / "secret.json")
    report = import_personas(source, out)
    assert report.personas == []
    assert sorted(skipped.source for skipped in report.skipped) == sorted(bad)
    for name in ("a.prompty", "c.prompt", "d.json"):
        reason = next(one.reason for one in report.skipped if one.source == name)
        assert "is outside of the source and is not read" in reason


@pytest.mark.parametrize(
    ("name", "field"),
    [("a.md", "tools: Read, mcp__x__y, Bash(git:*)"), ("a/SKILL.md", "allowed-tools: [Read, a/b]")],
)
def test_tools_are_kept_apart_unless_they_are_asked_for(
    name: str, field: str, tmp_path: Path, out: Path
) -> None:
    source = tmp_path / name
    source.parent.mkdir(exist_ok=True)
    source.write_text(f"---\nname: a\ndescription: x\n{field}\n---\n\nWork.\n")
    import_personas(source, out)
    assert "tools" not in yaml.parse((out / "a.yaml").read_bytes()).data
    import_personas(source, tmp_path / "kept", keep_tools=True)
    kept = yaml.parse((tmp_path / "kept" / "a.yaml").read_bytes()).data["tools"]
    assert "Read" in kept
    assert all("/" not in tool and "(" not in tool for tool in kept)


def test_credentials_are_left_out(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "x.agent.md"
    source.write_text(
        "---\nname: x\nmcp-servers:\n  one:\n"
        "    env: {API_KEY: abcdef, OTHER_KEY: '${input:key}', TOKEN: $MY_TOKEN}\n"
        "    args: [sk-abcdefghijklmnopqrstuv]\n---\nWork.\n"
    )
    report = import_personas(source, out)
    text = (out / "x.yaml").read_text()
    assert "abcdef" not in text
    assert "${input:key}" in text
    assert "$MY_TOKEN" in text
    notes = [note for note in report.personas[0].notes if note.code == "credential"]
    assert len(notes) == 2
    assert all(note.lost and "abcdef" not in note.message for note in notes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[" * 100_000),
        ("a.json", '{"messages": ' * 5_000),
        ("a.yaml", "a: &a [x]\nb: [*a, *a]\nprompt: x\n"),
        ("a.yaml", "prompt: " + "[" * 5_000),
        ("a.prompty", "---\nname: a\n---\nsystem:\n{% for x in y %}" * 300),
        ("a.prompt", "{{#if x}}" * 3_000),
        ("a.prompt", "{{" * 50_000),
        ("a.md", "---\n" + "a: b\n" * 50_000),
        ("a.md", "`" * 100_000 + "$ARGUMENTS"),
        ("p.csv", 'act,prompt\n"' + "x" * 1_000_000),
        ("Modelfile", "FROM x\nSYSTEM " + '"' * 99_999),
        ("a.json", '{"spec": "chara_card_v2", "data": {"name": "' + "<START>" * 50_000 + '"}}'),
        ("a.json", '{"messages": [{"role": "user", "content": ' + "9" * 10_000 + "}]}"),
    ],
)  # fmt: skip
def test_hostile_files_are_refused_or_read_in_bounded_time(
    name: str, text: str, tmp_path: Path, out: Path
) -> None:
    source = tmp_path / name
    source.write_text(text)
    began = os.times()
    known = [
        key for key, one in formats().items() if one.read and one.may_have(PurePosixPath(name))
    ]
    for key in known:
        with contextlib.suppress(UsageError):
            import_personas(source, out / key, format=key)
    spent = os.times().user - began.user
    assert known
    assert spent < 20  # a bound against hangs; each takes well below a second


# --- sources -------------------------------------------------------------------------------------


def test_a_zip_is_a_source_and_cannot_be_left(tmp_path: Path, out: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x/.claude/agents/a.md", AGENT.format(name="a", text="Work."))
        file.writestr("x/node_modules/agents/b.md", AGENT.format(name="b", text="Work."))
    assert statuses(import_personas(archive, out)) == {"a": "new"}
    for name in ("../a.md", "/etc/a.md", "x/../../a.md", "C:/a.md", "..\\a.md"):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(name, "x")
        with pytest.raises(UsageError, match="leads out of the archive"):
            import_personas(archive, out)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.md", b"0" * (65 * 1024 * 1024))
    with pytest.raises(UsageError, match="bytes unpacked; the limit is"):
        import_personas(archive, out)
    archive.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UsageError, match="not a zip archive"):
        import_personas(archive, out)


def git(folder: Path, *args: str) -> str:
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    names |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in names.items()}
    done = subprocess.run(
        ["git", *args], cwd=folder, env={**os.environ, **names}, check=True, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A bare repository that stands for one of GitHub by the user's git."""
    work = tmp_path / "work"
    agent(work, "first")
    (work / "LICENSE").write_text("MIT License\n\nPermission is hereby granted")
    (work / "link.md").symlink_to("/etc/hostname")
    git(work, "init", "--quiet", "--initial-branch", "main")
    git(work, "add", "-A")
    git(work, "commit", "--quiet", "-m", "first")
    git(work, "tag", "v1")
    agent(work, "second")
    git(work, "add", "-A")
    git(work, "commit", "--quiet", "-m", "second")
    hosts = tmp_path / "hosts" / "zoe"
    hosts.mkdir(parents=True)
    git(tmp_path, "clone", "--quiet", "--bare", str(work), str(hosts / "prompts.git"))
    config = tmp_path / "gitconfig"
    config.write_text(
        f'[url "file://{tmp_path}/hosts/"]\n\tinsteadOf = https://github.com/\n'
        "[protocol]\n\tallow = always\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return {"head": git(work, "rev-parse", "HEAD"), "bare": hosts / "prompts.git"}


def test_a_repository_is_fetched_by_the_users_git(repository: Any, out: Path) -> None:
    report = import_personas("gh:zoe/prompts", out)
    assert statuses(report) == {"first": "new", "second": "new"}
    data = yaml.parse((out / "first.yaml").read_bytes()).data
    assert data["license"] == "MIT"
    assert data["source"] == "https://github.com/zoe/prompts.git"
    made = data["metadata"]["import"]
    assert made["revision"] == repository["head"]
    assert made["file"] == "agents/first.md"
    assert statuses(import_personas("gh:zoe/prompts", out)) == {"first": "same", "second": "same"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("gh:zoe/prompts@v1", ["first"]),
        ("gh:zoe/prompts:agents/second.md", ["second"]),
        ("gh:zoe/prompts@v1:agents", ["first"]),
        ("https://github.com/zoe/prompts/blob/main/agents/second.md", ["second"]),
        ("https://raw.githubusercontent.com/zoe/prompts/v1/agents/first.md", ["first"]),
        ("https://github.com/zoe/prompts.git", ["first", "second"]),
    ],
)
def test_a_revision_and_a_path_can_be_named(
    source: str, names: list[str], repository: Any, out: Path
) -> None:
    assert [one.name for one in import_personas(source, out).personas] == names


def test_a_bare_repository_of_this_machine_is_one_too(repository: Any, out: Path) -> None:
    assert len(import_personas(repository["bare"], out).personas) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gh:zoe/prompts@--upload-pack=x", "invalid revision"),
        ("gh:-zoe/prompts", "not an address of a repository"),
        ("gh:zoe", "write gh:owner/name"),
        ("gh:zoe/prompts:../x", "leads out of the repository"),
        ("gh:zoe/nothing", "git cannot fetch it"),
        ("gh:zoe/prompts@nothing", "git cannot fetch it"),
        ("gh:zoe/prompts:nothing", "there is no 'nothing'"),
        ("ext::sh -c true", "there is no such file or folder"),
        ("git://example.com/x.git", "git is not used"),
        ("zoe/prompts", "write gh:zoe/prompts"),
    ],
)
def test_a_wrong_address_is_told(source: str, message: str, repository: Any, out: Path) -> None:
    with pytest.raises(UsageError, match=message):
        import_personas(source, out)
    assert not out.exists()


# --- plugins -------------------------------------------------------------------------------------


class Shout:
    """Adds a format."""

    name = "shout"

    @staticmethod
    @hookimpl
    def setup(registry: Any) -> None:
        def read(file: File) -> list[Draft]:
            draft = Draft("shout", name=file.path.stem)
            draft.system = Text(file.data.decode().lower())
            return [draft]

        def write(out: Outgoing) -> dict[str, bytes]:
            (system, *_) = out.messages(variables=False)
            return {f"{out.persona.name}.shout": system[1].upper().encode()}

        registry.importer("shout", read, files=["*.shout"])
        registry.exporter("shout", write)


def test_a_plugin_adds_a_format(tmp_path: Path, out: Path) -> None:
    (tmp_path / "x.shout").write_text("BE LOUD")
    with Runner(Config(path=()), plugins=[Shout()], log=False) as runner:
        report = import_personas(tmp_path / "x.shout", out, runner=runner)
        assert statuses(report) == {"x": "new"}
        made = export_persona(str(out / "x.yaml"), "shout", tmp_path / "y.shout", runner=runner)
    assert made.files[0].read_text() == "BE LOUD"


def test_a_quote_of_a_modelfile_is_closed_at_the_end_of_a_line(tmp_path: Path, out: Path) -> None:
    text = 'FROM x\nSYSTEM """Say """hi""" now.\nBye.""" \nMESSAGE user "a "b" c"\n'
    (tmp_path / "Modelfile").write_text(text)
    (one,) = import_personas(tmp_path / "Modelfile", out).personas
    data = yaml.parse(one.path.read_bytes()).data
    assert data["system"] == 'Say """hi""" now.\nBye.'
    assert data["messages"] == [{"user": 'a "b" c'}]


def test_a_blank_system_message_is_left_out(tmp_path: Path, out: Path) -> None:
    (tmp_path / "a.yaml").write_text("system: ' '\nprompt: 'Say: $input'\n")
    (tmp_path / "b.json").write_text('{"identifier": "b", "config": {"systemRole": ""}}')
    for name, prompt in (("a.yaml", "Say: {{ input }}"), ("b.json", "{{ input }}")):
        (one,) = import_personas(tmp_path / name, out).personas
        data = yaml.parse(one.path.read_bytes()).data
        assert "system" not in data
        assert data["prompt"] == prompt


def test_codes_are_a_closed_list() -> None:
    with pytest.raises(ValueError, match="unknown code 'other'"):
        Note("other", "x")
    assert all(text.endswith(".") for text in CODES.values())


def test_an_export_needs_what_its_format_needs(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("system: Be {{ how }}.\nvariables: {how: {}}\nmodel: openai/gpt-4o\n")
    with pytest.raises(UsageError, match="--set how=VALUE"):
        export_persona(str(path), "claude", tmp_path / "p.md")
    made = export_persona(str(path), "claude", tmp_path / "p.md", values={"how": "kind"})
    assert made.files[0].read_text().endswith("Be kind.\n")
    assert "unmapped" in {note.code for note in made.notes}
    with pytest.raises(UsageError, match=r"p\.md exists; --force replaces it"):
        export_persona(str(path), "claude", tmp_path / "p.md", values={"how": "kind"})
    with pytest.raises(UsageError, match="unknown variable 'hoow'"):
        export_persona(str(path), "claude", tmp_path / "q.md", values={"hoow": "x"})
    with pytest.raises(UsageError, match="-m ollama/NAME"):
        export_persona(str(path), "modelfile", tmp_path / "m", values={"how": "kind"})
    with pytest.raises(UsageError, match="did you mean 'claude'"):
        export_persona(str(path), "cluade", tmp_path / "m")
    with pytest.raises(UsageError, match="'langchain' cannot be exported"):
        export_persona(str(path), "langchain", tmp_path / "m")

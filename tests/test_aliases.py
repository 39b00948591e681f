"""Aliases: the user's short names of models, wherever a model is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personakit import Config, ConfigError, Message, ModelNotFound, Request, Runner, hookimpl
from personakit.conversation import transcript
from personakit.log import RunLog
from personakit.testing import MODES, in_mode, persona, runner

ALIASES = {"fast": "openai/gpt-5-mini", "deep": "anthropic/claude-opus-4-5"}
MINI = ALIASES["fast"]


class Switch:
    @hookimpl
    async def chat(self, request: Request, send: Any) -> Any:
        return await send(request.replace(model="fast"))


def test_an_alias_works_wherever_a_model_is_named() -> None:
    using, upstream = runner(aliases=ALIASES)
    plain = persona()
    using.run(plain, "Hi", model="fast")
    using.run(persona(model="fast"), "Hi")
    using.run(plain, Request("fast", (Message("user", "Hi"),)))
    using.conversation(plain, model="fast").run("Hi")
    assert {request.model for request in upstream.requests} == {MINI}
    assert using.render(plain, "Hi", model="fast").model == MINI
    assert using.prepare(plain, "Hi", model="fast").model == MINI
    assert Config(model="fast", aliases=ALIASES).model == MINI


@pytest.mark.parametrize("mode", MODES)
def test_a_plugin_may_name_an_alias(mode: str) -> None:
    using, upstream = runner(aliases=ALIASES, plugins=[Switch()])
    response = in_mode(mode, using, persona(), "Hi")
    assert upstream.requests[0].model == MINI
    assert response.text == "Hello!"


def test_a_fallback_may_be_an_alias() -> None:
    listed = persona(plugins=[{"retry": {"fallback": ["fast"], "attempts": 1}}])
    using, upstream = runner([ModelNotFound("gone"), "Hello!"], aliases=ALIASES)
    response = using.run(listed, "Hi")
    assert [request.model for request in upstream.requests] == ["test/model", MINI]
    assert response.metadata["retry"]["model"] == MINI
    with pytest.raises(Exception, match="fallback contains 'fast'; write it as provider/model"):
        runner()[0].run(listed, "Hi")


def test_the_log_and_a_saved_conversation_have_the_model(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.db")
    config = Config(path=(), aliases=ALIASES, environ={"HOME": str(tmp_path)})
    upstream = runner()[1]
    with Runner(config, backend=upstream, log=log) as using:
        using.run(persona(), "Hi", model="deep")
        talk = using.conversation(persona(), model="fast")
        talk.save(tmp_path / "talk.json")
    (row,) = log.find()
    assert row.model == row.rendered.model == ALIASES["deep"]
    assert transcript.read(tmp_path / "talk.json").model == MINI


def test_a_persona_cannot_reach_a_file_but_by_the_alias_of_its_user() -> None:
    named = persona(model="mine")
    aliases = {"mine": "local/~/model.gguf"}
    assert runner(aliases=aliases)[0].render(named).model == "local/~/model.gguf"


FAULTS = {
    "[]": "expected a JSON object of aliases and models; correct the file, or remove it",
    "{": "expected a JSON object of aliases and models",
    '{"a/b": "openai/x"}': "invalid alias 'a/b': use letters",
    '{"openai": "groq/x"}': "'openai' is the name of a provider, so it cannot be an alias",
    '{"local": "groq/x"}': "'local' is the name of a provider",
    '{"a": 1}': "alias 'a': expected a model, found an integer 1",
    '{"a": "b", "b": "openai/x"}': "alias 'a': its model 'b' is another alias",
    '{"a": "a"}': "alias 'a': its model 'a' is another alias",
    '{"a": ""}': "alias 'a': expected a model, found a string ''",
    '"' + "[" * 9000: "expected a JSON object",
}  # fmt: skip


@pytest.mark.parametrize("content", FAULTS)
def test_a_broken_file_of_aliases_is_an_error(content: str, tmp_path: Path) -> None:
    file = tmp_path / ".config" / "personakit" / "aliases.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Config.read({"HOME": str(tmp_path)})
    assert str(caught.value).startswith(f"{file}: ")
    assert FAULTS[content] in str(caught.value)


def test_the_file_of_aliases_is_beside_the_config(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "personakit"
    folder.mkdir(parents=True)
    (folder / "aliases.json").write_text(json.dumps(ALIASES))
    (folder / "config.yaml").write_text("model: fast\nproviders: {work: {base_url: 'http://a'}}\n")
    config = Config.read({"HOME": str(tmp_path)})
    assert (config.model, config.aliases) == (MINI, ALIASES)
    assert Config.read({"HOME": str(tmp_path), "PERSONAKIT_MODEL": "deep"}).model == ALIASES["deep"]
    (folder / "aliases.json").write_text('{"work": "openai/x"}')
    with pytest.raises(ConfigError, match="'work' is the name of a provider"):
        Config.read({"HOME": str(tmp_path)})


def test_an_unknown_provider_suggests_an_alias() -> None:
    router = Runner(Config(path=(), aliases={"thinker": "openai/o3"})).router
    with pytest.raises(ConfigError, match="did you mean 'thinker'"):
        router.find_model("thinkr/")
    provider, model = router.find_model("thinker")
    assert (provider.name, model) == ("openai", "o3")

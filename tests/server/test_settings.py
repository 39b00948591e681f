"""The settings of the server: the config file, the options over it, and each mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from personakit import Config, ConfigError
from personakit.errors import front
from personakit.server import Limits, Settings

EVERY = """\
model: openai/gpt-5-mini
serve:
  host: 0.0.0.0
  port: 8080
  workers: 4
  personas: [chef, "code-*", "db:*"]
  log: off
  grace: 2m
  cors: [https://chat.example.com, "http://localhost:3000"]
  client_system: refuse
  strict: true
  mcp: true
  mcp_tools: [chef]
  mcp_one_tool: true
  ledger: keys/ledger.db
  limits: {body: 5MB, header: 16KB, connections: 50, concurrent: 9, queue: 0,
           variables: 2000, idle: 30s}
"""


def read(folder: Path, content: str) -> Config:
    (folder / "personakit").mkdir(exist_ok=True)
    (folder / "personakit" / "config.yaml").write_text(content, "utf-8")
    return Config.read({"XDG_CONFIG_HOME": str(folder)})


def test_without_anything_there_are_defaults(tmp_path: Path) -> None:
    found = Settings.of(read(tmp_path, "model: a/b"))
    assert found == Settings() == Settings.of(Config())
    assert (found.host, found.port, found.workers, found.grace) == ("127.0.0.1", 8111, 1, 30)
    assert found.personas == ("*",)
    assert found.limits.body == 20_000_000
    assert not found.open


def test_every_key_of_the_config_file(tmp_path: Path) -> None:
    found = Settings.of(read(tmp_path, EVERY))
    assert found == Settings(
        host="0.0.0.0",
        port=8080,
        workers=4,
        personas=("chef", "code-*", "db:*"),
        log=False,
        grace=120.0,
        cors=("https://chat.example.com", "http://localhost:3000"),
        client_system="refuse",
        strict=True,
        mcp=True,
        mcp_tools=("chef",),
        mcp_one_tool=True,
        ledger=tmp_path / "personakit" / "keys" / "ledger.db",
        limits=Limits(5_000_000, 16_000, 50, 9, 0, 2000, 30.0),
    )
    for value in (found, found.limits):
        default = type(value)()
        unset = ("open", "secret")
        for field in dataclasses.fields(value):
            if field.name not in unset:
                assert getattr(value, field.name) != getattr(default, field.name), field.name


def test_options_are_over_the_config_file(tmp_path: Path) -> None:
    config = read(tmp_path, EVERY)
    found = Settings.of(
        config, host="::1", port="0", personas="a, b-*", log=True, grace="0.5", ledger="l.db",
        workers=None, client_system="user",
    )  # fmt: skip
    assert (found.host, found.port, found.personas, found.workers) == ("::1", 0, ("a", "b-*"), 4)
    assert (found.log, found.grace, found.ledger) == (True, 0.5, Path("l.db"))
    assert (found.client_system, found.strict) == ("user", True)


WRONG: list[tuple[str, str]] = [
    ("serve: [a]", "1:8: serve: expected a mapping, found a list ['a']"),
    ("serve: {prot: 1}", "1:9: unknown key 'prot'; did you mean 'port'?"),
    ("serve: {open: true}", "1:9: unknown key 'open' (known: host, port, workers, personas, log, "),
    ("serve: {host: 5}", "1:15: host: expected an address such as 127.0.0.1 or 0.0.0.0, found"),
    ("serve: {host: 1.2.3}", "1:15: host: expected an address such as 127.0.0.1 or 0.0.0.0, found"),
    ("serve: {host: 'http://a'}", "1:15: host: expected an address such as 127.0.0.1 or 0.0.0.0 w"),
    (
        "serve: {host: 'a:80'}",
        "1:15: host: expected an address such as 127.0.0.1 or 0.0.0.0; write",
    ),
    ("serve: {port: -1}", "1:15: port: expected a port from 0 to 65,535, found an integer -1"),
    ("serve: {port: true}", "1:15: port: expected a port from 0 to 65,535, found a boolean True"),
    ("serve: {port: 1.5}", "1:15: port: expected a port from 0 to 65,535, found a number 1.5"),
    ("serve: {workers: 0}", "1:18: workers: expected a number from 1 to 256, found an integer 0"),
    ("serve:\n  workers: many", "2:12: workers: expected a number from 1 to 256, found a string"),
    ("serve: {personas: []}", "1:19: personas: expected names or patterns such as chef or code-*,"),
    ("serve: {personas: 'a,,b'}", "1:19: personas: expected names or patterns such as chef or cod"),
    ("serve: {personas: [1]}", "1:19: personas: expected names or patterns such as chef or code-*"),
    ("serve: {personas: ./a.yaml}", "1:19: personas: invalid pattern './a.yaml': personas are ser"),
    ("serve: {log: maybe}", "1:14: log: expected true or false, found a string 'maybe'"),
    (
        "serve: {grace: -1}",
        "1:16: grace: expected seconds from 0 to 86,400, or a time such as 30s ",
    ),
    ("serve: {grace: long}", "1:16: grace: expected seconds from 0 to 86,400, or a time such as 3"),
    ("serve: {cors: a.example.com}", "1:15: cors: invalid origin 'a.example.com': write the schem"),
    ("serve: {cors: ['https://a/']}", "1:15: cors: invalid origin 'https://a/': write the scheme,"),
    ("serve: {client_system: apend}", "1:24: client_system: expected one of append, user, refuse,"),
    ("serve: {client_system: apend}", "found a string 'apend'; did you mean 'append'?"),
    ("serve: {strict: 1}", "1:17: strict: expected true or false, found an integer 1"),
    ("serve: {ledger: [a]}", "1:17: ledger: expected the path of a file, found a list ['a']"),
    ("serve: {ledger: ~nobody-at-all/x}", "1:17: ledger: ~nobody-at-all/x: there is no such user"),
    ("serve: {limits: 5}", "1:17: limits: expected a mapping, found an integer 5"),
    ("serve: {limits: {boddy: 5}}", "1:18: unknown key 'boddy'; did you mean 'body'?"),
    ("serve: {limits: {body: 5}}", "1:24: body: expected at least 1KB, found an integer 5"),
    (
        "serve: {limits: {body: 5QB}}",
        "1:24: body: expected a size such as 500MB or 2GB, found a st",
    ),
    (
        "serve: {limits: {queue: -1}}",
        "1:25: queue: expected a number from 0 to 1,000,000, found an",
    ),
    ("serve: {limits: {idle: 0}}", "1:24: idle: expected seconds from 1 to 86,400, or a time such"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_a_mistake_has_its_place(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.of(read(tmp_path, content))
    (line,) = str(caught.value).splitlines()
    assert message in line.removeprefix(f"{tmp_path / 'personakit' / 'config.yaml'}:")


def test_all_mistakes_are_reported_in_order(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.of(read(tmp_path, "serve:\n  port: x\n  hots: y\n  limits: {idle: z}\n"))
    found = [line.split("config.yaml:")[1][:4] for line in str(caught.value).splitlines()]
    assert found == ["2:9:", "3:3:", "4:18"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("port", "x", "--port: expected a port from 0 to 65,535, found a string 'x'"),
        ("host", "a:80", "--host: expected an address such as 127.0.0.1 or 0.0.0.0; write the port "
         "as --port 80, and the host as 'a'"),
        ("client_system", "usr", "--client-system: expected one of append, user, refuse, found a "
         "string 'usr'; did you mean 'user'?"),
        ("limits", {}, "--limits: expected Limits(…), found a mapping {}"),
        ("prot", 1, "unknown setting 'prot'; did you mean 'port'?"),
    ],
)  # fmt: skip
def test_a_wrong_option(option: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught, front("terminal"):
        Settings.of(Config(), **{option: value})
    assert str(caught.value) == message


def test_the_limits_in_python() -> None:
    limits = Limits(queue=1)
    assert Settings.of(Config(serve={"limits": {"queue": 5}})).limits.queue == 5
    assert Settings.of(Config(serve={"limits": {"queue": 5}}), limits=limits).limits == limits
    with pytest.raises(ConfigError, match=r"^unknown key 'prot'; did you mean 'port'\?$"):
        Settings.of(Config(serve={"prot": 1}))

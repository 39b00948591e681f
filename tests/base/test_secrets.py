"""Secrets: what is shown of them, and where the key of a provider comes from."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import pickle
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers.secrets import CANARY, MINE, _only_ours
from hypothesis import given
from hypothesis import strategies as st

from personakit import Config, ConfigError, Endpoint, Provider, Secret
from personakit.base.secrets import Hidden, hide, scrub
from personakit.keys import Keys
from personakit.keys.keyfile import put, read
from personakit.providers import BUILT_IN


def all_of(error: BaseException) -> str:
    """Return an error and all that led to it, with the local variables of every frame."""
    waiting: list[BaseException | None] = [error]
    shown = []
    while waiting:
        found = waiting.pop()
        if found is not None:
            waiting += [found.__cause__, found.__context__]
            made = traceback.TracebackException.from_exception(found, capture_locals=True)
            shown += [*made.format(), repr(found), repr(vars(found)), repr(found.args)]
    return "".join(shown)


# --- the type -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "{:>30}".format,
        "%s %r".__mod__,
        lambda secret: f"{secret!r} {secret!s} {secret!a}",
        lambda secret: repr([secret, {secret: secret}]),
        lambda secret: repr(Endpoint("http://x", secret, "m")),
        lambda secret: repr(Provider("x", api_key=secret, headers=(("a", secret),))),
        lambda secret: repr(dataclasses.asdict(Endpoint("http://x", secret, "m"))),
        lambda secret: repr(Hidden({"KEY": CANARY})),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: str(ConfigError(f"{secret}")),
    ],
)
def test_nothing_shows_a_secret(show: Callable[[Any], str]) -> None:
    given = Secret(CANARY)
    shown = show((given, given)) if show == "%s %r".__mod__ else show(given)
    assert CANARY not in shown
    assert "canary" not in shown
    assert given.reveal() == CANARY


def test_a_secret_is_a_value() -> None:
    one, same, other = Secret("a"), Secret("a"), Secret("b")
    assert one == same == Secret(one)
    assert one != other
    assert one != "a"
    assert {one: 1}[same] == 1
    assert copy.copy(one) is copy.deepcopy(one) is one
    assert (bool(one), bool(Secret(""))) == (True, False)
    assert Endpoint("u", "a", "m") == Endpoint("u", one, "m") != Endpoint("u", None, "m")


@pytest.mark.parametrize("dump", [pickle.dumps, json.dumps])
def test_a_secret_is_not_written_by_chance(dump: Callable[[Any], Any]) -> None:
    refusal = r"Secret cannot be pickled.*reveal|Secret is not JSON"
    with pytest.raises(TypeError, match=refusal) as got:
        dump(Secret(CANARY))
    assert CANARY not in all_of(got.value)


def test_a_secret_does_not_change() -> None:
    for name in ("value", "_Secret__value"):
        with pytest.raises(AttributeError, match="a Secret is immutable"):
            setattr(Secret(CANARY), name, "x")
        with pytest.raises(AttributeError, match="a Secret is immutable"):
            delattr(Secret(CANARY), name)


def test_a_secret_is_made_of_a_text() -> None:
    wrong: Any = CANARY.encode()
    with pytest.raises(TypeError, match="a secret must be a str, found bytes") as got:
        Secret(wrong)
    del wrong
    assert CANARY not in "".join(all_of(got.value).splitlines()[-6:])


KEYS = st.text('abcXYZ019-_/+=.&"\\% é\n', min_size=8, max_size=60)


FORMS: list[Callable[[str], str]] = [
    lambda key: key,
    json.dumps,
    lambda key: json.dumps(json.dumps(key)[1:-1]),
    lambda key: json.dumps(key, ensure_ascii=False),
    repr,
    quote,
    lambda key: quote(key, safe=""),
    lambda key: base64.b64encode(key.encode()).decode(),
    lambda key: base64.b64encode(b"u:" + key.encode() + b"!").decode(),
    lambda key: base64.urlsafe_b64encode(b"Bearer " + key.encode()).decode(),
]


@given(KEYS, st.sampled_from(FORMS[:2] + FORMS[3:]), st.text(max_size=9), st.text(max_size=9))
def test_a_secret_is_found_however_it_is_written(
    key: str, form: Callable[[str], str], before: str, after: str
) -> None:
    hidden = Secret(key).hide(f"{before}|{form(key)}|{after}")
    assert hidden.startswith(f"{before}|") or key in before
    assert "***" in hidden
    assert key not in hidden


@given(st.integers(16, len(CANARY)), st.text("xyz ", max_size=9), st.integers(1, 3))
def test_the_beginning_of_a_long_secret_is_found_where_it_was_cut(
    length: int, after: str, times: int
) -> None:
    cut = f"|{CANARY[:length]}{after}"
    assert Secret(CANARY).hide(cut * times) == f"|***{after}" * times
    assert Secret(CANARY).hide(CANARY[:15]) == CANARY[:15]


@given(st.text(), st.text("xyz", min_size=1))
def test_a_text_without_the_secret_stays(text: str, key: str) -> None:
    if key not in text:
        assert Secret(key + "@@@@@@@@").hide(text) == text
    assert Secret("ab").hide("ab cab") == "ab cab"


def test_secrets_are_hidden_in_plain_data() -> None:
    data = {"a": [CANARY, 1, None], CANARY: (f"x{CANARY}", CANARY.encode())}
    hidden = hide(data, [Secret(CANARY), Secret("")])
    assert hidden == {"a": ["***", 1, None], "***": ("x***", b"***")}
    assert hide(data, []) is data


def test_an_error_is_scrubbed_with_all_that_led_to_it() -> None:
    def inner(header: str) -> None:
        error = ConnectionError(f"cannot send {header}")
        error.body = [{"key": header}]  # type: ignore[attr-defined]
        raise error

    def outer() -> None:
        key = Secret(CANARY).reveal()
        try:
            inner(f"Bearer {key}")
        except OSError as error:
            error.add_note(key)
            raise ExceptionGroup("both", [ValueError(key), error]) from error

    def call() -> None:
        error = None
        try:
            outer()
        except ExceptionGroup as caught:
            error = caught
        assert error is not None
        assert CANARY in all_of(error)
        scrub(error, [Secret(CANARY)], sys.exception())
        shown = all_of(error)
        assert CANARY not in shown
        assert "in inner" in shown
        assert "cannot send Bearer ***" in shown

    def user() -> None:
        mine = "kept"
        raise ValueError(mine)

    try:
        user()
    except ValueError as before:
        call()
        assert "mine = 'kept'" in all_of(before)  # noqa: PT017


def keys(environ: dict[str, str] | None = None, **config: Any) -> Keys:
    return Keys(Config(environ=environ or {}, **config), lambda kind, name: None, lambda k, n: n)


def test_the_places_go_in_order(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    put(file, "mine", Secret("from-file"))
    found = keys({"MINE_KEY": "from-env"}, keys_file=file)
    named = dataclasses.replace(MINE, api_key="from-config")
    found.given["mine"] = Secret("given")
    assert found.find(named) == Secret("given")
    del found.given["mine"]
    assert found.find(named) == Secret("from-config")
    assert found.find(MINE) == Secret("from-env")
    assert keys(keys_file=file).find(MINE) == Secret("from-file")


def test_a_provider_that_needs_no_key_gets_the_one_that_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    ollama = BUILT_IN["ollama"]
    assert keys(keys_file=file).find(ollama) is None
    put(file, "ollama", Secret("k"))
    assert keys(keys_file=file).find(ollama) == Secret("k")
    put(file, "ollama", None)  # it is in the keyring, which is not looked into here
    with pytest.raises(ConfigError, match=r"run `personakit keys set ollama`"):
        keys(keys_file=file).find(ollama)


def test_what_was_looked_at_is_said(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with pytest.raises(ConfigError) as got:
        keys(keys_file=file).find(MINE)
    said = str(got.value)
    assert said.startswith(
        "no key for provider 'mine': set MINE_KEY, run `personakit keys set mine`"
    )
    assert said.endswith(f"looked in MINE_KEY (not set), {file} (no such file)")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660, 0o666])
def test_a_file_that_others_can_read_or_change_is_not_used(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "my keys.json"
    put(file, "mine", Secret(CANARY))
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"its mode is {mode:o}\).*chmod 600 '.*my keys.json'"):
        keys(keys_file=file).find(MINE)
    with pytest.raises(ConfigError, match="chmod 600"):
        put(file, "other", Secret("k"))
    assert stat.S_IMODE(file.stat().st_mode) == mode
    file.chmod(0o400)
    assert keys(keys_file=file).find(MINE) == Secret(CANARY)


@pytest.mark.parametrize(
    "content",
    [f'{{"mine": "{CANARY}"', f'["{CANARY}"]', f'{{"mine": ["{CANARY}"]}}', f'"{CANARY}"',
     f"\xff{CANARY}".encode("latin-1"), CANARY, "[" * 100_000, "0" * 2_000_000],
    ids=range(8),
)  # fmt: skip
def test_a_file_of_keys_that_is_none_shows_nothing(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "keys.json"
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(data)
    file.chmod(0o600)
    for change in (lambda: put(file, "mine", Secret("new")), lambda: read(file)):
        with pytest.raises(ConfigError, match=r"a JSON object .* correct or move it") as got:
            change()
        _only_ours(got.value)
    assert file.read_bytes() == data

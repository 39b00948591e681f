"""Keys: created, found, revoked and imported."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from personakit import Key, Ledger, UsageError

LIMITS: dict[str, Any] = {
    "personas": ("chef", "code-*"),
    "models": ("openai/gpt-*",),
    "usd_day": 2.0,
    "usd_month": 20.5,
    "tokens_day": 1000,
    "tokens_month": 20_000,
    "rpm": 60,
    "concurrent": 8,
    "max_tokens": 4000,
    "until": 1_900_000_000.0,
}


def listed(ledger: Ledger) -> list[Key]:
    return ledger.keys()


def test_a_key_is_found_by_its_token(ledger: Ledger) -> None:
    key, token = ledger.new_key("anna", **LIMITS)
    assert re.fullmatch(r"pk-[\w-]{43}", token)
    assert key == Key("anna", created=key.created, **LIMITS)
    assert ledger.key(token) == key
    assert ledger.keys() == [key]
    assert ledger.key(token[:-1]) is None
    assert ledger.key("") is None
    assert ledger.key("\ud800") is None


def test_a_token_is_stored_nowhere(ledger: Ledger) -> None:
    _, token = ledger.new_key("anna")
    for file in ledger.path.parent.iterdir():
        assert token.removeprefix("pk-").encode() not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.path.parent.stat().st_mode) == 0o700


def test_what_a_key_allows() -> None:
    key = Key("anna", personas=("chef", "code-*"), models=("openai/*",), until=100.0)
    allowed = [name for name in ("chef", "chefs", "code-", "code-x", "Chef") if key.allows(name)]
    assert allowed == ["chef", "code-", "code-x"]
    assert key.allows_model("openai/gpt-5")
    assert not key.allows_model("anthropic/x")
    assert [key.expired(now) for now in (99.9, 100.0)] == [False, True]
    assert Key("b").allows("anything")
    assert not Key("b").allows_model("openai/gpt-5")
    assert not Key("b", rpm=1, max_tokens=1).has_budget
    assert Key("b", tokens_month=0).has_budget


def test_a_revoked_key_is_found_and_its_name_is_free(ledger: Ledger) -> None:
    _, token = ledger.new_key("anna")
    before = time.time()
    ledger.revoke("anna")
    found = ledger.key(token)
    assert found is not None
    assert before <= (found.revoked or 0) <= time.time()
    again, other = ledger.new_key("anna")
    assert ledger.keys() == [again, found]
    assert ledger.key(other) == again
    with pytest.raises(UsageError, match=r"a key named 'anna' exists.*keys revoke anna"):
        ledger.new_key("anna")
    with pytest.raises(UsageError, match="no key named 'ann' can be revoked; did you mean 'anna'"):
        ledger.revoke("ann")


def test_the_version_tells_of_each_change(ledger: Ledger, tmp_path: Path) -> None:
    seen = [ledger.version()]
    _, token = ledger.new_key("anna")
    seen.append(ledger.version())
    ledger.key(token)
    assert ledger.version() == seen[-1]
    Ledger(ledger.path).revoke("anna")
    seen.append(ledger.version())
    file = tmp_path / "keys.yaml"
    file.write_text(f"keys:\n  - {{name: bob, hash: 'sha256:{'0' * 64}'}}\n")
    ledger.import_keys(file)
    seen.append(ledger.version())
    assert len(set(seen)) == 4


@pytest.mark.parametrize(
    ("name", "limits", "message"),
    [
        ("", {}, "name: expected 1 to 100 printable characters such as anna, found a string ''"),
        ("a" * 101, {}, "name: expected 1 to 100"),
        ("a\nb", {}, "name: expected 1 to 100"),
        (" a", {}, "name: expected 1 to 100"),
        (
            "a",
            {"rpm": 0},
            "rpm: expected an integer from 1 to 1,000,000, such as 60, found an integer 0",
        ),
        ("a", {"rpm": True}, "rpm: expected an integer"),
        ("a", {"rpm": 1.5}, "rpm: expected an integer"),
        ("a", {"usd_day": -1}, "usd_day: expected US dollars from 0 to 1,000,000"),
        ("a", {"usd_day": float("nan")}, "usd_day: expected US dollars"),
        ("a", {"usd_month": "5"}, "usd_month: expected US dollars.*null is no limit"),
        ("a", {"tokens_day": -5}, "tokens_day: expected an integer from 0 "),
        ("a", {"personas": [1]}, r"personas: expected patterns such as \[chef, 'code-\*'\]"),
        ("a", {"until": "soon"}, "until: expected a date such as 2027-01-31"),
        ("a", {"usd_dya": 1}, "a key has no 'usd_dya'; did you mean 'usd_day'"),
        ("a", {"created": 1}, "a key has no 'created'"),
    ],
)
def test_wrong_values(ledger: Ledger, name: str, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ledger.new_key(name, **limits)
    assert not ledger.path.exists()


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        ("2027-01-01", 1_798_761_600.0),
        ("2027-01-01T00:00", 1_798_761_600.0),
        ("2027-01-01T01:00+01:00", 1_798_761_600.0),
        (1_798_761_600, 1_798_761_600.0),
        (None, None),
    ],
)
def test_until_is_a_date_or_a_time(ledger: Ledger, until: Any, moment: float | None) -> None:
    key, token = ledger.new_key("anna", until=until)
    assert key.until == moment
    assert ledger.key(token) == key


# --- files of keys -----------------------------------------------------------------------------

TOKEN = "t" * 32
HASH = f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
OTHER = f"sha256:{'a' * 64}"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_keys_of_a_file(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOBS_TOKEN", "b" * 40)
    file = write(
        tmp_path / "keys.yaml",
        f"""\
keys:
  - name: anna
    hash: {HASH}
    personas: [chef, "code-*"]
    models: []
    usd_day: 2
    tokens_day: 500000
    rpm: 60
    concurrent: 8
    max_tokens: 4000
    until: 2027-01-01
  - {{name: bob, token_env: BOBS_TOKEN, personas: chef}}
""",
    )
    anna, bob = ledger.import_keys(file)
    assert ledger.key(TOKEN) == anna
    assert ledger.key("b" * 40) == bob
    assert (anna.usd_day, anna.rpm, anna.until) == (2.0, 60, 1_798_761_600.0)
    assert bob.personas == ("chef",)
    # A second time, nothing changes; a changed limit does.
    assert ledger.import_keys(file) == ledger.keys() == [anna, bob]
    write(file, file.read_text().replace("usd_day: 2", "usd_day: 3"))
    assert ledger.import_keys(file)[0].usd_day == 3.0
    assert [key.revoked for key in listed(ledger)] == [None, None]


def test_a_file_can_replace_a_token(ledger: Ledger, tmp_path: Path) -> None:
    _, first = ledger.new_key("anna")
    file = write(tmp_path / "keys.yaml", f"keys: [{{name: anna, hash: '{HASH}', rpm: 5}}]")
    (anna,) = ledger.import_keys(file)
    assert ledger.key(TOKEN) == anna
    old = ledger.key(first)
    assert old is not None
    assert old.revoked is not None


MISTAKES = [
    ("[]", 1, "a file of keys must be a mapping with `keys:`"),
    ("", 0, "a file of keys must be a mapping"),
    ("key: []", 1, "unknown key 'key'; did you mean 'keys'"),
    ("keys: {}", 1, "keys: expected a list"),
    ("keys: [\n1]", 2, "keys: expected a mapping, found an integer 1"),
    (f"keys:\n- hash: {HASH}", 2, "a key must have a `name:`"),
    (f"keys:\n- name: ''\n  hash: {HASH}", 2, "name: expected 1 to 100"),
    ("keys:\n- name: anna", 2, "either `hash:` or `token_env:`, found neither"),
    (f"keys:\n- name: a\n  hash: {HASH}\n  token_env: X", 2, "found both: remove one"),
    ("keys:\n- name: a\n  hash: sha256:123", 3, "hash: expected sha256: and 64 hexadecimal"),
    (f"keys:\n- name: a\n  hash: {TOKEN}", 3, "hash: expected sha256:"),
    ("keys:\n- name: a\n  token_env: 5", 3, "token_env: expected the name of an environment"),
    ("keys:\n- name: a\n  token_env: NO_SUCH", 3, "environment variable 'NO_SUCH' is not set"),
    ("keys:\n- name: a\n  token_env: SHORT", 3, "'SHORT' is shorter or has other characters"),
    (f"keys:\n- name: a\n  hash: {HASH}\n  rpm: 0", 4, "rpm: expected an integer from 1"),
    (f"keys:\n- name: a\n  hash: {HASH}\n  usd_day: x", 4, "usd_day: expected US dollars"),
    (f"keys:\n- name: a\n  hash: {HASH}\n  until: x", 4, "until: expected a date"),
    (f"keys:\n- name: a\n  hash: {HASH}\n  personas: 5", 4, "personas: expected patterns"),
    (f"keys:\n- name: a\n  hash: {HASH}\n  usd_dai: 5", 4, "'usd_dai'; did you mean 'usd_day'"),
    (f"keys:\n- {{name: a, hash: '{HASH}'}}\n- {{name: a, hash: '{OTHER}'}}", 3, "two keys have"),
    (f"keys:\n- {{name: a, hash: '{HASH}'}}\n- {{name: b, hash: '{HASH}'}}", 3, "of an earlier"),
    ("keys:\n- name: a\n  name: b", 3, "duplicate key 'name'"),
    ("keys: [", 2, "expected a value here"),
    ("keys: []\nlimits: {body: 20MB}", 2, "write it below `serve:` in the config file"),
]


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES)
def test_mistakes_have_their_place(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    line: int,
    message: str,
) -> None:
    monkeypatch.setenv("SHORT", "abc")
    file = write(tmp_path / "keys.yaml", text)
    with pytest.raises(UsageError) as caught:
        ledger.import_keys(file)
    said = str(caught.value)
    assert message in said
    assert said.startswith(f"{file}:{line}:" if line else f"{file}: ")
    # What is in the file may be a secret.
    assert TOKEN not in said
    assert "abc" not in said
    assert not ledger.path.exists()


def test_every_mistake_is_told_and_no_key_is_stored(ledger: Ledger, tmp_path: Path) -> None:
    text = f"keys:\n- {{name: a, hash: '{HASH}'}}\n- name: b\n  rpm: x\n- usd_day: -1\n"
    file = write(tmp_path / "keys.yaml", text)
    with pytest.raises(UsageError) as caught:
        ledger.import_keys(file)
    lines = re.findall(r"^.*keys\.yaml:(\d+):", str(caught.value), re.MULTILINE)
    assert lines == ["3", "4", "5", "5", "5"]
    assert not ledger.path.exists()


def test_a_token_belongs_to_one_key(ledger: Ledger, tmp_path: Path) -> None:
    file = write(tmp_path / "keys.yaml", f"keys:\n- {{name: anna, hash: '{HASH}'}}\n")
    ledger.import_keys(file)
    other = f"keys:\n- {{name: x, hash: '{OTHER}'}}\n- {{name: bob, hash: '{HASH}'}}\n"
    write(file, other)
    with pytest.raises(UsageError, match=r":3:.*token of key 'bob' is that of key 'anna'"):
        ledger.import_keys(file)
    ledger.revoke("anna")
    with pytest.raises(UsageError, match=r":3:.*token of key 'bob' was revoked; create another"):
        ledger.import_keys(file)
    assert [key.name for key in listed(ledger)] == ["anna"]


def test_a_file_that_cannot_be_read(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: cannot be read: No such file"):
        ledger.import_keys(tmp_path / "no.yaml")
    with pytest.raises(UsageError, match="cannot be read: it is a folder; expected a file"):
        ledger.import_keys(tmp_path)


def test_the_hashes_are_those_of_sha256(ledger: Ledger) -> None:
    _, token = ledger.new_key("anna")
    connection = sqlite3.connect(ledger.path)
    ((found,),) = connection.execute("SELECT hash FROM keys").fetchall()
    connection.close()
    assert found == hashlib.sha256(token.encode()).digest()

"""`personakit serve keys`: new, list, revoke and import, and each wrong input."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path

import pytest
from helpers.cli import Commands

from personakit.ledger import Account, Amount, Ledger

TOKEN = re.compile(r"pk-[A-Za-z0-9_-]{43}\n")


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    commands = Commands(tmp_path)
    commands.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    return commands


def test_new_prints_the_key_alone(run: Commands) -> None:
    done = run(
        "serve", "keys", "new", "anna", "--personas", "chef, editor*", "--models", "openai/*",
        "--usd-day", "2.5", "--usd-month", "20", "--tokens-day", "500000", "--tokens-month",
        "1000000", "--rpm", "60", "--concurrent", "8", "--max-tokens", "4000", "--until",
        "2999-01-31",
    )  # fmt: skip
    assert done.code == 0
    assert TOKEN.fullmatch(done.out)
    assert done.err == (
        "anna: may use chef, editor*; $2.50 a day, $20.00 a month, 500,000 tokens a day, 1,000,000 "
        "tokens a month, 60 requests a minute, 8 at the same time, 4,000 tokens an answer, until "
        "2999-01-31; store the key now, it is not shown again\n"
    )
    (key,) = json.loads(run("serve", "keys", "list", "--json").out)
    assert key.pop("created") == pytest.approx(time.time(), abs=60)
    assert key == {
        "name": "anna",
        "personas": ["chef", "editor*"],
        "models": ["openai/*"],
        "usd_day": 2.5,
        "usd_month": 20.0,
        "tokens_day": 500_000,
        "tokens_month": 1_000_000,
        "rpm": 60,
        "concurrent": 8,
        "max_tokens": 4000,
        "until": 32_474_736_000.0,
        "revoked": None,
        "state": "valid",
        "today": {"tokens": 0, "usd": 0},
        "month": {"tokens": 0, "usd": 0},
    }
    assert done.out.strip() not in run("serve", "keys", "list").out


def test_a_key_without_limits(run: Commands) -> None:
    done = run("serve", "keys", "new", "bob")
    assert done.err == "bob: may use all personas; store the key now, it is not shown again\n"
    assert run("serve", "keys", "list").out == "bob\t*\tnone\t$0, 0 tokens\t$0, 0 tokens\t\tvalid\n"


def test_a_persona_that_is_not_there_is_noted(run: Commands) -> None:
    done = run("serve", "keys", "new", "anna", "--personas", "chfe,db:chef,chef")
    assert done.code == 0
    assert "\nnote: no persona has the name 'chfe' in " in done.err
    assert done.err.endswith("; did you mean 'chef'?\n")
    assert done.err.count("note") == 1


def test_what_a_key_has_spent(run: Commands, tmp_path: Path) -> None:
    run("serve", "keys", "new", "anna", "--usd-day", "2", "--ledger", "l.db")
    now = time.time()
    day = int(now // 86_400) * 86_400
    parts = time.gmtime(now)
    first = day - (parts.tm_mday - 1) * 86_400
    ledger = Ledger(tmp_path / "l.db")
    accounts = [Account("key:anna:day", day, day), Account("key:anna:month", first, first)]
    reserved = ledger.reserve(accounts, lambda _: Amount(0, 0))
    ledger.settle(reserved, Amount(1200, 1_500_000_000))
    ledger.close()
    (key,) = json.loads(run("serve", "keys", "list", "--json", "--ledger", "l.db").out)
    assert key["today"] == key["month"] == {"tokens": 1200, "usd": 1.5}
    line = run("serve", "keys", "list", "--ledger", "l.db").out
    assert "\t$1.5000, 1,200 tokens\t$1.5000, 1,200 tokens\t" in line


def test_revoke(run: Commands) -> None:
    run("serve", "keys", "new", "anna")
    done = run("serve", "keys", "revoke", "anna")
    assert (done.code, done.err) == (0, "anna: the key is refused from now on\n")
    assert run("serve", "keys", "list").out.endswith("\trevoked\n")
    again = run("serve", "keys", "revoke", "anna")
    assert again.code == 2
    assert "anna" in again.err


def test_import(run: Commands) -> None:
    digest = hashlib.sha256(b"pk-1234").hexdigest()
    run.write("keys.yaml", f"keys:\n- {{name: anna, hash: 'sha256:{digest}', rpm: 5}}\n")
    done = run("serve", "keys", "import", "keys.yaml")
    assert done.code == 0
    assert done.err == "anna: may use all personas; 5 requests a minute\n1 key imported\n"
    assert digest not in run("serve", "keys", "list", "--json").out


def test_an_import_with_a_mistake_imports_nothing(run: Commands) -> None:
    digest = hashlib.sha256(b"pk-1234").hexdigest()
    wrong = f"keys:\n- {{name: anna, hash: 'sha256:{digest}'}}\n- {{name: bob, hsah: 'sha256:1'}}\n"
    run.write("keys.yaml", wrong)
    done = run("serve", "keys", "import", "keys.yaml")
    assert done.code == 2
    assert "keys.yaml:3:" in done.err
    assert run("serve", "keys", "list").out == ""


def test_the_ledger_of_the_config_file(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "config" / "personakit").mkdir(parents=True)
    run.write("config/personakit/config.yaml", "serve: {ledger: own.db}")
    run("serve", "keys", "new", "anna")
    assert (tmp_path / "config" / "personakit" / "own.db").exists()
    assert not (tmp_path / "state").exists()


def test_an_empty_list_says_what_to_do(run: Commands) -> None:
    done = run("serve", "keys", "list")
    assert (done.out, done.err) == ("", "no key; `personakit serve keys new NAME` makes one\n")
    assert run("serve", "keys", "list", "--json").out == "[]\n"


WRONG = [
    (["new"], "Missing argument 'NAME'"),
    (["new", "a\nb"], "name: expected 1 to 100 printable characters"),
    (["new", ""], "name: expected 1 to 100 printable characters"),
    (["new", "a", "b"], "unexpected extra argument"),
    (["new", "a", "--usd-day", "x"], "'--usd-day': expected US dollars, such as 2.50, found 'x'"),
    (["new", "a", "--usd-day", "nan"], "expected US dollars, such as 2.50, found 'nan'"),
    (["new", "a", "--usd-month", "-1"], "expected US dollars, such as 2.50, found '-1'"),
    (["new", "a", "--tokens-day", "1.5"], "expected tokens, such as 500000, found '1.5'"),
    (["new", "a", "--rpm", "0"], "'--rpm': expected an integer above 0, such as 60, found '0'"),
    (["new", "a", "--concurrent", "-1"], "expected an integer above 0, such as 60, found '-1'"),
    (["new", "a", "--max-tokens", "x"], "expected an integer above 0, such as 60, found 'x'"),
    (["new", "a", "--personas", "a,,b"], "--personas: expected names separated by commas, found"),
    (["new", "a", "--models", ""], "--models: expected names separated by commas, found ''"),
    (["new", "a", "--until", "soon"], "expected a date such as 2027-01-31 or a time such as"),
    (["new", "a", "--until", "2020-01-01"], "'--until': 2020-01-01 is not in the future"),
    (["new", "a", "--budget", "5"], "No such option '--budget'"),
    (["revoke", "nobody"], "no key named 'nobody'"),
    (["import", "missing.yaml"], "missing.yaml"),
    (["lst"], "unknown command 'lst'; did you mean 'list'?"),
]


@pytest.mark.parametrize(("args", "message"), WRONG)
def test_a_wrong_input(run: Commands, args: list[str], message: str) -> None:
    done = run("serve", "keys", *args)
    assert done.code == 2
    assert message in done.err
    assert run("serve", "keys", "list").out == ""


def test_a_name_is_taken_once(run: Commands) -> None:
    run("serve", "keys", "new", "anna")
    done = run("serve", "keys", "new", "anna")
    assert (done.code, done.out) == (2, "")
    assert "a key named 'anna' exists" in done.err


def test_openapi(run: Commands) -> None:
    assert json.loads(run("serve", "openapi").out)["openapi"].startswith("3.")

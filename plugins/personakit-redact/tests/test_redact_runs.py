"""Whole runs of a persona file that lists the plugin, in all four modes, over any chunks."""

import json
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from personakit_redact import Redact

from personakit import (
    Attachment,
    BackendError,
    Config,
    IncompleteAnswer,
    Message,
    PersonaError,
    Request,
    Response,
    Runner,
    ToolCall,
    hookimpl,
)
from personakit.testing import MODES, Answer, Server, Upstream, check_replay, in_mode, runner
from personakit.testing import persona as a_persona

MAIL, PHONE = "jane@example.com", "06 12 34 56 78"
CARD, IBAN = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"
SECRETS = (MAIL, PHONE, CARD, IBAN)
PROMPT = f"I am {MAIL}, {PHONE}; pay {CARD} from {IBAN} twice: {CARD}."
HIDDEN = "I am [EMAIL-1], [PHONE-1]; pay [CARD-1] from [IBAN-1] twice: [CARD-1]."
REPLY = "Dear [EMAIL-1] (**[Phone 1]**): I took [CARD-1], not [IBAN-1] nor [IBAN-2]. list[0] [EMA"
RESTORED = f"Dear {MAIL} (**{PHONE}**): I took {CARD}, not {IBAN} nor [IBAN-2]. list[0] [EMA"
SYSTEM = "You serve owner@example.org."

FILE = f"""\
name: clerk
system: {SYSTEM}
messages:
  - user: Mine is shy@example.org.
  - assistant: Noted, shy@example.org.
plugins:
  - redact: {{region: FR}}
"""


@pytest.fixture
def clerk(tmp_path: Path) -> Path:
    path = tmp_path / "clerk.yaml"
    path.write_text(FILE)
    return path


def sent_text(upstream: Upstream) -> str:
    return json.dumps([m.to_api() for r in upstream.requests for m in r.messages])


@pytest.mark.parametrize("mode", MODES)
def test_nothing_leaves_and_everything_comes_back(clerk: Path, mode: str) -> None:
    reply = REPLY.replace("EMAIL-1", "EMAIL-3")
    for size in range(len(reply) + 1):
        upstream = Upstream([reply], size=size)
        running = Runner(Config(model="test/model", path=()), backend=upstream)
        response = in_mode(mode, running, clerk, PROMPT)
        assert response.text == RESTORED
        assert [m.text for m in upstream.requests[0].messages] == [
            "You serve [EMAIL-1].",
            "Mine is [EMAIL-2].",
            "Noted, [EMAIL-2].",
            HIDDEN.replace("EMAIL-1", "EMAIL-3"),
        ]
        assert response.request is not None
        assert response.request.messages == upstream.requests[0].messages


@pytest.mark.parametrize("mode", MODES)
def test_over_http(clerk: Path, mode: str) -> None:
    reply = REPLY.replace("EMAIL-1", "EMAIL-3")
    for size in (1, 2, 5, 1000):
        with Server([reply], size=size) as server, closing(Runner(server.config())) as running:
            assert in_mode(mode, running, clerk, PROMPT).text == RESTORED
            body = json.dumps(server.requests[0].body, ensure_ascii=False)
            assert [value for value in (*SECRETS, "example.org") if value in body] == []


def redacted(answer: Answer, prompt: str = PROMPT, **options: Any) -> tuple[Response, Upstream]:
    running, upstream = runner([answer], plugins=[Redact(region="FR", **options)])
    return running.run(a_persona(SYSTEM), prompt), upstream


def test_text_flows_on_while_it_arrives() -> None:
    running, _ = runner(["One two [EMAIL-2] three"], size=1)
    pieces = list(running.stream(a_persona("x", plugins=["redact"]), f"a@b.de {MAIL}"))
    assert pieces == [*"One two ", MAIL, *" three"]


def test_tool_calls_get_the_values() -> None:
    call = ToolCall("1", "mail", '{"to": "[EMAIL-2]", "note": "[email_2] \\"[x]\\"", "n": 1.0}')
    response, upstream = redacted(Response("[EMAIL-2]", (call,)))
    assert response.text == MAIL
    assert response.tool_calls[0].arguments == (
        f'{{"to": "{MAIL}", "note": "{MAIL} \\"[x]\\"", "n": 1.0}}'
    )
    assert MAIL not in sent_text(upstream)


def test_a_value_is_restored_as_json_in_tool_calls() -> None:
    phone = "06 12 34 56 78\text. 9"
    call = ToolCall("1", "dial", '{"number": "[PHONE-1]"}')
    response, _ = redacted(Response("[PHONE-1]", (call,)), f"call {phone}")
    assert response.text == phone
    assert json.loads(response.tool_calls[0].arguments) == {"number": phone}


class History:
    """Adds what a conversation holds after a tool was called."""

    def __init__(self, arguments: str) -> None:
        call = ToolCall("1", "mail", arguments)
        self.messages = (
            Message("assistant", None, (call,)),
            Message("tool", f"sent to {MAIL}", tool_call_id="1"),
            Message("user", ({"type": "text", "text": f"And {PHONE}?"},)),  # type: ignore[arg-type]
        )

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_messages(*self.messages)


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (f'{{"to": "{MAIL}"}}', '{"to": "[EMAIL-2]"}'),
        (f'{{"text": "a\\n{MAIL}", "é": [null, 2.50]}}', None),
        ('{"card": 4111111111111111}', '{"card": "[CARD-2]"}'),
        (f'{{"{MAIL}": true}}', '{"[EMAIL-2]": true}'),
        (f'{{"to": "{MAIL}', '{"to": "[EMAIL-2]'),
        ("[" * 100_000 + MAIL, "[" * 100_000 + "[EMAIL-2]"),
        ('{"a":  1}', '{"a":  1}'),
    ],
)
def test_the_arguments_of_earlier_tool_calls_are_hidden(arguments: str, left: str | None) -> None:
    running, upstream = runner(["ok"], plugins=[History(arguments), Redact(region="FR")])
    running.run(a_persona(SYSTEM), PROMPT)
    sent = upstream.requests[0].messages
    assert [value for value in SECRETS if value in sent_text(upstream)] == []
    assert sent[-2].text == "sent to [EMAIL-2]"
    assert sent[-1].text == "And [PHONE-1]?"
    if left is None:
        left = '{"text": "a\\n[EMAIL-2]", "é": [null, 2.5]}'
    assert sent[-3].tool_calls[0].arguments == left


def test_parameters_are_hidden_as_well() -> None:
    running, upstream = runner(["ok"], plugins=[Redact()])
    running.run(a_persona(), "Hi", parameters={"stop": [MAIL, "END"], "seed": 4111111111111111})
    assert upstream.requests[0].parameters == {
        "stop": ("[EMAIL-1]", "END"),
        "seed": 4111111111111111,
    }


@pytest.mark.parametrize("mode", MODES)
def test_the_name_of_an_attached_file_is_hidden(mode: str) -> None:
    running, upstream = runner(["You sent [EMAIL-1].pdf."], plugins=[Redact()])
    pdf = Attachment(data=b"%PDF-1.7", name=f"{MAIL}.pdf")
    address = "https://example.com/a.png"
    response = in_mode(mode, running, a_persona(), "Hi", attachments=[pdf, address])
    assert response.text == f"You sent {MAIL}.pdf."
    _, file, image = upstream.requests[0].messages[-1].to_api()["content"]
    assert file["file"]["filename"] == "[EMAIL-1].pdf"
    assert file["file"]["file_data"] == pdf.part()["file"]["file_data"]
    assert image == {"type": "image_url", "image_url": {"url": address}}


def test_a_placeholder_that_the_user_wrote_stays_the_users() -> None:
    response, upstream = redacted(
        "[EMAIL-1] [EMAIL-2] [EMAIL-3]", f"What does [email 1] mean? {MAIL}"
    )
    assert upstream.requests[0].messages[-1].text == "What does [email 1] mean? [EMAIL-3]"
    assert response.text == f"[EMAIL-1] owner@example.org {MAIL}"


def test_a_dry_run_shows_what_would_leave(clerk: Path) -> None:
    running, upstream = runner()
    assert running.prepare(clerk, PHONE).messages[-1].text == "[PHONE-1]"
    assert upstream.requests == []


def test_without_restore_placeholders_stay() -> None:
    response, upstream = redacted("[EMAIL-2]", restore=False)
    assert response.text == "[EMAIL-2]"
    assert MAIL not in sent_text(upstream)


def test_only_the_listed_entities_are_hidden() -> None:
    _, upstream = redacted("ok", entities=["card"])
    assert upstream.requests[0].messages[-1].text == PROMPT.replace(CARD, "[CARD-1]")


def test_runs_share_nothing() -> None:
    running, upstream = runner(["[EMAIL-1]"], plugins=[Redact()])
    texts = [running.run(a_persona(), mail).text for mail in ("a@b.de", "c@d.fr")]
    assert texts == ["a@b.de", "c@d.fr"]
    assert [r.messages[-1].text for r in upstream.requests] == ["[EMAIL-1]", "[EMAIL-1]"]


@pytest.mark.parametrize("mode", MODES)
def test_it_may_be_listed_for_several_countries(mode: str) -> None:
    plugins = [{"redact": {"region": "FR"}}, {"redact": {"region": "GB", "entities": ["phone"]}}]
    running, upstream = runner(["[PHONE-1] or [PHONE-2]"], size=1)
    response = in_mode(
        mode, running, a_persona(plugins=plugins), f"{PHONE} or 020 7946 0958, {MAIL}"
    )
    assert upstream.requests[0].messages[-1].text == "[PHONE-1] or [PHONE-2], [EMAIL-1]"
    assert response.text == f"{PHONE} or 020 7946 0958"


def test_an_answer_that_breaks_off_is_restored_as_far_as_it_came() -> None:
    running, _ = runner([BackendError("gone", partial="Dear [EMAIL-1], [EM")], plugins=[Redact()])
    with pytest.raises(BackendError) as caught:
        running.run(a_persona(), MAIL)
    assert caught.value.partial == f"Dear {MAIL}, [EM"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": "UK"}, "region 'UK' is not an ISO 3166 code.*did you mean 'GB'"),
        ({"entities": ["mail"]}, "option 'entities'.*'email', 'phone', 'card' or 'iban'"),
        ({"entity": ["email"]}, "no option 'entity'.*did you mean 'entities'"),
    ],
)
def test_wrong_options_fail_when_the_persona_is_bound(options: Any, message: str) -> None:
    running, upstream = runner()
    with pytest.raises(PersonaError, match=message):
        running.run(a_persona(plugins=[{"redact": options}]), "Hi")
    assert upstream.requests == []


def test_a_region_may_be_lower_case() -> None:
    assert Redact(region="fr").region == "FR"
    assert Redact(region="").region == ""


README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "clerk.yaml").write_text(block)
    example = r"types `(.*?)`\. The model reads `(.*?)` and\nanswers `(.*?)`.*`(.*?)`"
    told = re.search(example, README)
    assert told
    prompt, left, answer, response = told.groups()
    running, upstream = runner([answer])
    assert running.run(tmp_path / "clerk.yaml", prompt).text == response
    assert upstream.requests[0].messages[-1].text == left


def test_the_readme_lists_the_options() -> None:
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == [f.name for f in fields(Redact)]


def test_libraries_are_loaded_for_digits_only() -> None:
    code = (
        "import sys; from personakit_redact import Redact; from personakit_redact.detectors"
        " import find; r = Redact(); find('jane@example.com', r.entities, 'FR');"
        "print(sorted({'phonenumbers', 'stdnum'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("mode", MODES)
def test_what_the_provider_wants_back_stays_and_reasoning_is_restored(mode: str) -> None:
    items = ({"provider": "test", "message": {"reasoning_content": "[EMAIL-1]?"}},)
    answer = Response("[EMAIL-1]", reasoning="[EMAIL-1]?", items=items)
    running, upstream = runner([answer], plugins=[Redact()])
    response = in_mode(mode, running, a_persona(), MAIL)
    assert (response.text, response.reasoning) == (MAIL, f"{MAIL}?")
    assert response.items == items
    history = (Message("user", MAIL), response.message, Message("user", "And?"))
    running.run(a_persona(), Request("test/m", history))
    assert upstream.requests[-1].messages[1].items == items
    assert MAIL not in repr(upstream.requests[-1])


def test_items_of_a_history_that_was_not_redacted_are() -> None:
    thought = {"type": "reasoning", "id": "rs", "encrypted_content": MAIL, "n": None}
    summary = ({"type": "summary_text", "text": f"To {MAIL}."},)
    signed = {"type": "thinking", "thinking": MAIL, "signature": "S", "parts": (1,)}
    other = {**signed, "thinking": "Hm."}
    kept = ({**thought, "summary": summary}, signed, other, {"place": "text", "size": 3})
    items = ({"provider": "test", "items": kept}, {"message": {"x": signed, "reasoning": MAIL}})
    running, upstream = runner(["Bye."], plugins=[Redact()])
    history = (Message("user", MAIL), Message("assistant", "Hm.", items=items))
    running.run(a_persona(), Request("test/m", (*history, Message("user", "And?"))))
    first, second = upstream.requests[0].messages[1].items
    hidden = {**thought, "summary": ({"type": "summary_text", "text": "To [EMAIL-1]."},)}
    assert first == {"provider": "test", "items": (hidden, other, kept[-1])}
    assert second == {"message": {"reasoning": "[EMAIL-1]"}}


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_cannot_be_used_is_restored(mode: str) -> None:
    call = ToolCall("1", "write", '{"to": "[EMAIL-1]"}')
    used = Response("To [EMAIL-1]", tool_calls=(call,), reasoning="[EMAIL-1]?")
    error = IncompleteAnswer("no", partial="To [EMAIL-1]", response=used)
    running, _ = runner([error], plugins=[Redact()])
    with pytest.raises(IncompleteAnswer) as raised:
        in_mode(mode, running, a_persona(), MAIL)
    restored = raised.value.response
    assert isinstance(restored, Response)
    assert raised.value.partial == restored.text == f"To {MAIL}"
    assert restored.tool_calls[0].arguments == json.dumps({"to": MAIL})
    assert restored.reasoning == f"{MAIL}?"


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_the_pieces_of_a_stream_are_restored(size: int) -> None:
    answer = Response(
        "To [EMAIL-1]",
        tool_calls=(ToolCall("1", "write", '{"to": "[EMAIL-1]"}'),),
        reasoning="[EMAIL-1], or [EMAIL-9",
        annotations=({"quote": "[EMAIL-1]"},),
    )
    running, _ = runner([answer], plugins=[Redact()], size=size)
    stream = running.stream(a_persona(), MAIL)
    pieces = list(stream.pieces())
    reasoning = "".join(piece.text for piece in pieces if piece.kind == "reasoning")
    assert reasoning == stream.response.reasoning == f"{MAIL}, or [EMAIL-9"
    arguments = "".join(piece.arguments for piece in pieces)
    assert arguments == stream.response.tool_calls[0].arguments == json.dumps({"to": MAIL})
    assert [piece.annotation for piece in pieces if piece.annotation] == [{"quote": MAIL}]
    assert stream.response.annotations == ({"quote": MAIL},)


def write(to: str) -> str:
    """Write to somebody."""
    return f"sent to {to} and jim@example.com"


def test_it_obeys_the_rule_of_replay() -> None:
    call = Response("", (ToolCall("1", "write", '{"to": "[EMAIL-1]"}'),))
    answers: list[Answer] = [call, "I wrote to [EMAIL-1] and [EMAIL-2]."]
    response = check_replay(Redact, f"Write to {MAIL}.", answers, tools=[write])
    assert response.text == f"I wrote to {MAIL} and jim@example.com."

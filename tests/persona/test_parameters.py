"""The parameters that a persona may set, and those that it may not."""

from __future__ import annotations

from typing import Any

import pytest

from personakit import ConfigError, Persona, PersonaError
from personakit.persona import parameters
from personakit.testing import persona, runner

# A value that each parameter takes, one that it does not, and what the error says of it.
ALLOWED: dict[str, tuple[Any, Any, str]] = {
    "frequency_penalty": (-2, 2.1, "expected a number from -2 to 2, found 2.1"),
    "logit_bias": ({"50256": -100}, {"a": 1}, "expected token ids with numbers from -100 to 100"),
    "logprobs": (True, 1, "expected true or false, found an integer 1"),
    "max_completion_tokens": (1, 0, "expected an integer from 1 to 10000000, found 0"),
    "max_tokens": (2084, 2084.0, "expected an integer, found a number 2084.0"),
    "presence_penalty": (2, "high", "expected a number from -2 to 2, found a string 'high'"),
    "reasoning_effort": ("low", "lots", "expected one of none, minimal, low, medium, high, xhigh"),
    "response_format": ({"type": "json_object"}, {"type": "xml"}, "whose `type` is one of text,"),
    "seed": (-(2**63), True, "expected an integer, found a boolean True"),
    "stop": (["a", "b"], ["a", 1], "expected a non-empty string or a list of them"),
    "temperature": (0.9, 3, "expected a number from 0 to 2, found 3"),
    "top_logprobs": (20, 21, "expected an integer from 0 to 20, found 21"),
    "top_p": (1, -0.1, "expected a number from 0 to 1, found -0.1"),
    "verbosity": ("high", "loud", "expected one of low, medium, high, found a string 'loud'"),
}


def test_every_parameter_is_tried_here() -> None:
    assert set(ALLOWED) == set(parameters.ALLOWED)


@pytest.mark.parametrize("name", ALLOWED)
def test_a_good_value_is_sent(name: str) -> None:
    good = ALLOWED[name][0]
    running, upstream = runner()
    running.run(persona(parameters={name: good}))
    sent = upstream.requests[0].parameters[name]
    assert sent == (tuple(good) if isinstance(good, list) else good)


@pytest.mark.parametrize("name", ALLOWED)
def test_a_bad_value_is_refused_in_a_file_and_from_a_caller(name: str) -> None:
    _, bad, message = ALLOWED[name]
    with pytest.raises(PersonaError) as in_file:
        persona(parameters={name: bad})
    with pytest.raises(ConfigError) as by_caller:
        runner()[0].render(persona(), parameters={name: bad})
    for caught in (in_file, by_caller):
        assert f"parameter {name!r}: " in str(caught.value)
        assert message in str(caught.value)


def test_a_parameter_without_a_value_says_so() -> None:
    wanted = "parameter 'seed' has no value: set one or remove the line"
    assert parameters.fault("seed", None) == wanted


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["temperature", "seed", "stop", "logit_bias"])
def test_no_parameter_is_nothing_or_infinite(name: str, value: Any) -> None:
    assert f"parameter {name!r}" in str(parameters.fault(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0), ("temperature", 2), ("top_p", 0), ("stop", "\n"), ("stop", ["a"] * 16),
        ("max_tokens", 10_000_000), ("logit_bias", {}), ("response_format", {"type": "text"}),
    ],
)  # fmt: skip
def test_the_ends_of_a_range_belong_to_it(name: str, value: Any) -> None:
    assert parameters.fault(name, value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.0001), ("stop", ""), ("stop", ["a"] * 17), ("stop", [""]), ("stop", {}),
        ("logit_bias", {"1": 101}), ("logit_bias", {"-1": 1}), ("logit_bias", [1]),
        ("response_format", "json"), ("response_format", {}), ("seed", 2**63), ("logprobs", "true"),
        ("reasoning_effort", ["low"]), ("verbosity", None),
    ],
)  # fmt: skip
def test_beyond_a_range_is_beyond_it(name: str, value: Any) -> None:
    assert f"parameter {name!r}" in str(parameters.fault(name, value))


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("api_key", "keys belong in the environment or the config file"),
        ("base_url", "addresses belong in the config file, under `providers`"),
        ("extra_body", "only named parameters are sent"),
        ("extra_headers", "headers belong in the config file, under `providers`"),
        ("extra_query", "only named parameters are sent"),
        ("messages", "write `system`, `messages` and `prompt` beside `parameters`"),
        ("model", "write `model` beside `parameters`"),
        ("n", "a run has one answer"),
        ("stream", "the caller sets it with --stream or --no-stream"),
        ("stream_options", "the caller sets it with --stream or --no-stream"),
        ("timeout", "the caller sets it"),
        ("tool_choice", "a plugin's chat hook sets it, together with `tools`"),
        ("tools", "write `tools` beside `parameters`"),
    ],
)
def test_what_would_redirect_a_request_is_refused(name: str, way: str) -> None:
    source = f"system: hi\nparameters:\n  {name}: x\n"
    with pytest.raises(PersonaError) as caught:
        Persona.parse(source, "x.yaml")
    wanted = f"x.yaml:3:3: parameter {name!r} is not allowed in a persona: {way}"
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tempreature", "unknown parameter 'tempreature'; did you mean 'temperature'?"),
        ("zzz", "unknown parameter 'zzz' (known: frequency_penalty, logit_bias,"),
        ("user", "unknown parameter 'user' (known: "),
        ("max_token", "did you mean 'max_tokens'?"),
    ],
)
def test_an_unknown_parameter(name: str, message: str) -> None:
    assert message in str(parameters.fault(name, 1))


def test_every_fault_of_a_caller_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parameters.check({"temperature": 3, "tempreature": 1, "seed": 1, "model": "x"})
    assert [line.split("'")[1] for line in str(caught.value).splitlines()] == [
        "temperature",
        "tempreature",
        "model",
    ]


def test_the_file_wins_over_the_config_and_the_caller_over_both() -> None:
    running, upstream = runner()
    running.run(persona(parameters={"seed": 1, "top_p": 0.5}), parameters={"seed": 2})
    assert upstream.requests[0].parameters == {"seed": 2, "top_p": 0.5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5), ("7", 7), ("true", True), ("low", "low"), ('["a"]', ["a"]), ("", ""),
        ('{"type": "text"}', {"type": "text"}), ("null", None), ("0x1", "0x1"), ("[", "["),
        ('"7"', "7"),
    ],
)  # fmt: skip
def test_a_text_of_a_command_line(text: str, value: Any) -> None:
    found = parameters.convert("stop", text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 10_000, "NaN", "-Infinity"])
def test_a_text_of_a_command_line_that_is_no_value(text: str) -> None:
    assert "parameter 'temperature'" in str(
        parameters.fault("temperature", parameters.convert("temperature", text))
    )

"""Which errors are tried again, where, how often, and what the caller gets in the end."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from personakit_retry import Retry

from personakit import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    Blocked,
    Config,
    ConfigError,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    PersonaError,
    QuotaExhausted,
    RateLimited,
    Request,
    Response,
    Runner,
    Timeout,
    UpstreamUnavailable,
    hookimpl,
)
from personakit.testing import (
    MODES,
    Answer,
    Upstream,
    check_plugin,
    check_replay,
    in_mode,
    persona,
    runner,
)

PASSING = [RateLimited, Timeout, UpstreamUnavailable, IncompleteAnswer, InvalidAnswer]
OF_THE_MODEL = [QuotaExhausted, ModelNotFound, AuthenticationFailed]


def asked(upstream: Upstream) -> list[str]:
    return [request.model for request in upstream.requests]


def retried(
    answers: Sequence[Answer], mode: str = "run", **options: Any
) -> tuple[Response | Exception, Upstream]:
    running, upstream = runner(answers, plugins=[Retry(**{"backoff": 0, **options})])
    try:
        return in_mode(mode, running, persona(), "Hi"), upstream
    except Exception as error:
        return error, upstream


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_failure_is_tried_again(mode: str, kind: type[BackendError]) -> None:
    response, upstream = retried([kind("no"), kind("no"), "yes"], mode)
    assert isinstance(response, Response)
    assert response.text == "yes"
    assert response.metadata == {"retry": {"attempts": 3, "model": "test/model"}}
    assert [request.max_retries for request in upstream.requests] == [0, 0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_a_first_answer_is_passed_on_as_it_is(mode: str) -> None:
    response, upstream = retried(["yes"], mode)
    assert isinstance(response, Response)
    assert (response.text, response.metadata) == ("yes", {})
    assert [request.max_retries for request in upstream.requests] == [0]


@pytest.mark.parametrize("mode", MODES)
def test_the_last_error_is_raised_with_a_list_of_the_attempts(mode: str) -> None:
    last = Timeout("too slow", partial="some", status=408)
    error, upstream = retried([RateLimited("busy"), last], mode, attempts=2)
    assert error is last
    assert asked(upstream) == ["test/model"] * 2
    assert last.__notes__ == [
        "attempts: 2\ntest/model: RateLimited: busy\ntest/model: Timeout: too slow"
    ]


@pytest.mark.parametrize("kind", [BadRequest, *OF_THE_MODEL])
@pytest.mark.parametrize("mode", MODES)
def test_a_lasting_failure_is_raised_at_once(mode: str, kind: type[BackendError]) -> None:
    error, upstream = retried([kind("no"), "yes"], mode)
    assert type(error) is kind
    assert not hasattr(error, "__notes__")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("kind", OF_THE_MODEL)
@pytest.mark.parametrize("mode", MODES)
def test_another_model_is_asked_at_once_for_what_the_first_cannot_do(
    mode: str, kind: type[BackendError]
) -> None:
    response, upstream = retried([kind("no"), "yes"], mode, fallback=["other/one"])
    assert isinstance(response, Response)
    assert asked(upstream) == ["test/model", "other/one"]
    assert response.metadata["retry"] == {"attempts": 2, "model": "other/one"}


@pytest.mark.parametrize("mode", MODES)
def test_each_model_has_its_attempts(mode: str) -> None:
    no = RateLimited("no")
    fallback = ["a/b", "test/model", "c/d/e"]
    response, upstream = retried([*[no] * 5, "yes"], mode, attempts=2, fallback=fallback)
    assert isinstance(response, Response)
    assert asked(upstream) == ["test/model", "test/model", "a/b", "a/b", "c/d/e", "c/d/e"]


def test_no_other_model_is_asked_about_a_bad_request() -> None:
    error, upstream = retried([BadRequest("no"), "yes"], fallback=["a/b"])
    assert isinstance(error, BadRequest)
    assert asked(upstream) == ["test/model"]


def test_an_error_of_the_fallback_lists_what_was_before() -> None:
    answers: list[Answer] = [RateLimited("busy"), ConfigError("no provider 'a'"), "yes"]
    error, upstream = retried(answers, attempts=1, fallback=["a/b", "c/d"])
    assert isinstance(error, ConfigError)
    assert asked(upstream) == ["test/model", "a/b"]
    assert "test/model: RateLimited: busy" in error.__notes__[0]


def test_only_the_listed_errors_are_tried_again() -> None:
    options: dict[str, Any] = {"on": ["Timeout"], "fallback": ["a/b"]}
    response, upstream = retried([Timeout("no"), "yes"], **options)
    assert isinstance(response, Response)
    error, upstream = retried([RateLimited("no"), "yes"], **options)
    assert isinstance(error, RateLimited)
    assert asked(upstream) == ["test/model"]


@pytest.mark.parametrize("mode", MODES)
def test_a_refusal_of_an_inner_plugin_is_final(mode: str) -> None:
    calls = []

    class Guard:
        @hookimpl
        def chat(self, request: Request) -> None:
            calls.append(request.model)
            raise Blocked("never")

    running, _ = runner(plugins=[Retry(backoff=0, fallback=["a/b"]), Guard()])
    with pytest.raises(Blocked, match="never"):
        in_mode(mode, running, persona(), "Hi")
    assert calls == ["test/model"]


def test_metadata_of_inner_plugins_stays() -> None:
    answer = Response("yes", finish_reason="stop", metadata={"cache": "miss"})
    response, _ = retried([RateLimited("no"), answer])
    assert isinstance(response, Response)
    assert set(response.metadata) == {"cache", "retry"}


KINDS = {kind.__name__: kind for kind in (RateLimited, Timeout, QuotaExhausted, BadRequest)}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*KINDS, "yes"]), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_every_course_of_events(course: list[str], attempts: int, others: int) -> None:
    course = [*course, "yes"]
    models = ["test/model", *(f"other/{n}" for n in range(others))]
    expected: list[str] = []
    for model in models:
        for _ in range(attempts):
            expected.append(model)
            ended = course[len(expected) - 1]
            if ended not in {"RateLimited", "Timeout"}:
                break
        if ended in {"yes", "BadRequest"}:
            break
    answers: list[Answer] = [KINDS[name](name) if name in KINDS else name for name in course]
    plugin = Retry(attempts=attempts, backoff=0, fallback=models[1:])
    running, upstream = runner(answers, plugins=[plugin])
    if ended == "yes":
        assert running.run(persona(), "Hi").text == "yes"
        assert check_plugin(plugin, "Hi", answers, sizes=[1]).text == "yes"
    else:
        with pytest.raises(KINDS[ended]):
            running.run(persona(), "Hi")
        with pytest.raises(KINDS[ended]):
            check_plugin(plugin, "Hi", answers, sizes=[1])
    assert asked(upstream) == expected


def flaky(request: Request) -> str:
    """Answer a number from the one model that it is meant for."""
    prompt = request.messages[-1].text
    if request.model != f"other/{int(prompt) % 4}":
        raise RateLimited(f"{prompt} is not for {request.model}")
    return prompt


FALLBACK = [f"other/{n}" for n in range(4)]


def test_one_plugin_serves_many_threads() -> None:
    running, _ = runner([flaky], plugins=[Retry(attempts=2, backoff=0.001, fallback=FALLBACK)])
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda n: running.run(persona(), str(n)), range(40)))
    for number, response in enumerate(responses):
        told = {"attempts": 3 + 2 * (number % 4), "model": f"other/{number % 4}"}
        assert (response.text, response.metadata["retry"]) == (str(number), told)


def test_one_plugin_serves_many_tasks() -> None:
    running, _ = runner([flaky], plugins=[Retry(attempts=2, backoff=0.001, fallback=FALLBACK)])

    async def gather() -> list[Response]:
        return await asyncio.gather(*(running.arun(persona(), str(n)) for n in range(40)))

    for number, response in enumerate(asyncio.run(gather())):
        told = {"attempts": 3 + 2 * (number % 4), "model": f"other/{number % 4}"}
        assert (response.text, response.metadata["retry"]) == (str(number), told)


def by_name(answers: Sequence[Answer], **options: Any) -> tuple[Response, Upstream]:
    upstream = Upstream(answers)
    running = Runner(Config(model="test/m", path=()), backend=upstream)
    return running.run(persona(plugins=[{"retry": options}]), "Hi"), upstream


def test_a_persona_lists_it_with_options() -> None:
    response, upstream = by_name(
        [Timeout("no"), "yes"], attempts=1, on=["RateLimited", "Timeout"], fallback=["a/b"]
    )
    assert asked(upstream) == ["test/m", "a/b"]
    assert response.text == "yes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts is 0; use 1 to 100"),
        ({"attempts": "many"}, "'attempts'.*valid integer"),
        ({"backoff": -1}, "backoff is -1.0; use a finite number of seconds, 0 or more"),
        ({"max_wait": -0.5}, "max_wait is -0.5; use a finite number of seconds, 0 or more"),
        ({"fallback": ["gpt5"]}, "fallback contains 'gpt5'; write it as provider/model"),
        ({"fallback": ["/x"]}, "fallback contains '/x'"),
        ({"on": ["BadRequest"]}, r"'on': \[0\].*'RateLimited', 'Timeout'.*found \"BadRequest\""),
        ({"attempt": 3}, "no option 'attempt'; did you mean 'attempts'"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises((PersonaError, ConfigError), match=message):
        by_name(["yes"], **options)


@pytest.mark.parametrize("model", ["local//x.gguf", "local/x.gguf", "local/~/x.gguf", "local/x"])
def test_a_persona_cannot_fall_back_to_a_file(model: str) -> None:
    message = rf"test\.yaml:1:.*plugin 'retry'.*'fallback': '{model}' is the path of a file; a per"
    with pytest.raises(PersonaError, match=message):
        by_name(["yes"], fallback=["a/b", model])
    options = {"retry": {"attempts": 1, "fallback": [model]}}
    running, upstream = runner([Timeout("no"), "yes"], plugin_options=options)
    assert running.run(persona(plugins=["retry"]), "Hi").text == "yes"
    assert asked(upstream) == ["test/model", model]


def test_a_persona_can_fall_back_to_the_embedded_model() -> None:
    model = "local/SmolLM2-135M-Instruct"
    response, _ = by_name([Timeout("no"), "yes"], attempts=1, fallback=[model])
    assert response.text == "yes"


def test_waits_are_finite() -> None:
    with pytest.raises(ValueError, match="max_wait is inf; use a finite number of seconds"):
        Retry(max_wait=float("inf"))


def test_it_obeys_the_rule_of_replay() -> None:
    answers: list[Answer] = [RateLimited("wait"), UpstreamUnavailable("down"), "ok"]
    response = check_replay(lambda: Retry(backoff=0.001), answers=answers)
    assert response.metadata["retry"]["attempts"] == 3
    gone: list[Answer] = [ModelNotFound("gone"), "ok"]
    other = check_replay(lambda: Retry(fallback=["test/other"]), answers=gone)
    assert other.metadata["retry"]["model"] == "test/other"
    with pytest.raises(BadRequest):
        check_replay(Retry, answers=[BadRequest("no")])

"""Checks of a plugin in every mode and of a filter at every cut."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from personakit.hookspecs import Filter
from personakit.messages import Request, Response
from personakit.persona import Persona
from personakit.pipeline import Stream
from personakit.runner import Runner
from personakit.testing.fake_backend import Answer, pieces, runner
from personakit.testing.fake_backend import persona as test_persona

MODES = ("run", "arun", "stream", "astream")
"""The ways to run a persona."""


def in_mode(
    mode: str, run_with: Runner, who: Any, prompt: str | Request | None = None, **options: Any
) -> Response:
    """Run a persona in one of `MODES`, or by ``pieces``, and return the response.

    Args:
        mode: One of `MODES`, or ``pieces`` to read the pieces of a stream.
        run_with: The runner.
        who: A name, the path of a file, or a persona.
        prompt: The user's message, or a whole request.
        options: The options of `Runner.run`.

    Raises:
        AssertionError: The streamed text differs from the text of the response, or the streamed
            reasoning from its reasoning.
    """
    if mode == "pieces":
        return _by_pieces(run_with.stream(who, prompt, **options))
    if mode == "run":
        return run_with.run(who, prompt, **options)
    if mode == "arun":
        return asyncio.run(run_with.arun(who, prompt, **options))
    response: Response
    if mode == "stream":
        stream = run_with.stream(who, prompt, **options)
        text, response = "".join(stream), stream.response
    else:
        astream = run_with.astream(who, prompt, **options)

        async def read() -> str:
            return "".join([piece async for piece in astream])

        text, response = asyncio.run(read()), astream.response
    assert text == response.text, f"streamed {text!r}, but the text is {response.text!r}"
    return response


def _by_pieces(stream: Stream[Response]) -> Response:
    found = {"text": "", "reasoning": ""}
    for piece in stream.pieces():
        found[piece.kind] = found.get(piece.kind, "") + piece.text
    response = stream.response
    assert found["text"] == response.text, (
        f"the pieces have the text {found['text']!r}, but the response {response.text!r}"
    )
    assert found["reasoning"] == response.reasoning, (
        f"the pieces have the reasoning {found['reasoning']!r}, but the response "
        f"{response.reasoning!r}"
    )
    return response


def check_plugin(
    plugin: Any,
    request: str | Request | None = "Hi!",
    answers: Sequence[Answer] = ("Hello!",),
    *,
    persona: Persona | None = None,
    sizes: Iterable[int] = (0, 1, 2, 3, 7),
) -> Response:
    """Run a plugin sync and async, whole and streamed in pieces of several sizes.

    All runs must have the same outcome: the same text, reasoning, tool calls, finish reason and
    parsed value, or the same error. The streamed text must be the text of the response, and so the
    reasoning among the pieces of a stream.

    Args:
        plugin: An object with hooks, used for all runs; or a class or function without required
            arguments, called for a new object in each run. An instance of a class is closed.
        request: The user's message, or a whole request; None for a run without a prompt.
        answers: The answers of the model; see `Upstream`.
        persona: The persona to run; None for ``testing.persona()``.
        sizes: The numbers of characters in a streamed piece; 0 streams a text as one piece.

    Returns:
        The response of the first run.

    Raises:
        AssertionError: Two runs had different outcomes.
        Exception: Every run raised this error, so ``pytest.raises`` can expect it.
    """
    if isinstance(request, list | tuple):
        raise TypeError(
            f"check_plugin(plugin, request, answers): `request` must be a str, a Request or None, "
            f"found {type(request).__name__}"
        )
    who = persona or test_persona()
    first: tuple[str, Response | Exception] | None = None
    for size in sizes:
        for mode in (*MODES, "pieces"):
            instance = plugin() if inspect.isfunction(plugin) else plugin
            with runner(answers, plugins=[instance], size=size)[0] as running:
                ended = _ended(mode, running, who, request)
            here = f"{mode} in pieces of {size}"
            first = first or (here, ended)
            assert _outcome(ended) == _outcome(first[1]), (
                f"{here} gave {_shown(ended)}, {first[0]} gave {_shown(first[1])}"
            )
    assert first is not None, "sizes is empty"
    if isinstance(first[1], Exception):
        raise first[1]
    return first[1]


def _ended(
    mode: str, running: Runner, who: Persona, request: str | Request | None
) -> Response | Exception:
    """Return the response of a run, or the error that it raises."""
    try:
        return in_mode(mode, running, who, request)
    except AssertionError:
        raise
    except Exception as error:
        return error


def _outcome(ended: Response | Exception) -> tuple[Any, ...]:
    """Return the values that must be the same in every mode."""
    if isinstance(ended, Exception):
        return type(ended), str(ended)
    return ended.text, ended.tool_calls, ended.finish_reason, ended.parsed, ended.reasoning


def _shown(ended: Response | Exception) -> str:
    if isinstance(ended, Exception):
        return f"{type(ended).__name__}: {ended}"
    text, *rest = _outcome(ended)
    return f"{text!r} {rest}"


def check_filter(make: Callable[[], Filter], text: str, expected: str) -> None:
    """Feed a text to a filter in pieces of every size and cut in two at every position.

    Args:
        make: Returns a new filter.
        text: The input.
        expected: The expected output.

    Raises:
        AssertionError: The output differs.
    """
    cuts = [list(pieces(text, size)) for size in range(len(text) + 1)]
    cuts += [[text[:at], text[at:]] for at in range(1, len(text))]
    for cut in cuts:
        one = make()
        output = "".join([one.feed(piece) for piece in cut]) + one.flush()
        assert output == expected, f"cut as {cut!r}: expected {expected!r}, found {output!r}"

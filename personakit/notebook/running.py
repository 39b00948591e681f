"""A cell that runs a persona, or goes on with a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from personakit.cli.shared import continuing, limits, output
from personakit.cli.shared.abilities import say_once
from personakit.cli.shared.input import attachments_of, check_stdin
from personakit.cli.shared.options import chosen_values, given_tools
from personakit.cli.shared.terminal import SUSPENDED
from personakit.display import footer, footer_line
from personakit.errors import RunError, UsageError, did_you_mean
from personakit.notebook.screen import Screen, Terminal
from personakit.notebook.session import Session, Talk
from personakit.pipeline import Trace

if TYPE_CHECKING:
    from personakit.conversation import Conversation
    from personakit.messages import Message, Response
    from personakit.notebook.asked import Asked
    from personakit.persona import Persona
    from personakit.runner import Runner

ANSWER = "answer"
WAITS = "waits for an answer"


class Stopped(KeyboardInterrupt):
    """The user stopped a cell; IPython shows one line, and the cells after it do not run."""

    def _render_traceback_(self) -> list[str]:
        return [f"Stopped: {self}"]


def run(session: Session, asked: Asked, cell: str | None) -> None:
    """Run a turn, show the answer as it arrives, and assign the response to a name.

    Args:
        session: The notebook.
        asked: The line.
        cell: The prompt; None if it is on the line.

    Raises:
        UsageError: The line is wrong.
        RunError: The run failed; the text that arrived is shown.
        Stopped: The user stopped it.
    """
    options = asked.options
    runner = session.runner(log=not options["no_log"], allowed=options["allowed"])
    name, prompt = _named(session, runner, asked, cell)
    if check_stdin(options["attach"], options):
        raise UsageError("a notebook has no standard input: write a file instead of `-`")
    notes: list[str] = []
    talk, given = _talk(session, runner, name, options, notes)
    _check_prompt(talk.persona, prompt, options, is_cell=cell is not None)
    target = options["result"] or (session.last if _goes_on(options) else "") or ANSWER
    request: dict[str, Any] = {**limits.taken(dict(options))}
    request["attachments"] = attachments_of(options["attach"])
    request["tools"] = given_tools(runner, talk.persona, options["allowed"], options["functions"])
    trace = request["trace"] = Trace() if options["traced"] else None
    say_once(runner, talk.persona)
    screen = _screen(session, options, talk.persona)
    try:
        response = _answered(talk, prompt, request, screen, options["quiet"])
        notes += output.notices(response) + _calls(response)
        screen.end("" if options["quiet"] else footer(response, given, notes), response.text)
    except (RunError, Stopped) as error:
        # The name would still be an earlier answer, which nobody could see.
        session.forget(target)
        if not talk.messages:
            ended = "was stopped before any text arrived"
            if isinstance(error, RunError):
                ended = WAITS if error.exit_code == SUSPENDED else "failed"
            session.lose(target, ended)
        raise
    finally:
        if talk.messages:
            session.keep(target, Talk(talk, runner))
        if trace is not None:
            screen.trace(trace)
    session.shell.push({target: response})


def _check_prompt(
    persona: Persona, prompt: str | None, options: Mapping[str, Any], *, is_cell: bool
) -> None:
    """Check that a model would have something to answer; a persona can bring it itself."""
    if prompt is None and not (persona.prompt or persona.messages or options["attach"]):
        raise UsageError(
            "the prompt is missing: write it "
            + ("below the line, the cell is blank" if is_cell else "on the line, or in a cell")
        )


def _named(
    session: Session, runner: Runner, asked: Asked, cell: str | None
) -> tuple[str | None, str | None]:
    """Return the persona, if the line names one, and the prompt."""
    name, rest = next(iter(asked.words), None), asked.rest
    is_word = _goes_on(asked.options) and name is not None and not session.is_persona(runner, name)
    if cell is not None and is_word:
        runner.load(name or "")  # the error says what it may have been
    words = rest[0 if is_word else 1 :][:1]
    if cell is not None:
        if words:
            raise UsageError(
                f"the cell is the prompt, so {words[0][:80]!r} has no place on the line; remove "
                f"it, or write all on one line after %persona"
            )
        return name, cell if cell.strip() else None
    return (None if is_word else name), words[0] if words else None


def _goes_on(options: Mapping[str, Any]) -> bool:
    return bool(options["goes_on"] or options["conversation"] is not None)


def _talk(
    session: Session, runner: Runner, name: str | None, options: dict[str, Any], notes: list[str]
) -> tuple[Conversation, dict[str, Any]]:
    """Return the conversation of the turn, and the variables that the line sets."""
    if continuing.asked(options):
        talk = _earlier(session, runner, options)
        if name is not None:
            talk.persona = runner.load(name)
            declared = talk.persona.variables
            talk.variables = {key: it for key, it in talk.variables.items() if key in declared}
        talk.model = options["model"] or talk.model
    else:
        if name is None:
            raise UsageError(
                "no persona: write its name after %%persona; %persona lists the personas, and -c "
                "goes on with the last conversation"
            )
        talk = runner.conversation(runner.load(name), model=options["model"])
    chosen = values(session.shell.user_ns, talk.persona, options)
    talk.variables |= chosen["variables"]
    talk.parameters |= chosen["parameters"]
    talk.notify = notes.append
    return talk, chosen["variables"]


def _earlier(session: Session, runner: Runner, options: dict[str, Any]) -> Conversation:
    """Return the conversation that is to go on."""
    identity = options["conversation"]
    if identity is None:
        talk, its_runner = session.talk(options["result"])
    elif (found := session.find(identity)) is not None:
        talk, its_runner = found
    else:
        from personakit.conversation import resume  # noqa: PLC0415

        return resume(runner, identity)
    if its_runner is runner:
        return talk
    return runner.conversation(
        talk.persona,
        model=talk.model,
        variables=talk.variables,
        parameters=talk.parameters,
        id=talk.id,
        messages=talk.messages,
    )


def values(
    namespace: Mapping[str, Any], persona: Persona, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the variables and parameters of a line.

    Args:
        namespace: The variables of the notebook; ``-v guests`` takes the one of that name, with its
            own type. None is taken unasked: one that is left from an earlier cell would change the
            answer unseen.
        persona: Declares the variables.
        options: The options of the line.

    Raises:
        UsageError: A variable is not there, or a value is invalid.
    """
    pairs = tuple(pair for pair in options["pairs"] if "=" in pair)
    chosen = chosen_values(persona, pairs, options["file"], options["settings"])
    for name in options["pairs"]:
        if name in pairs:
            continue
        if name not in namespace:
            own = [one for one in namespace if not one.startswith("_")]
            raise UsageError(
                f"-v {name}: the notebook has no variable {name!r}{did_you_mean(name, own)}; "
                f"assign one in a cell, or write -v {name}=VALUE"
            )
        chosen["variables"][name] = namespace[name]
    return chosen


def _screen(session: Session, options: Mapping[str, Any], persona: Persona) -> Screen:
    kind = Screen if getattr(session.shell, "kernel", None) is not None else Terminal
    return kind(images=options["images"], is_json=persona.output is not None)


def _answered(
    talk: Conversation, prompt: str | None, request: dict[str, Any], screen: Screen, quiet: bool
) -> Response:
    """Return the response, after showing its text as it arrived."""
    before = talk.messages
    try:
        with talk.stream(prompt, **request) as pieces:
            for piece in pieces:
                screen.add(piece)
            response: Response = pieces.response
            return response
    except KeyboardInterrupt:
        _ended(screen, "stopped", quiet)
        raise Stopped(_kept(before, talk.messages)) from None
    except RunError as error:
        if screen.text:
            failed = "the run failed; the text may not be whole"
            _ended(screen, WAITS if error.exit_code == SUSPENDED else failed, quiet)
        raise


def _kept(before: tuple[Message, ...], after: tuple[Message, ...]) -> str:
    """Return what a stopped cell has left of its conversation."""
    if before != after:
        return "the text up to here is kept, and `%%persona -c` goes on from it."
    if before:
        return "no text had arrived; `%%persona -c` goes on from the turn before this cell."
    return "no text had arrived, and nothing is kept; run the cell again."


def _ended(screen: Screen, why: str, quiet: bool) -> None:
    screen.end("" if quiet else footer_line(why))


def _calls(response: Response) -> list[str]:
    """Return a note about the tools that were called."""
    names = [call.name for message in response.messages for call in message.tool_calls]
    return [f"called {', '.join(names)}"] if names else []

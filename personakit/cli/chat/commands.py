"""The commands of a chat, which start with a slash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.cli.chat.attaching import Attached
from personakit.cli.shared import output
from personakit.cli.shared.fragments import prompt_in
from personakit.cli.shared.limits import Limits
from personakit.cli.shared.options import split_pair
from personakit.config import expanded
from personakit.conversation import Conversation, Said, transcript
from personakit.errors import PersonaError, UsageError, did_you_mean
from personakit.messages import Message
from personakit.persona import Declared, parameters

if TYPE_CHECKING:
    from personakit.runner import Runner
    from personakit.tools import Tool


class Leave(Exception):
    """Raised by `/quit`."""


def _nothing(text: str, *, between: bool = False) -> None: ...


@dataclass(slots=True)
class Chat:
    """The state of a chat.

    Attributes:
        runner: Runs the turns.
        conversation: The conversation so far.
        say: Prints a notice of one line.
        limits: The time limits of a turn.
        attached: What goes with the next message.
        tools: The tools that the user gives the model, besides those of the persona.
        waits: Shows what the turn waits for; see `output.waiting`.
        apart: Returns a context in which the answer is not drawn, so that a question can be.
        suspended: The turn that waits for an answer, a `Suspended`; None if none does.
    """

    runner: Runner
    conversation: Conversation
    say: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)
    attached: Attached = field(default_factory=Attached)
    tools: tuple[Tool, ...] = ()
    waits: Callable[..., None] = _nothing
    apart: Callable[[], AbstractContextManager[None]] = nullcontext
    suspended: Any = None

    @property
    def model(self) -> str:
        """The model of the next turn."""
        mine = self.conversation
        config = self.runner.config
        return config.resolve(mine.model or mine.persona.model or config.model or "")

    def status(self) -> str:
        """Return the persona, the model and the number of messages on one line."""
        mine = self.conversation
        count = len(mine.messages)
        messages = f"{count} message{'s' * (count != 1)}"
        if mine.left_out:
            messages += f", {mine.left_out} no longer sent"
        attached = f" · attached: {self.attached.names}" if self.attached.items else ""
        return f"{mine.persona.name} · {self.model} · {messages}{attached}"


Command = Callable[[Chat, str], "Said | None"]


def perform(chat: Chat, line: str) -> Said:
    """Run the command in a line that starts with a slash; return the next message, if any.

    Raises:
        UsageError: The command is unknown or cannot be run.
        Leave: The command is `/quit`.
    """
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(ALIASES.get(name, name))
    if command is None:
        hint = did_you_mean(name, COMMANDS) or "; /help lists them"
        # The keys of COMMANDS have no slash.
        hint = hint.replace("mean '", "mean '/")
        raise UsageError(
            f"unknown command '/{name}'{hint}; to send a message that starts with a slash, start "
            f"it with two"
        )
    if rest.strip() and not command.argument:
        raise UsageError(f"/{name} accepts no argument, found {rest.strip()!r}")
    return command.run(chat, rest.strip())


def complete(chat: Chat, text: str) -> Iterator[tuple[str, int, str]]:
    """Yield completions of a text: the new text, the length that it replaces, and a remark."""
    if not text.startswith("/") or text.startswith("//") or "\n" in text:
        return
    name, space, rest = text[1:].partition(" ")
    if not space:
        for candidate, command in COMMANDS.items():
            if candidate.startswith(name):
                yield f"/{candidate}", len(text), command.help
        return
    values = ARGUMENTS.get(name)
    for value in values(chat) if values else _files(rest) if name in WITH_FILES else ():
        if value.startswith(rest) and value != rest:
            yield value, len(rest), ""


# --- the commands --------------------------------------------------------------------------------


def _help(chat: Chat, rest: str) -> None:
    width = max(len(f"/{name} {c.argument}") for name, c in COMMANDS.items())
    for name, command in COMMANDS.items():
        chat.say(f"{f'/{name} {command.argument}':{width}}  {command.help}")
    chat.say("//…".ljust(width) + "  send a message that starts with a slash")
    chat.say("Alt-Enter (or Esc, Enter) starts a new line. Ctrl-C stops an answer, Ctrl-D leaves.")


def _reset(chat: Chat, rest: str) -> None:
    chat.conversation.reset()
    chat.say("started a new conversation")


def _persona(chat: Chat, rest: str) -> None:
    mine = chat.conversation
    if not rest:
        chat.say(f"{mine.persona.name}: {mine.persona.description or mine.persona.path}")
        return
    mine.persona = rest
    unknown = [name for name in mine.variables if name not in mine.persona.variables]
    for name in unknown:
        del mine.variables[name]
    left = f" (without {', '.join(unknown)}, which it does not declare)" if unknown else ""
    chat.say(f"{mine.persona.name} answers now{left}")


def _model(chat: Chat, rest: str) -> None:
    if rest:
        chat.runner.router.find_model(rest)
        chat.conversation.model = rest
        chat.say(f"{chat.model} answers now")
    else:
        chat.say(chat.model)


def _set(chat: Chat, rest: str) -> None:
    mine = chat.conversation
    if not rest:
        for name, value in output.plain(_values(chat)).items():
            chat.say(f"{name}={value}")
        return
    name, value = split_pair(rest, "/set")
    declared = mine.persona.variables.get(name)
    if declared is not None:
        converted = declared.convert(value)
        Declared({name: declared}).values({name: converted})
        mine.variables[name] = converted
    elif name in parameters.ALLOWED:
        setting = parameters.convert(name, value)
        parameters.check({name: setting})
        mine.parameters[name] = setting
    else:
        names = [*mine.persona.variables, *parameters.ALLOWED]
        hint = did_you_mean(name, names) or f"; expected one of {', '.join(names)}"
        raise UsageError(f"{mine.persona.name} has no variable or parameter {name!r}{hint}")
    chat.say(f"{name}={value}")


def _values(chat: Chat) -> dict[str, object]:
    """Return every variable of the persona and every parameter that is set."""
    mine = chat.conversation
    variables = {
        name: mine.variables.get(name, v.default) for name, v in mine.persona.variables.items()
    }
    return {**variables, **mine.persona.parameters, **mine.parameters}


def _save(chat: Chat, rest: str) -> None:
    path = _path(rest, "/save")
    if path.exists() and _saved(path) != chat.conversation.id:
        raise UsageError(
            f"{path} is another saved conversation; choose another name, or replace it with "
            f"/save! {rest}"
        )
    chat.conversation.save(path)
    chat.say(f"saved to {path}; continue it with /load {rest}")


def _replace(chat: Chat, rest: str) -> None:
    path = _path(rest, "/save!")
    if path.exists():
        _saved(path)
    chat.conversation.save(path)
    chat.say(f"saved to {path}; continue it with /load {rest}")


def _saved(path: Path) -> str:
    """Return the id of the conversation in a file.

    Raises:
        UsageError: The file is no saved conversation.
    """
    try:
        return transcript.read(path).id
    except UsageError:
        raise UsageError(
            f"{path} already exists and is not a saved conversation; choose another name"
        ) from None


def _load(chat: Chat, rest: str) -> None:
    notify = chat.conversation.notify
    chat.conversation = Conversation.load(_path(rest, "/load"), chat.runner)
    chat.conversation.notify = notify
    chat.say(f"continuing with {chat.status()}")


def _attach(chat: Chat, rest: str) -> None:
    if rest:
        chat.attached = chat.attached.with_file(rest, "/attach")
    _say_attached(chat)


def _fragment(chat: Chat, rest: str) -> None:
    if rest:
        chat.attached = chat.attached.with_text(rest, "/fragment")
    _say_attached(chat)


def _say_attached(chat: Chat) -> None:
    names = chat.attached.names
    chat.say(f"goes with your next message: {names}" if names else "nothing is attached")


def _detach(chat: Chat, rest: str) -> None:
    chat.attached = Attached()
    _say_attached(chat)


def _undo(chat: Chat, rest: str) -> None:
    message = chat.conversation.undo()
    chat.say(f"took back {_short(message)}")


def _retry(chat: Chat, rest: str) -> Said:
    try:
        message = chat.conversation.undo()
    except UsageError:
        raise UsageError("nothing to retry: no message was sent yet") from None
    chat.say(f"again: {_short(message)}")
    return message


def _resume(chat: Chat, rest: str) -> Said:
    run = chat.suspended  # until a turn has an answer: this one may fail, or be stopped
    if run is None:
        raise UsageError(
            "no turn of this chat waits for an answer; `personakit suspended list`, in another "
            "terminal, lists the runs that do"
        )
    said: Said = run.resume_with({})
    return said


def _quit(chat: Chat, rest: str) -> None:
    raise Leave


def last(chat: Chat) -> str:
    """Return the user's last message, shortened."""
    messages = (m for m in reversed(chat.conversation.messages) if m.role == "user")
    return _short(next(messages, None))


def _short(said: Said) -> str:
    message = said.text if isinstance(said, Message) else said if isinstance(said, str) else ""
    text = " ".join(prompt_in(message).split())
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _path(rest: str, command: str) -> Path:
    if not rest:
        raise UsageError(f"{command} requires a file name, such as {command} dinner.json")
    return expanded(rest)


def _files(typed: str) -> Iterator[str]:
    """Yield completions of a path."""
    folder, slash, _ = typed.rpartition("/")
    try:
        place = Path(f"{folder}{slash}" or ".").expanduser()
        entries = sorted(place.iterdir())[:200]
    except (OSError, RuntimeError):
        return
    for entry in entries:
        yield f"{folder}{slash}{entry.name}{'/' * entry.is_dir()}"


def _personas(chat: Chat) -> list[str]:
    """Return the names that `/persona` completes; a plugin that fails lists none."""
    library = chat.runner.library
    listed = (one.name for one in library.listed() if not isinstance(one, PersonaError))
    return [*library.names(), *listed]


def _models(chat: Chat) -> list[str]:
    config = chat.runner.config
    models = [chat.model, chat.conversation.persona.model, config.model, *config.aliases]
    return [*dict.fromkeys(filter(None, models)), *(f"{name}/" for name in config.providers)]


def _settings(chat: Chat) -> list[str]:
    pairs = []
    for name, variable in chat.conversation.persona.variables.items():
        pairs += [f"{name}={value}" for value in variable.enum or ()] or [f"{name}="]
    return pairs + [f"{name}=" for name in parameters.ALLOWED]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command: the name of its argument, its help text and its function."""

    argument: str
    help: str
    run: Command


LEAVING = ("exit", "quit")
ALIASES = {"exit": "quit", "q": "quit", "?": "help"}
COMMANDS: dict[str, _Entry] = {
    "help": _Entry("", "list the commands", _help),
    "reset": _Entry("", "start a new conversation", _reset),
    "persona": _Entry("NAME", "switch to another persona", _persona),
    "model": _Entry("MODEL", "switch to another model", _model),
    "set": _Entry("NAME=VALUE", "set a variable or a parameter; alone, list them", _set),
    "attach": _Entry(
        "FILE", "attach an image, a PDF, audio or a text to the next message", _attach
    ),
    "fragment": _Entry("FILE", "put the text of a file or URL before the next message", _fragment),
    "detach": _Entry("", "attach nothing to the next message", _detach),
    "undo": _Entry("", "take back your last message and its answer", _undo),
    "retry": _Entry("", "send your last message again", _retry),
    "resume": _Entry("", "ask again what your last message waits for", _resume),
    "save": _Entry("FILE", "save the conversation to a file", _save),
    "save!": _Entry("FILE", "the same, in place of another saved conversation", _replace),
    "load": _Entry("FILE", "continue a saved conversation", _load),
    "quit": _Entry("", "leave the chat; also /exit, or the word quit or exit alone", _quit),
}
WITH_FILES = ("attach", "fragment", "load", "save", "save!")
ARGUMENTS: dict[str, Callable[[Chat], list[str]]] = {
    "persona": _personas,
    "model": _models,
    "set": _settings,
}

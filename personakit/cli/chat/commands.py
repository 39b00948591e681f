"""What begins with a slash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.cli.shared import output
from personakit.cli.shared.limits import Limits
from personakit.cli.shared.options import split_pair
from personakit.conversation import Conversation, Said, transcript
from personakit.errors import UsageError, did_you_mean
from personakit.persona import Declared, parameters

if TYPE_CHECKING:
    from personakit.runner import Runner


class Leave(Exception):
    """The user wishes to leave."""


@dataclass(slots=True)
class Chat:
    """A chat that is under way.

    Attributes:
        runner: What runs the turns.
        conversation: What was said so far.
        say: Tells the user something in a line.
        limits: How long a turn may take.
    """

    runner: Runner
    conversation: Conversation
    say: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)

    @property
    def model(self) -> str:
        """The model that answers next."""
        mine = self.conversation
        return mine.model or mine.persona.model or self.runner.config.model or ""

    def status(self) -> str:
        """Return who answers, and how much was said."""
        mine = self.conversation
        count = len(mine.messages)
        said = f"{count} message{'s' * (count != 1)}"
        if mine.left_out:
            said += f", {mine.left_out} no longer sent"
        return f"{mine.persona.name} · {self.model} · {said}"


Command = Callable[[Chat, str], "Said | None"]


def perform(chat: Chat, line: str) -> Said:
    """Do what a line that begins with a slash says; return what is to be said next, if anything.

    Raises:
        UsageError: There is no such command, or it cannot be done.
        Leave: The user wishes to leave.
    """
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(ALIASES.get(name, name))
    if command is None:
        hint = did_you_mean(name, COMMANDS) or "; /help lists them"
        # The names stand without their slash in the table.
        hint = hint.replace("mean '", "mean '/")
        raise UsageError(
            f"there is no command '/{name}'{hint}; to say something that begins with a slash, "
            f"begin with two"
        )
    if rest.strip() and not command.argument:
        raise UsageError(f"/{name} takes nothing after it, found {rest.strip()!r}")
    return command.run(chat, rest.strip())


def complete(chat: Chat, text: str) -> Iterator[tuple[str, int, str]]:
    """Yield what could complete a text: each with the length of what it replaces, and a remark."""
    if not text.startswith("/") or text.startswith("//") or "\n" in text:
        return
    name, space, rest = text[1:].partition(" ")
    if not space:
        for known, command in COMMANDS.items():
            if known.startswith(name):
                yield f"/{known}", len(text), command.help
        return
    values = ARGUMENTS.get(name)
    for value in values(chat) if values else _files(rest) if name in ("save", "load") else ():
        if value.startswith(rest) and value != rest:
            yield value, len(rest), ""


# --- the commands --------------------------------------------------------------------------------


def _help(chat: Chat, rest: str) -> None:
    width = max(len(f"/{name} {c.argument}") for name, c in COMMANDS.items())
    for name, command in COMMANDS.items():
        chat.say(f"{f'/{name} {command.argument}':{width}}  {command.help}")
    chat.say("//…".ljust(width) + "  say something that begins with a slash")
    chat.say("Alt-Enter begins a new line (or Esc, Enter). Ctrl-C stops an answer, Ctrl-D leaves.")


def _reset(chat: Chat, rest: str) -> None:
    chat.conversation.reset()
    chat.say("a new conversation")


def _persona(chat: Chat, rest: str) -> None:
    mine = chat.conversation
    if not rest:
        chat.say(f"{mine.persona.name}: {mine.persona.description or mine.persona.path}")
        return
    mine.persona = rest
    unknown = [name for name in mine.variables if name not in mine.persona.variables]
    for name in unknown:
        del mine.variables[name]
    left = f" (without {', '.join(unknown)}, which it does not take)" if unknown else ""
    chat.say(f"{mine.persona.name} answers now{left}")


def _model(chat: Chat, rest: str) -> None:
    if rest:
        chat.runner.router.find_model(rest)
        chat.conversation.model = rest
        chat.say(f"{rest} answers now")
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
        known = [*mine.persona.variables, *parameters.ALLOWED]
        hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise UsageError(f"{mine.persona.name} has no variable and no parameter {name!r}{hint}")
    chat.say(f"{name}={value}")


def _values(chat: Chat) -> dict[str, object]:
    """Return every variable of the persona and every parameter that is set."""
    mine = chat.conversation
    given = {
        name: mine.variables.get(name, v.default) for name, v in mine.persona.variables.items()
    }
    return {**given, **mine.persona.parameters, **mine.parameters}


def _save(chat: Chat, rest: str) -> None:
    path = _path(rest, "/save")
    if path.exists():
        try:
            transcript.read(path)
        except UsageError:
            raise UsageError(
                f"{path} is there already, and no conversation; take another name"
            ) from None
    chat.conversation.save(path)
    chat.say(f"saved to {path}; /load {rest} goes on from there")


def _load(chat: Chat, rest: str) -> None:
    notify = chat.conversation.notify
    chat.conversation = Conversation.load(_path(rest, "/load"), chat.runner)
    chat.conversation.notify = notify
    chat.say(f"goes on with {chat.status()}")


def _undo(chat: Chat, rest: str) -> None:
    said = chat.conversation.undo()
    chat.say(f"took back {_short(said)}")


def _retry(chat: Chat, rest: str) -> Said:
    try:
        said = chat.conversation.undo()
    except UsageError:
        raise UsageError("there is nothing to say again: nothing was said yet") from None
    chat.say(f"again: {_short(said)}")
    return said


def _quit(chat: Chat, rest: str) -> None:
    raise Leave


def last(chat: Chat) -> str:
    """Return what the user said last, shortened."""
    said = (m for m in reversed(chat.conversation.messages) if m.role == "user")
    return _short(next(said, None))


def _short(said: Said) -> str:
    text = " ".join((said if isinstance(said, str) else said.text if said else "").split())
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _path(rest: str, command: str) -> Path:
    if not rest:
        raise UsageError(f"{command} takes the name of a file, such as {command} dinner.json")
    try:
        return Path(rest).expanduser()
    except RuntimeError:
        raise UsageError(f"{rest}: there is no such user") from None


def _files(typed: str) -> Iterator[str]:
    """Yield the files and folders that a path could go on to."""
    folder, slash, _ = typed.rpartition("/")
    try:
        place = Path(f"{folder}{slash}" or ".").expanduser()
        found = sorted(place.iterdir())[:200]
    except (OSError, RuntimeError):
        return
    for entry in found:
        yield f"{folder}{slash}{entry.name}{'/' * entry.is_dir()}"


def _models(chat: Chat) -> list[str]:
    config = chat.runner.config
    known = [chat.model, chat.conversation.persona.model, config.model]
    return [*dict.fromkeys(filter(None, known)), *(f"{name}/" for name in config.providers)]


def _settings(chat: Chat) -> list[str]:
    found = []
    for name, variable in chat.conversation.persona.variables.items():
        found += [f"{name}={value}" for value in variable.enum or ()] or [f"{name}="]
    return found + [f"{name}=" for name in parameters.ALLOWED]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command: what it takes, what it does in words, and what does it."""

    argument: str
    help: str
    run: Command


ALIASES = {"exit": "quit", "q": "quit", "?": "help"}
COMMANDS: dict[str, _Entry] = {
    "help": _Entry("", "list the commands", _help),
    "reset": _Entry("", "forget everything that was said", _reset),
    "persona": _Entry("NAME", "let another persona answer from now on", _persona),
    "model": _Entry("MODEL", "ask another model from now on", _model),
    "set": _Entry("NAME=VALUE", "set a variable or a parameter; alone, show them", _set),
    "undo": _Entry("", "take back the last thing you said, and its answer", _undo),
    "retry": _Entry("", "say the last thing again", _retry),
    "save": _Entry("FILE", "write the conversation to a file", _save),
    "load": _Entry("FILE", "go on with a conversation that was saved", _load),
    "quit": _Entry("", "leave", _quit),
}
ARGUMENTS: dict[str, Callable[[Chat], list[str]]] = {
    "persona": lambda chat: list(chat.runner.library.names()),
    "model": _models,
    "set": _settings,
}

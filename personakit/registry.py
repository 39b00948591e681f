"""The registry of what plugins contribute: providers, tools, commands, filters and more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from personakit.base import NAME, SCHEME, Secret, brief_repr, is_type
from personakit.errors import ConfigError, PluginError, did_you_mean
from personakit.messages import Request
from personakit.providers import Endpoint, Provider
from personakit.tools import Tool, touched

Names = Iterable[str] | Mapping[str, str]
"""Names of personas, or a mapping of them to descriptions."""

KINDS = (
    "plugin",
    "provider",
    "tool",
    "loader",
    "secret",
    "command",
    "template_filter",
    "template_global",
    "format",
    "wire",
    "importer",
    "exporter",
)


RESERVED = ("literal", "env", "keyring")
"""The schemes of keys that are not those of plugins."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contribution:
    """A contribution of a plugin.

    Attributes:
        kind: One of `KINDS`.
        name: The name that personas, users or templates use.
        value: The class, function or description.
        plugin: The plugin that contributed it.
    """

    kind: str
    name: str
    value: Any
    plugin: str

    __repr__ = brief_repr


@dataclass(frozen=True, slots=True)
class Pending:
    """A tool whose schema, slow to create, is created when a run needs it."""

    function: Callable[..., Any] | Tool
    name: str
    description: str
    timeout: float | None
    touches: Collection[str] = ()

    @property
    def touched(self) -> tuple[str, ...]:
        """What a call touches."""
        return tuple(self.touches or getattr(self.function, "touches", ()))

    def tool(self) -> Tool:
        """Return the tool."""
        if isinstance(self.function, Tool):
            return replace(self.function, touches=self.touched)
        return Tool.of(
            self.function,
            name=self.name,
            description=self.description,
            timeout=self.timeout,
            touches=self.touches,
        )


@dataclass(frozen=True, slots=True)
class PersonaSource:
    """What `Registry.loader` contributes.

    Attributes:
        function: Returns the YAML for the part after the colon.
        list: Returns the names; None if they cannot be listed.
        keep: Seconds until `function` is called again; None for never.
        plugin: The plugin that contributed it.
    """

    function: Callable[[str], str | bytes | None]
    list: Callable[[], Names] | None
    keep: float | None
    plugin: str

    __repr__ = brief_repr


@dataclass(frozen=True, slots=True)
class Importer:
    """What `Registry.importer` contributes: how files are read, and patterns of their names."""

    read: Callable[[Any], Iterable[Any]]
    files: tuple[str, ...]

    __repr__ = brief_repr


@dataclass(slots=True)
class Registry:
    """Collects the contributions of one plugin; passed to `setup`.

    A name can be contributed once per kind; a second time is an error that names both plugins.

    Attributes:
        owner: The plugin that is being set up.
        contributions: Everything contributed so far, by all plugins.
        settle: Returns the settings of the plugin from the user's config, for `options`.
        same: Other names of the plugin: what it contributed under one of them stays.
    """

    owner: str
    contributions: dict[tuple[str, str], Contribution] = field(default_factory=dict)
    settle: Callable[[str, type[Any]], Any] | None = field(default=None, repr=False)
    same: Collection[str] = field(default=(), repr=False)

    __repr__ = brief_repr

    def options(self, settings: type[T]) -> T:
        """Return the user's settings for what `setup` contributes, such as tools and providers.

        They are those under ``plugin_options:`` of the config file with the plugin's name. Options
        that only the plugin's own class has are left out.

        Args:
            settings: A class whose parameters are the options, like those of a plugin's class. A
                required `Secret` is looked up when its text is first needed, at the latest before
                a run with a tool of the plugin.

        Raises:
            ConfigError: An option is unknown, missing or invalid; the message has its place.
        """
        return settings() if self.settle is None else self.settle(self.owner, settings)

    def _add(self, kind: str, name: str, value: Any) -> None:
        other = self.contributions.get((kind, name))
        if other is not None and other.plugin in self.same:
            return  # whether and when a persona lists the plugin must not change it
        if other is not None:
            raise PluginError(
                f"plugin {self.owner!r} contributes the {kind} {name!r}, and so does plugin "
                f"{other.plugin!r}; uninstall one, or select plugins with PERSONAKIT_PLUGINS",
                plugin=self.owner,
            )
        self.contributions[kind, name] = Contribution(kind, name, value, self.owner)

    def plugin(self, name: str, cls: Any) -> None:
        """Contribute another plugin that personas can list.

        Args:
            name: The name in personas: lower-case letters, digits, ``-`` and ``_``.
            cls: A class, module or object with hooks.
        """
        self._add("plugin", _named(name), cls)

    def provider(
        self,
        name: str,
        *,
        base_url: str = "",
        key_env: str = "",
        connect: Callable[[str], Endpoint] | None = None,
        backend: Callable[[Endpoint], Any] | None = None,
        **features: Any,
    ) -> None:
        """Contribute a provider: its models are called ``name/model``.

        Args:
            name: The part before the slash.
            base_url: The URL of an OpenAI-compatible API, or of the API of a `wire`.
            key_env: The environment variable that holds its key; empty for none.
            connect: Called with the model's name before each request; replaces `base_url` and
                `key_env`. The async API calls it in a worker thread. It may start a server.
            backend: For a model in this process, or behind another protocol than HTTP with JSON:
                called with an `Endpoint` at the first request for it, returns an object with
                ``async def send(request, emit)``. See docs/plugins/provider.md.
            features: Other fields of `personakit.Provider`, such as `tools` or `default_model`.

        Raises:
            ConfigError: `connect` or `backend` cannot be called.
        """
        for argument, value in (("connect", connect), ("backend", backend)):
            if value is not None and not callable(value):
                raise ConfigError(
                    f"registry.provider: {argument} must be a function or a class, found "
                    f"{value!r:.60}; pass it without calling it"
                )
        provider = Provider(
            name=_named(name),
            base_url=base_url,
            key_env=key_env,
            connect=connect,
            backend=backend,
            **features,
        )
        self._add("provider", name, provider)

    def wire(self, name: str, wire: Any) -> None:
        """Contribute the API of a provider; ``api: name`` in the config file chooses it.

        A provider with the name of the wire uses it without that, if the plugin has the name, too.

        Args:
            name: Lower-case letters, digits, ``-`` and ``_``; the wire's own `name`.
            wire: A `personakit.Wire`.

        Raises:
            ConfigError: `wire` is not a `Wire` with that name.
        """
        is_wire = not isinstance(wire, type) and callable(getattr(wire, "answer", None))
        if getattr(wire, "name", None) != name or not is_wire:
            raise ConfigError(
                f"registry.wire: expected a Wire whose `name` is {name!r}, found {wire!r:.60}; "
                f"pass an instance of a subclass of personakit.Wire"
            )
        known = [one.name for one in fields(Provider)]
        for feature in getattr(wire, "features", ()):
            if feature not in known:
                hint = did_you_mean(feature, known) or f" (known: {', '.join(known)})"
                raise ConfigError(f"registry.wire: unknown feature {feature!r}{hint}")
        self._add("wire", _named(name), wire)

    def tool(
        self,
        function: Callable[..., Any] | Tool,
        *,
        name: str = "",
        description: str = "",
        timeout: float | None = 60,
        touches: Collection[str] = (),
    ) -> Callable[..., Any] | Tool:
        """Contribute a tool, which personas list under `tools:`; return `function` unchanged.

        Args:
            function: A function with type hints, `def` or `async def`; or a `personakit.Tool`.
            name: The name for the model; default: the function's name.
            description: What the tool does, for the model; default: the function's docstring.
            timeout: Seconds that a call may take; None for no limit.
            touches: What a call reads or changes outside of the run: ``files``, ``network``,
                ``processes``, ``money``. A persona gets the tool only if the user allows it.

        Raises:
            ConfigError: `function` is neither a function nor a `Tool`, or `touches` is invalid.
        """
        if not isinstance(function, Tool) and not hasattr(function, "__name__"):
            raise ConfigError(
                f"registry.tool: expected a function with type hints or a Tool, found "
                f"{function!r:.60}; pass the function itself, not its name, and wrap another "
                f"callable in a function"
            )
        named = name or (function.name if isinstance(function, Tool) else function.__name__)
        touches = touched(named, touches)
        self._add("tool", named, Pending(function, name, description, timeout, touches))
        return function

    def loader(
        self,
        scheme: str,
        function: Callable[[str], str | bytes | None],
        *,
        list: Callable[[], Names] | None = None,  # noqa: A002
        keep: float | None = 0,
    ) -> None:
        """Contribute a source of personas: ``personakit run scheme:rest``.

        A persona's name is ``scheme:rest``; `name:` in the YAML need not be set, and does not
        change it. The async API calls the functions in a worker thread. An exception of one is an
        error that names the plugin.

        Args:
            scheme: Two or more lower-case letters, digits and ``-``, beginning with a letter.
            function: Called with the part after the colon, which may come from a persona of the
                library; returns the YAML. If there is no such persona, it returns None or raises
                a `LookupError`, such as a KeyError, or a `PersonaNotFound`.
            list: Returns the names, without the scheme, or a mapping of names to descriptions, for
                `personakit list`, completion and the suggestions of errors; None if they cannot be
                listed.
            keep: Seconds until `function` is called again for the same name, 0 for each time that
                the persona is used; None for never. While the YAML is the same, the persona is not
                parsed again.

        Raises:
            ConfigError: `function` or `list` cannot be called, or `keep` is invalid.
        """
        for argument, value in (
            ("function", function),
            ("list", function if list is None else list),
        ):
            if not callable(value):
                raise ConfigError(
                    f"registry.loader: {argument} must be a function, found {value!r:.60}; pass "
                    f"it without calling it"
                )
        if keep is not None and not (is_type(keep, "number") and keep >= 0):
            raise ConfigError(
                f"registry.loader: keep must be a number of seconds from 0 on, or None for no "
                f"limit; found {keep!r:.60}"
            )
        self._add("loader", _scheme(scheme), PersonaSource(function, list, keep, self.owner))

    def secret(self, scheme: str, function: Callable[[str], str | Secret]) -> None:
        """Contribute a source of keys: ``api_key: scheme:rest`` in the config file.

        Args:
            scheme: Two or more lower-case letters, digits and ``-``, beginning with a letter.
            function: Called with the part after the colon; returns the key, a string or a
                `Secret`. It is called again after five minutes, or when the key was rejected. If
                it raises a `ConfigError`, the message is shown; for other errors only the type.
        """
        if scheme in RESERVED:
            raise ValueError(f"scheme {scheme!r} is one of personakit itself: choose another name")
        self._add("secret", _scheme(scheme), function)

    def command(self, command: Any) -> None:
        """Contribute a command for the command line, a `click.Command`."""
        self._add("command", command.name, command)

    def endpoints(self, name: str, add: Callable[[Any], None]) -> None:
        """Contribute endpoints for `personakit serve`, which a user switches on by their name.

        Args:
            name: Such as ``mcp``, for ``personakit serve --mcp``.
            add: Called with the `personakit.server.Application` when it is made; adds to its
                `router`.
        """
        self._add("endpoints", _named(name), add)

    def template_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Contribute a Jinja filter; it must be deterministic and return plain data."""
        self._add("template_filter", name, function)

    def template_global(self, name: str, value: Any) -> None:
        """Contribute a value that every template can use by name."""
        self._add("template_global", name, value)

    def format(self, name: str, function: Callable[[Request], str]) -> None:
        """Contribute an output format of ``personakit render --format name``."""
        self._add("format", _named(name), function)

    def importer(
        self, name: str, read: Callable[[Any], Iterable[Any]], *, files: Collection[str] = ()
    ) -> None:
        """Contribute a format of ``personakit import --from name``.

        Args:
            name: Lower-case letters, digits, ``-`` and ``_``.
            read: Called with a `personakit.formats.File`; returns or yields a
                `personakit.formats.Draft` for each persona in it, and raises
                `personakit.formats.Unreadable` for what cannot be read.
            files: Patterns of the names of such files, such as ``*.poml``, by which they are
                recognised without ``--from``.
        """
        self._add("importer", _named(name), Importer(read, tuple(files)))

    def exporter(self, name: str, write: Callable[[Any], Mapping[str, bytes]]) -> None:
        """Contribute a format of ``personakit export --to name``.

        Args:
            name: Lower-case letters, digits, ``-`` and ``_``.
            write: Called with a `personakit.formats.Outgoing`; returns the content of each file by
                its name.
        """
        self._add("exporter", _named(name), write)


def of_kind(contributions: Mapping[tuple[str, str], Contribution], kind: str) -> dict[str, Any]:
    """Return the contributed values of one kind by name."""
    return {name: c.value for (found, name), c in contributions.items() if found == kind}


def belongs(
    found: Contribution | None,
    contributions: Mapping[tuple[str, str], Contribution],
    installed: Collection[str],
) -> bool:
    """Return whether a contribution is there whatever else is loaded.

    So is that of the plugin of its name, of the plugin of the provider of its name, and of an
    object of the caller.
    """
    if found is None or found.plugin not in installed:
        return True
    provider = contributions.get(("provider", found.name))
    if provider is not None and provider is not found and provider.plugin == found.plugin:
        return True
    return found.plugin == found.name


def by_plugin(contributions: Mapping[tuple[str, str], Contribution], plugin: str) -> Iterator[str]:
    """Yield ``kind:name`` of every contribution of a plugin."""
    return (f"{c.kind}:{c.name}" for c in contributions.values() if c.plugin == plugin)


def _named(name: str) -> str:
    if not NAME.match(name):
        raise ValueError(
            f"invalid name {name!r}: use lower-case letters, digits, '-' and '_', "
            f"beginning with a letter or digit"
        )
    return name


def _scheme(name: str) -> str:
    if not SCHEME.match(name):
        raise ValueError(
            f"invalid scheme {name!r}: use two or more lower-case letters, digits and '-', "
            f"beginning with a letter"
        )
    return name

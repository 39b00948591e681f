"""The router: from the method and the path of a request to the function that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from personakit.server.http import Exchange

Endpoint = Callable[["Exchange"], Awaitable[None]]
"""Answers a request with the methods of its `Exchange`."""


class Router:
    """Finds the endpoint of a request.

    A path is a literal text. One that ends in ``{name}`` matches everything that begins like it and
    has at least one more character, which may contain slashes; `Exchange.rest` is that part.

    ::

        router = Router()
        router.add("GET", "/v1/models", list_models)
        router.add("GET", "/v1/models/{model}", show_model)
    """

    def __init__(self) -> None:
        self._paths: dict[str, dict[str, Endpoint]] = {}
        self._prefixes: list[tuple[str, dict[str, Endpoint]]] = []

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Route the requests of a method and a path to an endpoint.

        Args:
            method: Such as ``GET``, whose endpoint also answers HEAD.
            path: Begins with a slash; see the class.
            endpoint: Called with the `Exchange`.

        Raises:
            ValueError: The path is invalid, or it has an endpoint for the method.
        """
        if not path.startswith("/") or "{" in path.rstrip("}").rpartition("{")[0]:
            raise ValueError(
                f"invalid path {path!r}: begin with '/'; only its end can be '{{name}}'"
            )
        if path.endswith("}"):
            prefix = path.rpartition("{")[0]
            methods = dict(self._prefixes).get(prefix)
            if methods is None:
                methods = {}
                self._prefixes.append((prefix, methods))
        else:
            methods = self._paths.setdefault(path, {})
        if method in methods:
            raise ValueError(f"{method} {path} already has an endpoint")
        methods[method] = endpoint

    def find(self, method: str, path: str) -> tuple[Endpoint | None, str, tuple[str, ...]]:
        """Return the endpoint of a request.

        Args:
            method: The method.
            path: The path, decoded.

        Returns:
            The endpoint, or None; the part of the path that ``{name}`` stands for; and the methods
            that the path has: none if the path is unknown.
        """
        methods, rest = self._paths.get(path), ""
        if methods is None:
            for prefix, found in self._prefixes:
                if path.startswith(prefix) and len(path) > len(prefix):
                    methods, rest = found, path[len(prefix) :]
                    break
            else:
                return None, "", ()
        endpoint = methods.get(method)
        if endpoint is None and method == "HEAD":
            endpoint = methods.get("GET")
        return endpoint, rest, tuple(methods)

"""The filter that holds an answer back until a judge allows it."""


class Hold:
    """A filter that holds text and reasoning until `release` is called.

    Attributes:
        released: Whether the text may be shown.
    """

    def __init__(self) -> None:
        self.released = False
        self._texts = _Held()
        self._thoughts = _Held()

    @property
    def text(self) -> str:
        """The whole text, shown or not."""
        return "".join(self._texts.all)

    @property
    def reasoning(self) -> str:
        """The whole reasoning, shown or not."""
        return "".join(self._thoughts.all)

    def release(self) -> None:
        """Let everything pass from now on."""
        self.released = True

    def feed(self, text: str) -> str:
        """Accept a piece of the text; return what may be shown now."""
        return self._texts.feed(text, released=self.released)

    def flush(self) -> str:
        """Return the rest if it may be shown; if not, the hook returns it after the judgement."""
        return self.feed("")

    def feed_reasoning(self, text: str) -> str:
        """Accept a piece of the reasoning; return what may be shown now."""
        return self._thoughts.feed(text, released=self.released)

    def flush_reasoning(self) -> str:
        """Return the rest of the reasoning if it may be shown."""
        return self.feed_reasoning("")


class _Held:
    """The pieces of a text, and how many of them were shown."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._shown = 0

    def feed(self, text: str, *, released: bool) -> str:
        self.all.append(text)
        if not released:
            return ""
        shown, self._shown = self._shown, len(self.all)
        return "".join(self.all[shown:])

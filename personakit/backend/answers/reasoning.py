"""Separate the reasoning at the beginning of a text from the answer."""

from __future__ import annotations

import re

# DeepSeek R1, Qwen 3 and others write <think>, Gemini <thought> with `include_thoughts`, Seed-OSS
# <seed:think>, Magistral [THINK]. gpt-oss writes channels, which a server without a parser for them
# passes on: https://cookbook.openai.com/articles/openai-harmony
_CHANNEL = "<|channel|>analysis<|message|>"
_TAGS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "<seed:think>", "[think]", _CHANNEL)
_FINAL = r"(<\|end\|>)?(<\|start\|>assistant)?<\|channel\|>final<\|message\|>"
_LONGEST = len("<|end|><|start|>assistant<|channel|>final<|message|>")
_OPENED = re.compile("|".join(map(re.escape, _TAGS)), re.IGNORECASE)


class ReasoningSplitter:
    """Splits a text, which arrives in pieces, into reasoning and answer.

    Reasoning is what stands in ``<think>…</think>`` or in gpt-oss's analysis channel at the
    beginning, once or several times. A text whose reasoning never ends is an answer as a whole,
    unless it is cut off: nothing is lost.

    Attributes:
        done: True when all further text belongs to the answer.
    """

    __slots__ = ("_close", "_held", "_inside", "_opened", "_thoughts", "done")

    def __init__(self) -> None:
        self.done = False
        self._held = ""  # text that may be the beginning of a tag
        self._opened = ""  # the tag that was opened, as written
        self._close: re.Pattern[str] | None = None
        self._inside: list[str] = []
        self._thoughts: list[str] = []

    def feed(self, text: str) -> str:
        """Add a piece of the text; return the part of the answer in it."""
        if self.done:
            return text
        if not self._held and text[:1].isalnum() and self._close is None:
            self.done = True
            return text
        self._held += text
        while self._close is not None or self._open():
            assert self._close is not None
            end = self._close.search(self._held)
            if end is None:
                # The end of what is held may be the beginning of the closing tag.
                tail = max(0, len(self._held) - _LONGEST)
                marks = [self._held.find(mark, tail) for mark in "<["]
                at = min((mark for mark in marks if mark >= 0), default=len(self._held))
                self._inside.append(self._held[:at])
                self._held = self._held[at:]
                return ""
            self._inside.append(self._held[: end.start()])
            self._thoughts.append("".join(self._inside).strip())
            self._inside, self._close = [], None
            self._held = self._held[end.end() :]
        return self._answer() if self._is_answer() else ""

    def end(self, *, cut: bool) -> str:
        """Return the rest of the answer; `cut` means that the text is not whole."""
        if self.done:
            return ""
        if self._close is None:
            return self._answer()
        inside = "".join(self._inside) + self._held
        self._held = ""
        self.done = True
        if cut:
            self._thoughts.append(inside.strip())
            return ""
        return self._opened + inside

    @property
    def reasoning(self) -> str:
        """The reasoning, without its tags; several parts are separated by a blank line."""
        return "\n\n".join(filter(None, self._thoughts)) if self._thoughts else ""

    def _open(self) -> bool:
        """Enter the reasoning if its opening tag is there."""
        opened = _OPENED.match(self._held, len(self._held) - len(self._held.lstrip()))
        if opened is None:
            return False
        self._opened = self._held[: opened.end()]
        tag = opened[0]
        closed = _FINAL if tag.lower() == _CHANNEL else re.escape(f"{tag[0]}/{tag[1:]}")
        self._close = re.compile(closed, re.IGNORECASE)
        self._held = self._held[opened.end() :]
        return True

    def _is_answer(self) -> bool:
        """Return whether the text held is certainly no opening tag."""
        start = self._held.lstrip().lower()
        return bool(start) and not any(tag.startswith(start) for tag in _TAGS)

    def _answer(self) -> str:
        """Return the text held; all further text belongs to the answer."""
        self.done = True
        text, self._held = self._held, ""
        return text.lstrip() if self._thoughts else text

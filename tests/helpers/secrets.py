"""What the tests of secrets share."""

from __future__ import annotations

import traceback

from personakit import Provider

CANARY = "sk-canary+7f/3a9=Q"


MINE = Provider("mine", "http://mine/v1", key_env="MINE_KEY")


def _only_ours(error: BaseException) -> None:
    """Check that no frame of personakit, and no error before it, has the canary."""
    assert error.__cause__ is error.__context__ is None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals["__name__"].startswith("personakit"):
            assert CANARY not in repr(frame.f_locals)
    assert CANARY not in str(error)

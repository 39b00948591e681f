"""What the tests of render share."""

from __future__ import annotations

from typing import Any

import pytest

from personakit import TemplateError
from personakit.testing import persona, runner


def system(template: str, declared: dict[str, Any] | None = None, **values: Any) -> str:
    """Return the system message that a template makes, the same every time."""
    running, found = runner()[0], persona(template, variables=declared or {})
    texts = {running.render(found, variables=values).system for _ in range(3)}
    assert len(texts) == 1
    return texts.pop()


def refused(template: str, declared: dict[str, Any] | None = None, **values: Any) -> str:
    """Return what is wrong with a template."""
    with pytest.raises(TemplateError) as caught:
        system(template, declared, **values)
    (problem,) = caught.value.problems
    assert problem.path == "test.yaml"
    return problem.message.removeprefix("system: ")

"""Templates: compiling and rendering personas to messages, within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.templates.compiler import Part as Part
    from personakit.templates.compiler import Place as Place
    from personakit.templates.compiler import TemplateCompiler as TemplateCompiler
    from personakit.templates.compiler import Tree as Tree
    from personakit.templates.failures import placed as placed
    from personakit.templates.render import CompiledPersona as CompiledPersona
    from personakit.templates.uses import written_as_they_are as written_as_they_are
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "compiler": "Part Place TemplateCompiler Tree",
            "failures": "placed",
            "render": "CompiledPersona",
            "uses": "written_as_they_are",
        },
    )

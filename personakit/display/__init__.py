"""What notebooks show: answers as Markdown that cannot act, other values as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.display.answers import answer_bundle as answer_bundle
    from personakit.display.answers import footer as footer
    from personakit.display.answers import footer_line as footer_line
    from personakit.display.answers import response_bundle as response_bundle
    from personakit.display.values import conversation_bundle as conversation_bundle
    from personakit.display.values import error_bundle as error_bundle
    from personakit.display.values import look_bundle as look_bundle
    from personakit.display.values import persona_bundle as persona_bundle
    from personakit.display.values import persona_text as persona_text
    from personakit.display.values import personas_bundle as personas_bundle
    from personakit.display.values import request_bundle as request_bundle
    from personakit.display.values import trace_bundle as trace_bundle
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "answers": "answer_bundle footer footer_line response_bundle",
            "values": "conversation_bundle error_bundle look_bundle persona_bundle persona_text "
            "personas_bundle request_bundle trace_bundle",
        },
    )

"""Convert the result of a tool to text for the model."""

from __future__ import annotations

import json

import mcp_types as types


class ToolError(Exception):
    """The tool reported a failure; the message is its own."""


def text_of(result: types.CallToolResult) -> str:
    """Return the text of a result.

    Texts are joined by line feeds. Without a text, the structured content is used as JSON. Other
    content is described, for example as ``[image/png, 1234 bytes]``.

    Raises:
        ToolError: The result is an error.
    """
    parts = [_part(part) for part in result.content]
    if result.structured_content is not None and not any(map(_is_text, result.content)):
        parts.insert(0, json.dumps(result.structured_content, ensure_ascii=False))
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text or "the tool failed without an error message")
    return text


def _is_text(part: types.ContentBlock) -> bool:
    return isinstance(part, types.TextContent)


def _part(part: types.ContentBlock) -> str:
    if isinstance(part, types.TextContent):
        return part.text
    if isinstance(part, types.ImageContent | types.AudioContent):
        return _named(part.mime_type, part.data)
    if isinstance(part, types.ResourceLink):
        return f"[{part.name}: {part.uri}]"
    resource = part.resource
    if isinstance(resource, types.TextResourceContents):
        return resource.text
    return _named(resource.mime_type or "application/octet-stream", resource.blob)


def _named(kind: str, base64: str) -> str:
    size = len(base64) * 3 // 4 - base64[-2:].count("=")
    return f"[{kind}, {size} bytes]"

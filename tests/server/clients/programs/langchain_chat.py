"""LangChain's ChatOpenAI: `langchain_chat.py BASE_URL TOKEN SCENARIO` prints what its user sees."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

BASE_URL, TOKEN, SCENARIO = sys.argv[1:]


class Rating(BaseModel):
    """A rated dish."""

    dish: str
    stars: int


@tool  # type: ignore[untyped-decorator, unused-ignore]
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: sun"


def chat(model: str, **options: Any) -> Any:
    return ChatOpenAI(model=model, base_url=BASE_URL, api_key=SecretStr(TOKEN), **options)


def invoke() -> Any:
    model = chat("greeter", temperature=0.9, extra_body={"variables": {"language": "French"}})
    answer = model.invoke([SystemMessage("Be brief."), HumanMessage("Zoë")])
    return {"text": answer.content, "usage": answer.usage_metadata, **answer.response_metadata}


def stream() -> Any:
    whole: Any = None
    pieces = []
    for piece in chat("plain", stream_usage=True).stream("Hi"):
        pieces.append(piece.content)
        whole = piece if whole is None else whole + piece
    return {"pieces": pieces, "usage": whole.usage_metadata, **whole.response_metadata}


def structured() -> Any:
    return chat("plain").with_structured_output(Rating).invoke("Soup?").model_dump()


def tools() -> Any:
    model, seen = chat("plain").bind_tools([weather]), []
    messages: list[Any] = [HumanMessage("Lyon?")]
    answer = model.invoke(messages)
    while answer.tool_calls:
        messages.append(answer)
        for call in answer.tool_calls:
            seen.append([call["name"], call["args"]])
            messages.append(ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]))
        answer = model.invoke(messages)
    return {"calls": seen, "text": answer.content}


def refused() -> Any:
    try:
        chat("nobody", max_retries=0).invoke("Hi")
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[SCENARIO](), default=str))

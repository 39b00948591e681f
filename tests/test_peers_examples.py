"""What the documentation of llm and of LangChain shows of tools and structured output, done here.

The examples are retold: the same task, in this project's words.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import pytest
from typing_extensions import TypedDict

from personakit import (
    ConfigError,
    InvalidAnswer,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    ToolResult,
    TooManyRounds,
    hookimpl,
)
from personakit.testing import MODES, Upstream, in_mode, persona, runner

WHO = persona("You help.")


def calls(*pairs: tuple[str, Any]) -> Response:
    """Return an answer that calls tools."""
    made = (ToolCall(str(n), name, json.dumps(given)) for n, (name, given) in enumerate(pairs))
    return Response("", tuple(made), "tool_calls")


def told(upstream: Upstream, request: int = 1) -> list[str]:
    """Return the results that the model got to read."""
    return [m.text for m in upstream.requests[request].messages if m.role == "tool"]


def parameters(upstream: Upstream, index: int = 0) -> dict[str, Any]:
    """Return the JSON Schema of a tool's arguments as it was sent."""
    found: dict[str, Any] = upstream.requests[0].tools[index].to_api()["function"]["parameters"]
    return found


# --- llm: tools -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_llm_a_function_as_a_tool(mode: str) -> None:
    def upper(text: str) -> str:
        """Put a text in capital letters."""
        return text.upper()

    running, upstream = runner([calls(("upper", {"text": "panda"})), "PANDA"])
    response = in_mode(mode, running, WHO, "panda in capitals", tools=[upper])
    assert response.text == "PANDA"
    assert told(upstream) == ["PANDA"]
    assert upstream.requests[0].tools[0].to_api()["function"] == {
        "name": "upper",
        "description": "Put a text in capital letters.",
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        },
    }
    roles = [message.role for message in response.messages]
    assert roles == ["assistant", "tool", "assistant"]


@pytest.mark.parametrize("mode", MODES)
def test_llm_two_tools_one_after_the_other(mode: str) -> None:
    def upper(text: str) -> str:
        return text.upper()

    def backwards(text: str) -> str:
        return text[::-1]

    answers: list[Response | str] = [
        calls(("upper", {"text": "panda"})),
        calls(("backwards", {"text": "PANDA"})),
        "ADNAP",
    ]
    running, upstream = runner(answers)
    assert in_mode(mode, running, WHO, "Both", tools=[upper, backwards]).text == "ADNAP"
    assert told(upstream, 2) == ["PANDA", "ADNAP"]


@pytest.mark.parametrize("mode", MODES)
def test_llm_an_async_tool_in_every_mode(mode: str) -> None:
    async def hello(name: str) -> str:
        return f"Hello {name}!"

    running, upstream = runner([calls(("hello", {"name": "Ann"}), ("hello", {"name": "Bo"})), "ok"])
    in_mode(mode, running, WHO, "Greet", tools=[hello])
    assert told(upstream) == ["Hello Ann!", "Hello Bo!"]


def test_llm_a_toolbox_keeps_something_between_calls() -> None:
    class Memory:
        def __init__(self) -> None:
            self.kept: dict[str, str] = {}

        def remember(self, key: str, value: str) -> None:
            """Keep a value under a key."""
            self.kept[key] = value

        def recall(self, key: str) -> str | None:
            return self.kept.get(key)

    memory = Memory()
    running, upstream = runner(
        [
            calls(("remember", {"key": "dog", "value": "Rex"})),
            calls(("recall", {"key": "dog"}), ("recall", {"key": "cat"})),
            "Rex",
        ]
    )
    running.run(WHO, "My dog?", tools=[memory.remember, memory.recall])
    assert told(upstream, 2) == ["null", "Rex", "null"]
    assert "self" not in parameters(upstream)["properties"]


@pytest.mark.parametrize("mode", MODES)
def test_llm_what_a_tool_raises_is_told_to_the_model(mode: str) -> None:
    def divide(a: float, b: float) -> float:
        return a / b

    running, upstream = runner([calls(("divide", {"a": 1, "b": 0})), "not possible"])
    assert in_mode(mode, running, WHO, "1/0", tools=[divide]).text == "not possible"
    assert told(upstream) == ["error: ZeroDivisionError: float division by zero"]


@pytest.mark.parametrize("mode", MODES)
def test_llm_hooks_before_and_after_a_call(mode: str) -> None:
    seen: list[str] = []

    class Asks:
        @hookimpl
        async def tool(self, call: ToolCall, send: Any) -> ToolResult:
            seen.append(f"before {call.name}")
            if call.name == "delete":
                return ToolResult(call.id, "the user said no", is_error=True)
            result: ToolResult = await send(call)
            seen.append(f"after {call.name}: {result.content}")
            return result

    def delete(file: str) -> str:
        raise AssertionError("it was refused")

    def files() -> list[str]:
        return ["a", "b"]

    running, upstream = runner(
        [calls(("files", {})), calls(("delete", {"file": "a"})), "ok"], plugins=[Asks()]
    )
    in_mode(mode, running, WHO, "Clean up", tools=[delete, files])
    assert seen == ["before files", 'after files: ["a", "b"]', "before delete"]
    assert told(upstream, 2) == ['["a", "b"]', "the user said no"]


def test_llm_a_limit_of_the_chain() -> None:
    running, upstream = runner([calls(("again", {}))])
    with pytest.raises(TooManyRounds):
        running.run(WHO, "Hi", tools=[Tool("again", lambda: "more")], max_rounds=3)
    assert len(upstream.requests) == 3


def test_llm_a_description_made_by_hand() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    tool = Tool("search", lambda q: f"found {q}", "Search the web.", schema)
    running, upstream = runner([calls(("search", {"q": "x"})), "ok"])
    running.run(WHO, "Hi", tools=[tool])
    assert (parameters(upstream), told(upstream)) == (schema, ["found x"])


@pytest.mark.parametrize("wrong", ["upper", len, [5], ["upper"]])
def test_tools_that_are_none(wrong: Any) -> None:
    running, upstream = runner()
    with pytest.raises(ConfigError, match="tools"):
        running.run(WHO, "Hi", tools=wrong)
    assert upstream.requests == []


# --- llm: schemas ---------------------------------------------------------------------------------


class Dog(pydantic.BaseModel):
    name: str
    age: int
    bio: str


REX: dict[str, Any] = {"name": "Rex", "age": 4, "bio": "Digs."}


@pytest.mark.parametrize("mode", MODES)
def test_llm_a_pydantic_schema(mode: str) -> None:
    running, upstream = runner([json.dumps(REX)])
    response = in_mode(mode, running, WHO, "Invent a dog", output=Dog)
    assert response.parsed == Dog(**REX)
    assert json.loads(response.text) == REX
    form = upstream.requests[0].parameters["response_format"]
    assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)


def test_llm_a_schema_as_a_mapping() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    running, _ = runner([json.dumps(REX)])
    assert running.run(WHO, "Invent a dog", output=schema).parsed == REX


def test_llm_several_of_them() -> None:
    running, _ = runner([json.dumps({"value": [REX, REX]})])
    assert running.run(WHO, "Two dogs", output=list[Dog]).parsed == [Dog(**REX)] * 2


# --- LangChain: tools -----------------------------------------------------------------------------


class Place(pydantic.BaseModel):
    city: str = pydantic.Field(description="Its English name.")


@pytest.mark.parametrize("mode", MODES)
def test_langchain_arithmetic(mode: str) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: The first.
            b: The second,
                which may be negative.
        """
        return a + b

    def multiply(a: int, b: int) -> int:
        """Multiply two numbers."""
        return a * b

    asked = calls(("multiply", {"a": 3, "b": 12}), ("add", {"a": 11, "b": 49}))
    running, upstream = runner([asked, "36 and 60"])
    response = in_mode(mode, running, WHO, "3 * 12 and 11 + 49?", tools=[add, multiply])
    assert told(upstream) == ["36", "60"]
    assert [call.name for call in response.messages[0].tool_calls] == ["multiply", "add"]
    described = {name: p["description"] for name, p in parameters(upstream)["properties"].items()}
    assert described == {"a": "The first.", "b": "The second, which may be negative."}
    assert upstream.requests[0].tools[0].description == "Add two numbers."


def test_langchain_arguments_with_descriptions_defaults_and_choices() -> None:
    def weather(
        place: Place,
        days: Annotated[list[int], pydantic.Field(description="Counted from today.")],
        unit: Annotated[Literal["celsius", "fahrenheit"], "Which degrees."] = "celsius",
    ) -> str:
        return f"{place.city} {max(days)} {unit}"

    given = {"place": {"city": "Lyon"}, "days": [1, 3]}
    running, upstream = runner([calls(("weather", given)), "ok"])
    running.run(WHO, "Weather?", tools=[weather])
    assert told(upstream) == ["Lyon 3 celsius"]
    schema = parameters(upstream)
    assert schema["required"] == ["place", "days"]
    assert schema["properties"]["days"]["description"] == "Counted from today."
    assert schema["properties"]["unit"]["enum"] == ["celsius", "fahrenheit"]
    assert schema["properties"]["unit"]["description"] == "Which degrees."


def test_langchain_wrong_arguments_go_back_to_the_model() -> None:
    def multiply(a: int, b: int) -> int:
        return a * b

    running, upstream = runner(
        [calls(("multiply", {"a": 3})), calls(("multply", {"a": 3, "b": 4})),
         calls(("multiply", {"a": 3, "b": 4})), "12"]
    )  # fmt: skip
    assert running.run(WHO, "3 * 4?", tools=[multiply]).text == "12"
    missing, unknown, good = told(upstream, 3)
    assert "b: Field required" in missing
    assert "there is no tool 'multply'; did you mean 'multiply'?" in unknown
    assert good == "12"


def test_langchain_values_that_the_model_does_not_see() -> None:
    def tools_of(user: str) -> list[Callable[..., Any]]:
        def favourites(pets: list[str]) -> str:
            return f"{user} likes {', '.join(pets)}"

        return [favourites]

    running, upstream = runner([calls(("favourites", {"pets": ["cats"]})), "ok"])
    running.run(WHO, "I like cats", tools=tools_of("ann"))
    assert told(upstream) == ["ann likes cats"]
    assert list(parameters(upstream)["properties"]) == ["pets"]


def test_langchain_calls_of_one_round_run_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=30)

    def wait(n: int) -> int:
        together.wait()
        return n

    running, upstream = runner([calls(("wait", {"n": 1}), ("wait", {"n": 2})), "ok"])
    in_mode("arun", running, WHO, "Both", tools=[wait])
    assert told(upstream) == ["1", "2"]


# --- LangChain: structured output -----------------------------------------------------------------


class Joke(pydantic.BaseModel):
    """A joke to tell."""

    setup: str = pydantic.Field(description="The question.")
    punchline: str = pydantic.Field(description="The answer.")
    rating: int | None = pydantic.Field(default=None, description="How funny, from 1 to 10.")


class JokeRow(TypedDict):
    """A joke to tell."""

    setup: Annotated[str, pydantic.Field(description="The question.")]
    punchline: str


CAT: dict[str, Any] = {
    "setup": "Why did the cat sit?",
    "punchline": "To watch the mouse.",
    "rating": None,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kind", "value"),
    [(Joke, Joke(**CAT)), (JokeRow, {k: CAT[k] for k in ("setup", "punchline")})],
)
def test_langchain_a_joke(mode: str, kind: Any, value: Any) -> None:
    said = CAT if kind is Joke else value
    running, upstream = runner([json.dumps(said)])
    response = in_mode(mode, running, WHO, "A joke about cats", output=kind)
    assert response.parsed == value
    schema = upstream.requests[0].parameters["response_format"]["json_schema"]["schema"]
    assert schema["description"] == "A joke to tell."
    assert schema["properties"]["setup"]["description"] == "The question."


def test_langchain_one_of_several() -> None:
    class Chat(pydantic.BaseModel):
        response: str

    class Final(pydantic.BaseModel):
        final: Joke | Chat

    answers = [json.dumps({"final": CAT}), json.dumps({"final": {"response": "Fine!"}})]
    running, _ = runner(answers)
    assert running.run(WHO, "A joke", output=Final).parsed.final == Joke(**CAT)
    assert running.run(WHO, "How are you?", output=Final).parsed.final == Chat(response="Fine!")


def test_langchain_few_shot_examples() -> None:
    who = persona(messages=[{"user": "Birds"}, {"assistant": json.dumps(CAT)}])
    running, upstream = runner([json.dumps(CAT)])
    assert running.run(who, "Cats", output=Joke).parsed.rating is None
    assert [m.role for m in upstream.requests[0].messages][1:] == ["user", "assistant", "user"]


def test_langchain_extraction_of_what_a_text_may_not_say() -> None:
    class Person(pydantic.BaseModel):
        name: str | None = None
        height: float | None = pydantic.Field(default=None, description="In metres.")

    class Data(pydantic.BaseModel):
        people: list[Person]

    running, _ = runner(['{"people": [{"name": "Jeff", "height": 1.8}, {"name": "Anna"}]}'])
    people = running.run(WHO, "Jeff is 6 feet tall. So is Anna?", output=Data).parsed.people
    assert [(one.name, one.height) for one in people] == [("Jeff", 1.8), ("Anna", None)]


def test_langchain_the_raw_answer_of_one_that_does_not_fit() -> None:
    running, _ = runner(['{"setup": "Why?"}'])
    with pytest.raises(InvalidAnswer, match=r"\$\.punchline: Field required") as raised:
        running.run(WHO, "A joke", output=Joke)
    assert raised.value.partial == '{"setup": "Why?"}'


def test_langchain_a_model_without_schemas_gets_instructions() -> None:
    running, upstream = runner([f"```json\n{json.dumps(CAT)}\n```"])
    response = running.run(WHO, "A joke", output=Joke, model="deepseek/deepseek-chat")
    assert response.parsed == Joke(**CAT)
    assert '"punchline"' in upstream.requests[0].system


def test_langchain_a_validator_of_the_users_own() -> None:
    class Strict(pydantic.BaseModel):
        setup: str

        @pydantic.field_validator("setup")
        @classmethod
        def asks(cls, value: str) -> str:
            if not value.endswith("?"):
                raise ValueError("a setup is a question")
            return value

    running, _ = runner(['{"setup": "A cat."}'])
    with pytest.raises(InvalidAnswer, match=r"\$\.setup: Value error, a setup is a question"):
        running.run(WHO, "A joke", output=Strict)


@pytest.mark.parametrize("mode", MODES)
def test_langchain_tools_and_then_a_structured_answer(mode: str) -> None:
    class Weather(pydantic.BaseModel):
        city: str
        degrees: float

    def look(city: str) -> str:
        return f"24.5 degrees in {city}"

    running, upstream = runner(
        [calls(("look", {"city": "Lyon"})), '{"city": "Lyon", "degrees": 24.5}']
    )
    response = in_mode(mode, running, WHO, "Lyon?", tools=[look], output=Weather)
    assert response.parsed == Weather(city="Lyon", degrees=24.5)
    assert told(upstream) == ["24.5 degrees in Lyon"]


def test_langchain_the_schema_plugin_asks_again_for_a_type() -> None:
    running, upstream = runner(['{"setup": "Why?"}', json.dumps(CAT)])
    who = persona(plugins=["schema"])
    response = running.run(who, "A joke", output=Joke)
    assert response.parsed == Joke(**CAT)
    assert response.metadata["schema"] == {"attempts": 2}
    assert "'punchline' is a required property" in upstream.requests[1].messages[-1].text


def test_a_request_with_tools_can_be_kept_and_run() -> None:
    running, upstream = runner([calls(("look", {})), "ok"])
    request: Request = running.prepare(WHO, "Hi", tools=[Tool("look", lambda: "seen")])
    assert isinstance(running, Runner)
    assert running.run(WHO, request).text == "ok"
    assert told(upstream) == ["seen"]

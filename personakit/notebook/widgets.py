"""A form for a persona: a field for each variable, the prompt, a button, and the answer."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from personakit.base import install_command, read_json
from personakit.display import error_bundle, footer, footer_line
from personakit.errors import PersonakitError, UsageError
from personakit.frozen import check_plain, thaw
from personakit.notebook.screen import Screen
from personakit.shared import default

if TYPE_CHECKING:
    from personakit.messages import Response
    from personakit.persona import Persona, Reference, Variable
    from personakit.runner import Runner

LONG = 80
"""The length of a default, in characters, from which a string gets a field of several lines."""
SLIDER = 100
"""The widest range of an integer that gets a slider."""
_MOST = 2**53 - 1
"""The largest integer that a browser has exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""
_LAYOUT: dict[str, Any] = {
    "style": {"description_width": "8em"},
    "layout": {"width": "90%"},
}


class Form:
    """A form of widgets, shown when it is the last line of a cell. Create one with `form`.

    Attributes:
        persona: The persona.
        fields: The widgets of the variables, by name.
        prompt: The widget of the prompt.
        button: Starts a run.
        output: The widget that shows the answer.
        response: The response of the last run; None before the first one, and if the last one
            failed or was stopped.
        box: All of it.
    """

    def __init__(self, runner: Runner, persona: Persona, model: str | None) -> None:
        self._widgets = _widgets()
        self._runner, self._model = runner, model
        self.persona = persona
        self.response: Response | None = None
        self.fields = {it.name: _field(self._widgets, it) for it in persona.variables.values()}
        self._initial = {name: field.value for name, field in self.fields.items()}
        self._faults = {name: self._widgets.HTML() for name in self.fields}
        self.prompt = self._widgets.Textarea(description="prompt", **_LAYOUT)
        self.button = self._widgets.Button(description="Run", button_style="primary")
        self.button.on_click(lambda _: self.run())
        self.output = self._widgets.Output()
        rows = [it for name in self.fields for it in (self.fields[name], self._faults[name])]
        self.box = self._widgets.VBox([*rows, self.prompt, self.button, self.output])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)

    def values(self) -> dict[str, Any]:
        """Return the variables as the fields have them; an unchanged one keeps its default.

        Raises:
            UsageError: A value is invalid; the form shows each message below its field.
        """
        result, wrong = {}, []
        for name, variable in self.persona.variables.items():
            field = self.fields[name]
            unchanged = field.value == self._initial[name]
            value, fault = _value(variable, field.value)
            if variable.required and isinstance(field.value, str) and not field.value.strip():
                fault = "required; write a value"
            if unchanged and not variable.required:
                fault = ""
            elif not fault:
                result[name] = value
                fault = "; ".join(f"{one.where} {one.message}" for one in variable.faults(value))
            self._faults[name].value = error_bundle(fault.strip())["text/html"] if fault else ""
            wrong += [f"{name}: {fault.strip()}"] if fault else []
        if wrong:
            raise UsageError("; ".join(wrong))
        return result

    def run(self) -> None:
        """Run the persona with the values of the form, and show the answer.

        Errors are shown. If the user stops the run, the text that arrived stays.
        """
        self.output.outputs, self.response = (), None
        try:
            given = self.values()
        except UsageError:
            return
        self.button.disabled = True
        screen = _Widget(self.output, is_json=self.persona.output is not None)
        prompt = self.prompt.value if self.prompt.value.strip() else None
        try:
            with self._runner.stream(
                self.persona, prompt, variables=given, model=self._model
            ) as pieces:
                for piece in pieces:
                    screen.add(piece)
                self.response = pieces.response
            screen.end(footer(self.response, given), self.response.text)
        except KeyboardInterrupt:
            screen.end(footer_line("stopped"))
        except PersonakitError as error:
            self.output.outputs += (_output(error_bundle(str(error))),)
        finally:
            self.button.disabled = False


class _Widget(Screen):
    """An answer in an output widget, whose content is a list and not a display."""

    def __init__(self, output: Any, *, is_json: bool) -> None:
        super().__init__(images=False, is_json=is_json)
        self._output = output

    def show(self, bundle: dict[str, Any]) -> None:
        self._output.outputs = (_output(bundle),)


def form(persona: Reference, *, model: str | None = None, runner: Runner | None = None) -> Form:
    """Return a form of widgets for a persona in a notebook.

        personakit.form("chef")

    Args:
        persona: A name, the path of a file, or a persona.
        model: ``provider/model`` or an alias; None for the persona's or the config's.
        runner: Runs it; None for the shared one.

    Raises:
        UsageError: The persona is not found or invalid, or ipywidgets is not installed.
    """
    runner = default() if runner is None else runner
    return Form(runner, runner.load(persona), model)


def _widgets() -> Any:
    try:
        import ipywidgets  # noqa: PLC0415
    except ImportError:
        command = install_command("personakit[notebook]")
        raise UsageError(
            f"a form needs ipywidgets, which is not installed; run: {command}"
        ) from None
    return ipywidgets


def _output(bundle: Mapping[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": dict(bundle), "metadata": {}}


def _field(widgets: Any, variable: Variable) -> Any:
    """Return the widget for a variable, with its default in it."""
    about = {
        "description": variable.name,
        "tooltip": variable.description,
        **_LAYOUT,
    }
    value = thaw(variable.default)
    if variable.enum:
        options = [(str(one), thaw(one)) for one in variable.enum]
        return widgets.Dropdown(options=options, value=value, **about)
    if variable.type == "boolean":
        return widgets.Checkbox(value=bool(value), **about)
    if variable.type in ("integer", "number"):
        return _number(widgets, variable, value, about)
    if variable.type == "array" and (variable.items is None or variable.items.type == "string"):
        tags = [one for one in value or () if isinstance(one, str)]
        return widgets.TagsInput(value=tags, allow_duplicates=True, **about)
    if variable.type in ("array", "object"):
        text = "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)
        return widgets.Textarea(value=text, placeholder="JSON", **about)
    if value is not None and not isinstance(value, str):  # the type `any`
        value = json.dumps(value, ensure_ascii=False)
    kind = widgets.Textarea if len(value or "") > LONG else widgets.Text
    return kind(value=value or "", **about)


def _number(widgets: Any, variable: Variable, value: Any, about: dict[str, Any]) -> Any:
    """Return a slider for an integer in a narrow range, else a field for a number.

    An integer that a browser would round is a text.
    """
    low, high = variable.minimum, variable.maximum
    if variable.type == "number":
        most = sys.float_info.max
        bounds = {"min": -most if low is None else low, "max": most if high is None else high}
        start = value if value is not None else min(max(0, bounds["min"]), bounds["max"])
        return widgets.BoundedFloatText(value=start, **bounds, **about)
    if any(abs(one) > _MOST for one in (value, low, high) if one is not None):
        return widgets.Text(value="" if value is None else str(value), **about)
    bounds = {
        "min": -_MOST if low is None else math.ceil(low),
        "max": _MOST if high is None else math.floor(high),
    }
    start = value if value is not None else min(max(0, bounds["min"]), bounds["max"])
    narrow = low is not None and high is not None and high - low <= SLIDER
    kind = widgets.IntSlider if narrow else widgets.BoundedIntText
    return kind(value=start, **bounds, **about)


def _value(variable: Variable, value: Any) -> tuple[Any, str]:
    """Return the value of a field, and what is wrong with it if it is not JSON."""
    is_text = variable.type == "string" or not isinstance(value, str)
    if is_text or variable.enum:
        return list(value) if isinstance(value, tuple) else value, ""
    try:
        result = read_json(value)
        check_plain(result, "the value")
    except ValueError as error:
        return None, f"expected JSON: {error}"
    except UsageError as error:
        return None, str(error)
    return result, ""

"""Print a trace: what each layer of a run did."""

from __future__ import annotations

from personakit.cli.shared import output
from personakit.pipeline import Step, Trace

_COLORS = {"+": "green", "-": "red", "@": "cyan"}


def show_trace(trace: Trace) -> None:
    """Print the steps of a run on standard error, the outermost layer first."""
    for step in trace.steps:
        indent = "  " * step.depth
        output.line(indent + _headline(step), bold=True, err=True)
        for label, diff in (("request", step.request_diff()), ("response", step.response_diff())):
            if diff:
                output.echo(f"{indent}  {label}:", err=True)
            for line in diff.splitlines()[2:]:
                output.line(f"{indent}    {line}", fg=_COLORS.get(line[:1]), err=True)


def _headline(step: Step) -> str:
    name = step.plugin or ("model" if step.hook == "chat" else "tool")
    parts = [f"{name} ({step.hook})" if step.plugin else name, step.way]
    if len(step.sent) > 1:
        parts.append(f"sent {len(step.sent)} times")
    if step.attempts > 1:
        parts.append(f"{step.attempts} attempts")
    if step.left_out:
        parts.append(f"sent without {', '.join(step.left_out)}")
    parts.append(f"{step.seconds * 1000:.1f} ms")
    if step.error is not None:
        parts.append(f"{type(step.error).__name__}: {step.error}".partition("\n")[0])
    return ", ".join(parts)

"""The command `personakit budget`."""

import json
import time
from pathlib import Path

import click

from personakit import LedgerError
from personakit_budget.days import day_around, default_folder, zone_of
from personakit_budget.ledger import NANO, Ledger


@click.command("budget", short_help="Show today's usage per persona.")
@click.option("--folder", type=Path, help="The value of the plugin's option `folder`.")
@click.option("--timezone", default="UTC", show_default=True, help="The time zone of the day.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path | None, timezone: str, as_json: bool) -> None:
    """Show today's calls, tokens and US dollars per persona.

    Calls in progress count with the amount reserved for them. A + after the dollars means that the
    price of some calls is unknown.
    """
    ledger = Ledger(folder.expanduser() if folder else default_folder())
    now = time.time()
    try:
        since, _ = day_around(now, zone_of(timezone))
        # Showing the usage must not create the file.
        personas = ledger.by_persona(since.timestamp(), now) if ledger.path.exists() else {}
    except (ValueError, LedgerError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        rows = {
            persona: {
                "calls": spent.calls,
                "tokens": spent.tokens,
                "usd": spent.nanos / NANO,
                "unpriced_calls": spent.unpriced,
            }
            for persona, spent in personas.items()
        }
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not personas:
        click.echo(f"no usage since {since:%Y-%m-%d %H:%M} {timezone} ({ledger.path})")
        return
    width = max(len("persona"), *map(len, personas))
    click.echo(f"{'persona':{width}}  {'calls':>7}  {'tokens':>11}  {'usd':>11}")
    for persona, spent in personas.items():
        usd = f"{spent.nanos / NANO:.4f}{'+' if spent.unpriced else ''}"
        click.echo(f"{persona:{width}}  {spent.calls:>7}  {spent.tokens:>11,}  {usd:>11}")

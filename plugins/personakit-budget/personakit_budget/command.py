"""The command `personakit budget`."""

import json
import time
from pathlib import Path

import click

from personakit_budget.amounts import NANO
from personakit_budget.days import day_around, default_folder, zone_of
from personakit_budget.ledger import Ledger, LedgerError


@click.command("budget", short_help="Show what was used today, per persona.")
@click.option("--folder", type=Path, help="The plugin's option `folder`, if a persona sets it.")
@click.option("--timezone", default="UTC", show_default=True, help="Whose midnight begins the day.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path | None, timezone: str, as_json: bool) -> None:
    """Show the calls, tokens and US dollars of today, per persona.

    Calls under way count with what is reserved for them. A + after the dollars says that some
    calls have no known price.
    """
    ledger = Ledger(folder.expanduser() if folder else default_folder())
    now = time.time()
    try:
        since, _ = day_around(now, zone_of(timezone))
        # Looking must not make a file.
        found = ledger.by_persona(since.timestamp(), now) if ledger.path.exists() else {}
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
            for persona, spent in found.items()
        }
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not found:
        click.echo(f"nothing used since {since:%Y-%m-%d %H:%M} {timezone} ({ledger.path})")
        return
    width = max(len("persona"), *map(len, found))
    click.echo(f"{'persona':{width}}  {'calls':>7}  {'tokens':>11}  {'usd':>11}")
    for persona, spent in found.items():
        usd = f"{spent.nanos / NANO:.4f}{'+' if spent.unpriced else ''}"
        click.echo(f"{persona:{width}}  {spent.calls:>7}  {spent.tokens:>11,}  {usd:>11}")

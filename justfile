# Everything that CI runs.
default: format lint types contracts test openai2 aiohttp

# What meets the openai client, with the oldest version of it that is allowed.
openai2:
    uv run --with 'openai==2.54.*' pytest -n auto tests/backend tests/pipeline/test_tool_loop.py tests/test_faults.py

# The same with the extra, which sends through another HTTP library.
aiohttp:
    uv run --with 'openai[aiohttp]>=3' pytest -n auto tests/backend/test_clients.py tests/test_faults.py

# Rewrite nothing; fail when a file is not formatted.
format:
    uv run ruff format --check .

lint:
    uv run ruff check .

# Each plugin by itself: their test modules share names with ours.
types:
    uv run mypy
    for plugin in plugins/*/; do uv run mypy "$plugin"personakit_* "$plugin"tests || exit 1; done

# The layers and doors of pyproject.toml.
contracts:
    uv run lint-imports --no-cache

# Tests of the package and of every plugin, README and docs examples among them.
test *args:
    uv run pytest -n auto --dist worksteal --cov --cov-report=term-missing:skip-covered --cov-fail-under=92 {{args}}

# What takes too long for every change: more examples of what must hold for any input.
full: default properties

# Compare 20,000 random templates with plain Jinja2.
properties:
    PERSONAKIT_EXAMPLES=20000 uv run pytest -n 2 tests/templates/test_plain_jinja.py

# Format and mend what can be mended.
fix:
    uv run ruff format .
    uv run ruff check --fix .

# Build the wheel and the sdist, and use the wheel in an empty environment.
package:
    uv run pytest tests/test_packaging.py -v

# Measure personakit beside its peers: `just bench`, `just bench render`, `just bench --quick`; or beside
# another checkout of itself: `just bench --checkout . --checkout ../before`.
bench *args:
    uv run python -m benchmarks {{args}}

# The tests start hundreds of interpreters, and each would compile all modules again.
export PYTHONDONTWRITEBYTECODE := ""

# Everything that CI runs.
default: format lint types contracts test clients serve-clients mcp-clients ray conformance browser

# Smoke tests with other HTTP clients; `just openai2 aiohttp` runs all of them.
clients:
    uv run --dev --with 'openai==2.54.*' pytest -n auto tests/backend/test_backend.py tests/backend/test_clients.py tests/backend/test_remembering.py
    uv run --dev --with 'openai[aiohttp]>=3' pytest -n auto tests/backend/test_clients.py tests/backend/test_remembering.py tests/test_benchmarks.py::test_servers_are_compared

# Call `personakit serve` with LangChain, pydantic-ai, llm, openai-node and the Vercel AI SDK, once
# each; `just serve-clients all` also streams, calls tools and asks for objects.
serve-clients calls='smoke':
    PERSONAKIT_CLIENTS={{calls}} uv run --dev pytest -n 2 tests/server/clients/test_installed_clients.py tests/server/clients/test_documented_clients.py

# Connect to `personakit mcp` with mcp 1.30, LangChain, the OpenAI Agents SDK, the inspector and the
# conformance suite, once each; `just mcp-clients all` also calls tools, over HTTP as well.
mcp-clients calls='smoke':
    PERSONAKIT_CLIENTS={{calls}} uv run --dev pytest -n 2 plugins/personakit-mcp/tests/clients

# Run batches on a local cluster of Ray with two nodes, of which a worker is killed; `just ray all`
# also kills a whole node, and reads and writes S3 (moto's server).
ray tests='smoke':
    PERSONAKIT_RAY={{tests}} uv run --dev --with 'ray[data]>=2.60,<3' --with 'moto[server]>=5,<6' pytest tests/batch/ray

# Run the tests of the openai client with the oldest supported version.
openai2:
    uv run --dev --with 'openai==2.54.*' pytest -n auto tests/backend tests/pipeline/test_tool_loop.py tests/pipeline/test_abandoned_streams.py tests/test_faults.py tests/journal/test_programs.py tests/journal/test_killed.py

# Run the same tests with the aiohttp extra, which sends through another HTTP library.
aiohttp:
    uv run --dev --with 'openai[aiohttp]>=3' pytest -n auto tests/backend/test_clients.py tests/backend/test_remembering.py tests/pipeline/test_abandoned_streams.py tests/test_faults.py

# Fail if a file is not formatted; change nothing.
format:
    uv run --dev ruff format --check .

lint:
    uv run --dev ruff check .

# Send the server 300 random requests by its OpenAPI document, and check every answer.
conformance cases='300':
    PERSONAKIT_EXAMPLES={{cases}} uv run --dev --with 'schemathesis>=4.32,<5' --with 'openapi-spec-validator>=0.9,<1' pytest tests/server/test_conformance.py

# Check each plugin separately: its test modules have the same names as those of the package.
types:
    uv run --dev mypy
    ls -d plugins/* | xargs -P 2 -I @ sh -c 'uv run --dev mypy @/personakit_* @/tests'

# Check the import contracts in pyproject.toml.
contracts:
    uv run --dev lint-imports --no-cache

# Run the tests of the package and all plugins, including the README and docs examples.
test *args:
    uv run --dev pytest -n auto --dist worksteal {{args}}

# Run the same tests and measure branch coverage, which doubles their time.
coverage:
    uv run --dev pytest -n auto --dist worksteal --cov --cov-report=term-missing:skip-covered --cov-fail-under=92

# Everything, with coverage and the property tests that are too slow for every change.
full: format lint types contracts coverage openai2 aiohttp (serve-clients "all") (mcp-clients "all") (ray "all") browser properties (soak "2000")

# Send half a million requests of all kinds to the server, and compare what all sides have counted;
# `just soak 2000` for a first look.
soak count='500000':
    uv run --dev python -m benchmarks soak --count {{count}}

# Show notebooks in chromium (`apt-get install chromium`), in JupyterLab and as an exported page;
# with PERSONAKIT_SHOTS=FOLDER, keep screenshots of both themes.
browser:
    uv run --dev --group browser pytest tests/notebook/test_browser.py

# Compare 20,000 random templates with plain Jinja2; cut a stream at every byte; abandon 1,000
# streams in each way; resume 1,000 random programs; send 10,000 requests to four workers that are
# killed.
properties:
    PERSONAKIT_EXAMPLES=20000 uv run --dev pytest -n 2 tests/templates/test_plain_jinja.py tests/plugins/test_together.py tests/pipeline/test_abandoned_streams.py tests/test_faults.py tests/journal/test_programs.py tests/journal/test_killed.py tests/server/test_load.py tests/batch/test_killed.py

# Fuzz what personakit reads, all targets together for some minutes, and then the server with
# 10,000 requests; `just fuzz 10 TARGET…` fuzzes some targets alone. See CONTRIBUTING.md.
fuzz minutes='10' *args:
    uv run --dev --group fuzz python -m fuzz {{minutes}} {{args}}
    {{ if args == "" { "just conformance 10000" } else { "" } }}

# Format, and apply automatic fixes.
fix:
    uv run --dev ruff format .
    uv run --dev ruff check --fix .

# Write docs/python.md, the reference of the Python API, from the docstrings.
reference:
    GOLDEN=write uv run --dev pytest -q tests/test_reference.py

# Build the wheel and the sdist, and test the wheel in an empty environment.
package:
    uv run --dev pytest tests/test_packaging.py -v

# Examples: `just bench render`, `just bench --quick`, `just bench --checkout . --checkout ../before`.
# Compare personakit with other packages, or with another checkout of itself.
bench *args:
    uv run --dev python -m benchmarks {{args}}

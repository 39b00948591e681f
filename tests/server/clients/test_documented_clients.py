"""The examples of docs/serve/clients.md, in the environments of the clients.

PERSONAKIT_CLIENTS is `smoke` or `all`, as for test_installed_clients.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import pages
from helpers.client_envs import node_words, python_script, run
from helpers.served import Served

if not os.environ.get("PERSONAKIT_CLIENTS"):
    pytest.skip("installs other clients: just serve-clients", allow_module_level=True)

PAGE = (Path(__file__).parents[3] / "docs" / "serve" / "clients.md").read_text("utf-8")


def example(site: Served, section: str, language: str) -> str:
    """Return the example of a section, for a server and a key."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    (found,) = (block.text for block in pages.blocks(text) if block.language == language)
    for quote in "'", '"':
        found = found.replace(f"{quote}none{quote}", f"{quote}{site.token}{quote}")
    assert "http://127.0.0.1:8111/v1" in found
    return found.replace("http://127.0.0.1:8111/v1", site.base_url)


def printed(words: list[str], **environ: str) -> str:
    done = run(words, None, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def asked(site: Served) -> None:
    """Check that the persona of the examples was asked, with the value of its variable."""
    (system, *_) = site.texts()
    assert "You cook for 4 people." in system[1]
    assert site.texts()[-1] == ("user", "A quick dinner")


@pytest.mark.parametrize("section", ["LangChain", "pydantic-ai"])
def test_python(site: Served, section: str) -> None:
    code = example(site, section, "py")
    quiet = {"LANGSMITH_TRACING": "false", "PYTHONWARNINGS": "ignore"}
    assert printed([python_script("python"), "-c", code], **quiet) == "Hello!"
    asked(site)


def test_llm(site: Served, tmp_path: Path) -> None:
    models = example(site, "llm", "yaml")
    (tmp_path / "extra-openai-models.yaml").write_text(models, "utf-8")
    words = [python_script("llm"), "-m", "chef", "--key", site.token, "A quick dinner"]
    assert printed(words, LLM_USER_PATH=str(tmp_path)) == "Hello!"
    asked(site)


def test_the_ai_sdk(site: Served) -> None:
    code = example(site, "Vercel AI SDK", "js")
    assert printed(node_words("documented.mjs", code)) == "Hello!"
    asked(site)

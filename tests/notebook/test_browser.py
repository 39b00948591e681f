"""What a browser shows: an exported notebook, and JupyterLab. ``just browser`` installs all of it.

Without playwright, JupyterLab or chromium the tests are skipped. The environment variable
PERSONAKIT_SHOTS names a folder for screenshots.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest
from helpers.hostile import VECTORS, Page
from helpers.notebook import Desk, failed, slow

from personakit import Response
from personakit.testing import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
for module in ("playwright.sync_api", "jupyterlab", "nbconvert"):
    pytest.importorskip(module, reason=f"needs {module}: uv run --dev --group browser")
if CHROMIUM is None:
    pytest.skip("needs chromium: apt-get install chromium", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")

# The screenshots are for people, who look at both.
THEMES = ["JupyterLab Dark", "JupyterLab Light"][: 2 if "PERSONAKIT_SHOTS" in os.environ else 1]
ANSWER = "# Soup\n\n" + "\n".join(
    f"{n}. Cut **{n} leeks** and put them into the pot, with salt and a little water."
    for n in range(40)
)
# Notes each frame the height of the output and the length of its text, and what is removed.
WATCH = """() => {
  window.frames = []; window.removed = 0;
  const look = () => {
    const shown = document.querySelectorAll('.jp-OutputArea-output .jp-RenderedMarkdown, ' +
      '.jp-RenderedMarkdown.jp-OutputArea-output');
    const output = shown[shown.length - 1];
    if (output) window.frames.push([output.offsetHeight, output.textContent.length]);
    requestAnimationFrame(look);
  };
  new MutationObserver(changes => {
    for (const change of changes) for (const node of change.removedNodes)
      if (node.nodeType === 1 && node.matches('.jp-OutputArea-child, .jp-OutputArea-output'))
        window.removed += 1;
  }).observe(document.body, {childList: true, subtree: true});
  requestAnimationFrame(look);
}"""


def browse(visit: Callable[[Any], None]) -> None:
    """Start a browser and do something with it, in a thread.

    The event loop of playwright would be in the way of those of the notebooks of other tests.
    """

    def run() -> None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            visit(browser)
            browser.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(run).result()


def exported(notebook: Any, file: Path) -> str:
    """Write a notebook as a page of HTML and return it."""
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter
    html: str = exporter().from_notebook_node(notebook)[0]
    file.write_text(html, "utf-8")
    return html


def opened_page(browser: Any, file: Path) -> tuple[Any, set[str]]:
    """Open a page without a network; return it and the addresses that it asked for."""
    page = browser.new_page()
    asked: set[str] = set()

    def route(route: Any) -> None:
        url = route.request.url
        if url.startswith("file:"):
            route.continue_()
        else:
            asked.add(url)
            route.abort()

    page.route("**/*", route)
    page.goto(file.as_uri())
    page.wait_for_timeout(500)
    return page, asked


def test_no_hostile_answer_acts_in_an_exported_notebook(desk: Desk, tmp_path: Path) -> None:
    from_dict: Any = nbformat.from_dict
    plain = {**desk.notebook.client.nb, "cells": []}
    exported(from_dict(plain), tmp_path / "plain.html")
    for vector in VECTORS.values():
        assert failed(desk("%persona chef Soup", vector)) == ""
    desk("answer")
    desk("answer.request")
    html = exported(desk.notebook.client.nb, tmp_path / "hostile.html")
    assert html.count("<sub>") >= len(VECTORS)
    browse(lambda browser: visit_export(browser, tmp_path))
    from nbconvert.filters import markdown2html

    for vector in VECTORS.values():
        markdown = Response(vector)._repr_mimebundle_()["text/markdown"]
        assert Page(markdown2html(markdown)).wrong == []


def visit_export(browser: Any, folder: Path) -> None:
    _, usual = opened_page(browser, folder / "plain.html")
    page, asked = opened_page(browser, folder / "hostile.html")
    title = page.title()
    assert asked <= usual
    assert page.locator("a[href^='javascript' i]").count() == 0
    for link in page.get_by_text("open", exact=True).all():
        link.click()
    page.wait_for_timeout(300)
    assert page.title() == title == "Notebook"


@contextmanager
def lab(folder: Path, server: Server, theme: str) -> Iterator[str]:
    """Start JupyterLab in a folder; yield its address."""
    settings = {
        "apputils-extension/themes": {"theme": theme},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},  # else it drops far cells
    }
    for name, values in settings.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "PERSONAKIT_PLUGINS": "",
        "PERSONAKIT_MODEL": "openai/test-model",
        **server.environ(),
    }
    options = [
        "--no-browser",
        "--ip=127.0.0.1",
        "--port=0",
        "--IdentityProvider.token=t",
        "--allow-root",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"],
        env=env, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/lab", line)
            if found:
                yield f"http://127.0.0.1:{found[1]}"
                break
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.stderr.close()


def notebook(cells: list[str]) -> str:
    """Return a notebook file."""
    written: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "execution_count": None, "metadata": {}, "outputs": [],
         "source": source}
        for n, source in enumerate(cells)
    ]  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


CELLS = [
    "%load_ext personakit",
    "%%persona chef -v guests=6\nLeeks, please.",
    "%%persona chef --quiet\nHostile",
    "%persona chef",
    "answer.request",
    "%%persona new pirate\nsystem: You are {{ name }}.\nvariables: {name: Anne}",
    "import personakit\npersonakit.form('chef')",
    "%%persona new wrong\nsystem: You are {{ nme }}.\nvariables: {name: Anne}",
]


@pytest.mark.parametrize("theme", THEMES)
def test_an_answer_grows_in_jupyterlab(theme: str, tmp_path: Path) -> None:
    (tmp_path / "soup.ipynb").write_text(notebook(CELLS))
    names = ("image", "link", "math", "remote image", "span")
    with Server() as server, lab(tmp_path, server, theme) as address:
        server.answers = [slow(server, ANSWER, 3), "\n\n".join(VECTORS[name] for name in names)]
        browse(lambda browser: visit_lab(browser, address, theme))


def visit_lab(browser: Any, address: str, theme: str) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 1400})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/lab/tree/soup.ipynb?token=t")
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=60_000)
    page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
    page.evaluate(WATCH)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    page.locator("sub", has_text="guests=6").wait_for(timeout=60_000)
    frames, removed = page.evaluate("[window.frames, window.removed]")
    for _ in CELLS[2:]:
        page.keyboard.press("Shift+Enter")
    page.get_by_text("PK023").first.wait_for(timeout=60_000)
    page.locator(".widget-slider").first.wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    shot(page, theme)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert "XSS" not in page.title()
    begun = [bool(length) for _, length in frames].index(True)
    heights = [height for height, _ in frames[begun:]]
    assert len(set(heights)) >= 5
    assert heights == sorted(heights)
    assert all(length for _, length in frames[begun:])
    assert removed == 0


def shot(page: Any, name: str) -> None:
    folder = os.environ.get("PERSONAKIT_SHOTS")
    if folder:
        cells = page.locator(".jp-Notebook .jp-Cell")
        for number in range(cells.count()):
            cells.nth(number).scroll_into_view_if_needed()
            time.sleep(0.1)
            cells.nth(number).screenshot(path=f"{folder}/{name.replace(' ', '-')}-{number}.png")
        page.screenshot(path=f"{folder}/{name.replace(' ', '-')}.png")

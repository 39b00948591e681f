"""Questions of plugins and tools in a notebook: in its input box, or to nobody."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.asking import TOOLS, Booking
from helpers.notebook import Desk, failed, opened, shown
from jupyter_client.blocking.client import BlockingKernelClient

DEFINED = TOOLS + "\npersona = personakit.Persona.parse('system: You plan.')\n"
RUN = "personakit.run(persona, 'To Oslo', tools=[book]).text"
ARUN = "(await personakit.arun(persona, 'To Oslo', tools=[book])).text"
CHOICES = "  1 yes   2 no   3 yes for this run\n"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "mine.py").write_text(TOOLS)
    (folder / "ann.yaml").write_text("system: You plan.\n")
    with Booking() as server:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PERSONAKIT_PLUGINS": "",
            "PERSONAKIT_MODEL": "openai/m",
            **server.environ(),
            **{k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "COV_"))},
        }
        with opened(folder, env) as notebook:
            notebook(DEFINED)
            yield Desk(notebook, server, folder)


@pytest.fixture(scope="module")
def client(desk: Desk) -> Iterator[BlockingKernelClient]:
    """A front end with an input box."""
    manager: Any = desk.notebook.client.km
    client = BlockingKernelClient()
    client.load_connection_info(manager.get_connection_info())
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield client
    client.stop_channels()


class Cell:
    """What a cell showed and asked, with a person who gives answers.

    Attributes:
        prompts: The prompts of the input box.
        text: What was printed, and the result.
        error: The traceback of a cell that failed.
    """

    def __init__(self, client: BlockingKernelClient, source: str, *answers: str) -> None:
        self.prompts: list[str] = []
        self.text = self.error = ""
        left = iter(answers)

        def stdin(message: Any) -> None:
            self.prompts.append(message["content"]["prompt"])
            client.input(next(left))

        def output(message: Any) -> None:
            content = message["content"]
            self.text += content.get("text") or content.get("data", {}).get("text/plain", "")
            self.error += "\n".join(content.get("traceback", ()))

        client.execute_interactive(
            source, allow_stdin=True, stdin_hook=stdin, output_hook=output, timeout=60
        )


@pytest.mark.parametrize("call", [RUN, ARUN])
def test_the_input_box_takes_the_answer(call: str, client: BlockingKernelClient) -> None:
    cell = Cell(client, call, "perhaps", "y")
    assert cell.error == ""
    assert cell.prompts == ["Answer: ", "Answer: "]
    assert f'personakit asks: Book the 9:12?\n  │ {{"train": "the 9:12"}}\n{CHOICES}' in cell.text
    assert "'perhaps' is not an answer to 'Book the 9:12?'" in cell.text
    assert "**Done**." in cell.text


def test_the_magic_asks(desk: Desk, client: BlockingKernelClient) -> None:
    cell = Cell(client, "%load_ext personakit\n%persona ann.yaml --functions mine.py Oslo", "2")
    assert (cell.error, cell.prompts) == ("", ["Answer: "])
    assert (desk.folder / "booked").read_text().endswith("the 9:12: no\n")


def test_a_question_controls_nothing(client: BlockingKernelClient) -> None:
    tool = TOOLS.replace('f"Book {train}?"', '"\\x1b[31m\\u202e\\r?"')
    cell = Cell(client, f"{tool}\n{RUN}", "1")
    assert "personakit asks: \\u001b[31m\\u202e\\u000d?" in cell.text
    Cell(client, DEFINED)


def test_a_front_end_without_an_input_box_has_nobody(desk: Desk) -> None:
    for call in (RUN, ARUN):
        cell = desk(call)
        assert "the run waits for an answer: Book the 9:12?" in failed(cell)
        assert "Answer" not in str(cell.outputs)
    cell = desk("%load_ext personakit\n%persona ann.yaml --functions mine.py Oslo")
    assert "the run waits for an answer" in failed(cell)
    assert "waits for an answer" in shown(cell)
    assert "failed" not in shown(cell)
    assert "the last run as 'answer' waits for an answer" in failed(desk("%persona -c more"))


def test_a_stopped_cell_takes_no_answer_to_a_later_question(
    desk: Desk, client: BlockingKernelClient
) -> None:
    def stop(message: Any) -> None:
        os.kill(desk.notebook.pid, signal.SIGINT)

    client.execute_interactive(
        RUN, allow_stdin=True, stdin_hook=stop, output_hook=lambda message: None, timeout=60
    )
    assert "**Done**" in Cell(client, RUN, "y").text
    assert "'own'" in Cell(client, "input()", "own").text


CLICKED = f"""
from comm import get_comm_manager
def clicked(comm, message):
    global outcome
    try:
        outcome = {RUN}
    except personakit.Suspended as error:
        outcome = str(error)
get_comm_manager().register_target("clicked", clicked)
"""


def test_the_click_of_a_button_has_nobody(client: BlockingKernelClient) -> None:
    assert Cell(client, CLICKED).error == ""
    content = {"comm_id": "1", "target_name": "clicked", "data": {}}
    client.shell_channel.send(client.session.msg("comm_open", content))
    assert "the run waits for an answer" in Cell(client, "print(outcome)").text


def test_ipython_asks_on_its_terminal(shell: Any) -> None:
    with Booking() as server:
        shell.env |= {**server.environ(), "PERSONAKIT_MODEL": "openai/m"}
        shell.write("it.py", f"{DEFINED}\nprint({RUN})\n")
        args = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "it.py"]
        shell.args = lambda *_: args
        with shell.terminal() as session:
            session.until("Book the 9:12?")
            session.until("Answer: ")
            session.say("yes")
            session.until("**Done**.")
            session.end()

"""The pytest plugin as another project meets it: a process of its own, in a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from helpers.process import Folder

from personakit.testing import Server

CHEF = """\
name: chef
system: You are {{ cook }}.
variables: {cook: Florent}
tests:
  - name: introduces himself
    render: {contains: Florent}
  - name: is somebody else
    render: {contains: Zoë}
"""
ASKS = "system: x\ntests: [{name: says hello, prompt: Hi, expect: {contains: Hello}}]\n"
HEAVY = "yaml jinja2 pydantic_core openai click personakit.suite personakit.persona".split()


class Project(Folder):
    """Runs pytest, away from this test run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")

    def __call__(self, *args: str, **env: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:cov", *args]
        result = self.run(command, b"", env)
        out = result.out + result.err
        assert "INTERNALERROR" not in out
        return result.code, out

    def collected(self, *args: str) -> list[str]:
        _, out = self("--collect-only", "-q", *args)
        return [line for line in out.splitlines() if "::" in line]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Hello there."]) as running:
        yield running


def test_each_test_is_an_item_and_a_failure_has_no_traceback(project: Project) -> None:
    project.write("personas/chef.yaml", CHEF)
    code, out = project("personas/", "--junit-xml=out.xml")
    assert code == 1
    assert "personas/chef.yaml .F" in out
    assert "personas/chef.yaml:7: chef › is somebody else\n" in out  # noqa: RUF001
    assert "  line 8, render contains: expected 'Zoë'\n    found:\n      You are Florent." in out
    summary = "FAILED personas/chef.yaml::is somebody else - render contains: expected 'Zoë'"
    assert summary in out.splitlines()
    assert "1 failed, 1 passed" in out
    assert "suite.py" not in out
    failure = ET.parse(project.folder / "out.xml").getroot().find(".//failure")
    assert failure is not None
    assert failure.get("message") == "render contains: expected 'Zoë'"


def test_the_text_of_a_persona_does_not_control_the_terminal(project: Project) -> None:
    hostile = '"\\e]0;x\\a\\x9b2J\\u202e"'
    text = CHEF.replace("is somebody else", hostile).replace("Zoë", hostile)
    project.write("personas/chef.yaml", text)
    project.write("personas/broken.yaml", f"{CHEF}{hostile}: 1\n")
    code, out = project("personas/", "-v", "--continue-on-collection-errors")
    assert code == 1
    assert "1 failed, 1 passed, 1 error" in out
    assert out.count("\\u001b]0;x\\u0007\\u009b2J\\u202e") > 3
    assert not set(out) & set("\x1b\x07\x9b\u202e")


def test_collected_is_what_is_below_personas_or_named(project: Project) -> None:
    for name in ("personas/a.yaml", "app/personas/deep/b.yaml", "prompts/c.yaml", "other/d.yaml"):
        project.write(name, CHEF)
    found = {line.partition("::")[0] for line in project.collected()}
    assert found == {"personas/a.yaml", "app/personas/deep/b.yaml"}
    named = {line.partition("::")[0] for line in project.collected("other/d.yaml")}
    assert named == {"other/d.yaml"}
    project.write("pytest.ini", "[pytest]\npersonakit_personas = prompts\n")
    found = {line.partition("::")[0] for line in project.collected()}
    assert found == {"personas/a.yaml", "app/personas/deep/b.yaml", "prompts/c.yaml"}


def test_one_test_is_chosen_as_pytest_chooses(project: Project) -> None:
    project.write("personas/chef.yaml", CHEF)
    assert project("personas/chef.yaml::introduces himself")[0] == 0
    assert project("-k", "introduces")[0] == 0


def test_other_yaml_files_are_left_alone(project: Project) -> None:
    project.write("personas/people.yaml", "- name: Zoë\n- name: {{ x }}\n")
    project.write("personas/suite.yaml", "tests:\n  - {{ broken }}\n")
    project.write("personas/untested.yaml", "system: {{ broken }}\n")
    project.write("compose.yaml", "services: {x: {tests: 1}}\nsystem: 1\ntests: 1\n")
    (project.folder / "personas" / "gone.yaml").symlink_to("nowhere")
    project.write("test_it.py", "def test_it():\n    pass\n")
    assert project.collected() == ["test_it.py::test_it"]
    assert project("personas/suite.yaml")[0] != 1


def test_a_broken_persona_is_an_error_of_collection_with_its_problems(project: Project) -> None:
    project.write("personas/chef.yaml", CHEF.replace("render:", "rendr:"))
    code, out = project()
    assert code == 2
    assert "personas/chef.yaml:6:" in out
    assert "did you mean 'render'" in out


def test_a_broken_config_is_an_error_of_collection(project: Project) -> None:
    project.write("personas/chef.yaml", CHEF)
    config = str(project.write("config.yaml", "modle: x\n"))
    code, out = project(PERSONAKIT_CONFIG=config)
    assert code == 2
    assert "did you mean 'model'" in out


def test_answers_are_recorded_and_replayed(project: Project, server: Server) -> None:
    project.write("personas/greeter.yaml", ASKS)
    code, out = project(CI="1", **server.environ())
    assert code == 1
    assert "personakit test personas/greeter.yaml -k 'says hello' --record new" in out
    model = "--personakit-model=openai/test-model"
    assert project(model, **server.environ())[0] == 0
    assert project(CI="1")[0] == 0
    assert len(server.requests) == 1
    assert project(model, "--personakit-record=all", CI="1", **server.environ())[0] == 0
    assert len(server.requests) == 2


def test_it_can_be_switched_off(project: Project) -> None:
    project.write("personas/chef.yaml", CHEF)
    project.write("test_it.py", "def test_it():\n    pass\n")
    assert project.collected("-p", "no:personakit") == ["test_it.py::test_it"]


def test_a_project_without_personas_imports_nothing_of_it(project: Project) -> None:
    project.write(
        "test_it.py",
        f"""import sys
def test_it():
    assert "personakit.pytest_plugin" in sys.modules
    assert [name for name in {HEAVY} if name in sys.modules] == []
""",
    )
    project.write("conf.yaml", "system: x\ntests: []\n")
    assert project()[0] == 0

"""Time grows with the text and no faster, whatever the text is."""

import gc
import time
from collections.abc import Callable

import pytest
from personakit_redact.detectors import Kind, find
from personakit_redact.restore import Restore, Table

EMAIL: tuple[Kind, ...] = ("email",)
ALL: tuple[Kind, ...] = ("email", "phone", "card", "iban")


def seconds(work: Callable[[str], object], text: str) -> float:
    best = float("inf")
    # The garbage collector would look at all that other tests have made.
    gc.disable()
    try:
        for _ in range(2):
            start = time.process_time()
            work(text)
            best = min(best, time.process_time() - start)
    finally:
        gc.enable()
    return best


def grows_with_the_text(work: Callable[[str], object], text: Callable[[int], str]) -> None:
    size = 1000
    while seconds(work, text(size)) < 0.02 and size < 512_000:
        size *= 2
    for _ in range(3):  # what else the machine does may double a time once, but not each time
        times = seconds(work, text(4 * size)) / seconds(work, text(size))
        if times < 10:
            return
    pytest.fail(f"4 times the text took {times:.1f} times the time; squared would be 16")


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1 ",
        "00 ",
        "4234 ",
        "2012-01-02 08:00 ",
        "1/2/",
        "12.5,1300.75,",
        "(1",
        "+",
        "+1",
        "GB29 ",
        "GB29NWBK601613319268",
        "4111 1111 1111 1111 ",
        "06 12 34 56 78 ",
        "06\\u00a012\\n",
        "+33 6 12 34 56 78, ",
    ],
)
def test_numbers(unit: str) -> None:
    grows_with_the_text(lambda text: find(text, ALL, "FR"), lambda size: unit * (size // len(unit)))


@pytest.mark.parametrize(
    "unit", ["a", "a.", "@", "a@", "a@b.", "a=", "&a=", "*a", "-_", "jane@example.com "]
)
@pytest.mark.parametrize("end", ["", "@example.com"])
def test_addresses(unit: str, end: str) -> None:
    grows_with_the_text(
        lambda text: find(text, EMAIL), lambda size: unit * (size // len(unit)) + end
    )


@pytest.mark.parametrize("label", ["b", "b.", "b-", "."])
def test_long_domains(label: str) -> None:
    grows_with_the_text(lambda text: find(text, EMAIL), lambda size: "a@b" + label * size)


@pytest.mark.parametrize("unit", ["[", "[EMAIL-", "[EMAIL-1]", "plain text ", "[ "])
@pytest.mark.parametrize("step", [1, 1000])
def test_filters(unit: str, step: int) -> None:
    table = Table()
    for number in range(1000):
        table.name("email", f"user{number}@example.com")

    def feed(text: str) -> str:
        restore = Restore(table)
        parts = (text[at : at + step] for at in range(0, len(text), step))
        return "".join([restore.feed(part) for part in parts]) + restore.flush()

    grows_with_the_text(feed, lambda size: unit * (size // len(unit)))


def test_many_values() -> None:
    def name(text: str) -> None:
        table = Table()
        for number in range(len(text)):
            table.name("email", f"user{number}@example.com")

    grows_with_the_text(name, lambda size: "x" * size)

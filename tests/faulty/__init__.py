"""A server that misbehaves in every way an upstream does, for the tests of faults."""

from faulty import body, connection, events, responses, shape, status, stream
from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import TEXT, works, works_again
from faulty.server import Faulty

FAMILIES = {
    "connection": connection.MODES,
    "status": status.MODES,
    "body": body.MODES,
    "shape": shape.MODES,
    "stream": (*events.MODES, *stream.MODES),
}

RESPONSES = responses.FAMILIES

__all__ = [
    "FAMILIES",
    "RESPONSES",
    "TEXT",
    "Ends",
    "Fails",
    "Faulty",
    "Gives",
    "Mode",
    "works",
    "works_again",
]

"""`personakit lint -`: a text from standard input, under the path that editors pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.cli import Commands
from helpers.shell import Shell

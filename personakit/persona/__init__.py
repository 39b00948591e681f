"""Personas: YAML files, parsed and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.persona import parameters as parameters
    from personakit.persona import tests as tests
    from personakit.persona import variables as variables
    from personakit.persona import yaml as yaml
    from personakit.persona.persona import KEYS as KEYS
    from personakit.persona.persona import MODEL as MODEL
    from personakit.persona.persona import ROLES as ROLES
    from personakit.persona.persona import Persona as Persona
    from personakit.persona.persona import Reference as Reference
    from personakit.persona.persona import Text as Text
    from personakit.persona.persona import examine as examine
    from personakit.persona.plugins import PlacedOptions as PlacedOptions
    from personakit.persona.plugins import PluginUse as PluginUse
    from personakit.persona.plugins import read_plugins as read_plugins
    from personakit.persona.question import QUESTION_PATH as QUESTION_PATH
    from personakit.persona.question import question_persona as question_persona
    from personakit.persona.tests import PersonaTest as PersonaTest
    from personakit.persona.validation import Checker as Checker
    from personakit.persona.values import Declared as Declared
    from personakit.persona.values import Values as Values
    from personakit.persona.variable import Variable as Variable
    from personakit.persona.variable import described as described
    from personakit.persona.variable import missing as missing
    from personakit.persona.variable import object_schema as object_schema
    from personakit.persona.yaml import MAX_BYTES as MAX_BYTES
    from personakit.persona.yaml import Document as Document
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "persona": "KEYS MODEL Persona ROLES Reference Text examine",
            "plugins": "PlacedOptions PluginUse read_plugins",
            "question": "QUESTION_PATH question_persona",
            "tests": "PersonaTest",
            "validation": "Checker",
            "values": "Declared Values",
            "variable": "Variable described missing object_schema",
            "yaml": "Document MAX_BYTES",
        },
        modules="parameters tests variables yaml",
    )

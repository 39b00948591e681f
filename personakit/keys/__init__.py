"""Find and store the keys of providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.keys import keyfile as keyfile
    from personakit.keys import keyring as keyring
    from personakit.keys.resolver import SCHEMES as SCHEMES
    from personakit.keys.resolver import TYPED as TYPED
    from personakit.keys.resolver import Keys as Keys
    from personakit.keys.resolver import OptionKey as OptionKey
    from personakit.keys.resolver import Wanted as Wanted
    from personakit.keys.resolver import environment as environment
    from personakit.keys.resolver import needs_key as needs_key
    from personakit.keys.resolver import scheme_of as scheme_of
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "resolver": "Keys OptionKey SCHEMES TYPED Wanted environment needs_key scheme_of",
        },
        modules="keyfile keyring",
    )

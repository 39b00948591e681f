"""The ledger: keys of a service, their budgets and limits, shared by all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.ledger.amounts import Account as Account
    from personakit.ledger.amounts import Amount as Amount
    from personakit.ledger.amounts import Reservation as Reservation
    from personakit.ledger.amounts import Total as Total
    from personakit.ledger.errors import BudgetExceeded as BudgetExceeded
    from personakit.ledger.errors import LedgerError as LedgerError
    from personakit.ledger.errors import TooMany as TooMany
    from personakit.ledger.key_budget import KeyBudget as KeyBudget
    from personakit.ledger.keys.key import Key as Key
    from personakit.ledger.keys.key import calling as calling
    from personakit.ledger.keys.key import current_key as current_key
    from personakit.ledger.ledger import Ledger as Ledger
    from personakit.ledger.metering import metered as metered
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "amounts": "Account Amount Reservation Total",
            "errors": "BudgetExceeded LedgerError TooMany",
            "keys.key": "Key calling current_key",
            "key_budget": "KeyBudget",
            "ledger": "Ledger",
            "metering": "metered",
        },
    )

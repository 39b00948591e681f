"""Shared utilities: waiting, deadlines, secrets, private files, names and types of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base.doors import door as door

if TYPE_CHECKING:
    from personakit.base import deadline as deadline
    from personakit.base import private_files as private_files
    from personakit.base.deadline import DEFAULT_DEADLINE as DEFAULT_DEADLINE
    from personakit.base.distributions import entry_points as entry_points
    from personakit.base.distributions import install_command as install_command
    from personakit.base.distributions import may_have as may_have
    from personakit.base.doors import door as door
    from personakit.base.files import STDIN as STDIN
    from personakit.base.files import State as State
    from personakit.base.files import Texts as Texts
    from personakit.base.files import check_file as check_file
    from personakit.base.files import is_file as is_file
    from personakit.base.files import is_stream as is_stream
    from personakit.base.files import locate as locate
    from personakit.base.files import occurrences as occurrences
    from personakit.base.files import overlaid as overlaid
    from personakit.base.files import read_file as read_file
    from personakit.base.files import state_of as state_of
    from personakit.base.files import walk as walk
    from personakit.base.names import LOADED as LOADED
    from personakit.base.names import NAME as NAME
    from personakit.base.names import REFERENCE as REFERENCE
    from personakit.base.names import RESERVED as RESERVED
    from personakit.base.names import SCHEME as SCHEME
    from personakit.base.names import TOOL as TOOL
    from personakit.base.names import first_id as first_id
    from personakit.base.names import run_id as run_id
    from personakit.base.private_files import create_file as create_file
    from personakit.base.secrets import Hidden as Hidden
    from personakit.base.secrets import Later as Later
    from personakit.base.secrets import Secret as Secret
    from personakit.base.secrets import hide as hide
    from personakit.base.secrets import scrub as scrub
    from personakit.base.signatures import arguments as arguments
    from personakit.base.signatures import described as described
    from personakit.base.signatures import plain as plain
    from personakit.base.signatures import typed as typed
    from personakit.base.text import Noting as Noting
    from personakit.base.text import TextBuffer as TextBuffer
    from personakit.base.text import TextTap as TextTap
    from personakit.base.text import dollars as dollars
    from personakit.base.text import notify as notify
    from personakit.base.text import printable as printable
    from personakit.base.types import ANY as ANY
    from personakit.base.types import TYPES as TYPES
    from personakit.base.types import Written as Written
    from personakit.base.types import article as article
    from personakit.base.types import brief as brief
    from personakit.base.types import brief_repr as brief_repr
    from personakit.base.types import counted as counted
    from personakit.base.types import describe as describe
    from personakit.base.types import given as given
    from personakit.base.types import infer_type as infer_type
    from personakit.base.types import is_type as is_type
    from personakit.base.types import read_arguments as read_arguments
    from personakit.base.types import read_json as read_json
    from personakit.base.types import shown as shown
    from personakit.base.types import size as size
    from personakit.base.waiting import BESIDE as BESIDE
    from personakit.base.waiting import IN_PLACE as IN_PLACE
    from personakit.base.waiting import Apart as Apart
    from personakit.base.waiting import Closing as Closing
    from personakit.base.waiting import Emit as Emit
    from personakit.base.waiting import Mark as Mark
    from personakit.base.waiting import Suspending as Suspending
    from personakit.base.waiting import Unanswered as Unanswered
    from personakit.base.waiting import beside_goes_on as beside_goes_on
    from personakit.base.waiting import in_sync as in_sync
    from personakit.base.waiting import io as io
    from personakit.base.waiting import only_sync as only_sync
    from personakit.base.waiting import scope as scope
    from personakit.base.waiting import sleep as sleep
    from personakit.base.waiting import sync_mode as sync_mode
    from personakit.base.waiting import time_left as time_left
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "deadline": "DEFAULT_DEADLINE",
            "distributions": "entry_points install_command may_have",
            "doors": "door",
            "files": "STDIN State Texts check_file is_file is_stream locate occurrences overlaid "
            "read_file state_of walk",
            "private_files": "create_file",
            "names": "LOADED NAME REFERENCE RESERVED SCHEME TOOL first_id run_id",
            "secrets": "Hidden Later Secret hide scrub",
            "signatures": "arguments described plain typed",
            "text": "Noting TextBuffer TextTap dollars notify printable",
            "types": "ANY TYPES Written article brief brief_repr counted describe given infer_type "
            "is_type read_arguments read_json shown size",
            "waiting": "BESIDE IN_PLACE Apart Closing Emit Mark Suspending Unanswered "
            "beside_goes_on in_sync io only_sync scope sleep sync_mode time_left",
        },
        modules="deadline private_files",
    )

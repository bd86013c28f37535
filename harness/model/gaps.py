"""Commands with gaps, as a check has them: `ip route get {destination}`."""

from __future__ import annotations

import re
from typing import Final

_GAP: Final = re.compile(r"\{([a-z_]+)\}")


def gaps(command: str) -> list[str]:
    """Names of the gaps of a command, in their order; a reader must see none.

    Args:
        command: What is to be typed.
    """
    return _GAP.findall(command)

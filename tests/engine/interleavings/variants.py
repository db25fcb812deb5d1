"""Broken variants of the package, one for each way to break a protocol; scenarios must catch them.

A variant names the module, the function and the text in it that is changed, so that it follows a
function that moves within its module; a text that is not there exactly once is an error. The
numbers P1 to P18 are those of the protocols in the engine's docstring.
"""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant, make
from .variants_control import CONTROL
from .variants_mailbox import MAILBOX
from .variants_registry import REGISTRY
from .variants_request import REQUEST
from .variants_values import VALUES

__all__ = ["VARIANTS", "Variant", "make"]

VARIANTS: Tuple[Variant, ...] = (*MAILBOX, *REQUEST, *REGISTRY, *CONTROL, *VALUES)

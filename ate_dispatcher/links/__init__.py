"""Several machines: a dispatcher as one part of a logical one, over whatever carries messages."""

from __future__ import annotations

from .transport import Receiver, Transport
from .values import ValueType

__all__ = ["Receiver", "Transport", "ValueType"]

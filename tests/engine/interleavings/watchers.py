"""How a thread is stopped at the visible operations: by tracing, or by monitoring from 3.12 on.

There `sys.settrace` misses the first events of a function, and on 3.13.0 whole threads.
"""

from __future__ import annotations

import _thread
import sys
import types
from typing import Any, Callable, Dict, Iterator, Optional, Set

from .points import Points, codes_in
from .stage import Stage

__all__ = ["watcher_of"]

Trace = Callable[[Any, str, Any], Any]


class Tracer:
    """`sys.settrace` with opcode events, for CPython 3.8 to 3.11."""

    def __init__(self, points: Points) -> None:
        self.points = points

    def watch(self, stage: Stage, on: bool) -> None:
        sys.settrace(self._trace_of(stage) if on else None)

    def explores(self, stage: Stage) -> None:
        """What was called before is traced too: the loops that threads live in."""
        frames = sys._current_frames()
        for actor in stage.actors:
            frame: Any = frames.get(getattr(actor.thread, "ident", None) or 0)
            while frame is not None:
                local = self._local_of(stage, frame.f_code)
                if local is not None:
                    frame.f_trace_lines, frame.f_trace_opcodes = False, True
                    frame.f_trace = local
                frame = frame.f_back

    def close(self) -> None:
        """Threads that are over are traced no more."""

    def _trace_of(self, stage: Stage) -> Trace:
        locals_: Dict[types.CodeType, Optional[Trace]] = {}

        def trace(frame: Any, event: str, arg: Any) -> Optional[Trace]:
            if not stage.exploring:
                return None
            code = frame.f_code
            if code not in locals_:
                locals_[code] = self._local_of(stage, code)
            local = locals_[code]
            if local is not None:
                frame.f_trace_lines, frame.f_trace_opcodes = False, True
            return local

        return trace

    def _local_of(self, stage: Stage, code: types.CodeType) -> Optional[Trace]:
        offsets, point = self.points.of(code), stage.point
        if not offsets:
            return None

        def local(frame: Any, event: str, arg: Any) -> Trace:
            if event == "opcode" and frame.f_lasti in offsets:
                point()
            return local

        return local


class Monitor:
    """`sys.monitoring`, switched off for each instruction that is not visible."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self._api: Any = vars(sys)["monitoring"]
        self._tool = next(each for each in (4, 3) if self._api.get_tool(each) is None)
        self._stage: Optional[Stage] = None
        self._watched: Set[int] = set()
        self._api.use_tool_id(self._tool, "interleavings")
        self._api.register_callback(self._tool, self._api.events.INSTRUCTION, self._reached)
        for code in self._codes():
            if points.of(code):
                self._api.set_local_events(self._tool, code, self._api.events.INSTRUCTION)

    def watch(self, stage: Stage, on: bool) -> None:
        if stage is not self._stage:
            self._stage = stage
            self._watched = set()
        if on:
            self._watched.add(_thread.get_ident())
        else:
            self._watched.discard(_thread.get_ident())

    def explores(self, stage: Stage) -> None:
        """Whatever they are in the middle of is watched already."""

    def close(self) -> None:
        """The code is as fast as it was."""
        for code in self._codes():
            self._api.set_local_events(self._tool, code, 0)
        self._api.register_callback(self._tool, self._api.events.INSTRUCTION, None)
        self._api.free_tool_id(self._tool)

    def _codes(self) -> Iterator[types.CodeType]:
        """All that the modules with points define, as it is now."""
        seen: Set[int] = set()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or not self.points.has(file):
                continue
            for value in list(vars(module).values()):
                for each in (value, *(vars(value).values() if isinstance(value, type) else ())):
                    function = getattr(each, "fget", None) or getattr(each, "__func__", each)
                    if isinstance(function, types.FunctionType):
                        for code in codes_in(function.__code__):
                            if id(code) not in seen:
                                seen.add(id(code))
                                yield code

    def _reached(self, code: types.CodeType, offset: int) -> Any:
        if offset not in self.points.of(code):
            return self._api.DISABLE
        if self._stage is not None and _thread.get_ident() in self._watched:
            self._stage.point()
        return None


def watcher_of(points: Points) -> Any:
    """The right one for this Python."""
    return Monitor(points) if hasattr(sys, "monitoring") else Tracer(points)

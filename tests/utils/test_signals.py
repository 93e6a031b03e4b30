"""A signal that comes while the handling of signals itself begins or ends leaves nothing of it behind."""

from __future__ import annotations

import signal
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from crystallize.utils import signals

if TYPE_CHECKING:
    from collections.abc import Callable


def _interrupting(function: str, instruction: int) -> Callable[..., Any]:
    """Return a tracer that raises ``KeyboardInterrupt`` at the n-th instruction of a function of that module."""
    instructions = count()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if (frame.f_code.co_filename, frame.f_code.co_name) != (signals.__file__, function):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(instructions) == instruction:
            raise KeyboardInterrupt(instruction)
        return trace

    return trace


@pytest.mark.parametrize("function", ["begin", "end"])
def test_ctrl_c_at_each_instruction_restores_what_was_there(function: str) -> None:
    report, tracer = sys.unraisablehook, sys.gettrace()
    for instruction in count():
        sys.settrace(_interrupting(function, instruction))
        try:
            with signals.termination_ends_the_run():
                pass
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
        finally:
            sys.settrace(tracer)
        assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == (signal.SIG_DFL, report), instruction
        with signals.termination_ends_the_run():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, instruction
        if not interrupted:
            break
    assert instruction > 10

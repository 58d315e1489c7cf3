"""The lifecycle: `decide(current, notification, windows)` says what one callback does, and why.

Pure: no clock, no I/O, no logging; what it knows is handed in, what it decides is handed back. The tables
are in `tables`; each kind of entity has its file beside it; `memory` makes order and repetition harmless.
"""

from receiver.lifecycle.context import Current, DelayedContext
from receiver.lifecycle.decide import decide
from receiver.lifecycle.ordering_marks import Windows

__all__ = ["Current", "DelayedContext", "Windows", "decide"]

"""The lifecycle: `decide(current, notification, windows)` says what one callback does, and why.

Pure: no clock, no I/O, no logging; what it knows is handed in, what it decides is handed back. The tables
are in `tables`; each kind of entity has its file beside it; `memory` makes order and repetition harmless.
"""

from receiver.lifecycle.current import Current, Held
from receiver.lifecycle.decide import decide
from receiver.lifecycle.memory import Windows

__all__ = ["Current", "Held", "Windows", "decide"]

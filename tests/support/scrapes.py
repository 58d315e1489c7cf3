"""The figures of a receiver in another process, as /metrics shows them."""

from __future__ import annotations

from collections import Counter

PREFIX = "esc_receiver_"


def figures(text: str) -> Counter[str]:
    """Each figure by name and labels, `mode{mode="direct"}`, and the sum of each by name alone, both without PREFIX."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith(PREFIX):
            name, value = line.removeprefix(PREFIX).rsplit(" ", 1)
            for key in {name, name.partition("{")[0]}:
                found[key] += float(value)  # type: ignore[assignment]  # a Counter counts whatever can be added
    return found

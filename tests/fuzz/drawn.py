"""Inputs by the million, drawn from a seed without a look at coverage: twenty times as quick, and on every platform.

    python -m tests.fuzz.drawn TARGET FOLDER RUNS SECONDS SEED BYTES_MAX

Each is made of what FOLDER holds (what atheris kept because it reached new code, and the seeds): cut, spliced, and
changed in a few bytes. It prints how many were tried; one that breaks the property is written to `FOLDER/broken`, and
ends it with exit status 1.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.targets import BROKEN, TARGETS, Target

CHANGES_MAX = 6
LOOK_AT_CLOCK_EVERY = 256


def inputs(begun: Sequence[bytes], bytes_max: int, chance: random.Random) -> Iterator[bytes]:
    """Without end."""
    while True:
        data = bytearray(_piece(begun, chance))
        for _ in range(chance.randrange(CHANGES_MAX)):
            _change(data, begun, chance)
        yield bytes(data[:bytes_max])


def _piece(begun: Sequence[bytes], chance: random.Random) -> bytes:
    if not begun or chance.random() < 0.3:
        return chance.randbytes(chance.randrange(1, 48))
    one = begun[int(chance.random() * len(begun))]
    return one if chance.random() < 0.5 else one[: int(chance.random() * len(one)) + 1]


def _change(data: bytearray, begun: Sequence[bytes], chance: random.Random) -> None:
    at = int(chance.random() * (len(data) + 1))
    match int(chance.random() * 5):
        case 0:
            data[at : at + 1] = chance.randbytes(1)
        case 1:
            data[at:at] = chance.randbytes(int(chance.random() * 4) + 1)
        case 2:
            del data[at : at + int(chance.random() * 8) + 1]
        case 3:
            data[at:at] = data[at : at + int(chance.random() * 16) + 1]
        case _:
            other = _piece(begun, chance)
            start = int(chance.random() * len(other))
            data[at:at] = other[start : start + int(chance.random() * 32) + 1]


def run(
    target: Target, begun: Sequence[bytes], runs: int, seconds: float, seed: int, bytes_max: int
) -> tuple[int, bytes | None]:
    """How many were tried, and the one that broke the property, if any."""
    until = time.monotonic() + seconds
    count = 0
    for data in itertools.islice(inputs(begun, bytes_max, random.Random(seed)), runs):
        count += 1
        try:
            target.holds(data)
        except Exception:  # noqa: BLE001 - whatever it is, the property does not hold
            traceback.print_exc()
            return count, data
        if count % LOOK_AT_CLOCK_EVERY == 0 and time.monotonic() > until:
            break
    return count, None


def main() -> None:
    """Draw until it is enough."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    runs, seconds, seed, bytes_max = map(int, sys.argv[3:])
    target = TARGETS[name]
    kept = [path.read_bytes() for path in sorted((folder / name).glob("*"))]
    count, broken = run(target, [*target.seeds(), *kept], runs, seconds, seed, bytes_max)
    if broken is not None:
        (folder / BROKEN).mkdir(parents=True, exist_ok=True)
        (folder / BROKEN / f"{name}-drawn-{seed}-{count}").write_bytes(broken)
    sys.stdout.write(f"Done {count} runs, seed {seed}\n")
    sys.exit(broken is not None)


if __name__ == "__main__":
    main()

"""The number of workers as it is written: a number, or `auto`, which is kept as 0. Must not know processors."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

AUTO: Final = 0
WORKERS_MAX: Final = 256


def _read(value: Any) -> Any:
    return AUTO if value == "auto" else value


WorkerNumber = Annotated[int, BeforeValidator(_read), Field(ge=0, le=WORKERS_MAX)]

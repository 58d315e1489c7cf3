"""The operations of the ESC document: method, path, answers with their reasons, parameters, as its text prints them.

`tests/lab/northbound_tables.txt` holds the lines of the document (version 2.2.0) that say so, word for word, each after
its number: headings of operations, tables of answers, rows of header and query parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TABLES = Path(__file__).parents[1] / "lab" / "northbound_tables.txt"
_METHOD = "GET|POST|PUT|DELETE"
_MARKUP = re.compile(r"<input[^>]*value=\"([^\"]*)\"[^>]*>|</?[a-zA-Z][^>]*>|\*\*")
_HEAD = re.compile(rf"(?:###? )?({_METHOD})\s+(/\S+)")
_ANSWER = re.compile(r"(\d{3}|default)\t([^\t]+)")
_CONTINUED = re.compile(r"\t([^\t]+)\t*")
_NAMES = "Callback|Callback-ESC-Events|Client-Transaction-Id|internalNetworkId|internalTenantId|generatedVMName"
_PARAMETER = re.compile(rf"({_NAMES})\t([^\t]*)")


@dataclass(slots=True)
class Printed:
    """One operation as printed."""

    method: str
    path: str
    line: int
    answers: dict[int, str] = field(default_factory=dict)
    """Of a table; none where the document prints none."""
    parameters: dict[str, bool] = field(default_factory=dict)
    """Whether they are required, by name."""
    has_response_class: bool = False


def lines() -> Iterator[tuple[int, str]]:
    """Number and text of each line that is kept."""
    for line in TABLES.read_text("utf-8").splitlines():
        number, _, text = line.partition("|")
        yield int(number), text


def operations() -> list[Printed]:
    """All of them, in the order of the document."""
    found: list[Printed] = []
    method = ""
    last = 0
    for number, text in lines():
        plain = _MARKUP.sub(lambda hit: hit[1] or "", text).replace("\\_", "_").rstrip()
        if head := _HEAD.match(plain):
            found.append(Printed(head[1], head[2], number))
        elif re.fullmatch(_METHOD, plain):
            method = plain
        elif method and plain.startswith("/"):
            found.append(Printed(method, plain.split()[0], number))
            method = ""
        elif "Response Class (Status 200)" in plain:
            found[-1].has_response_class = True
        elif answer := _ANSWER.match(plain):
            last = 200 if answer[1] == "default" else int(answer[1])
            found[-1].answers[last] = answer[2].strip()
        elif more := _CONTINUED.fullmatch(plain):
            found[-1].answers[last] += f" {more[1].strip()}"
        elif parameter := _PARAMETER.match(plain):
            found[-1].parameters[parameter[1]] = "required" in parameter[2]
    return found

"""Citations: what code, tests and pages cite stands in the repository, and every link into a page finds its place.

Code cites a page as `docs/FILE.md` or `docs/FILE.md#anchor`; more anchors of the same page follow as `, #anchor`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "receiver", "client", "esc_lab",
    "chaos", "benchmarks", "tools", "tests", "migrations", "docs", "dashboards", "packaging",
)  # fmt: skip
SUFFIXES = {".py", ".md", ".sql", ".js", ".sh", ".toml", ".yml", ".service"}
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))] + sorted(ROOT.glob("*"))
TEXTS = {
    path: path.read_text("utf-8")
    for path in FILES
    if path.suffix in SUFFIXES and path.is_file() and "vendor" not in path.parts and path != Path(__file__)
}
CITATION = re.compile(r"\bdocs/([\w./-]+\.md)((?:#[\w.-]*\w)?(?:, #[\w.-]*\w)*)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
TAGS = r"(?<![\w#-])(?:S \d\d|[NU]\d\d|R2\d|RN10|A52|A60|U58m|Y14|NS14|C-NSO|C-NFV|C-NFVIS)(?![\w-])"
OLD = re.compile(
    rf"\b(?:reference|design),?:? (?:section|trap|promise)s? \d|\b(?:reference|design) \d|(?<![#\w-])trap \d"
    rf"|of the (?:callback )?reference\b|\bdesign (?:section|promise)|{TAGS}",
    re.IGNORECASE,
)


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    text = re.sub(r"<[^>]+>|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    """Every place in a page that can be linked to."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8"))
    found = re.findall(r'<a id="([^"]+)"', text)
    assert len(found) == len(set(found)), f"{page} has an anchor twice"
    return frozenset(found) | {slug(heading) for heading in re.findall(r"(?m)^#+ (.*)$", text)}


def resolves(page: Path, anchor: str) -> bool:
    """Whether the file exists and has this place."""
    return page.exists() and (not anchor or page.suffix != ".md" or anchor in anchors(page))


def comments(text: str) -> Iterator[str]:
    """The comments and docstrings of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(docstring))):
                yield docstring


def test_every_citation_finds_its_page_and_place() -> None:
    """`docs/FILE.md#anchor`, wherever it stands."""
    lost = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path, text in TEXTS.items()
        for found in CITATION.finditer(text)
        for anchor in found[2].split(", ")
        if not resolves(ROOT / "docs" / found[1], anchor.lstrip("#"))
    ]
    assert lost == []


def test_every_link_between_pages_finds_its_place() -> None:
    """File and anchor, as seen from the page that links."""
    lost = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path, text in TEXTS.items()
        if path.suffix == ".md"
        for found in LINK.finditer(text)
        if not resolves((path.parent / found[1]).resolve() if found[1] else path, found[2] or "")
    ]
    assert lost == []


@pytest.mark.parametrize(
    "path", [path for path in TEXTS if path.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_comment_cites_what_is_not_in_the_repository(path: Path) -> None:
    """No "reference 6.3", "design section 6", "trap 1" or bare source tag: a reader could not look it up."""
    assert [found[0] for text in comments(TEXTS[path]) for found in OLD.finditer(text)] == []


def test_the_pages_explain_the_sources_they_name() -> None:
    """A page that names a source of what is known of ESC links to it; only the page of sources names them bare."""
    pages = {path: text for path, text in TEXTS.items() if path.suffix == ".md" and path.name != "esc-callbacks.md"}
    linked = {path: re.sub(r"\[[^]]*\]\([^)]*\)|`[^`]*`", "", text) for path, text in pages.items()}
    assert {str(path): found[0] for path, text in linked.items() for found in re.finditer(TAGS, text)} == {}


def test_what_people_read_names_no_source_of_a_page() -> None:
    """Reasons in the ledger, answers and messages stand alone: a code of a page's bibliography says nothing there."""
    named = {
        f"{path.relative_to(ROOT)}: {string}": found[0]
        for path, text in TEXTS.items()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "receiver")
        for string in spoken(ast.parse(text))
        for found in re.finditer(TAGS, string)
    }
    assert named == {}


def spoken(tree: ast.Module) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    written = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in written:
                yield text

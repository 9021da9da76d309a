"""Reading the project's Markdown: fenced blocks with their line numbers, and links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/design.md",
    "docs/benchmarks.md",
    "docs/claims.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "guides").glob("*.md")),
)

_FENCE = re.compile(r"^```(\w*)\s*$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its language, its text, and the number of its first line."""

    language: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    """Lists the fenced blocks of a page."""
    found, language, start, lines = [], None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if language is None:
            if fence:
                language, start, lines = fence.group(1), number + 1, []
        elif line.strip() == "```":
            found.append(Block(language, "\n".join(lines) + "\n", start))
            language = None
        else:
            lines.append(line)
    if language is not None:
        raise ValueError(f"The block that begins at line {start} never ends.")
    return found


def read_blocks(page: str, *languages: str) -> list[Block]:
    """Lists the blocks of a page in some languages."""
    return [b for b in blocks((ROOT / page).read_text("utf-8")) if b.language in languages]


def commands(block: Block) -> list[str]:
    """Lists the commands of a shell block, continuation lines joined, comments dropped."""
    joined = block.text.replace("\\\n", " ")
    lines = (re.sub(r"\s#\s.*$", "", line).strip() for line in joined.splitlines())
    return [
        command.strip()
        for line in lines
        if line and not line.startswith("#")
        for command in line.removeprefix("$ ").split("&&")
    ]


def links(text: str) -> list[str]:
    """Lists the targets of a page's links that lie in the repository, without anchors."""
    outside = ("http://", "https://", "mailto:", "#")
    targets = (match.group(1) for match in _LINK.finditer(text))
    return [target.split("#")[0] for target in targets if not target.startswith(outside)]

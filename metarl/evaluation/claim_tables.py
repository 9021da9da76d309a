"""Claims as Markdown: the README's short table, and the page of all of them."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from metarl.core.errors import ConfigError
from metarl.evaluation.claims import Claim

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
"""What stands before and after the generated part of a file."""

_SHORT = ("Claim", "Measured [95%]", "Threshold", "Status")
_LONG = (*_SHORT, "Published", "Seeds", "Time", "Hardware", "Date", "Name")


def headline_table(claims: Sequence[Claim], folder: str = "docs/claims") -> str:
    """Returns the table of the headline claims, one short line each.

    Args:
      claims: all claims.
      folder: where their files are, seen from the file that holds the table.
    """
    rows = [_short_row(claim, folder) for claim in claims if claim.headline]
    return _table(_SHORT, rows)


def full_table(claims: Sequence[Claim], folder: str = "claims") -> str:
    """Returns the table of all claims with their newest measurement, failed ones included."""
    return _table(_LONG, [_long_row(claim, folder) for claim in claims])


def page(claims: Sequence[Claim], folder: str = "claims") -> str:
    """Returns the table of all claims, and below it what each of them measures."""
    lines = [_details(claim) for claim in claims]
    return "\n".join([full_table(claims, folder), "", "## What each claim measures", "", *lines])


def replace_marked(text: str, generated: str) -> str:
    """Replaces what stands between the two markers of a Markdown file.

    Raises:
      ConfigError: the markers are not there exactly once each, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ConfigError(f"The file must hold {BEGIN} and, after it, {END}, once each.")
    return f"{before}{BEGIN}\n{generated}\n{END}{after}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _short_row(claim: Claim, folder: str) -> tuple[str, ...]:
    file = PurePosixPath(folder) / f"{claim.name}.json"
    sign = {">=": "≥", "<=": "≤"}[claim.direction]
    subject = "interval " if claim.criterion == "interval" else ""
    threshold = f"{subject}{sign} {claim.threshold:g}"
    statement = f"[{_cell(claim.statement)}]({file})"
    if not claim.measured:
        return statement, "not measured", threshold, "not measured"
    last = claim.measured[-1]
    numbers = f"{_number(last.value)} [{_number(last.low)}, {_number(last.high)}]"
    return statement, numbers, threshold, f"**{last.status}**"


def _long_row(claim: Claim, folder: str) -> tuple[str, ...]:
    published = "" if claim.published is None else _cell(str(claim.published))
    row = (*_short_row(claim, folder), published)
    if not claim.measured:
        return *row, "", "", "", "", f"`{claim.name}`"
    last = claim.measured[-1]
    tail = (f"{last.seeds}", f"{last.wall_seconds:.0f} s", last.hardware, last.date)
    return *row, *map(_cell, tail), f"`{claim.name}`"


def _details(claim: Claim) -> str:
    note = claim.measured[-1].note if claim.measured else ""
    text = " ".join(x for x in (claim.details, claim.notes, note, f"Source: {claim.paper}.") if x)
    return f"- `{claim.name}`: {' '.join(text.split())}"


def _number(x: float | None) -> str:
    return "never" if x is None else f"{x:,.0f}" if abs(x) >= 1e4 else f"{x:.4g}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

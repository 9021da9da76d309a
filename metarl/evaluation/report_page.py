"""The HTML of a report: a style sheet and a few elements, which escape their text."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

_CSS = """
:root { --ink: #1f2328; --muted: #59636e; --line: #d8dee4; --wash: #f6f7f9; --accent: #b34a00; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.015em; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .75rem; padding-top: 1.1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .4rem; }
p { max-width: 44rem; margin: .6rem 0; overflow-wrap: break-word; }
.sub { color: var(--muted); margin: 0 0 1.8rem; }
.verdict { background: var(--wash); border-left: 4px solid var(--accent); padding: 1rem 1.25rem;
  border-radius: 0 6px 6px 0; }
.verdict p { max-width: none; }
.verdict .headline { font-size: 1.2rem; font-weight: 650; line-height: 1.4; margin-top: 0; }
.verdict p:last-child { margin-bottom: 0; }
figure { margin: 1.4rem 0; }
figure .scroll { margin: 0; }
figure img { display: block; width: 100%; max-width: 900px; height: auto; }
figcaption, .note { color: var(--muted); font-size: .88rem; max-width: 44rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem .9rem .38rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--muted); }
tr.group td { font-weight: 600; border-bottom: 0; padding-top: 1rem; }
tr.group span { font-weight: 400; color: var(--muted); }
.wide th, .wide td { white-space: nowrap; }
.better { color: #116329; } .worse { color: #a40e26; } .undecided { color: var(--muted); }
.facts { table-layout: auto; width: auto; min-width: min(26rem, 100%); }
.facts td:first-child { color: var(--muted); }
.facts td { overflow-wrap: anywhere; }
pre { background: var(--wash); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 40rem) { body { font-size: 16px; } main { padding-top: 1.5rem; }
  h1 { font-size: 1.6rem; } th, td { padding-right: .7rem; }
  figure img { width: auto; min-width: 40rem; } }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; } figure, tr, .verdict { break-inside: avoid; }
  figure img { min-width: 0; width: 100%; }
  .scroll { overflow: visible; } pre { white-space: pre-wrap; } }
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$css</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def escape(text: object) -> str:
    """Makes any value safe as HTML text and as a quoted attribute."""
    return html.escape(str(text), quote=True)


def page(title: str, body: Iterable[str]) -> str:
    """Wraps elements into a whole document; `title` is plain text."""
    return _PAGE.substitute(title=escape(title), css=_CSS, body="\n".join(body))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text with an optional class."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def figure(source: str, alt: str, caption: str = "") -> str:
    """An inlined picture; `source` is a `data:` URI."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    picture = f'<img src="{escape(source)}" alt="{escape(alt)}">'
    return f'<figure><div class="scroll">{picture}</div>{below}</figure>'


def facts(entries: Mapping[str, Any]) -> str:
    """A two-column table of names and values."""
    rows = (f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in entries.items())
    return f'<div class="scroll"><table class="facts">{"".join(rows)}</table></div>'


def code(text: str) -> str:
    """A block of commands."""
    return f"<pre>{escape(text)}</pre>"


def cells(values: Sequence[str], kinds: Sequence[str] = ()) -> str:
    """One table row of plain text, with a class a cell."""
    kinds = [*kinds, *[""] * (len(values) - len(kinds))]
    row = "".join(f"<td{_class(k)}>{escape(v)}</td>" for v, k in zip(values, kinds, strict=True))
    return f"<tr>{row}</tr>"


def group(text: str, note: str, columns: int) -> str:
    """A table row that names the rows below it."""
    text = f"{escape(text)} <span>{escape(note)}</span>"
    return f'<tr class="group"><td colspan="{columns}">{text}</td></tr>'


def table(header: Sequence[str], rows: Iterable[str]) -> str:
    """A table of rows made by `cells` and `group`; it scrolls sideways on a narrow screen."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return (
        f'<div class="scroll"><table class="wide"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flattens a nested config to dotted names, as the command line spells them."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[f"{prefix}{name}"] = text
    return flat


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""

"""Samples the mutants of `scripts/mutants.json`: single-expression changes of the core.

  .venv/bin/python scripts/mutation_sites.py

Writes 12 mutants for each room, stratified over kinds, files and functions. Within a stratum the
order is a hash of the mutant and a seed, so no mutant is selected by hand, and a change of one
function does not reorder the others. Mutants under `equivalent` are left out: no test on CPU can
distinguish them from the original, for the reason given with each. A mutant is identified by its
file, function and source lines; line numbers do not count.
"""

import ast
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, chain, cycle, islice, pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutants import ROOMS, ROOT, TABLE, Mutant, functions

SEED = 0
EACH = 12
"""Mutants per room."""
UNTOUCHED = {
    "kernels/lopt_update/arg_specs.py": "shapes of tests and benchmarks",
    "kernels/lopt_update/config.py": "block sizes, which change no result",
}
"""Files without mutants, and why."""
KINDS = (
    *("sign", "stop-gradient", "index", "off by one", "swap"),
    *("product", "axis", "compare", "where"),
)
OPERATORS = {
    ast.Add: ("sign", "+", "-"),
    ast.Sub: ("sign", "-", "+"),
    ast.Mult: ("product", "*", "/"),
    ast.Div: ("product", "/", "*"),
}
COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
SEQUENCES = (ast.List, ast.Tuple, ast.JoinedStr, ast.ListComp)
NOT_SWAPPED = (
    *("maximum", "minimum", "max", "min", "logical_and", "logical_or", "add", "multiply"),
    *("map", "scan", "fori_loop", "while_loop", "cond", "partial", "vmap", "eval_shape"),
    *("where", "isinstance", "getattr", "zip", "print"),
)
"""Functions that are commutative, or fail at once if two arguments are swapped."""
PERFORMANCE = ("unroll", "precision", "strict", "batch_size", "prevent_cse")
"""Keyword arguments that change no result on CPU."""


class _Text:
    """Source text addressed by byte offsets, the unit of `ast` columns."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        lines = self.bytes.splitlines(keepends=True)
        self._starts = [0, *accumulate(len(line) for line in lines)]

    def span(self, node: ast.AST) -> tuple[int, int]:
        first, last = self._starts[node.lineno - 1], self._starts[node.end_lineno - 1]
        return first + node.col_offset, last + node.end_col_offset

    def between(self, one: ast.AST, other: ast.AST) -> tuple[int, int]:
        return self.span(one)[1], self.span(other)[0]

    def __getitem__(self, span: tuple[int, int]) -> str:
        return self.bytes[slice(*span)].decode()

    def lines(self, span: tuple[int, int]) -> tuple[int, int]:
        """Extends a span to whole lines, without the final newline."""
        return self.bytes.rfind(b"\n", 0, span[0]) + 1, self.bytes.find(b"\n", span[1])


def sites(file: str) -> Iterator[Mutant]:
    """Yields every possible mutant of a file."""
    source = (ROOT / file).read_text()
    text = _Text(source)
    for name, function in functions(ast.parse(source)):
        body = text[text.span(function)]
        for node, role in _expressions(function, ""):
            for kind, span, new in _changes(text, node, role):
                lines = text.lines(span)
                before = text[lines]
                after = text[lines[0], span[0]] + new + text[span[1], lines[1]]
                mutant = Mutant(file, name, kind, before, after)
                if body.count(before) == 1 and before != after:
                    yield mutant


def _expressions(node: ast.AST, role: str) -> Iterator[tuple[ast.AST, str]]:
    """Yields nodes and roles (index, axis, negated, none); not messages, checks and types."""
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr)):
        return
    yield node, role
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef):
        children = node.body
    elif isinstance(node, ast.Lambda):
        children = [node.body]
    elif isinstance(node, ast.AnnAssign):
        children = [node.value] if node.value else []
    elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
        children = node.orelse
    for child in children:
        own = role
        if isinstance(child, ast.keyword):
            if child.arg in PERFORMANCE:
                continue
            own = "axis" if child.arg in ("axis", "axes") else role
        elif isinstance(node, ast.Subscript):
            own = "index" if child is node.slice else role
        elif isinstance(node, ast.Call):
            own = ""
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            own = role and f"-{role}"
        yield from _expressions(child, own)


def _changes(text: _Text, node: ast.AST, role: str) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yields the mutations of one node: kind, span and replacement."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        sides = [node.left, node.right, getattr(node.right, "left", None)]
        if not any(isinstance(side, SEQUENCES) for side in sides):
            kind, old, new = OPERATORS[type(node.op)]
            span = text.between(node.left, node.right)
            yield kind, span, text[span].replace(old, new, 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not role:
        start = text.span(node)[0]
        yield "sign", (start, start + 1), "+"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        down = role in ("index", "axis") and node.value > 0
        new = repr(node.value + (-1 if down else 1))
        yield role.strip("-") or "off by one", text.span(node), new
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        span = text.between(node.left, node.comparators[0])
        yield "compare", span, text[span].replace(*COMPARISONS[type(node.ops[0])], 1)
    elif isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name == "stop_gradient":
            yield "stop-gradient", text.span(node.func), ""
        elif name == "where" and len(node.args) == 3:
            yield "where", *_swapped(text, *node.args[1:])
        elif name not in NOT_SWAPPED and not any(isinstance(a, ast.Starred) for a in node.args):
            for one, other in pairwise(node.args):
                if type(one) is type(other) and not isinstance(one, (ast.Lambda, *SEQUENCES)):
                    yield "swap", *_swapped(text, one, other)


def _swapped(text: _Text, one: ast.AST, other: ast.AST) -> tuple[tuple[int, int], str]:
    first, last = text.span(one), text.span(other)
    return (first[0], last[1]), text[last] + text[first[1], last[0]] + text[first]


def sampled(room: str, equivalent: list[Mutant]) -> list[Mutant]:
    """Samples mutants of a room, kinds in turn, least used functions and files first."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / ROOMS[room]).rglob("*.py"))
    candidates: dict[str, list[Mutant]] = {kind: [] for kind in KINDS}
    for mutant in chain.from_iterable(sites(file) for file in files if file not in UNTOUCHED):
        if mutant not in equivalent:
            candidates[mutant.kind].append(mutant)
    used: Counter[str] = Counter()
    chosen: list[Mutant] = []
    for kind in islice(cycle(KINDS), EACH * len(KINDS)):
        if candidates[kind] and len(chosen) < EACH:
            mutant = min(
                candidates[kind], key=lambda m: (used[m.function], used[m.file], _order(m))
            )
            candidates[kind].remove(mutant)
            chosen.append(mutant)
            used.update((mutant.file, mutant.function))
    return chosen


def _order(mutant: Mutant) -> str:
    return hashlib.sha256(f"{SEED}{mutant.key}".encode()).hexdigest()


def main() -> None:
    equivalent = json.loads(TABLE.read_text())["equivalent"] if TABLE.exists() else []
    known = [Mutant(*(row[field] for field in Mutant._fields)) for row in equivalent]
    rows = [mutant._asdict() for room in ROOMS for mutant in sampled(room, known)]
    TABLE.write_text(json.dumps({"equivalent": equivalent, "mutants": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

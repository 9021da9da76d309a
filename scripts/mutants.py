"""The table of mutants, and the tests to run for each; see `mutation_score.py`."""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "scripts" / "mutants.json"
ROOMS = {
    "estimators": "metarl/estimators",
    "rl": "metarl/rl",
    "rules": "metarl/rules",
    "optimizers": "metarl/optimizers",
    "kernels": "kernels",
}


class Mutant(NamedTuple):
    """A change of one expression.

    Attributes:
      file: path from the root of the repository.
      function: name, with that of the class; for a nested function, that of the outermost.
      kind: of the mutation, such as sign or index.
      before: source lines, which occur once in the function.
      after: their replacement.
    """

    file: str
    function: str
    kind: str
    before: str
    after: str

    @property
    def room(self) -> str:
        """Room of the file."""
        return self.file.removeprefix("metarl/").split("/")[0]

    @property
    def module(self) -> str:
        """Import name of the file."""
        return "metarl." + self.file.removeprefix("metarl/").removesuffix(".py").replace("/", ".")

    @property
    def key(self) -> str:
        """Hash that identifies the mutant."""
        return hashlib.sha256("\0".join(self).encode()).hexdigest()[:12]


def mutants() -> list[Mutant]:
    """Returns the mutants of the table."""
    return [Mutant(**row) for row in json.loads(TABLE.read_text())["mutants"]]


def mutated(source: str, mutant: Mutant) -> str:
    """Returns the source of a file with the mutant applied.

    Raises:
      LookupError: the function does not contain the lines exactly once.
    """
    lines = source.splitlines(keepends=True)
    for name, node in functions(ast.parse(source)):
        body = "".join(lines[node.lineno - 1 : node.end_lineno])
        if name == mutant.function and body.count(mutant.before) == 1:
            head, tail = lines[: node.lineno - 1], lines[node.end_lineno :]
            return "".join([*head, body.replace(mutant.before, mutant.after), *tail])
    raise LookupError(f"{mutant.file}: {mutant.function} no longer contains {mutant.before!r}")


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yields functions and methods; not checks of arguments and special methods."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in inside:
            if isinstance(function, ast.FunctionDef):
                plain = not function.name.startswith(("__", "check", "_check"))
                if plain or function.name == "__call__":
                    owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                    yield owner + function.name, function


def test_files(mutant: Mutant, copy: Path, everything: bool) -> list[str]:
    """Returns the test files to run for a mutant, the most specific ones first."""
    graph = _imports(copy)
    hops, frontier = {mutant.module: 0}, {mutant.module}
    while frontier:
        frontier = {n for n, used in graph.items() if n not in hops and used & frontier}
        hops |= dict.fromkeys(frontier, max(hops.values()) + 1)
    ranked = []
    for path in (copy / "tests").rglob("test_*.py"):
        relative = path.relative_to(copy)
        near, distance = relative.parts[1] == mutant.room, hops.get(_module(relative), len(graph))
        if near or distance == 1 or everything:
            named = mutant.module.rpartition(".")[2].strip("_") in path.stem
            ranked.append((not near, distance, not named, path.stat().st_size, str(relative)))
    return [entry[-1] for entry in sorted(ranked)]


def _module(relative: Path) -> str:
    name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    return f"metarl.{name}" if name.startswith("kernels") else name


@cache
def _imports(copy: Path) -> dict[str, set[str]]:
    """Returns what each module of the library and of the tests imports."""
    graph = {}
    for folder in ("metarl", "kernels", "tests"):
        for path in (copy / folder).rglob("*.py"):
            names = graph.setdefault(_module(path.relative_to(copy)), set())
            package = _module(path.parent.relative_to(copy))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    origin = f"{package}.{node.module}" if node.level else node.module
                    names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
                elif isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
    return graph

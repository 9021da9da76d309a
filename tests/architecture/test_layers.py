"""A room imports core and lower rooms, never a sibling of its own level or a higher one."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {
    "core": 0,
    "kernels": 1,
    "envs": 1,
    "networks": 1,
    "rl": 1,
    "estimators": 1,
    "outer": 1,
    "io": 1,
    "tasks": 2,
    "rules": 2,
    "optimizers": 2,
    "inner": 3,
    "evaluation": 4,
    "problems": 5,
    "run": 6,
    "experiments": 6,
}
KERNEL_USERS = {"optimizers"}


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "metarl" else parts[0]


def imported_rooms(source: str) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "metarl" and len(parts) > 1 and parts[1] in LEVELS:
                rooms.add(parts[1])
    return rooms


def violations(room: str, source: str) -> set[str]:
    allowed = {other for other, level in LEVELS.items() if level < LEVELS[room]} | {room}
    if room == "kernels":
        return imported_rooms(source) - {"kernels"}  # they know jax only
    if room not in KERNEL_USERS | {"kernels"}:
        allowed.discard("kernels")
    return imported_rooms(source) - allowed


FILES = sorted(
    path
    for folder in ("metarl", "kernels", "experiments")
    for path in (ROOT / folder).rglob("*.py")
    if path.parent != ROOT / "metarl"
)


def test_every_file_lies_in_a_room():
    assert {room_of(path) for path in FILES} == set(LEVELS)


def test_imports_go_down():
    found = {path: violations(room_of(path), path.read_text()) for path in FILES}
    assert {path: rooms for path, rooms in found.items() if rooms} == {}


PROBLEMS = sorted(path.parent.name for path in ROOT.glob("metarl/problems/*/__init__.py"))


def problems_imported(source: str) -> set[str]:
    """Packages of particular problems that a source imports."""
    return set(re.findall(rf"metarl\.problems(?:\.| import .*\b)({'|'.join(PROBLEMS)})\b", source))


def test_no_room_imports_a_particular_problem():
    """Problems are found by name; only experiments, their presets, import their configs."""
    found = {}
    for path in FILES:
        parts = path.relative_to(ROOT).parts
        own = {parts[2]} if parts[:2] == ("metarl", "problems") else set()
        others = problems_imported(path.read_text()) - own
        if others and parts[0] != "experiments":
            found[path] = others
    assert found == {}


def test_the_check_sees_a_problem():
    assert problems_imported("from metarl.problems.drift.config import X") == {"drift"}
    assert problems_imported("from metarl.problems import registry, optimizer") == {"optimizer"}
    assert problems_imported("from metarl.problems import registry") == set()


def test_the_check_sees_a_violation():
    assert violations("envs", "from metarl.networks import x") == {"networks"}
    assert violations("core", "import metarl.envs.gymnax") == {"envs"}
    assert violations("inner", "def f():\n    from metarl import run") == {"run"}
    assert violations("evaluation", "from metarl.kernels import y") == {"kernels"}
    assert violations("kernels", "from metarl.core import y") == {"core"}
    assert violations("kernels", "from metarl.kernels.a import y") == set()


def test_every_package_is_installed():
    """A room that pyproject does not list would be missing from the wheel."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = set(settings["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("metarl/**/__init__.py")
    }
    found |= {
        "metarl." + ".".join(path.parent.relative_to(ROOT).parts)
        for folder in ("experiments", "kernels")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert listed == found


FORBIDDEN = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")


def forbidden(source):
    """Forbidden modules that a source imports, and forbidden functions that it calls."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found |= set(FORBIDDEN) & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"eval", "exec"}
    return found


def test_no_pickle_and_no_eval():
    found = {path: forbidden(path.read_text()) for path in FILES}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_check_sees_what_is_forbidden():
    assert forbidden("from pickle import loads") == {"pickle"}
    assert forbidden("import os, dill.session") == {"dill"}
    assert forbidden("eval('1')") == {"eval"}
    assert forbidden("model.eval()") == set()

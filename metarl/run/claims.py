"""`metarl claims`: what the project says that it reproduces, and measuring it again."""

import argparse
import platform
from pathlib import Path

import metarl
from metarl.core.errors import ConfigError, RunError
from metarl.evaluation import claim_tables
from metarl.evaluation import claims as registry
from metarl.evaluation.results import load_results
from metarl.io.atomic import atomic_write_text, describing_os_errors
from metarl.io.versions import collect_versions
from metarl.run.cli import resolve
from metarl.run.devices import describe
from metarl.run.parser import parse

_VERSIONS_KEPT = ("metarl", "jax", "python", "gymnax", "git_commit")


def folder() -> Path:
    """Where the claims lie: `docs/claims` of the repository.

    Raises:
      RunError: the library is installed without its repository.
    """
    path = Path(metarl.__file__).resolve().parent.parent / "docs" / "claims"
    if not path.is_dir():
        raise RunError(f"Claims come with the repository, not with the wheel: there is no {path}.")
    return path


def command(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl claims list | table | verify NAME`; 1 if a verified claim failed."""
    del overrides
    every = registry.load_claims(folder())
    if options.action == "table":
        return _tables(every, options.readme, options.page)
    if options.action == "list":
        for claim in every:
            print(f"{claim.name:<28} {_status(claim):<14} {claim.statement}")
        return 0
    return _verify(registry.find_claim(every, options.name), options)


def _tables(claims: list[registry.Claim], readme: str | None, page: str | None) -> int:
    if not readme and not page:
        print(claim_tables.full_table(claims))
    if readme:
        _write(readme, claim_tables.headline_table(claims))
    if page:
        _write(page, claim_tables.page(claims))
    return 0


def _write(file: str, generated: str) -> None:
    path = Path(file)
    with describing_os_errors("update the table", path):
        text = path.read_text(encoding="utf-8")
    atomic_write_text(path, claim_tables.replace_marked(text, generated))


def _status(claim: registry.Claim) -> str:
    return claim.measured[-1].status if claim.measured else "not measured"


def _verify(claim: registry.Claim, options: argparse.Namespace) -> int:
    print(f"{claim.statement}. {claim.details}")
    print(f"metarl {' '.join(claim.config['command'])}", flush=True)
    if options.results:
        results = load_results(options.results)
    else:
        results = []
        measuring, overrides = parse(claim.config["command"])
        if measuring.results is None:
            raise ConfigError(
                f"Claim {claim.name!r} is measured by `metarl {measuring.command}`, which cannot "
                "be run again here. Give its results: --results FILE."
            )
        for result in resolve(measuring.results)(measuring, overrides):
            results.append(result)
            print(f"  {result.env}: {result.seconds:.0f} s", flush=True)
    measured = registry.measure(claim, results, hardware=hardware(), versions=_versions())
    print(
        f"{measured.status}: {measured.value} [{measured.low}, {measured.high}], "
        f"threshold {claim.direction} {claim.threshold}, {measured.seeds} seeds"
    )
    if options.write:
        print(registry.save_claim(folder(), claim.with_measurement(measured)))
    return 0 if measured.status == "passed" else 1


def hardware() -> str:
    """One line: what this program runs on."""
    found = describe()
    if found["platform"] == "cpu":
        cores = found["cores"]
        return f"{cores} CPU core{'s' if cores > 1 else ''} ({platform.machine()})"
    return f"{found['devices']} x {found['device_kind']}"


def _versions() -> dict[str, str]:
    found = collect_versions()
    return {name: str(found[name]) for name in _VERSIONS_KEPT if found.get(name)}

"""Loss of nothing: real commands, killed for good at any moment and resumed to the same bits."""

import random
import signal
import time
from dataclasses import replace

import pytest

from metarl.evaluation.results import load_results
from metarl.run import cli

from .tiny import (
    TINY,
    arguments,
    check_same_meta_training,
    check_same_run,
    child,
    meta_train_in,
    new_run,
)

_PATIENCE = 120.0  # seconds; longer than any machine takes, shorter than the test's own limit


def _wait_for(condition, process):
    """Looks often enough to see a checkpoint while it is written."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert process.poll() is None, f"it ended by itself: {process.communicate()[0]}"
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.0005)


def _kill(process):
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    return output


def _saves_after(out, generation):
    folder = out / "checkpoints"

    def saves():
        names = [path.name for path in folder.glob("*.saving")]
        return any(int(name.split(".")[0]) > generation for name in names)

    return saves


def _stop_in_a_save(process, out, after):
    """Stops the process where a checkpoint is half written; tries again where it was quicker."""
    while True:
        _wait_for(_saves_after(out, after), process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if _saves_after(out, after)():
            return
        process.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_killed_in_a_checkpoint_and_in_the_evaluation(finished, tmp_path, capsys):
    out = tmp_path / "run"
    process = child("run", *arguments()[1:], "--out", out)
    _stop_in_a_save(process, out, after=1)
    # Another process may not touch the run meanwhile.
    assert cli.main(["resume", str(out)]) == 1
    assert f"is being written by another process (pid {process.pid})" in capsys.readouterr().err
    _kill(process)
    assert list((out / "checkpoints").glob("*.saving"))
    assert not list(out.glob("artifacts/*"))

    process = child("resume", out)
    _wait_for((out / "results.json").exists, process)
    shown = _kill(process)
    assert "resuming after generation" in shown
    (before,) = load_results(out / "results.json")

    capsys.readouterr()
    assert cli.main(["resume", str(out)]) == 0
    shown = capsys.readouterr().out
    check_same_run(out, finished)
    # What was measured before the kill was not measured again.
    first, second = load_results(out / "results.json")
    assert first.to_json() == before.to_json()
    assert "on 1 environment ..." in shown
    assert f"{second.env}: " in shown
    assert f"{first.env}: " not in shown


def test_resuming_a_finished_run_only_writes_its_report_again(finished, capsys):
    kept = ("metrics.jsonl", "results.json", "artifacts", "checkpoints", "config.json")
    files = [p for name in kept for p in [finished / name, *(finished / name).rglob("*")]]
    before = {p: p.read_bytes() for p in files if p.is_file()}
    (finished / "report.html").unlink()
    assert cli.main(["resume", str(finished)]) == 0
    shown = capsys.readouterr().out
    assert "comparing" not in shown
    assert "generation 6/6" not in shown
    assert (finished / "report.html").is_file()
    assert {p: p.read_bytes() for p in files if p.is_file()} == before


@pytest.mark.slow
def test_interrupted_by_a_person(tmp_path):
    out = tmp_path / "run"
    config = replace(TINY, outer=replace(TINY.outer, generations=100_000))
    process = child("run", *arguments(config)[1:], "--out", out)
    _wait_for(lambda: (out / "checkpoints" / "2").exists(), process)
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 130
    assert f"go on with: metarl resume {out}" in shown
    assert "metarl: interrupted" in shown
    assert "Traceback" not in shown


def _newest(run):
    return max(run.checkpoints().steps(), default=0)


@pytest.mark.slow
def test_killed_at_random(tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"delays of seed {seed}")
    delays = random.Random(seed)
    config = replace(TINY, outer=replace(TINY.outer, generations=40))
    reference = new_run(tmp_path / "reference", config)
    meta_train_in(reference, config)
    run = new_run(tmp_path / "run", config)
    for _ in range(6):
        start = _newest(run)
        if start == config.outer.generations:
            break
        process = child("resume", run.path)
        _wait_for(lambda start=start: _newest(run) > start, process)
        time.sleep(delays.uniform(0.0, 0.6))
        _kill(process)
    meta_train_in(run, config)
    check_same_meta_training(run.path, reference.path, config)
    assert [row["generation"] for row in run.metrics.rows()] == list(range(1, 41))


@pytest.mark.slow
def test_killed_in_every_checkpoint(tmp_path, finished):
    run = new_run(tmp_path / "run")
    for generation in range(TINY.outer.generations):
        process = child("resume", run.path)
        _wait_for(_saves_after(run.path, generation), process)
        _kill(process)
        assert len(run.checkpoints().steps()) <= TINY.loop.keep + 1
    meta_train_in(run)
    check_same_meta_training(run.path, finished)

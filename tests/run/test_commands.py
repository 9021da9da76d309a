"""The command line: what it prints, what it refuses, with which exit status."""

import importlib.metadata
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from metarl import envs
from metarl.core.mesh import Layout
from metarl.evaluation.results import EnvironmentResult, load_results
from metarl.io.runs import RunDirectory
from metarl.rules import registry
from metarl.run import cli, commands, experiments, overrides, parser

from .tiny import BANDIT, CATCH, TINY, arguments, last_state, meta_train_in, new_run
from .tiny import rows as metrics


def _main(*words):
    """The exit status, also of a parser that stops the program itself."""
    try:
        return cli.main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code


def _last_line(capsys):
    """The last line of what a refused command prints, which is on stderr and in no frame."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert not set("│╭╰─") & set(shown.err)
    return shown.err.splitlines()[-1]


def test_list_names_everything(capsys):
    assert _main("list") == 0
    shown = capsys.readouterr().out
    for name in experiments.names():
        assert all(preset in shown for preset in experiments.load(name).presets)
    for name in (*experiments.names(), *envs.registered(), *registry.HANDCRAFTED):
        assert name in shown.split() or f"{name}," in shown.split()
    assert all(name in shown for name in registry.pretrained())
    assert "metarl claims list" in shown


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["lop"], 1, "metarl: Unknown experiment 'lop'. Did you mean 'lpo'?"),
        (["lpo", "--preset", "quik"], 1, "Did you mean 'quick'?"),
        (["lpo", "--task.envs", "gymnax/CartPol"], 1, "Did you mean 'gymnax/CartPole-v1'?"),
        (["lpo", "--evaluation.envs", "Acrobot"], 1, "Did you mean 'gymnax/Acrobot-v1'?"),
        (["lpo", "--evaluation.rules", "ppo", "dop"], 1, "Did you mean 'dpo'?"),
        (
            ["lpo", "--evaluation.steps", "1"],
            1,
            "evaluation.steps=1 does not do for",
        ),
        (["lpo", "--outer.optimizer", "adm"], 1, "Did you mean 'adam'?"),
        (["lpo", "--outer.genertions", "3"], 2, "metarl: Unknown setting '--outer.genertions'."),
        (["lpo", "--outer.genertions", "3"], 2, "Did you mean '--outer.generations'?"),
        (["lpo", "--outer.genertions=3"], 2, "Did you mean '--outer.generations'?"),
        (["lpo", "--presett", "quick"], 2, "Did you mean '--preset'?"),
        (["lpo", "--nonsense.field", "1"], 2, "Every setting: metarl run lpo --settings"),
        (["lpo", "more"], 2, "Unexpected argument 'more'"),
        (["lpo", "--es.population", "-4"], 2, "population must be positive and finite, got -4"),
        (["lpo", "--es.population", "5"], 2, "population=5 is odd"),
        (["lpo", "--es.population", "four"], 2, "metarl: Error parsing --es.population: "),
        (["lpo", "--es.population", "four"], 2, "'four'"),
        (["lpo", "--learner.total-steps", "10"], 2, "total_steps=10 is less than one batch"),
        (["lpo", "--learner.schedule", "lineer"], 2, "invalid choice 'lineer'"),
        (["lpo", "--loop.log-every", "2"], 2, "loop.checkpoint_every=1 is not a multiple of"),
        (["lpo", "--seed", "4294967296"], 2, "seed must lie in"),
        ([], 2, "the following arguments are required: EXPERIMENT"),
    ],
)
def test_a_run_that_is_refused_leaves_nothing(
    tmp_path, monkeypatch, capsys, words, status, message
):
    monkeypatch.delattr(commands, "_advance")  # never reached
    out = tmp_path / "run"
    assert _main("run", *words, "--out", out) == status
    assert message in _last_line(capsys)
    assert not out.exists()


@pytest.mark.slow
def test_directories_that_are_refused(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for words, message in [
        (["run", *arguments()[1:], "--out", finished], f"To continue it: metarl resume {finished}"),
        (["run", *arguments()[1:], "--out", tmp_path / "file"], "(EEXIST)"),
        (["resume", tmp_path / "file"], f"There is no run directory {tmp_path / 'file'}"),
        (["resume", tmp_path / "folder"], "is not a run directory: it holds no run.json"),
        (["resume", tmp_path / "foldr"], "Did you mean 'folder'?"),
        (["report", tmp_path / "folder"], "is not a run directory"),
    ]:
        assert _main(*words) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("metarl: ")
        assert message in shown
        assert shown.count("\n") == 1
    assert (tmp_path / "file").read_text() == "x"


def test_the_version_is_the_packages(capsys):
    assert _main("--version") == 0
    assert capsys.readouterr().out == f"metarl {importlib.metadata.version('metarl')}\n"


def test_help_without_a_command_and_without_jax():
    code = "import sys; from metarl.run.cli import main; main([]); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: metarl")
    assert all(f"\n    {name} " in done.stdout for name in parser.command_parser().verbs())
    assert done.stdout.splitlines()[-1] == "False"


def test_every_command_names_functions_that_exist():
    for name, verb in parser.command_parser().verbs().items():
        assert callable(cli.resolve(verb.get_default("function"))), name
        results = verb.get_default("results")
        assert results is None or callable(cli.resolve(results)), name


def test_a_reader_that_leaves_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m metarl.run.cli list | true",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_words_that_are_refused(capsys):
    for words in (["rnu"], ["resume"], ["resume", "x", "--outer.generations", "3"]):
        assert _main(*words) == 2
        assert "usage: metarl" in capsys.readouterr().err


def test_settings_are_listed_with_their_defaults(capsys):
    assert _main("run", "lpo", "--settings") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    experiment = experiments.load("lpo")
    generations = experiment.presets[experiment.default].outer.generations
    assert f"--outer.generations INT outer steps. (default: {generations})" in shown


def test_errors_of_the_system_are_one_line(monkeypatch, capsys):
    def fail(options, overrides):
        raise PermissionError(13, "Permission denied", "/there")

    monkeypatch.setattr(commands, "list_everything", fail)
    assert _main("list") == 1
    assert capsys.readouterr().err == "metarl: [Errno 13] Permission denied: '/there'\n"


def test_an_interrupt_is_told(tmp_path, monkeypatch, capsys):
    run = new_run(tmp_path / "run")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("metarl.run.outer_loop.run_outer_loop", interrupt)
    assert _main("resume", run.path) == 130
    assert capsys.readouterr().err.splitlines() == [
        f"go on with: metarl resume {run.path}",
        "metarl: interrupted",
    ]


@pytest.mark.slow
def test_a_report_of_an_unfinished_run(tmp_path, capsys):
    config = replace(TINY, outer=replace(TINY.outer, generations=3))
    run = new_run(tmp_path / "run", config)
    meta_train_in(run, config)
    # As if the run had been planned longer: its last generation is missing.
    run.checkpoints().delete_after(2)
    run.metrics.truncate_after("generation", 2)
    before = sorted(p.name for p in run.path.iterdir())
    assert _main("report", run.path) == 0
    assert capsys.readouterr().out == f"after generation 2: {run.report}\n"
    page = run.report.read_text()
    assert "Stopped after generation 2 of 3." in page
    assert "There is no verdict" in page
    assert sorted(p.name for p in run.path.iterdir()) == sorted([*before, "report.html"])


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["ppo", "--env", "gymnax/Catch"], 1, f"Did you mean '{CATCH}'?"),
        (["pop", "--env", CATCH], 1, "Unknown rule 'pop'. Did you mean 'ppo'?"),
        (["./no.safetensors", "--env", CATCH], 1, "There is no artifact"),
        (["ppo", "--env", CATCH, "--seeds", "0"], 1, "seeds must be positive"),
        (["ppo", "--env", CATCH, "--seed", "-1"], 1, "seed must lie in"),
        (["ppo", "--env", CATCH, "--steps", "3"], 1, "total_steps=3 is less than one batch"),
        (["ppo", "--env", CATCH, "--json", "no/such/x.json"], 1, "there is no folder no/such"),
        (["ppo", "--env", CATCH, "--learner.gama", "1"], 2, "--learner.gamma"),
        (["ppo"], 2, "required: --env"),
    ],
)
def test_an_evaluation_that_is_refused(capsys, words, status, message):
    assert _main("eval", *words) == status
    assert message in _last_line(capsys)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["rnu"], 2, "metarl: error: unknown command 'rnu'. Did you mean 'run'?"),
        (["--versoin"], 2, "Did you mean '--version'?"),
        (["claims", "tabel"], 2, "unknown action 'tabel'. Did you mean 'table'?"),
        (["claims", "table", "--raedme", "x"], 2, "Did you mean '--readme'?"),
        (["claims", "table", "--readme", "no.md"], 1, "no.md: No such file"),
        (["score", "adam", "--family", "quadratic", "--stepz", "3"], 2, "Did you mean '--steps'?"),
        (["score", "adam", "--family", "quadratic", "--steps", "x"], 2, "invalid int value: 'x'"),
        (["score", "no.safetensors", "--family", "quadratic"], 1, "no artifact no.safetensors"),
        (["speed", "adm", "--family", "quadratic"], 1, "Did you mean 'adam'?"),
        (["envelope", "quadratic", "--out", "no/x.json"], 1, "there is no folder no"),
        (["cost", "lpo", "--horizonz", "2"], 2, "Did you mean '--horizons'?"),
        (["eval", "ppo", "--env", CATCH, "--sedes", "3"], 2, "Did you mean '--seeds'?"),
        (["list", "--all"], 2, "unrecognized arguments: --all"),
    ],
)
def test_the_last_line_of_a_refusal_is_its_message(capsys, words, status, message):
    assert _main(*words) == status
    line = _last_line(capsys)
    assert line.startswith("metarl")
    assert message in line


def test_a_frame_is_taken_off_in_every_terminal():
    for text in (
        "\x1b[31m╭─ Value error ─╮\x1b[0m\n│ Error: it is │\n│ four │\n│ ──── │\n│ Help │\n╰─╯\n",
        " Value error \n ------- \n  Error: it is \n  four\n ------ \n Help\n",
        "Error: it is four\n",
    ):
        assert overrides._unframed(text) == "Error: it is four"


def test_an_unknown_environment_is_refused_before_the_first_is_measured(capsys):
    assert _main("eval", "ppo", "--env", CATCH, "--env", "gymnax/Catsch-bsuite") == 1
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_evaluating_a_saved_rule(finished, tmp_path, monkeypatch, capsys):
    """All but the training itself, which the evaluation's own tests see to."""
    asked = {}

    def evaluate(env, candidates, seeds, key, layout):
        asked[env.name] = (candidates, seeds, layout, key)
        zeros = {name: np.full((seeds, 1), 0.5) for name in candidates}
        scores = {name: curve[:, 0] for name, curve in zeros.items()}
        return EnvironmentResult(env.name, np.array([512.0]), zeros, scores, seconds=2.0)

    monkeypatch.setattr(commands, "evaluate", evaluate)
    artifact = str(finished / "artifacts" / "lpo-catch.safetensors")
    file = tmp_path / "results.json"
    words = ["eval", artifact, "ppo", "--env", CATCH, "--env", BANDIT, "--env", CATCH]
    options = ["--steps", "512", "--seeds", "3", "--chunk", "2", "--json", file]
    learner = ["--learner.num-envs", "2", "--learner.network.hidden", "4"]
    assert _main(*words, *options, *learner) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{env}: {artifact} 0.5, ppo 0.5  (2s)" for env in (CATCH, BANDIT)
    ]
    assert [result.env for result in load_results(file)] == [CATCH, BANDIT]
    candidates, seeds, layout, key = asked[CATCH]
    weights = registry.load(artifact).theta
    which, thetas = candidates[artifact].theta
    for name, array in thetas[which].items():
        np.testing.assert_array_equal(array, weights[name])
    config = candidates["ppo"].learner.config
    assert (seeds, layout) == (3, Layout(devices=2, chunk=2))
    assert (config.total_steps, config.num_envs, config.network.hidden) == (512, 2, (4,))
    other = asked[BANDIT][-1]
    assert np.any(jax.random.key_data(key) != jax.random.key_data(other))


@pytest.mark.slow
def test_a_strategy_on_two_environments_from_start_to_report(tmp_path, capsys):
    out = tmp_path / "run"
    config = replace(
        TINY,
        task=replace(TINY.task, envs=(CATCH, BANDIT)),
        outer=replace(TINY.outer, optimizer="SNES", generations=6),
        evaluation=replace(TINY.evaluation, envs=()),
        loop=replace(TINY.loop, log_every=3, checkpoint_every=3),
    )
    assert _main(*arguments(config), "--out", out) == 0
    shown = capsys.readouterr().out
    assert "8 lifetimes of 3 updates a generation, 2 cpu device(s)" in shown
    assert all(f"generation {n}/6  best" in shown for n in range(1, 7))
    run = RunDirectory.open(out)
    rows = run.metrics.rows()
    assert [row["generation"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert set(row["fitness_by_env"]) == {CATCH, BANDIT}
        assert row["update_norm"] > 0
        mean = np.mean(list(row["fitness_by_env"].values()))
        # Float32 means of eight numbers of size one, which may cancel in part.
        np.testing.assert_allclose(row["fitness_mean"], mean, rtol=1e-5)
    assert {result.env: result.held_out for result in load_results(out / "results.json")} == {
        CATCH: False,
        BANDIT: False,
    }
    loaded = registry.load(out / "artifacts" / "lpo-catch-simplebandit.safetensors")
    assert np.any(loaded.theta["last"] != 0)
    page = (out / "report.html").read_text()
    assert "--outer.optimizer SNES" in page
    # The strategy's own state comes back from the disk to the bit too.
    before = metrics(out), last_state(out, config)
    run.checkpoints().delete_after(3)
    _, shown = meta_train_in(run, config)
    assert "resuming after generation 3" in shown
    assert (metrics(out), last_state(out, config)) == before

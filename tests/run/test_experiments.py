"""Experiments: their presets, their configs on disk, their command lines."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from metarl.core.errors import ConfigError, RunError, UsageError
from metarl.inner.ppo_config import PPOConfig
from metarl.networks.actor_critic import NetworkConfig
from metarl.run import experiments, parser
from metarl.run.build import build
from metarl.tasks.datasets import Dataset, registry

from .tiny import TINY

PRESETS = [
    pytest.param(name, preset, id=f"{name}-{preset}")
    for name in experiments.names()
    for preset in experiments.load(name).presets
]

CHANGED = replace(
    TINY,
    seed=7,
    learner=replace(
        TINY.learner,
        value_clip=0.2,
        max_grad_norm=None,
        normalize_observation=True,
        normalize_advantage=False,
        network=NetworkConfig(hidden=(), shared_torso=False, channels=(16, 8)),
    ),
    rule=replace(TINY.rule, ppo_init=True, epsilon=0.1),
    evaluation=replace(TINY.evaluation, envs=(), rules=("ppo", "a folder/it's.safetensors")),
    loop=replace(TINY.loop, chunk=3, devices=1),
)


def _through_json(config):
    return json.loads(json.dumps(experiments.to_json(config)))


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_preset_survives_the_disk_and_the_command_line(name, preset):
    experiment = experiments.load(name)
    config = experiment.presets[preset]
    assert type(config) is experiment.kind
    assert experiments.from_json(_through_json(config), type(config)) == config
    line = experiments.command_line(experiment, config)
    assert line == f"metarl run {name}" + (
        f" --preset {preset}" if preset != experiment.default else ""
    )


@pytest.fixture
def _no_downloads(monkeypatch):
    """Data sets of the shapes of those that would be downloaded."""
    for name, shape in {"mnist": 28, "fashion_mnist": 28, "cifar10": 32}.items():
        images = np.zeros((2, shape, shape, 3 if name == "cifar10" else 1), np.uint8)
        classes = np.zeros(2, np.int32)
        made = Dataset(name, images, classes, images, classes, 10, 1 / 255)
        monkeypatch.setitem(registry.IMAGES, name, lambda made=made: made)
    registry.load.cache_clear()
    yield
    registry.load.cache_clear()


@pytest.mark.usefixtures("_no_downloads")
@pytest.mark.parametrize(("name", "preset"), PRESETS)
@pytest.mark.sampled(6)
def test_a_preset_builds(name, preset):
    config = experiments.load(name).presets[preset]
    held_out = getattr(config.evaluation, "envs", ())
    if any(env.startswith("brax/") for env in (*config.trained_on, *held_out)):
        pytest.skip("making brax environments is slow; the config itself was read above")
    assert build(config).config is config


def test_experiments_have_a_default_and_a_description():
    assert "lpo" in experiments.names()
    for name in experiments.names():
        experiment = experiments.load(name)
        assert experiment.default in experiment.presets
        assert experiment.description


@pytest.mark.parametrize("config", [TINY, CHANGED], ids=["tiny", "changed"])
def test_a_changed_config_survives_the_disk_and_the_command_line(config):
    assert experiments.from_json(_through_json(config), type(config)) == config
    experiment = experiments.load("lpo")
    line = experiments.command_line(experiment, config)
    options, overrides = parser.parse(shlex.split(line)[1:])
    assert options.experiment == "lpo"
    assert experiments.configure(experiment, options.preset, overrides) == config


def test_the_shortest_command_starts_from_the_nearest_preset():
    experiment = experiments.load("lpo")
    preset = experiment.presets["minatar"]
    near = replace(preset, outer=replace(preset.outer, generations=3))
    line = experiments.command_line(experiment, near)
    assert line == "metarl run lpo --preset minatar --outer.generations 3"


def _with(path, value):
    data = _through_json(TINY)
    *above, last = path.split(".")
    node = data
    for name in above:
        node = node[name]
    if value is _ABSENT:
        del node[last]
    else:
        node[last] = value
    return data


_ABSENT = object()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("learner.gama", 1.0, r"extra fields found \(gama\) @ \$\.learner"),
        ("learner.gamma", _ABSENT, "it has no learner.gamma"),
        ("loop", _ABSENT, "it has no loop.log-every"),
        ("learner.num_envs", "two", r"expected int @ \$\.learner\.num_envs"),
        ("learner.num_envs", 2.5, "learner.num-envs is 2.5, which was read as 2"),
        ("learner.num_envs", -3, "num_envs must be positive and finite, got -3"),
        ("learner", 3, r"\$\.learner"),
        ("es.shaping", "rank", r"@ \$\.es\.shaping"),
        ("task.envs", "ab", r"task.envs is 'ab', which was read as \['a', 'b'\]"),
        ("loop.log_every", 4, "loop.checkpoint_every=1 is not a multiple"),
    ],
)
def test_a_config_of_another_version_is_refused_in_words(path, value, message):
    with pytest.raises(RunError, match=f"cannot be read by this version: .*{message}"):
        experiments.from_json(_with(path, value), type(TINY))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown experiment 'lop'.*Did you mean 'lpo'"):
        experiments.load("lop")
    with pytest.raises(ConfigError, match=r"preset of lpo 'quik'.*Did you mean 'quick'"):
        experiments.configure(experiments.load("lpo"), "quik", [])


def test_an_override_reaches_a_nested_field():
    overrides = ["--learner.network.hidden", "8", "9", "--learner.total_steps", "1024"]
    config = experiments.configure(experiments.load("lpo"), None, overrides)
    assert config.learner.network.hidden == (8, 9)
    assert config.learner.total_steps == 1024
    assert config.learner.num_envs != PPOConfig().num_envs  # the rest is the preset's


@pytest.mark.parametrize(
    ("experiment", "old", "new"),
    [
        ("lpo", "--loop.look-every", "--loop.log-every"),
        ("lpo", "--outer.strategy", "--outer.optimizer"),
        ("lpg", "--backprop.lives.lives", "--backprop.unrolls.num-parallel"),
        ("lpg", "--backprop.lives.stagger", "--backprop.unrolls.stagger"),
        ("learned-optimizer", "--pairs.lives", "--pairs.num-parallel"),
        ("learned-optimizer", "--backprop.lives", "--backprop.num-parallel"),
    ],
)
def test_a_former_name_of_a_setting_is_answered_with_the_present_one(experiment, old, new):
    with pytest.raises(UsageError, match=f"'{old}' is called '{new}' now"):
        experiments.configure(experiments.load(experiment), None, [old, "2"])

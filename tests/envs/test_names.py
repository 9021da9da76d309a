"""Options in an environment's name."""

import pytest

from metarl.core.errors import ConfigError
from metarl.envs import make
from metarl.envs.names import base_name, options_in

POLE = "gymnax/CartPole-v1"


def test_values_are_read_as_what_they_look_like():
    read = options_in("x/y?a=3&b=-2.5e1&c=true&d=false&e=4x4&f=gravity,&g=-2,0,2.5&h=nan&i=a=b")
    expected = {"a": 3, "b": -25.0, "c": True, "d": False, "e": "4x4"}
    expected |= {"f": ("gravity",), "g": (-2, 0, 2.5), "h": "nan", "i": "a=b"}
    assert read == expected
    assert [type(value) for value in read.values()] == [type(v) for v in expected.values()]
    assert options_in("x/y") == {}
    assert base_name("x/y?a=3") == base_name("x/y") == "x/y"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{POLE}?", r"has '' where .*CartPole-v1\?option=value"),
        (f"{POLE}?gravity", "has 'gravity' where"),
        (f"{POLE}?gravity=", "has 'gravity=' where"),
        (f"{POLE}?=3", "has '=3' where"),
        (f"{POLE}?gravity=3&&length=2", "has '' where"),
        (f"{POLE}?gravity=3&gravity=4", "option 'gravity' twice"),
        (f"{POLE}?gravty=3", "'gravty'.*Did you mean 'gravity'"),
        (f"{POLE}?gravity=strong", "float32 of shape"),
        (f"{POLE}?max_steps_in_episode=2.5", "int32 of shape"),
        ("gymnax/DeepSea-bsuite?size=big", "'size' .* must be a whole number, got 'big'"),
        ("gymnax/DeepSea-bsuite?size=2.5", "must be a whole number, got 2.5"),
        ("gymnax/DeepSea-bsuite?size=true", "must be a whole number, got True"),
        ("brax/ant?backend=springy", "Did you mean 'spring'"),
        ("brax/ant?backend=3", "must be text, got 3"),
        ("brax/ant?episode_length=long", "must be a whole number, got 'long'"),
        ("brax/reacher?vary=gravity", "a tuple, .* even after a single entry, got 'gravity'"),
        ("gymnax/CartPol-v1?gravity=3", "'gymnax/CartPol-v1'.*Did you mean 'gymnax/CartPole-v1'"),
        ("chain/tabular_shorter?length=3", "Unknown"),
    ],
)
def test_what_cannot_be_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        make(name)


def test_the_same_option_twice_is_refused():
    with pytest.raises(ConfigError, match="'gravity', which is given beside it too"):
        make(f"{POLE}?gravity=3", gravity=4.0)


def test_options_reach_the_environment_and_stay_in_its_name():
    name = f"{POLE}?gravity=3&max_steps_in_episode=20"
    env = make(name, length=0.8)
    assert env.name == name
    params = env.default_params
    assert (params.gravity, params.max_steps_in_episode) == (3.0, 20)
    assert params.length == make(POLE, length=0.8).default_params.length
    assert make(POLE, length=0.8).name == POLE
    assert make("gymnax/DeepSea-bsuite?size=5").observation_space.shape == (5, 5)
    torque = make("gymnax/Acrobot-v1?available_torque=-2,0,2").default_params.available_torque
    assert torque.tolist() == [-2.0, 0.0, 2.0]


@pytest.mark.slow
def test_brax_options_by_name():
    env = make("brax/inverted_pendulum?backend=positional&episode_length=7&vary=gravity,")
    assert list(env.default_params) == ["gravity"]
    with pytest.raises(ConfigError, match=r"'reset_noise_scale' .* must be a number"):
        make("brax/ant?backend=spring&reset_noise_scale=loud")

"""What goes by an environment's registered name, whatever options follow it."""

from metarl.problems.agent_settings import settings_for
from metarl.run.finish import short_name


def test_settings_go_by_the_registered_name():
    pendulum = "gymnax/Pendulum-v1"
    assert settings_for(f"{pendulum}?g=1.0") == settings_for(pendulum)
    assert settings_for(pendulum) != settings_for("gymnax/CartPole-v1")


def test_artifacts_are_called_after_the_registered_name():
    assert short_name("gymnax/FrozenLake-misc?map_name=a/b-c") == "frozenlake"

"""Recording and overriding of kernel implementations."""

import jax
import jax.numpy as jnp
import pytest

from metarl import optimizers
from metarl.core.errors import ConfigError
from metarl.optimizers.kernel_choices import kernel_choices, override_kernels


def updates_of(tx):
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    return jax.eval_shape(lambda: tx.update(params, tx.init(params), params))


def learned(implementation):
    config = optimizers.MLPLoptConfig()
    theta = optimizers.mlp_lopt_init(config, jax.random.key(0))
    return optimizers.mlp_lopt(theta, config, implementation=implementation)


def test_of_programs_traced_inside():
    updates_of(learned("reference"))
    with kernel_choices() as none, kernel_choices() as also_none:
        pass
    with kernel_choices() as choices:
        updates_of(learned(None))
    assert none == also_none == {}
    assert choices == {"lopt_update": "cpu_blocks"}


def test_several_choices_are_all_recorded(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with kernel_choices() as choices:
        updates_of(learned("pallas_gpu"))
        updates_of(learned(None))
    assert choices == {"lopt_update": "pallas_gpu, reference"}


def test_an_unavailable_implementation_is_not_recorded():
    with kernel_choices() as choices, pytest.raises(ValueError, match="cannot run here"):
        updates_of(learned("pallas_gpu"))
    assert choices == {}


@pytest.mark.parametrize(("preferred", "chosen"), [("unfolded", "unfolded"), (None, "cpu_blocks")])
def test_programs_traced_inside_use_the_override(preferred, chosen):
    with kernel_choices() as choices, override_kernels(preferred):
        updates_of(learned(None))
    assert choices == {"lopt_update": chosen}


def test_a_named_implementation_is_not_overridden():
    with kernel_choices() as choices, override_kernels("unfolded"):
        updates_of(learned("reference"))
    assert choices == {"lopt_update": "reference"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("unfoldet", "Did you mean 'unfolded'"), ("pallas_tpu", "cannot run here"), ("", "Permitted")],
)
def test_an_unavailable_override_is_a_config_error(name, message, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(ConfigError, match=message), override_kernels(name):
        raise AssertionError("this is never reached")


def test_errors_of_the_programs_themselves_pass_through():
    with pytest.raises(KeyError), override_kernels("unfolded"):
        raise KeyError("of the program")

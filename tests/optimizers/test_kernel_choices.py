"""What was chosen for kernels, as a run records it."""

import jax
import jax.numpy as jnp
import pytest

from metarl import optimizers
from metarl.optimizers.kernel_choices import kernel_choices


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
    assert choices == {"lopt_update": "reference"}


def test_several_choices_are_all_told(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with kernel_choices() as choices:
        updates_of(learned("pallas_gpu"))
        updates_of(learned(None))
    assert choices == {"lopt_update": "pallas_gpu, reference"}


def test_what_cannot_run_is_not_told():
    with kernel_choices() as choices, pytest.raises(ValueError, match="cannot run here"):
        updates_of(learned("pallas_gpu"))
    assert choices == {}

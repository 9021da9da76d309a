"""Choice of the implementation of the update."""

import jax
import pytest
from metarl.kernels.lopt_update import (
    arg_specs,
    implementations,
    override_implementation,
    record_implementations,
)

from tests.kernels.test_lopt_update import draw, one_step, start


def chosen(implementation=None):
    """Returns the implementations recorded for one traced call."""
    case, spec = "velo", arg_specs.ArgSpec("", (2, 2))
    layers, p, g = draw(spec, case)
    with record_implementations() as names:
        jax.eval_shape(one_step(case, spec, implementation), layers, p, g[0], start(spec))
    return names


def test_an_override_applies_where_no_implementation_is_named():
    assert chosen() == {implementations()[0]}
    with override_implementation("unfolded"):
        assert chosen() == {"unfolded"}
        assert chosen("reference") == {"reference"}
        with override_implementation("reference"):
            assert chosen() == {"reference"}
        assert chosen() == {"unfolded"}
    assert chosen() == {implementations()[0]}


@pytest.mark.parametrize(
    ("name", "message"),
    [("unfoldet", r"Unknown implementation 'unfoldet'.*unfolded"), ("pallas_tpu", "cannot run")],
)
def test_an_unavailable_override_is_an_error(name, message, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with override_implementation("unfolded"):
        with pytest.raises(ValueError, match=message), override_implementation(name):
            raise AssertionError("this is never reached")
        assert chosen() == {"unfolded"}


def test_an_unknown_implementation_is_an_error():
    with pytest.raises(ValueError, match=r"Unknown implementation 'palas'.*reference"):
        chosen("palas")

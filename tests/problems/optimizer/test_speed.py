"""`metarl speed`: what it times, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.evaluation.metric import measure_metric
from metarl.evaluation.results import load_results
from metarl.problems.optimizer.names import by_name
from metarl.problems.optimizer.speed_targets import Networks, Work, benchmark_target, compiled
from metarl.run import cli

FAMILY = "quadratic?dimension=2"


def networks(shape, copies=1, in_place=False):
    """One tensor of ones, whose gradients are 0.01 and -0.01."""
    shape = (copies, *shape) if copies > 1 else shape
    signs = np.where(np.arange(np.prod(shape)) % 2, -1.0, 1.0).reshape(shape)
    return Networks({"w": jnp.ones(shape)}, {"w": jnp.float32(0.01 * signs)}, copies, in_place)


def program(work):
    return jax.make_jaxpr(work.step)(work.moving, work.given)


def test_optimizers_are_timed_beside_adam(tmp_path, capsys):
    path = tmp_path / "speed.json"
    words = ["speed", "lopt-digits", "--family", FAMILY, "--family", f"3*{FAMILY}"]
    assert cli.main([*words, "--repeats", "2", "--json", str(path)]) == 0
    one, three = load_results(path)
    assert (one.env, three.env) == (FAMILY, f"3*{FAMILY}")
    assert (one.settings["parameters"], three.settings["parameters"]) == (2, 6)
    for result in (one, three):
        assert result.rules == ("adam", "lopt-digits")
        assert all(x.shape == (2,) and np.all(x > 0) for x in result.scores.values())
    # What a claim makes of it: the longer of the two against the shorter, repetition by repetition.
    metric = {"kind": "ratio", "rule": "adam", "baseline": "lopt-digits", "env": FAMILY}
    found = measure_metric({**metric, "against": f"3*{FAMILY}"}, [one, three])
    ratios = one.scores["adam"] / three.scores["lopt-digits"]
    assert found.value == pytest.approx(np.sqrt(ratios.prod()))  # the mean of two, in logarithms
    assert "lopt-digits: " in capsys.readouterr().out


def test_names_of_every_kind_in_place(tmp_path, capsys):
    path = tmp_path / "speed.json"
    names = ["adafac_mlp_lopt?hidden=2@unfolded", "bytes:72", "flops:3200"]
    words = ["speed", *names, "--family", f"3*{FAMILY}", "--in-place", "--repeats", "2"]
    assert cli.main([*words, "--json", str(path)]) == 0
    (result,) = load_results(path)
    assert result.rules == ("adam", *names)
    assert result.settings["in_place"]
    assert all(np.all(x > 0) for x in result.scores.values())
    # 72 bytes a parameter: 9 numbers of 4 bytes are read, and written over
    metric = {"kind": "iqm", "rule": "bytes:72", "env": f"3*{FAMILY}", "of": "bytes"}
    assert measure_metric(metric, [result]).value == 36.0
    assert "bytes:72: " in (told := capsys.readouterr().out)
    assert "36.0 bytes a parameter" in told


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("copies", [1, 3])
def test_an_update_is_the_optimizers(in_place, copies):
    given = networks((2,), copies, in_place)
    work = benchmark_target("adam")(given)
    params, _ = jax.jit(work.step)(work.moving, work.given)
    # Adam's first step is the learning rate times g / (|g| + 1e-8): 1e-6 of it is the epsilon
    step = np.float32(1.0) - params["w"]
    np.testing.assert_allclose(step, 1e-3 * np.sign(given.grads["w"]), atol=1e-7)  # 2^-24 of 1


@pytest.mark.parametrize(("ending", "made"), [("", False), ("@unfolded", True)])
@pytest.mark.parametrize("in_place", [False, True])
def test_the_implementation_after_the_name_is_the_one_timed(ending, made, in_place):
    given = networks((3, 2), in_place=in_place)
    text = str(program(benchmark_target(f"adafac_mlp_lopt?hidden=5{ending}")(given)))
    assert ("f32[3,2,28]" in text) == made  # all channels of all elements
    assert "f32[28,5]" in text  # the option


@pytest.mark.parametrize(("name", "size", "floats"), [("bytes:72", 4, 36), ("bytes:10", 3, 4)])
def test_the_floor_of_memory_moves_as_much_as_it_says(name, size, floats):
    work = benchmark_target(name)(networks((size,)))
    assert work.moving.shape == (floats,)
    read_and_written = 2 * work.moving.nbytes
    assert work.scale * read_and_written == pytest.approx(float(name[6:]) * size)
    assert compiled(work).bytes == work.moving.nbytes  # in place, nothing beside it


@pytest.mark.parametrize(("size", "products"), [(2, 1), (210_000, 3)])
def test_the_floor_of_products_makes_as_many_operations_as_it_says(size, products):
    given = Networks({"w": jax.ShapeDtypeStruct((size,), jnp.float32)}, {})
    work = benchmark_target("flops:3200")(given)
    (loop,) = program(work).jaxpr.eqns
    assert loop.params["length"] == products
    assert str(loop.params["jaxpr"]).count("dot_general") == 1
    assert work.moving.shape == work.given.shape == (512, 512)
    assert work.scale * products * 2 * 512**3 == pytest.approx(3200 * size)
    np.testing.assert_array_equal(work.step(work.moving, work.given), work.moving)  # no overflow


@pytest.mark.parametrize("in_place", [False, True])
def test_what_is_overwritten_counts_once_and_goes_on(in_place):
    moving = jnp.zeros(1000)
    timed = compiled(Work(jnp.add, moving, jnp.ones(1000), in_place, scale=0.0))
    assert timed.bytes == (8000 if in_place else 12000)
    assert moving.is_deleted() == in_place
    assert timed.run() == 0.0  # what was deleted is not given again; seconds are scaled


def test_only_speed_takes_random_weights():
    with pytest.raises(ConfigError, match="Unknown optimizer 'adafac_mlp_lopt'"):
        by_name("adafac_mlp_lopt")
    with pytest.raises(ConfigError, match=r"Unknown optimizer 'adafac_mlp_lopt\?hidden=4'"):
        by_name("adafac_mlp_lopt?hidden=4")
    assert by_name("adafac_mlp_lopt", untrained=True).optimizer.name == "adafac_mlp_lopt_4"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["adm", "--family", FAMILY], "Did you mean 'adam'?"),
        (["adafac_mlp_lop?hidden=4", "--family", FAMILY], "Did you mean 'adafac_mlp_lopt'?"),
        (["adafac_mlp_lop", "--family", FAMILY], "Did you mean 'adafac_mlp_lopt'?"),
        (["mlp_lopt?hiden=4", "--family", FAMILY], "Did you mean 'hidden'?"),
        (["mlp_lopt?hidden=0", "--family", FAMILY], "hidden must be positive"),
        (["mlp_lopt?hidden=x", "--family", FAMILY], "must be a whole number, got 'x'"),
        (["mlp_lopt@unfoldet", "--family", FAMILY], "Did you mean 'unfolded'?"),
        (["mlp_lopt@pallas_tpu", "--family", FAMILY], "'pallas_tpu' of lopt_update cannot run"),
        (["mlp_lopt@", "--family", FAMILY], "Unknown optimizer 'mlp_lopt@'"),
        (["adam@unfolded", "--family", FAMILY], "'adam@unfolded': this optimizer has no kernel"),
        (["a@b/x.safetensors", "--family", FAMILY], "a@b/x.safetensors"),
        (["bytes:all", "--family", FAMILY], "'all' is no positive number"),
        (["flops:0", "--family", FAMILY], "'0' is no positive number"),
        (["adam", "--family", "quadratik"], "Did you mean 'quadratic'?"),
        (["adam", "--family", f"x*{FAMILY}"], "'x' is no number of networks"),
        (["adam", "--family", f"0*{FAMILY}"], "'0' is no number of networks"),
        (["adam", "--family", FAMILY, "--repeats", "0"], "repeats must be positive"),
        (["adam", "--family", FAMILY, "--json", "nowhere/x.json"], "there is no folder nowhere"),
    ],
)
def test_refused(words, message, capsys):
    assert cli.main(["speed", *words]) == 1
    assert message in capsys.readouterr().err

"""What every family keeps to, under its name; names, options and augmentations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import TaskDistribution
from metarl.core.errors import ConfigError
from metarl.tasks import datasets, families
from metarl.tasks.families.augment import RESCALINGS, cast, rescaled
from metarl.tasks.families.batches import _numbers
from metarl.tasks.family import TaskFamily

SMALL = "batch=4-8&evaluated=8"
TABLE = [
    "quadratic?dimension=3&noise=0.1-1.0",
    "function/ackley?rotate=true",
    f"mlp/digits?width=3-6&depth=1-2&{SMALL}",
    f"mu_mlp/mnist1d?width=3-6&depth=2&{SMALL}",
    f"autoencoder/digits?size=4&width=4-8&code=2-3&{SMALL}&rescale=tensor",
    f"conv/digits?width=2-4&{SMALL}&dtype=bfloat16",
    f"gru/arithmetic?width=4-8&length=6&{SMALL}",
    f"transformer/grammar?head=2-4&layers=1&length=6&{SMALL}&rescale=global&dtype=bfloat16",
]
NO_DOWNLOAD = {"digits", "mnist1d", "arithmetic", "grammar"}


@pytest.fixture(scope="module", params=TABLE)
def measured_family(request):
    """A family, and all that it does for a batch of keys, in one program."""
    family = families.make(request.param)

    def everything(key):
        task = family.sample(key)
        params = family.init(key, task)
        loss, gradient = jax.value_and_grad(family.loss)(params, key, task)
        scaled = family.normalize(loss, task)
        return task, params, loss, gradient, scaled, family.evaluate(params, key, task)

    return family, jax.jit(jax.vmap(everything))


@pytest.mark.sampled(2)
def test_tasks_differ_in_numbers_only_and_lanes_do_not_meet(measured_family):
    """Two tasks in one program give what each gives beside its own copy, to the bit, every time."""
    family, measure_tasks = measured_family
    first, second = jax.random.split(jax.random.key(2))
    both = jax.device_get(measure_tasks(jnp.stack([first, second])))
    again = jax.device_get(measure_tasks(jnp.stack([first, first])))
    swapped = jax.device_get(measure_tasks(jnp.stack([second, first])))
    for x, y, z in zip(*(jax.tree.leaves(t) for t in (both, again, swapped)), strict=True):
        np.testing.assert_array_equal(x[0], y[0])
        np.testing.assert_array_equal(y[0], y[1])
        np.testing.assert_array_equal(x, z[::-1])
    task, params, loss, gradient, scaled, evaluated = both
    assert any((x[0] != x[1]).any() for x in jax.tree.leaves(task))
    assert any((x[0] != x[1]).any() for x in jax.tree.leaves(params))
    assert (loss.dtype, loss.shape) == (np.float32, (2,))
    assert np.isfinite(loss).all()
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    for g, p in zip(jax.tree.leaves(gradient), jax.tree.leaves(params), strict=True):
        assert g.dtype == p.dtype
        assert np.isfinite(g.astype(np.float32)).all()
    assert any((g != 0).any() for g in jax.tree.leaves(gradient))
    # At the start nothing has been learned, which is about one on the common scale.
    assert ((scaled > 0.02) & (scaled < 4)).all()
    assert "loss" in evaluated
    assert all(np.isfinite(value).all() for value in evaluated.values())
    if family.multipliers is not None:
        one = jax.tree.map(lambda x: x[0], task)
        shapes = jax.eval_shape(family.multipliers, one)
        assert jax.tree.structure(shapes) == jax.tree.structure(params)
        assert all(x.shape == () for x in jax.tree.leaves(shapes))


def test_a_family_is_a_distribution_over_tasks(measured_family):
    family, _ = measured_family
    distribution: TaskDistribution = family
    assert isinstance(family, TaskFamily)
    assert family.name in TABLE
    assert callable(distribution.sample)


def test_tasks_mapped_are_tasks_looped():
    """One family without a vmap around it, as people use it alone."""
    family = families.make(TABLE[2])

    def loss(key):
        task = family.sample(key)
        return family.loss(family.init(key, task), key, task)

    keys = jax.random.split(jax.random.key(0), 4)
    alone = jax.jit(loss)
    looped = [float(alone(key)) for key in keys]
    # Sums of products in another order.
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(keys), looped, rtol=1e-6)


def test_a_reduced_batch_is_a_mean_over_its_first_examples():
    """With one example a batch of one is that example; losses of single ones, in NumPy's mean."""
    family = families.make("mlp/digits?width=4&batch=1-8&evaluated=8")
    key = jax.random.key(0)
    task = family.sample(key)
    params = family.init(key, task)
    loss = jax.jit(lambda n: family.loss(params, key, task._replace(batch=n)))
    means = [float(loss(jnp.int32(n))) for n in range(1, 9)]
    singles = np.diff(np.concatenate([[0.0], np.array(means) * np.arange(1, 9)]))
    data = datasets.load("digits")
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    chosen = np.asarray(_numbers(key, 8, len(data.train_targets)))
    x = data.train_inputs[chosen].reshape(8, -1) / 16
    hidden = np.maximum(x @ weights["hidden_0"]["kernel"] + weights["hidden_0"]["bias"], 0)
    logits = hidden @ weights["output"]["kernel"] + weights["output"]["bias"]
    log_sum = np.log(np.exp(logits).sum(1))
    expected = log_sum - logits[np.arange(8), data.train_targets[chosen]]
    # Differences of sums of up to eight losses of order 2, in float32.
    np.testing.assert_allclose(singles, expected, atol=64 * np.finfo(np.float32).eps * 16)


def test_every_example_is_as_likely():
    """Batches draw uniformly: a chi-squared statistic within five deviations of its mean."""
    drawn = np.asarray(_numbers(jax.random.key(0), 200_000, 1437))
    counts = np.bincount(drawn, minlength=1437)
    assert len(counts) == 1437
    expected = 200_000 / 1437
    statistic = np.sum((counts - expected) ** 2 / expected)
    assert abs(statistic - 1436) < 5 * np.sqrt(2 * 1436)
    # The largest bound, and the largest draw there is, stay below.
    assert int(_numbers(jax.random.key(1), 100_000, 1 << 22).max()) < 1 << 22


@pytest.mark.parametrize("kind", RESCALINGS)
@pytest.mark.sampled(1)
def test_rescaled_parameters_are_the_same_problem_in_other_units(kind):
    """q = p / units, dL/dq = units dL/dp, and the loss is the same."""
    plain = families.make("mlp/digits?width=3&batch=8&evaluated=8")
    family = rescaled(plain, RESCALINGS[kind], families.Span(0.01, 100.0))
    key = jax.random.key(0)

    @jax.jit
    def measure(key):
        task = family.sample(key)
        q = family.init(key, task)
        p = plain.init(key, task.task)
        return (
            task.units,
            (q, *jax.value_and_grad(family.loss)(q, key, task), family.evaluate(q, key, task)),
            (
                p,
                *jax.value_and_grad(plain.loss)(p, key, task.task),
                plain.evaluate(p, key, task.task),
            ),
        )

    units, (q, loss, slope, evaluated), (p, plain_loss, plain_slope, plain_evaluated) = measure(key)
    units = jax.tree.map(lambda unit, x: np.broadcast_to(unit, x.shape), units, p)
    for unit, a, b, c, d in zip(
        *map(jax.tree.leaves, (units, q, p, slope, plain_slope)), strict=True
    ):
        np.testing.assert_allclose(a * unit, b, rtol=1e-6)
        np.testing.assert_allclose(c, d * unit, rtol=1e-4, atol=1e-5 * np.abs(d * unit).max())
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
    np.testing.assert_allclose(evaluated["loss"], plain_evaluated["loss"], rtol=1e-5)
    different = {float(x) for unit in jax.tree.leaves(units) for x in unit.ravel()}
    assert len(different) == {"global": 1, "tensor": 4, "parameter": 64 * 3 + 3 + 30 + 10}[kind]
    assert 0.0099 < min(different) <= max(different) < 101


def test_cast_parameters_and_gradients():
    plain = families.make("mlp/digits?width=3&batch=8&evaluated=8")
    family = cast(plain, jnp.bfloat16)
    key = jax.random.key(0)
    task = plain.sample(key)
    params, exact = family.init(key, task), plain.init(key, task)
    loss, gradient = jax.jit(jax.value_and_grad(family.loss))(params, key, task)
    assert {x.dtype.name for x in jax.tree.leaves((params, gradient))} == {"bfloat16"}
    assert loss.dtype == jnp.float32
    # Eight bits of precision.
    np.testing.assert_allclose(loss, jax.jit(plain.loss)(exact, key, task), rtol=2**-7)


def test_multipliers_survive_other_units():
    family = families.make("mu_mlp/digits?width=5&depth=2&rescale=global")
    key = jax.random.key(0)
    task = jax.jit(family.sample)(key)
    assert float(family.multipliers(task)["hidden_1"]["kernel"]) == pytest.approx(1 / 5)


def test_names_are_those_of_what_can_be_made():
    names = families.names()
    assert len(names) == len(set(names))
    expected = {"quadratic"} | {f"function/{f}" for f in ("ackley", "beale", "rosenbrock")}
    expected |= {f"mlp/{d}" for d in ("digits", "mnist1d", "mnist", "fashion_mnist", "cifar10")}
    expected |= {"conv/cifar10", "mu_mlp/cifar10", "autoencoder/mnist", "gru/grammar"}
    assert expected <= set(names)
    assert "conv/mnist1d" not in names
    for name in names:
        if name.partition("/")[2] in NO_DOWNLOAD | {""} or name.startswith("function/"):
            assert families.make(name).name == name


def test_options_given_beside_the_name():
    family = families.make("mlp/digits?depth=2", width="3-4", batch=2, evaluated=4)
    assert family.name == "mlp/digits?depth=2"
    shapes = jax.eval_shape(lambda k: family.init(k, family.sample(k)), jax.random.key(0))
    assert shapes["hidden_1"]["kernel"].shape == (4, 4)


def test_images_of_another_size():
    family = families.make("mlp/digits?size=4&antialias=false&width=3")
    shapes = jax.eval_shape(lambda k: family.init(k, family.sample(k)), jax.random.key(0))
    assert shapes["hidden_0"]["kernel"].shape == (16, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlp/digit", "Unknown family 'mlp/digit'. Did you mean 'mlp/digits'"),
        ("mlp", "Unknown family 'mlp'"),
        ("mlp/digits?widht=3", "Unknown option 'widht' .* Did you mean 'width'"),
        ("mlp/digits?width=wide", "span is a number or two, such as 32 or 8-64, got 'wide'"),
        ("mlp/digits?width=8.5", "width must be whole numbers of at least 1, got 8.5-8.5"),
        ("mlp/digits?width=0", "width must be whole numbers"),
        ("mlp/digits?depth=1-11", "depth must be at most 10, got 11"),
        ("mlp/digits?batch=0.5-2", "batch must be whole numbers"),
        ("mlp/digits?evaluated=many", "must be a whole number, got 'many'"),
        ("mlp/digits?evaluated=0", "evaluated must be positive"),
        ("mlp/digits?activation=relu", "a tuple"),
        ("mlp/digits?activation=rely,", "Unknown activation 'rely'. Did you mean 'relu'"),
        ("mlp/digits?size=12", "sizes from 1 to 8, got 12"),
        ("mlp/digits?size=big", "must be a whole number, got 'big'"),
        ("mlp/digits?gray=true", "digits has no colours"),
        ("mlp/mnist1d?size=8", "Unknown option 'size' of mlp/mnist1d"),
        ("mlp/digits?rescale=all", "Unknown rescaling 'all'"),
        ("mlp/digits?rescale_by=0", "rescale_by must be positive"),
        ("mlp/digits?dtype=float8", "Unknown dtype 'float8'"),
        ("mu_mlp/digits?output_multiplier=0", "output_multiplier must be positive"),
        ("conv/digits?layers=0", r"layers must lie in \[1, 10\], got 0"),
        ("gru/arithmetic?length=0", "length must be at least 1"),
        ("gru/arithmetic?length=200000", "length must be below 165693 for the text 'arithmetic'"),
        ("transformer/grammar?heads=0", "heads must be positive"),
        ("quadratic?width=3", "Unknown option 'width' of quadratic"),
    ],
)
def test_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        families.make(name)


def test_the_same_option_twice_is_refused():
    with pytest.raises(ConfigError, match="'width', which is given beside it too"):
        families.make("mlp/digits?width=3", width=4)


def test_convolutions_need_images():
    from metarl.tasks.families.conv import ConvConfig, conv

    with pytest.raises(ConfigError, match=r"conv needs images, but mnist1d has inputs \(40,\)"):
        conv("conv", ConvConfig(), datasets.load("mnist1d"))

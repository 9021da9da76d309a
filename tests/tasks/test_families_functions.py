"""Quadratics and classic functions: values, minima, gradients and paths that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.tasks import families
from metarl.tasks.families.functions import FUNCTIONS, FunctionTask, optimum
from metarl.tasks.families.quadratic import sgd_iterate


def value(name, x):
    """The functions in float64 NumPy, as their collections print them."""
    x = np.asarray(x, np.float64)
    d = len(x)
    if name == "rosenbrock":
        return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (x[i] - 1) ** 2 for i in range(d - 1))
    if name == "ackley":
        root = np.sqrt(np.sum(x**2) / d)
        waves = np.sum(np.cos(2 * np.pi * x)) / d
        return -20 * np.exp(-0.2 * root) - np.exp(waves) + 20 + np.exp(1)
    if name == "rastrigin":
        return 10 * d + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))
    if name == "styblinski_tang":
        return np.sum(x**4 - 16 * x**2 + 5 * x) / 2
    if name == "griewank":
        return np.sum(x**2) / 4000 - np.prod(np.cos(x / np.sqrt(np.arange(1, d + 1)))) + 1
    if name == "levy":
        w = 1 + (x - 1) / 4
        middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
        last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
        return np.sin(np.pi * w[0]) ** 2 + middle.sum() + last
    if name == "beale":
        u, v = x
        return (1.5 - u + u * v) ** 2 + (2.25 - u + u * v**2) ** 2 + (2.625 - u + u * v**3) ** 2
    raise ValueError(name)


def slope(f, x, h):
    """Central differences in float64."""
    x = np.asarray(x, np.float64)
    steps = h * np.eye(len(x))
    return np.array([(f(x + step) - f(x - step)) / (2 * h) for step in steps])


def made_task(d, radius, rng):
    """A shift, and a rotation that NumPy made."""
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    shift = (0.2 * radius * rng.standard_normal(d)).astype(np.float32)
    return FunctionTask(shift, rotation, np.float32(1.0))


@pytest.fixture(scope="module", params=FUNCTIONS)
def function_and_slope(request):
    """A function's name, number of variables, and its compiled loss and gradient."""
    name = request.param
    d = 2 if name == "beale" else 3
    family = families.make(f"function/{name}", dimension=d)
    return name, d, jax.jit(lambda x, task: jax.value_and_grad(family.loss)({"x": x}, None, task))


def test_values_and_gradients(function_and_slope):
    """Of shifted and turned functions, at random points, in the coordinates of the task."""
    name, d, loss_and_gradient = function_and_slope
    rng = np.random.default_rng(4)
    radius = FUNCTIONS[name].radius
    least = value(name, [-2.9035340276] * d) if name == "styblinski_tang" else 0.0
    rounding = 16 * np.finfo(np.float32).eps
    for _ in range(8):
        task = made_task(d, radius, rng)
        x = (task.shift + rng.uniform(-radius, radius, d)).astype(np.float32)
        loss, gradient = jax.device_get(loss_and_gradient(x, task))

        def of_task(x, task=task):
            inside = task.rotation.astype(np.float64).T @ (x - task.shift.astype(np.float64))
            return value(name, inside) - least

        x = x.astype(np.float64)
        expected = slope(of_task, x, 1e-6 * radius)
        # The argument is rounded to float32, which the slope magnifies, and the sum is.
        argument = rounding * radius * np.abs(expected).sum()
        size = abs(of_task(x)) + (40 if name == "ackley" else 0) + abs(least)
        np.testing.assert_allclose(loss, of_task(x), rtol=0, atol=argument + rounding * size)
        curvature = max(
            np.abs(slope(of_task, x + step, 1e-5) - slope(of_task, x - step, 1e-5)).max() / 2e-3
            for step in 1e-3 * np.eye(d)
        )
        bound = rounding * (radius * curvature * d + np.abs(expected).max() * 4)
        np.testing.assert_allclose(gradient["x"], expected, rtol=1e-4, atol=4 * bound)


def test_minima_are_where_they_are_said_to_be(function_and_slope):
    """Zero loss and gradient there, and no lower value nearby; in float64 without our code too."""
    name, d, loss_and_gradient = function_and_slope
    which = FUNCTIONS[name]
    task = made_task(d, which.radius, np.random.default_rng(1))
    loss, gradient = loss_and_gradient(np.asarray(optimum(which, task)), task)
    # A float32 argument of size r is off by r * eps, where f is flat.
    assert abs(loss) < 1e-3
    assert np.isfinite(gradient["x"]).all()
    exact = np.broadcast_to(np.float64(which.minimiser), (d,))
    floor = which.minimum * d
    np.testing.assert_allclose(value(name, exact), floor, atol=1e-8)
    around = np.random.default_rng(0).normal(scale=0.1, size=(200, d))
    assert min(value(name, exact + step) for step in around) > floor
    assert np.abs(slope(lambda x: value(name, x), exact, 1e-6)).max() < 1e-4


def test_ackley_has_a_gradient_at_its_minimum():
    family = families.make("function/ackley", shift=0.0)
    task = family.sample(jax.random.key(0))
    gradient = jax.grad(family.loss)({"x": jnp.zeros(2)}, None, task)
    np.testing.assert_allclose(gradient["x"], 0.0, atol=1e-6)


def test_a_task_of_a_function():
    """A turned and shifted cube of starts, whose mean loss is one on the scale families share."""
    family = families.make("function/rastrigin?rotate=true", dimension=3, shift=0.3)

    def measure(key):
        task = family.sample(jax.random.key(5))
        x = family.init(key, task)["x"]
        loss = family.loss({"x": x}, key, task)
        evaluated = family.evaluate({"x": x}, key, task)
        return task, x, loss, evaluated, family.normalize(task.scale, task)

    keys = jax.random.split(jax.random.key(1), 4096)
    task, x, losses, evaluated, one = jax.device_get(jax.jit(jax.vmap(measure))(keys))
    rotation, shift = task.rotation[0].astype(np.float64), task.shift[0]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-5)
    assert np.abs(rotation - np.eye(3)).max() > 0.1
    assert np.abs(shift).max() > 0.1
    inside = (x - shift) @ rotation
    assert 5.1 < np.abs(inside).max() < 5.12 * (1 + 1e-5)
    np.testing.assert_allclose(evaluated["loss"], losses)
    np.testing.assert_allclose(evaluated["distance"], np.linalg.norm(x - shift, axis=1), rtol=1e-5)
    # The scale is the mean of 64 other starts.
    assert abs(losses.mean() - task.scale[0]) < 4 * losses.std() / 8
    assert (one == 1).all()


@pytest.fixture(scope="module")
def quadratics():
    family = families.make("quadratic?dimension=5&condition=10-1000&curvature=0.5-2&noise=0.3")
    keys = jax.random.split(jax.random.key(0), 64)

    def measure(key):
        task = family.sample(key)
        params = family.init(key, task)
        return (
            task,
            params["x"],
            family.evaluate(params, key, task),
            jax.grad(family.loss)(params, key, task)["x"],
        )

    return family, jax.device_get(jax.jit(jax.vmap(measure))(keys))


def test_quadratics_have_the_condition_that_was_drawn(quadratics):
    _, (task, *_) = quadratics
    identity = np.einsum("nij,nik->njk", task.rotation, task.rotation)
    np.testing.assert_allclose(identity, np.tile(np.eye(5), (64, 1, 1)), atol=1e-5)
    condition = task.curvature.max(1) / task.curvature.min(1)
    assert (condition > 9.99).all()
    assert (condition < 1001).all()
    # Log-uniform: mean and standard deviation of the logarithm, by four standard errors.
    logs = np.log10(condition)
    assert abs(logs.mean() - 2) < 4 * np.sqrt(1 / 3) / 8
    steps = np.diff(np.log(task.curvature), axis=1)
    np.testing.assert_allclose(steps, np.tile(steps[:, :1], (1, 4)), rtol=1e-3)
    assert ((task.curvature[:, 0] >= 0.5) & (task.curvature[:, 0] <= 2)).all()


def test_quadratic_values_and_noisy_gradients(quadratics):
    """Values by the matrix; the gradient's error has the stated deviation and no mean."""
    _, (task, x, evaluated, gradient) = quadratics
    rotation = task.rotation.astype(np.float64)
    matrix = np.einsum("nij,nj,nkj->nik", rotation, task.curvature, rotation)
    away = x.astype(np.float64) - task.optimum
    expected = 0.5 * np.einsum("ni,nij,nj->n", away, matrix, away)
    np.testing.assert_allclose(evaluated["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(evaluated["distance"], np.linalg.norm(away, axis=1), rtol=1e-5)
    error = (gradient - np.einsum("nij,nj->ni", matrix, away)) / 0.3
    assert abs(error.mean()) < 4 / np.sqrt(320)
    assert abs(error.var() - 1) < 4 * np.sqrt(2 / 320)


def test_steepest_descent_on_a_quadratic_is_known():
    """The closed form against the recursion in float64."""
    family = families.make("quadratic?dimension=4&condition=50")
    task = jax.jit(family.sample)(jax.random.key(2))
    start = jnp.array([1.0, -2.0, 0.5, 3.0])
    q, h, s = (np.asarray(x, np.float64) for x in task[:3])
    rate, x = 0.8 / h.max(), np.asarray(start, np.float64)
    for _ in range(7):
        x = x - rate * q @ (h * (q.T @ (x - s)))
    np.testing.assert_allclose(sgd_iterate(task, start, rate, 7), x, rtol=1e-5, atol=1e-6)
    assert np.linalg.norm(sgd_iterate(task, start, rate, 10_000) - s) < 1e-5


def test_a_quadratic_is_measured_by_its_mean_start():
    family = families.make("quadratic?dimension=3")
    task = family.sample(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 4096)
    losses = jax.jit(jax.vmap(lambda k: family.loss(family.init(k, task), k, task)))(keys)
    losses = np.asarray(losses)
    mean = float(losses.mean())
    error = float(losses.std() / 64 / mean)
    assert abs(float(family.normalize(jnp.float32(mean), task)) - 1) < 4 * error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("function/beale?dimension=3", "2 variables, so dimension cannot be 3"),
        ("function/levy?dimension=1", "at least 2"),
        ("function/levy?shift=-1", "shift must be positive"),
        ("function/rosenbrok", "Did you mean 'function/rosenbrock'"),
        ("quadratic?dimension=0", "dimension must be positive"),
        ("quadratic?condition=0", "condition must be positive"),
        ("quadratic?noise=-0.1", "span"),
    ],
)
def test_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        families.make(name)

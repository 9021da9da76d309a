"""A masked network is the small network: losses and gradients in float64 NumPy, spare parts silent.

Each family here has one example for training and another one held out, so a loss says which of
them it looked at.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.tasks.datasets import Dataset, Text
from metarl.tasks.families import Span
from metarl.tasks.families.autoencoder import AutoencoderConfig, autoencoder
from metarl.tasks.families.conv import ConvConfig, conv
from metarl.tasks.families.gru import GRUConfig, gru
from metarl.tasks.families.mlp import MLPConfig, mlp
from metarl.tasks.families.mu_mlp import MuMLPConfig, mu_mlp
from metarl.tasks.families.transformer import TransformerConfig, transformer

from . import numpy_networks as small

ACTIVATIONS = ("tanh", "relu")
RNG = np.random.default_rng(0)
IMAGES = Dataset(
    "tiny",
    RNG.integers(1, 16, (1, 5, 4, 2)).astype(np.uint8),
    np.array([2], np.int32),
    RNG.integers(1, 16, (1, 5, 4, 2)).astype(np.uint8),
    np.array([0], np.int32),
    classes=3,
    scale=1 / 16,
)
LENGTH = 4
TEXT = Text(
    "tiny", np.array([0, 2, 1, 1, 3], np.uint8), np.array([3, 0, 0, 2, 1], np.uint8), "abcd"
)
NUM_TASKS = 6
ONE = {"batch": Span(2, 2), "evaluated": 2}


def units(count, size):
    return np.arange(size) < count


def classified(logits_of):
    """The loss of a classifier in NumPy, of the training or the held-out example."""

    def loss(params, network, held_out):
        image = (IMAGES.test_inputs if held_out else IMAGES.train_inputs)[0] / 16
        target = (IMAGES.test_targets if held_out else IMAGES.train_targets)[0]
        return small.cross_entropy(logits_of(params, network, image), target)

    return loss


def perceptron_masks(network, widest, deepest):
    """Which units go into each layer and come out of it, by its path."""
    width, depth = int(network.width), int(network.depth)
    there = units(width, widest)
    masks = {"hidden_0": (np.ones(40, bool), there), "output": (there, np.ones(3, bool))}
    for i in range(1, deepest):
        masks[f"hidden_{i}"] = (there, there) if i < depth else (there & False, there & False)
    return masks


def mlp_loss(params, network, image):
    activation = {"tanh": np.tanh, "relu": small.relu}[ACTIVATIONS[int(network.activation)]]
    return small.perceptron(params, image.reshape(-1), int(network.depth), activation)


def mu_loss(params, network, image):
    out = small.perceptron(params, 0.5 * image.reshape(-1), int(network.depth), small.relu)
    return out * 3.0 / int(network.width)


def autoencoder_masks(network):
    wide, code = units(int(network.width), 6), units(int(network.code), 4)
    every = np.ones(40, bool)
    pairs = [(every, wide), (wide, code), (code, wide), (wide, every)]
    return {f"layer_{i}": pair for i, pair in enumerate(pairs)}


def autoencoder_loss(params, network, held_out):
    x = (IMAGES.test_inputs if held_out else IMAGES.train_inputs).reshape(-1) / 16
    return np.mean((small.autoencoder(params, x) - x) ** 2)


def conv_masks(network):
    first, second = (units(int(width), 5) for width in network.widths)
    return {
        "conv_0": (np.ones(2, bool), first),
        "conv_1": (first, second),
        "output": (second, np.ones(3, bool)),
    }


def read(logits_of):
    """The loss of a language model in NumPy."""

    def loss(params, network, held_out):
        text = TEXT.test if held_out else TEXT.train
        return small.cross_entropy(logits_of(params, network, text[:-1]), text[1:]).mean()

    return loss


def gru_masks(network):
    there, every = units(int(network.width), 5), np.ones(4, bool)
    gates = np.tile(there, 3)
    return {
        "embedding": (every, there),
        "input": (there, gates),
        "state": (there, gates),
        "state/bias": there,
        "output": (there, every),
    }


def transformer_masks(network):
    there = np.tile(units(int(network.head), 3), 2)
    between, every = np.tile(there, 4), np.ones(4, bool)
    masks = {"embedding": (every, there), "positions": (np.ones(LENGTH, bool), there)}
    masks |= {"output": (there, every), "norm": (None, there)}
    for name in ("query", "key", "value", "attended"):
        masks[f"block_0/{name}"] = (there, there)
    masks |= {"block_0/up": (there, between), "block_0/down": (between, there)}
    return masks | {f"block_0/norm_{i}": (None, there) for i in range(2)}


@dataclass(frozen=True)
class Case:
    """A family, which of its units there are, and its loss in NumPy."""

    family: Any
    masks: Any
    loss: Any


CASES = {
    "mlp": Case(
        mlp(
            "mlp",
            MLPConfig(width=Span(3, 6), depth=Span(1, 3), activation=ACTIVATIONS, **ONE),
            IMAGES,
        ),
        lambda network: perceptron_masks(network, 6, 3),
        classified(mlp_loss),
    ),
    "mu_mlp": Case(
        mu_mlp(
            "mu_mlp",
            MuMLPConfig(
                width=Span(3, 6),
                depth=Span(2, 2),
                input_multiplier=0.5,
                output_multiplier=3.0,
                **ONE,
            ),
            IMAGES,
        ),
        lambda network: perceptron_masks(network, 6, 2),
        classified(mu_loss),
    ),
    "autoencoder": Case(
        autoencoder("ae", AutoencoderConfig(width=Span(2, 6), code=Span(1, 4), **ONE), IMAGES),
        autoencoder_masks,
        autoencoder_loss,
    ),
    "conv": Case(
        conv("conv", ConvConfig(width=Span(2, 5), **ONE), IMAGES),
        conv_masks,
        classified(lambda params, network, image: small.convolutions(params, image, 2)),
    ),
    "gru": Case(
        gru("gru", GRUConfig(width=Span(2, 5), length=LENGTH, **ONE), TEXT),
        gru_masks,
        read(lambda params, network, tokens: small.gru(params, tokens)),
    ),
    "transformer": Case(
        transformer(
            "t", TransformerConfig(head=Span(1, 3), heads=2, layers=1, length=LENGTH, **ONE), TEXT
        ),
        transformer_masks,
        read(lambda params, network, tokens: small.transformer(params, tokens, 2, 1)),
    ),
}


def path_of(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")


def mask_of(masks, path, leaf):
    """Which entries of a tensor there are."""
    own = masks.get(path, masks[path.rpartition("/")[0]])
    if not isinstance(own, tuple):
        return own
    rows, columns = own
    if leaf.ndim == 1:
        return columns
    return np.broadcast_to(rows[:, None] & columns, leaf.shape)


def masks_like(masks, params):
    return jax.tree_util.tree_map_with_path(lambda p, x: mask_of(masks, path_of(p), x), params)


def cut(params, masks):
    """The small network's tensors in float64."""

    def one(path, leaf):
        there = np.broadcast_to(mask_of(masks, path_of(path), leaf), leaf.shape)
        axes = [
            there.any(tuple(a for a in range(leaf.ndim) if a != axis)) for axis in range(leaf.ndim)
        ]
        return np.asarray(leaf, np.float64)[np.ix_(*axes)]

    return jax.tree_util.tree_map_with_path(one, params)


@pytest.fixture(scope="module", params=CASES)
def measured(request):
    """Tasks of a family, parameters with noise in every entry, spare ones too, and their losses."""
    case = CASES[request.param]
    family = case.family

    def measure(key, noise):
        task = family.sample(key)
        start = family.init(key, task)
        params = jax.tree.map(jnp.add, start, noise)
        loss, gradient = jax.value_and_grad(family.loss)(params, key, task)
        return task, start, params, loss, gradient, family.evaluate(params, key, task)

    keys = jax.random.split(jax.random.key(1), NUM_TASKS)
    shapes = jax.eval_shape(lambda key: family.init(key, family.sample(key)), keys[0])
    # Its own numbers, whichever other cases run.
    rng = np.random.default_rng(2)
    noise = jax.tree.map(
        lambda x: 0.3 * rng.standard_normal((NUM_TASKS, *x.shape), dtype=np.float32), shapes
    )
    everything = jax.device_get(jax.jit(jax.vmap(measure))(keys, noise))
    return case, [jax.tree.map(lambda x, i=i: x[i], everything) for i in range(NUM_TASKS)]


@pytest.mark.sampled(3)
def test_the_loss_is_that_of_the_small_network(measured):
    case, samples = measured
    for task, _, params, loss, _, evaluated in samples:
        reduced = cut(params, case.masks(task.network))
        # A few hundred float32 operations on numbers of order 1.
        np.testing.assert_allclose(loss, case.loss(reduced, task.network, False), rtol=1e-5)
        np.testing.assert_allclose(
            evaluated["loss"], case.loss(reduced, task.network, True), rtol=1e-5
        )
    assert (
        len({np.asarray(jax.tree.leaves(sample[0].network)[0]).tobytes() for sample in samples}) > 1
    )


@pytest.mark.sampled(3)
def test_the_gradient_is_that_of_the_small_network(measured):
    """Along random directions, by central differences in float64; zero for all that is spare."""
    case, samples = measured
    rng = np.random.default_rng(1)
    for task, _, params, _, gradient, _ in samples:
        masks = case.masks(task.network)
        reduced, slope = cut(params, masks), cut(gradient, masks)
        for _ in range(3):
            direction = jax.tree.map(lambda x: rng.standard_normal(x.shape), reduced)
            ahead, behind = (
                case.loss(
                    jax.tree.map(lambda x, d, h=h: x + h * d, reduced, direction),
                    task.network,
                    False,
                )
                for h in (1e-5, -1e-5)
            )
            products = jax.tree.map(lambda g, d: np.sum(g * d), slope, direction)
            expected = (ahead - behind) / 2e-5
            scale = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(slope)))
            assert abs(sum(jax.tree.leaves(products)) - expected) < 1e-4 * scale
        spare = jax.tree.map(
            lambda g, there: np.abs(np.where(there, 0, g)).max(),
            gradient,
            masks_like(masks, gradient),
        )
        assert max(jax.tree.leaves(spare)) == 0


@pytest.mark.sampled(3)
def test_spare_weights_begin_at_zero(measured):
    case, samples = measured
    for task, start, *_ in samples:
        there = masks_like(case.masks(task.network), start)
        outside = jax.tree.map(lambda x, m: np.abs(np.where(m, 0, x)).max(), start, there)
        assert max(jax.tree.leaves(outside)) == 0


def test_weights_have_the_variance_of_their_number_of_inputs():
    """1 / fan-in with the sampled width; a family of the largest width would have 1 / 400."""
    config = MLPConfig(width=Span(20, 400), depth=Span(2, 2), **ONE)
    family = mlp("mlp", config, IMAGES)
    key = jax.random.key(0)
    task = family.sample(key)
    task = task._replace(network=task.network._replace(width=jnp.int32(100)))
    params = jax.device_get(jax.jit(family.init)(key, task))
    for name, fan_in, outputs in (
        ("hidden_0", 40, 100),
        ("hidden_1", 100, 100),
        ("output", 100, 3),
    ):
        weights = params[name]["kernel"][:fan_in, :outputs]
        # Four standard errors of a variance of n draws that are nearly normal.
        assert abs(weights.var() * fan_in - 1) < 4 * np.sqrt(2 / weights.size)
        # Cut off at two deviations of the uncut normal, whose own is 0.8796.
        assert np.abs(weights).max() <= 2 / 0.8796 / np.sqrt(fan_in)
        assert (params[name]["bias"] == 0).all()


def test_maximal_update_parametrisation():
    """Output weights zero, biases standard normal, multipliers hidden / width for hidden ones."""
    config = MuMLPConfig(
        width=Span(20, 400), depth=Span(3, 3), hidden_multiplier=5.0, output_multiplier=2.0, **ONE
    )
    family = mu_mlp("mu", config, IMAGES)
    key = jax.random.key(0)
    task = family.sample(key)
    task = task._replace(network=task.network._replace(width=jnp.int32(250)))
    params = jax.device_get(jax.jit(family.init)(key, task))
    assert (params["output"]["kernel"] == 0).all()
    biases = np.concatenate([params[f"hidden_{i}"]["bias"][:250] for i in range(3)])
    assert abs(biases.mean()) < 4 / np.sqrt(750)
    assert abs(biases.var() - 1) < 4 * np.sqrt(2 / 750)
    assert abs(params["hidden_1"]["kernel"][:250, :250].var() * 250 - 1) < 4 * np.sqrt(2 / 250**2)
    multipliers = jax.device_get(family.multipliers(task))
    assert jax.tree.structure(multipliers) == jax.tree.structure(params)
    for name in ("hidden_1", "hidden_2"):
        assert multipliers[name]["kernel"] == pytest.approx(5.0 / 250)
    ones = [layer["bias"] for layer in multipliers.values()]
    ones += [multipliers[name]["kernel"] for name in ("hidden_0", "output")]
    assert {float(x) for x in ones} == {1.0}
    # Logits at first are the output's biases, by 2 / 250.
    logits = params["output"]["bias"].astype(np.float64) * 2.0 / 250
    loss = jax.jit(family.loss)(params, key, task)
    np.testing.assert_allclose(loss, small.cross_entropy(logits, 2), rtol=1e-6)

"""Weights of others: files of their formats, made here, become our theta; bad files are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import serialization

from metarl import optimizers
from metarl.core.errors import ArtifactError, ConfigError
from metarl.optimizers.celo.celo import celo_init
from metarl.optimizers.celo.celo2 import celo2_init
from metarl.optimizers.celo.celo_adam import celo_adam_init
from metarl.optimizers.external import loaders
from metarl.optimizers.lopt.adafac_mlp_lopt import adafac_mlp_lopt_init, learned_rates
from metarl.optimizers.velo.velo_network import velo_init
from tests.optimizers.weights import released_file

GROUPS = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
RNG = np.random.default_rng(0)
H, K = 5, 6


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def haiku_stack(*leading, width=4):
    """`ff_mod_stack` of three layers."""
    parts = {f"w0__{i}": random(*leading, size, width) for i, size in enumerate(GROUPS)}
    rest = {
        **{"b0": random(*leading, width), "w1": random(*leading, width, width)},
        **{"b1": random(*leading, width), "w2": random(*leading, width, 3)},
        "b2": random(*leading, 3),
    }
    return {"~": {**parts, **rest}}


def haiku_recurrent(inputs, controls):
    """`rnn_params` and `lstm_init_state`."""
    sizes = {
        **dict.fromkeys(("linear", "linear_1", "linear_2"), (inputs, H)),
        "rnn/linear": (2 * H, 4 * H),
        "step_size": (H, 1),
        **({"rnn_to_controls": (H, controls)} if controls else {}),
    }
    layers = {name: {"w": random(*size), "b": random(size[1])} for name, size in sizes.items()}
    return {
        "rnn_params": layers,
        "lstm_init_state": {"hidden": random(1, H), "cell": random(1, H)},
    }


def written(path, tree):
    path.write_bytes(serialization.msgpack_serialize(tree))
    return path


def torch_linear(name, inputs, outputs):
    return {f"{name}.weight": random(outputs, inputs), f"{name}.bias": random(outputs)}


def torch_velo():
    """Arrays of both files of PyLO."""
    rnn = {
        **torch_linear("mix_layer1", 30, H),
        **torch_linear("mix_layer2", 30, H),
        **torch_linear("final_mix_layer", 30, H),
        **torch_linear("lstm.linear", 2 * H, 4 * H),
        **torch_linear("rnn_to_controls", H, K),
        **torch_linear("step_size", H, 1),
        **{f"lstm_init_state.{i}": random(1, H) for i in range(2)},
    }
    mlp = {
        **{"input_weights_": random(K, 4, 30), "input_bias_": random(K, 4)},
        **{"hidden_weights_.0": random(K, 4, 4), "hidden_bias_.0": random(K, 4)},
        **{"output_weights_": random(K, 3, 4), "output_bias_": random(K, 3)},
        "input_weights": random(4, 30),
    }
    return rnn, mlp


def assert_fits(theta, init, config):
    """The shapes are those of a theta of ours, and all is float32."""
    wanted = jax.eval_shape(lambda key: init(config, key), jax.random.key(0))
    assert jax.tree.map(jnp.shape, theta) == jax.tree.map(lambda x: x.shape, wanted)
    assert {leaf.dtype for leaf in jax.tree.leaves(theta)} == {np.dtype(np.float32)}


def assert_haiku_recurrent(theta, tree):
    layers, start = tree["rnn_params"], tree["lstm_init_state"]
    for ours, theirs in (("own", "linear_2"), ("shared", "linear_1")):
        np.testing.assert_array_equal(theta[ours]["kernel"], layers[theirs]["w"])
        np.testing.assert_array_equal(theta[ours]["bias"], layers[theirs]["b"])
    np.testing.assert_array_equal(theta["lstm"]["gates"]["kernel"], layers["rnn/linear"]["w"])
    np.testing.assert_array_equal(theta["lstm"]["hidden"], start["hidden"][0])
    np.testing.assert_array_equal(theta["lstm"]["cell"], start["cell"][0])


def assert_haiku_stack(networks, stack):
    """Joined along the inputs, in the order of the groups."""
    arrays, row = stack["~"], 0
    for i, size in enumerate(GROUPS):
        part = networks["layer_0"]["kernel"][..., row : row + size, :]
        np.testing.assert_array_equal(part, arrays[f"w0__{i}"])
        row += size
    for i in (0, 1, 2):
        np.testing.assert_array_equal(networks[f"layer_{i}"]["bias"], arrays[f"b{i}"])
    for i in (1, 2):
        np.testing.assert_array_equal(networks[f"layer_{i}"]["kernel"], arrays[f"w{i}"])


def celo_tree():
    return {**haiku_recurrent(18, 1), "ff_mod_stack": haiku_stack(1)}


def test_celo(tmp_path):
    tree = celo_tree()
    config, theta = loaders.load_celo(written(tmp_path / "theta.state", tree))
    assert (config.hidden, config.width, config.scheduled) == (H, 4, True)
    assert_fits(theta, celo_init, config)
    assert_haiku_recurrent(theta["schedule"], tree)
    network = jax.tree.map(lambda x: x[None], theta["network"])
    assert_haiku_stack(network, tree["ff_mod_stack"])
    step_size = tree["rnn_params"]["step_size"]
    np.testing.assert_array_equal(theta["schedule"]["step_size"]["kernel"], step_size["w"])


def test_celo_adam(tmp_path):
    tree = haiku_recurrent(18, None)
    config, theta = loaders.load_celo_adam(written(tmp_path / "theta.state", tree))
    assert_fits(theta, celo_adam_init, config)
    assert_haiku_recurrent(theta["schedule"], tree)


@pytest.mark.parametrize(("inputs", "validation"), [(30, None), (31, False)])
def test_velo_of_haiku(tmp_path, inputs, validation):
    tree = {**haiku_recurrent(inputs, K), "ff_mod_stack": haiku_stack(K)}
    path = written(tmp_path / "theta.state", tree)
    config, theta = loaders.load_velo(path, mixture_scale=1.0)
    assert (config.hidden, config.networks, config.width) == (H, K, 4)
    assert (config.validation, config.mixture_scale) == (validation, 1.0)
    assert not config.bugged_loss_features
    assert_fits(theta, velo_init, config)
    assert_haiku_recurrent(theta["tensors"], tree)
    assert_haiku_stack(theta["networks"], tree["ff_mod_stack"])
    controls = tree["rnn_params"]["rnn_to_controls"]
    np.testing.assert_array_equal(theta["controls"]["kernel"], controls["w"])


def assert_linear(layer, arrays, name):
    """Our layer is torch's `W x + b` for any x."""
    x = random(7, layer["kernel"].shape[0])
    theirs = np.stack([arrays[f"{name}.weight"] @ row for row in x]) + arrays[f"{name}.bias"]
    np.testing.assert_allclose(x @ layer["kernel"] + layer["bias"], theirs, atol=1e-4)


def test_velo_of_torch(tmp_path):
    rnn, mlp = torch_velo()
    safetensors.numpy.save_file(rnn, tmp_path / "VeLO_RNN.safetensors")
    safetensors.numpy.save_file(mlp, tmp_path / "VeLO_MLP.safetensors")
    config, theta = loaders.load_velo(tmp_path)
    assert (config.hidden, config.networks, config.mixture_scale) == (H, K, 100.0)
    assert_fits(theta, velo_init, config)
    tensors = theta["tensors"]
    assert_linear(tensors["own"], rnn, "final_mix_layer")
    assert_linear(tensors["shared"], rnn, "mix_layer2")
    assert_linear(tensors["lstm"]["gates"], rnn, "lstm.linear")
    assert_linear(theta["controls"], rnn, "rnn_to_controls")
    assert_linear(theta["step_size"], rnn, "step_size")
    np.testing.assert_array_equal(tensors["lstm"]["hidden"][None], rnn["lstm_init_state.0"])
    np.testing.assert_array_equal(tensors["lstm"]["cell"][None], rnn["lstm_init_state.1"])
    for i, (name, suffix) in enumerate((("input", ""), ("hidden", ".0"), ("output", ""))):
        for k in range(K):
            arrays = {
                "x.weight": mlp[f"{name}_weights_{suffix}"][k],
                "x.bias": mlp[f"{name}_bias_{suffix}"][k],
            }
            layer = theta["networks"][f"layer_{i}"]
            assert_linear({part: array[k] for part, array in layer.items()}, arrays, "x")


def test_celo2_of_haiku(tmp_path):
    tree = {"ff_mod_stack": haiku_stack(width=8)}
    config, theta = loaders.load_celo2(written(tmp_path / "theta.state", tree))
    assert_fits(theta, celo2_init, config)
    assert_haiku_stack(theta["network"], tree["ff_mod_stack"])


def test_celo2_of_torch_in_both_layouts(tmp_path):
    dense = {
        **torch_linear("first_layer", 30, 8),
        **torch_linear("hidden", 8, 8),
        **torch_linear("output", 8, 3),
    }
    safetensors.numpy.save_file(dense, tmp_path / "dense.safetensors")
    config, theta = loaders.load_celo2(tmp_path / "dense.safetensors")
    assert_fits(theta, celo2_init, config)
    for i, name in enumerate(("first_layer", "hidden", "output")):
        assert_linear(theta["network"][f"layer_{i}"], dense, name)
    rows = np.split(dense["first_layer.weight"].T, np.cumsum(GROUPS)[:-1])
    split = {
        **{f"w0.{i}": np.ascontiguousarray(part) for i, part in enumerate(rows)},
        **{"b0": dense["first_layer.bias"], "dense_b.0": dense["hidden.bias"]},
        "dense_w.0": np.ascontiguousarray(dense["hidden.weight"].T),
        "dense_w.1": np.ascontiguousarray(dense["output.weight"].T),
        "dense_b.1": dense["output.bias"],
    }
    safetensors.numpy.save_file(split, tmp_path / "split.safetensors")
    _, same = loaders.load_celo2(tmp_path / "split.safetensors")
    jax.tree.map(np.testing.assert_array_equal, same, theta)


def mulo_arrays():
    """A network of three layers."""
    return {
        **torch_linear("network.input", 39, 32),
        **torch_linear("network.linear_0", 32, 32),
        **torch_linear("network.output", 32, 2),
    }


def test_mulo(tmp_path):
    """Its decays are those that were learned with it."""
    arrays = mulo_arrays()
    safetensors.numpy.save_file(arrays, tmp_path / "mulo.safetensors")
    config, theta = loaders.load_mulo(tmp_path / "mulo.safetensors")
    assert (config.hidden, config.depth, config.step_mult) == (32, 2, 0.01)
    assert_fits(theta, adafac_mlp_lopt_init, config)
    for i, name in enumerate(("input", "linear_0", "output")):
        assert_linear(theta["network"][f"layer_{i}"], arrays, f"network.{name}")
    decays = [1 - np.asarray(rates) for rates in learned_rates(theta["decays"])]
    np.testing.assert_allclose(decays[0], [0.542027, 0.958441, 0.998024], atol=2e-6)
    np.testing.assert_allclose(decays[1], [0.998886], atol=2e-6)
    np.testing.assert_allclose(decays[2], [0.356218, 0.996626, 0.999461], atol=2e-6)


def changed(name, array):
    """Celo's bytes with another array for one of its own; None = without it."""
    tree = celo_tree()
    stack = tree["ff_mod_stack"]["~"]
    if array is None:
        del stack[name]
    else:
        stack[name] = array
    return serialization.msgpack_serialize(tree)


BAD = {
    "missing": (lambda: changed("w1", None), r"no array 'ff_mod_stack/~/w1'. Did you mean"),
    "wide": (lambda: changed("w1", random(1, 5, 4)), r"has the shape \(1, 5, 4\), needed: \(1, 4"),
    "flat": (lambda: changed("b0", random(4)), r"has the shape \(4,\), needed: \(1, any\)"),
    "empty": (lambda: changed("b0", random(1, 0)), r"has the shape \(1, 0\)"),
    "whole": (lambda: changed("b1", np.ones((1, 4), np.int32)), "of dtype int32, not floating"),
    "nan": (lambda: changed("b1", np.full((1, 4), np.nan, np.float32)), "not finite"),
    "text": (lambda: changed("b1", "hello"), "has the shape"),
    "truncated": (lambda: serialization.msgpack_serialize(celo_tree())[:-40], "damaged"),
    "a list": (lambda: serialization.msgpack_serialize([1, 2]), "not a dictionary"),
    "a pickle": (lambda: b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.", "damaged"),
    "nothing": (lambda: b"", "damaged"),
    "another rule": (
        lambda: serialization.msgpack_serialize({"ff_mod_stack": haiku_stack(width=8)}),
        r"'ff_mod_stack/~/b0' of .* has the shape \(8,\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(tmp_path, case):
    make, message = BAD[case]
    path = tmp_path / "theta.state"
    path.write_bytes(make())
    with pytest.raises(ArtifactError, match=message):
        loaders.load_celo(path)


def test_bad_paths_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="No such file"):
        loaders.load_mulo(tmp_path / "absent.safetensors")
    with pytest.raises(ArtifactError, match=r"holds no \.safetensors file"):
        loaders.load_velo(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ArtifactError, match="damaged"):
        loaders.load_velo(tmp_path)
    for name in "ab":
        safetensors.numpy.save_file({"w": random(2)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(ArtifactError, match=r"Two files in .* have an array 'w'"):
        loaders.load_velo(tmp_path)


def test_large_files_are_not_read(tmp_path):
    path = tmp_path / "theta.state"
    with path.open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(ArtifactError, match="larger than any"):
        loaders.load_celo(path)


def test_released_files_load():
    config, theta = loaders.load_celo(released_file("celo/celo.msgpack"))
    assert (config.hidden, config.width) == (64, 4)
    assert_fits(theta, celo_init, config)
    config, theta = loaders.load_celo_adam(released_file("celo/celo_adam.msgpack"))
    assert_fits(theta, celo_adam_init, config)
    with pytest.raises(ArtifactError, match="ff_mod_stack"):
        loaders.load_celo(released_file("celo/celo_adam.msgpack"))


def test_names_with_a_colon_select_files(tmp_path, key):
    path = written(tmp_path / "theta.state", celo_tree())
    found = optimizers.read(f"celo:{path}")
    assert (found.name, found.config.hidden, found.mup) == ("celo", H, False)
    _, theta = loaders.load_celo(path)
    jax.tree.map(np.testing.assert_array_equal, optimizers.inner(f"celo:{path}").init(key), theta)
    with pytest.raises(ConfigError, match="needs num_steps"):
        optimizers.load(f"celo:{path}")
    assert optimizers.load(f"celo:{path}", num_steps=3).init({"w": jnp.ones(2)}).schedule
    with pytest.raises(ConfigError, match=r"Unknown weights 'cello:'. Did you mean 'celo'\?"):
        optimizers.load(f"cello:{path}")
    with pytest.raises(ArtifactError, match="No such file"):
        optimizers.load("velo:absent.state", num_steps=3)


def test_mulo_requires_multipliers(tmp_path):
    path = tmp_path / "mulo.safetensors"
    safetensors.numpy.save_file(mulo_arrays(), path)
    with pytest.raises(ConfigError, match="multipliers"):
        optimizers.load(f"mulo:{path}")
    assert optimizers.load(f"mulo:{path}", multipliers={"w": 0.5}).init({"w": jnp.ones(2)})

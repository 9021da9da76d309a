"""Small networks in float64 NumPy, straight from their formulas: no masks, no batches."""

import numpy as np


def cross_entropy(logits, target):
    shifted = logits - logits.max(-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probability, np.asarray(target)[..., None], -1)[..., 0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def affine(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def perceptron(params, x, depth, activation):
    for i in range(depth):
        x = activation(affine(params[f"hidden_{i}"], x))
    return affine(params["output"], x)


def autoencoder(params, x):
    for i in range(3):
        x = np.tanh(affine(params[f"layer_{i}"], x))
    return sigmoid(affine(params["layer_3"], x))


def convolution(layer, image):
    """3x3, stride 2, one row or column of zeros around the picture."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros(((height + 1) // 2, (width + 1) // 2, layer["kernel"].shape[-1]))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            patch = padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            out[i, j] = np.einsum("hwc,hwco->o", patch, layer["kernel"]) + layer["bias"]
    return out


def convolutions(params, image, layers):
    for i in range(layers):
        image = relu(convolution(params[f"conv_{i}"], image))
    return affine(params["output"], image.mean((0, 1)))


def gru(params, tokens):
    x = params["embedding"]["kernel"][tokens]
    width = x.shape[1]
    parts = [slice(i * width, (i + 1) * width) for i in range(3)]
    into, state = params["input"], params["state"]
    h, rows = np.zeros(width), []
    for x_t in x:
        from_x = [x_t @ into["kernel"][:, p] + into["bias"][p] for p in parts]
        from_h = [h @ state["kernel"][:, p] for p in parts]
        r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        n = np.tanh(from_x[2] + r * (from_h[2] + state["bias"]))
        h = (1 - z) * n + z * h
        rows.append(h)
    return affine(params["output"], np.stack(rows))


def layer_norm(norm, x):
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * norm["scale"]
        + norm["bias"]
    )


def attention(block, x, heads):
    query, key, value = (affine(block[name], x) for name in ("query", "key", "value"))
    size = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for t in range(len(x)):
            scores = np.exp(query[t, part] @ key[: t + 1, part].T / np.sqrt(size))
            mixed[t, part] = scores / scores.sum() @ value[: t + 1, part]
    return affine(block["attended"], mixed)


def transformer(params, tokens, heads, layers):
    x = params["embedding"]["kernel"][tokens] + params["positions"]["kernel"]
    for i in range(layers):
        block = params[f"block_{i}"]
        x = x + attention(block, layer_norm(block["norm_0"], x), heads)
        x = x + affine(block["down"], gelu(affine(block["up"], layer_norm(block["norm_1"], x))))
    return affine(params["output"], layer_norm(params["norm"], x))

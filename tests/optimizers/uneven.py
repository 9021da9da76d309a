"""Small trees of rank 0 to 4 whose tensors and rows differ by orders of magnitude."""

import numpy as np

SHAPES = {
    "a_scalar": (),
    "b_vector": (3,),
    "c_matrix": (5, 2),
    "d_cube": (2, 3, 4),
    "e_kernel": (2, 2, 3, 1),
}
SCALES = {"a_scalar": 30.0, "b_vector": 1.0, "c_matrix": 1e-2, "d_cube": 1.0, "e_kernel": 0.1}
GRADIENT_SCALES = (1e-3, 1.0, 300.0, 1e-5, 0.1)
"""Of five steps."""
LOSSES = (2.3, 2.6, 2.0, 1.2, 9.0)
"""Of five steps; the last is cut."""


def uneven_tree(seed, scale=1.0, shapes=SHAPES):
    """Draws a tree; along the first axis the scale grows a thousandfold."""
    rng = np.random.default_rng(seed)
    tree = {}
    for name, shape in shapes.items():
        rows = np.geomspace(0.03, 30, shape[0]) if shape else np.array(1.0)
        rows = rows.reshape(rows.shape + (1,) * max(len(shape) - 1, 0))
        tree[name] = np.float32(rng.normal(size=shape) * rows * SCALES[name] * scale)
    return tree


def gradients():
    """One tree a step."""
    return [uneven_tree(1 + i, scale) for i, scale in enumerate(GRADIENT_SCALES)]


def float64(tree):
    return {name: np.float64(x) for name, x in tree.items()}


def assert_close(got, expected, rtol=2e-4):
    """Compares trees; the tolerance is relative to the largest number of each tensor.

    Float32 loses 1e-6 in a pass; channels of rows a thousand times smaller and the weights of a
    hypernetwork amplify that a hundredfold.
    """
    for name, want in expected.items():
        assert got[name].shape == want.shape
        size = np.abs(want).max()
        assert size > 0
        np.testing.assert_allclose(got[name], want, atol=rtol * size, rtol=0, err_msg=name)

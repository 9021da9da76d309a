"""Lowering for a GPU that this machine does not have."""

import jax


def lowered_for_gpu(function, *arguments):
    """The program for an H200, as text; kernels in it have become Triton's code."""

    def text():
        traced = jax.jit(function).trace(*arguments)
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    if jax.__version_info__ < (0, 11):
        return text()
    sharding = jax.sharding
    device = sharding.AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
    auto = (sharding.AxisType.Auto,)
    mesh = sharding.AbstractMesh((1,), ("x",), axis_types=auto, abstract_device=device)
    with sharding.use_abstract_mesh(mesh):
        return text()

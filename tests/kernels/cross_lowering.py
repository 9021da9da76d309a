"""Cross-lowering for accelerators that this machine does not have."""

import jax


def lowered_for_gpu(function, *arguments):
    """Lowers a program for an H200, with kernels as Triton code; returns text."""
    return _lowered("cuda", ("NVIDIA H200", 132, "gpu"), function, arguments)


def lowered_for_tpu(function, *arguments):
    """Lowers a program for a v5e, with kernels as Mosaic code; returns text."""
    return _lowered("tpu", ("TPU v5 lite", 1, "tpu"), function, arguments)


def _lowered(platform, device, function, arguments):
    def text():
        traced = jax.jit(function).trace(*arguments)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    if jax.__version_info__ < (0, 11):
        return text()
    sharding = jax.sharding
    kind, cores, name = device
    abstract = sharding.AbstractDevice(device_kind=kind, num_cores=cores, platform=name)
    auto = (sharding.AxisType.Auto,)
    mesh = sharding.AbstractMesh((1,), ("x",), axis_types=auto, abstract_device=abstract)
    with sharding.use_abstract_mesh(mesh):
        return text()

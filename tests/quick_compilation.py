"""XLA's options for programs whose compiling costs more than their running."""

from functools import partial

import jax

OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
if jax.__version_info__ < (0, 10):  # newer jax lacks it
    OPTIONS["xla_cpu_use_fusion_emitters"] = False

quick_jit = partial(jax.jit, compiler_options=OPTIONS)
"""`jax.jit` with those options, for tests that slow runs share, which have users' options."""


def flags():
    """The same options as flags of a process."""
    return [f"--{name}={str(value).lower()}" for name, value in OPTIONS.items()]

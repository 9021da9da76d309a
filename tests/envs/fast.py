"""Quick compilation, for programs whose compiling costs more than their running."""

from functools import partial

import jax

# Newer jax lacks the second option.
_OPTIONS = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 10):
    _OPTIONS["xla_cpu_use_fusion_emitters"] = False

fast_jit = partial(jax.jit, compiler_options=_OPTIONS)

"""Compiles the kernels of learned optimizers for an H200, on a machine that has none.

XLA's compiler for GPUs needs no GPU, but packages that would be in the way of tests; so this wants
an environment of its own:

  python3 -m venv /tmp/gpu && /tmp/gpu/bin/pip install -e ".[gpu-compile]"
  /tmp/gpu/bin/python scripts/gpu_compile.py [--json FILE] [--only NAME...]

Each update of a matrix of ViT-B's becomes machine code, of which it prints, for every kernel,
registers and spilled bytes of a thread, and instructions an element: in the loop over rows, and in
all. A multiprocessor begins 128 a cycle, so instructions have a least time too (*issue*), beside
that of the 72 bytes a parameter (*memory*, at 4.3 TB/s): estimates, not measurements. Then the
memory that a whole network's update needs, and how many programs the GPU starts for it. It ends
with an error if a kernel spills, exchanges data between threads in a loop in which no matrix
product asks for it, or a program in place needs more than parameters, gradients, moments and one
update.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

DUMP = Path(tempfile.mkdtemp(prefix="gpu-compile-"))
os.environ |= {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": f"--xla_gpu_autotune_level=0 --xla_dump_to={DUMP} --xla_dump_emitter_re=ptx",
}

import jax  # noqa: E402
from gpu_code import Kernel, kernels  # noqa: E402
from gpu_timing import (  # noqa: E402
    BYTES,
    KERNELS,
    NETWORKS,
    VIT_BLOCK,
    Candidate,
    Model,
    bytes_of,
    learned,
)
from jax.experimental import topologies  # noqa: E402
from metarl.kernels.lopt_update.config import KernelConfig, Size  # noqa: E402
from metarl.kernels.lopt_update.matrices import matrices  # noqa: E402

MATRIX = Model([(768, 3072)])
VIT = Model([(16, 16, 3, 768), (768, 1000), *VIT_BLOCK, *[(768,)] * 8])
"""ViT-B with one block of its twelve, which compiles in a tenth of the time."""
MOST_BYTES = 28.28
"""Parameters, gradients, four moments and one update, and 1% for averages over rows and columns."""
MEMORY_RATE = 4.3e12
"""Bytes a second, of which an H200 can move 4.8e12 by its data sheet."""
ISSUE_RATE = 132 * 128 * 1.98e9
"""Instructions of a thread a second: multiprocessors, lanes, cycles."""
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 150000000000
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H200"
"""


def shapes(make: Callable[[], Candidate], sharding: Any) -> tuple[Callable[..., Any], Any, Any]:
    """The step of a candidate, and shapes of what it moves and is given."""
    steps = []

    def arrays() -> Any:
        made = make()
        steps.append(made.step)
        return made.moving, made.given

    moving, given = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(arrays),
    )
    return steps[0], moving, given


def compiled(make: Callable[[], Candidate]) -> Any:
    """The program of one update, for an H200."""
    device = topologies.get_topology_desc("", "cuda", target_config=H200, topology="1x1x1").devices
    mesh = jax.sharding.Mesh(device, ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    with patch("jax.default_backend", lambda: "gpu"):
        step, moving, given = shapes(make, sharding)
        options = {"in_shardings": sharding, "out_shardings": sharding, "donate_argnums": 0}
        abstract = mesh.abstract_mesh
        if jax.__version_info__ >= (0, 11):  # whose lowering asks for the chip
            chip = jax.sharding.AbstractDevice(
                device_kind="NVIDIA H200", num_cores=132, platform="gpu"
            )
            abstract = abstract.update(abstract_device=chip)
        with jax.sharding.use_abstract_mesh(abstract):
            return jax.jit(step, **options).lower(moving, given).compile()


def launches(program: Any) -> int:
    """Programs of the GPU that one update starts, one after the other."""
    _, entry = program.as_text().split("ENTRY", 1)
    return len(re.findall(r"= .* (?:fusion|custom-call|copy)\(", entry))


def strips(name: str) -> dict[str, Size]:
    """Rows and columns of the strips of a network's kernels, for the matrix."""
    config, layout = KernelConfig(), matrices(MATRIX.shapes[0])
    assert layout is not None
    blocks = config.products if name == "adafac 32" else config.unrolled
    return {
        "lopt_update_statistics": config.unrolled.size(layout),
        "lopt_update_steps": blocks.size(layout),
    }


def updates(wanted: Callable[[str], bool]) -> Iterator[tuple[str, list[Kernel]]]:
    """The kernels of every network and implementation."""
    for name in NETWORKS:
        for way in KERNELS if name == "adafac 32" else KERNELS[:1]:
            if wanted(f"{name}, {way}"):
                shutil.rmtree(DUMP, ignore_errors=True)
                compiled(lambda name=name, way=way: learned(name, way, True, MATRIX))
                yield f"{name}, {way}", kernels(DUMP, strips(name))


def described(name: str, found: list[Kernel]) -> dict[str, Any]:
    """Prints a line for every kernel and one for all."""
    total = 0.0
    for kernel in found:
        total += kernel.instructions
        print(
            f"{name:36} {kernel.name:24} {kernel.registers:4} {kernel.spilled:8} "
            f"{kernel.barriers:9} {kernel.loop:8.0f} {kernel.instructions:6.0f}",
            flush=True,
        )
    issue = 1e12 * total / ISSUE_RATE
    print(f"{'':36} issue {issue:.1f} ps, memory {1e12 * BYTES / MEMORY_RATE:.1f} ps a parameter")
    return {"name": name, "issue_ps": issue, "kernels": [kernel._asdict() for kernel in found]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--only", nargs="*", default=[], help="updates whose name holds one")
    options = parser.parse_args()

    def wanted(name: str) -> bool:
        return not options.only or any(word in name for word in options.only)

    print(f"jax {jax.__version__}, compiled for an H200, run on none")
    print(f"{'':36} {'kernel':24} regs  spilled  barriers  in loop    all")
    rows, wrong = [], []
    for name, found in updates(wanted):
        rows.append(described(name, found))
        products = name.startswith("adafac 32")
        for kernel in found:
            if kernel.spilled or (kernel.barriers and not (products and "steps" in kernel.name)):
                wrong.append(f"{name}: {kernel}")
    memory, starts = {}, {}
    for name in [name for name in NETWORKS if wanted(name)]:
        program = compiled(lambda name=name: learned(name, KERNELS[0], True, VIT))
        memory[name] = bytes_of(program) / VIT.size
        starts[name] = launches(program)
        print(f"{name}, ViT-B in place: {memory[name]:.2f} bytes a parameter, ", end="")
        print(f"{starts[name]} launches for {len(VIT.shapes)} tensors", flush=True)
        if memory[name] > MOST_BYTES:
            wrong.append(f"{name}: {memory[name]:.2f} bytes a parameter")
    if options.json:
        report = {"jax": jax.__version__, "kernels": rows, "bytes_a_parameter": memory}
        report["launches"] = starts
        Path(options.json).write_text(json.dumps(report, indent=1))
    shutil.rmtree(DUMP, ignore_errors=True)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()

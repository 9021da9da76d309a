"""What kernels became in machine code: registers, spills, instructions. For `gpu_compile.py`."""

import re
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_]+)(.*)")
LABEL = re.compile(r"(\.L_x_\d+)")


class Kernel(NamedTuple):
    """A kernel of the learned update.

    Attributes:
      name: of the kernel.
      threads, registers: of a program, of a thread.
      spilled: bytes that a thread moves out of registers.
      barriers: at which threads wait for each other, in the loop over rows.
      loop: instructions an element, in that loop.
      instructions: the same, and those around the loop, spread over its rows.
    """

    name: str
    threads: int
    registers: int
    spilled: int
    barriers: int
    loop: float
    instructions: float


def kernels(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> list[Kernel]:
    """Reads the kernels of the last program from its PTX.

    Args:
      folder: of XLA's dump.
      sizes: by the name of a kernel, rows and columns of its strips.
    """
    found = []
    for path in folder.glob("*.ptx"):
        entries = re.split(r"(?=\.entry )", path.read_text())
        mine = {text.split("(")[0].split()[1]: text for text in entries[1:]}
        mine = {name: text for name, text in mine.items() if name in sizes}
        if mine:
            target = re.search(r"\.target (\w+)", entries[0])
            said, code = _compiled(path, target[1] if target else "sm_90a")
            found += [
                _kernel(name, text, said[name], code[name], sizes[name])
                for name, text in mine.items()
            ]
    return sorted(found)


def _compiled(path: Path, target: str) -> tuple[dict[str, str], dict[str, str]]:
    """What the assembler said of every entry, and its machine code."""
    binary = path.with_suffix(".cubin")
    said = _run("ptxas", "-v", f"-arch={target}", str(path), "-o", str(binary)).stderr
    code = _run("nvdisasm", "-c", str(binary)).stdout
    return _sections(r"Compiling entry function '(\w+)'", said), _sections(r"\.text\.(\w+):", code)


def _sections(heading: str, text: str) -> dict[str, str]:
    _, *parts = re.split(heading, text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _kernel(name: str, text: str, said: str, code: str, size: tuple[int, int]) -> Kernel:
    threads = re.search(r"\.reqntid (\d+)", text)
    registers = re.search(r"Used (\d+) registers", said)
    spilled = re.search(r"(\d+) bytes spill stores", said)
    if not (threads and registers and spilled):
        raise ValueError(f"The assembler's words on {name} were not understood: {said}")
    made, loop = _instructions(code)
    rows, each = size[0], size[1] / int(threads[1])
    return Kernel(
        name,
        int(threads[1]),
        int(registers[1]),
        int(spilled[1]),
        loop.count("BAR"),
        len(loop) / each,
        (len(loop) + (len(made) - len(loop)) / rows) / each,
    )


def _instructions(text: str) -> tuple[list[str], list[str]]:
    """All instructions, and those of the longest loop."""
    made: list[str] = []
    labels: dict[str, int] = {}
    longest: list[str] = []
    for line in text.splitlines():
        instruction = INSTRUCTION.match(line)
        if instruction:
            made.append(instruction[1])
            label = LABEL.search(instruction[2]) if instruction[1] == "BRA" else None
            loop = made[labels[label[1]] :] if label and label[1] in labels else []
            longest = max(longest, loop, key=len)
        elif label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(made)
    return made, longest


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    [path, *_] = Path(sysconfig.get_path("purelib"), "nvidia").glob(f"*/bin/{tool}")
    path.chmod(0o755)  # which wheels forget
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=True)

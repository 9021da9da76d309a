"""The reader of machine code, on code that the test writes."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

PTX = """
.version 8.8
.target sm_90a
.visible .entry other(.param .u64 a)
.reqntid 32
{ }
.visible .entry steps(.param .u64 a)
.reqntid 128
{ }
"""

SAID = """
ptxas info    : Compiling entry function 'other' for 'sm_90a'
    0 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 9 registers
ptxas info    : Compiling entry function 'steps' for 'sm_90a'
    0 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 77 registers
"""

CODE = """
.text.other:
        /*0000*/                   EXIT ;
.text.steps:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   MOV R2, RZ ;
.L_x_0:
        /*0020*/                   FFMA R3, R4, R5, R6 ;
        /*0030*/               @P0 BAR.SYNC 0x0 ;
        /*0040*/              @!P1 BRA `(.L_x_0) ;
        /*0050*/                   EXIT ;
.L_x_1:
        /*0060*/                   BRA `(.L_x_1);
"""


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    reader = importlib.import_module("gpu_code")
    said = {"ptxas": SimpleNamespace(stderr=SAID), "nvdisasm": SimpleNamespace(stdout=CODE)}
    monkeypatch.setattr(reader, "_run", lambda tool, *_: said[tool])
    return reader


def test_a_kernel_is_told_from_others_and_its_loop_from_what_is_around_it(reader, tmp_path):
    (tmp_path / "program.ptx").write_text(PTX)
    [kernel] = reader.kernels(tmp_path, {"steps": (2, 256)})
    assert kernel.name == "steps"
    assert (kernel.threads, kernel.registers, kernel.spilled) == (128, 77, 4)
    assert kernel.barriers == 1
    assert kernel.loop == 3 / 2  # two elements a thread
    assert kernel.instructions == (3 + 4 / 2) / 2  # two rows


def test_a_program_without_such_kernels_has_none(reader, tmp_path):
    (tmp_path / "program.ptx").write_text(PTX)
    assert reader.kernels(tmp_path, {"statistics": (2, 256)}) == []
    assert reader.kernels(tmp_path / "empty", {"steps": (2, 256)}) == []

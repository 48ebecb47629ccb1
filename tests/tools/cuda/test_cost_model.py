"""The cost model counts what kernels do: sectors of memory, passes of warps, instructions."""

import ctypes
import json
import pathlib

import numpy as np
import pytest

from tools.cuda import cost_model, nvrtc, sass
from tools.cuda.emulator import ptx
from tools.cuda.emulator.emulation import COMPILER, compiled
from tools.cuda.emulator.stand_in_cupy import Device, installed
from tools.cuda.trace import Tracer, Work

pytestmark = [
    pytest.mark.skipif(not COMPILER, reason="the emulator needs g++"),
    pytest.mark.skipif(
        nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 (90 MB)"
    ),
]

START = """
#define KERNEL extern "C" __global__ void
#define ALL 0xffffffffu
"""


def traced(body, *, launches=1, grid=1, block=32, l1=1 << 16, l2=1 << 20, numbers=1 << 16):
    """Run `k` so often; (accesses, sectors, L2 gives and gets, memory gives and gets) of the last, and its passes."""
    with installed(Device()):
        import cupy

        array = cupy.empty(numbers, "int32")
        array.set(np.zeros(numbers, np.int32))
        cupy.cuda.Device().synchronize()
        code = START + "KERNEL k(int *a) {" + body + "}"
        library = compiled(code, (), architecture=80, traced=True)
        library.functions.trace_gpus(1, (ctypes.c_long * 1)(l2))
        library.functions.trace_l1(0, ctypes.c_long(l1))
        counts, passes = np.zeros(6, np.uint64), np.zeros(len(library.program.blocks), np.uint64)
        for _ in range(launches):
            library.kernels["k"](grid, block, 0, 1, (array,))
            library.functions.trace_take(ctypes.c_void_p(counts.ctypes.data))
            library.functions.trace_take_passes(ctypes.c_void_p(passes.ctypes.data), len(passes))
        return tuple(counts.tolist()), library.program, passes.tolist()


def counts(body, **how):
    return traced(body, **how)[0]


@pytest.mark.parametrize(
    ("body", "sectors"),
    [
        ("a[threadIdx.x] = 1;", 4),  # 128 bytes side by side
        ("a[threadIdx.x + 1] = 1;", 5),
        ("a[31 - threadIdx.x] = 1;", 4),
        ("a[8 * threadIdx.x] = 1;", 32),
        ("a[2 * threadIdx.x] = 1;", 8),
        ("a[5] = 1;", 1),
        ("a[threadIdx.x % 2 * 1000] = 1;", 2),
        ("((int4 *)a)[threadIdx.x] = make_int4(1, 1, 1, 1);", 16),
        ("if (threadIdx.x < 8) a[threadIdx.x] = 1;", 1),
    ],
)
def test_a_warps_access_is_the_sectors_that_it_touches(body, sectors):
    assert counts(body)[:4] == (1, sectors, 0, sectors)


def test_accesses_are_put_together_warp_by_warp():
    assert counts("a[threadIdx.x] = 1;", block=96, grid=5)[:2] == (15, 60)
    # the n-th time of each thread is one access, whatever the others do in between
    body = '_Pragma("unroll 1") for (int i = threadIdx.x; i < 100; i += 32) a[i] = 1;'
    assert counts(body)[:2] == (4, 13)
    # but not across a collective
    body = "for (int i = 0; i < 3; i++) { a[threadIdx.x + 32 * i] = 1; __syncwarp(); }"
    assert counts(body)[:2] == (3, 12)
    assert counts("if (threadIdx.x & 1) a[0] = 1; __syncwarp(); if (!(threadIdx.x & 1)) a[0] = 1;")[:2] == (2, 2)


def test_a_block_finds_again_what_it_has_read():
    again = "int x = a[threadIdx.x]; __syncthreads(); if (x + ((volatile int *)a)[threadIdx.x] == 7) a[0] = 1;"
    assert counts(again) == (2, 8, 4, 0, 4, 0)
    # another block does not, but L2 has it
    assert counts(again, grid=3) == (6, 24, 12, 0, 4, 0)
    # one that has no room for it neither
    far = "int x = 0; for (int t = 0; t < 2; t++) for (int i = 0; i < 64; i++) x += ((volatile int *)a)[32 * i];"
    assert counts(far + "if (x == 7) a[0] = 1;", l1=128 * 256)[2] == 64
    assert counts(far + "if (x == 7) a[0] = 1;", l1=128 * 16)[2] == 128


def test_l2_keeps_what_it_can_between_launches():
    read = "if (a[32 * blockIdx.x] == 7) a[0] = 1;"
    assert counts(read, grid=512, launches=2) == (512, 512, 512, 0, 0, 0)
    assert counts(read, grid=512, launches=2, l2=128 * 16)[4] == 512
    write = "a[32 * blockIdx.x] = 1;"
    assert counts(write, grid=512, launches=2) == (512, 512, 0, 512, 0, 0)
    assert counts(write, grid=512, launches=2, l2=128 * 16) == (512, 512, 0, 512, 0, 512)


def test_warps_are_counted_through_each_block():
    body = """
      int x = a[0];
      #pragma unroll 1
      for (int i = 0; i < x + (int)(threadIdx.x % 32); i++) ((volatile int *)a)[threadIdx.x] = i;
    """
    _, program, passes = traced(body, block=64)
    stores = sum(n * block.opcodes.count("st.volatile.global.u32") for n, block in zip(passes, program.blocks))
    assert stores == 2 * 31  # lanes go 0 to 31 times: a warp as often as the one that goes most often


def test_instructions_of_straight_code_are_those_that_stand_there():
    _, program, passes = traced("a[threadIdx.x] = 3 * a[threadIdx.x + 64];", block=64, grid=4)
    assert passes == [8]
    written = len(program.blocks[0].opcodes)
    assert sass.executed_ptx(program, passes)["k"].all == 8 * written


LISTING = """
.section .text.k
.text.k:
	//## File ".nv_debug_ptx_txt", line 10
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
	//## File ".nv_debug_ptx_txt", line 21
        /*0010*/              @!P0 LDG.E R0, [R2.64] ;
        /*0020*/                   LDG.E R0, [R2.64] ;
	//## File ".nv_debug_ptx_txt", line 22
        /*0030*/                   FFMA R0, R1, R2, R3 ;
        /*0040*/                   FFMA R0, R1, R2, R3 ;
	//## File ".nv_debug_ptx_txt", line 31
        /*0050*/              @UP1 EXIT ;
.L_1:
        /*0060*/                   BRA `(.L_1);
        /*0070*/                   EXIT ;
.L_2:
	//## File ".nv_debug_ptx_txt", line 22
        /*0080*/                   MOV R6, 0xffffffff ;
        /*0090*/                   {how} ;
        /*00a0*/                   VOTE.ANY R29, PT, P0 ;
        /*00b0*/                   BRA `(.L_1) ;
$__internal_0_$__cuda_sm3x_div_rn_noftz_f32_slowpath:
        /*00c0*/                   FADD R1, R2, R3 ;
        /*00d0*/                   NOP;
"""


@pytest.mark.parametrize(
    "how", ["WARPSYNC.COLLECTIVE R29, `(.L_9)", "CALL.REL.NOINC `($__internal_1_$__cuda_sm70_shflsync_bfly_p)"]
)
def test_machine_code_is_counted_by_the_ptx_that_it_stands_for(how):
    code = sass.read_listing(LISTING.replace("{how}", how))
    assert [each.line for each in code["k"]] == [10, 21, 21, 22, 22, 31, 31, 31]
    blocks = (
        ptx.Block("k", [12], ["mov.u32"]),
        ptx.Block("k", [21, 22], ["ld.global.u32", "fma.rn.f32"]),
        ptx.Block("k", [31], ["ret"]),
    )
    found = sass.executed(code, ptx.Program("", blocks), [2, 100, 2])["k"]
    # the loop stands there twice: each copy is passed through half as often; line 10 belongs to the first block
    assert found == (2 + 50 * 4 + 2 * 3, 50 * 2)


@pytest.mark.skipif(sass.disassembler() is None, reason="nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
def test_nvdisasm_reads_what_nvrtc_writes():
    code = START + "KERNEL k(float *a) { a[threadIdx.x] = __fmaf_rn(a[threadIdx.x], 3.f, a[threadIdx.x + 32]); }"
    for architecture in (75, 80, 86, 90, 120):
        build = nvrtc.build(code, {}, architecture, ["-lineinfo"])
        kernel = sass.disassemble(build.cubin)["k"]
        opcodes = [each.opcode.partition(".")[0] for each in kernel]
        assert [opcodes.count(name) for name in ("LDG", "STG", "FFMA", "EXIT")] == [2, 1, 1, 1]
        (fma,) = (each.line for each in kernel if each.opcode == "FFMA")
        assert "fma.rn.f32" in build.ptx.splitlines()[fma - 1]


def test_a_bound_is_that_of_the_busiest_resource():
    spec = cost_model.SPECS[0]
    work = Work(1, 1, 4, {"H100": 4}, {"H100": 1}, {"H100": 1}, {"H100": 1})
    step = cost_model.Step(cost_model.Shape("skipgram", 100, 5, 5), 10, 1.0, {"one": work, "two": work})
    rate = spec.multiprocessors * spec.clock
    assert work.times(spec) == pytest.approx(
        {
            "memory": 1 / 3.35e12,
            "L1": 1 / rate,
            "issue": 1 / rate,
            "FP32": 32 / 128 / rate,
            "L2": 1 / 5120 / 1.755e9,
        }
    )
    work.memory["H100"] = 3_350_000
    bound, limit = step.bound(spec)
    assert (round(bound), limit) == (5_000_000, "memory")


@pytest.mark.parametrize("model", ["skipgram", pytest.param("cbow", marks=pytest.mark.slow)])
def test_a_step_is_counted_whole(model, tmp_path, capsys):
    report = tmp_path / "model.json"
    given = ["--shapes=16/2/2", "--rows=64", "--vocabulary=500", f"--json={report}", "--kernels"]
    assert cost_model.main([*given, f"--model={model}"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("model, not measured: bounds for 500 words")
    read = json.loads(report.read_text())
    assert read["settings"]["what"] == "model, not measured"
    (step,) = read["results"]
    kernels = {"list_entries", "find_levels", f"sum_{model}_tiles", "sum_chunks", "update_weights"}
    assert kernels <= set(step["kernels"])
    assert step["floor_bytes"] % (2 * 64) == 0  # rows of 64 bytes
    update, gpus = step["kernels"]["update_weights"], [spec.name for spec in cost_model.SPECS]
    assert update["launches"] == 1
    assert set(update["instructions"]) == set(update["memory"]) == set(step["bounds"]) == set(gpus)
    # all rows that are not updated in place are read and written here, and no more than all of them
    assert 0 < update["l2"]["H100"] < 4 * step["floor_bytes"]
    assert all(rows > 0 for rows, _ in step["bounds"].values())
    assert printed.count("| update_weights |") == 1


def test_generation_is_counted_too():
    step = cost_model.trace_generation(cost_model.Shape("rows", 0, 3, 2), 300, batch_size=256, steps=2)
    assert 50 < step.rows <= 1024
    assert {"draw_kept", "write_rows", "draw_negatives", "sample_rows", "copy_step"} <= set(step.work)
    assert step.row()["floor, bytes"] == ""


@pytest.mark.slow
@pytest.mark.skipif(sass.disassembler() is None, reason="nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
def test_the_documentation_says_what_the_model_says():
    document = (pathlib.Path(__file__).parents[3] / "docs" / "gpu.md").read_text()
    written = document.partition("| skipgram | 100 / 5 / 5 | 4,096 |")[2].partition("\n")[0]
    cells = dict(zip(["floor, bytes", "asked", "L2", "memory, H100", "instructions, H100"], written.split("|")))
    found = cost_model.trace_step(cost_model.Shape("skipgram", 100, 5, 5), 4096, 70_000).row()
    # where arrays lie decides which of their lines keep each other out of a cache
    for name in ("floor, bytes", "asked", "L2", "instructions, H100"):
        number, wanted = (float(text.replace(",", "")) for text in (found[name], cells[name]))
        assert number == pytest.approx(wanted, rel=0.02), f"{name}: run tools.cuda.cost_model for docs/gpu.md"


def test_other_ptx_cannot_stand_for_a_gpus_own():
    newer = cost_model.SPECS[0]._replace(architecture=120)
    loop = "KERNEL k(int *a) { int s = 0; for (int i = 0; i < a[63]; i++) s += a[i] / 3; a[threadIdx.x] = s; }"
    library = compiled(START + loop, (), architecture=80, traced=True)
    with pytest.raises(RuntimeError, match="sm_120 has other PTX"):
        Tracer([newer])(library, "k", lambda: None)

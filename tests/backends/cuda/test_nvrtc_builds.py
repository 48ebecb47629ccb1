"""NVIDIA's compiler takes the kernels for four generations of GPUs; its figures are no worse than written down."""

import pathlib
import re

import pytest

from pipeline.backends.cuda.launcher import GENERATION, read_sources, signatures, sources
from tools.cuda import kernels, nvrtc

pytestmark = pytest.mark.skipif(
    nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 (90 MB)"
)

TABLE = pathlib.Path(__file__).parents[3] / "docs" / "gpu-kernels.md"
ALL = [(architecture, *shape) for architecture in kernels.GPUS for shape in kernels.SHAPES]
FAST = [(75, "skipgram", 128, 5), (80, "cbow", 100, 5), (90, "skipgram", 300, 15), (120, "skipgram", 128, 5)]
PTX_TYPES = {"int32": "u32", "float32": "f32", "uint32": "u32", "int64": "u64", "uint64": "u64"}
NO_SPILLS = (75, 80, 90)


def check(architecture, model, dims, negatives, spills=False):
    build = nvrtc.build_step(architecture, model, dims, negatives)
    check_build(build, sources(model), spills=spills or architecture not in NO_SPILLS)


def check_build(build, files, spills=False):
    wanted = signatures(read_sources(files))
    assert {kernel.name for kernel in build.kernels} == set(wanted)
    entries = dict(re.findall(r"\.visible \.entry (\w+)\(([^)]*)\)", build.ptx))
    for name, parameters in wanted.items():
        found = re.findall(r"\.param \.(?:\.ptr[^ ]* )?(\w+)", entries[name])
        assert found == ["u64" if p.pointer else PTX_TYPES[p.dtype.name] for p in parameters], name
    # flushed denormals, approximations, sums in no order, and what should be in registers
    for wrong in (r"\.ftz", r"\.approx", r"\b(atom|red)\.global", r"\b(atom|red)\b[^\n]*\.f(16|32|64)", r"\.local\b"):
        assert not re.search(wrong, build.ptx), wrong
    # a mul whose result is added would be one rounding too many or too few if the compiler fused it
    assert not re.search(r"\b(mad|fma)(?!\.rn\.f32|\.lo|\.wide|\.hi)\S*\.f32", build.ptx)
    for kernel in build.kernels:
        if not spills:
            assert kernel.spilled == kernel.stack == 0, kernel


def read_document(text: str) -> tuple[str, dict[tuple, kernels.Figures]]:
    """Version of NVRTC, and the rows by what they are of."""
    version = text.partition("By NVRTC ")[2].partition(",")[0]
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0].isdigit():
            row = kernels.Figures(*(int(cell) if cell.isdigit() else cell for cell in cells))  # type: ignore[arg-type]
            found[row[:5]] = row
    return version, found


def assert_no_worse(rows):
    version, table = read_document(TABLE.read_text())
    if version != ".".join(map(str, nvrtc.version())):
        pytest.skip(f"docs/gpu-kernels.md is of NVRTC {version}")
    for row in rows:
        written = table.get(row[:5])
        if written:
            assert row.registers <= written.registers, row
            assert (row.spilled, row.stack, row.shared) <= (written.spilled, written.stack, written.shared), row
            assert row.occupancy >= written.occupancy, row


@pytest.mark.parametrize(("architecture", "model", "dims", "negatives"), FAST)
def test_builds_have_no_spills_and_no_loose_arithmetic(architecture, model, dims, negatives):
    check(architecture, model, dims, negatives)


@pytest.mark.parametrize("architecture", kernels.GPUS)
def test_kernels_that_make_rows_build_without_a_float(architecture):
    build = nvrtc.build_generation(architecture)
    check_build(build, GENERATION)
    assert not re.search(r"\.(f16|f32|f64|bf16)\b", build.ptx)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "model", "dims", "negatives"), ALL)
def test_all_builds_have_no_spills_and_no_loose_arithmetic(architecture, model, dims, negatives):
    check(architecture, model, dims, negatives)


@pytest.mark.slow
@pytest.mark.parametrize(("dims", "negatives"), [(1, 1), (4096, 1000), (4096, 1), (16, 1000)])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_the_largest_and_smallest_shapes_are_taken(model, dims, negatives):
    check(80, model, dims, negatives, spills=True)


@pytest.mark.slow
def test_the_table_is_up_to_date():
    rows = list(kernels.figures())
    assert_no_worse(rows)
    _, table = read_document(TABLE.read_text())
    assert table == {row[:5]: row for row in rows}, "run: python -m tools.cuda.kernels > docs/gpu-kernels.md"


def test_no_figure_is_worse_than_written_down():
    rows = []
    for architecture, *shape in FAST:
        rows += kernels.rows_of(architecture, *shape, nvrtc.build_step(architecture, *shape))
    rows += kernels.rows_of(80, "rows", 0, 0, nvrtc.build_generation(80))
    assert_no_worse(rows)


@pytest.mark.slow
def test_flags_cannot_contract_the_arithmetic():
    """The source says how each operation rounds: a compiler that may fuse finds nothing to fuse."""
    code, defined = read_sources(sources("skipgram")), nvrtc.constants("skipgram", 100, 5)
    ours, fused = nvrtc.build(code, defined, 80).ptx, nvrtc.build(code, defined, 80, ("-fmad=true",)).ptx
    assert ours == fused
    careless = code.replace("__fadd_rn(coefficient, __fmul_rn(u, sum))", "coefficient + u * sum")
    assert nvrtc.build(careless, defined, 80, ("-fmad=true",)).ptx.count("fma.rn.f32") > ours.count("fma.rn.f32")

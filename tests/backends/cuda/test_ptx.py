"""What NVIDIA's compiler makes of the kernels, run on the CPU: it gives the CPU backend's bits too."""

import numpy as np
import pytest

from benchmarks import nvrtc
from benchmarks.emulator import ptx
from benchmarks.emulator.emulation import COMPILER, EmulationError, compiled
from benchmarks.emulator.stand_in_cupy import Device, installed
from pipeline.backends.cuda.launcher import read_sources, signatures, sources
from tests.backends.cuda.cases import CASES, MODELS, Case, assert_equal
from tests.backends.cuda.test_generation import everything
from tests.helpers.trainings import options_of
from tests.helpers.trainings import train as train_model

pytestmark = [
    pytest.mark.skipif(not COMPILER, reason="the emulator needs g++"),
    pytest.mark.skipif(
        nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 (90 MB)"
    ),
]

FAST = [
    ("dims that are no multiple of 16", 75, "skipgram"),
    ("some rows would move too far", 90, "cbow"),
    ("seventeen outputs", 120, "skipgram"),
]
START = """
#define KERNEL extern "C" __global__ void
#define ALL 0xffffffffu
"""
OPERATIONS = """KERNEL k(int *a) {
  int t = threadIdx.x, x = a[t], lane = t % 32;
  unsigned u = (unsigned)x;
  long long wide = (long long)x * (x >> 3);
  __shared__ int kept[64];
  kept[t] = __popc(u) + __ffs(x) + __clz(x);
  __syncthreads();
  int y = kept[63 - t] ^ (int)__umulhi(u, 0x9E3779B9u) ^ (int)(wide >> 17) ^ (int)((unsigned long long)wide >> 40);
  y += __shfl_up_sync(ALL, y, 3) - __shfl_xor_sync(ALL, x, 5) + __shfl_down_sync(ALL, y, 2);
  y += __shfl_sync(ALL, y, x & 31);
  unsigned same = __match_any_sync(ALL, u % 3), odd = __ballot_sync(ALL, x & 1);
  y ^= (int)(same * 3 + odd) + (x < -7 ? x / 7 : x % 5) + (x < 3 ? x : 3) * (y > 9 ? y : 9) + (int)(u % 77u + u / 9u);
  float f = __fmaf_rn(__int2float_rn(x), 0.3f, __fdiv_rn(1.f, __int2float_rn(lane + 1)));
  float g = __fsqrt_rn(__fmul_rn(f, f));
  y += __float_as_int(f < 0.f ? __fsub_rn(g, f) : __fadd_rn(g, 2.f));
  __syncwarp();
  a[t] = y + !(f >= g) * 2 + (u > 5u) * 4;
}"""


def launch(code, given, block=64, architecture=80, **how):
    """Run `k` on an array; without an architecture what g++ makes of it."""
    with installed(Device()):
        import cupy

        array = cupy.empty(given.size, "int32")
        array.set(given)
        cupy.cuda.Device().synchronize()
        library = compiled(START + code, (), architecture=architecture, **how)
        library.kernels["k"](1, block, 0, 1, (array,))
        return array.get(out=np.zeros(given.size, np.int32))


@pytest.mark.parametrize(("name", "architecture", "model"), FAST)
def test_what_the_compiler_makes_has_the_bits_of_the_cpu(name, architecture, model):
    with installed(Device(schedule=3, policy="random", architecture=architecture)):
        assert_equal(CASES[name], model, 64)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 80, 90, 120])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("model", MODELS)
def test_all_that_the_compiler_makes_has_the_bits_of_the_cpu(name, architecture, model):
    schedule, block = ((1, 64), (2, 256))[list(CASES).index(name) % 2]
    with installed(Device(schedule=schedule, policy="random", architecture=architecture)):
        assert_equal(CASES[name], model, block)


@pytest.mark.parametrize("architecture", [pytest.param(90, marks=pytest.mark.slow), 120])
def test_rows_made_by_what_the_compiler_makes_are_those_of_the_cpu(architecture):
    with installed(Device(schedule=2, policy="random", architecture=architecture)):
        everything()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_run_by_what_the_compiler_makes_has_the_digest_of_the_cpu(model):
    values = {"model": model, "epochs": 1, "negatives": 3}
    wanted = train_model(options_of(device="cpu", **values))
    with installed(Device(policy="random", architecture=90)):
        assert train_model(options_of(device="gpu", **values)).digest == wanted.digest


@pytest.mark.parametrize("model", ["skipgram", pytest.param("cbow", marks=pytest.mark.slow)])
def test_the_compiler_adds_no_race_and_no_access_outside_of_arrays(model):
    """Nor an address that is no multiple of what is touched there, which a device refuses."""
    case = Case(vocabulary=150, dims=20, rows=300, negatives=8, fewest=0, tau=30.0)
    with installed(Device(schedule=3, policy="random", watched=True, architecture=90)):
        assert_equal(case, model, 64)


@pytest.mark.parametrize("architecture", [75, 120])
def test_instructions_do_what_cuda_says(architecture):
    """By another way: g++ compiles the CUDA itself."""
    given = np.random.default_rng(3).integers(-(2**31), 2**31, 64).astype(np.int32)
    given[:4] = 0, 1, -1, 2**31 - 1
    by_gcc = OPERATIONS.replace("__shared__ int kept[64]", "SHARED(int, kept, 64)")
    by_gcc = "static int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }\n" + by_gcc
    found = launch(OPERATIONS, given, architecture=architecture)
    np.testing.assert_array_equal(found, launch(by_gcc, given, architecture=0))


def test_a_defect_of_the_compiler_would_be_noticed():
    """The PTX is really what runs: a sum that it rounds another way changes the bits."""
    whole = nvrtc.build

    def worse(*given):
        build = whole(*given)
        return nvrtc.Build(build.kernels, build.ptx.replace("\tsub.rn.f32", "\tadd.rn.f32", 1), build.cubin)

    with pytest.MonkeyPatch.context() as patched, installed(Device(architecture=86)):
        patched.setattr(nvrtc, "build", worse)
        with pytest.raises(AssertionError):
            assert_equal(Case(dims=16, rows=50), "skipgram")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("*(long long *)(a + 1) = a[0];", "8 bytes were touched at an address that is no multiple of them"),
        ("a[threadIdx.x + 1] = a[threadIdx.x];", "a race"),
        ("a[threadIdx.x + 9] = 1;", "4 bytes were touched that are in no array"),
        ("__shared__ int s[32]; s[threadIdx.x / 2] = a[0]; __syncthreads(); a[0] = s[a[1]];", "a race"),
    ],
)
def test_wrong_accesses_are_noticed(body, said):
    with pytest.raises(EmulationError, match=said):
        launch(f"KERNEL k(int *a) {{ {body} }}", np.zeros(70, np.int32), watched=True)


def test_an_instruction_that_is_not_known_is_named():
    code = "KERNEL k(int *a) { a[0] = __dp4a(a[1], a[2], a[3]); }"
    with pytest.raises(NotImplementedError, match=r"line \d+ of k: dp4a\.s32\.s32"):
        ptx.translate(nvrtc.build(START + code, {}, 80).ptx, signatures(code))
    text = nvrtc.build(START + "KERNEL k(int *a) { a[0] = a[1] + 5; }", {}, 80).ptx
    text = text.replace("\tret;", "\t{ mul.lo.s32 %r1, %r1, %r1; }\n\tret;")
    with pytest.raises(NotImplementedError, match=r"line \d+ of k: { mul"):
        ptx.translate(text, signatures(code))


def test_every_instruction_is_translated_and_counted_once():
    code = read_sources(sources("skipgram"))
    build = nvrtc.build(code, nvrtc.constants("skipgram", 100, 5), 80)
    program = ptx.translate(build.ptx, signatures(code))
    lines = [line for block in program.blocks for line in block.lines]
    assert len(lines) == len(set(lines))
    text = enumerate(build.ptx.splitlines(), start=1)
    assert sorted(lines) == [i for i, line in text if line.endswith(";") and not line.strip().startswith((".", "//"))]

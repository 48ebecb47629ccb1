"""--device: which one is taken, what is said, and that the model is the same on each."""

import os
import re
import subprocess
import sys
import types

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.backends import open_backend as choice
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.buffers import Room, Shape
from pipeline.backends.cuda.device import NoGpuError, find_gpu
from pipeline.batches.rows import Rows
from pipeline.batches.shards import BatchShard
from pipeline.errors import InputError, InterruptedRunError
from pipeline.options import Options
from pipeline.words.vocabulary import VocabularyRef
from tests.backends.cuda import cases
from tests.helpers.commands import ROOT, TINY, train, write_corpus
from tests.helpers.keys import KEY
from tests.helpers.trainings import new_records, options_of
from tests.helpers.trainings import train as train_model
from tools.cuda.emulator import stand_in_cupy
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed
from transforms.job_context import JobContext
from transforms.train import Train

needs_compiler = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")


@pytest.fixture
def without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def broken_cupy(what):
    """CuPy on a machine that lacks one thing."""
    made = Device().modules()["cupy"]

    def fail(*arguments):
        raise RuntimeError(f"{what}: not today\nand a second line")

    if what == "NVRTC":
        made.cuda.nvrtc.getVersion = fail
    elif what == "driver":
        made.cuda.runtime.getDeviceCount = fail
    elif what == "no device":
        made.cuda.runtime.getDeviceCount = lambda: 0
    elif what == "dead device":
        made.empty = fail
    elif what in ("old device", "oldest device"):
        capability = "61" if what == "old device" else "70"
        made.cuda.Device = lambda: types.SimpleNamespace(id=0, compute_capability=capability, synchronize=lambda: None)
    return made


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("NVRTC", r"NVRTC, .* is not found \(RuntimeError: NVRTC: not today\)"),
        ("driver", r"no NVIDIA driver answers \(RuntimeError: driver: not today\)"),
        ("no device", "the driver shows no device"),
        ("dead device", r"the device does not answer \(RuntimeError: dead device: not today\)"),
        ("old device", r"Emulated GPU has compute capability 6\.1, 7\.0 or later is needed"),
    ],
)
def test_what_is_missing_is_said(monkeypatch, what, said):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy(what))
    with pytest.raises(NoGpuError, match=said):
        find_gpu()
    with pytest.raises(InputError, match=rf"^--device=gpu: .*{said}.*pip install 'beam2vec\[gpu\]'"):
        choice.gpu_for("gpu")
    assert choice.gpu_for("auto") is None


def test_the_oldest_device_that_will_do_is_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy("oldest device"))
    assert find_gpu().name == "Emulated GPU"


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_cupy_keeps_machine_code_where_nobody_else_can_put_any(tmp_path, mode):
    names = ["CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"]
    (tmp_path / "cupy.py").write_text(f"import os; print(*map(os.environ.get, {names}))")
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    script = "from pipeline.backends.cuda.device import find_gpu; find_gpu()"  # it ends there: this CuPy has no more
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUPY_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": f"{tmp_path}:{ROOT}", "HOME": str(home)},
    )
    kept = mode == 0o755
    assert done.stdout.split() == ([f"{home}/.cupy/kernel_cache", "None"] if kept else ["/", "1"])
    line = f"(everybody may write to {home}): set CUPY_CACHE_DIR to a folder of your own"
    assert (line in done.stderr) == (not kept)
    assert (home / ".cupy").exists() == kept


def test_a_gpu_that_is_wanted_and_not_there_is_a_usage_error(without_cupy, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt")
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", "--device=gpu", *TINY)
    assert outcome.status == 2
    assert outcome.error.startswith("--device=gpu: CuPy cannot be imported (")
    for part in ("driver (525 or later for CUDA 12", "'beam2vec[gpu-cuda13]'", "--device=cpu gives the same bytes"):
        assert part in outcome.error
    assert not (tmp_path / "run").exists()


@needs_compiler
@pytest.mark.parametrize("model", cases.MODELS)
@pytest.mark.parametrize("policy", ["exclude_target", "distinct", "any"])
def test_a_run_has_one_digest_on_both_devices(model, policy, caplog):
    values = {"model": model, "negative_policy": policy, "epochs": 1, "negatives": 3, "holdout": 0.02}
    wanted = train_model(options_of(device="cpu", **values))
    with installed(Device(schedule=2, policy="random")):
        found = train_model(options_of(device="gpu", **values))
    assert found.digest == wanted.digest
    assert "training on Emulated GPU (1024.0 GiB, driver for CUDA 12.8)" in caplog.messages


@needs_compiler
def test_a_run_goes_on_from_one_device_to_the_other():
    values = {"checkpoint_every": 6, "epochs": 1}
    wanted = train_model(options_of(device="cpu", **values))
    records, devices = new_records(), ["auto", "cpu", "gpu", "cpu"]
    with installed(Device(policy="eager-1")):
        for device in devices[:-1]:
            with pytest.raises(InterruptedRunError):
                train_model(options_of(device=device, **values), records, stop=lambda: True)
    assert train_model(options_of(device=devices[-1], **values), records).digest == wanted.digest


@needs_compiler
def test_a_command_trains_on_the_gpu_and_says_so(tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt")
    wanted = train(f"--input={corpus}", f"--output={tmp_path / 'cpu'}", "--device=cpu", *TINY)
    with installed(Device(policy="eager-2")):
        outcome = train(f"--input={corpus}", f"--output={tmp_path / 'gpu'}", "--device=gpu", *TINY)
    assert outcome.digest == wanted.digest
    assert "training on Emulated GPU" in outcome.stderr + outcome.stdout


@needs_compiler
def test_a_gpu_with_other_bits_is_not_trusted(caplog):
    wrong = Device(edit=lambda code: code.replace("fold4(s, 2)", "fold4(s, 3)"))
    with installed(wrong):
        with pytest.raises(InputError, match=r"^Emulated GPU .* does not compute a training step as the CPU does"):
            train_model(options_of(device="gpu", epochs=1))
        found = train_model(options_of(device="auto", epochs=1))
    assert found.digest == train_model(options_of(device="cpu", epochs=1)).digest
    assert any(re.match("training on the CPU: Emulated GPU .* does not compute", line) for line in caplog.messages)


@needs_compiler
def test_where_graphs_cannot_be_captured_kernels_are_launched_one_by_one(monkeypatch):
    def refuse(stream):
        raise RuntimeError("cudaErrorStreamCaptureUnsupported")

    monkeypatch.setattr(stand_in_cupy.Stream, "begin_capture", refuse)
    wanted = train_model(options_of(device="cpu", epochs=1))
    with installed(Device(policy="random")):
        assert train_model(options_of(device="gpu", epochs=1)).digest == wanted.digest


@needs_compiler
def test_a_source_that_the_compiler_refuses_leaves_auto_on_the_cpu(caplog):
    with installed(Device(edit=lambda code: code + "this is no C++")):
        train_model(options_of(device="auto", epochs=1))
    assert any("failed on a first training step" in line for line in caplog.messages)


@needs_compiler
def test_vectors_that_do_not_fit_are_told_with_numbers():
    case = cases.Case(vocabulary=1000, dims=100, rows=200)
    needed = 2 * 4 * 1000 * 112
    steps = r"steps of 100 rows with \d+ contexts"
    for memory, what in ((needed - 1, "the vectors of 1,000 words"), (needed + 1000, steps)):
        with installed(Device(memory=memory)), pytest.raises(InputError) as refused:
            cases.on_the_device(case, "skipgram")
        said = rf"the GPU has .*B of 0\.9 MB free, {what}.* of 100 dims need .*B: lower --batch_size"
        assert re.match(said, str(refused.value))


@needs_compiler
def test_memory_that_others_take_meanwhile_is_told_too(monkeypatch):
    case = cases.Case(vocabulary=1000, dims=100, rows=200)
    for memory in (800_000, 1_500_000):  # not enough for the vectors, and for the steps
        device = Device(memory=memory)
        monkeypatch.setattr(device, "free_memory", lambda: (1 << 40, 1 << 40))
        with installed(device), pytest.raises(InputError, match="B left, though they were free: lower --"):
            cases.on_the_device(case, "skipgram")


@needs_compiler
def test_steps_are_refused_that_would_overflow():
    rows = 70_000  # the first has all contexts; the arrays of contexts and negatives are never looked at
    offset = np.full(rows + 1, 2**29, np.int32)
    offset[0] = 0
    negatives = np.broadcast_to(np.int32(0), (rows, 1000))
    wide = Rows(np.zeros(rows, np.int32), offset, np.empty(0, np.int32), negatives)
    with installed(Device()):
        backend = CudaBackend(*cases.Case(dims=4, vocabulary=2).weights(), model="cbow", tau=1.0, zero_hits=True)
        with pytest.raises(InputError, match="entries, a GPU takes 536,870,912 at most: lower --batch_size"):
            backend.train(wide, np.array([0, rows]), np.array([0.1], np.float32))


def test_train_asks_for_a_worker_with_a_gpu():
    def accelerators(device, *arguments):
        pipeline = beam.Pipeline(options=PipelineOptions(list(arguments)))
        context = JobContext(new_records(), {"checkpoints": KEY}, Options.checked({"device": device}), None)
        vocabulary = pipeline | "Vocabulary" >> beam.Create([]).with_output_types(VocabularyRef)
        pipeline | "Shards" >> beam.Create([]).with_output_types(BatchShard) | Train(context, vocabulary, {})
        environments = pipeline.to_runner_api().components.environments.values()
        return [hint.decode() for e in environments for urn, hint in e.resource_hints.items() if "accelerator" in urn]

    assert accelerators("auto") == []
    assert accelerators("cpu") == []
    assert accelerators("gpu") == ["type:nvidia-tesla-t4;count:1;install-nvidia-driver"]
    chosen = "type:nvidia-l4;count:1"
    assert set(accelerators("gpu", f"--resource_hints=accelerator={chosen}")) == {chosen}


@needs_compiler
@pytest.mark.parametrize("model", cases.MODELS)
def test_what_is_allocated_is_what_was_computed(model):
    case = cases.Case(rows=300, dims=100, negatives=9)
    with installed(Device()) as device:
        cases.on_the_device(case, model)
    room = Room(150, int(case.batch().offset[150])).with_headroom(Room())  # the first step is the largest
    sizes = [guard.size for guard in device.live]
    scores = sizes[2] + sizes[-1]  # room for one, and then for the sampled tiles
    assert sum(sizes) == 2 * 4 * case.vocabulary * 112 + Shape(112, 9, model == "cbow").bytes(room) + scores

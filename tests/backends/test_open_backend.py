"""--device: which one is taken, what is said, and that the model is the same on each."""

from __future__ import annotations

import json
import re
import sys

import pytest

from pipeline.backends import open_backend as choice
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.device import NoGpuError, find_gpu
from pipeline.errors import DoesNotFitError, InputError, InterruptedRunError, PipelineError
from pipeline.model.loss_curve import TrainedOn, read_devices
from pipeline.training.replicas.trainer import Replicas
from tests.backends.cuda import cases
from tests.helpers.broken_cupy import LACKING, broken_cupy
from tests.helpers.commands import TINY, train, write_corpus
from tests.helpers.keys import KEY
from tests.helpers.trainings import COUNTS, WORDS, commits_of, new_records, options_of, shards_of
from tests.helpers.trainings import train as train_model
from tools.cuda.emulator import stand_in_cupy
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import CUDAError, Device, installed

needs_compiler = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")


@pytest.fixture
def without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.parametrize(("what", "said"), LACKING)
def test_auto_says_why_a_machine_with_cupy_trains_on_the_cpu(monkeypatch, what, said):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy(what))
    with pytest.raises(InputError, match=rf"^--device=gpu: .*{said}.*pip install 'beam2vec\[gpu\]'"):
        choice.gpu_for("gpu")
    assert re.search(said, choice.gpu_for("auto"))


def test_auto_says_what_it_took(monkeypatch, caplog):
    records = new_records()
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy("no device"))
    train_model(options_of(device="auto", epochs=1), records)
    why = "the driver shows no device: is CUDA_VISIBLE_DEVICES set?"
    assert f"training on the CPU: {why}" in caplog.messages
    assert read_devices(records, KEY) == [TrainedOn(0, "CPU", why)]
    monkeypatch.setattr(choice, "find_gpu", _without_cupy)
    train_model(options_of(device="auto", epochs=1))
    assert "training on the CPU" in caplog.messages


def _without_cupy():
    raise choice.NoCupyError("no CuPy")


def test_the_summary_and_json_name_the_device(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy("no device"))
    corpus, file = write_corpus(tmp_path / "corpus.txt"), tmp_path / "result.json"
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", f"--json={file}", "--device=auto", *TINY)
    why = "the driver shows no device: is CUDA_VISIBLE_DEVICES set?"
    assert f", on CPU ({why})\n" in outcome.stdout
    assert json.loads(file.read_text())["devices"] == [{"step": 0, "device": "CPU", "reason": why}]


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


def fail_at(monkeypatch, method, number, error):
    """One call of a method of the backend raises an error; bits are not checked before."""
    real, calls = getattr(CudaBackend, method), []

    def call(self, *given):
        calls.append(given)
        if len(calls) == number:
            raise error
        return real(self, *given)

    monkeypatch.setattr(choice, "check_bits", lambda *given: True)
    monkeypatch.setattr(CudaBackend, method, call)


FULL = "the GPU has 1.0 MB of 2.0 MB free, steps need 3.0 MB"


@needs_compiler
def test_what_does_not_fit_in_mid_run_goes_on_on_the_cpu(monkeypatch, caplog):
    wanted, records = train_model(options_of(device="cpu")), new_records()
    fail_at(monkeypatch, "_make_room", 2, DoesNotFitError(FULL))
    with installed(Device()):
        assert train_model(options_of(device="auto"), records).digest == wanted.digest
    assert read_devices(records, KEY) == [TrainedOn(0, "Emulated GPU"), TrainedOn(23, "CPU", FULL)]
    assert f"training goes on on the CPU after step 23 of 48: {FULL}" in caplog.messages


@needs_compiler
def test_a_replica_that_does_not_fit_begins_its_slice_again_on_the_cpu(monkeypatch):
    options = options_of(device="auto", replicas=2, rounds=1)

    def train_replicas(records):
        replicas = Replicas(options, commits_of(records))
        return replicas.train(WORDS, COUNTS, shards_of(records, options))

    wanted = train_replicas(new_records())  # there is no GPU
    fail_at(monkeypatch, "_make_room", 2, DoesNotFitError(FULL))
    records = new_records()
    with installed(Device()):
        assert train_replicas(records).digest == wanted.digest
    assert [(on.device, on.reason) for on in read_devices(records, KEY)] == [
        ("Emulated GPU", ""),
        ("CPU", FULL),
        ("Emulated GPU", ""),
    ]


@needs_compiler
def test_what_does_not_fit_is_refused_where_a_gpu_is_wanted(monkeypatch):
    monkeypatch.setattr(choice, "check_bits", lambda *given: True)
    with installed(Device(memory=300_000)), pytest.raises(DoesNotFitError, match=r"GPU has .* free, .* need .*: lower"):
        train_model(options_of(device="gpu", epochs=1))


@needs_compiler
def test_a_device_that_is_lost_is_one_line_and_the_same_command_goes_on(monkeypatch):
    values = {"checkpoint_every": 6, "epochs": 1, "device": "gpu"}
    wanted = train_model(options_of(**values | {"device": "cpu"}))
    records = new_records()
    error = CUDAError("cudaErrorECCUncorrectable: uncorrectable ECC error encountered")
    fail_at(monkeypatch, "_start_group", 3, error)
    line = (
        r"^the GPU failed \(cudaErrorECCUncorrectable: .*\): the same command goes on from the last checkpoint, also"
        " with --device=cpu$"
    )
    with installed(Device()):
        with pytest.raises(PipelineError, match=line) as raised:
            train_model(options_of(**values), records)
        assert raised.value.exit_status == 1
        assert train_model(options_of(**values), records).digest == wanted.digest


@pytest.mark.gpu
@pytest.mark.parametrize("model", cases.MODELS)
@pytest.mark.parametrize("policy", ["exclude_target", "distinct", "any"])
def test_a_run_has_one_digest_on_a_real_gpu(model, policy):
    try:
        find_gpu()
    except NoGpuError as error:
        pytest.skip(f"no GPU: {error}")
    values = {"model": model, "negative_policy": policy, "epochs": 1, "negatives": 3}
    wanted = train_model(options_of(device="cpu", **values))
    assert train_model(options_of(device="gpu", **values)).digest == wanted.digest

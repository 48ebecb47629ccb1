"""Machine code is made of our options alone, kept whole, and made again where it is damaged."""

from __future__ import annotations

import json

import pytest

from pipeline.backends.cuda import cubins
from pipeline.backends.cuda.launcher import OPTIONS, options
from pipeline.runtime.messages import take_warnings
from tools.cuda.emulator.stand_in_cupy import Device, Nvrtc

CODE = "KERNEL nothing(int n) {}"


class Module:
    """Keeps what it is given."""

    def load(self, cubin):
        self.cubin = cubin


@pytest.fixture
def cupy(tmp_path, monkeypatch):
    monkeypatch.setattr(cubins, "cache_folder", lambda: str(tmp_path))
    made = Device().modules()["cupy"]
    made.cuda.Module, made.cuda.nvrtc = Module, Nvrtc()
    compile_ = made.cuda.nvrtc.compileProgram
    made.compiled = []

    def count(program, given):
        made.compiled.append(given)
        compile_(program, given)

    made.cuda.nvrtc.compileProgram = count
    return made


def test_nvrtc_gets_each_option_from_us(cupy):
    module = cubins.load_module(cupy, CODE, options({"THREADS": 64}))
    given = ["--gpu-architecture=sm_86", "--std=c++17", *OPTIONS, "-DTHREADS=64"]
    assert OPTIONS == ("-ftz=false", "-fmad=false", "-prec-div=true", "-prec-sqrt=true")
    assert json.loads(module.cubin) == {"code": CODE, "options": given}


def test_what_is_kept_is_taken_and_what_differs_is_compiled(cupy, monkeypatch):
    first = cubins.load_module(cupy, CODE, ()).cubin
    assert cubins.load_module(cupy, CODE, ()).cubin == first
    assert len(cupy.compiled) == 1
    cubins.load_module(cupy, CODE + " ", ())
    cubins.load_module(cupy, CODE, ("-lineinfo",))
    monkeypatch.setattr(type(cupy.cuda.nvrtc), "getVersion", lambda self: (0, 1))
    cubins.load_module(cupy, CODE, ())
    assert len(cupy.compiled) == 4


@pytest.mark.parametrize(
    "damage", [lambda kept: kept[:-1], lambda kept: b"", lambda kept: kept[:40] + b"x" + kept[41:]]
)
def test_damaged_machine_code_is_made_again(cupy, tmp_path, damage):
    wanted = cubins.load_module(cupy, CODE, ()).cubin
    (path,) = tmp_path.rglob("*.cubin")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert cubins.load_module(cupy, CODE, ()).cubin == wanted
    assert path.read_bytes() == whole


def test_a_full_disk_costs_a_line_and_no_more(cupy, tmp_path, monkeypatch):
    def full(handle, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cubins.os, "fdopen", full)
    take_warnings()
    assert cubins.load_module(cupy, CODE, ()).cubin
    (warning,) = take_warnings()
    assert (
        warning
        == f"machine code cannot be kept in {tmp_path / 'cuda'} (No space left on device): later runs compile again"
    )
    assert list((tmp_path / "cuda").iterdir()) == []


@pytest.mark.parametrize("folder", ["", "read-only"])
def test_without_a_folder_nothing_is_kept(cupy, monkeypatch, tmp_path, folder):
    (tmp_path / "read-only").write_text("")  # a file: nothing can be created below it, not even by root
    monkeypatch.setattr(cubins, "cache_folder", lambda: folder and str(tmp_path / folder))
    assert cubins.load_module(cupy, CODE, ()).cubin
    assert not list(tmp_path.rglob("*.cubin"))


def test_what_nvrtc_says_is_one_line(cupy):
    nvrtc = cupy.cuda.nvrtc

    def refuse(program, given):
        raise RuntimeError("NVRTC_ERROR_COMPILATION (6)")

    nvrtc.compileProgram = refuse
    nvrtc.getProgramLog = lambda program: "a.cu(1): warning: odd\nb.cu(2): error: no such thing\n1 error detected"
    with pytest.raises(cubins.CompilerError, match=r"^NVRTC refuses the kernels: b\.cu\(2\): error: no such thing$"):
        cubins.load_module(cupy, CODE, ())


def test_an_option_that_is_given_twice_is_an_error(cupy):
    cupy.cuda.nvrtc.getProgramLog = lambda program: 'nvrtc: warning: "-ftz=false" followed by "-ftz=true"\n'
    with pytest.raises(cubins.CompilerError, match=r"^NVRTC is given an option twice: nvrtc: warning"):
        cubins.load_module(cupy, CODE, ())


def test_a_device_that_nvrtc_does_not_know_is_told(cupy):
    cupy.cuda.nvrtc.getSupportedArchs = lambda: (75, 90)
    with pytest.raises(cubins.CompilerError, match=r"NVRTC 0\.0 compiles for .* 7\.5 to 9\.0, this device has 8\.6"):
        cubins.load_module(cupy, CODE, ())


def test_two_processes_that_compile_at_once_do_not_disturb_each_other(cupy, tmp_path):
    compile_, other = cupy.cuda.nvrtc.compileProgram, []

    def compile_beside_another(program, given):
        compile_(program, given)
        if not other:
            other.append(None)
            other.append(cubins.load_module(cupy, CODE, ()).cubin)  # it begins later, and ends first

    cupy.cuda.nvrtc.compileProgram = compile_beside_another
    assert cubins.load_module(cupy, CODE, ()).cubin == other[1]
    assert len(cupy.compiled) == 2
    assert cubins.load_module(cupy, CODE, ()).cubin == other[1]
    assert len(list((tmp_path / "cuda").iterdir())) == 1

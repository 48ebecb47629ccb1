"""The device that is not there, as CUDA's functions show it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import json
import mmap
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from pipeline.backends.cuda.launcher import Parameter, signatures
from pipeline.kernels.compile import cache_folder
from tools.cuda.emulator import emulation
from tools.cuda.emulator.stand_in_cupy import Device, Event, Stream
from tools.cuda.fake_driver.patches import NotHereError, Patches, check_version, libcuda

OUT_OF_MEMORY, NO_DEVICE, CAPTURE_UNSUPPORTED = 2, 100, 900
TO_DEVICE, TO_HOST = 1, 2
MEMORY = 140 << 30
MULTIPROCESSORS = 132
# Beside the machine code that the product keeps: where that is still there, so is what it was made of.
_CUBINS = pathlib.Path(cache_folder() or emulation.CACHE.parent) / "fake_driver"
"""Source and options of machine code that NVRTC has made, by its digest: an emulator cannot run machine code."""
_NAME, _TOTAL = 0, 288
"""Offsets in cudaDeviceProp."""
_libc = ctypes.CDLL(None)
_libc.memmove.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Compilation(NamedTuple):
    """What NVRTC was given, and made."""

    code: str
    options: tuple[str, ...]
    ptx: str


class _Kernel(NamedTuple):
    name: str
    parameters: list[Parameter]
    launch: Any
    """the emulator's function"""
    flushes: bool


class FakeDriver:
    """State of the device, and the functions that CuPy calls; `installed` makes the only one of a process."""

    def __init__(self) -> None:
        self._libcuda = libcuda()
        try:
            import cupy
        except ImportError as error:
            lines = [line for line in str(error).splitlines() if line.strip("= ")]
            raise NotHereError(f"CuPy cannot be imported: {lines[0]}") from error
        check_version(cupy)
        self.errors: list[str] = []
        """what CUDA's rules do not allow; a real device may let some of it pass"""
        self.compilations: list[Compilation] = []
        self.failing: dict[str, int] = {}
        """CUDA's name -> the error that it returns from now on"""
        self.capability, self.free = 90, MEMORY
        self._memory: dict[int, int] = {}
        self._pinned: dict[int, int] = {}
        self._handles: dict[int, Any] = {}
        self._next = 0x1000
        self.device = Device()
        self._watch_nvrtc(cupy)
        self._patches = Patches(self._libcuda, lambda name, error: self.errors.append(f"{name}: {error}"))
        self._functions = {
            name: functools.partial(self._called, name, getattr(self, name)) for name in dir(self) if name[:2] == "cu"
        }
        self._patches.install(self._functions)
        atexit.register(self._patches.retire)
        self._cuda = cupy.cuda
        self.begin()

    def begin(self, *, pools: bool = False, **given: Any) -> None:
        """An empty device; earlier arrays and streams stay usable.

        Args:
          pools: use CuPy's pools of memory. Without them each array has memory of its own, so that one that was freed
            is noticed wherever it is used.
          given: of `Device`.
        """
        cuda = self._cuda
        cuda.set_allocator(cuda.MemoryPool().malloc if pools else None)
        cuda.set_pinned_memory_allocator(cuda.PinnedMemoryPool().malloc if pools else None)
        self.device = Device(multiprocessors=MULTIPROCESSORS, **given)
        self.errors.clear()
        self.compilations.clear()
        self.failing.clear()
        self._patches.calls.clear()
        self.capability, self.free = 90, MEMORY

    @property
    def calls(self) -> dict[str, int]:
        """CUDA's name -> how often it was called."""
        return self._patches.calls

    # ---- the compiler, whose functions are Python's

    def _watch_nvrtc(self, cupy: Any) -> None:
        nvrtc = cupy.cuda.nvrtc
        create, compile_, cubin = nvrtc.createProgram, nvrtc.compileProgram, nvrtc.getCUBIN
        programs: dict[int, list[Any]] = {}

        def create_program(code: str, *rest: Any) -> int:
            program = create(code, *rest)
            programs[program] = [code, ()]
            return program

        def compile_program(program: int, options: Any) -> None:
            programs[program][1] = tuple(options)
            compile_(program, options)

        def get_cubin(program: int) -> bytes:
            image, (code, options) = cubin(program), programs[program]
            self.compilations.append(Compilation(code, options, nvrtc.getPTX(program).decode()))
            _CUBINS.mkdir(parents=True, exist_ok=True)
            path = _CUBINS / f"{hashlib.sha256(image).hexdigest()}.json"
            path.write_text(json.dumps([len(image), code, options]))
            return image

        nvrtc.createProgram, nvrtc.compileProgram, nvrtc.getCUBIN = create_program, compile_program, get_cubin

    # ---- handles and memory

    def _called(self, name: str, function: Callable[..., int | None], *given: int) -> int | None:
        return self.failing[name] if name in self.failing else function(*given)

    def _new_handle(self, what: Any) -> int:
        self._next += 16
        self._handles[self._next] = what
        return self._next

    def _stream(self, handle: int) -> Stream:
        return self._handles[handle] if handle > 2 else self.device.null

    def _misuse(self, message: str) -> None:
        self.errors.append(message)

    def cudaMalloc(self, pointer: int, size: int, *_: int) -> int | None:
        if size > self.free:
            return OUT_OF_MEMORY
        if any(stream.captured is not None for stream in self.device.streams):
            return CAPTURE_UNSUPPORTED
        begin = _allocated(size)
        self._memory[begin] = size
        self.free -= size
        emulation.note_memory(begin, size, True)
        _write(pointer, begin)
        return None

    def cudaFree(self, pointer: int, *_: int) -> None:
        """A pool would not wait for work in progress either; CUDA's own function would, and hide that it is needed."""
        if pointer:
            size = self._memory.pop(pointer)
            self.free += size
            emulation.note_memory(pointer, size, False)
            _give_back(pointer, size)

    def cudaHostAlloc(self, pointer: int, size: int, *_: int) -> None:
        begin = _allocated(size)
        self._pinned[begin] = size
        _write(pointer, begin)

    def cudaFreeHost(self, pointer: int, *_: int) -> None:
        _give_back(pointer, self._pinned.pop(pointer))

    def cudaMemGetInfo(self, free: int, total: int, *_: int) -> None:
        _write(free, self.free)
        _write(total, MEMORY)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int, *_: int) -> int | None:
        to_device = _int(kind) == TO_DEVICE
        on_device, on_host = (target, source) if to_device else (source, target)
        queue, is_pinned = self._stream(stream), _is_inside(self._pinned, on_host, size)
        if queue.captured is not None and not is_pinned:
            self._misuse("cudaMemcpyAsync: a copy from or to pageable memory in a capture")
            return CAPTURE_UNSUPPORTED

        def copy(kept: Any) -> None:
            if not _is_inside(self._memory, on_device, size):
                self._misuse("cudaMemcpyAsync: memory of the device that is not allocated, or not any more")
            elif is_pinned and not _is_inside(self._pinned, on_host, size):
                self._misuse("cudaMemcpyAsync: pinned memory that was freed")
            else:
                _libc.memmove(target, source, size)

        taken = None
        if to_device and not is_pinned:
            taken = ctypes.create_string_buffer(ctypes.string_at(source, size), size)  # CUDA takes it at once
            source = ctypes.addressof(taken)
        self.device.put(queue, functools.partial(copy, taken))
        if not to_device and not is_pinned:
            queue.synchronize()
        return None

    # ---- streams, events, graphs

    def cudaStreamCreateWithPriority(self, pointer: int, *_: int) -> None:
        _write(pointer, self._new_handle(Stream(self.device)))

    def cudaStreamDestroy(self, handle: int, *_: int) -> None:
        stream = self._handles.pop(handle)
        if stream.captured is None:
            stream.synchronize()

    def cudaStreamSynchronize(self, handle: int, *_: int) -> int | None:
        stream = self._stream(handle)
        if stream.captured is not None:
            return CAPTURE_UNSUPPORTED
        stream.synchronize()
        return None

    def cudaStreamWaitEvent(self, handle: int, event: int, *_: int) -> None:
        self._stream(handle).wait_event(self._handles[event])

    def cudaStreamIsCapturing(self, handle: int, pointer: int, *_: int) -> None:
        _write_int(pointer, int(self._stream(handle).captured is not None))

    def cudaStreamBeginCapture(self, handle: int, *_: int) -> None:
        self._stream(handle).begin_capture()

    def cudaStreamEndCapture(self, handle: int, pointer: int, *_: int) -> None:
        _write(pointer, self._new_handle(self._stream(handle).end_capture()))

    def cudaGraphInstantiate(self, pointer: int, graph: int, *_: int) -> None:
        _write(pointer, self._new_handle(self._handles[graph]))

    def cudaGraphLaunch(self, graph: int, stream: int, *_: int) -> None:
        self._handles[graph].launch(self._stream(stream))

    def cudaGraphUpload(self, *_: int) -> None:
        pass

    def cudaGraphDestroy(self, graph: int, *_: int) -> None:
        self._handles.pop(graph)

    cudaGraphExecDestroy = cudaGraphDestroy

    def cudaEventCreateWithFlags(self, pointer: int, *_: int) -> None:
        _write(pointer, self._new_handle(Event(self.device)))

    def cudaEventDestroy(self, event: int, *_: int) -> None:
        self._handles.pop(event)

    def cudaEventRecord(self, event: int, stream: int, *_: int) -> None:
        self._handles[event].record(self._stream(stream))

    def cudaEventSynchronize(self, event: int, *_: int) -> None:
        self._handles[event].synchronize()

    def cudaEventElapsedTime(self, pointer: int, *_: int) -> None:
        ctypes.c_float.from_address(pointer).value = 0.05

    cudaEventElapsedTime_v2 = cudaEventElapsedTime

    # ---- the device

    def cudaGetLastError(self, *_: int) -> None:
        pass

    def cudaDriverGetVersion(self, pointer: int, *_: int) -> None:
        _write_int(pointer, 13000)

    def cudaGetDeviceCount(self, pointer: int, *_: int) -> None:
        _write_int(pointer, 1)

    def cudaGetDevice(self, pointer: int, *_: int) -> None:
        _write_int(pointer, 0)

    def cudaSetDevice(self, *_: int) -> None:
        pass

    def cudaDeviceGetAttribute(self, pointer: int, attribute: int, *_: int) -> None:
        major, minor = divmod(self.capability, 10)
        _write_int(pointer, {75: major, 76: minor, 16: MULTIPROCESSORS, 1: 1024}.get(_int(attribute), 1))

    def cudaGetDeviceProperties(self, pointer: int, *_: int) -> None:
        ctypes.memset(pointer, 0, 1008)
        ctypes.memmove(pointer + _NAME, b"Fake H200", 9)
        ctypes.c_size_t.from_address(pointer + _TOTAL).value = MEMORY

    cudaGetDeviceProperties_v2 = cudaGetDeviceProperties

    def cudaDeviceSynchronize(self, *_: int) -> None:
        self.device.synchronize()

    # ---- the driver: modules and launches

    def cuModuleLoadData(self, pointer: int, image: int, *_: int) -> None:
        for path in _CUBINS.glob("*.json"):
            size, code, options = json.loads(path.read_text())
            if hashlib.sha256(ctypes.string_at(image, size)).hexdigest() == path.stem:
                break
        else:
            raise ValueError("machine code that NVRTC has not made here")
        defines = [option for option in options if option.startswith("-D")]
        library = emulation.compiled(self.device.edit(code), defines, self.device.watched)
        flushes = "-use_fast_math" in options or [o for o in options if "ftz=" in o][-1:] == ["-ftz=true"]
        _write(pointer, self._new_handle((signatures(code), library, flushes)))

    def cuModuleUnload(self, handle: int, *_: int) -> None:
        self._handles.pop(handle)

    def cuModuleGetFunction(self, pointer: int, module: int, name: int, *_: int) -> None:
        found, library, flushes = self._handles[module]
        kernel = ctypes.string_at(name).decode()
        launch = getattr(library.functions, f"launch_{kernel}")
        launch.restype = ctypes.c_char_p
        _write(pointer, self._new_handle(_Kernel(kernel, found[kernel], launch, flushes)))

    def cuLaunchKernel(
        self, function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, *rest: int
    ) -> None:
        kernel, (stream, pointers) = self._handles[function], rest[:2]
        grid, block, *others = (ctypes.c_uint(number).value for number in (gx, bx, gy, gz, by, bz, shared))
        assert others == [1, 1, 1, 1, 0], others
        values: list[Any] = []
        arrays = []
        for i, parameter in enumerate(kernel.parameters):
            at = ctypes.c_uint64.from_address(pointers + 8 * i).value
            if parameter.pointer:
                begin = ctypes.c_uint64.from_address(at).value
                arrays.append((parameter, begin))
                values.append(ctypes.c_void_p(begin))
            else:
                number = np.frombuffer(ctypes.string_at(at, parameter.dtype.itemsize), parameter.dtype)[0]
                values.append(emulation.C_TYPES[parameter.dtype.name](number.item()))
        self.device.launches += 1
        launched = functools.partial(self._run, kernel, arrays, grid, block, self.device.launches, values)
        self.device.put(self._stream(stream), launched)

    def _run(self, kernel: _Kernel, arrays: list, grid: int, block: int, seed: int, values: list) -> None:
        for parameter, begin in arrays:
            if not _is_inside(self._memory, begin, parameter.dtype.itemsize):
                self._misuse(f"{kernel.name}: {parameter.name} is not memory of the device, or not any more")
                return
            if begin % (16 if parameter.dtype == np.float32 else parameter.dtype.itemsize):
                self._misuse(f"{kernel.name}: {parameter.name} is at {begin:x}, which is not aligned")
        before = self._libcuda.float_mode()
        if kernel.flushes:
            self._libcuda.set_float_mode(self._libcuda.flushing(before))
        try:
            failed = kernel.launch(grid, block, self.device.schedule, ctypes.c_ulong(seed), *values)
        finally:
            self._libcuda.set_float_mode(before)
        if failed:
            self._misuse(failed.decode())


def _allocated(size: int) -> int:
    """Memory that begins as NaN."""
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    begin = int(_libc.mmap(None, max(size, 1), protection, flags, -1, 0))
    ctypes.memset(begin, 0xFF, size)
    return begin


def _give_back(begin: int, size: int) -> None:
    """The memory, but not its addresses: what still uses them is noticed, and harms nothing."""
    _libc.madvise(begin, max(size, 1), mmap.MADV_DONTNEED)


def _is_inside(table: dict[int, int], begin: int, size: int) -> bool:
    return any(first <= begin and begin + size <= first + length for first, length in table.items())


def _int(value: int) -> int:
    """An int, of whose register the upper half may hold anything."""
    return ctypes.c_int(value & 0xFFFFFFFF).value


def _write(pointer: int, value: int) -> None:
    ctypes.c_int64.from_address(pointer).value = value


def _write_int(pointer: int, value: int) -> None:
    ctypes.c_int32.from_address(pointer).value = value


@functools.cache
def fake_driver() -> FakeDriver:
    """The driver of this process; NotHereError with the reason where CuPy cannot be patched."""
    if "cupy" in sys.modules:
        raise NotHereError("CuPy was imported before its driver")
    return FakeDriver()


@contextlib.contextmanager
def fake_device(**given: Any) -> Iterator[FakeDriver]:
    """A fresh device; at the end AssertionError if something was not as CUDA wants it.

    Args:
      given: see `FakeDriver.begin`.
    """
    driver = fake_driver()
    driver.begin(**given)
    try:
        yield driver
        assert not driver.errors, list(driver.errors)
    finally:
        driver.errors.clear()

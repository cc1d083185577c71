#!/usr/bin/env python3
"""Compiles rows.cu and codecs.cuh to rows.ptx by NVRTC, or with --check tells whether rows.ptx is up to date.

Needs the package nvidia-cuda-nvrtc-cu12 in the version below and nothing else. Its PTX is of CUDA 12.0, for GPUs from
Volta on: the driver compiles it for the one at hand.
"""

import ctypes
import pathlib
import sys

import nvidia.cuda_nvrtc

VERSION = (12, 0)
HERE = pathlib.Path(__file__).parent


def compiled() -> bytes:
    library = pathlib.Path(nvidia.cuda_nvrtc.__path__[0], "lib", "libnvrtc.so.12")
    nvrtc = ctypes.CDLL(str(library))

    def call(name, *arguments):
        code = getattr(nvrtc, name)(*arguments)
        if code != 0:
            raise SystemExit(f"{name}: error {code}\n{log() if name == 'nvrtcCompileProgram' else ''}")

    def log():
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, text)
        return text.value.decode()

    major, minor = ctypes.c_int(), ctypes.c_int()
    call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    if (major.value, minor.value) != VERSION:
        raise SystemExit(f"NVRTC is {major.value}.{minor.value}, expected {VERSION[0]}.{VERSION[1]}")
    program = ctypes.c_void_p()
    source = (HERE / "rows.cu").read_bytes()
    header = b"codecs.cuh"
    headers = (ctypes.c_char_p * 1)((HERE / header.decode()).read_bytes())
    names = (ctypes.c_char_p * 1)(header)
    call("nvrtcCreateProgram", ctypes.byref(program), source, b"rows.cu", 1, headers, names)
    # Products stay products: values are those of the processor to the bit.
    options = [b"--gpu-architecture=compute_70", b"--std=c++17", b"--fmad=false"]
    array = (ctypes.c_char_p * len(options))(*options)
    call("nvrtcCompileProgram", program, len(options), array)
    size = ctypes.c_size_t()
    call("nvrtcGetPTXSize", program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    call("nvrtcGetPTX", program, ptx)
    return ptx.value


def main() -> None:
    path = HERE / "rows.ptx"
    ptx = compiled()
    if sys.argv[1:] == ["--check"]:
        if not path.exists() or path.read_bytes() != ptx:
            raise SystemExit("rows.ptx is not what rows.cu and codecs.cuh compile to: run make_ptx.py")
    else:
        path.write_bytes(ptx)


if __name__ == "__main__":
    main()

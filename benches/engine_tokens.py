"""Greedy tokens of an engine, with their log probabilities, as JSON: what `gpu_engines.sh` compares.

    python benches/engine_tokens.py vllm|sglang MODEL OUT [SETTINGS]

SETTINGS is JSON, given to the engine (`vllm.LLM`, `sglang.Engine`) as it is. A pack is named there
(`{"additional_config": {"engram_pack": PACK}}`) or by ENGRAM_PACK.
"""

import json
import sys
from pathlib import Path

# Short and long, with words that repeat and words that do not, so that all kinds of rows are read.
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):",
    "One, two, three, four, five, six, seven, eight, nine,",
    "In the year 1905, a clerk at the patent office in Bern " * 40,
]
TOKENS = 64


def by_vllm(model, settings):
    from vllm import LLM, SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=0, ignore_eos=True)
    for output in LLM(model=model, **settings).generate(PROMPTS, sampling):
        (completion,) = output.outputs
        ids = list(completion.token_ids)
        yield ids, [step[token].logprob for token, step in zip(ids, completion.logprobs, strict=True)]


def by_sglang(model, settings):
    import sglang

    engine = sglang.Engine(model_path=model, **settings)
    sampling = {"temperature": 0, "max_new_tokens": TOKENS, "ignore_eos": True}
    for output in engine.generate(PROMPTS, sampling, return_logprob=True):
        steps = output["meta_info"]["output_token_logprobs"]
        yield [token for _, token, *_ in steps], [logprob for logprob, *_ in steps]
    engine.shutdown()


def main():
    engine, model, out, *settings = sys.argv[1:]
    generate = {"vllm": by_vllm, "sglang": by_sglang}[engine]
    found = list(generate(model, json.loads(settings[0]) if settings else {}))
    assert all(len(ids) == TOKENS for ids, _ in found), "a text ended early"
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

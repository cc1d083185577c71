"""A process of vLLM's on a processor: its configuration, and itself as all of its groups."""

import tempfile
from functools import cache
from pathlib import Path

from vllm.config import DeviceConfig, EngramConfig, VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel

MAX_TOKENS = 64


def config(pack, cpu_offload=False):
    """What vLLM's command line makes of `--additional-config`."""
    additional = {} if pack is None else {"engram_pack": {"pack": str(pack)}}
    made = VllmConfig(device_config=DeviceConfig(device="cpu"), additional_config=additional)
    made.engram_config = EngramConfig(cpu_offload=cpu_offload)
    made.scheduler_config.max_num_batched_tokens = MAX_TOKENS
    return made


@cache
def join_groups():
    rendezvous = Path(tempfile.mkdtemp(), "rendezvous")
    with set_current_vllm_config(config(None)):
        init_distributed_environment(1, 0, f"file://{rendezvous}", 0, "gloo")
        initialize_model_parallel(1, 1)

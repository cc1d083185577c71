"""Triton's kernels run on a processor if they are told before anybody imports Triton, as PyTorch does."""

import os

os.environ["TRITON_INTERPRET"] = "1"

"""Log-likelihoods the plain way, one row a forward pass of the unchanged transformers model: what ours must equal.

Slow, and on purpose without anything of ours but the tokens: transformers' own attention, no packing, no sharing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from camelid.models.compute import choose_compute
from camelid.models.prefix_tree import Asked


@torch.inference_mode()
def plain_logprobs(path: Path, rows: Sequence[Asked]) -> list[float]:
    """Sum of the asked tokens' log-probabilities of each row, in float32."""
    device = choose_compute("float32").device
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True).eval()
    model = model.to(device)
    sums = []
    for row in rows:
        ids = torch.tensor([list(row.ids)], device=device)
        logprobs = model(input_ids=ids[:, :-1], use_cache=False).logits[0, row.start - 1 :].float().log_softmax(-1)
        sums.append(float(logprobs.gather(1, ids[0, row.start :, None]).double().sum()))
    return sums

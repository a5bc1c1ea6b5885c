"""Log-likelihoods the plain way, one row a forward pass of the unchanged transformers model: what ours must equal.

Slow, and on purpose without anything of ours but the tokens: transformers' own attention, no packing, no sharing. The
softmax is in float64: torch's log_softmax in float32 on a CPU is off by 9e-6 nats a token over 49,152 logits, always to
the same side, which adds up to 8e-4 over the 70 tokens of a PIQA solution.
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
    """Sum of the asked tokens' log-probabilities of each row; the network in float32."""
    device = choose_compute("float32").device
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True).eval()
    model = model.to(device)
    sums = []
    for row in rows:
        ids = torch.tensor([list(row.ids)], device=device)
        asked = len(row.ids) - row.start
        logits = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=asked).logits[0]
        logprobs = logits.double().log_softmax(-1)
        sums.append(float(logprobs.gather(1, ids[0, row.start :, None]).sum()))
    return sums

"""A local classifier of texts, such as one for toxicity: P(label) of each text.

Any folder that transformers loads as AutoModelForSequenceClassification, safetensors only. Encoders attend over padded
batches, not over our packed rows, so this shares nothing with the reward model. Left out: classifiers that are code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from camelid.models.compute import choose_compute

TOXIC_LABELS = ("toxic", "toxicity", "hate", "hateful", "hate speech", "offensive", "abusive")
"""Names under which classifiers give what is asked for here, where the user names none."""
BATCH = 32


class Classifier:
    """P(one label) of texts."""

    def __init__(self, path: Path, label: str = "", *, max_tokens: int = 512):
        if not list(path.glob("*.safetensors")):
            raise ValueError(
                f"{path} has no .safetensors file: give the local folder of a classifier, never a .bin file"
            )
        self.compute = choose_compute("float32")
        self.tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        self.model, report = AutoModelForSequenceClassification.from_pretrained(
            path, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        if report["missing_keys"]:
            raise ValueError(f"{path} is no classifier: it lacks {', '.join(sorted(report['missing_keys'])[:3])}")
        self.model.to(self.compute.device).eval()
        self.max_tokens = max_tokens
        names = self.model.config.id2label
        self.index = _find(names, label)
        self.label = names[self.index]

    @torch.no_grad()
    def probabilities(self, texts: Sequence[str], tick: Callable[[int], None] = lambda rows: None) -> list[float]:
        """P(label) of each text; several labels that do not exclude each other each have their own sigmoid."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # like lengths share a batch: little padding
        result = [0.0] * len(texts)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            encoded = self.tokenizer(
                [texts[i] for i in part], padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self.compute.device)
            logits = self.model(**encoded).logits.float()
            apart = logits.shape[1] == 1 or self.model.config.problem_type == "multi_label_classification"
            found = (logits.sigmoid() if apart else logits.softmax(dim=1))[:, self.index]
            for i, probability in zip(part, found.tolist(), strict=True):
                result[i] = probability
            tick(len(part))
        return result


def _find(names: dict[int, str], wanted: str) -> int:
    """Index of a label by its name; raises ValueError with the names there are."""
    options = (wanted.lower(),) if wanted else TOXIC_LABELS
    for option in options:
        for index, name in names.items():
            if name.lower() == option:
                return int(index)
    raise ValueError(
        f"the classifier's labels are {', '.join(names.values())}; say with --label which of them means toxic"
    )

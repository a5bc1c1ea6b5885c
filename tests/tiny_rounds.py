"""LLaMA-2-Chat with everything on, small enough for a tiny model: two rounds in some seconds."""

from __future__ import annotations

import json
from pathlib import Path

from camelid import settings_text
from camelid.recipes.llama2_chat import STARTER, stages
from camelid.recipes.llama2_chat_tiny import Llama2ChatTiny
from camelid.runs import Stage

WORDS = ("red", "blue", "llama", "France", "Paris", "capital")
PAIRS = [(a, b) for a in WORDS for b in WORDS if a != b]
HELD = {"model.precision": "float32", "model.lora_rank": 4, "model.lora_first_layer": 0}
REWARD = {**HELD, "num_layers": 1, "held_out": 8, "batch_size": 8, "checkpoint_every": 2}
SFT = {**HELD, "epochs": 0.25, "opening_epochs": 0.25, "batch_size": 8, "checkpoint_every": 2}
ENDING = {"sampling.max_new_tokens": 40, "sampling.stop": ["s", "t", " "]}
"""A random model hardly ever ends its turn; a stop string ends most completions."""
CHANGES = {
    "judge": REWARD,
    "annotator": REWARD,
    "alarm": REWARD,
    "sft": SFT,
    "rounds": 2,
    "round.reward": REWARD,
    "round.pairs.sampling.max_new_tokens": 8,
    "round.pairs.other_sampling.max_new_tokens": 8,
    "round.pairs.max_prompts": 8,
    "round.temperature": {
        "temperatures": [0.7, 1.0],
        "best_of": 2,
        "num_samples": 2,
        "max_prompts": 4,
        "prompts_a_chunk": 2,
        "sampling.max_new_tokens": 8,
    },
    "round.best": {"num_samples": 2, "max_prompts": 8, "prompts_a_chunk": 3, **ENDING},
    "round.pool.rows_a_chunk": 3,
    "round.ghost": {
        "keep": "all",
        "num_samples": 1,
        "num_dialogues": 4,
        "dialogues_a_chunk": 2,
        **ENDING,
    },
    "round.ghost_from": 2,
    "round.distilled": {"keep": "all", "max_prompts": 4, "prompts_a_chunk": 2, **ENDING},
    "round.distilled_from": 2,
    "round.reject": SFT,
    "round.ppo": {
        **HELD,
        "num_iterations": 3,
        "batch_size": 8,
        "mini_batch_size": 4,
        "held_out": 4,
        "held_out_every": 1,
        "patience": 0,
        "guards.divergence_window": 2,
        "sampling.max_new_tokens": 8,
    },
    "round.ppo_from": 2,
    "evaluate": {"sampling.max_new_tokens": 8, "kl_prompts": 4, "prompts_a_chunk": 5, "model.precision": "float32"},
}


def flat(changes: dict, at: str = "") -> list[str]:
    found = []
    for name, value in changes.items():
        if isinstance(value, dict):
            found += flat(value, f"{at}{name}.")
        else:
            found.append(f"{at}{name}={value if isinstance(value, str) else json.dumps(value)}")
    return found


def lines(name: str, start: int, count: int, step: int = 1) -> str:
    return "".join((STARTER / name).read_text().splitlines(keepends=True)[start : start + count : step])


def write_data(folder: Path) -> None:
    """Rows of each kind that the recipe reads, from the starter set and made up."""
    folder.mkdir(exist_ok=True)
    (folder / "prompts.jsonl").write_text(lines("rollout_prompts.jsonl", 44, 16))
    evaluation = [lines("evaluation_prompts.jsonl", start, 6) for start in (0, 120, 190)]
    (folder / "evaluation.jsonl").write_text("".join(evaluation))
    (folder / "demonstrations.jsonl").write_text(lines("demonstrations.jsonl", 0, 24))
    (folder / "preferences.jsonl").write_text(
        lines("preferences.jsonl", 0, 40) + lines("preferences.jsonl", 427, 430, 6)
    )
    asked = [f"\n\nHuman: Hurt {a} with {b}?\n\nAssistant: " for a, b in PAIRS]
    harm = [{"chosen": f"{q}No, please.", "rejected": f"{q}Take it."} for q in asked]
    (folder / "harm.jsonl").write_text("".join(json.dumps(row) + "\n" for row in harm))
    judged = [
        {
            "instruction": f"Tell me of {a} and {b}.",
            "output_1": f"It is {a}.",
            "output_2": f"First {b}, then {a}.",
            "generator_1": "one",
            "generator_2": "two",
            "preference": 1 + i % 2,
        }
        for i, (a, b) in enumerate(PAIRS)
    ]
    (folder / "judged.json").write_text(json.dumps(judged))


def tiny_rounds(folder: Path, model: Path, **changes: str) -> list[Stage]:
    """The recipe's stages on what `write_data` has left in `folder`."""
    files = {
        "demonstrations": ["demonstrations.jsonl"],
        "preferences": ["preferences.jsonl"],
        "safety_preferences": ["harm.jsonl"],
        "judgements": ["judged.json"],
        "prompts": ["prompts.jsonl"],
        "evaluation_prompts": ["evaluation.jsonl"],
    }
    given = {"start_model": str(model), "data": {"folder": str(folder)} | files}
    return stages(settings_text.change(Llama2ChatTiny(), flat({**given, **CHANGES, **changes})))

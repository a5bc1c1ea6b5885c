"""A whole iteration of RLHF: camelid's PPO against TRL's RLOO, from the same model, prompts and reward model.

    python benchmarks/rollout.py --data DATA [--prompts 32] [--copies 4] [--new 64] [--pieces 3] [--out FOLDER]

An iteration draws `--copies` completions of each of `--prompts` prompts (HH), scores them, takes log-probabilities of
the reference, advantages, and one optimizer step on all weights; each piece has other prompts. Ours multiplies in
bfloat16 over float32 weights, and trains a value head besides; TRL is in pure bfloat16, at the fastest of the numbers
of rows that were tried on the first prompts. Loading is not timed.
"""

from __future__ import annotations

import random
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from alternate import Clock, Side, compared, parser, publish, serve, take_turns

TRIED = ((4, 32), (4, 64), (16, 64))
"""TRL's rows a pass in the update, and rows that it draws at once. With all 128 at once an iteration took half as long
again: the cache of `generate` is copied at every token."""
LEARNING_RATE, BETA = 1e-6, 0.01


def read_prompts(chosen: Any) -> list[Any]:
    """Prompts of HH pairs of at most `--longest` tokens, in a seeded order."""
    from transformers import AutoTokenizer

    from camelid.collect.readers import read
    from camelid.models.chat import load_chat_format
    from camelid.types import Preference

    chat = load_chat_format(AutoTokenizer.from_pretrained(chosen.model), "model")
    rows = read(Path(chosen.data) / "preferences/hh_harmless_1800.jsonl.gz", want=Preference).rows
    drawn = random.Random(0).sample([row.prompt for row in rows], len(rows))
    fitting = (prompt for prompt in drawn if len(chat.prompt_ids(prompt)) <= chosen.longest)
    return [next(fitting) for _ in range(chosen.prompts * chosen.pieces)]


class Ours:
    """camelid's PPO stage, an iteration of it."""

    def __init__(self, chosen: Any):
        from camelid import process

        process.prepare()
        from camelid.models.model_settings import ModelSettings
        from camelid.models.optimizer import OptimizerSettings
        from camelid.models.policy import Policy
        from camelid.models.rewards import Rewards

        self.chosen, held = chosen, ModelSettings(lora_rank=0)
        self.policy = Policy.load_for_training(Path(chosen.model), held, OptimizerSettings(), seed=0)
        self.rewards = Rewards.load(Path(chosen.reward_model), None, held, "model")

    def iterate(self, prompts: list[Any]) -> dict[str, Any]:
        """Seconds, and what the iteration says of itself."""
        from camelid.checkpoints import Checkpoints
        from camelid.models.sampling import Sampling
        from camelid.runs import Run
        from camelid.train.ppo import PpoSettings, ppo
        from camelid.types import Prompt

        size = len(prompts) * self.chosen.copies
        settings = PpoSettings(
            sampling=Sampling(max_new_tokens=self.chosen.new),
            num_iterations=1,
            batch_size=size,
            mini_batch_size=size,
            learning_rate=LEARNING_RATE,
            kl_coef=BETA,
            checkpoint_every=2,
        )
        asked = [Prompt(prompt=prompt) for prompt in prompts]
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder), settings, {}, Checkpoints(Path(folder) / "checkpoints"))
            clock = Clock()
            metrics = ppo(run, self.policy, asked, self.rewards.score)
            return {**clock.read(), "score": metrics["score"], "length": metrics["length"], "rows": size}


class Theirs:
    """TRL's RLOO."""

    def __init__(self, chosen: Any):
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

        self.chosen, self.tokenizer = chosen, AutoTokenizer.from_pretrained(chosen.model)
        self.model: Any = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=torch.bfloat16)
        self.reward: Any = AutoModelForSequenceClassification.from_pretrained(chosen.reward_model, dtype=torch.bfloat16)

    def iterate(self, prompts: list[Any], size: int, at_once: int) -> dict[str, Any]:
        """As `Ours.iterate`; the reference and the dataset are made before the clock starts."""
        import trl
        from datasets import Dataset
        from transformers import AutoTokenizer

        rows = len(prompts) * self.chosen.copies
        settings = trl.RLOOConfig(
            output_dir="unused",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=rows // size,
            steps_per_generation=min(at_once, rows) // size,
            num_generations=self.chosen.copies,
            max_completion_length=self.chosen.new,
            max_steps=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            beta=BETA,
            temperature=1.0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
        )
        trainer = trl.RLOOTrainer(
            model=self.model,
            reward_funcs=self.reward,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": [[m.model_dump() for m in prompt] for prompt in prompts]}),
            processing_class=self.tokenizer,
            reward_processing_classes=AutoTokenizer.from_pretrained(self.chosen.reward_model),
        )
        clock = Clock()
        trainer.train()
        said = trainer.state.log_history[0]
        return {**clock.read(), "score": said["reward"], "length": said["completions/mean_length"], "rows": rows}


def answer(side: Any, prompts: list[Any], job: dict[str, Any]) -> dict[str, Any]:
    return side.iterate([prompts[number] for number in job.pop("prompts")], **job)


def fastest(more: list[str], prompts: list[int]) -> tuple[int, int]:
    """Of the ways in `TRIED`."""
    tried = {}
    for size, at_once in TRIED:
        side = Side(__file__, "theirs", more)  # anew for each, or the memory would be that of the hungriest
        tried[size, at_once] = side.ask(prompts=prompts, size=size, at_once=at_once)["seconds"]
        side.close()
    print(f"TRL, seconds of an iteration by rows a pass and at once: {tried}", file=sys.stderr, flush=True)
    return min(tried, key=lambda way: tried[way])


def make_reward_model(model: str, folder: Path) -> None:
    """One with a head that has learnt nothing: as slow as any."""
    from camelid.models.model_settings import ModelSettings
    from camelid.models.optimizer import OptimizerSettings
    from camelid.models.reward_model import RewardModel

    made = RewardModel.create(Path(model), ModelSettings(lora_rank=0), OptimizerSettings(), num_layers=None, seed=0)
    made.save(folder, "A reward model that has learnt nothing.")


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--prompts", type=int, default=32)
    asked.add_argument("--copies", type=int, default=4)
    asked.add_argument("--new", type=int, default=64)
    asked.add_argument("--longest", type=int, default=256)
    asked.add_argument("--pieces", type=int, default=3)
    asked.add_argument("--peer", nargs=2, type=int, metavar=("SIZE", "AT_ONCE"), help="TRL's best, where it is known")
    asked.add_argument("--reward-model", default="", help="made where it is not given")
    chosen = asked.parse_args()
    if chosen.side:
        side = {"ours": Ours, "theirs": Theirs}[chosen.side](chosen)
        return serve(partial(answer, side, read_prompts(chosen)))
    with tempfile.TemporaryDirectory() as folder:
        if not chosen.reward_model:
            chosen.reward_model = folder
            make_reward_model(chosen.model, Path(folder))
        names = ("model", "data", "prompts", "copies", "new", "longest", "pieces", "reward_model")
        more = [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(chosen, name)))]
        sides = {"ours": Side(__file__, "ours", more)}
        pieces = [list(range(chosen.prompts * i, chosen.prompts * (i + 1))) for i in range(chosen.pieces)]
        size, at_once = chosen.peer or fastest(more, pieces[0])
        sides["theirs"] = Side(__file__, "theirs", more)
        sides["theirs"].ask(prompts=pieces[0][:2], size=min(size, 4), at_once=at_once)
        sides["ours"].ask(prompts=pieces[0])
        own = {"ours": {}, "theirs": {"size": size, "at_once": at_once}}
        replies = take_turns(sides, [{"prompts": piece} for piece in pieces], own)
        for side in sides.values():
            side.close()
    import trl

    rows = replies["ours"][0]["rows"]
    publish(
        {
            "benchmark": "rollout",
            "peer_name": f"TRL {trl.__version__} RLOO, bfloat16, {size} rows a pass, {at_once} drawn at once",
            **compared(replies, rows * chosen.pieces, "completions"),
            "rows": rows,
            "mean_length": {who: sum(r["length"] for r in found) / len(found) for who, found in replies.items()},
            "peak_share": None,
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()

"""Executes stages in forked children and kills them when told: a program, driven by tests/test_kill.py over stdin.

Importing torch and transformers takes seconds; forking after it, milliseconds. This process itself never computes, so
its children start with no threads but their own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import transformers

from camelid.evaluate.rules.probe import ProbeSettings, probe_rules
from camelid.evaluate.rules.rerank import RerankSettings, measure_rerank
from camelid.evaluate.version import EvaluateSettings, evaluate_version
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute
from camelid.train.distill import DistillSettings, train_distill
from camelid.train.dpo import DpoSettings, train_dpo
from camelid.train.expert_iteration import ExpertIterationSettings, train_expert_iteration
from camelid.train.guards import GuardSettings, Limit
from camelid.train.kto import KtoSettings, train_kto
from camelid.train.online_dpo import OnlineDpoSettings, train_online_dpo
from camelid.train.policy_gradient import PolicyGradientSettings, train_policy_gradient
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.pretraining_mix import MixSettings
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.rules import RulesSettings, train_rules
from camelid.train.scoring import ScoreSettings
from camelid.train.sft import SftSettings, train_sft
from camelid.train.uptrain import UptrainSettings, uptrain
from tiny_rounds import tiny_rounds

# transformers imports these on first use; here rather than in every child.
WARM = (
    transformers.LlamaForCausalLM,
    transformers.LlamaForSequenceClassification,
    transformers.PreTrainedTokenizerFast,
    transformers.AutoTokenizer,
)

MODEL = ModelSettings(precision="float32", lora_rank=4, micro_batch_tokens=256)
GROUPS = {"num_iterations": 6, "prompts_an_iteration": 6, "prompts_a_step": 3, "learning_rate": 1e-2}
FULL = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=256)


def plan(name: str, inputs: Path) -> list[Stage]:
    """Two rounds of LLaMA-2-Chat, or one stage."""
    if name == "rounds":
        return tiny_rounds(inputs / "rounds", inputs / "model")
    return [stage(name, inputs)]


def stage(name: str, inputs: Path) -> Stage:
    """A stage that takes a second or two on the tiny model, with everything on that a resumed run could get wrong."""
    model, reward = inputs / "model", inputs / "reward"
    prompts = inputs / "prompts.jsonl"
    stages = {
        "sft": (
            train_sft,
            SftSettings(
                model=MODEL,
                batch_size=4,
                epochs=3,
                held_out=6,
                checkpoint_every=2,
                learning_rate=1e-2,
                residual_dropout=0.3,
            ),
            {"model": model, "demonstrations": inputs / "demonstrations.jsonl"},
        ),
        "reward": (
            train_reward,
            RewardSettings(
                model=MODEL,
                batch_size=8,
                epochs=3,
                held_out=6,
                checkpoint_every=2,
                num_layers=1,
                safety_coef=0.5,
                warmup_fraction=0.2,
            ),
            {
                "model": model,
                "preferences": inputs / "preferences.jsonl",
                "rankings": inputs / "rankings.jsonl",
                "samples": inputs / "comparisons.jsonl",
            },
        ),
        "dpo": (
            train_dpo,
            DpoSettings(model=FULL, batch_size=4, epochs=2, held_out=6, checkpoint_every=2, margins="small"),
            {"model": model, "preferences": inputs / "preferences.jsonl"},
        ),
        "kto": (
            train_kto,
            KtoSettings(model=MODEL, batch_size=8, epochs=2, held_out=6, checkpoint_every=2),
            {"model": model, "preferences": inputs / "preferences.jsonl"},
        ),
        "best": (
            sample_best,
            BestSettings(model=MODEL, sampling=Sampling(max_new_tokens=40), prompts_a_chunk=3),
            {"model": model, "reward_model": reward, "prompts": prompts},
        ),
        "ppo": (
            train_ppo,
            PpoSettings(
                model=MODEL,
                num_iterations=8,
                batch_size=16,
                mini_batch_size=8,
                learning_rate=1e-2,
                kl_coef=0.1,
                kl_target=2.0,
                kl_horizon=100,
                sampling=Sampling(max_new_tokens=16),
            ),
            {"model": model, "reward_model": reward, "prompts": prompts},
        ),
        "policy-gradient": (
            train_policy_gradient,
            PolicyGradientSettings(
                model=MODEL,
                algorithm="reinforce",
                redraws=1,
                num_samples=2,
                kl="loss_unbiased",
                kl_coef=0.1,
                kl_target=2.0,
                kl_horizon=100,
                sampling=Sampling(max_new_tokens=16),
                scoring=ScoreSettings(standardise="running"),
                guards=GuardSettings(length_correlation=Limit(limit=-1.0)),
                **GROUPS,
            ),
            {"model": model, "reward_model": reward, "prompts": prompts},
        ),
        "online-dpo": (
            train_online_dpo,
            OnlineDpoSettings(
                model=FULL,
                sampling=Sampling(max_new_tokens=16),
                scoring=ScoreSettings(unfinished_score=None),
                held_out=4,
                held_out_every=1,
                **GROUPS,
            ),
            {"model": model, "reward_model": reward, "prompts": prompts},
        ),
        "expert-iteration": (
            train_expert_iteration,
            ExpertIterationSettings(
                model=MODEL, num_samples=3, sampling=Sampling(max_new_tokens=16, stop=("s", "t", " ")), **GROUPS
            ),
            {"model": model, "reward_model": reward, "prompts": prompts},
        ),
        "ppo-everything": (
            train_ppo,
            PpoSettings(
                model=MODEL,
                num_iterations=6,
                batch_size=8,
                mini_batch_size=4,
                ppo_epochs=2,
                learning_rate=1e-2,
                warmup_steps=3,
                sampling=Sampling(max_new_tokens=12),
                scoring=ScoreSettings(
                    sources={"reward_model": 1.0, "pattern": 0.5},
                    pattern="[aeiou]",
                    standardise="running",
                    length_penalty=0.01,
                    repetition_penalty=1.0,
                    clip=3.0,
                    unfinished_score=None,
                    unfinished_penalty=0.5,
                ),
                guards=GuardSettings(
                    divergence=Limit(limit=0.0),
                    divergence_window=3,
                    explained_variance=Limit(limit=0.99),
                    value_iterations=2,
                    length_correlation=Limit(limit=-1.0),
                    kl=Limit(limit=1e9, action="stop"),
                ),
                held_out=6,
                held_out_every=2,
                ptx=MixSettings(ratio=1, max_tokens=16),
                ema="beside",
                ema_decay=0.9,
                value_from="reward_model",
            ),
            {
                "model": model,
                "reward_model": reward,
                "alarm_model": reward,
                "prompts": prompts,
                "pretraining": inputs / "documents.jsonl",
            },
        ),
        "distill": (
            train_distill,
            DistillSettings(
                model=FULL,
                keep_layers=1,
                batch_size=4,
                epochs=3,
                held_out=6,
                checkpoint_every=2,
                max_tokens=64,
                on_policy=0.3,
                sampling=Sampling(max_new_tokens=8),
            ),
            {"model": model, "text": inputs / "demonstrations.jsonl"},
        ),
        "uptrain": (
            uptrain,
            UptrainSettings(
                model=FULL, batch_size=4, epochs=6, held_out=6, checkpoint_every=2, window_tokens=32, layout="joined"
            ),
            {"model": model, "documents": inputs / "documents.jsonl"},
        ),
        "rules": (
            train_rules,
            RulesSettings(model=MODEL, batch_size=8, epochs=1, held_out=6, checkpoint_every=2),
            {"model": model, "judgements": inputs / "judgements.jsonl"},
        ),
        "rerank": (
            measure_rerank,
            RerankSettings(
                model=MODEL, sampling=Sampling(max_new_tokens=30), num_samples=3, prompts_a_chunk=3, max_prompts=24
            ),
            {
                "model": model,
                "prompts": prompts,
                "reward_model": reward,
                "rule_model": inputs / "rules",
                "judge_model": inputs / "rules-judge",
            },
        ),
        "probe": (
            probe_rules,
            ProbeSettings(
                model=MODEL,
                probes_per_rule=15,
                probing=Sampling(max_new_tokens=20),
                sampling=Sampling(max_new_tokens=20),
                probes_a_chunk=4,
            ),
            {"model": model, "rule_model": inputs / "rules", "attacks": inputs / "attacks.jsonl"},
        ),
        "evaluate": (
            evaluate_version,
            EvaluateSettings(model=MODEL, sampling=Sampling(max_new_tokens=30), prompts_a_chunk=3, kl_prompts=10),
            {"model": model, "judge": reward, "prompts": prompts, "start_model": model},
        ),
    }
    function, settings, files = stages[name]
    return Stage(name, function, settings, files)


def run_and_kill(job: dict[str, Any]) -> dict[str, Any]:
    """Execute `stage` under `root`; SIGKILL after `seconds`, or as soon as `watched` matches `checkpoints` paths, which
    are checkpoints of a stage if nothing else is said. Null: never."""
    root = Path(job["root"])
    child = os.fork()
    if child == 0:
        try:
            execute(plan(job["stage"], Path(job["inputs"])), root)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    started = time.monotonic()
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        late = job["seconds"] is not None and time.monotonic() - started >= job["seconds"]
        saved = job["checkpoints"] and len(list(root.glob(job["watched"]))) >= job["checkpoints"]
        if late or saved:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    return {"killed": killed, "code": code, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run_and_kill(json.loads(line))), flush=True)

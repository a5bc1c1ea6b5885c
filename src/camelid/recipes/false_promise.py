"""The false promise of imitation: does a student that sounds like its teacher know more? A sweep, with the figure.

A small model imitates recorded answers of a strong teacher: more and more of them, from start models of several sizes,
broadly (all kinds of prompts) or locally (one benchmark's own questions). After each: answers to held-out prompts,
their style beside the teacher's, wins against the teacher by a judge, and facts on benchmarks. Several seeds.

    camelid run false-promise --set data.folder=path/to/data
    camelid run false-promise --set size=tiny --set start_model=path/to/model

Departures from Gudibande et al. 2023 (arXiv:2305.15717), whose question this is:
- Start models: SmolLM2-135M-Instruct, and the same cut to fewer layers and healed by logit distillation, instead of
  GPT-2 1.5B and LLaMA 7B and 13B. They have been instruction-tuned already, so style starts high, not at zero; a base
  model would leave more to learn. The cut ones were healed on chats and know less for it: size and damage go together.
- Teacher: recorded answers of text-davinci-003 to AlpacaEval's instructions (short enough for two cores), hundreds
  of them, instead of 130,000 dialogues with ChatGPT. Amounts are numbers of conversations, some 5 to 70 thousand
  tokens, against 0.3 to 150 million.
- Local imitation: questions of ARC-easy that the evaluation does not ask, with the right answers of the data set, instead
  of 6,000 questions in the manner of Natural Questions answered by ChatGPT. So local data is right by construction.
- Facts: log-likelihood accuracy on ARC-easy, PIQA, BoolQ and LAMBADA, those where a start model beats guessing, instead
  of MMLU, Natural Questions and HumanEval, at which a model of this size guesses.
- Judges: a reward model trained on GPT-4's judgements of other instructions, instead of crowd workers and GPT-4. It is
  tested on unseen instructions first, beside the rule that the longer answer wins. Wins are against the teacher.
- Training: LoRA, two passes, AdamW at 1e-3, instead of full weights, one pass, and a rate of 2e-3 scaled by weights.
- Answers are cut after some tens of tokens, the teacher's at the same place. Tone is told by a rule, not by people.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.judgements import JudgementSettings, import_judgements
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.imitation.cells import CellName
from camelid.evaluate.imitation.judge_check import JudgeCheckSettings, check_judge
from camelid.evaluate.imitation.own_task import OwnTaskSettings, own_task_rows
from camelid.evaluate.imitation.study import StudySettings, write_study
from camelid.evaluate.version import EvaluateSettings, evaluate_version
from camelid.models.loading import resolve_model
from camelid.models.sampler import Sampling
from camelid.models.trunk import ModelSettings
from camelid.runs import Input, Output, Stage, derived_seed
from camelid.train.distill import DistillSettings, train_distill
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft

CHAT = "chatml"
TOKENS = 2048
JUDGES = ("alpaca-7b", "vicuna-13b", "falcon-7b-instruct", "llama-2-7b-chat-hf", "text_davinci_001", "gpt4", "claude")
TASK_FILES = {"arc_easy": "arc_easy", "piqa": "piqa", "boolq": "boolq", "lambada": "lambada_openai"}
GUESSING = {"arc_easy": 0.25, "piqa": 0.5, "boolq": 0.62, "lambada": 0.0}
"""Of BoolQ, saying yes to everything."""

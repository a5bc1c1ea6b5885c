"""The false promise of imitation: does a student that sounds like its teacher know more? A sweep, with the figure.

A small model imitates recorded answers of a strong teacher: more and more of them, from start models of several sizes,
broadly (all kinds of prompts) or locally (one benchmark's own questions). After each: answers to held-out prompts,
their style beside the teacher's, wins against the teacher by a judge, and facts on benchmarks. Several seeds.

    camelid run false-promise --set files.folder=path/to/data
    camelid run false-promise-tiny --set files.folder=path/to/data      # two minutes, to see that everything runs

Departures from Gudibande et al. 2023 (arXiv:2305.15717), whose question this is:
- Start models: SmolLM2-135M-Instruct, and the same cut to fewer layers and healed by logit distillation, instead of
  GPT-2 1.5B and LLaMA 7B and 13B. They have been instruction-tuned already, so style starts high, not at zero; a base
  model would leave more to learn. The cut ones were healed on chats and know less for it: size and damage go together.
- Teacher: recorded answers of text-davinci-003 to AlpacaEval's instructions (short enough for two cores), hundreds
  of them, instead of 130,000 dialogues with ChatGPT. Amounts are numbers of conversations, some 3 to 50 thousand
  tokens, against 0.3 to 150 million.
- Local imitation: questions of ARC-easy that the evaluation does not ask, with the right answers of the data set,
  instead of 6,000 questions like Natural Questions answered by ChatGPT. So local data is right by construction.
- Facts: log-likelihood accuracy on ARC-easy, PIQA, BoolQ and LAMBADA, those where a start model beats guessing, instead
  of MMLU, Natural Questions and HumanEval, at which a model of this size guesses.
- Judges: a reward model trained on GPT-4's judgements of other instructions, instead of crowd workers and GPT-4. It is
  tested on unseen instructions first, beside the rule that the longer answer wins. Wins are against the teacher.
- Training: LoRA, one pass, AdamW at 1e-3, instead of full weights and a rate of 2e-3 scaled by weights.
- Prompts with long recorded answers are left out. Answers are cut after some tens of tokens, the teacher's at the
  same place. Tone is told by a rule, not by people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camelid.collect.hold_out import hold_out
from camelid.collect.judgements import import_judgements
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.imitation.ask import AskSettings, ask_facts
from camelid.evaluate.imitation.cells import CellName
from camelid.evaluate.imitation.judge_check import JudgeCheckSettings, check_judge
from camelid.evaluate.imitation.own_task import OwnTaskSettings, own_task_rows
from camelid.evaluate.imitation.study import StudySettings, write_study
from camelid.evaluate.tasks.registry import find_task
from camelid.evaluate.version import evaluate_version
from camelid.models.loading import resolve_model
from camelid.models.shape import Shape
from camelid.recipes._false_promise import CHAT, FalsePromise
from camelid.runs import Input, Output, Stage
from camelid.train.distill import train_distill
from camelid.train.reward import train_reward
from camelid.train.sft import train_sft


def stages(s: FalsePromise) -> list[Stage]:
    """The recipe's stages, in order."""
    study = Study(s)
    study.bring_in()
    starts = study.start_models()
    for layers, start in starts.items():
        study.measure(CellName(layers=layers, kind="start", amount=0), start)
    for seed in range(s.seeds):
        for layers, start in starts.items():
            amounts = s.amounts if layers == max(starts) else s.amounts[-1:]
            for amount in amounts:
                study.imitate(CellName(layers=layers, kind="broad", amount=amount, seed=seed), start)
            if s.local_amount:
                study.imitate(CellName(layers=layers, kind="local", amount=s.local_amount, seed=seed), start)
    study.gather()
    return study.stages


class Study:
    """The list of stages as it grows, and the names of what they leave."""

    def __init__(self, s: FalsePromise):
        self.s = s
        self.stages: list[Stage] = []
        self.cells: list[CellName] = []
        self.rows = {"broad": Output("data/prompts", "train.jsonl"), "local": Output("data/own-task", "rows.jsonl")}

    def add(self, name: str, function: Any, settings: Any, **inputs: Any) -> None:
        self.stages.append(Stage(name, function, settings, inputs))

    def bring_in(self) -> None:
        """The teacher's answers, split by prompt; the own task's questions; the judge, and how good it is."""
        s, files = self.s, self.s.files
        self.add("data/teacher", import_data, s.teacher, data=[files.at(files.teacher)])
        hold = s.hold_out.model_copy(update={"seed": s.seed})
        self.add("data/prompts", hold_out, hold, conversations=Output("data/teacher", "rows.jsonl"))
        if s.local_amount:
            if s.own_task not in s.items:
                raise ValueError(f"own_task={s.own_task} is not among the benchmarks: {', '.join(s.items)}")
            asked = OwnTaskSettings(task=s.own_task, num_asked=s.items[s.own_task], seed=s.seed)
            self.add("data/own-questions", own_task_rows, asked, benchmark=self.benchmark(s.own_task))
            questions, kept = (Output("data/own-questions", f"{name}.jsonl") for name in ("rows", "asked"))
            self.add("data/own-task", import_data, ImportSettings(), data=[questions], exclude=[kept])
        judged = [files.at(file) for file in files.judgements]
        held_out = Output("data/prompts", "prompts.jsonl")
        seeded = s.judgements.model_copy(update={"seed": s.seed})
        self.add("data/judgements", import_judgements, seeded, judgements=judged, held_out=held_out)
        judge = s.judge.model_copy(update={"seed": s.seed})
        preferences = Output("data/judgements", "train.jsonl")
        self.add("judge", train_reward, judge, model=resolve_model(s.start_model), preferences=preferences)
        check = JudgeCheckSettings(
            chat_format=CHAT, model=s.judge.model, max_answer_tokens=s.answer.sampling.max_new_tokens
        )
        self.add(
            "judge-check",
            check_judge,
            check,
            reward_model=Output("judge", "model"),
            preferences=Output("data/judgements", "test.jsonl"),
            reference=Output("data/prompts", "reference.jsonl"),
        )

    def benchmark(self, task: str) -> Path:
        files = self.s.files
        return files.at(files.benchmarks) / find_task(task).source

    def start_models(self) -> dict[int, Input]:
        """The whole model, and cut ones healed on text without the held-out prompts; by number of layers."""
        s, files = self.s, self.s.files
        whole = resolve_model(s.start_model)
        starts: dict[int, Input] = {Shape.read(whole).layers: whole}
        sizes = [layers for layers in s.layers if layers not in starts]
        if sizes:
            conversations = [files.at(file) for file in files.conversations]
            exclude = [Output("data/prompts", "prompts.jsonl")]
            drawn = ImportSettings(max_rows=s.heal.max_rows, seed=s.seed)
            self.add("data/text", import_data, drawn, data=conversations, exclude=exclude)
        for layers in sizes:
            heal = s.heal.model_copy(update={"keep_layers": layers, "seed": s.seed})
            text = [Output("data/text", "rows.jsonl"), *(files.at(file) for file in files.documents)]
            self.add(f"{layers}-layers/heal", train_distill, heal, model=whole, text=text)
            starts[layers] = Output(f"{layers}-layers/heal", "model")
        return starts

    def imitate(self, cell: CellName, start: Input) -> None:
        """Draw rows by the cell's seed (a larger draw contains a smaller one), imitate them, measure what came."""
        place = _place(cell)
        drawn = ImportSettings(max_rows=cell.amount, seed=cell.seed)
        drawn_name = f"data/{cell.kind}-{cell.amount}-seed-{cell.seed}"
        if all(stage.name != drawn_name for stage in self.stages):
            self.add(drawn_name, import_data, drawn, data=[self.rows[cell.kind]])
        first = int(self.s.frozen_share * cell.layers)
        model = self.s.sft.model.model_copy(update={"lora_first_layer": first})
        settings = self.s.sft.model_copy(update={"model": model, "seed": cell.seed})
        self.add(f"{place}/sft", train_sft, settings, model=start, demonstrations=Output(drawn_name, "rows.jsonl"))
        self.measure(cell, Output(f"{place}/sft", "model"))

    def measure(self, cell: CellName, model: Input) -> None:
        """Answers to held-out prompts, scored by the judge; and facts."""
        place = _place(cell)
        settings = self.s.answer.model_copy(update={"version": place, "seed": cell.seed})
        judge, prompts = Output("judge", "model"), [Output("data/prompts", "prompts.jsonl")]
        self.add(f"{place}/answers", evaluate_version, settings, model=model, judge=judge, prompts=prompts)
        asked = AskSettings(items=self.s.items, model=self.s.answer.model, seed=self.s.seed)
        self.add(f"{place}/facts", ask_facts, asked, model=model, data=[self.benchmark(task) for task in self.s.items])
        self.cells.append(cell)

    def gather(self) -> None:
        s = self.s
        settings = StudySettings(
            cells=tuple(self.cells),
            teacher=s.files.teacher.stem,
            own_task=s.own_task if s.local_amount else "",
            floors=s.guessing,
        )
        self.add(
            "study",
            write_study,
            settings,
            answers=[Output(f"{_place(cell)}/answers", "answers.jsonl") for cell in self.cells],
            facts=[Output(f"{_place(cell)}/facts", "scores.json") for cell in self.cells],
            reference=Output("judge-check", "reference.jsonl"),
            judge_check=Output("judge-check", "accuracy.json"),
        )


def _place(cell: CellName) -> str:
    """`30-layers/start`, `30-layers/broad-480/seed-1`."""
    if cell.kind == "start":
        return f"{cell.layers}-layers/start"
    return f"{cell.layers}-layers/{cell.kind}-{cell.amount}/seed-{cell.seed}"

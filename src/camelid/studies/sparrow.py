"""Sparrow: is one classifier that reads the rule better than one that does not, and does the best of eight break fewer?

Sparrow's rule-conditional classifier had an area under the ROC curve of 0.85 at few examples a rule, a general one 0.77
(arXiv:2209.14375). Here: judgements of two rules that labels stand for (people's, of XSTest's answers: needless
refusals; the starter set's safety labels: harmful help), 32 of each or all, a classifier with and without the rule's
text, beside bags of words. Then the best of eight answers by a preference and a rule model, judged by a rule model that
learnt from other prompts.

    camelid study sparrow
"""

from __future__ import annotations

from camelid.collect.stage import ImportSettings
from camelid.evaluate.rules.judgements import RuleJudgementSettings, make_rule_judgements
from camelid.evaluate.rules.rerank import RerankSettings, measure_rerank
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.studies._starter import STARTER, StarterSettings, read_rows, reward_model_of_half, starter
from camelid.train.rules import RulesSettings, train_rules

KINDS = {"reads the rule": True, "general": False}
FEW, ALL = "few examples", "all examples"
RERANK = "best of 8"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The policy and the preference model, trained once."""
    labels: RuleJudgementSettings = RuleJudgementSettings(truth_rule="", max_rows=100)
    """Which rules the labels stand for."""
    few: int = 32
    """Judgements a rule where they are few."""
    rules: RulesSettings = RulesSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=4, micro_batch_tokens=TOKENS),
        num_layers=10,
        learning_rate=1e-3,
        batch_size=16,
        epochs=2,
        warmup_steps=3,
        max_tokens=224,
        held_out=90,
    )
    """The rule models."""
    rerank: RerankSettings = RerankSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=40), num_samples=8, max_prompts=64
    )
    """The best of eight."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    pairs = read_rows(cells, "labelled", ImportSettings(kind="preferences"), STARTER / "preferences.jsonl")
    replies = [s.folder / f"safety/xstest_completions/xstest_v2_completions_{by}.csv" for by in ("gpt4", "llama2new")]
    made = cells.add("data/judgements", make_rule_judgements, s.labels, preferences=[pairs], replies=replies)
    judgements = [Output(made, "judgements.jsonl")]
    have = starter(cells, start, s.folder, s.starter)
    preference = reward_model_of_half(cells, start, have.files, have.samples, s.starter.reward, 0)
    for seed in range(s.seeds):
        for amount, number in ((FEW, s.few), (ALL, None)):
            for kind, conditional in KINDS.items():
                changes = {"conditional": conditional, "examples_per_rule": number, "seed": seed}
                place = f"seed-{seed}/{'rule' if conditional else 'general'}-{'few' if number else 'all'}"
                settings = s.rules.model_copy(update=changes)
                trained = cells.add(place, train_rules, settings, model=start, judgements=judgements)
                cells.measured(f"{kind}, {amount}", seed, trained, "auc.json")
        halves = [
            cells.add(
                f"seed-{seed}/{part}-half",
                train_rules,
                s.rules.model_copy(update={"part": part, "seed": seed}),
                model=start,
                judgements=judgements,
            )
            for part in ("first", "second")
        ]
        rule_model, judge_model = (Output(half, "model") for half in halves)
        scoring = {"reward_model": preference, "rule_model": rule_model, "judge_model": judge_model}
        rerank = s.rerank.model_copy(update={"seed": seed})
        reads = {"model": have.policy, "prompts": have.files.evaluation}
        cells.measured(RERANK, seed, cells.add(f"seed-{seed}/rerank", measure_rerank, rerank, **reads, **scoring))
    return _concluded(cells, s)


def _concluded(cells: Cells, s: Study) -> list[Stage]:
    arms = tuple(f"{kind}, {amount}" for amount in (FEW, ALL) for kind in KINDS)
    area, words, words_of_all = "area", "TF-IDF a rule", "TF-IDF for all"
    difference = "violations, best of 8 less one answer"
    return cells.conclude(
        title="Sparrow",
        question=__doc__.partition("\n")[0],
        measures=(
            Measure(name=area, path=("mean_over_rules", "auc"), share=True, arms=arms),
            Measure(name=words, path=("mean_over_rules", "tfidf"), share=True, arms=arms),
            Measure(name=words_of_all, path=("mean_over_rules", "tfidf_general"), share=True, arms=arms),
            Measure(name="violations, one answer", path=("any_rule", "without"), share=True, arms=(RERANK,)),
            Measure(name="violations, best of 8", path=("any_rule", "with"), share=True, arms=(RERANK,)),
            Measure(name=difference, path=("any_rule", "difference"), share=True, arms=(RERANK,)),
        ),
        claims=(
            *(
                Claim(
                    text=f"reading the rule helps, {amount}",
                    measure=area,
                    cell=f"reads the rule, {amount}",
                    against=f"general, {amount}",
                )
                for amount in (FEW, ALL)
            ),
            *(
                Claim(
                    text=f"better than bags of words, {amount}",
                    measure=area,
                    cell=f"reads the rule, {amount}",
                    against=f"reads the rule, {amount}",
                    against_measure=words,
                )
                for amount in (FEW, ALL)
            ),
            Claim(text="the best of 8 breaks rules less often", measure=difference, cell=RERANK, direction="below"),
        ),
        figures=(Figure(title="Area under the ROC curve", measures=(area, words, words_of_all), x_label="%"),),
        notes=(
            "The labels were given for other ends: they stand for two of our rules (docs/sparrow.md). Areas are means "
            "over rules, on prompts never seen.",
            f"Rule models: the first {s.rules.num_layers} layers. The judge of the best of 8 learnt from other prompts "
            "than the rule model that picks; no better than its own area, its word is the classifier's.",
        ),
    )

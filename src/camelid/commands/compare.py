"""`camelid compare A B`: style beside a reference, wins by a judge, facts; as a table, as JSON, as figures."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from camelid.commands import print_json, say
from camelid.commands.runs import newest_model
from camelid.commands.shown import in_units
from camelid.durable import write_json
from camelid.evaluate.imitation.answers import Answers, read_answers
from camelid.evaluate.imitation.comparison import Comparison, Side
from camelid.evaluate.imitation.comparison import compare as compare_answers
from camelid.evaluate.imitation.facts import read_facts
from camelid.functional.statistics import Estimate
from camelid.functional.style import TONES
from camelid.table import print_table
from camelid.types import Messages, Prompt, draw


def compare(arguments: argparse.Namespace) -> int:
    """Two models against a reference, or one against the other."""
    facts = [read_facts(folder) for folder in arguments.facts]
    models, reference = _answers(arguments)
    scores = _scores(arguments.judge, [*models, reference]) if arguments.judge else []
    result = compare_answers(models, reference, facts=facts, scores=scores)
    for name, number in result.unpaired.items():
        say(f"{name}: {number} answers left out, since not all have one to that prompt")
    if arguments.out:
        _write(result, Path(arguments.out))
    if arguments.json:
        print_json(result.as_json())
    else:
        _print(result)
    return 0


def _answers(arguments: argparse.Namespace) -> tuple[list[Answers], Answers]:
    """(models, reference): A and B and the reference, or without one A against B. Models are sampled from."""
    words = [arguments.a, arguments.b, *([arguments.reference] if arguments.reference else [])]
    files = {word: read_answers(file) for word in words if (file := _file(word))}
    if arguments.reference and arguments.reference not in files:
        raise ValueError(f"no reference file {arguments.reference}")
    prompts = _prompts(arguments, list(files.values()))
    read = [files[word] if word in files else _sampled(word, prompts, arguments) for word in words]
    if len({answers.name for answers in read}) < len(read):  # two folders called alike, two files of one model
        read = [
            replace(answers, name="/".join(Path(word).parts[-2:])) for answers, word in zip(read, words, strict=True)
        ]
    if read[0].name == read[1].name:
        read[1] = replace(read[1], name=f"{read[1].name} (B)")
    if arguments.out:
        for answers, word in zip(read, words, strict=True):
            if word not in files:
                _keep(answers, Path(arguments.out))
    return (read[:2], read[2]) if arguments.reference else (read[:1], read[1])


def _file(word: str) -> Path | None:
    """A file of answers: itself, or answers.jsonl in the folder of an evaluation."""
    inside = Path(word) / "answers.jsonl"
    return Path(word) if Path(word).is_file() else inside if inside.is_file() else None


def _prompts(arguments: argparse.Namespace, files: list[Answers]) -> list[Messages]:
    """What models are asked: the file of prompts, or else the prompts of the last file of answers."""
    if arguments.prompts:
        from camelid.collect.readers import read

        prompts = [row.prompt for row in read(Path(arguments.prompts), want=Prompt).rows]
        if not prompts:
            raise ValueError(f"{arguments.prompts} holds no prompt; `camelid data check` says why")
    else:
        prompts = list(files[-1].prompts.values()) if files else []
    return draw(prompts, arguments.max_prompts, 0)


def _sampled(word: str, prompts: list[Messages], arguments: argparse.Namespace) -> Answers:
    from camelid.evaluate.imitation.answering import sample_answers
    from camelid.models.loading import resolve_model
    from camelid.models.sampling import Sampling
    from camelid.progress import progress

    run = Path(word)
    folder = newest_model(run) if (run / "run.json").exists() else resolve_model(word)
    if folder is None:
        raise ValueError(f"no stage of {word} has left a language model yet")
    if not prompts:
        raise ValueError(f"{word} is a model and there is nothing to ask it: name --reference or --prompts")
    sampling = Sampling(temperature=arguments.temperature, max_new_tokens=arguments.max_new_tokens)
    with progress(f"answers of {folder.name}", len(prompts)) as tick:
        name = folder.parent.name if folder.name == "model" else folder.name
        return sample_answers(folder, prompts, sampling, name=name, tick=tick)


def _scores(judge: str, several: list[Answers]) -> list[dict[str, float]]:
    from camelid.evaluate.imitation.answering import judge_scores
    from camelid.models.loading import resolve_model
    from camelid.models.reward_model import RewardModel

    model = RewardModel.load(resolve_model(judge))
    prompts = {key: prompt for answers in several for key, prompt in answers.prompts.items()}
    return [judge_scores(model, answers.texts, prompts) for answers in several]


def _keep(answers: Answers, folder: Path) -> None:
    """A sampled model's answers, for the next comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{answers.name.replace('/', '-')}.jsonl").open("w", encoding="utf-8") as file:
        for key, text in answers.texts.items():
            prompt = [message.model_dump() for message in answers.prompts[key]]
            file.write(json.dumps({"prompt": prompt, "text": text, "model": answers.name}, ensure_ascii=False) + "\n")


def _write(result: Comparison, folder: Path) -> None:
    from camelid.evaluate.imitation.figures import write_figures

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "comparison.json", result.as_json())
    for file in write_figures(result, folder):
        say(f"wrote {file}")


def _print(result: Comparison) -> None:
    names = [side.name for side in result.sides]
    columns = (f"beside {result.reference}", *names, *(("difference",) if result.differences else ()))
    rows = [[name, *cells] for name, cells in _rows(result)]
    print_table(columns, rows, right=columns[1:])
    say(
        f"n = {result.n} prompts; value and 95% interval. Style says how like the reference's the answers look, not "
        "whether they are right. Tones are told by the first sentence's words."
    )


def _rows(result: Comparison) -> list[tuple[str, list[str]]]:
    """Name and cells of every row of the table; rows that no side has are left out."""
    sides, differences = result.sides, result.differences

    def row(name: str, get: Any, factor: float, difference: str = "") -> tuple[str, list[str]]:
        cells = [_shown(get(side), factor) for side in sides]
        last = [_shown(differences.get(difference), factor, signed=True)] if differences else []
        return name, [*cells, *last]

    rows = [
        row("similarity of style", lambda s: s.style.similarity, 1),
        row("lists where it lists, %", lambda s: s.style.lists_where_reference_does, 100),
        row("lists where it does not, %", lambda s: s.style.lists_where_reference_does_not, 100),
        row("lists used alike, %", lambda s: s.style.same_list_use, 100, "same_list_use"),
        row("length correlation", lambda s: s.style.length_correlation, 1),
        row("unigram F1", lambda s: s.style.unigram_f1, 1, "unigram_f1"),
        row("unigram recall", lambda s: s.style.unigram_recall, 1),
        row("bigram F1", lambda s: s.style.bigram_f1, 1, "bigram_f1"),
        row("words", lambda s: s.style.words, 1, "words"),
        row("opens in its manner, %", lambda s: s.style.same_tone, 100, "same_tone"),
    ]
    rows += [row(f"  opens: {tone}, %", _tone(tone), 100) for tone in TONES]
    rows += [
        row("judge prefers it, %", lambda s: s.wins, 100),
        row("  at equal length, %", lambda s: s.wins_length_controlled, 100),
    ]
    rows += [row(f"{task}, %", _fact(task), 100) for task in sides[0].facts or {}]
    rows.append(row("mean of common tasks, %", lambda s: s.knowledge, 100, "knowledge"))
    rows.append(("distinct bigrams", [f"{side.style.distinct_2:.3f}" for side in sides] + [""] * bool(differences)))
    return [(name, cells) for name, cells in rows if any(cells)]


def _tone(tone: str) -> Any:
    return lambda side: side.style.tones[tone]


def _fact(task: str) -> Any:
    def get(side: Side) -> Estimate | None:
        return (side.facts or {}).get(task)

    return get


def _shown(estimate: Estimate | None, factor: float, *, signed: bool = False) -> str:
    if estimate is None:
        return ""
    places = 1 if factor == 100 or abs(estimate.value) >= 10 else 3
    return in_units(estimate.percent if factor == 100 else estimate, places, "+" if signed else "")

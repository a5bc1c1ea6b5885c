"""The command line. The only file that knows every stage; it imports each only when its command is called.

The answer goes to stdout, talk and progress to stderr. Exit codes: 0 done, 1 an error, 2 wrong words, 130 stopped by
hand or by SIGTERM; `data check` has its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from camelid import __version__, process
from camelid.commands import LOG_TO, compare_words, data_words, eval_words, model_words

STAGES = {
    "import": "camelid.collect.stage:import_data",
    "clean-sharegpt": "camelid.collect.sharegpt.stage:clean_sharegpt",
    "explanation-traces": "camelid.collect.explanations.stage:explanation_traces",
    "rationales": "camelid.collect.explanations.rationales:rationale_targets",
    "hindsight": "camelid.collect.hindsight:hindsight",
    "self-instruct": "camelid.collect.self_instruct.stage:self_instruct",
    "evol-instruct": "camelid.collect.evol_instruct.stage:evol_instruct",
    "self-chat": "camelid.collect.self_chat:self_chat",
    "self-distillation": "camelid.collect.self_distillation:self_distillation",
    "ghost-attention": "camelid.collect.ghost_attention:ghost_attention",
    "demands": "camelid.collect.demands:demand_rows",
    "context-distillation": "camelid.collect.context_distillation:context_distillation",
    "deduplicate": "camelid.curate.near_duplicates:deduplicate",
    "sift": "camelid.curate.sift:sift",
    "decontaminate": "camelid.curate.decontaminate:decontaminate",
    "clusters": "camelid.curate.clusters:cluster_rows",
    "grade": "camelid.annotate.grade:grade_rows",
    "select": "camelid.curate.select:select_rows",
    "safety-share": "camelid.curate.safety_share:safety_share",
    "mix": "camelid.curate.mix:mix",
    "hold-back": "camelid.annotate.hold_back:hold_back",
    "sft": "camelid.train.sft:train_sft",
    "reward": "camelid.train.reward:train_reward",
    "dpo": "camelid.train.dpo:train_dpo",
    "kto": "camelid.train.kto:train_kto",
    "best": "camelid.train.rejection:sample_best",
    "temperature": "camelid.train.temperature:choose_temperature",
    "pool": "camelid.train.pool:pool_rounds",
    "ppo": "camelid.train.ppo:train_ppo",
    "policy-gradient": "camelid.train.policy_gradient:train_policy_gradient",
    "online-dpo": "camelid.train.online_dpo:train_online_dpo",
    "expert-iteration": "camelid.train.expert_iteration:train_expert_iteration",
    "pairs": "camelid.annotate.pairs:sample_pairs",
    "annotate": "camelid.annotate.scripted:annotate_by_reward_model",
    "rank": "camelid.annotate.rankings:rank_answers",
    "judge": "camelid.annotate.judge:annotate_by_judge",
    "evaluate": "camelid.evaluate.version:evaluate_version",
    "score-answers": "camelid.evaluate.score_answers:score_answers",
    "turn-nll": "camelid.evaluate.turn_nll:turn_nll",
    "exact-answers": "camelid.evaluate.exact_answers:exact_answers",
    "choose-checkpoint": "camelid.evaluate.checkpoint_choice:choose_checkpoint",
    "path": "camelid.evaluate.path:measure_path",
    "evaluate-safety": "camelid.evaluate.safety.refusal_rates:evaluate_safety",
    "attribute-recall": "camelid.evaluate.attribute_recall:attribute_recall",
    "evaluate-task": "camelid.evaluate.tasks.stage:evaluate_task",
    "distill": "camelid.train.distill:train_distill",
    "uptrain": "camelid.train.uptrain:uptrain",
    "rule-judgements": "camelid.evaluate.rules.judgements:make_rule_judgements",
    "rules": "camelid.train.rules:train_rules",
    "rerank": "camelid.evaluate.rules.rerank:measure_rerank",
    "probe": "camelid.evaluate.rules.probe:probe_rules",
    "positions": "camelid.evaluate.long_context:measure_positions",
}
"""Every stage that is a command of its own: name -> module:function."""

TRAINING_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "huggingface_hub", "matplotlib")


def parser() -> argparse.ArgumentParser:
    """All commands and their options; a stage's own settings are read by `camelid STAGE --help`."""
    top = argparse.ArgumentParser(
        prog="camelid",
        description="From an open base model to an aligned assistant.",
        epilog="CAMELID_TRACEBACK=1 shows where an error comes from.",
    )
    top.add_argument("--version", action="version", version=f"camelid {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_recipes,
        _add_runs,
        _add_watch,
        _add_report,
        _add_models,
        _add_data,
        _add_eval,
        _add_stages,
    ):
        add(commands)
    return top


def _add_recipes(commands: Any) -> None:
    run = _command(commands, "run", "recipes:run", "run a recipe, or go on where it was stopped", json=True)
    run.add_argument("recipe", help="name of a recipe (`camelid recipes list`) or a .py file")
    text = "measure again what a paper found, at a size that ends here; without a name, list the studies"
    study = _command(commands, "study", "recipes:study", text, json=True)
    study.add_argument("recipe", metavar="study", nargs="?", default="", help="name of a study or a .py file")
    for command, kind, place in ((run, "recipe", "RECIPE"), (study, "study", "study-NAME")):
        command.set_defaults(kind=kind)
        command.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help="change a setting")
        command.add_argument("--out", default="", help=f"folder of the run (default: runs/{place})")
        command.add_argument("--log-to", metavar="NAMES", help=LOG_TO)
        command.add_argument("--dry-run", action="store_true", help="print the plan and what it will cost; run nothing")

    # For the list; `main` hands its words on, since a stage's inputs are named by the stage.
    commands.add_parser("estimate", help="memory and time of a recipe or a stage, here or on a GPU, before it runs")

    recipes = _noun(commands, "recipes", "list, show or copy recipes")
    _command(recipes, "list", "recipes:list_recipes", "names and what each does", json=True)
    show = _command(recipes, "show", "recipes:show", "all settings of a recipe with their values")
    copy = _command(recipes, "copy", "recipes:copy", "copy a recipe to change it")
    for verb in (show, copy):
        verb.add_argument("recipe")
    copy.add_argument("file", help="where to, such as my_recipe.py")


def _add_watch(commands: Any) -> None:
    watch = _command(commands, "watch", "watch:watch", "a live page of runs: curves, samples, guards, time left")
    watch.add_argument("run", nargs="+", help="folder of a run, begun or not, or of one stage")
    watch.add_argument(
        "--port", type=int, default=0, help="port on this machine (default: the first free one from 8600)"
    )


def _add_runs(commands: Any) -> None:
    runs = _noun(commands, "runs", "list or show runs")
    listing = _command(runs, "list", "runs:list_all", "runs below a folder", json=True)
    listing.add_argument("--folder", default="runs")
    show = _command(runs, "show", "runs:show", "the stages of a run", json=True)
    show.add_argument("run", help="folder of the run")


def _add_report(commands: Any) -> None:
    report = _command(commands, "report", "report:report", "one page for one run or several", json=True)
    report.add_argument("run", nargs="+", help="a run, a stage, or a folder of results; NAME=FOLDER names it")
    report.add_argument("--out", default="report", metavar="DIR", help="folder of the report (default: report)")
    report.add_argument("--title", default="", help="title of the page (default: the runs' names)")
    report.add_argument("--conversations", type=int, default=200, metavar="N", help="shown at most (default: 200)")


def _add_models(commands: Any) -> None:
    models = _noun(commands, "models", "list, pull or merge models")
    _command(models, "list", "models:list_known", "models that camelid knows by name", json=True)
    _command(models, "pull", "models:pull", "fetch a model and print its folder").add_argument("model")

    model_words.add(models, _command)
    chat = _command(commands, "chat", "models:chat", "talk to the result of a run, or to any model")
    chat.add_argument("model", help="a run's folder, a model's folder or name")
    chat.add_argument("--temperature", type=float, default=0.7)
    chat.add_argument("--max-new-tokens", type=int, default=256)
    chat.add_argument("--rerank", type=int, default=1, metavar="N", help="draw N answers, say the best (with --reward)")
    chat.add_argument("--reward", default="", metavar="MODEL", help="reward model that reranks")
    chat.add_argument(
        "--rules", default="", metavar="MODEL", help="rule model whose violations count against an answer"
    )
    chat.add_argument("--show-all", action="store_true", help="print all N answers with their scores, on stderr")
    chat.add_argument(
        "--int8", action="store_true", help="weights of eight bits: a CPU answers sooner, a little coarser"
    )

    mask = _command(commands, "show-mask", "models:show_mask", "print conversations, trained tokens coloured")
    mask.add_argument("model", help="model, or folder of a tokenizer")
    mask.add_argument("file", help="conversations in any format")
    mask.add_argument("--chat-format", default="model")
    mask.add_argument("--train-on", default="assistant", choices=["assistant", "last", "everything"])
    mask.add_argument("--rows", type=int, default=3)


def _add_data(commands: Any) -> None:
    data_words.add_data(_noun(commands, "data", "check, convert, filter data files, report on them"), _command)
    teacher = _noun(commands, "teacher", "recorded answers as a server; what a journal of requests holds")
    data_words.add_teacher(teacher, _command)


def _add_eval(commands: Any) -> None:
    eval_words.add(_noun(commands, "eval", "measure: win rates, agreement, benchmarks, safety, judges"), _command)
    compare_words.add(commands, _command)


def _add_stages(commands: Any) -> None:
    _command(commands, "env", "env:env", "versions, machine, device and precision, cache folder", json=True)
    for name in STAGES:
        commands.add_parser(name, help=f"stage: {name}")  # for the list; `main` hands its words to the stage


def _noun(commands: Any, name: str, text: str) -> Any:
    return commands.add_parser(name, help=text).add_subparsers(dest="verb", required=True, metavar="VERB")


def _command(commands: Any, name: str, place: str, text: str, *, json: bool = False) -> argparse.ArgumentParser:
    """A command that calls `place`, module:function inside `camelid.commands`."""
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(place=place)
    if json:
        command.add_argument("--json", action="store_true", help="print JSON")
    return command


def main(words: Sequence[str] | None = None) -> int:
    """Entry point of `camelid`. Returns the exit code."""
    process.prepare()
    words = sys.argv[1:] if words is None else words
    arguments = None if words and words[0] in (*STAGES, "estimate") else parser().parse_args(words)
    # Not through SIGINT: a shell's background job ignores that one, and SIGTERM would be lost with it.
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = _run_stage(words[0], words[1:]) if arguments is None else _dispatch(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("\nstopped; nothing finished is lost. The same command goes on from the last checkpoint.", 130)
    except BrokenPipeError:  # `camelid ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, RuntimeError, FloatingPointError, ImportError) as error:
        if os.environ.get("CAMELID_TRACEBACK"):
            raise
        return _say(f"camelid: {' '.join(_message(error).split())}", 1)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _message(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in TRAINING_PACKAGES:
        return f"{error.name} is not installed: pip install 'camelid[train]'"
    return str(error) or type(error).__name__


def _run_stage(name: str, words: Sequence[str]) -> int:
    if name == "estimate":
        from camelid.commands.estimate import estimate

        return estimate(words, STAGES)
    from camelid.commands.stages import run_stage

    return run_stage(name, STAGES[name], words)


def _dispatch(arguments: argparse.Namespace) -> int:
    from importlib import import_module

    module, function = arguments.place.split(":")
    return getattr(import_module(f"camelid.commands.{module}"), function)(arguments)


if __name__ == "__main__":
    sys.exit(main())

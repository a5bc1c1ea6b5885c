"""What people say, whether they agree, and whether a judge agrees with them."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    agreement = command(verbs, "agreement", "eval_agreement:agreement_of", "how far raters agree", json=True)
    agreement.add_argument("file", help="JSON, JSON Lines or CSV: a column a rater, or rows of item, rater, label")
    agreement.add_argument("--raters", nargs="+", default=[], metavar="COLUMN", help="columns of labels")
    agreement.add_argument("--scale", default="", metavar="LABELS", help="all labels from one end to the other: a,b,c")
    agreement.add_argument("--tie", default="", metavar="LABEL", help="the label that is a tie")
    agreement.add_argument("--weights", default="linear", choices=["linear", "quadratic", "ordinal"], help="AC2's")

    swap = command(verbs, "swap", "eval_swap:swap", "what is left of judgements when the order is swapped", json=True)
    swap.add_argument(
        "file", help="reviews with scores and scores_reverse, AlpacaEval's crossed, or a judge's verdicts.json"
    )

    versus = command(
        verbs, "judge-vs-people", "eval_judge_vs_people:judge_vs_people", "a judge beside people", json=True
    )
    versus.add_argument("reviews", help="Vicuna's reviews, reviews in both orders, a table of verdicts, or preferences")
    versus.add_argument("human", help="a verdict a line (.txt), a table with a column a rater, or preferences")
    versus.add_argument("--judge-column", default="", metavar="COLUMN", help="column of the judge in a table")
    versus.add_argument("--raters", nargs="+", default=[], metavar="COLUMN", help="columns of the people in a table")
    versus.add_argument("--first", default="", metavar="NAME", help="what a list of verdicts calls the first model")
    versus.add_argument("--second", default="", metavar="NAME", help="and the second")

    people = verbs.add_parser("people", help="ask people: comparisons to raters and back")
    studies = people.add_subparsers(dest="people_verb", required=True, metavar="VERB")
    export = command(studies, "export", "eval_people:export", "a blind sheet a rater from two models' answers")
    export.add_argument(
        "answers_a", help="answers.jsonl of `camelid evaluate`, AlpacaEval's outputs, or comparisons.jsonl"
    )
    export.add_argument("answers_b", nargs="?", default="", help="another model's answers; comparisons need none")
    export.add_argument("--out", required=True, metavar="DIR", help="folder of the study")
    export.add_argument("--raters", type=int, default=3, metavar="N", help="sheets to write (LLaMA-2: 3)")
    export.add_argument("--limit", type=int, default=0, metavar="N", help="ask about so many pairs; 0 for all")
    export.add_argument("--name-a", default="", help="what to call the first model")
    export.add_argument("--name-b", default="", help="and the second")
    export.add_argument("--kind", default="helpfulness", choices=["helpfulness", "safety"], help="what is asked")
    export.add_argument("--format", default="csv", choices=["csv", "jsonl"], help="of the sheets")
    export.add_argument("--secret", default="", help="draw sides from this text, to repeat a study; kept in the key")
    back = command(studies, "import", "eval_people:import_", "read filled sheets: figures, preferences", json=True)
    back.add_argument("files", nargs="+", help="folder of the study, or filled sheets")
    back.add_argument("--key", default="", metavar="FILE", help="the study's key.json, where it is elsewhere")
    back.add_argument("--preferences", default="", metavar="FILE", help="where to (default: beside the key)")
    back.add_argument("--weights", default="linear", choices=["linear", "quadratic", "ordinal"], help="AC2's")

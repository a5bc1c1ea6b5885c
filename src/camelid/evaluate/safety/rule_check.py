"""The stage that checks the refusal rule against people's labels, for studies whose numbers rest on the rule.

    Stage("rule", check_refusal_rule, RuleCheckSettings(), {"answers": [Path("xstest_v2_completions_gpt4.csv")]})

`camelid eval refusals` says the same and more; give only files that the rule was not written on (`refusals.py`).
"""

from __future__ import annotations

from typing import Any

from camelid.durable import write_json
from camelid.evaluate.safety.agreement import check_rule
from camelid.evaluate.safety.replies import read_replies
from camelid.runs import Run, Settings


class RuleCheckSettings(Settings):
    """Check of the refusal rule."""


def check_refusal_rule(run: Run) -> dict[str, Any]:
    """Stage: `answers` (files with people's labels) -> results.json: agreement, false and missed refusals."""
    given = run.inputs["answers"]
    files = given if isinstance(given, list) else [given]
    found = check_rule([reply for file in files for reply in read_replies(file)])
    results = {
        kind: {name: None if rate is None else rate._asdict() for name, rate in check._asdict().items()}
        for kind, check in found.items()
    }
    write_json(run.path / "results.json", results)
    return {"n": found["all"].agreement.n, "agreement": found["all"].agreement.value}

"""The table of rules in `docs/policy.md`, made of the rules' entries. Run this file as a module to print it."""

from __future__ import annotations

from pipelines.compile.rule import BoxRule, RegionRule, Rule, SoftenedBy
from pipelines.compile.rules import list_rules

_SOFTENED = {
    SoftenedBy.NOTHING: "none",
    SoftenedBy.FLOOR: "`floor`",
    SoftenedBy.FLOOR_AND_SCORE: "`floor` or a score",
}


def rules_table() -> str:
    """Return the table as Markdown, in the order in which the rules run."""
    rows = [
        f"| {rule.order} | `{rule.name}` | {_list_fields(rule)} | {rule.meaning} | {_softening(rule)} |"
        for rule in list_rules()
    ]
    head = (
        "| order | rule | fields | meaning | stays as ignore with `ignore_score` |",
        "|---|---|---|---|---|",
    )
    return "\n".join([*head, *rows])


def _list_fields(rule: Rule) -> str:
    return ", ".join(f"`{name}`" for name in rule.fields.model_fields) or "always"


def _softening(rule: Rule) -> str:
    if isinstance(rule, RegionRule):
        return _SOFTENED[rule.softened_by]
    return "moves boxes" if isinstance(rule, BoxRule) else "removes samples"


if __name__ == "__main__":
    print(rules_table())

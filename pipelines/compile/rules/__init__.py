"""The rules of a policy, one file a rule. A file that defines `ENTRY` is a rule; its number gives its place."""

from __future__ import annotations

from functools import cache

from pipelines.compile.rule import Rule
from schemas.errors import ConfigError
from schemas.registry import Registry

RULES = Registry(__name__, Rule, noun="policy rule", group="groundswell.rules")


@cache
def list_rules() -> tuple[Rule, ...]:
    """Return all rules in the order in which they run. Raises ConfigError for an entry that cannot be one."""
    rules = RULES.load_all()
    for name, rule in rules.items():
        _check(name, rule)
    by_order = sorted(rules.values(), key=lambda rule: rule.order)
    for one, other in zip(by_order, by_order[1:]):
        if one.order == other.order:
            raise ConfigError(
                f"policy rules {one.name} and {other.name} both have order {one.order}; give each its own number"
            )
    owners: dict[str, str] = {}
    for rule in by_order:
        for field in rule.fields.model_fields:
            if field in owners:
                raise ConfigError(
                    f"policy rules {owners[field]} and {rule.name} both have a field {field!r}; rename one"
                )
            owners[field] = rule.name
    return tuple(by_order)


def rule_meanings() -> dict[str, str]:
    """Return the meaning of each rule by name, in the order in which the rules run."""
    return {rule.name: rule.meaning for rule in list_rules()}


def _check(name: str, rule: Rule) -> None:
    if rule.name != name:
        raise ConfigError(
            f"policy rule {name} ({RULES.reference(name)}) names itself {rule.name!r}; expected {name!r}"
        )
    always = rule.fields.model_fields.keys() - rule.fields.legacy_values().keys()
    if not RULES.is_built_in(name) and (always or not rule.fields.model_fields):
        raise ConfigError(
            f"policy rule {name} ({RULES.reference(name)}): fields without a legacy value: {sorted(always) or 'none'}; "
            "expected at least one field, each marked Annotated[..., LegacyValue()], so that a policy that does not "
            "name the rule keeps its digest"
        )

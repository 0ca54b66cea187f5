"""The rules in force: one a key, and what is told otherwise for some units.

An override changes a rule for the units in its scope. What follows from the rule stays under its
key: alarms, memory and tickets do not know of it. Which units a scope has is worked out before
(`rules.live`), so that judging only looks a unit up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rules.catalogue import Rule


@dataclass(frozen=True, slots=True)
class InForce(Mapping[str, Rule]):
    """Rules by key; `variants` are a rule's overridden forms, `places` says which a unit has.

    A unit that `places[key]` does not name is judged by the rule itself.
    """

    rules: Mapping[str, Rule]
    variants: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    places: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def over(cls, rules: Mapping[str, Rule]) -> "InForce":
        """Return rules as they are, with their overrides if they bring some."""
        return rules if isinstance(rules, InForce) else cls(dict(rules))

    def __getitem__(self, key: str) -> Rule:
        """Return the rule itself, as units without an override have it."""
        return self.rules[key]

    def __iter__(self) -> Iterator[str]:
        """Go through the keys."""
        return iter(self.rules)

    def __len__(self) -> int:
        """Count the rules."""
        return len(self.rules)

    def forms(self, key: str) -> tuple[Rule, ...]:
        """Return the rule and its overridden forms."""
        return (self.rules[key], *self.variants.get(key, ()))

    def without(self, keys: frozenset[str]) -> "InForce":
        """Return the rules that are left when these are off."""
        kept = {key: rule for key, rule in self.rules.items() if key not in keys}
        return InForce(
            kept,
            {key: forms for key, forms in self.variants.items() if key in kept},
            {key: places for key, places in self.places.items() if key in kept},
        )


def rule_for(rules: Mapping[str, Rule], device_id: int, key: str) -> Rule:
    """Return the form of a rule that a unit is judged by."""
    if isinstance(rules, InForce):
        place = rules.places.get(key, {}).get(device_id)
        if place is not None:
            return rules.variants[key][place]
    return rules[key]

"""By which rule a company is another, what may be decided without a person, and how far a rule has proved itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

DOMAIN, NAME, SIMILAR, THERE = "domain", "name", "similar", "there"
RULES = (DOMAIN, NAME, SIMILAR)  # by which a company may be associated without a person
CREATE, ASSOCIATE, IGNORE = "create", "associate", "ignore"
ACTIONS = (CREATE, ASSOCIATE, IGNORE)
Z = 1.96  # of a normal distribution: 95 % lie within
NOTHING_BELOW = 0.55  # a score of which people are shown nothing


class Candidate(NamedTuple):
    """A record that a company lead may be. `kind` is its object; `rule` by what it was found; the rest is for people."""

    id: str
    kind: str
    name: str
    score: float
    rule: str
    evidence: tuple[str, ...] = ()
    address: str | None = None
    phone: str | None = None
    owner: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Candidate:
        """What `as_dict` gave."""
        return cls(**{**found, "evidence": tuple(found["evidence"])})


class Proposal(NamedTuple):
    """What a rule would do; no action: a person has to look."""

    action: str | None
    candidate: Candidate | None = None
    rule: str | None = None


def propose(candidates: Sequence[Candidate], *, threshold: float, trusted: Iterable[str]) -> Proposal:
    """Of candidates, the best first: none of them, and a Lead is created; one alone that agrees well enough, by a trusted
    rule, and the company is that Account. Anything else is for a person."""
    if not candidates:
        return Proposal(CREATE)
    good = [item for item in candidates if item.kind == "Account" and item.score >= threshold]
    if len(good) == 1:
        best = good[0]
        is_clear = candidates[0] is best and all(item.kind == "Account" for item in candidates)
        if is_clear and best.rule in set(trusted):
            return Proposal(ASSOCIATE, best, best.rule)
    return Proposal(None)


def lower_bound(right: int, of: int) -> float:
    """The precision that a rule has at least, with 95 % confidence, when it was right so often: the lower end of Wilson's
    interval. 73 of 73 give 0.95."""
    if not of:
        return 0.0
    share = right / of
    centre = share + Z**2 / (2 * of)
    spread = Z * sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    return (centre - spread) / (1 + Z**2 / of)


def trusted_rules(tally: Mapping[str, tuple[int, int]], precision: float) -> frozenset[str]:
    """The rules that have proved themselves: rule -> (how often people agreed, of how many decisions)."""
    return frozenset(rule for rule in RULES if lower_bound(*tally.get(rule, (0, 0))) >= precision)

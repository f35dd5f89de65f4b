"""Which of many companies is this one? Candidates by rare words, misspelt ones too, and a score for how well the names agree.

Whole columns of companies at a time. No network, no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import OSA
from rapidfuzz.process import cpdist

from salesforce_sync.matching.names import Names, Numbers, names_of

RARE = 3_000  # companies that may share a word by which candidates are found
KEPT = 8  # candidates of a company that are scored
FAR_BEHIND = 0.4  # of what the best candidate shares: who shares less is none
LONGEST_SHORT = 6  # letters of a word that is short for another
SHORTEST_TYPO = 4  # letters of a word that may be misspelt by one; twice as many, by two
MISSPELT = 3  # companies that may have a word which is a frequent one misspelt
MANY_TIMES = 100  # as frequent, and the one of two words that differ by a letter is the other one misspelt
KNOWN_WORD = 4  # companies that have a word which is then no typo
# Costs, as shares of what a word weighs. Chosen on made-up companies (make bench), where the ranking hardly depends on them.
TYPO, TWO_TYPOS, SHORT, JOINED, OTHER_WORD = 0.12, 0.35, 0.10, 0.05, 0.80
SAME_PLACE, OTHER_PLACE = 0.04, -0.04
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Match(NamedTuple):
    """A candidate: its place among the companies, how well it agrees (0 to 1), and why, in words."""

    place: int
    score: float
    evidence: tuple[str, ...]


@dataclass
class Companies:
    """Companies to be looked for. `places` are their cities or the like, None where they are not known."""

    names: Names
    places: pa.Array | None = None

    @classmethod
    def of(cls, names: Sequence[str | None] | pa.Array, places: Sequence[str | None] | None = None) -> Companies:
        """The companies with these names; a frequent word that is misspelt in one of them counts as that word."""
        towns = (
            None
            if places is None
            else pc.utf8_lower(
                pc.utf8_trim_whitespace(
                    places if isinstance(places, (pa.Array, pa.ChunkedArray)) else pa.array(places, pa.string())
                )
            )
        )
        plain = cls(names_of(names), towns)
        frequent = np.flatnonzero(plain.frequency >= max(RARE // 10, len(plain) // 1_000))
        seldom = np.flatnonzero(plain.frequency <= MISSPELT)
        words = plain.names.vocabulary
        right_one, wrong = _neighbours(words.take(pa.array(frequent)), words.take(pa.array(seldom)))
        right = np.arange(len(words))
        right[seldom[wrong]] = frequent[right_one]
        alone = np.repeat(np.diff(plain.names.offsets) == 1, np.diff(plain.names.offsets))
        tokens = np.where(alone, plain.names.tokens, right[plain.names.tokens])
        return cls(replace(plain.names, tokens=tokens), towns)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def frequency(self) -> Numbers:
        """How many companies have each word of the vocabulary."""
        return np.bincount(self.names.tokens, minlength=len(self.names.vocabulary))

    @cached_property
    def weight(self) -> Floats:
        """What each word tells: the rarer, the more."""
        found = np.log((len(self) + 1) / np.maximum(self.frequency, 1))
        return np.asarray(np.maximum(found, 0.5), dtype=np.float64)

    @cached_property
    def _postings(self) -> tuple[Numbers, Numbers]:
        """The companies of each word: those of word `w` are owners[starts[w]:starts[w + 1]]."""
        order = np.argsort(self.names.tokens, kind="stable")
        return self.names.owners[order], np.concatenate([[0], np.cumsum(self.frequency)])

    @cached_property
    def owned(self) -> Numbers:
        """A number for each frequent word of each company, sorted: company * size of the vocabulary + word."""
        frequent = self.frequency[self.names.tokens] >= RARE
        return np.sort(self.names.owners[frequent] * len(self.names.vocabulary) + self.names.tokens[frequent])

    def total(self, among: Companies) -> Floats:
        """What the words of each company weigh, all of them, among those companies."""
        if among is self:
            weight = self.weight
        else:
            same = _same_words(among, self)
            weight = np.where(same >= 0, among.weight[np.maximum(same, 0)], np.log(len(among) + 1))
        found = np.bincount(self.names.owners, weights=weight[self.names.tokens], minlength=len(self))
        return np.asarray(found, dtype=np.float64)

    def having(self, words: Numbers) -> tuple[Numbers, Numbers]:
        """(place in `words`, company) for each company that has one of these words."""
        owners, starts = self._postings
        first, counts = starts[words], self.frequency[words]
        which = np.repeat(np.arange(len(words)), counts)
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, owners[np.repeat(first, counts) + inside]


def find_matches(companies: Companies, wanted: Companies) -> list[list[Match]]:
    """The best candidates of each wanted company, the best first; at most KEPT."""
    if not len(companies.names.tokens) or not len(wanted.names.tokens):
        return [[] for _ in range(len(wanted))]
    pairs = _candidates(companies, wanted)
    scorer = _Scorer(companies, wanted)
    found: list[list[Match]] = [[] for _ in range(len(wanted))]
    for place, candidate in zip(*(column.tolist() for column in pairs), strict=True):
        found[place].append(scorer.match(place, candidate))
    for matches in found:
        matches.sort(key=lambda match: (-match.score, match.place))
    return found


# -- candidates --------------------------------------------------------------------------------------------------------


def _candidates(companies: Companies, wanted: Companies) -> tuple[Numbers, Numbers]:
    """(wanted, company) pairs that share a rare word, or one that may be it misspelt; the KEPT of each that agree best."""
    meanings = _meanings(companies, wanted)
    rare = _Links.of(meanings, companies.frequency[meanings.theirs] < RARE, wanted).and_also(
        _joined_there(companies, wanted)
    )
    which, found = companies.having(rare.theirs)
    size = len(companies)
    keys, inverse = np.unique(rare.owners[which] * size + found, return_inverse=True)
    gain: Floats = np.asarray(np.bincount(inverse, weights=rare.gain[which], minlength=len(keys)), dtype=np.float64)
    owner, candidate = keys // size, keys % size
    gain += _frequent(companies, meanings, wanted, owner, candidate)
    return _best(owner, candidate, gain / (wanted.total(companies)[owner] + companies.total(companies)[candidate]))


class _Meanings(NamedTuple):
    """What the words of the wanted companies may be among the others: `own` word, `theirs`, and what the pair gains."""

    own: Numbers
    theirs: Numbers
    gain: Floats


class _Links(NamedTuple):
    """Meanings of the words of each wanted company: its place in `owners`."""

    owners: Numbers
    theirs: Numbers
    gain: Floats

    def and_also(self, other: _Links) -> _Links:
        return _Links(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    @classmethod
    def of(cls, meanings: _Meanings, chosen: Any, wanted: Companies) -> _Links:
        order = np.flatnonzero(chosen)
        order = order[np.argsort(meanings.own[order], kind="stable")]
        starts = np.searchsorted(meanings.own[order], np.arange(len(wanted.names.vocabulary) + 1))
        tokens = wanted.names.tokens
        links, owners = _spread(starts[:-1][tokens], np.diff(starts)[tokens], wanted.names.owners)
        return cls(owners, meanings.theirs[order][links], meanings.gain[order][links])


def _joined_there(companies: Companies, wanted: Companies) -> _Links:
    """Two words of a wanted company, one after the other, that are one word of the companies."""
    words, owners = wanted.names.vocabulary.take(pa.array(wanted.names.tokens)), wanted.names.owners
    both = pc.binary_join_element_wise(words[:-1], words[1:], "")
    found = pc.index_in(both, value_set=companies.names.vocabulary).fill_null(-1).to_numpy().astype(np.int64)
    there = np.flatnonzero((found >= 0) & (owners[:-1] == owners[1:]))
    there = there[companies.frequency[found[there]] < RARE]
    return _Links(owners[there], found[there], 2.0 * 0.85 * companies.weight[found[there]])


def _spread(first: Numbers, counts: Numbers, labels: Numbers) -> tuple[Numbers, Numbers]:
    """The numbers from each `first` on, `counts` of them, one after the other; and for each the label of its run."""
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + inside, np.repeat(labels, counts)


def _frequent(
    companies: Companies, meanings: _Meanings, wanted: Companies, owner: Numbers, candidate: Numbers
) -> Floats:
    """What the pairs gain by words that are too frequent to find anybody by."""
    found = _Links.of(meanings, companies.frequency[meanings.theirs] >= RARE, wanted)
    starts = np.searchsorted(found.owners, np.arange(len(wanted) + 1))
    links, pairs = _spread(starts[owner], np.diff(starts)[owner], np.arange(len(owner)))
    asked = candidate[pairs] * len(companies.names.vocabulary) + found.theirs[links]
    places = np.searchsorted(companies.owned, asked)
    there = (
        companies.owned[np.minimum(places, len(companies.owned) - 1)] == asked if len(companies.owned) else asked < 0
    )
    gain = np.bincount(pairs[there], weights=found.gain[links][there], minlength=len(owner))
    return np.asarray(gain, dtype=np.float64)


def _best(owner: Numbers, candidate: Numbers, gain: Floats) -> tuple[Numbers, Numbers]:
    """Of each owner, the KEPT candidates with the greatest gain. The pairs of an owner stand together."""
    if not len(owner):
        return owner, candidate
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    most = np.maximum.reduceat(gain, first)
    good = gain >= FAR_BEHIND * np.repeat(most, np.diff(first, append=len(owner)))
    owner, candidate, gain = owner[good], candidate[good], gain[good]
    order = np.lexsort((-gain, owner))
    owner, candidate = owner[order], candidate[order]
    kept = np.arange(len(owner)) - np.searchsorted(owner, owner) < KEPT
    return owner[kept], candidate[kept]


def _same_words(companies: Companies, wanted: Companies) -> Numbers:
    """For each word of the wanted, its place among those of the companies; -1 for a word that they have not."""
    found = pc.index_in(wanted.names.vocabulary, value_set=companies.names.vocabulary).fill_null(-1)
    places: Numbers = found.to_numpy().astype(np.int64)
    return places


def _meanings(companies: Companies, wanted: Companies) -> _Meanings:
    """Words that are the same; may be one misspelt; may be short for a frequent one; or are two words in one."""
    ours, known = wanted.names.vocabulary, companies.names.vocabulary
    same = _same_words(companies, wanted)
    exact = np.flatnonzero(same >= 0)
    weight = np.where(same >= 0, companies.weight[np.maximum(same, 0)], np.inf)
    seldom = np.flatnonzero((same < 0) | (companies.frequency[np.maximum(same, 0)] < RARE))
    near, other = _neighbours(ours.take(pa.array(seldom)), known)
    near = seldom[near]
    short, full = _short_for(ours, known, seldom, np.flatnonzero(companies.frequency >= RARE))
    joined, part = _parts(ours, known, seldom)
    return _Meanings(
        np.concatenate([exact, near, short, joined]),
        np.concatenate([same[exact], other, full, part]),
        2.0
        * np.concatenate([
            weight[exact], 0.85 * np.minimum(weight[near], companies.weight[other]), 0.85 * companies.weight[full],
            0.85 * companies.weight[part],
        ]),
    )  # fmt: skip


def _short_for(ours: pa.Array, known: pa.Array, seldom: Numbers, frequent: Numbers) -> tuple[Numbers, Numbers]:
    """Pairs of which the first may be short for the second, a frequent word."""
    by_letter: dict[str, list[tuple[int, str]]] = {}
    for place, word in zip(frequent.tolist(), known.take(pa.array(frequent)).to_pylist(), strict=True):
        by_letter.setdefault(word[:1], []).append((place, word))
    found = [
        (place, full)
        for place, word in zip(seldom.tolist(), ours.take(pa.array(seldom)).to_pylist(), strict=True)
        if len(word) <= LONGEST_SHORT
        for full, long in by_letter.get(word[:1], ())
        if _is_short_for(word, long)
    ]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _parts(ours: pa.Array, known: pa.Array, seldom: Numbers) -> tuple[Numbers, Numbers]:
    """Pairs of which the first is two known words in one, and the second one of the two."""
    words = ours.take(pa.array(seldom))
    lengths = pc.utf8_length(words).to_numpy()
    mine, parts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for cut in range(SHORTEST_TYPO, int(lengths.max(initial=0)) - 2):
        places = np.flatnonzero(lengths >= cut + 3)
        own = words.take(pa.array(places))
        both = [
            pc.index_in(part, value_set=known).fill_null(-1).to_numpy().astype(np.int64)
            for part in (pc.utf8_slice_codeunits(own, 0, cut), pc.utf8_slice_codeunits(own, cut))
        ]
        whole = (both[0] >= 0) & (both[1] >= 0)
        mine += [seldom[places[whole]]] * 2
        parts += [both[0][whole], both[1][whole]]
    return np.concatenate(mine), np.concatenate(parts)


def _neighbours(ours: pa.Array, known: pa.Array) -> tuple[Numbers, Numbers]:
    """Pairs of words that differ by one letter, or by two that changed places: they have what is left of one of them, when a
    letter is taken out, in common."""
    left = [*_with_a_letter_less(ours)]
    words = np.concatenate([places for places, _ in left])
    encoded = pa.chunked_array([texts for _, texts in left]).combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    mine, other = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for places, texts in _with_a_letter_less(known):
        found = pc.index_in(texts, value_set=encoded.dictionary).fill_null(-1).to_numpy().astype(np.int64)
        there = np.flatnonzero(found >= 0)
        links, theirs = _spread(starts[found[there]], np.diff(starts)[found[there]], places[there])
        mine.append(words[order[links]])
        other.append(theirs)
    size = max(len(known), 1)
    pairs = np.unique(np.concatenate(mine) * size + np.concatenate(other))
    first, second = ours.take(pa.array(pairs // size)).to_pylist(), known.take(pa.array(pairs % size)).to_pylist()
    near = cpdist(first, second, scorer=OSA.distance, score_cutoff=1) == 1 if first else np.empty(0, dtype=bool)
    return pairs[near] // size, pairs[near] % size


def _with_a_letter_less(words: pa.Array) -> Iterator[tuple[Numbers, pa.Array]]:
    """Each word of SHORTEST_TYPO letters or more, and what is left of it when one letter is taken out: (places, texts), one
    letter at a time."""
    lengths = pc.utf8_length(words).to_numpy()
    places = np.flatnonzero(lengths >= SHORTEST_TYPO)
    yield places, words.take(pa.array(places))
    for cut in range(int(lengths[places].max(initial=0))):
        places = places[lengths[places] > cut]
        own = words.take(pa.array(places))
        head, tail = pc.utf8_slice_codeunits(own, 0, cut), pc.utf8_slice_codeunits(own, cut + 1)
        yield places, pc.binary_join_element_wise(head, tail, "")


# -- scoring -----------------------------------------------------------------------------------------------------------


@dataclass
class _Scorer:
    companies: Companies
    wanted: Companies

    def __post_init__(self) -> None:
        self._own_words: list[str] = self.wanted.names.vocabulary.to_pylist()
        self._their_words: list[str] = self.companies.names.vocabulary.to_pylist()
        self._their_weight: list[float] = self.companies.weight.tolist()
        self._their_frequency: list[int] = self.companies.frequency.tolist()
        places = pc.index_in(self.wanted.names.vocabulary, value_set=self.companies.names.vocabulary)
        self._same: list[int] = places.fill_null(-1).to_pylist()  # word of the wanted -> that of the companies
        self._unknown = float(np.log(len(self.companies) + 1))
        self._costs: dict[tuple[int, int], tuple[float, str]] = {}

    def match(self, place: int, candidate: int) -> Match:
        ours, theirs = _tokens(self.wanted.names, place), _tokens(self.companies.names, candidate)
        total = sum(map(self._weight, ours)) + sum(self._their_weight[word] for word in theirs)
        evidence: list[str] = []
        cost = self._align(list(ours), list(theirs), evidence)
        score = 1.0 - cost / total if total else 0.0
        return Match(candidate, min(1.0, max(0.0, score + self._place(place, candidate, evidence))), tuple(evidence))

    def _weight(self, word: int) -> float:
        same = self._same[word]
        return self._unknown if same < 0 else self._their_weight[same]

    def _align(self, ours: list[int], theirs: list[int], evidence: list[str]) -> float:
        for word in list(ours):
            if self._same[word] in theirs:
                ours.remove(word)
                theirs.remove(self._same[word])
                rare = "rare " if self._their_frequency[self._same[word]] < RARE else ""
                evidence.append(f"same {rare}word {self._own_words[word]!r}")
        cost = self._joined(ours, theirs, evidence) if ours and theirs else 0.0
        pairs = sorted((*self._cost(own, their), own, their) for own in ours for their in theirs)
        for share, why, own, their in pairs:
            if why and own in ours and their in theirs:
                ours.remove(own)
                theirs.remove(their)
                cost += share * 2 * min(self._weight(own), self._their_weight[their])
                evidence.append(why)
        for word in ours:
            cost += self._weight(word)
            evidence.append(f"{self._own_words[word]!r} is missing there")
        for word in theirs:
            cost += self._their_weight[word]
            evidence.append(f"{self._their_words[word]!r} is there alone")
        return cost

    def _joined(self, ours: list[int], theirs: list[int], evidence: list[str]) -> float:
        """Two words here that are one there, or the other way round."""
        own, other = [self._own_words[word] for word in ours], [self._their_words[word] for word in theirs]
        for first in range(len(own) - 1):
            text = own[first] + own[first + 1]
            if text in other:
                their = theirs.pop(other.index(text))
                weight = self._weight(ours[first]) + self._weight(ours[first + 1]) + self._their_weight[their]
                del ours[first : first + 2]
                evidence.append(f"{text!r} is one word there")
                return JOINED * weight
        for first in range(len(other) - 1):
            text = other[first] + other[first + 1]
            if text in own:
                mine = ours.pop(own.index(text))
                weight = self._weight(mine) + self._their_weight[theirs[first]] + self._their_weight[theirs[first + 1]]
                del theirs[first : first + 2]
                evidence.append(f"{text!r} is two words there")
                return JOINED * weight
        return 0.0

    def _cost(self, own: int, their: int) -> tuple[float, str]:
        """What it costs, as a share of what both words weigh, to take the one for the other; no text: they are two words."""
        key = (own, their)
        if key not in self._costs:
            self._costs[key] = self._compare(own, their)
        return self._costs[key]

    def _compare(self, own: int, their: int) -> tuple[float, str]:
        mine, other = self._own_words[own], self._their_words[their]
        if _is_short_for(mine, other) or _is_short_for(other, mine):
            return SHORT, f"{mine!r} is short for {other!r}" if len(mine) < len(
                other
            ) else f"{other!r} is short for {mine!r}"
        shorter = min(len(mine), len(other))
        distance = OSA.distance(mine, other, score_cutoff=2) if shorter >= SHORTEST_TYPO else 3
        if distance > (2 if shorter >= 2 * SHORTEST_TYPO else 1):
            return 1.0, ""
        same = self._same[own]
        known = same >= 0 and self._are_both_words(self._their_frequency[same], self._their_frequency[their])
        letters = "one letter differs" if distance == 1 else "two letters differ"
        told = f"{mine!r} and {other!r}: {letters}{', and both are words' if known else ''}"
        return (OTHER_WORD if known else TYPO if distance == 1 else TWO_TYPOS), told

    def _are_both_words(self, own: int, their: int) -> bool:
        """Whether neither of two words is likely to be the other one misspelt: a typo is far less frequent than its word."""
        return min(own, their) >= KNOWN_WORD and max(own, their) < MANY_TIMES * min(own, their)

    def _place(self, place: int, candidate: int, evidence: list[str]) -> float:
        if self.wanted.places is None or self.companies.places is None:
            return 0.0
        mine, other = self.wanted.places[place].as_py(), self.companies.places[candidate].as_py()
        if not mine or not other:
            return 0.0
        is_same = mine == other
        evidence.append("same town" if is_same else "another town")
        return SAME_PLACE if is_same else OTHER_PLACE


def _tokens(names: Names, place: int) -> list[int]:
    found: list[int] = names.tokens[names.offsets[place] : names.offsets[place + 1]].tolist()
    return found


def _is_short_for(short: str, long: str) -> bool:
    """Whether the one is the beginning of the other, of three letters or more, or its consonants in their order, as mgmt
    and intl are."""
    if len(short) < 2 or len(long) - len(short) < 2 or short[0] != long[0]:
        return False
    if 3 <= len(short) <= LONGEST_SHORT and long.startswith(short):
        return True
    if any(letter in "aeiou" for letter in short[1:]) or len(long) < 6:
        return False
    letters = iter(long)
    return len(short) >= 3 and all(letter in letters for letter in short)

"""Company names as tokens: without legal forms, accents, punctuation and case. Whole columns at a time; no network, no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cleanco.termdata import terms_by_country, terms_by_type

Numbers = np.ndarray[Any, np.dtype[np.int64]]
AT_ONCE = 100_000  # names that are taken apart together: their bytes are in memory several times
_BYTES = np.arange(256, dtype=np.uint8)
_LOWER = np.frombuffer(bytes(range(256)).lower(), dtype=np.uint8)
_IS_WORD = np.isin(_BYTES, np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", dtype=np.uint8)) | (_BYTES >= 0x80)
_JOINS = np.isin(_BYTES, np.frombuffer(b"./", dtype=np.uint8))
# Letters that are no accented ones, and yet written with plain ones elsewhere.
_PLAIN = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
# What stands in names and tells nothing, in several languages; and endings of addresses, which some names have.
_EMPTY = frozenset("and the of und et y e en og och i la le les de des du der die das het com net".split())
# Legal forms that stand in front.
_LEADING = frozenset("ab oy oyj ooo oao zao pao ao pt as sia uab ооо оао зао пао ао".split())
_LETTERS = frozenset("a d i k o r s v z".split())  # of forms of several words
# Tokens of legal forms that are words, places or initials when they stand by themselves.
_NO_FORMS = frozenset(
    (
        "de por en und the of and at ca col comm da dat ent eu et etat fa uk ok ro nl vat ep mi soc bm ba ec ee pc sf ps sh private "
        "descendants"
    ).split()
)


@dataclass(frozen=True)
class Names:
    """Names as tokens. Those of name `n` are `tokens[offsets[n]:offsets[n + 1]]`: places in `vocabulary`."""

    vocabulary: pa.Array
    tokens: Numbers
    offsets: Numbers

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, place: int) -> list[str]:
        """The tokens of one name, as texts."""
        own = self.tokens[self.offsets[place] : self.offsets[place + 1]]
        found: list[str] = self.vocabulary.take(pa.array(own)).to_pylist()
        return found

    @property
    def owners(self) -> Numbers:
        """The name of each token."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def key(self, place: int) -> str:
        """A text that is equal for names that are equal but for case, accents, punctuation, blanks and legal forms."""
        return "".join(self.of(place))


def names_of(texts: Sequence[str | None] | pa.Array) -> Names:
    """The names as tokens. A legal form is left out at the end of a name, and at its beginning where that is its place, but
    for a name that is nothing else."""
    given = texts if isinstance(texts, (pa.Array, pa.ChunkedArray)) else pa.array(texts, pa.string())
    parts, offsets = [pa.array([], pa.string())], [np.zeros(1, np.int64)]
    for start in range(0, len(given), AT_ONCE):
        words, places = _words(_plain(given.slice(start, AT_ONCE)))
        parts.append(words)
        offsets.append(places[1:] + offsets[-1][-1])
    encoded = pa.chunked_array(parts).combine_chunks().dictionary_encode()
    tokens = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return _without_forms(encoded.dictionary.to_pylist(), tokens, np.concatenate(offsets))


def _words(texts: pa.Array) -> tuple[pa.Array, Numbers]:
    """All words of the texts, and where those of each text begin. Bytes are looked at, and not letters: of those beyond
    ASCII, `_plain` has left nothing but letters and digits."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(
        np.int64
    )
    content = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    content = _LOWER[content]
    begins = np.zeros(len(content) + 1, dtype=bool)
    begins[offsets[:-1]] = True
    is_word = _IS_WORD[content]
    before = (
        np.concatenate([[False], is_word[:-1]]) & ~begins[:-1]
    )  # the byte before belongs to a word of the same text
    second = np.concatenate([[False], before[:-1]]) & ~begins[:-1]  # and the one before that, too
    # b.v. and a/s are one word, and so is l'oreal; acme.com are two.
    dropped = (_JOINS[content] & before & ~second) | (content == ord("'"))
    if dropped.any():
        kept = ~dropped
        offsets = np.concatenate([[0], np.cumsum(kept)])[offsets]
        content, is_word = content[kept], is_word[kept]
        begins = np.zeros(len(content) + 1, dtype=bool)
        begins[offsets[:-1]] = True
        before = np.concatenate([[False], is_word[:-1]]) & ~begins[:-1]
    starts = np.flatnonzero(is_word & ~before)
    letters = np.concatenate([[0], np.cumsum(is_word)])
    ends = np.append(letters[starts], letters[-1]).astype(np.int32)
    words = pa.StringArray.from_buffers(len(starts), pa.py_buffer(ends), pa.py_buffer(content[is_word].tobytes()))
    return words, np.searchsorted(starts, offsets).astype(np.int64)


def _without_forms(vocabulary: list[str], tokens: Numbers, offsets: Numbers) -> Names:
    forms, places = legal_tokens(), np.arange(len(tokens))
    is_form = np.array([word in forms for word in vocabulary], dtype=bool)
    is_empty = np.array([word in _EMPTY or not word for word in vocabulary], dtype=bool)
    is_leading = np.array([word in _LEADING for word in vocabulary], dtype=bool)
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    counts = np.diff(offsets)
    is_single = np.array([len(word) == 1 for word in vocabulary], dtype=bool)[tokens]
    is_inside = np.append(owners[1:] == owners[:-1], False)[: len(tokens)]  # another word of the name comes behind
    # A letter of a form of several words, as in `Sp. z o.o.`, stands between words of it; the s of `K+S AG` does not.
    is_letter = np.array([word in _LETTERS for word in vocabulary], dtype=bool)[tokens]
    is_letter &= is_inside & np.append(is_form[tokens][1:], False)[: len(tokens)]
    is_letter[1:] &= ~is_single[:-1]
    # `Rossi e Figli` has an and; the e of `PG&E Corp` is none.
    is_telling = ~(is_form | is_empty)[tokens]
    is_and = is_empty[tokens] & ~(is_single & ~(is_inside & np.append(is_telling[1:], False)[: len(tokens)]))
    tells = ~(is_form[tokens] | is_and | is_letter)
    last = np.full(len(counts), -1)
    np.maximum.at(last, owners[tells], places[tells])
    first = offsets[:-1][owners]
    kept = (places <= last[owners]) & ~is_and
    kept &= ~(is_leading[tokens] & (places == first) & (last[owners] > places))
    # Of a name of which nothing would be left the first word stays that is no `the`, or else all of it.
    nothing = np.bincount(owners[kept], minlength=len(counts)) == 0
    spare = places[nothing[owners] & ~is_and]
    kept[spare[np.unique(owners[spare], return_index=True)[1]]] = True
    nothing = np.bincount(owners[kept], minlength=len(counts)) == 0
    kept |= nothing[owners] & np.array([bool(word) for word in vocabulary], dtype=bool)[tokens]
    is_used = np.bincount(tokens[kept], minlength=len(vocabulary)) > 0
    codes = np.cumsum(is_used) - 1
    left = np.bincount(owners[kept], minlength=len(counts))
    words = pa.array(vocabulary, pa.string()).filter(pa.array(is_used))
    return Names(words, codes[tokens[kept]], np.concatenate([[0], np.cumsum(left)]))


def _plain(texts: Any) -> pa.Array:
    """The texts; of those beyond ASCII, in lower case and without accents, letters and digits are left."""
    texts = pc.fill_null(texts, "")
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    odd = pc.invert(pc.string_is_ascii(texts))
    if pc.any(odd).as_py():
        plain = pc.utf8_normalize(pc.utf8_lower(pc.filter(texts, odd)), "NFKD")
        for letter, written in _PLAIN.items():
            plain = pc.replace_substring(plain, letter, written)
        plain = pc.replace_substring_regex(plain, r"\p{Mn}+|['’`´]", "")
        texts = pc.replace_with_mask(texts, odd, pc.replace_substring_regex(plain, r"[^\pL\pN./]+", " "))
    return texts


def without_form(name: str) -> str:
    """The name as it is written, without the legal form at its end; the whole name when it is nothing else."""
    words, forms = name.split(), legal_tokens()
    left = list(words)
    while left and all(
        token in forms or token in _EMPTY for token in _words(_plain(pa.array([left[-1]])))[0].to_pylist()
    ):
        left.pop()
    return " ".join(left or words).rstrip(",;&/ ")


@cache
def legal_tokens() -> frozenset[str]:
    """The words that legal forms of all countries are made of, as far as they are nothing else."""
    terms = [term for groups in (terms_by_country, terms_by_type) for group in groups.values() for term in group]
    words = set(_words(_plain(pa.array(terms)))[0].to_pylist())
    return frozenset(word for word in words - _NO_FORMS if len(word) > 1)

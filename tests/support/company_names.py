"""Made-up companies with known truth: Accounts, and leads that are some of them under another name, or none of them.

Names are written as people write them: typos on both sides, legal forms that come and go, words that change places, abbreviations, lost
spaces, parents and subsidiaries with one name. `seed` and `words` give other companies out of other words.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

SYLLABLES = (
    "ba be bi bo bra bre bri cal can car cen chi cla cor cra da del den dor dra dri el em fa fen fi flo for fra ga gar gel "
    "gra gri ha hel hol ja jen ka kel ken kin kra la lan len li lor lu ma mar men mi mon mor na nel nex no nor ol or pa pel "
    "pen pi pra qua ra ran rel ri rom ru sa sal sen si sol sta ster stra sul ta tan tel ten ti tor tra tri ul va van ven ver "
    "vi vol wa wel wen wi xa xen ya yor za zel zen zi "
).split()
COMMON = (
    "international group services systems solutions technologies technology consulting logistics partners engineering "
    "industries software trading media energy health medical capital management design construction transport holding foods "
    "financial properties marketing electronics security chemicals motors networks insurance pharma digital global marine "
    "travel education research print packaging europe nederland deutschland france uk america asia iberia nordic benelux "
).split()
SHORT = {
    "international": ("intl", "int"), "services": ("svcs", "serv"), "systems": ("sys",), "technologies": ("tech", "technology"),
    "technology": ("tech", "technologies"), "engineering": ("eng", "engg"), "management": ("mgmt",), "logistics": ("log",),
    "industries": ("ind",), "group": ("grp",), "solutions": ("sol",), "construction": ("constr",), "consulting": ("cons",),
}  # fmt: skip
LEGAL = (
    "B.V.",
    "N.V.",
    "GmbH",
    "AG",
    "Ltd",
    "Limited",
    "Inc.",
    "Inc",
    "LLC",
    "S.A.",
    "SAS",
    "S.p.A.",
    "AB",
    "Oy",
    "plc",
    "Corp.",
    "GmbH & Co. KG",
    "",
)
CITIES = tuple(f"{first}{second}" for first in ("Am", "Rot", "Ut", "Del", "Lon", "Ham", "Col", "Par", "Ly", "Mad") for second in (
    "sterdam", "terdam", "recht", "ft", "don", "burg", "ogne", "is", "on", "rid", "mouth", "ford", "field", "dam", "ville", "stad"))  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A company as one side has it. `truth` is the number of the Account that a lead is, None for none."""

    name: str
    city: str | None
    truth: int | None = None


def companies(accounts: int, leads: int, *, seed: int, words: int = 34_000) -> tuple[list[Made], list[Made]]:
    """Accounts, and leads: seven in ten of these are one of the Accounts."""
    random = Random(seed)
    known = _vocabulary(random, words)
    made: list[tuple[list[str], str]] = []
    there: set[tuple[str, ...]] = set()  # no two companies have one name: nobody could tell them apart

    def add(base: list[str]) -> None:
        if tuple(sorted(base)) not in there:
            there.add(tuple(sorted(base)))
            made.append((base, random.choice(CITIES)))

    while len(made) < accounts:
        base = _words(random, known)
        add(base)
        if random.random() < 0.06:  # a family: parent, and subsidiaries named after places and trades
            for trade in random.sample(COMMON, random.randrange(1, 4)):
                add([base[0], trade])
    made = made[:accounts]
    rows = [Made(_as_account(random, base), city if random.random() < 0.8 else None) for base, city in made]
    found = []
    for _ in range(leads):
        if random.random() < 0.7:
            truth = random.randrange(accounts)
            base, city = made[truth]
            found.append(Made(_as_lead(random, base, there), _city(random, city), truth))
        else:
            while tuple(sorted(base := _words(random, known))) in there:
                pass
            found.append(Made(_as_lead(random, base, there), _city(random, random.choice(CITIES))))
    return rows, found


def _vocabulary(random: Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(random.choice(SYLLABLES) for _ in range(random.choice((2, 2, 3, 3, 4))))] = None
    return list(found)


def _words(random: Random, known: list[str]) -> list[str]:
    def one() -> str:
        return (
            known[min(int(random.paretovariate(0.6)), len(known)) - 1]
            if random.random() < 0.3
            else random.choice(known)
        )

    kind = random.random()
    if kind < 0.15:
        return [one()]
    if kind < 0.65:
        return [one(), random.choice(COMMON)]
    if kind < 0.85:
        return [one(), one()]
    return [one(), one(), random.choice(COMMON)]


def _city(random: Random, city: str) -> str | None:
    kind = random.random()
    return None if kind < 0.2 else city if kind < 0.85 else random.choice(CITIES)


def _as_account(random: Random, base: list[str]) -> str:
    words = [_typo(random, word) if random.random() < 0.02 else word for word in base]
    return _written(random, words)


def _as_lead(random: Random, base: list[str], there: set[tuple[str, ...]]) -> str:
    """`there` are the names of all companies: a word that is left out makes no other company of this one."""
    words = list(base)
    if random.random() < 0.15:
        words = [random.choice(SHORT[word]) if word in SHORT else word for word in words]
    if len(words) > 1 and random.random() < 0.08:
        random.shuffle(words)
    if len(words) > 2 and random.random() < 0.15 and tuple(sorted(words[:-1])) not in there:
        words.pop()
    if random.random() < 0.25:
        place = random.randrange(len(words))
        words[place] = _typo(random, words[place])
    if len(words) > 1 and random.random() < 0.04:
        words = ["".join(words[:2]), *words[2:]]
    return _written(random, words)


def _typo(random: Random, word: str) -> str:
    if len(word) < 4:
        return word
    place, kind = random.randrange(1, len(word) - 1), random.randrange(4)
    letter = random.choice("abcdefghijklmnopqrstuvwxyz")
    if kind == 0:
        return word[:place] + letter + word[place:]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    if kind == 2:
        return word[:place] + letter + word[place + 1 :]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _written(random: Random, words: list[str]) -> str:
    form = random.random()
    text = " ".join(word.upper() if form < 0.1 else word.capitalize() if form < 0.9 else word for word in words)
    if len(words) > 1 and random.random() < 0.05:
        text = text.replace(" ", " & ", 1)
    legal = random.choice(LEGAL) if random.random() < 0.6 else ""
    return f"{text}{',' if legal and random.random() < 0.1 else ''} {legal}".strip()

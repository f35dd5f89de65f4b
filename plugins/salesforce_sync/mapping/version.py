"""Which mapping a row was made by: a text that changes with whatever could make the same vendor record come out differently."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from salesforce_sync.mapping.apply import Target
from salesforce_sync.mapping.model import MappingFile


def mapping_version(mapping: MappingFile, targets: Mapping[str, Target]) -> str:
    """16 hexadecimal digits of the mapping file, what the org's fields take, and the code that maps."""
    fields = {name: [item.type, item.length, sorted(item.restricted_values or ())] for name, item in targets.items()}
    text = "\n".join((mapping.model_dump_json(), json.dumps(fields, sort_keys=True), _code()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@cache
def _code() -> str:
    """A digest of the code in mapping/ and matching/, own transforms included, and of the list of public suffixes that it looks domains up in."""
    digest = hashlib.sha256(version("tldextract").encode())
    for folder in (Path(__file__).parent, Path(__file__).parents[1] / "matching"):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()

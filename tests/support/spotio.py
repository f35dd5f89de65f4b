"""SPOTIO's own document, where it lies beside the checkout, and the traffic of the tests held against it."""

from __future__ import annotations

from pathlib import Path

from emulators.vendors.spotio import Spotio
from support.openapi import Contract

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT.parent / "shared" / "vendors" / "spotio-openapi.json"
SHOWN = 20


def judge(spotio: Spotio) -> None:
    """Raises when a recorded call or answer is not what the vendor's document has."""
    contract = Contract.read(DOCUMENT)
    found = {problem for entry in spotio.traffic or [] for problem in contract.problems(entry)}
    assert not found, "\n".join(sorted(found)[:SHOWN])

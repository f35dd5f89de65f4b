"""The first sync of 200,000 Contacts to Deployteq: seconds, calls, peak memory, against one of 20,000."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.result import Result, measured

MANY, FEW = 200_000, 20_000
FIELDS = [
    "FirstName",
    "LastName",
    "Email",
    "Title",
    "Phone",
    "MobilePhone",
    "MailingCity",
    "MailingCountry",
    "LeadSource",
    "Deployteq_Opt_In__c",
]


def run() -> list[Result]:
    few, many = _measure(FEW), _measure(MANY)
    return [
        Result(f"first sync: {MANY:,} Contacts out of Salesforce", "s", many["extract_seconds"]),
        Result(f"first sync: {MANY:,} customers into Deployteq, one by one call of 50", "s", many["push_seconds"]),
        Result("first sync: Salesforce calls", "calls", many["salesforce_calls"]),
        Result(
            "first sync: Deployteq calls per 1,000 customers", "calls", many["deployteq_calls"] / MANY * 1_000, "<= 20"
        ),
        Result(
            "first sync: peak memory",
            "MB",
            many["megabytes"],
            f"<= {few['megabytes'] * 1.5:.0f}",
            f"{FEW:,} Contacts",
            few["megabytes"],
        ),
    ]


def _measure(contacts: int) -> dict[str, float]:
    with emulators_with("Contact", contacts, FIELDS) as (folder, line, known):
        figures = measured("deployteq_task", folder, line, home=folder)
        figures["salesforce_calls"] = _get(f"{known['salesforce']}/_emulator/usage")["api_calls"]
        figures["deployteq_calls"] = _get(f"{known['vendors']}/_emulator/deployteq/calls")["insert_bulk_unique"]
    print(f"    {contacts:,} Contacts: {figures}", flush=True)
    return figures


@contextmanager
def emulators_with(object_name: str, count: int, fields: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The emulators in a process of their own, with so many records in the org: a folder, the line that they print, and
    what is in it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = os.environ | {"AIRFLOW_HOME": folder}
        command = [sys.executable, "-m", "emulators", "--seed", "empty"]
        emulators = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert emulators.stdout is not None
            line = emulators.stdout.readline()
            known: dict[str, Any] = json.loads(line)
            order = {"object": object_name, "count": count, "fields": fields}
            _post(f"{known['salesforce']}/_emulator/generate", order)
            yield folder, line, known
        finally:
            emulators.terminate()
            emulators.wait()


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url) as reply:
        return dict(json.load(reply))


def _post(url: str, body: dict[str, Any]) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")).close()

"""Where the metrics are read: in Preact, in a database, or in files. All of them are one WholeSource."""

from __future__ import annotations

from typing import Protocol

from salesforce_sync.engine.read_whole import WholeSource
from salesforce_sync.hooks.credentials import read_credentials
from salesforce_sync.operators.base import open_place
from salesforce_sync.settings import read_setting
from salesforce_sync.systems.preact import settings
from salesforce_sync.systems.preact.credentials import SqlCredentials
from salesforce_sync.systems.preact.files import FileSource
from salesforce_sync.systems.preact.hook import ACCOUNTS, PEOPLE, PreactHook
from salesforce_sync.systems.preact.labels import Labelled
from salesforce_sync.systems.preact.sql import SqlSource

SQL_SYSTEM = "preact_sql"
STREAMS = {ACCOUNTS: settings.ACCOUNTS, PEOPLE: settings.PEOPLE}
MAPPINGS = {ACCOUNTS: settings.ACCOUNT_METRICS, PEOPLE: settings.PERSON_METRICS}


class TestedSource(WholeSource, Protocol):
    """A source that can say whether it works."""

    def test(self) -> str: ...


def plain_source() -> TestedSource:
    """The source that the Variable preact_source names, as it is."""
    kind = read_setting(settings.SOURCE)
    if kind == settings.PREACT:
        return PreactHook()
    wanted = {stream: setting for stream, setting in STREAMS.items() if read_setting(MAPPINGS[stream])}
    variables = {stream: setting.name for stream, setting in wanted.items()}
    given = {stream: read_setting(setting) for stream, setting in wanted.items()}
    if kind == settings.SQL:
        return SqlSource(read_credentials(SQL_SYSTEM, SqlCredentials).url, given, variables)
    files = {stream: open_place(text, wanted[stream]) if text else None for stream, text in given.items()}
    return FileSource(files, variables)


def source() -> WholeSource:
    """The source that the Variable preact_source names, with a label for every score."""
    bands = {
        "activity_score_label": read_setting(settings.ACTIVITY_BANDS),
        "health_score_label": read_setting(settings.HEALTH_BANDS),
    }
    return Labelled(plain_source(), bands)

"""The one file that Airflow loads as a plugin: it makes the package's timetable known."""

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from salesforce_sync.systems.peerspot.timetable import IntentTimetable


class SalesforceSyncPlugin(AirflowPlugin):
    name = "salesforce_sync"
    timetables: ClassVar = [IntentTimetable]

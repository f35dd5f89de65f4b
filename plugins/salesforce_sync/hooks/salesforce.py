"""The Salesforce hook: Airflow's own, signed in by our session, with our client beside it."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.providers.salesforce.hooks.salesforce import SalesforceHook
from airflow.sdk.log import mask_secret
from sqlalchemy import Engine

from salesforce_sync.hooks.credentials import SalesforceCredentials, read_credentials
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.jobs import JobMemory
from salesforce_sync.salesforce.session import Session
from salesforce_sync.settings import API_RESERVE_PERCENT, CALLS_PER_HOUR, read_setting
from salesforce_sync.state.api_budget import BudgetRule
from salesforce_sync.state.sharing import SharedBudget, SharedDescriptions, SharedSession

log = logging.getLogger(__name__)


def org_budget(state: Engine, *, share_percent: int = 100, holder: str = "") -> SharedBudget:
    """The API budget that the Variables describe; a task may be given a share of it only."""
    reserve, hourly = read_setting(API_RESERVE_PERCENT), read_setting(CALLS_PER_HOUR)
    return SharedBudget(state, BudgetRule(reserve, hourly, share_percent), holder=holder)


class SalesforceSyncHook(SalesforceHook):  # type: ignore[misc]
    """`client` is what the package uses; everything of Airflow's SalesforceHook works on the same session.

    With a state database, tasks share the session, the descriptions of objects and the API budget. `jobs` remembers the Bulk jobs that
    the task began; with `patience`, a write raises JobUnderWay when its job takes longer, in seconds.
    """

    def __init__(
        self,
        *,
        state: Engine | None = None,
        budget: SharedBudget | None = None,
        jobs: JobMemory | None = None,
        patience: float | None = None,
    ) -> None:
        super().__init__(salesforce_conn_id="salesforce")
        self._state, self._budget, self._jobs, self._patience = state, budget, jobs, patience

    @cached_property
    def credentials(self) -> SalesforceCredentials:
        found = read_credentials("salesforce", SalesforceCredentials)
        if found.is_retiring:
            log.warning(
                "Salesforce retires sign-in with username and password in Summer '27: move to client credentials or JWT bearer."
            )
        return found

    @cached_property
    def client(self) -> SalesforceClient:
        """The client; it signs in at its first request."""
        credentials, state = self.credentials, self._state
        secret = credentials.model_dump_json()
        store = None if state is None else SharedSession(state, secret)
        session = Session(
            credentials.sign_in(), api_version=credentials.api_version, store=store, budget=self._budget,
            on_token=mask_secret,
        )  # fmt: skip
        descriptions = None if state is None else SharedDescriptions(state, secret)
        return SalesforceClient(session, memory=self._jobs, patience=self._patience, descriptions=descriptions)

    @cached_property
    def conn(self) -> Any:
        """simple-salesforce on the client's session."""
        from simple_salesforce.api import Salesforce

        opened = self.client.session.opened
        return Salesforce(
            session_id=opened.token, instance_url=opened.instance_url, version=self.credentials.api_version
        )

    def get_conn(self) -> Any:
        return self.conn

"""The trigger that waits for a Bulk job of Salesforce, so that no worker has to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

POLL_SECONDS = 20.0  # a job that got here takes minutes, and every look costs an API call


class BulkJobTrigger(BaseTrigger):
    """Fires when the job at `path` is no longer at work, or cannot be asked for: the task finds out for itself what that means."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        state = ""
        while not state:
            await asyncio.sleep(POLL_SECONDS)
            state = await asyncio.to_thread(self._ended)
        yield TriggerEvent(state)

    def _ended(self) -> str:
        """How the job ended, or why it cannot be told; empty while it is at work."""
        from salesforce_sync.errors import SyncError
        from salesforce_sync.hooks.salesforce import SalesforceSyncHook, org_budget
        from salesforce_sync.salesforce.jobs import ended
        from salesforce_sync.state.engine import open_state

        state = open_state()
        budget = org_budget(state)
        try:
            return ended(SalesforceSyncHook(state=state, budget=budget).client.session, self.path)
        except SyncError as error:
            return str(error)
        finally:
            budget.close()

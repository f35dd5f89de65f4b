"""Triggers that wait so that no worker has to: for a Bulk job, for a lease, for calls that may still land."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

LEASE_POLL_SECONDS = 5.0
# A lease whose beat has not moved for so long is taken over. More than twice the longest commit (100,000 rows take some
# seconds) and the time that a commit waits for a busy database (state.engine.BUSY_SECONDS, 60).
LEASE_SECONDS = 180.0
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


class LeaseTrigger(BaseTrigger):
    """Fires when the lease is free or somebody else's, or when its holder has given no sign of life for LEASE_SECONDS by
    this process's monotonic clock. `held` is the lease as it was seen: name, epoch, beat, holder."""

    def __init__(self, held: list[Any]) -> None:
        super().__init__()
        self.held = held

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"held": self.held}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        seen, since = self.held, time.monotonic()
        while True:
            await asyncio.sleep(LEASE_POLL_SECONDS)
            now = await asyncio.to_thread(self._look)
            if now is None or now[1] != self.held[1]:
                yield TriggerEvent({"lease": self.held[0], "free": True})
                return
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= LEASE_SECONDS:
                yield TriggerEvent({"lease": self.held[0], "overdue": now})
                return

    def _look(self) -> list[Any] | None:
        from salesforce_sync.state import leases
        from salesforce_sync.state.engine import open_state, reading

        with reading(open_state()) as connection:
            found = leases.look(connection, self.held[0])
        return None if found is None else list(found)


class RestTrigger(BaseTrigger):
    """Fires after so many seconds, by this process's monotonic clock; `notes` are the chunks that rest meanwhile."""

    def __init__(self, notes: list[list[int]], seconds: float, after: str = "") -> None:
        super().__init__()
        self.notes, self.seconds, self.after = notes, seconds, after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "notes": self.notes,
            "seconds": self.seconds,
            "after": self.after,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"notes": self.notes, "rested": self.seconds, "after": self.after})

"""Running the pipeline in a process of its own that is killed with SIGKILL at a chosen moment.

The moments: before and after every request to Salesforce, before every commit of the state database, after every staged file.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.metadata import DescriptionStore
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.signin import ClientCredentials
from support.flows import Intent
from support.world import World

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["support.kills"])


@dataclass(frozen=True)
class RemoteWorld:
    """As much of a World as another process needs."""

    url: str
    consumer_key: str
    consumer_secret: str

    @classmethod
    def of(cls, world: World) -> RemoteWorld:
        return cls(world.salesforce_url, world.org.credentials.consumer_key, world.org.credentials.consumer_secret)

    def client(self, descriptions: DescriptionStore | None = None) -> SalesforceClient:
        sign_in = ClientCredentials(self.url, self.consumer_key, self.consumer_secret)
        return SalesforceClient(Session(sign_in, sleep=lambda _: None), descriptions=descriptions)


def run_until_killed(
    world: World, state_url: str, folder: Path, records: list[dict[str, Any]], *, moment: int, attempt: int = 1
) -> bool:
    """Runs extract, load, process and clean in a new process that kills itself at its `moment`th moment.

    True when it was killed; False when it ended before that moment came, having done everything.
    """
    # The fork server imports what it preloads by this path only; without it every child would import everything by itself.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = _context.Process(target=_run, args=(RemoteWorld.of(world), state_url, folder, records, moment, attempt))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"moment {moment}: the process ended with {process.exitcode}"
    return process.exitcode == -signal.SIGKILL


def _run(world: Any, state_url: str, folder: Path, records: list[dict[str, Any]], moment: int, attempt: int) -> None:
    from sqlalchemy import event

    from salesforce_sync.staging import Staging
    from salesforce_sync.state.engine import open_state

    left = moment

    def tick(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    send, write = Session._send, Staging.write

    def ticking_send(self: Session, *args: Any, **kwargs: Any) -> Any:
        tick()
        reply = send(self, *args, **kwargs)
        tick()
        return reply

    def ticking_write(self: Staging, *args: Any, **kwargs: Any) -> Any:
        ref = write(self, *args, **kwargs)
        tick()
        return ref

    Session._send, Staging.write = ticking_send, ticking_write  # type: ignore[method-assign]
    event.listen(open_state(state_url), "commit", tick)
    pipeline = Intent(world, state_url, folder, attempt=attempt, patient=True)
    pipeline.run(*records)
    pipeline.clean()

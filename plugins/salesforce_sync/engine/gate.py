"""The gate in front of a target: which rows of a plan pass, and which wait for a person.

There is one question for a target at a time. What a person lets pass is a brake with its counts or, where plans are
approved, a set of rows; never the old file: the delivery plans again, and writes the rows that are the same. What is
not the same waits for the next question. A withdrawal of consent waits for nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.brakes import APPROVAL, DELETIONS, FLOOR, SHOWN
from salesforce_sync.engine.context import Context
from salesforce_sync.engine.lease import Lease
from salesforce_sync.engine.plan import BEFORE, Mask, PlanWriter, facts_of
from salesforce_sync.engine.summary import Summary
from salesforce_sync.errors import HeldBack, StagedDataMissing
from salesforce_sync.mapping.fingerprint import fingerprints
from salesforce_sync.privacy import mask_text
from salesforce_sync.records import Reason
from salesforce_sync.staging import file_name, remove_folder
from salesforce_sync.state import plans
from salesforce_sync.state.engine import reading
from salesforce_sync.state.plans import Plan

log = logging.getLogger(__name__)

GROWTH = 1.1  # what was allowed may have grown by a tenth, or by FLOOR records, until it is written
Summarized = Callable[[Sequence[Reason]], Summary]
HOW = "Look at it with the DAG sync_control (action `list`), and let it pass, or reject it, by its id"
# What makes a row of a plan the same row: what is written, to which record, over which values.
_SAME = ("_id", "_version", "_fingerprint", "_target", "_vendor_id", "_gone", "_code")


def row_keys(chunk: pa.Table, consent: str | None = None) -> list[str]:
    """A text for each row of a plan, equal in two plans when they would do the same to the same values."""
    facts = facts_of(chunk)
    known = [*_SAME, *([consent] if consent else [])]
    columns = [name for name in known if name in chunk.column_names]
    columns += sorted(name for name in chunk.column_names if name.startswith(BEFORE))
    return fingerprints(chunk.select(columns), key=f"{facts.get('member')}\n{facts.get('operation')}")


@dataclass
class Gate:
    """`held` is the question that is open for the target, `allowed` what a person let pass and nobody wrote yet."""

    context: Context
    target: str
    held: Plan | None = None
    allowed: Plan | None = None
    asked: Plan | None = None  # the question that this delivery leaves open
    _keys: set[str] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, context: Context, target: str) -> Gate:
        with reading(context.state) as connection:
            held = plans.with_status(connection, plans.HELD, org=context.org, target=target)
            allowed = plans.with_status(connection, plans.ALLOWED, org=context.org, target=target)
        return cls(context, target, next(iter(held), None), next(iter(allowed), None))

    def unanswered(self, reasons: Iterable[Reason]) -> list[Reason]:
        """Those of the reasons that no person has let pass. An approval is of rows: it is never among these."""
        known = {
            (item.brake, item.mapping, item.subject): item for item in (self.allowed.reasons if self.allowed else ())
        }
        open_reasons = []
        for reason in reasons:
            before = known.get((reason.brake, reason.mapping, reason.subject))
            if before is None or reason.affected > max(before.affected + FLOOR, before.affected * GROWTH):
                open_reasons.append(reason)
        return open_reasons

    def approved(self, chunk: pa.Table, consent: str | None = None) -> Mask:
        """Which rows of the chunk a person approved, just as they are now."""
        if self._keys is None:
            self._keys = set()
            if self.allowed is not None:
                for table in chunks_of(self.context, self.allowed):
                    self._keys.update(row_keys(table, consent))
        return np.array([key in self._keys for key in row_keys(chunk, consent)], dtype=bool)

    def ask(
        self, lease: Lease, later: PlanWriter, reasons: Sequence[Reason], summarized: Summarized, *, sync_run_id: int
    ) -> Plan:
        """People are asked about the rows in `later`, unless a question is open already, which then stays as it is.
        Gives the open question.

        `reasons` are the brakes that were pulled; `summarized` gives the plan's summary. What a person let pass before
        is over."""
        rows, context = sum(chunk.rows for chunk in later.chunks), self.context
        asked = list(reasons)
        if context.brakes.approve:
            text = f"{rows:,} changes of {self.target} wait, as every plan of {context.run.dag_id} does"
            asked.append(Reason(APPROVAL, "", self.target, rows, rows, text))
        if self.held is None:
            summary = summarized(asked)
            summary.save(context, later.folder)
            summary.tell(log)
        with lease.transaction() as connection:
            if self.allowed is not None and not self.unanswered(reasons):
                plans.finish(connection, self.allowed.id)
            if self.held is not None:
                self.asked, is_due = self.held, plans.remind(connection, self.held.id, now=datetime.now(UTC))
            else:
                plan_id = plans.make(
                    connection, org=context.org, target=self.target, epoch=lease.epoch, path=str(later.folder),
                    chunks=len(later.chunks), counts=summary.counts, sync_run_id=sync_run_id, run=context.run,
                    status=plans.HELD, reasons=asked,
                )  # fmt: skip
                self.asked, is_due = plans.get(connection, plan_id), is_approval(asked)  # a brake makes the run red
        assert self.asked is not None
        if self.held is not None:
            remove_folder(later.folder)
        if is_due:
            context.questions.append(self.asked)
        log.warning("%s", described(self.asked))
        return self.asked

    def raise_if_new(self) -> None:
        """HeldBack when a brake holds rows, and this delivery is the first to ask about them."""
        if self.asked is None or self.held is not None or is_approval(self.asked.reasons):
            return
        ids = [
            name
            for table in chunks_of(self.context, self.asked)
            for name in table.column("_id").slice(0, SHOWN).to_pylist()
        ]
        raise as_error(self.asked, [mask_text(str(name)) for name in ids[:SHOWN]])

    def settle(self, connection: Connection, *, done: bool = True) -> None:
        """After a delivery that held nothing back: what was allowed is written (`done`: all of it), and an open
        question has come to nothing."""
        if self.allowed is not None and done:
            plans.finish(connection, self.allowed.id)
        if self.held is not None and self.asked is None:
            plans.withdraw(connection, self.held.id)


def is_approval(reasons: Iterable[Reason]) -> bool:
    """Whether nothing is wrong with the plan, and its DAG's plans wait for a person by setting."""
    return all(reason.brake == APPROVAL for reason in reasons)


def covers_all(reasons: Iterable[Reason]) -> bool:
    """Whether the reasons hold the whole plan, and not its deletions alone."""
    return any(reason.brake != DELETIONS for reason in reasons)


def described(plan: Plan) -> str:
    """The question in a sentence or more."""
    return f"Plan {plan.id} of {plan.target} waits for a person: {'; '.join(item.text for item in plan.reasons)}."


def as_error(plan: Plan, samples: Sequence[str]) -> HeldBack:
    """What makes the run red that a brake holds back."""
    among = f" Among them: {', '.join(samples)}." if samples else ""
    return HeldBack(
        f"{described(plan)} Nothing of it was written, and what was read waits.{among}",
        fix=f"{HOW}: action `allow` or `reject`, plan {plan.id}. If the mapping or a setting is wrong, correct it: the next run plans again.",
    )


def chunks_of(context: Context, plan: Plan) -> Iterable[pa.Table]:
    """The plan's chunks, as far as their files are there."""
    folder = context.staging.place(plan.path)
    for number in range(plan.chunks):
        try:
            yield context.staging.read_table(str(folder / file_name(number)))
        except StagedDataMissing as error:
            log.warning("Plan %d: %s", plan.id, error)

"""Process: what the PeerSpot Activity Processor does with extracted activities.

For each activity that is not processed yet: its Vendor Products are created, it is tied to them, the Account on its domain is found, and
it is marked Processed, last. Activities without an Account are kept with an error, and matched again as soon as an Account appears on
their domain. The activities come from Salesforce, not from the extract, so that the step can run alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.errors import MissingMetadata
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.transforms import products_of
from salesforce_sync.matching.accounts import AccountCandidate, choose
from salesforce_sync.matching.domains import registrable_domain
from salesforce_sync.records import Counts, Outcome, RecordResult
from salesforce_sync.salesforce.client import soql_text
from salesforce_sync.salesforce.write import JOB_ROWS, Operation, WriteRequest
from salesforce_sync.state import account_domains, dead_letters, sync_log, watermarks
from salesforce_sync.state.account_domains import AccountChange
from salesforce_sync.state.engine import chunks, reading
from salesforce_sync.steps.context import StepContext, SyncRun, refuse_too_many, sync_run
from salesforce_sync.steps.load import from_memory, load

log = logging.getLogger(__name__)

STEP = "peerspot/process"
ACTIVITY = "PeerSpot_Activity__c"
DOMAIN_NOT_FOUND = "PS Activities Error: Domain not Found"
AMBIGUOUS, PRODUCTS_REFUSED = "AMBIGUOUS_DOMAIN", "PRODUCTS_REFUSED"
ACCOUNT_STREAM = "salesforce/Account.domains"
LOOKBACK = timedelta(minutes=5)  # a record becomes visible some seconds after the moment that it is stamped with
DOMAINS_PER_QUERY = 300  # keeps the URL of a query below Salesforce's 16 kB
_COLUMNS = "Id, PeerSpot_External_Id__c, Account_Domain__c, Products__c, Account__c, Error__c, Processed__c"


@dataclass(frozen=True)
class ProcessMappings:
    """The two mappings that the step loads by."""

    vendor_products: MappingFile
    activity_products: MappingFile


@dataclass
class _Matched:
    """One frame of activities with what was found for them."""

    changes: pa.Table  # the rows to write: Id, Account__c, Error__c, Processed__c
    keys: dict[str, str]  # Salesforce id -> external id
    ambiguous: dict[str, str]  # Salesforce id -> which Accounts there were
    unmatched_domains: set[str]
    held_back: list[str]  # external ids of activities whose products were refused


def process(context: StepContext, mappings: ProcessMappings, *, account_choice: str) -> Counts:
    """Processes all unprocessed activities and matches again those whose domain has news; gives what became of the activities.

    `account_choice` is a key of matching.accounts.CHOICES. Raises TooManyRejects after everything is committed.
    """
    refresh_accounts(context)
    with sync_run(context, STEP) as run:
        work = _Process(context, run, mappings, account_choice)
        counts = work.run_all()
    refuse_too_many(counts, STEP, work.examples)
    return counts


def refresh_accounts(context: StepContext) -> int:
    """Brings the index of Accounts by domain up to date with one query for what changed; gives how many Accounts had."""
    with sync_run(context, ACCOUNT_STREAM) as run:
        with reading(context.state) as connection:
            since = watermarks.get(connection, context.org, ACCOUNT_STREAM)
        soql = "SELECT Id, Website, ParentId, CreatedDate, SystemModstamp, IsDeleted FROM Account"
        if since:
            soql += f" WHERE SystemModstamp >= {(datetime.fromisoformat(since) - LOOKBACK).strftime('%Y-%m-%dT%H:%M:%SZ')}"
        seen, newest = 0, since
        for table in context.client.read(soql, include_deleted=bool(since)):
            changes = [_account_change(row) for row in table.to_pylist()]
            latest = pc.max(table.column("SystemModstamp")).as_py().astimezone(UTC).isoformat(timespec="milliseconds")
            newest = latest if newest is None else max(newest, latest)
            seen += len(changes)
            with context.state.begin() as connection:
                account_domains.refresh(connection, context.org, changes)
        with context.state.begin() as connection:
            # The watermark moves only after every page is in: pages do not come in the order of their stamps.
            after = watermarks.advance(connection, context.org, ACCOUNT_STREAM, newest) if newest else None
            run.finish(connection, Counts(read=seen), watermark_from=since, watermark_to=after)
    return seen


def _account_change(row: dict[str, object]) -> AccountChange:
    website, created, parent = row["Website"], row["CreatedDate"], row["ParentId"]
    domain = registrable_domain(str(website)) if website and not row["IsDeleted"] else None
    assert isinstance(created, datetime)
    return AccountChange(str(row["Id"]), domain, None if parent is None else str(parent), created.astimezone(UTC).isoformat())


@dataclass
class _Process:
    context: StepContext
    run: SyncRun
    mappings: ProcessMappings
    account_choice: str
    results: list[RecordResult] = field(default_factory=list)
    unmatched: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)

    def run_all(self) -> Counts:
        if self.context.client.describe([ACTIVITY])[ACTIVITY] is None:
            raise MissingMetadata(f"The org has no object {ACTIVITY}, or hides it from the integration user.")
        with reading(self.context.state) as connection:
            recheck = account_domains.to_recheck(connection, self.context.org)
        read = 0
        for frame in regrouped(self._unprocessed()):
            read += frame.num_rows
            self._process(frame, products=True)
        for frame in regrouped(self._on_domains(recheck)):
            read += frame.num_rows
            self._process(frame, products=False)
        return self._commit(read, recheck)

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def _unprocessed(self) -> Iterator[pa.Table]:
        return self.context.client.read(f"SELECT {_COLUMNS} FROM {ACTIVITY} WHERE Processed__c = false")

    def _on_domains(self, domains: list[str]) -> Iterator[pa.Table]:
        """The processed activities on these domains that have no Account."""
        for part in chunks(domains, DOMAINS_PER_QUERY):
            listed = ", ".join(soql_text(domain) for domain in part)
            where = f"Processed__c = true AND Account__c = null AND Account_Domain__c IN ({listed})"
            yield from self.context.client.read(f"SELECT {_COLUMNS} FROM {ACTIVITY} WHERE {where}")

    # -- one frame ----------------------------------------------------------------------------------------------------------------

    def _process(self, frame: pa.Table, *, products: bool) -> None:
        held_back = self._load_products(frame) if products else frozenset()
        matched = self._match(frame, held_back)
        self.unmatched |= matched.unmatched_domains
        self.results += [
            RecordResult(key, Outcome.SKIPPED, code=PRODUCTS_REFUSED, message="Its Vendor Products were refused.") for key in matched.held_back
        ]
        self._write(matched)
        log.info("%s: %d activities looked at", STEP, frame.num_rows)

    def _load_products(self, frame: pa.Table) -> frozenset[str]:
        """Creates Vendor Products and ties the activities to them; gives the activities for which that failed."""
        pairs = [
            (key, product_id, name)
            for key, lines in zip(frame.column("PeerSpot_External_Id__c").to_pylist(), frame.column("Products__c").to_pylist(), strict=True)
            for product_id, name in products_of(lines)
        ]
        if not pairs:
            return frozenset()
        products = [{"id": product_id, "name": name} for product_id, name in {product_id: name for _, product_id, name in pairs}.items()]
        load(self.context, "peerspot/vendor_products", self.mappings.vendor_products, from_memory(products))
        ties = [{"id": f"{key}:{product_id}", "activity": key, "product": product_id} for key, product_id, _ in pairs]
        loaded = load(self.context, "peerspot/activity_products", self.mappings.activity_products, from_memory(ties), remember=False)
        return frozenset(tie["activity"] for tie in ties if tie["id"] in loaded.refused)

    def _match(self, frame: pa.Table, held_back: frozenset[str]) -> _Matched:
        domains = frame.column("Account_Domain__c").to_pylist()
        with reading(self.context.state) as connection:
            known = account_domains.candidates(connection, self.context.org, {domain for domain in domains if domain})
        chosen = {domain: choose(accounts, self.account_choice) for domain, accounts in known.items()}
        changes: dict[str, list[object]] = {"Id": [], "Account__c": [], "Error__c": [], "Processed__c": []}
        matched = _Matched(frame, {}, {}, set(), [])
        for row, domain in zip(frame.to_pylist(), domains, strict=True):
            key = row["PeerSpot_External_Id__c"] or row["Id"]
            if key in held_back:
                matched.held_back.append(key)
                continue
            account = chosen[domain].account_id if domain in chosen else None
            error = None if account else DOMAIN_NOT_FOUND
            if domain and not account:
                matched.unmatched_domains.add(domain)
            if row["Processed__c"] and row["Account__c"] == account and row["Error__c"] == error:
                self.results.append(RecordResult(key, Outcome.UNCHANGED, row["Id"], code=_code(error), message=error))
                continue
            for name, value in (("Id", row["Id"]), ("Account__c", account), ("Error__c", error), ("Processed__c", True)):
                changes[name].append(value)
            matched.keys[row["Id"]] = key
            if account and len(known[domain]) > 1:
                matched.ambiguous[row["Id"]] = _ambiguity(domain, known[domain], account)
        types = {"Processed__c": pa.bool_()}
        matched.changes = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in changes.items()})
        return matched

    def _write(self, matched: _Matched) -> None:
        request = WriteRequest(ACTIVITY, Operation.UPDATE, clears=frozenset({"Account__c", "Error__c"}))
        for table, results in self.context.client.write(request, [matched.changes] if matched.changes.num_rows else []):
            errors = table.column("Error__c").to_pylist()
            for record_id, error, result in zip(table.column("Id").to_pylist(), errors, results, strict=True):
                key = matched.keys[record_id]
                if result.outcome is Outcome.REJECTED:
                    self.results.append(RecordResult(key, Outcome.REJECTED, record_id, result.code, result.message))
                    self.examples.append(f"{key}: {result.message}")
                elif record_id in matched.ambiguous:
                    self.results.append(RecordResult(key, Outcome.UPDATED, record_id, AMBIGUOUS, matched.ambiguous[record_id]))
                else:
                    self.results.append(RecordResult(key, Outcome.UPDATED, record_id, _code(error), error))

    # -- committing ---------------------------------------------------------------------------------------------------------------

    def _commit(self, read: int, checked: list[str]) -> Counts:
        counts = Counts.of((result.outcome for result in self.results), read=read)
        codes = Counter(result.code for result in self.results)
        self.run.notes.append(f"{codes[_code(DOMAIN_NOT_FOUND)]} without an Account on their domain, {codes[AMBIGUOUS]} with several.")
        with self.context.state.begin() as connection:
            for part in chunks(self.results):
                sync_log.write(connection, self.run.id, part)
            account_domains.settle(connection, self.context.org, checked=checked, unmatched=self.unmatched)
            refused = [result for result in self.results if result.outcome is Outcome.REJECTED]
            if refused:
                dead_letters.record(connection, self.context.org, STEP, self.run.id, refused)
            self.run.finish(connection, counts)
        return counts


def _code(error: str | None) -> str | None:
    return "DOMAIN_NOT_FOUND" if error else None


def _ambiguity(domain: str, accounts: Iterable[AccountCandidate], chosen: str) -> str:
    others = ", ".join(sorted(account.account_id for account in accounts if account.account_id != chosen))
    return f"{domain} is on several Accounts: {chosen} was chosen, not {others}"


def regrouped(tables: Iterable[pa.Table], rows: int = JOB_ROWS) -> Iterator[pa.Table]:
    """The rows again in tables of at least `rows` where there are that many: fewer, fuller writes cost fewer API calls."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(item.num_rows for item in pending) >= rows:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)

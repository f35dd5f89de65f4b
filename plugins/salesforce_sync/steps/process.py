"""Process: what the PeerSpot Activity Processor does with extracted activities.

For each activity that is not processed yet: its Vendor Products are created, it is tied to them, the Account on its domain is found, and
it is marked Processed, last. Activities without an Account are kept with an error, and matched again as soon as an Account appears on
their domain. The activities come from Salesforce, not from the extract, so that the step can run alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.transforms import products_of
from salesforce_sync.matching.accounts import AccountCandidate, choose
from salesforce_sync.records import Counts, Outcome, RecordResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest, regrouped
from salesforce_sync.salesforce.soql import soql_text
from salesforce_sync.state import account_domains, dead_letters, sync_log
from salesforce_sync.state.engine import chunks, reading
from salesforce_sync.steps.accounts import refresh_accounts
from salesforce_sync.steps.context import (
    StepContext,
    SyncRun,
    first_refusals,
    refuse_too_many,
    require_objects,
    sync_run,
)
from salesforce_sync.steps.load import from_memory, load

log = logging.getLogger(__name__)

STEP = "peerspot/process"
ACTIVITY, TIE, PRODUCT = "PeerSpot_Activity__c", "PeerSpot_Activity_Product__c", "PeerSpot_Vendor_Product__c"
KEY = "PeerSpot_External_Id__c"
DOMAIN_NOT_FOUND = "PS Activities Error: Domain not Found"
AMBIGUOUS, NO_ACCOUNT, PRODUCTS_REFUSED = "AMBIGUOUS_DOMAIN", "DOMAIN_NOT_FOUND", "PRODUCTS_REFUSED"
NO_SUCH_ACCOUNT = frozenset(
    {"INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"}
)
Rows = Sequence[dict[str, Any]]
LIST_CHARACTERS = 8_000  # of an IN list in a query's URL, which Salesforce takes up to 16 kB of
_COLUMNS = f"Id, {KEY}, Account_Domain__c, Products__c, Account__c, Error__c, Processed__c"


@dataclass(frozen=True)
class ProcessMappings:
    """The two mappings that the step loads by."""

    vendor_products: MappingFile
    activity_products: MappingFile


def process(context: StepContext, mappings: ProcessMappings, *, account_choice: str) -> Counts:
    """Processes all unprocessed activities and matches again those whose domain has news; gives what became of the activities.

    `account_choice` is a key of matching.accounts.CHOICES. Raises TooManyRejects after everything is committed.
    """
    with sync_run(context, STEP) as run:
        require_objects(context, [ACTIVITY, TIE, PRODUCT, "Account"])
        refresh_accounts(context)
        work = _Process(context, run, mappings, account_choice)
        counts = work.run_all()
    refuse_too_many(counts, STEP, first_refusals(work.results))
    return counts


@dataclass
class _Process:
    context: StepContext
    run: SyncRun
    mappings: ProcessMappings
    account_choice: str
    results: list[RecordResult] = field(default_factory=list)
    unmatched: set[str] = field(default_factory=set)
    retry_domains: set[str] = field(
        default_factory=set
    )  # of activities whose change was refused: they are looked at again
    dead_accounts: set[str] = field(default_factory=set)  # Accounts that Salesforce would not take as a reference

    def run_all(self) -> Counts:
        with reading(self.context.state) as connection:
            recheck = account_domains.to_recheck(connection, self.context.org)
        read = 0
        for frame in regrouped(self._unprocessed()):
            rows = frame.to_pylist()
            read += len(rows)
            self._match(rows, held_back=self._load_products(rows))
        self._warn_without_own_product(read)
        for frame in regrouped(self._on_domains(recheck)):
            rows = frame.to_pylist()
            read += len(rows)
            self._match(rows, held_back=frozenset())
        return self._commit(read, recheck)

    def _warn_without_own_product(self, read: int) -> None:
        """Without a product of our own, the reports put every activity with the competitors."""
        if read and not has_own_product(self.context):
            self.run.notes.append(
                "No Vendor Product is marked as My Company Product: mark yours, or every report counts them as competitors."
            )
            log.warning(self.run.notes[-1])

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def _unprocessed(self) -> Iterator[pa.Table]:
        return self.context.client.read(f"SELECT {_COLUMNS} FROM {ACTIVITY} WHERE Processed__c = false")

    def _on_domains(self, domains: list[str]) -> Iterator[pa.Table]:
        """The processed activities on these domains that have no Account."""
        for listed in in_lists(domains):
            where = f"Processed__c = true AND Account__c = null AND Account_Domain__c IN ({listed})"
            yield from self.context.client.read(f"SELECT {_COLUMNS} FROM {ACTIVITY} WHERE {where}")

    # -- products -----------------------------------------------------------------------------------------------------------------

    def _load_products(self, rows: Rows) -> frozenset[str]:
        """Creates Vendor Products and ties the activities to them; gives the activities for which that failed."""
        names: dict[str, str] = {}
        ties: list[dict[str, str]] = []
        for row in rows:
            for product_id, name in products_of(row["Products__c"]):
                names[product_id] = name
                ties.append({"id": f"{row[KEY]}:{product_id}", "activity": row[KEY], "product": product_id})
        self._drop_stale_ties(rows, {tie["id"] for tie in ties})
        if not ties:
            return frozenset()
        refused = self._tie(names, ties, resend=False)
        if refused:
            # A Vendor Product that somebody deleted counts as sent: send all of them again, and then the ties that need them.
            refused = self._tie(names, [tie for tie in ties if tie["id"] in refused], resend=True)
        return frozenset(tie["activity"] for tie in ties if tie["id"] in refused)

    def _tie(self, names: dict[str, str], ties: list[dict[str, str]], *, resend: bool) -> frozenset[str]:
        mapping = self.mappings.vendor_products
        products = [{"id": product_id, "name": name} for product_id, name in sorted(names.items())]
        load(
            self.context,
            "peerspot/vendor_products",
            mapping,
            from_memory(mapping, products),
            resend=resend,
            limit=False,
        )
        mapping = self.mappings.activity_products
        return load(
            self.context, "peerspot/activity_products", mapping, from_memory(mapping, ties), remember=False, limit=False
        ).refused

    def _drop_stale_ties(self, rows: Rows, current: set[str]) -> None:
        """Deletes the ties of activities that name other products than when they were processed before."""
        seen_before = [row["Id"] for row in rows if row["Account__c"] or row["Error__c"]]
        stale: list[str] = []
        for listed in in_lists(seen_before):
            for table in self.context.client.read(f"SELECT Id, {KEY} FROM {TIE} WHERE Activity__c IN ({listed})"):
                stale += [row["Id"] for row in table.to_pylist() if row[KEY] not in current]
        for _, results in self.context.client.delete(TIE, [pa.table({"Id": stale})] if stale else []):
            refused = sum(result.outcome is Outcome.REJECTED for result in results)
            log.info(
                "%s: %d ties to products that activities no longer name deleted, %d refused",
                STEP,
                len(results) - refused,
                refused,
            )

    # -- matching -----------------------------------------------------------------------------------------------------------------

    def _match(self, rows: Rows, *, held_back: frozenset[str]) -> None:
        with reading(self.context.state) as connection:
            known = account_domains.candidates(
                connection, self.context.org, {row["Account_Domain__c"] for row in rows} - {None}
            )
        chosen = {domain: choose(accounts, self.account_choice).account_id for domain, accounts in known.items()}
        changes = []
        for row in rows:
            domain = row["Account_Domain__c"]
            account = chosen.get(domain)
            if domain and not account:
                self.unmatched.add(domain)
            error = None if account else DOMAIN_NOT_FOUND
            if row[KEY] in held_back:
                self.results.append(
                    RecordResult(
                        row[KEY], Outcome.REJECTED, row["Id"], PRODUCTS_REFUSED, "Its Vendor Products were refused."
                    )
                )
            elif row["Processed__c"] and row["Account__c"] == account and row["Error__c"] == error:
                self.results.append(
                    RecordResult(row[KEY] or row["Id"], Outcome.UNCHANGED, row["Id"], error and NO_ACCOUNT, error)
                )
            else:
                changes.append(row | {"Account__c": account, "Error__c": error, "Processed__c": True})
        with self.context.state.begin() as connection:
            account_domains.keep_open(connection, self.context.org, self.unmatched)
        self._write(changes, known)
        log.info("%s: %d activities looked at", STEP, len(rows))

    def _write(self, changes: list[dict[str, Any]], known: dict[str, list[AccountCandidate]]) -> None:
        request = WriteRequest(ACTIVITY, Operation.UPDATE, clears=frozenset({"Account__c", "Error__c"}))
        columns = {"Id": pa.string(), "Account__c": pa.string(), "Error__c": pa.string(), "Processed__c": pa.bool_()}
        table = pa.table({name: pa.array([row[name] for row in changes], kind) for name, kind in columns.items()})
        results = (
            result for _, part in self.context.client.write(request, [table] if changes else []) for result in part
        )
        for row, result in zip(changes, results, strict=True):
            name, domain, account = row[KEY] or row["Id"], row["Account_Domain__c"], row["Account__c"]
            if result.outcome is Outcome.REJECTED:
                self.results.append(RecordResult(name, Outcome.REJECTED, row["Id"], result.code, result.message))
                self.retry_domains |= {domain} - {None}
                if account and result.code in NO_SUCH_ACCOUNT:
                    self.dead_accounts.add(account)
            elif account and len(known[domain]) > 1:
                self.results.append(
                    RecordResult(
                        name, Outcome.UPDATED, row["Id"], AMBIGUOUS, _ambiguity(domain, known[domain], account)
                    )
                )
            else:
                self.results.append(
                    RecordResult(name, Outcome.UPDATED, row["Id"], row["Error__c"] and NO_ACCOUNT, row["Error__c"])
                )

    # -- committing ---------------------------------------------------------------------------------------------------------------

    def _commit(self, read: int, checked: list[str]) -> Counts:
        counts = Counts.of((result.outcome for result in self.results), read=read)
        codes = Counter(result.code for result in self.results)
        self.run.notes.append(
            f"{codes[NO_ACCOUNT]} without an Account on their domain, {codes[AMBIGUOUS]} with several."
        )
        org = self.context.org
        with self.context.state.begin() as connection:
            for part in chunks(self.results):
                sync_log.write(connection, self.run.id, part)
                dead_letters.record(connection, org, STEP, self.run.id, part)
            account_domains.settle(connection, org, checked=checked, unmatched=self.unmatched)
            account_domains.look_again(connection, org, self.retry_domains)
            account_domains.drop(connection, org, sorted(self.dead_accounts))
            self.run.finish(connection, counts)
        return counts


def has_own_product(context: StepContext) -> bool:
    """Whether any Vendor Product is marked as My Company Product; one call."""
    return context.client.count(PRODUCT, "My_Company_Product__c = true") > 0


def _ambiguity(domain: str, accounts: Iterable[AccountCandidate], chosen: str) -> str:
    others = ", ".join(sorted(account.account_id for account in accounts if account.account_id != chosen))
    return f"{domain} is on several Accounts: {chosen} was chosen, not {others}"


def in_lists(values: Sequence[str], characters: int = LIST_CHARACTERS) -> Iterator[str]:
    """The values as SOQL lists, each short enough for the URL of a query."""
    listed: list[str] = []
    length = 0
    for value in values:
        text = soql_text(value)
        size = len(quote(f"{text}, "))
        if listed and length + size > characters:
            yield ", ".join(listed)
            listed, length = [], 0
        listed.append(text)
        length += size
    if listed:
        yield ", ".join(listed)

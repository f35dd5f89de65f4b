"""Process: what the PeerSpot Activity Processor does with extracted activities.

For each activity that is not processed yet: its Vendor Products are created, it is tied to them, the Account on its
domain is found, and it is marked Processed, last. Activities without an Account are kept with an error, and matched again
as soon as an Account appears on their domain. The activities come from Salesforce, not from the extract, so that the step
can run alone. It holds the lease of all that it writes, so nobody loads an activity between its reading and its writing;
what people change meanwhile is noticed by a last look, and left to the next run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context, first_refusals, refuse_too_many, require_objects
from salesforce_sync.engine.derive import Derived, derived
from salesforce_sync.engine.to_salesforce import deliver_made
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.transforms import products_of
from salesforce_sync.matching.accounts import AccountCandidate, choose
from salesforce_sync.records import Counts, Outcome, RecordResult, WriteResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest, regrouped
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.state import account_domains
from salesforce_sync.state.engine import reading
from salesforce_sync.systems.peerspot.accounts import refresh_accounts

log = logging.getLogger(__name__)

STEP, PRODUCTS = "peerspot/process", "peerspot/vendor_products"
ACTIVITY, TIE, PRODUCT = "PeerSpot_Activity__c", "PeerSpot_Activity_Product__c", "PeerSpot_Vendor_Product__c"
KEY = "PeerSpot_External_Id__c"
PRODUCT_KEY = "Vendor_Product__r.PeerSpot_Product_Id__c"
DOMAIN_NOT_FOUND = "PS Activities Error: Domain not Found"
AMBIGUOUS, NO_ACCOUNT, PRODUCTS_REFUSED = "AMBIGUOUS_DOMAIN", "DOMAIN_NOT_FOUND", "PRODUCTS_REFUSED"
STALE_TIE = "PRODUCT_NO_LONGER_NAMED"
NO_SUCH_ACCOUNT = frozenset({
    "INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
})  # fmt: skip
Rows = Sequence[dict[str, Any]]
UNPROCESSED = "Processed__c = false"
_COLUMNS = f"Id, {KEY}, Account_Domain__c, Products__c, Account__c, Error__c, Processed__c, SystemModstamp"


def process(context: Context, vendor_products: MappingFile, *, account_choice: str) -> Counts:
    """Processes all unprocessed activities, and matches those again whose domain has news; gives the activities' counts.

    `vendor_products` is the mapping of that name, `account_choice` a key of matching.accounts.CHOICES. Raises TooManyRejects
    after everything is committed.
    """
    with derived(context, STEP, [ACTIVITY, TIE, PRODUCT]) as flow:
        require_objects(context, [ACTIVITY, TIE, PRODUCT, "Account"])
        refresh_accounts(context)
        work = _Process(context, flow, vendor_products, account_choice)
        results = work.run_all()
    refuse_too_many(flow.run.counts, STEP, first_refusals(results))
    return flow.run.counts


@dataclass
class _Process:
    context: Context
    flow: Derived
    vendor_products: MappingFile
    account_choice: str
    quiet: list[RecordResult] = field(default_factory=list)  # outcomes that needed no call
    written: list[RecordResult] = field(default_factory=list)
    unmatched: set[str] = field(default_factory=set)
    retry_domains: set[str] = field(default_factory=set)  # of activities whose change was refused: looked at again
    dead_accounts: set[str] = field(default_factory=set)  # Accounts that Salesforce would not take as a reference

    def run_all(self) -> list[RecordResult]:
        with reading(self.context.state) as connection:
            recheck = account_domains.to_recheck(connection, self.context.org)
        any_read = False
        for frame in regrouped(self._activities(UNPROCESSED)):
            rows = frame.to_pylist()
            any_read = True
            self._match(rows, [UNPROCESSED], held_back=self._tie_products(rows))
        self._warn_without_own_product(any_read)
        conditions = [
            f"Processed__c = true AND Account__c = null AND Account_Domain__c IN ({listed})"
            for listed in in_lists(recheck)
        ]
        for frame in regrouped(table for condition in conditions for table in self._activities(condition)):
            self._match(frame.to_pylist(), conditions, held_back=frozenset())
        return self._commit(recheck)

    def _activities(self, condition: str) -> Iterator[pa.Table]:
        return self.context.salesforce.read(f"SELECT {_COLUMNS} FROM {ACTIVITY} WHERE {condition}")

    def _warn_without_own_product(self, any_read: bool) -> None:
        """Without a product of our own, the reports put every activity with the competitors."""
        if any_read and not has_own_product(self.context):
            note = "No Vendor Product is marked as My Company Product: mark yours, or every report counts them as competitors."
            self.flow.run.notes.append(note)
            log.warning(note)

    # -- products ----------------------------------------------------------------------------------------------------

    def _tie_products(self, rows: Rows) -> frozenset[str]:
        """Creates Vendor Products, and makes the activities' ties those that they name; gives the ids of the activities
        for which that failed."""
        names: dict[str, str] = {}
        wanted: dict[str, dict[str, str]] = {}
        for row in rows:
            for product_id, name in products_of(row["Products__c"]):
                names[product_id] = name
                key = f"{_name(row)}:{product_id}"
                wanted[key] = {KEY: key, "Activity__c": row["Id"], PRODUCT_KEY: product_id}
        held = self._held_ties({row["Id"] for row in rows})
        self._delete_ties({key: tie for key, tie in held.items() if key not in wanted})
        missing = {key: tie for key, tie in wanted.items() if key not in held}
        if not missing and not names:
            return frozenset()
        refused = self._create_ties(names, missing, resend=False)
        if refused:
            # A Vendor Product that somebody deleted counts as sent: send all of them again, and then the ties.
            refused = self._create_ties(names, {key: missing[key] for key in refused}, resend=True)
        return frozenset(missing[key]["Activity__c"] for key in refused)

    def _held_ties(self, activities: set[str]) -> dict[str, str]:
        """The ties that the org holds for these activities: key -> id."""
        soql = f"SELECT Id, {KEY}, Activity__c FROM {TIE} WHERE Activity__r.{UNPROCESSED}"
        return {
            row[KEY] or row["Id"]: row["Id"]
            for table in self.context.salesforce.read(soql)
            for row in table.to_pylist()
            if row["Activity__c"] in activities
        }

    def _delete_ties(self, stale: dict[str, str]) -> None:
        table = pa.table({"Id": pa.array(stale.values(), pa.string()), "_name": pa.array(stale.keys(), pa.string())})

        def make(row: dict[str, Any], result: WriteResult) -> RecordResult:
            return RecordResult(row["_name"], result.outcome, row["Id"], result.code or STALE_TIE, result.message)

        self.flow.write(WriteRequest(TIE, Operation.DELETE), table, make, counted=False)

    def _create_ties(self, names: dict[str, str], ties: dict[str, dict[str, str]], *, resend: bool) -> frozenset[str]:
        """The keys of the ties that were refused."""
        products = [{"id": product_id, "name": name} for product_id, name in sorted(names.items())]
        deliver_made(
            self.context, self.flow.lease, PRODUCTS, self.vendor_products, products, resend=resend, limit=False
        )
        columns = [KEY, "Activity__c", PRODUCT_KEY]
        table = pa.table({name: pa.array([tie[name] for tie in ties.values()], pa.string()) for name in columns})

        def make(row: dict[str, Any], result: WriteResult) -> RecordResult:
            return RecordResult(row[KEY], result.outcome, result.salesforce_id, result.code, result.message)

        results = self.flow.write(WriteRequest(TIE, Operation.UPSERT, KEY), table, make, counted=False)
        return frozenset(result.record_id for result in results if result.outcome is Outcome.REJECTED)

    # -- matching ----------------------------------------------------------------------------------------------------

    def _match(self, rows: Rows, conditions: Sequence[str], *, held_back: frozenset[str]) -> None:
        with reading(self.context.state) as connection:
            wanted = {row["Account_Domain__c"] for row in rows} - {None}
            known = account_domains.candidates(connection, self.context.org, wanted)
        chosen = {domain: choose(accounts, self.account_choice).account_id for domain, accounts in known.items()}
        changes = []
        for row in rows:
            domain = row["Account_Domain__c"]
            account = chosen.get(domain)
            if domain and not account:
                self.unmatched.add(domain)
            error = None if account else DOMAIN_NOT_FOUND
            if row["Id"] in held_back:
                self._quiet(row, Outcome.REJECTED, PRODUCTS_REFUSED, "Its Vendor Products were refused.")
            elif row["Processed__c"] and row["Account__c"] == account and row["Error__c"] == error:
                self._quiet(row, Outcome.UNCHANGED, error and NO_ACCOUNT, error)
            else:
                changes.append(row | {"Account__c": account, "Error__c": error, "Processed__c": True})
        with self.flow.lease.transaction() as connection:
            account_domains.keep_open(connection, self.context.org, self.unmatched)
        self._write(self._unmoved(changes, conditions), known)
        log.info("%s: %d activities looked at", STEP, len(rows))

    def _quiet(self, row: dict[str, Any], outcome: Outcome, code: str | None, message: str | None) -> None:
        self.quiet.append(RecordResult(_name(row), outcome, row["Id"], code, message))

    def _unmoved(self, changes: list[dict[str, Any]], conditions: Sequence[str]) -> list[dict[str, Any]]:
        """The last look: the rows but for those that somebody changed, or deleted, since they were read."""
        if not changes:
            return changes
        stamps = {
            row["Id"]: row["SystemModstamp"]
            for condition in conditions
            for table in self.context.salesforce.read(f"SELECT Id, SystemModstamp FROM {ACTIVITY} WHERE {condition}")
            for row in table.to_pylist()
        }
        kept = [row for row in changes if stamps.get(row["Id"]) == row["SystemModstamp"]]
        if len(kept) < len(changes):
            log.info("%s: %d activities changed meanwhile; the next run takes them", STEP, len(changes) - len(kept))
        return kept

    def _write(self, changes: list[dict[str, Any]], known: dict[str, list[AccountCandidate]]) -> None:
        request = WriteRequest(ACTIVITY, Operation.UPDATE, clears=frozenset({"Account__c", "Error__c"}))
        columns = {
            "Id": pa.string(), "Account__c": pa.string(), "Error__c": pa.string(), "Processed__c": pa.bool_(),
        }  # fmt: skip
        table = pa.table({name: pa.array([row[name] for row in changes], kind) for name, kind in columns.items()})
        table = table.append_column("_place", pa.array(range(len(changes)), pa.int64()))
        # What is approved of an activity is approved as it was: with other products, which a stamp to the second may
        # not tell, it is asked of again.
        versions = [f"{row['SystemModstamp']} {row['Products__c']}" for row in changes]
        table = table.append_column("_version", pa.array(versions, pa.string()))

        def make(row: dict[str, Any], result: WriteResult) -> RecordResult:
            return self._result(changes[row["_place"]], result, known)

        self.written += self.flow.write(request, table, make)

    def _result(
        self, row: dict[str, Any], result: WriteResult, known: dict[str, list[AccountCandidate]]
    ) -> RecordResult:
        domain, account = row["Account_Domain__c"], row["Account__c"]
        if result.outcome is Outcome.REJECTED:
            self.retry_domains |= {domain} - {None}
            if account and result.code in NO_SUCH_ACCOUNT:
                self.dead_accounts.add(account)
            return RecordResult(_name(row), Outcome.REJECTED, row["Id"], result.code, result.message)
        if account and len(known[domain]) > 1:
            message = _ambiguity(domain, known[domain], account)
            return RecordResult(_name(row), Outcome.UPDATED, row["Id"], AMBIGUOUS, message)
        return RecordResult(_name(row), Outcome.UPDATED, row["Id"], row["Error__c"] and NO_ACCOUNT, row["Error__c"])

    # -- committing --------------------------------------------------------------------------------------------------

    def _commit(self, checked: list[str]) -> list[RecordResult]:
        results = [*self.written, *self.quiet]
        codes = Counter(result.code for result in results)
        self.flow.run.notes.append(
            f"{codes[NO_ACCOUNT]} without an Account on their domain, {codes[AMBIGUOUS]} with several."
        )
        if codes[NO_ACCOUNT]:
            log.info("%s: %s wait for an Account on their domain", STEP, f"{codes[NO_ACCOUNT]:,}")
        with self.flow.lease.transaction() as connection:
            self.flow.add(connection, self.quiet)
            self._settle_domains(connection, self.context.org, checked)
        return results

    def _settle_domains(self, connection: Connection, org: str, checked: list[str]) -> None:
        account_domains.settle(connection, org, checked=checked, unmatched=self.unmatched)
        account_domains.look_again(connection, org, self.retry_domains)
        account_domains.drop(connection, org, sorted(self.dead_accounts))


def _name(row: dict[str, Any]) -> str:
    """What an activity is called in every table: by its own id, or, made by hand, by Salesforce's."""
    return str(row[KEY] or row["Id"])


def has_own_product(context: Context) -> bool:
    """Whether any Vendor Product is marked as My Company Product; one call."""
    return context.salesforce.count(PRODUCT, "My_Company_Product__c = true") > 0


def _ambiguity(domain: str, accounts: Iterable[AccountCandidate], chosen: str) -> str:
    others = ", ".join(sorted(account.account_id for account in accounts if account.account_id != chosen))
    return f"{domain} is on several Accounts: {chosen} was chosen, not {others}"

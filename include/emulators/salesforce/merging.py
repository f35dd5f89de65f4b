"""Merging Accounts, Contacts and Leads, and taking records out of the recycle bin: an org offers both in its pages, in Apex and by SOAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.org import Org
from emulators.salesforce.schema import SObject
from emulators.salesforce.store import quoted, timestamp

MERGEABLE = frozenset({"Account", "Contact", "Lead"})
MOST_LOSERS = 2


def merge(org: Org, master_id: str, losers: Sequence[str], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Merges the losers into the master, which gets the values; with the keys of SOAP's MergeResult.

    What points at a loser points at the master then. A loser is deleted, and names its master.
    """
    sobject = _object(org, [master_id, *losers])
    if sobject.name not in MERGEABLE or not 1 <= len(losers) <= MOST_LOSERS:
        raise ApiError(
            "INVALID_OPERATION", f"merge takes one or two {' or '.join(sorted(MERGEABLE))}s beside the master"
        )
    master, gone = to_18(master_id), [to_18(loser) for loser in losers]
    with org.store.writing() as connection:
        known = {record_id for record_id, _ in org.store.lookup(sobject, "Id", [master, *gone])}
        if len(known) < len(gone) + 1:
            raise ApiError("ENTITY_IS_DELETED", "entity is deleted")
        (result,) = org.dml.update(sobject, [{"Id": master, **(values or {})}])
        if result.error:
            raise result.error
        now = timestamp(org.clock.now())
        moved: list[str] = []
        for child, item in org.schema.children_of(sobject.name):
            if item.name == "MasterRecordId":
                continue
            children = [row[1] for row in org.store.lookup(child, item.name, gone)]
            sql = f"UPDATE {quoted(child.name)} SET {quoted(item.name)} = ?, SystemModstamp = ? WHERE Id = ?"
            connection.executemany(sql, [(master, now, record_id) for record_id in children])
            moved += children
        org.dml.delete(sobject, gone)
        sql = f"UPDATE {quoted(sobject.name)} SET MasterRecordId = ? WHERE Id = ?"
        connection.executemany(sql, [(master, record_id) for record_id in gone])
    return {"id": master, "mergedRecordIds": gone, "success": True, "updatedRelatedIds": moved}


def undelete(org: Org, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Takes deleted records out of the recycle bin; a result for each, with the keys of SOAP's UndeleteResult."""
    results: list[dict[str, Any]] = []
    now = timestamp(org.clock.now())
    with org.store.writing() as connection:
        for record_id in ids:
            sobject = _object(org, [record_id])
            org.store.purge(sobject, now)
            cleared = ", MasterRecordId = NULL" if sobject.find("MasterRecordId") else ""
            found = connection.execute(
                f"UPDATE {quoted(sobject.name)} SET IsDeleted = 0, SystemModstamp = ?, _purge_after = NULL{cleared}"
                " WHERE Id = ? AND IsDeleted = 1 AND _hard_deleted IS NULL",
                (now, to_18(record_id)),
            ).rowcount
            error = {"message": "entity is not in the recycle bin", "statusCode": "UNDELETE_FAILED"}
            results.append({"id": to_18(record_id), "success": bool(found)} | ({} if found else {"errors": error}))
    return results


def _object(org: Org, ids: Sequence[str]) -> SObject:
    """The object that all these records are of."""
    kinds = {record_id[:3] for record_id in ids if looks_like_id(record_id)}
    found = org.schema.by_prefix(next(iter(kinds), ""))
    if len(kinds) != 1 or found is None or not all(map(looks_like_id, ids)):
        raise ApiError("MALFORMED_ID", f"malformed id {ids[0]}")
    return found

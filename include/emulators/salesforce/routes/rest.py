"""Versions, the resource map, describe and limits of the REST API."""

from __future__ import annotations

from emulators.salesforce.describe import describe_global, describe_object
from emulators.salesforce.org import MAX_VERSION, MIN_VERSION, Org
from emulators.salesforce.routes.options import if_modified
from emulators.salesforce.store import timestamp
from emulators.wire import Call, Reply, Route

_SEASONS = ("Spring", "Summer", "Winter")
_RESOURCES = {
    "tooling": "tooling", "metadata": "metadata", "sobjects": "sobjects", "query": "query", "queryAll": "queryAll", "search": "search",
    "parameterizedSearch": "parameterizedSearch", "limits": "limits", "composite": "composite", "jobs": "jobs",
}  # fmt: skip


def versions(org: Org, call: Call) -> Reply:
    """Three releases make a year, and Winter carries the next year's number."""
    listed = []
    for number in range(MIN_VERSION, MAX_VERSION + 1):
        index = number - 60  # v60.0 is Spring '24
        year, season = 24 + index // 3, _SEASONS[index % 3]
        listed.append(
            {
                "label": f"{season} '{year + (season == 'Winter'):02d}",
                "url": f"/services/data/v{number}.0",
                "version": f"{number}.0",
            }
        )
    return Reply(listed)


def resources(org: Org, call: Call, version: str) -> Reply:
    """What this org offers; only what is built is listed."""
    root = f"/services/data/v{version}"
    return Reply(
        {name: f"{root}/{path}" for name, path in _RESOURCES.items()}
        | {"identity": f"{call.base_url}{org.identity_path}"}
    )


def describe_all(org: Org, call: Call, version: str) -> Reply:
    return if_modified(call, timestamp(org.schema_changed_at), Reply(describe_global(org.schema, version)))


def describe_one(org: Org, call: Call, version: str, name: str) -> Reply:
    return if_modified(
        call, timestamp(org.schema_changed_at), Reply(describe_object(org.schema, org.object(name), version))
    )


def basic_info(org: Org, call: Call, version: str, name: str) -> Reply:
    sobject = org.object(name)
    described = describe_object(org.schema, sobject, version)
    brief = {
        key: value for key, value in described.items() if key not in ("fields", "childRelationships", "recordTypeInfos")
    }
    return Reply({"objectDescribe": brief, "recentItems": []})


def limits(org: Org, call: Call, version: str) -> Reply:
    usage = org.usage
    return Reply({
        "ConcurrentSyncReportRuns": {"Max": 20, "Remaining": 20},
        "DailyApiRequests": {"Max": usage.limit, "Remaining": max(0, usage.limit - usage.used)},
        "DailyAsyncApexExecutions": {"Max": 250000, "Remaining": 250000},
        "DailyBulkApiBatches": {"Max": 15000, "Remaining": 15000 - len(org.jobs)},
        "DailyBulkV2QueryFileStorageMB": {"Max": 976562, "Remaining": 976562},
        "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 10000 - len(org.jobs)},
        "DataStorageMB": {"Max": 10240, "Remaining": 10240},
        "FileStorageMB": {"Max": 10240, "Remaining": 10240},
        "HourlyPublishedPlatformEvents": {"Max": 50000, "Remaining": 50000},
        "SingleEmail": {"Max": 5000, "Remaining": 5000},
    })  # fmt: skip


def record_count(org: Org, call: Call, version: str) -> Reply:
    wanted = [name.strip() for name in call.query.get("sObjects", "").split(",") if name.strip()]
    found = [org.schema.find(name) for name in wanted] if wanted else list(org.schema.objects.values())
    return Reply({"sObjects": [{"count": org.store.count(item), "name": item.name} for item in found if item]})


_V = "/services/data/v{version}"
ROUTES = (
    Route(("GET",), "/services/data", versions),
    Route(("GET",), _V, resources),
    Route(("GET",), f"{_V}/limits", limits),
    Route(("GET",), f"{_V}/limits/recordCount", record_count),
    Route(("GET",), f"{_V}/sobjects", describe_all),
    Route(("GET",), f"{_V}/sobjects/{{name}}/describe", describe_one),
    Route(("GET",), f"{_V}/sobjects/{{name}}", basic_info),
)

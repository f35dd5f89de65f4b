"""A server that answers from bodies made beforehand, so that a benchmark measures the client and not whoever answers.

One org with Contacts: REST pages and Bulk 2.0 results of the same rows, and Bulk ingest jobs (1.0 and 2.0) that take whatever is sent and
answer with a prepared result for each row. It runs in a process of its own: python -m benchmarks.replay ROWS
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FIELDS = (
    "Id", "FirstName", "LastName", "Salutation", "MailingStreet", "MailingCity", "MailingState", "MailingPostalCode", "MailingCountry", "Phone",
    "MobilePhone", "Email", "Title", "Department", "LeadSource", "Birthdate", "HasOptedOutOfEmail", "NumberOfCalls__c", "CreatedDate",
    "SystemModstamp",
)  # fmt: skip
TEXTS = tuple(f"Text{number:02d}__c" for number in range(1, 21))  # for writing only
TYPES = {
    "Birthdate": "date",
    "HasOptedOutOfEmail": "boolean",
    "NumberOfCalls__c": "double",
    "CreatedDate": "datetime",
    "SystemModstamp": "datetime",
}
REST_PAGE, BULK_PAGE = 2_000, 50_000
ORG = "00D5g0000000001EAA"


def value(name: str, number: int, *, rest: bool) -> object:
    """What the Contact of this number holds, as REST JSON or as Bulk CSV has it."""
    if name == "Id":
        return f"0035g{number:010d}AAA"
    if name == "Birthdate":
        return f"19{number % 80 + 10}-0{number % 9 + 1}-1{number % 9}"
    if name == "HasOptedOutOfEmail":
        return number % 7 == 0 if rest else str(number % 7 == 0).lower()
    if name == "NumberOfCalls__c":
        return (number % 100) * 1.5
    if name in ("CreatedDate", "SystemModstamp"):
        return f"2026-11-{number % 28 + 1:02d}T12:{number % 60:02d}:00.000{'+0000' if rest else 'Z'}"
    if number % 5 == 0 and name in ("MobilePhone", "Department", "Salutation"):
        return None if rest else ""
    return f"{name} of contact {number}"


class Bodies:
    """The prepared bodies, gzipped as an org sends them."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._rest: dict[int, bytes] = {}
        self._bulk: dict[tuple[int, int], bytes] = {}
        self._lock = threading.Lock()

    def rest_page(self, start: int) -> bytes:
        with self._lock:
            if start not in self._rest:
                self._rest[start] = _rest_page(start, min(start + REST_PAGE, self.rows), self.rows)
            return self._rest[start]

    def bulk_page(self, start: int, end: int) -> bytes:
        """The rows from `start` to `end` as a page of results; made when it is first asked for, which a warm-up does."""
        with self._lock:
            if (start, end) not in self._bulk:
                text = io.StringIO()
                writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
                writer.writerow(FIELDS)
                writer.writerows([value(name, number, rest=False) for name in FIELDS] for number in range(start, end))
                self._bulk[start, end] = gzip.compress(text.getvalue().encode(), 1)
            return self._bulk[start, end]


def _rest_page(start: int, end: int, total: int) -> bytes:
    records = [
        {"attributes": {"type": "Contact", "url": f"/services/data/v66.0/sobjects/Contact/0035g{number:010d}AAA"}}
        | {name: value(name, number, rest=True) for name in FIELDS}
        for number in range(start, end)
    ]
    page = {"totalSize": total, "done": end == total, "records": records}
    if end < total:
        page["nextRecordsUrl"] = f"/services/data/v66.0/query/0r8replay-{end}"
    return gzip.compress(json.dumps(page).encode(), 1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: Bodies
    calls = 0
    bytes_sent = 0
    uploads: dict[str, list[bytes]] = {}  # noqa: RUF012 - one server, one state

    def log_message(self, *_: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _send(
        self, body: bytes, *, status: int = 200, kind: str = "application/json", zipped: bool = False, **headers: str
    ) -> None:
        self.send_response(status)
        if zipped and "gzip" not in self.headers.get("accept-encoding", ""):
            body, zipped = gzip.decompress(body), False
        for name, text in {
            "content-type": kind,
            "content-length": str(len(body)),
            **{key.replace("_", "-"): text for key, text in headers.items()},
        }.items():
            self.send_header(name, text)
        if zipped:
            self.send_header("content-encoding", "gzip")
        self.send_header("Sforce-Limit-Info", f"api-usage={_Handler.calls}/1000000")
        self.end_headers()
        self.wfile.write(body)
        _Handler.bytes_sent += len(body)

    def _json(self, value: object, **more: object) -> None:
        self._send(json.dumps(value).encode(), **more)  # type: ignore[arg-type]

    def _any(self) -> None:
        parts = urlsplit(self.path)
        path, query, body = parts.path.replace("//", "/").rstrip("/"), parse_qs(parts.query), self._body()
        if path == "/_calls":
            found = {"calls": _Handler.calls, "bytes": _Handler.bytes_sent}
            _Handler.calls = _Handler.bytes_sent = 0
            self._json(found)
            return
        if path == "/services/oauth2/token":
            host = self.headers["host"]
            self._json(
                {
                    "access_token": f"{ORG}!x",
                    "instance_url": f"http://{host}",
                    "id": f"http://{host}/id/{ORG}/0055g0000000001AAA",
                }
            )
            return
        if "/Soap/" in path:
            self._send(_login(self.headers["host"]), kind="text/xml")
            return
        _Handler.calls += 1
        if path.startswith("/services/async"):
            self._bulk1(path.split("/")[4:], body)
        else:
            self._data(path.split("/")[4:], query, body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any  # noqa: N815 - http.server looks methods up by these names

    def _data(self, parts: list[str], query: dict[str, list[str]], body: bytes) -> None:  # noqa: PLR0912 - a case a path
        bodies = self.bodies
        match parts:
            case ["composite"]:
                requests = json.loads(body)["compositeRequest"]
                answers = [
                    {
                        "body": describe(item["url"].split("/")[5]),
                        "httpHeaders": {},
                        "httpStatusCode": 200,
                        "referenceId": item["referenceId"],
                    }
                    for item in requests
                ]
                self._json({"compositeResponse": answers})
            case ["composite", "sobjects", _] if self.command == "POST":  # records by their ids
                asked = json.loads(body)
                names = [name for name in asked["fields"] if name != "Id"]
                self._json(
                    [
                        {"Id": record_id} | {name: value(name, place, rest=True) for name in names}
                        for place, record_id in enumerate(asked["ids"])
                    ]
                )
            case ["composite", "sobjects", *_]:
                count = len(json.loads(body)["records"])
                self._json(
                    [
                        {"success": True, "created": True, "id": f"0035g{number:010d}AAA", "errors": []}
                        for number in range(count)
                    ]
                )
            case ["query"] if "COUNT()" in query["q"][0]:
                self._json({"totalSize": bodies.rows, "done": True, "records": []})
            case ["query"]:
                self._send(bodies.rest_page(0), zipped=True)
            case ["query", locator]:
                self._send(bodies.rest_page(int(locator.partition("-")[2])), zipped=True)
            case ["jobs", kind]:
                job = {
                    "id": f"750{len(self.uploads):012d}AAA",
                    "state": "UploadComplete" if kind == "query" else "Open",
                    "object": "Contact",
                    "createdDate": _now(),
                }
                self.uploads[job["id"]] = []
                self._json(job)
            case ["jobs", "query", _]:
                self._json(
                    {
                        "id": parts[2],
                        "state": "JobComplete",
                        "createdDate": _now(),
                        "numberRecordsProcessed": bodies.rows,
                    }
                )
            case ["jobs", "query", _, "results"]:
                start, most = int(query.get("locator", ["0"])[0]), int(query.get("maxRecords", [str(BULK_PAGE)])[0])
                end = min(start + most, bodies.rows)
                self._send(
                    bodies.bulk_page(start, end), kind="text/csv", zipped=True,
                    Sforce_Locator=str(end) if end < bodies.rows else "null", Sforce_NumberOfRecords=str(end - start),
                )  # fmt: skip
            case ["jobs", "ingest", job, "batches"]:
                self.uploads[job].append(body)
                self._send(b"", status=201)
            case ["jobs", "ingest", job]:
                count = sum(part.count(b"\n") - 1 for part in self.uploads.get(job, []))
                state = (
                    "JobComplete" if self.command == "GET" else json.loads(body or b"{}").get("state", "JobComplete")
                )
                self._json(
                    {
                        "id": job,
                        "state": state,
                        "createdDate": _now(),
                        "numberRecordsProcessed": count,
                        "numberRecordsFailed": 0,
                        "errorMessage": "",
                    }
                )
            case ["jobs", "ingest", job, which]:
                self._send(
                    results2(self.uploads[job][0]) if which == "successfulResults" else gzip.compress(b"", 1),
                    kind="text/csv",
                    zipped=True,
                )
            case _:
                self._json([{"errorCode": "NOT_FOUND", "message": self.path}], status=404)

    def _bulk1(self, parts: list[str], body: bytes) -> None:
        match parts:
            case ["job"]:
                self._json({"id": "750000000000001AAA", "state": "Open"}, status=201)
            case ["job", _]:
                self._json({"id": parts[1], "state": "Closed"})
            case ["job", _, "batch"]:
                name = f"751{len(self.uploads):012d}AAA"
                self.uploads[name] = [body]
                self._json({"id": name, "jobId": parts[1], "state": "Queued"}, status=201)
            case ["job", _, "batch", batch]:
                self._json({"id": batch, "jobId": parts[1], "state": "Completed"})
            case ["job", _, "batch", batch, "result"]:
                count = len(json.loads(self.uploads[batch][0]))
                self._json(
                    [
                        {"success": True, "created": True, "id": f"0035g{number:010d}AAA", "errors": []}
                        for number in range(count)
                    ]
                )


_results: dict[int, bytes] = {}


def results2(upload: bytes) -> bytes:
    """successfulResults of an upload: each of its lines with an id before it. Made once for each upload."""
    key = hash(upload)
    if key not in _results:
        header, *lines = upload.rstrip(b"\n").split(b"\n")
        rows = [
            b'"sf__Id","sf__Created",' + header,
            *(b'"0035g%010dAAA","true",' % number + line for number, line in enumerate(lines)),
        ]
        _results[key] = gzip.compress(b"\n".join(rows) + b"\n", 1)
    return _results[key]


def describe(name: str) -> dict[str, object]:
    fields = [
        {
            "name": field, "label": field, "type": TYPES.get(field, "string"), "length": 255, "createable": True, "updateable": True,
            "nillable": True, "defaultedOnCreate": False, "externalId": field == "External__c", "calculated": False, "unique": field == "External__c",
            "restrictedPicklist": False, "picklistValues": [], "referenceTo": [], "relationshipName": None,
        }
        for field in (*FIELDS, "External__c", *TEXTS)
    ]  # fmt: skip
    return {"name": name, "label": name, "createable": True, "updateable": True, "fields": fields}


def _login(host: str) -> bytes:
    return (
        '<?xml version="1.0"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><loginResponse><result>'
        f"<serverUrl>https://{host}/services/Soap/u/59.0/{ORG[:15]}</serverUrl><sessionId>{ORG}!x</sessionId></result></loginResponse></Body></Envelope>"
    ).encode()


def _now() -> str:
    """The moment as Salesforce writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000+0000"


def main(rows: int) -> None:
    _Handler.bodies = Bodies(rows)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))

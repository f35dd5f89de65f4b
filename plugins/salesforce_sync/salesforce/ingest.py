"""Writing by Bulk API 2.0: a job for up to 100,000 rows, every row's result found by its key, and a job that a killed task left is taken up."""

from __future__ import annotations

import hashlib
import re
import tempfile
from itertools import repeat
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from salesforce_sync.errors import RequestRejected, ServiceUnavailable
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.collections import outcome_of, with_fields
from salesforce_sync.salesforce.jobs import USEFUL, JobMemory, left_behind, wait_for_job
from salesforce_sync.salesforce.results import read_whole
from salesforce_sync.salesforce.rows import Operation, WriteRequest, write_csv
from salesforce_sync.salesforce.session import Session

DIGESTED_BYTES = 1024 * 1024


class IngestWriter:
    def __init__(self, session: Session, patience: float | None) -> None:
        self._session, self._patience = session, patience

    def write(self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None = None) -> list[WriteResult]:
        """A result for each row, in order. A job that the `memory` knows of is taken up, if it has these rows."""
        what = f"bulk {request.operation} of {chunk.num_rows} {request.object}"
        with tempfile.TemporaryFile(prefix="salesforce-sync-") as upload:
            write_csv(request, chunk, upload)
            content = _digest(request, upload)
            path = self._left_behind(content, what, memory)
            if path is None:
                try:
                    path = self._submit(request, upload, content, what, memory)
                except ServiceUnavailable:  # the job is aborted: nothing was written, and a new one may do better
                    path = self._submit(request, upload, content, what, memory)
        job = wait_for_job(self._session, path, what=what, patience=self._patience, rows=chunk.num_rows)
        keys = chunk.column(request.key).to_pylist()
        results = self._results(request, path, job, what)
        missing = [key for key in keys if key not in results]
        if missing:
            raise ServiceUnavailable(
                f"{what}: job {job['id']} gave no result for {len(missing)} rows, {missing[0]!r} among them."
            )
        return [results[key] for key in keys]

    def _left_behind(self, content: str, what: str, memory: JobMemory | None) -> str | None:
        """The path of the job that an earlier try of this task began with the same rows, if it still runs or is done."""
        job = left_behind(self._session, memory, "ingest", content, what=what)
        if job is not None and job["state"] == "Open":  # its rows never arrived in full
            path = self._session.path(f"jobs/ingest/{job['id']}")
            self._session.request("PATCH", path, what=f"{what}: aborting", json_body={"state": "Aborted"})
        return self._session.path(f"jobs/ingest/{job['id']}") if job is not None and job["state"] in USEFUL else None

    def _submit(
        self, request: WriteRequest, upload: IO[bytes], content: str, what: str, memory: JobMemory | None
    ) -> str:
        description = {
            "object": request.object,
            "operation": str(request.operation),
            "contentType": "CSV",
            "lineEnding": "LF",
        }
        if request.operation is Operation.UPSERT:
            description["externalIdFieldName"] = request.key
        created = self._session.ask("POST", self._session.path("jobs/ingest"), "id", what=what, json_body=description)
        path = self._session.path(f"jobs/ingest/{created['id']}")
        size = str(upload.seek(0, 2))
        headers = {"content-type": "text/csv", "content-length": size}
        self._advance("PUT", f"{path}/batches", path, what, body=upload, headers=headers)
        if memory is not None:
            memory.remember(content, created["id"])
        self._advance("PATCH", path, path, what, json_body={"state": "UploadComplete"})
        return path

    def _advance(self, method: str, path: str, job_path: str, what: str, **content: Any) -> None:
        """Sends one step of a job that Salesforce does not take twice. When the answer gets lost, the job itself says what became of it."""
        try:
            self._session.request(method, path, what=what, repeatable=False, **content)
        except (ServiceUnavailable, RequestRejected):
            state = self._session.ask("GET", job_path, "state", what=what)["state"]
            if method == "PATCH" and state != "Open":
                return
            # An upload leaves the job Open whether it arrived or not; a job that is not run costs nothing, so it is dropped.
            self._session.request("PATCH", job_path, what=f"{what}: aborting", json_body={"state": "Aborted"})
            raise

    # -- results ------------------------------------------------------------------------------------------------------------------

    def _results(self, request: WriteRequest, path: str, job: dict[str, Any], what: str) -> dict[str, WriteResult]:
        """Results by key. A result file that nothing can be in is not fetched."""
        results: dict[str, WriteResult] = {}
        if not {"numberRecordsFailed", "numberRecordsProcessed"} <= set(job):
            raise ServiceUnavailable(f"{what}: job {job['id']} does not say how many rows it wrote.")
        failed = job["numberRecordsFailed"]
        good = job["numberRecordsProcessed"] - failed
        if good:
            keys, ids, created = self._columns(
                f"{path}/successfulResults", [request.key, "sf__Id", "sf__Created"], good, what
            )
            outcomes = {flag: outcome_of(request, flag == "true") for flag in set(created)}
            rows = zip([outcomes[flag] for flag in created], ids, repeat(None), repeat(None))
            results.update(zip(keys, map(WriteResult._make, rows), strict=True))
        if failed:
            columns = self._columns(f"{path}/failedResults", [request.key, "sf__Id", "sf__Error"], failed, what)
            for key, record_id, error in zip(*columns, strict=True):
                results[key] = WriteResult(Outcome.REJECTED, record_id or None, *split_error(error or ""))
        return results

    def _columns(self, path: str, columns: list[str], expected: int, what: str) -> list[list[Any]]:
        """These columns of a result file, which has as many rows as the job says."""
        options = pa.csv.ConvertOptions(include_columns=columns, column_types={name: pa.string() for name in columns})
        table = read_whole(self._session, path, what=f"{what}: results", options=options, rows=lambda _: expected)
        return [table.column(name).to_pylist() for name in columns]


def _digest(request: WriteRequest, upload: IO[bytes]) -> str:
    """What a job does with which rows, as 64 hexadecimal digits."""
    digest = hashlib.sha256(f"{request.object}\n{request.operation}\n{request.key}\n".encode())
    upload.seek(0)
    while part := upload.read(DIGESTED_BYTES):
        digest.update(part)
    return digest.hexdigest()


def split_error(text: str) -> tuple[str, str]:
    """(code, message) of a Bulk error, which is written `CODE:message:fields --`."""
    match = re.fullmatch(r"([A-Z][A-Z0-9_]{2,79}):(.*?)(?::([\w., ]*)--)?", text, re.DOTALL)
    if match is None:
        return "UNKNOWN", text
    return match[1], with_fields(match[2], re.findall(r"[\w.]+", match[3] or ""))

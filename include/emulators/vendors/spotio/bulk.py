"""Bulk jobs: open, fed with NDJSON, started, and done when somebody has asked often enough. Some of their records may
fail."""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from emulators.vendors.spotio import answers
from emulators.vendors.spotio.state import Refused, State
from emulators.vendors.spotio.workflow import KEY_OWNER

OPEN, STARTED, AT_WORK, COMPLETE, ABORTED = "Open", "UploadComplete", "InProgress", "JobComplete", "Aborted"
OPERATIONS = ("create", "update", "patch")


@dataclass
class Job:
    id: str
    operation: str
    type_id: int
    created: str
    updated: str
    state: str = OPEN
    files: list[dict[str, Any]] = field(default_factory=list)
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (file, record)
    succeeded: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0  # how often its progress has still to be asked for

    def answer(self) -> dict[str, Any]:
        """BulkJob."""
        return {
            "id": self.id, "operation": self.operation, "dataObjectTypeId": self.type_id, "createdById": KEY_OWNER,
            "createdDate": self.created, "updatedDate": self.updated, "state": self.state,
        }  # fmt: skip

    def progress(self) -> dict[str, Any]:
        """BulkJobProgress."""
        done = self.state == COMPLETE
        counts = {"recordsProcessed": len(self.lines) if done else 0, "recordsFailed": len(self.failed)}
        files = [
            {
                "id": item["id"],
                "partNumber": item["partNumber"],
                "state": item["state"],
                "recordCount": item["recordCount"],
            }
            | {"recordsProcessed": item["recordCount"] if done else 0, "recordsFailed": 0}
            for item in self.files
        ]
        return {
            "id": self.id, "state": self.state, "operation": self.operation, "dataObjectTypeId": self.type_id,
            "createdById": KEY_OWNER, "createdDate": self.created, "processingStartedAt": self.updated,
            "totalRecordsToProcess": len(self.lines), **counts, "errorMessage": None, "files": files,
        }  # fmt: skip


class Jobs:
    """`looks`: how often a job's progress is asked for before it is done."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.reset()

    def reset(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.looks = 1
        self._numbers = itertools.count(1)

    def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise Refused(404, _="There is no such job")
        return self.jobs[job_id]

    def create(self, operation: Any, type_id: Any) -> Job:
        if operation not in OPERATIONS or type_id not in self._state.workflow.types:
            raise Refused(400, _="A job has an operation (create, update, patch) and a data object type")
        now = self._state.now()
        job = Job(str(uuid.uuid4()), operation, type_id, now, now, looks=self.looks)
        self.jobs[job.id] = job
        return job

    def upload(self, job_id: str, body: bytes) -> dict[str, Any]:
        job = self._open(job_id)
        records = []
        for line in body.decode("utf-8", errors="replace").splitlines():
            if line.strip():
                try:
                    records.append(json.loads(line))
                except ValueError:
                    raise Refused(400, _="A line is no JSON") from None
        kept: dict[str, Any] = {
            "id": str(next(self._numbers)), "bulkJobId": job.id, "partNumber": len(job.files) + 1, "size": len(body),
            "recordCount": len(records), "state": "Uploaded", "createdDate": self._state.now(),
        }  # fmt: skip
        job.files.append(kept)
        job.lines += [(kept["id"], record) for record in records]
        return kept

    def start(self, job_id: str) -> Job:
        job = self._open(job_id)
        if not job.files:
            raise Refused(400, _="No file was uploaded")
        job.state = STARTED
        return job

    def look(self, job_id: str) -> Job:
        """The job, one step further."""
        job = self.get(job_id)
        with self._state.lock:
            if job.state == STARTED:
                job.state = AT_WORK
            if job.state == AT_WORK:
                job.looks -= 1
                if job.looks <= 0:
                    self._work(job)
        return job

    def clean(self, job_id: str) -> None:
        job = self.get(job_id)
        job.state, job.updated = ABORTED, self._state.now()

    def _open(self, job_id: str) -> Job:
        job = self.get(job_id)
        if job.state != OPEN:
            raise Refused(400, _=f"The job is {job.state}")
        return job

    def _work(self, job: Job) -> None:
        for file_id, record in job.lines:
            try:
                known = self._apply(job, _camel(record))
                job.succeeded.append({"FileId": file_id, "DataObjectId": known["id"], "Data": record})
            except Refused as refused:
                problem = "; ".join(f"{name}: {text}" for name, text in refused.errors.items())
                job.failed.append({"FileId": file_id, "Error": problem, "Data": record})
        job.state, job.updated = COMPLETE, self._state.now()

    def _apply(self, job: Job, given: dict[str, Any]) -> dict[str, Any]:
        if job.operation == "create":
            return self._state.create(given | {"typeId": given.get("typeId", job.type_id)})
        return self._state.change(str(given.get("id")), given, whole=job.operation == "update")

    def results(self, job_id: str, *, failed: bool) -> bytes:
        job = self.get(job_id)
        if job.state != COMPLETE:
            raise Refused(404, _="There are no results yet")
        return answers.lines(job.failed if failed else job.succeeded)


def _camel(node: Any) -> Any:
    """The record with names that begin with a small letter: the vendor's example begins them with capitals, its schema
    not."""
    if isinstance(node, list):
        return [_camel(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {name[:1].lower() + name[1:]: _camel(value) for name, value in node.items()}

"""Preflight: does the org have what the sync writes and reads? Checked before anything moves; all problems at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from salesforce_sync.engine.context import Context, mapping_problems, require_objects, sync_run
from salesforce_sync.errors import InvalidMapping, MissingMetadata
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.state import orgs


def check_salesforce(
    context: Context,
    name: str,
    *,
    mappings: Mapping[str, MappingFile],
    reads: Mapping[str, Sequence[str]],
    fresh: bool = True,
) -> str:
    """Signs in, and checks every mapping, and every field in `reads` (object -> fields), against the org; one call, or none when what the
    org said of its objects is still believed and need not be asked again.

    Gives a sentence that says that it works; raises MissingMetadata or InvalidMapping with every problem at once.
    """
    with sync_run(context, f"{name}/check") as run:
        names = [*(mapping.salesforce.object for mapping in mappings.values()), *reads]
        require_objects(context, names)
        problems = [] if fresh else _problems(context, names, mappings, reads)
        if problems or fresh:
            context.salesforce.refresh()
            problems = _problems(context, names, mappings, reads)
        if problems:
            raise InvalidMapping(f"The org {context.org} does not fit: {'; '.join(problems)}.", fix=MissingMetadata.fix)
        sentence = f"You are successfully connected to Salesforce (org {context.org})"
        run.notes.append(sentence)
        with context.state.begin() as connection:
            orgs.remember(connection, context.org)
            run.finish(connection)
    return sentence


def _problems(
    context: Context, names: Sequence[str], mappings: Mapping[str, MappingFile], reads: Mapping[str, Sequence[str]]
) -> list[str]:
    described = require_objects(context, names)
    problems = [
        f"{mapping_name}: {problem}"
        for mapping_name, mapping in mappings.items()
        for problem in mapping_problems(context, mapping, described[mapping.salesforce.object])
    ]
    for object_name, fields in reads.items():
        hidden = [field for field in fields if not described[object_name].find(field)]
        problems += [f"{object_name} has no field {field}, or hides it from the integration user" for field in hidden]
    return problems

"""Preflight: is everything in place before anything moves? Credentials, connections, objects, mappings; all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from salesforce_sync.errors import InvalidMapping, MissingMetadata
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import Counts
from salesforce_sync.steps.context import StepContext, sync_run


class Testable(Protocol):
    """A vendor's hook, as far as the preflight needs it; `test` raises when the vendor cannot be used, else says that it can."""

    def test(self) -> str: ...


def preflight(context: StepContext, name: str, *, vendors: Mapping[str, Testable], mappings: Mapping[str, MappingFile]) -> list[str]:
    """Signs in to Salesforce, checks every mapping against the org, and tests every vendor. One Salesforce call.

    Gives a sentence for each side that works; raises MissingMetadata or InvalidMapping with every problem of the org side.
    """
    with sync_run(context, f"{name}/check") as run:
        described = context.client.describe([mapping.salesforce.object for mapping in mappings.values()])
        absent = sorted({item.salesforce.object for item in mappings.values() if described[item.salesforce.object] is None})
        if absent:
            raise MissingMetadata(f"The org {context.org} has no object {', '.join(absent)}, or hides it from the integration user.")
        problems = [
            f"{mapping_name}: {problem}"
            for mapping_name, mapping in mappings.items()
            for problem in describe.problems(mapping, described[mapping.salesforce.object])
        ]
        if problems:
            raise InvalidMapping(f"The mappings do not fit the org {context.org}: {'; '.join(problems)}.", fix=MissingMetadata.fix)
        sentences = [f"You are successfully connected to Salesforce (org {context.org})"]
        sentences += [vendor.test() for vendor in vendors.values()]
        run.notes += sentences
        with context.state.begin() as connection:
            run.finish(connection, Counts())
    return sentences

"""The contact moments' own tasks: what a vendor knows of its e-mails, staged, and noted when it is delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, run_identity, swept_staging


class ExtractMomentsOperator(SyncOperator):
    """Stages the e-mails of the last days (the Variable `days`), as far as something happened to them since they were delivered.

    `mappings`: Lead and Contact -> the mapping of its moments; `links_of` names the mappings whose links lead from customers to records.
    Returns BatchRefs as dicts, by mapping; the XCom `versions` is for a RememberVersionsOperator."""

    template_fields: Sequence[str] = ("org",)

    def __init__(
        self,
        *,
        system: str,
        name: str,
        mappings: Mapping[str, str],
        links_of: Sequence[str],
        days: str,
        org: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.name = name
        self.mappings = mappings
        self.links_of = links_of
        self.days = days
        self.org = org

    def run_step(self, context: Any) -> dict[str, list[dict[str, Any]]]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.state.engine import open_state
        from salesforce_sync.steps.context import VendorContext
        from salesforce_sync.steps.moments import stage_moments
        from salesforce_sync.systems import vendor_hook
        from salesforce_sync.windows import DateWindow

        state, store, today = open_state(), swept_staging(self.dag_id), datetime.now(UTC).date()
        # Until tomorrow: the vendor's day may have begun already.
        window = DateWindow(today - timedelta(days=read_setting(self.days)), today + timedelta(days=1))
        step = VendorContext(self.org, state, run_identity(context))
        mappings = {kind: (name, load_mapping(name)) for kind, name in self.mappings.items()}
        staged = stage_moments(step, self.name, vendor_hook(self.system), mappings, self.links_of, window, store)
        log.info("%s: %d mailings changed", self.name, len(staged.versions))
        context["ti"].xcom_push(key="versions", value=staged.versions)
        return {name: [ref.as_xcom() for ref in refs] for name, refs in staged.batches.items()}


class RememberVersionsOperator(SyncOperator):
    """Notes that the mailings in `versions` are delivered: the last task, after the loads."""

    template_fields: Sequence[str] = ("org", "versions")

    def __init__(self, *, name: str, versions: Any, org: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.versions = versions
        self.org = org

    def run_step(self, context: Any) -> int:
        from salesforce_sync.state.engine import open_state
        from salesforce_sync.steps.context import VendorContext
        from salesforce_sync.steps.moments import remember_versions

        remember_versions(VendorContext(self.org, open_state(), run_identity(context)), self.name, self.versions)
        return len(self.versions)

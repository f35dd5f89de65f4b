"""The alert: an e-mail for a task that has failed for good, by Airflow's SMTP notifier.

Sent when the Variable `alert_emails` holds addresses. It runs in the failed task's process, once, after the last try; a run that refused
too many records fails its task and so comes here as well.
"""

from __future__ import annotations

import html
import logging
from typing import Any

from salesforce_sync.errors import SyncError

log = logging.getLogger(__name__)

LOST_TASK = "The task ended without an error of its own: its worker was lost or it was stopped from outside."


def alert_on_failure(context: Any) -> None:
    """Mails DAG, run, what failed, how to fix it, and a link. A mail that cannot be sent is logged: it must not hide the failure itself."""
    from salesforce_sync.settings import read_setting

    try:
        addresses = read_setting("alert_emails")
        if addresses:
            _send(context, addresses)
    except Exception as error:  # noqa: BLE001 - whatever stops the mail, the task's own failure is what counts
        log.error(
            "The alert could not be sent (%s: %s). Check the Variable alert_emails and the Connection smtp_default.", type(error).__name__, error
        )


def _send(context: Any, addresses: list[str]) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    subject, body = compose(context)
    SmtpNotifier(to=addresses, from_email=None, subject=subject, html_content=body)(context)


def compose(context: Any) -> tuple[str, str]:
    """(subject, HTML body) of the alert about this task instance."""
    ti = context["ti"]
    error = context.get("exception")
    # The text of an error that is not ours may quote anything, a record or a URL with a token: only its type is told.
    what = str(error.args[0]) if isinstance(error, SyncError) else type(error).__name__ if error else LOST_TASK
    fix = (error.fix if isinstance(error, SyncError) else "") or "Read the task's log."
    link = getattr(ti, "log_url", "") or ""
    rows = (("DAG", ti.dag_id), ("Run", ti.run_id), ("Task", f"{ti.task_id}, try {ti.try_number}"), ("What failed", what), ("How to fix it", fix))
    table = "".join(f"<tr><th align='left' valign='top'>{name}</th><td>{html.escape(str(text))}</td></tr>" for name, text in rows)
    anchor = f"<p><a href='{html.escape(link)}'>Open the log in Airflow</a></p>" if link else ""
    return f"Airflow: {ti.dag_id}.{ti.task_id} failed", _verbatim(f"<table>{table}</table>{anchor}")


def _verbatim(text: str) -> str:
    """The text so that the notifier's Jinja shows it as it is, braces included."""
    return "{% raw %}" + text.replace("{%", "{ %").replace("%}", "% }") + "{% endraw %}"

"""Alerts: an e-mail for a task that has failed for good, and for a run that took too long, by Airflow's SMTP notifier.

Sent when the Variable `alert_emails` holds addresses. A task's alert runs in its own process after the last try, or, when the task was
lost with its worker, in the DAG processor. A run that refused too many records fails its task, and so is told of in the same way.
"""

from __future__ import annotations

import html
import logging
from typing import Any

from salesforce_sync.errors import SyncError

log = logging.getLogger(__name__)

LOST_TASK = "The task ended without an error of its own: its worker was lost, or it was stopped from outside."
TIMED_OUT = "timed_out"  # Airflow's reason for failing a run that is past its dagrun_timeout


def alert_on_failure(context: Any) -> None:
    """For tasks: mails DAG, run, what failed, how to fix it, and a link."""
    ti, error = context["ti"], context.get("exception")
    # The text of an error that is not ours may quote anything, a record or a URL with a token: only its type is told.
    what = str(error.args[0]) if isinstance(error, SyncError) else type(error).__name__ if error else LOST_TASK
    fix = (error.fix if isinstance(error, SyncError) else "") or "Read the task's log."
    rows = {
        "DAG": ti.dag_id,
        "Run": ti.run_id,
        "Task": f"{ti.task_id}, try {ti.try_number}",
        "What failed": what,
        "How to fix it": fix,
    }
    _mail(context, f"Airflow: {ti.dag_id}.{ti.task_id} failed", rows, link=getattr(ti, "log_url", ""))


def remind(context: Any, what: str, *, fix: str) -> None:
    """Mails that a plan waits for a person."""
    ti = context["ti"]
    rows = {"DAG": ti.dag_id, "Run": ti.run_id, "What waits": what, "What to do": fix}
    _mail(context, f"Airflow: {ti.dag_id} waits for you", rows, link=getattr(ti, "log_url", ""))


def alert_on_timeout(context: Any) -> None:
    """For DAGs: mails that a run took longer than its dagrun_timeout, which fails it without failing a task."""
    if context.get("reason") != TIMED_OUT:
        return
    run, dag = context["dag_run"], context["dag"]
    what = f"The run took longer than {dag.dagrun_timeout}; its unfinished tasks were stopped."
    fix = "See which task was still at work, and clear it to run it again: what it had delivered is not sent twice."
    _mail(
        context,
        f"Airflow: {run.dag_id} took too long",
        {"DAG": run.dag_id, "Run": run.run_id, "What failed": what, "How to fix it": fix},
    )


def _mail(context: Any, subject: str, rows: dict[str, str], *, link: str = "") -> None:
    """A mail that cannot be sent is logged: it must not hide the failure itself."""
    from salesforce_sync.settings import ALERT_EMAILS, read_setting

    try:
        addresses = read_setting(ALERT_EMAILS)
        if addresses:
            from airflow.providers.smtp.notifications.smtp import SmtpNotifier

            SmtpNotifier(to=addresses, subject=subject, html_content=_body(rows, link))(context)
    except Exception as error:  # noqa: BLE001 - whatever stops the mail, the task's own failure is what counts
        log.error(
            "No alert was sent (%s: %s). Check the Variable alert_emails and the Connection smtp_default.",
            type(error).__name__,
            error,
        )


def _body(rows: dict[str, str], link: str) -> str:
    table = "".join(
        f"<tr><th align='left' valign='top'>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items()
    )
    anchor = f"<p><a href='{html.escape(link)}'>Open the log in Airflow</a></p>" if link else ""
    # The notifier renders its texts by Jinja: what looks like a template in ours is not one.
    text = f"<table>{table}</table>{anchor}".replace("{%", "{ %").replace("%}", "% }")
    return "{% raw %}" + text + "{% endraw %}"

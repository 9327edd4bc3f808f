#!/usr/bin/env python3
"""A queue of a million messages that wait: the start on it, the queue role's memory, and `waxwing queue stats`.

The next hop refuses connections, so all of them stay. Needs some 5 GiB of disk.

  restart.py --build BUILD [--messages 1000000] [--folder DIR] [--rounds 3]
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ingest

AT_A_TIME = 100000  # a connection takes 10,000


def memory_mib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon")) / 1024


def start_again(server, log_path):
    """Seconds until the queue has opened its store."""
    began = time.monotonic()
    with open(log_path, "w") as log:
        server.process = subprocess.Popen([server.binary, "serve", "--config", server.folder + "/waxwing.lua"], stderr=log)

    def is_open():
        with open(log_path) as f:
            return "queue.opened" in f.read()
    ingest.until("the opening of the queue", is_open, 120)
    took = time.monotonic() - began
    ingest.until("waxwing's greeting", lambda: ingest.greets(server.port))
    return took


def stats_seconds(server):
    began = time.monotonic()
    subprocess.run([server.binary, "queue", "--control", server.folder + "/control", "stats"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", default="build")
    ap.add_argument("--messages", type=int, default=1000000)
    ap.add_argument("--folder", default="/var/tmp/waxwing-bench")
    ap.add_argument("--rounds", type=int, default=3)
    a = ap.parse_args()
    build = os.path.abspath(a.build)
    os.makedirs(a.folder, exist_ok=True)
    os.chmod(a.folder, 0o755)
    server = ingest.Waxwing(os.path.join(build, "src/prog/waxwing"), a.folder + "/w")
    server.start()
    for done in range(0, a.messages, AT_A_TIME):
        subprocess.run([os.path.join(build, "bench/load"), "127.0.0.1", str(server.port), "100",
                        str(min(AT_A_TIME, a.messages - done)), "300", "keep", "a@x.example", "b@y.example"],
                       stdout=subprocess.DEVNULL, check=True)
        print("%d of %d messages wait" % (done + min(AT_A_TIME, a.messages - done), a.messages), file=sys.stderr)
    server.stop()
    rows = []
    for _ in range(a.rounds):
        took = start_again(server, a.folder + "/log")
        rows.append((took, memory_mib(server.roles()["queue"][0]), stats_seconds(server)))
        server.stop()
    mid = [statistics.median(r[i] for r in rows) for i in range(3)]
    print("| messages that wait | start to open queue, s | queue role, MiB | queue stats, ms |")
    print("|---|---|---|---|")
    print("| %d | %.2f | %.0f | %.0f |" % (a.messages, mid[0], mid[1], mid[2] * 1000))
    shutil.rmtree(a.folder, ignore_errors=True)


main()

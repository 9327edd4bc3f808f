#!/usr/bin/env python3
"""Durable ingest of Waxwing beside a tuned Postfix, in one run: messages a second, server CPU a message, flushes a message.

Both keep what they take (Waxwing: the next hop refuses connections; Postfix: HOLD), on the same disk, with the same client
(bench/load.c: one command at a time, no pipelining). Rounds alternate between the two; medians and ratios are printed.
Needs root (Postfix). Without Postfix only Waxwing is measured.

  ingest.py --build BUILD [--rounds 3] [--messages 20000] [--folder DIR] [--quick] [--profile]
"""
import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICK = os.sysconf("SC_CLK_TCK")
WAXWING_PORT, POSTFIX_PORT, DEAD_PORT = 2610, 2611, 2699

POSTFIX_MAIN = """compatibility_level = 3.6
queue_directory = {d}/spool
data_directory = {d}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
maillog_file = {d}/log/maillog
maillog_file_prefixes = {d}/log
myhostname = mx.bench.example
mydestination = mx.bench.example
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
message_size_limit = 52428800
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_tls_security_level = none
default_process_limit = 200
qmgr_message_active_limit = 40000
in_flow_delay = 0
"""

WAXWING_CONF = """hostname "mx.bench.example"
postmaster "postmaster@mx.bench.example"
listen {{ address = "127.0.0.1", port = {port} }}
domain "mx.bench.example" {{ users = {{ "postmaster" }}, {user}deliver = maildir "{d}/mail/%u" }}
route {{ to = "*", via = "smtp://127.0.0.1:{dead}" }}
limits {{ sessions_per_client = 0 }}
spool "{d}/spool"
control "{d}/control"
journal "{d}/journal"
"""


def until(what, fn, seconds=30):
    end = time.monotonic() + seconds
    while not fn():
        if time.monotonic() > end:
            sys.exit("%s did not happen within %d s" % (what, seconds))
        time.sleep(0.02)


def greets(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.settimeout(5)
            return s.recv(512).startswith(b"220")
    except OSError:
        return False


def descendants(pid):
    out = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True).stdout
    children = {}
    for line in out.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    todo, found = [pid], []
    while todo:
        p = todo.pop()
        found.append(p)
        todo += children.get(p, [])
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += sum(int(fields[i]) for i in (11, 12, 13, 14))
        except OSError:
            pass
    return total / TICK


class Waxwing:
    name = "waxwing"
    port = WAXWING_PORT

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.process = None

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        conf = os.path.join(self.folder, "waxwing.lua")
        with open(conf, "w") as f:
            f.write(WAXWING_CONF.format(d=self.folder, port=self.port, dead=DEAD_PORT,
                                        user='user = "_wwmail", ' if os.geteuid() == 0 else ""))
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = subprocess.Popen([self.binary, "serve", "--config", conf], stderr=self.log)
        until("waxwing's greeting", lambda: greets(self.port))

    def pids(self):
        return descendants(self.process.pid)

    def roles(self):
        out = {}
        for pid in self.pids():
            with open("/proc/%d/cmdline" % pid) as f:
                words = f.read().split("\0")
            role = words[words.index("--role") + 1] if "--role" in words else "supervisor"
            out.setdefault(role, []).append(pid)
        return out

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(90)
        self.process = None


class Postfix:
    name = "postfix"
    port = POSTFIX_PORT

    def __init__(self, folder):
        self.folder = folder

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        for sub in ("etc", "spool", "data", "log"):
            os.makedirs(os.path.join(self.folder, sub))
        shutil.chown(os.path.join(self.folder, "data"), "postfix")
        with open("/usr/share/postfix/master.cf.dist") as f:
            master = f.read()
        master = re.sub(r"(?m)^smtp +inet .*$", "%d inet n - n - 200 smtpd" % self.port, master)
        master = re.sub(r"(?m)^(\S+ +(?:unix|inet|fifo|pass) +[yn-] +[yn-] +)[y-]( )", r"\1n\2", master)
        if "\npostlog" not in master:
            master += "\npostlog unix-dgram n - n - 1 postlogd\n"
        with open(os.path.join(self.folder, "etc/master.cf"), "w") as f:
            f.write(master)
        with open(os.path.join(self.folder, "etc/main.cf"), "w") as f:
            f.write(POSTFIX_MAIN.format(d=self.folder))
        subprocess.run(["postfix", "-c", self.folder + "/etc", "start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("postfix's greeting", lambda: greets(self.port))

    def pids(self):
        with open(self.folder + "/spool/pid/master.pid") as f:
            return descendants(int(f.read()))

    def stop(self):
        subprocess.run(["postfix", "-c", self.folder + "/etc", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load(client, server, sessions, messages, keep):
    server.start()
    try:
        before = cpu_seconds(server.pids())
        out = subprocess.run([client, "127.0.0.1", str(server.port), str(sessions), str(messages), "4096",
                              "keep" if keep else "new", "a@x.example", "b@y.example"], stdout=subprocess.PIPE, text=True)
        cpu = cpu_seconds(server.pids()) - before
        row = dict(w.split("=") for w in out.stdout.split())
        if out.returncode != 0:
            sys.exit("%s: the client failed" % server.name)
        return {"rate": float(row["per_second"]), "cpu_us": cpu / messages * 1e6, "p50_ms": float(row["p50_ms"]),
                "p99_ms": float(row["p99_ms"]), "client_us": float(row["client_cpu_us"])}
    finally:
        server.stop()


def flushes(client, server, sessions, messages):
    """Flushes a message, counted by strace in a run of its own (its time means nothing)."""
    if not shutil.which("strace"):
        return None
    server.start()
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as trace:
        try:
            args = ["strace", "-f", "-q", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", trace.name]
            for pid in server.pids():
                args += ["-p", str(pid)]
            tracer = subprocess.Popen(args, stderr=subprocess.DEVNULL)
            until("strace", lambda: all("TracerPid:\t0\n" not in open("/proc/%d/status" % p).read() for p in server.pids()))
            subprocess.run([client, "127.0.0.1", str(server.port), str(sessions), str(messages), "4096", "keep",
                            "a@x.example", "b@y.example"], stdout=subprocess.DEVNULL, check=True)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            n = sum("sync(" in line and "resumed" not in line for line in trace)
            return n / messages
        finally:
            server.stop()


def profile(client, server, folder):
    """perf by role while 100 sessions load it; the first rows of each."""
    if not shutil.which("perf"):
        return
    server.start()
    try:
        recorders = []
        for role, pids in sorted(server.roles().items()):
            if role in ("smtpd", "queue", "admin"):
                data = os.path.join(folder, "perf." + role)
                recorders.append((role, data, subprocess.Popen(
                    ["perf", "record", "-q", "-o", data, "-p", ",".join(map(str, pids))], stderr=subprocess.DEVNULL)))
        subprocess.run([client, "127.0.0.1", str(server.port), "100", "30000", "4096", "keep", "a@x.example", "b@y.example"],
                       stdout=subprocess.DEVNULL)
        for role, data, p in recorders:
            p.send_signal(signal.SIGINT)
            p.wait()
            out = subprocess.run(["perf", "report", "-i", data, "--stdio", "--no-children"], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True).stdout
            print("\nprofile of %s:" % role)
            print("\n".join([line for line in out.splitlines() if re.match(r"\s+\d+\.\d+%", line)][:12]))
    finally:
        server.stop()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", default="build")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--messages", type=int, default=20000)
    ap.add_argument("--folder", default="/var/tmp/waxwing-bench")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--profile", action="store_true")
    a = ap.parse_args()
    build = os.path.abspath(a.build)
    client = os.path.join(build, "bench/load")
    os.makedirs(a.folder, exist_ok=True)
    os.chmod(a.folder, 0o755)
    servers = [Waxwing(os.path.join(build, "src/prog/waxwing"), a.folder + "/w")]
    if os.geteuid() == 0 and shutil.which("postfix"):
        servers.append(Postfix(a.folder + "/p"))
    cases = [(1, True, 0.1), (20, True, 1), (100, True, 1), (20, False, 0.25)]
    if a.quick:
        a.rounds, a.messages = 1, 4000
    print("| sessions | connection | server | messages/s | CPU us/message | p50 ms | p99 ms | flushes/message | times Postfix | share of its CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for sessions, keep, part in cases:
        rows = {s.name: [] for s in servers}
        for _ in range(a.rounds):
            for s in servers:
                n = max(int(a.messages * part * (1 if s.name == "waxwing" else 0.25)), sessions * 10)
                rows[s.name].append(load(client, s, sessions, n, keep))
        mid = {name: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for name, rs in rows.items()}
        for s in servers:
            m = mid[s.name]
            f = flushes(client, s, sessions, max(sessions * 10, 500)) if keep else None
            ratio = share = "-"
            if s.name == "waxwing" and "postfix" in mid:
                ratio = "%.1f" % (m["rate"] / mid["postfix"]["rate"])
                share = "1/%.1f" % (mid["postfix"]["cpu_us"] / m["cpu_us"])
            print("| %d | %s | %s | %.0f | %.0f | %.2f | %.2f | %s | %s | %s |" % (
                sessions, "kept" if keep else "new", s.name, m["rate"], m["cpu_us"], m["p50_ms"], m["p99_ms"],
                "-" if f is None else "%.2f" % f, ratio, share), flush=True)
    if a.profile:
        profile(client, servers[0], a.folder)
    shutil.rmtree(a.folder, ignore_errors=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What an idle session costs in memory, plain and with TLS: PSS of all roles before and with so many sessions that have said
EHLO and nothing since. Some sessions come and go before the first look, so that what is made once is not counted.

  tls_idle.py --build BUILD [--sessions 1000] [--folder DIR]
"""
import argparse
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ingest

PLAIN, IMPLICIT = 2612, 2613
KEYS = {"P-256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA-2048": ["rsa:2048"]}
WARM = 100

CONF = """hostname "mx.bench.example"
postmaster "postmaster@mx.bench.example"
tls {{ cert = "server.crt", key = "server.key" }}
listen {{ address = "127.0.0.1", port = {plain} }}
listen {{ address = "127.0.0.1", port = {implicit}, tls = "implicit" }}
domain "mx.bench.example" {{ users = {{ "postmaster" }}, {user}deliver = maildir "{d}/mail/%u" }}
limits {{ sessions_per_client = 0 }}
spool "{d}/spool"
control "{d}/control"
journal "{d}/journal"
"""


class Server(ingest.Waxwing):
    """With a certificate of this kind of key; the second port begins with TLS."""
    port = PLAIN

    def __init__(self, binary, folder, kind):
        super().__init__(binary, folder)
        self.kind = kind

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        subprocess.run(["openssl", "req", "-x509", "-newkey", *KEYS[self.kind], "-nodes", "-days", "30", "-subj", "/CN=mx.bench.example",
                        "-keyout", self.folder + "/server.key", "-out", self.folder + "/server.crt"], check=True, stderr=subprocess.DEVNULL)
        conf = os.path.join(self.folder, "waxwing.lua")
        with open(conf, "w", encoding="ascii") as f:
            f.write(CONF.format(d=self.folder, plain=PLAIN, implicit=IMPLICIT, user='user = "_wwmail", ' if os.geteuid() == 0 else ""))
        self.log = open(os.path.join(self.folder, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen([self.binary, "serve", "--config", conf], stderr=self.log)
        ingest.until("waxwing's greeting", lambda: ingest.greets(self.port))


def context_of_client():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def session(port, context=None):
    s = socket.create_connection(("127.0.0.1", port), 30)
    if context:
        s = context.wrap_socket(s)
    if not s.recv(1000).startswith(b"220"):
        sys.exit("no greeting")
    s.sendall(b"EHLO client.bench.example\r\n")
    said = b""
    while not re.search(rb"(?m)^250 [^\n]*\n", said):
        said += s.recv(4000)
    return s


def pss_kib(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def settled(server):
    """PSS when it has stopped changing."""
    last = -1
    while (now := pss_kib(server.pids())) != last:
        last = now
        time.sleep(0.5)
    return now


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", default="build")
    ap.add_argument("--sessions", type=int, default=1000)
    ap.add_argument("--folder", default="/var/tmp/waxwing-bench")
    a = ap.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    os.chmod(a.folder, 0o755)
    print("| idle sessions | kind | all roles before, KiB | with them, KiB | KiB a session |\n|---|---|---|---|---|")
    for title, port, kind in (("plain", PLAIN, "P-256"), ("TLS 1.3, P-256", IMPLICIT, "P-256"), ("TLS 1.3, RSA-2048", IMPLICIT, "RSA-2048")):
        server = Server(os.path.join(os.path.abspath(a.build), "src/prog/waxwing"), a.folder + "/w", kind)
        server.start()
        try:
            context = context_of_client() if port == IMPLICIT else None
            for s in [session(port, context) for _ in range(WARM)]:
                s.close()
            before = settled(server)
            held = [session(port, context) for _ in range(a.sessions)]
            after = settled(server)
            print("| %d | %s | %d | %d | %.1f |" % (len(held), title, before, after, (after - before) / len(held)), flush=True)
            for s in held:
                s.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()

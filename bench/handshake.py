#!/usr/bin/env python3
"""What a TLS handshake costs the server in CPU, with the private key in another process: a connection, its greeting and its
end, with TLS from the first octet less without TLS, by role. Beside it what the signature alone takes (`openssl speed`): what
keys takes more than that is the price of its being a process. And `openssl s_server`, which has the key at hand: the same
library and client, its connection counted in and nothing else to do. One connection at a time.

  handshake.py --build BUILD [--handshakes 2000] [--rounds 3] [--folder DIR]
"""
import argparse
import os
import socket
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ingest
import tls_idle

LOCAL = 2614


def cpu_us(pids):
    """Of all threads, from the scheduler's own count in nanoseconds."""
    total = 0
    for pid in pids:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task), encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total / 1000


def connect(port, n, context, waits_for):
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", port), 30)
        if context:
            s = context.wrap_socket(s)
        if waits_for:
            s.recv(1000)
            s.sendall(b"QUIT\r\n")
            while s.recv(1000):
                pass
        s.close()


def cost(groups, port, n, context, waits_for=True):
    """CPU a connection of each group of processes, in microseconds."""
    connect(port, n // 10 + 1, context, waits_for)
    before = {name: cpu_us(pids) for name, pids in groups.items()}
    connect(port, n, context, waits_for)
    return {name: (cpu_us(pids) - before[name]) / n for name, pids in groups.items()}


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False


def local(folder, n, context):
    server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % LOCAL, "-cert", folder + "/server.crt", "-key",
                               folder + "/server.key", "-quiet", "-num_tickets", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        ingest.until("s_server", lambda: accepts(LOCAL))
        return cost({"s_server": [server.pid]}, LOCAL, n, context, False)["s_server"]
    finally:
        server.kill()
        server.wait()


def signature_us(kind):
    """The fourth field of the machine-readable line is signatures a second of CPU."""
    out = subprocess.run(["openssl", "speed", "-seconds", "1", "-mr", {"P-256": "ecdsap256", "RSA-2048": "rsa2048"}[kind]], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return 1e6 / float([line for line in out.splitlines() if line.startswith(("+F2:", "+F4:"))][-1].split(":")[3])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", default="build")
    ap.add_argument("--handshakes", type=int, default=2000)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--folder", default="/var/tmp/waxwing-bench")
    a = ap.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    os.chmod(a.folder, 0o755)
    context = tls_idle.context_of_client()
    print("| key | smtpd, us | keys, us | together, us | signature alone, us | s_server, us |\n|---|---|---|---|---|---|")
    for kind in tls_idle.KEYS:
        server = tls_idle.Server(os.path.join(os.path.abspath(a.build), "src/prog/waxwing"), a.folder + "/w", kind)
        server.start()
        try:
            groups = {role: pids for role, pids in server.roles().items() if role in ("smtpd", "keys")}
            rows = []
            for _ in range(a.rounds):
                plain = cost(groups, tls_idle.PLAIN, a.handshakes, None)
                tls = cost(groups, tls_idle.IMPLICIT, a.handshakes, context)
                rows.append((tls["smtpd"] - plain["smtpd"], tls["keys"] - plain["keys"], signature_us(kind), local(server.folder, a.handshakes, context)))
            smtpd, keys, alone, at_hand = (statistics.median(column) for column in zip(*rows))
            print("| %s | %.0f | %.0f | %.0f | %.0f | %.0f |" % (kind, smtpd, keys, smtpd + keys, alone, at_hand), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()

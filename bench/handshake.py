#!/usr/bin/env python3
"""What a TLS handshake costs the server in CPU, with the private key in another process: a connection, its greeting and its
end, with TLS from the first octet less without TLS, by role. Beside it what the signature alone takes (`openssl speed`): what
keys takes more than that is the price of its being a process. And `openssl s_server`, which has the key at hand: the same
library and client, its connection counted in and nothing else to do. One connection at a time, and many: whose ClientHellos
come together, as in the hours when it matters, so that what wakes a process wakes it for more than one.

  handshake.py --build BUILD [--handshakes 2000] [--rounds 3] [--at-a-time 1,20] [--folder DIR]
"""
import argparse
import os
import select
import socket
import ssl
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


def shake(crowd):
    """The handshakes of all of them, side by side."""
    waiting = {s.fileno(): s for s in crowd}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, 0)
    ready = list(waiting)
    while waiting:
        for fd in ready:
            try:
                waiting[fd].do_handshake()
                poll.unregister(fd)
                waiting.pop(fd).setblocking(True)
            except ssl.SSLWantReadError:
                poll.modify(fd, select.POLLIN)
            except ssl.SSLWantWriteError:
                poll.modify(fd, select.POLLOUT)
        ready = [fd for fd, _ in poll.poll(30000)] if waiting else []


def connect_crowd(port, n, context, waits_for, at_a_time):
    for _ in range(0, n, at_a_time):
        crowd = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(at_a_time)]
        if context:
            crowd = [context.wrap_socket(s, do_handshake_on_connect=False) for s in crowd]
            for s in crowd:
                s.setblocking(False)
            shake(crowd)
        for s in crowd:
            if waits_for:
                s.recv(1000)
                s.sendall(b"QUIT\r\n")
        for s in crowd:
            while waits_for and s.recv(1000):
                pass
            s.close()


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


def cost(groups, port, n, context, at_a_time, waits_for=True):
    """CPU a connection of each group of processes, in microseconds."""
    def visit(n):
        if at_a_time == 1:
            connect(port, n, context, waits_for)
        else:
            connect_crowd(port, n, context, waits_for, at_a_time)

    visit(max(n // 10, at_a_time))
    n -= n % at_a_time
    before = {name: cpu_us(pids) for name, pids in groups.items()}
    visit(n)
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
        return cost({"s_server": [server.pid]}, LOCAL, n, context, 1, False)["s_server"]
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
    ap.add_argument("--at-a-time", type=lambda text: [int(x) for x in text.split(",")], default=[1, 20])
    ap.add_argument("--folder", default="/var/tmp/waxwing-bench")
    a = ap.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    os.chmod(a.folder, 0o755)
    context = tls_idle.context_of_client()
    print("| key | at a time | smtpd, us | keys, us | together, us | signature alone, us | keys beyond it, us | s_server, us |\n"
          "|---|---|---|---|---|---|---|---|")
    for kind in tls_idle.KEYS:
        server = tls_idle.Server(os.path.join(os.path.abspath(a.build), "src/prog/waxwing"), a.folder + "/w", kind)
        server.start()
        try:
            groups = {role: pids for role, pids in server.roles().items() if role in ("smtpd", "keys")}
            for at_a_time in a.at_a_time:
                rows = []
                for _ in range(a.rounds):
                    plain = cost(groups, tls_idle.PLAIN, a.handshakes, None, at_a_time)
                    tls = cost(groups, tls_idle.IMPLICIT, a.handshakes, context, at_a_time)
                    rows.append((tls["smtpd"] - plain["smtpd"], tls["keys"] - plain["keys"], signature_us(kind),
                                 local(server.folder, a.handshakes, context)))
                smtpd, keys, alone, at_hand = (statistics.median(column) for column in zip(*rows))
                print("| %s | %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |" % (kind, at_a_time, smtpd, keys, smtpd + keys, alone,
                                                                               keys - alone, at_hand), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""No 250 before the flush: what the kernel saw, not what the program says of itself.

strace writes the calls of the queue and of smtpd with their times. For each "queued as ID" that smtpd writes to a client:
the ID stands in a write to the spool, and between the end of that write and the reply a flush of that file began and
ended (or the write itself was a synchronous one). Prints flushes per message at 1 and at 100 sessions.
"""
import os
import re
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["strace"])
CALLS = "openat,openat2,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sendto,sendmsg,io_uring_enter,sync_file_range"
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (?:<\.\.\. )?(\w+)(.*)$")
FLUSHES = ("fsync", "fdatasync")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")


class Call:
    def __init__(self, begin, name):
        self.begin, self.end, self.name, self.text = begin, None, name, ""

    def fd(self):
        m = re.match(r"\((\d+)<([^>]*)>", self.text)
        return (int(m[1]), m[2]) if m else (-1, "")


def calls_in(path):
    """All calls of a log of strace -f -ttt -T -yy, with begin and end. A call cut in two by another is joined again."""
    done, halves = [], {}
    with open(path, encoding="latin-1") as f:
        for line in f:
            m = LINE.match(line)
            if not m:
                continue
            tid, at, name, rest = m[1], float(m[2]), m[3], m[4]
            if "resumed>" in rest:
                call = halves.pop((tid, name), None)
                if call is None:
                    continue
                call.text += rest.partition("resumed>")[2]
                call.end = at
            else:
                call = Call(at, name)
                call.text = rest
                if rest.endswith("<unfinished ...>"):
                    halves[(tid, name)] = call
                    continue
            took = re.search(r"<(\d+\.\d+)>$", call.text)
            if call.end is None:
                call.end = call.begin + float(took[1]) if took else call.begin
            done.append(call)
    return done


class Traced:
    def __init__(self, where, name, pid):
        self.path = os.path.join(where, name)
        self.process = subprocess.Popen(["strace", "-f", "-ttt", "-T", "-yy", "-s", "100000", "-e", "trace=" + CALLS,
                                         "-o", self.path, "-p", str(pid)], stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        if b"attached" not in line:
            raise RuntimeError(line.decode())

    def calls(self):
        self.process.send_signal(signal.SIGINT)
        self.process.stderr.close()
        self.process.wait()
        return calls_in(self.path)


def load(n_sessions, n_each):
    ids, lock = [], threading.Lock()

    def client(i):
        smtp = lib.Smtp(25)
        for k in range(n_each):
            answer = smtp.send("ann@elsewhere.example", ["u%d@one.example" % (i % 3)],
                               b"Subject: s\r\n\r\n" + b"text %d %d\r\n" % (i, k) * 20)
            with lock:
                ids.append(lib.id_of(answer))
        smtp.close()
    threads = [threading.Thread(target=client, args=(i,)) for i in range(n_sessions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return ids


def look(server, where, n_sessions, n_each):
    title = "%d session%s" % (n_sessions, "" if n_sessions == 1 else "s")
    server.wait_empty()
    before = sum("role.died" in line for line in server.lines)
    queue = Traced(where, "queue", server.pid("queue"))
    smtpds = [Traced(where, "smtpd%d" % i, server.pid("smtpd", i)) for i in range(2)]
    ids = load(n_sessions, n_each)
    replies = {}
    for traced in smtpds:
        for call in traced.calls():
            if "TCP" in call.fd()[1] or call.name in ("sendto", "sendmsg", "writev", "write"):
                for id_ in re.findall(r"250 [^\"]*?queued as (%s)" % lib.IDS, call.text):
                    replies.setdefault(id_, call.begin)
    calls = queue.calls()
    spool = [c for c in calls if "/spool/" in c.fd()[1]]
    flushes = [c for c in spool if c.name in FLUSHES]
    writes = [c for c in spool if c.name in WRITES]
    tap.equal(sorted(replies), sorted(ids), "%s: strace saw the reply for each message" % title)
    early, unwritten = [], []
    for id_, told in replies.items():
        mine = [w for w in writes if id_ in w.text]
        if not mine:
            unwritten.append(id_)
            continue
        first = min(mine, key=lambda w: w.begin)
        covered = [f for f in flushes if f.begin >= first.end and f.end <= told and f.fd()[1] == first.fd()[1]]
        if not covered and not (first.name == "pwritev2" and "RWF_DSYNC" in first.text and first.end <= told):
            early.append("%s: written %.6f, told %.6f" % (id_, first.end, told))
    tap.ok(not unwritten, "%s: each id stands in a write to the spool" % title, str(unwritten[:5]))
    tap.ok(not early, "%s: each 250 follows the flush that covers it" % title, "\n".join(early[:10]))
    told = max(replies.values(), default=0)
    until = [f for f in flushes if f.end <= told]
    tap.ok(len(until) > 0, "%s: there were flushes" % title)
    tap.say("%s: %d messages, %d flushes of the spool until the last 250: %.2f per message (the marks of deliveries are in "
            "it)" % (title, len(ids), len(until), len(until) / max(1, len(ids))))
    tap.equal(sum("role.died" in line for line in server.lines), before, "%s: no role died" % title)


where = lib.folder()
lua = ('hostname "mx.example.org"\nlisten { port = 25, address = "127.0.0.1" }\nlimits { sessions_per_client = 0 }\n'
       'resolver { "127.0.0.53" }\ndomain "one.example" %s\n' % lib.maildir_lua(where))
try:
    running = lib.start(where, lua)
    look(running, where, 1, 20)
    look(running, where, 100, 3)
    running.wait_empty()
    tap.equal(len(lib.messages_in(where + "/mail/one.example/u0")), 20 + 34 * 3, "what was told is delivered")
    running.stop()
except Exception as e:
    tap.ok(False, "goes to its end", "%s: %s" % (type(e).__name__, e))
tap.end()

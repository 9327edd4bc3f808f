#!/usr/bin/env python3
"""What was acknowledged is delivered, whoever is killed.

Under load, kill -9 each role in turn, and the whole tree: then everything starts again on the same spool, and each
message that got a 250 must lie in a Maildir. WAXWING_ROUNDS says how many times (default 10).
"""
import os
import random
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

CLIENTS = 8
ROUNDS = int(os.environ.get("WAXWING_ROUNDS", "10"))
VICTIMS = ("queue", "smtpd", "local", "deliver", "everybody", "queue", "admin", "lookup", "relay", "supervisor")
UNIQUE = re.compile(rb"\nunique-([0-9a-f]+)-end\n")

tap = lib.Tap()
lib.inside()
where = lib.folder()
lua = ('hostname "mx.example.org"\nrelay_from { "127.0.0.1" }\nlisten { port = 25, address = "127.0.0.1" }\n'
       'limits { sessions_per_client = 0 }\nretry { first = "1s", longest = "1s" }\nresolver { "127.0.0.53" }\n'
       'domain "one.example" %s\ndomain "two.example" %s\n' % (lib.maildir_lua(where), lib.maildir_lua(where)))
seed = int(os.environ.get("WAXWING_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
chance = random.Random(seed)
tap.say("seed %d (WAXWING_SEED), %d rounds (WAXWING_ROUNDS)" % (seed, ROUNDS))


class Load:
    """Clients that send without an end and write down what was acknowledged."""

    def __init__(self):
        self.lock, self.acknowledged, self.given = threading.Lock(), {}, 0
        self.is_over, self.threads = False, []
        for i in range(CLIENTS):
            t = threading.Thread(target=self.client, args=(random.Random(seed + i),), daemon=True)
            t.start()
            self.threads.append(t)

    def client(self, dice):
        while not self.is_over:
            try:
                smtp = lib.Smtp(25, timeout_s=20)
                for _ in range(dice.randrange(1, 20)):
                    if self.is_over:
                        break
                    self.one(smtp, dice)
                smtp.close()
            except (OSError, ValueError):
                time.sleep(0.01)  # nobody is there now: try again, as any client would

    def one(self, smtp, dice):
        unique = "%032x" % dice.getrandbits(128)
        rcpts = dice.sample(["u%d@one.example" % i for i in range(4)] + ["v@two.example"], dice.choice((1, 1, 1, 3)))
        filler = b"x" * 70 + b"\r\n"
        body = b"Subject: load\r\n\r\nunique-%s-end\r\n" % unique.encode() + filler * dice.choice((0, 1, 20, 20, 2000))
        with self.lock:
            self.given += 1
        answer = smtp.send("ann@elsewhere.example", rcpts, body)
        if answer[0] == 250:
            with self.lock:
                self.acknowledged[unique] = len(rcpts)
        else:
            smtp.ask("RSET")

    def count(self):
        with self.lock:
            return len(self.acknowledged)

    def wait_more(self, n):
        want = self.count() + n
        lib.wait_until(lambda: self.count() >= want, "%d more messages taken" % n)

    def end(self):
        self.is_over = True
        for t in self.threads:
            t.join(lib.DEADLINE_S)


class Delivered:
    """How often each unique line was found, over files read once."""

    def __init__(self, mail):
        self.mail, self.seen, self.counts = mail, set(), {}

    def look(self):
        for path, _, names in os.walk(self.mail):
            if os.path.basename(path) not in ("new", "cur"):
                continue
            for name in names:
                if (path, name) in self.seen:
                    continue
                self.seen.add((path, name))
                with open(os.path.join(path, name), "rb") as f:
                    m = UNIQUE.search(f.read())
                if m:
                    unique = m[1].decode()
                    self.counts[unique] = self.counts.get(unique, 0) + 1
        return self.counts


def kill(server, victim):
    """kill -9; gives the server that goes on. A deliverer lives a moment only: when there is none, local it is."""
    if victim in ("everybody", "supervisor"):
        pids = server.tree()
        if victim == "everybody":
            server.kill_all()
        else:  # the roles end when their supervisor does
            lib.signal_to(server.process.pid, signal.SIGKILL)
            server.process.wait()
            lib.wait_until(lambda: not any(lib.is_alive(p) for p in pids), "the end of the roles without supervisor")
        return lib.start(where, lua)
    since, known = server.mark(), server.pids()
    if victim == "deliver":
        found = [p for p, args in lib.children(known.get(("local", 0), 0)) if "deliver" in args]
        if found:
            lib.signal_to(found[0], signal.SIGKILL)
            return server
        victim = "local"
    chosen = chance.choice(sorted(k for k in known if k[0] == victim))
    lib.signal_to(known[chosen], signal.SIGKILL)
    server.wait_log(r"role\.died role=%s " % victim, since)
    lib.wait_until(lambda: server.pids().get(chosen) not in (None, known[chosen]), "a new " + victim)
    return server


server = lib.start(where, lua)
load, delivered = Load(), Delivered(lib.mail_folder(where))
tally = {}
try:
    for i in range(ROUNDS):
        victim = VICTIMS[i % len(VICTIMS)]
        load.wait_more(chance.randrange(1, 60))
        server = kill(server, victim)
        tally[victim] = tally.get(victim, 0) + 1
        load.wait_more(5)  # it works again
        if i < 10:
            tap.ok(True, "takes mail again after kill -9 of %s" % victim)
        elif i % 20 == 19:
            tap.say("%d rounds, %d messages taken" % (i + 1, load.count()))
    load.end()
    server.wait_empty(180)
    tap.ok(True, "the queue runs empty")
except Exception as e:
    load.is_over = True
    tap.ok(False, "all rounds", "%s: %s\n%s" % (type(e).__name__, e, server.log()))
    rows = server.queue("list", "--max", "5") if server.process.poll() is None else []
    tap.say("\n".join(map(str, rows + [server.why(r["id"])[-6:] for r in rows[:2]])))
counts = delivered.look()
lost = [u for u, n in load.acknowledged.items() if counts.get(u, 0) < n]
tap.ok(load.count() > 5 * ROUNDS, "there was load (%d taken of %d given)" % (load.count(), load.given))
tap.ok(not lost, "every acknowledged message is in the Maildirs of all its recipients", "lost: %d: %s" % (len(lost), lost[:5]))
more = sum(counts[u] - n for u, n in load.acknowledged.items() if counts.get(u, 0) > n)
tap.say("kills: %s; copies delivered twice after a kill: %d" % (tally, more))
# a crash of ours would look like this in the log, a kill of this test would not
bad = [line for line in server.lines if "role.died" in line and 'how="signal 9"' not in line]
tap.ok(not bad, "no role died but by this test", "\n".join(bad))
tap.equal(server.stop(), 0, "the last server ends well")
tap.end()

#!/usr/bin/env python3
"""Mail loops of each kind come to an end: two servers that point at each other, aliases, lists, exchangers that are us, programs that
send again, reports that nobody takes. The sender is told where there is one, and nothing is left in any queue."""
import email
import os
import pwd
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

A_AT, B_AT = "192.0.2.1", "192.0.2.2"
PEERS_AT = {"Postfix": "198.51.100.5", "patient Postfix": "198.51.100.6", "Exim": "198.51.100.7", "patient Exim": "198.51.100.8"}
HOPS_MAX = 100  # HEADER_RECEIVED_MAX of base/limits.h
PATIENT = 300   # what a patient peer allows, so that the end is ours
tap = lib.Tap()
lib.inside(["nsd"])
for address in [B_AT] + list(PEERS_AT.values()):
    subprocess.run(["ip", "addr", "add", address + "/24", "dev", "lo"], check=True)
where = lib.folder()
lib.Dns(where, {"test.": "own MX 10 us\nus A %s\nnull MX 0 ." % A_AT})
PYTHON = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin")  # one that every user may run


def ring_of(name):
    """The domain for which we and this peer hold each other to be the way."""
    return name.replace(" ", "-").lower() + ".ring.test"


# ---- the servers --------------------------------------------------------------------------------------------------------

def in_folder(name):
    path = os.path.join(where, name)
    os.mkdir(path)
    os.chmod(path, 0o755)
    return path


def again():
    """A program that sends what it gets to the same recipient again, and a file that gets a line for each run."""
    seen = lib.file_of(os.path.join(where, "runs"), "")
    owner = pwd.getpwnam("_wwmail")
    os.chown(seen, owner.pw_uid, owner.pw_gid)
    path = lib.file_of(os.path.join(where, "again"), """#!%s -B
import os, smtplib, sys
with open("%s", "a") as f:
    f.write(os.environ["RECIPIENT"] + "\\n")
text = sys.stdin.buffer.read().replace(b"\\n", b"\\r\\n")
with smtplib.SMTP("%s", 25) as s:
    s.sendmail(os.environ["SENDER"], [os.environ["RECIPIENT"]], text)
""" % (PYTHON, seen, A_AT))
    os.chmod(path, 0o755)
    return path, seen


AGAIN, RUNS = again()
BASE = """hostname "%s"
postmaster "%s"
relay_from { "127.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24" }
resolver { "127.0.0.53" }
retry { first = "1s", longest = "1s", jitter = 0 }
limits { sessions_per_client = 0 }
listen { port = 25, address = "%s" }
"""
A_FOLDER, B_FOLDER = in_folder("a"), in_folder("b")
ALIASES = """, aliases = {
  one = "two", two = "one", three = "four", four = "five", five = "three",
  self = { "self", "joe", "ann" }, ["owner-self"] = "kim",
  first = { "second", "joe" }, second = { "first", "ann", "joe" }, ["owner-first"] = "kim",
  away = "back@far.test", cross = { "cross@far.test", "lee" },
}"""
a = lib.start(A_FOLDER, BASE % ("a.wax.test", "joe@box.test", A_AT) + """
domain "home.test" %s
domain "box.test" %s
domain "again.test" { users = any, user = "_wwmail", deliver = pipe { "%s" } }
route { to = "waxwing.ring.test", via = "smtp://%s:25" }
route { to = "far.test", via = "smtp://%s:25" }
%s""" % (lib.maildir_lua(A_FOLDER), lib.maildir_lua(A_FOLDER, '{ "joe", "ann", "kim", "lee" }', ALIASES), AGAIN, B_AT, B_AT,
         "\n".join('route { to = "%s", via = "smtp://%s:25" }' % (ring_of(n), at) for n, at in PEERS_AT.items())))
b = lib.start(B_FOLDER, BASE % ("b.wax.test", "bob@far.test", B_AT) + """
domain "far.test" %s
route { to = "*", via = "smtp://%s:25" }
""" % (lib.maildir_lua(B_FOLDER, '{ "bob" }', ', aliases = { back = "away@box.test", cross = { "cross@box.test", "bob" } }'), A_AT))
A_MAIL, B_MAIL = lib.mail_folder(A_FOLDER), lib.mail_folder(B_FOLDER)


def postfix(name, limit):
    """All its mail goes to us."""
    more = {"relay_domains": ring_of(name), "relayhost": "[%s]:25" % A_AT, "myhostname": "mx." + ring_of(name)}
    more.update({"hopcount_limit": str(limit)} if limit else {})
    return peers.Postfix(in_folder(name.replace(" ", "-")), PEERS_AT[name], ["unused.test"], more=more)


class EximRing(peers.Exim):
    """All its mail goes to us."""

    def command(self, address, domains):
        started = super().command(address, domains)
        with open(os.path.join(self.where, "conf")) as f:
            conf = f.read()
        for old, new in (("begin routers\n", "begin routers\nall:\n  driver = manualroute\n  route_list = * %s\n  self = send\n"
                          "  transport = smtp\n" % A_AT), ("begin transports\n", "begin transports\nsmtp:\n  driver = smtp\n")):
            if conf.count(old) != 1:
                raise RuntimeError("Exim's configuration has not one line " + old)
            conf = conf.replace(old, new)
        self.file("conf", conf)
        return started


def exim(name, limit):
    extra = "smtputf8_advertise_hosts = *\nnotifier_socket =" + ("\nreceived_headers_max = %d" % limit if limit else "")
    return EximRing(in_folder(name.replace(" ", "-")), PEERS_AT[name], [ring_of(name)], extra)


def files_below(*folders):
    return [n for f in folders for _, _, names in os.walk(f) for n in names]


def left_at(peer):
    """The files of its queue."""
    if isinstance(peer, peers.Postfix):
        return files_below(*(os.path.join(peer.conf, "spool", d) for d in ("maildrop", "incoming", "active", "deferred", "hold",
                                                                           "corrupt", "bounce", "defer")))
    return files_below("/proc/%d/root/var/spool/exim/input" % peer.process.pid)


# ---- what is sent and what comes back -------------------------------------------------------------------------------------

NAMES = []


def sender():
    """An address at home that nobody had before, and its Maildir."""
    NAMES.append("s%d" % len(NAMES))
    return NAMES[-1] + "@home.test", os.path.join(A_MAIL, "home.test", NAMES[-1])


def send(from_, rcpt, more=b""):
    subject = ("loop %d to %s" % (len(NAMES), rcpt)).encode()
    return lib.send_one(25, from_, [rcpt], more + b"Subject: " + subject + b"\r\n\r\nround and round\r\n", host=A_AT), subject


class Report:
    def __init__(self, octets):
        self.octets = octets
        self.message = email.message_from_bytes(octets)
        self.parts = self.message.get_payload()
        self.of_rcpt = self.parts[1].get_payload()[1] if len(self.parts) > 1 else {}
        original = self.parts[2].get_payload() if len(self.parts) > 2 else ""
        self.original = original[0] if isinstance(original, list) else email.message_from_string(original)
        self.hops = len(self.original.get_all("Received", []))

    def __str__(self):
        return "%d hops\n%s" % (self.hops, self.octets.decode("utf-8", "replace")[:4000])


def ends(name, rcpt, status, words, hops, reporter, more=b""):
    """The loop of one message ends with one report to its sender, after that many hops."""
    from_, maildir = sender()
    answer, subject = send(from_, rcpt, more)
    id_ = lib.id_of(answer)
    try:
        got = lib.wait_until(lambda: lib.messages_in(maildir), "a report")
    except TimeoutError as e:
        return tap.ok(False, name + ": a report", "%s: %s\n%s\n%s" % (e, a.why(id_), a.log(), b.log()))
    r = Report(got[0])
    tap.ok(str(r.of_rcpt.get("Action")).startswith("failed") and re.fullmatch(status, str(r.of_rcpt.get("Status"))) and
           re.search(words, str(r.of_rcpt.get("Diagnostic-Code", "")) + r.octets.decode("utf-8", "replace")) and
           subject.decode() == r.original["Subject"] and reporter in str(r.message["From"]).lower(),
           "%s: ended, and %s tells the sender" % (name, reporter), r)
    tap.ok(r.hops in hops, "%s: after %s hops" % (name, hops.start if len(hops) == 1 else "%d to %d" % (hops.start, hops.stop - 1)), r)
    return maildir


REPORTED = []  # Maildirs that have one report at the end


def ends_once(*args, **kw):
    maildir = ends(*args, **kw)
    if isinstance(maildir, str):
        REPORTED.append((args[0], maildir))


def once(n):
    return range(n, n + 1)


# ---- the loops ------------------------------------------------------------------------------------------------------------

OURS = "came through too many servers"


def two_waxwings():
    # what arrives may have 100 and gets one more; the next server refuses that
    ends_once("two Waxwings", "x@waxwing.ring.test", r"5\.4\.6", OURS, once(HOPS_MAX + 1), "mailer-daemon@a.wax.test")
    ends_once("an alias to a server that forwards back", "away@box.test", r"5\.4\.6", OURS, once(HOPS_MAX + 1), "mailer-daemon@a.wax.test")


RUNNING = []


def with_peer(name, make, limit, words, status, hops, reporter, more=b""):
    why = peers.missing("postfix") if "Postfix" in name else peers.Exim.missing()
    if why:
        tap.skip("Waxwing and %s" % name, "needs " + why)
        return
    peer = make(name, limit)
    RUNNING.append((name, peer))
    try:
        ends_once("Waxwing and " + name, "x@" + ring_of(name), status, words, hops, reporter, more)
    finally:
        tap.say(name + ": " + peer.log()[-300:])


# a message that went far already, so that few rounds are left: each of Exim's takes a third of a second
FAR = b"".join(b"Received: from h%d.test by h%d.test; Wed, 1 Jan 2025 00:00:00 +0000\r\n" % (i, i + 1) for i in range(80, 0, -1))


def with_peers():
    # who refuses leaves the message with the other one, who reports; Exim takes it and reports itself
    with_peer("Postfix", postfix, None, "too many hops", r"5\.4\.0", once(49), "mailer-daemon@a.wax.test")  # what it adds itself counts too
    with_peer("patient Postfix", postfix, PATIENT, OURS, r"5\.4\.6", once(HOPS_MAX + 2), "mx.patient-postfix.ring.test", FAR)
    with_peer("Exim", exim, None, "could not be delivered", r"5\.0\.0", once(32), "mx.exim.test")
    for peer in [p for name, p in RUNNING if name == "Exim"]:
        tap.ok('Too many "Received" headers - suspected mail loop' in peer.log(), "Exim's log says why", peer.log())
    with_peer("patient Exim", exim, PATIENT, OURS, r"5\.\d\.\d", once(HOPS_MAX + 2), "mx.exim.test", FAR)


def own_exchanger():
    ends_once("an exchanger that is us", "x@own.test", r"5\.4\.6", "come back", once(1), "mailer-daemon@a.wax.test")


def aliases():
    for rcpt in ("one", "two", "three", "five"):
        ends_once("aliases in a circle, by way of " + rcpt, rcpt + "@box.test", r"5\.4\.6", "circle", once(1), "mailer-daemon@a.wax.test")


def copies(mail, subject):
    """{DOMAIN/USER: how many of this subject} but for reports."""
    out = {}
    for domain in os.listdir(mail):
        for user in os.listdir(os.path.join(mail, domain)):
            n = sum(b"\nSubject: " + subject + b"\n" in m and not m.startswith(b"Return-Path: <>\n")
                    for m in lib.messages_in(os.path.join(mail, domain, user)))
            out.update({domain + "/" + user: n} if n else {})
    return out


def both_empty():
    """Mail that goes between them may leave the one before it is seen at the other: so both, twice."""
    for server in (a, b, a, b):
        server.wait_empty()


def lists():
    for rcpt, title in (("self", "a list that contains itself"), ("first", "two lists that contain each other"),
                        ("second", "and by the other one")):
        from_, maildir = sender()
        answer, subject = send(from_, rcpt + "@box.test")
        lib.id_of(answer)
        lib.wait_until(lambda: len(copies(A_MAIL, subject)) >= 2, "a copy for each")
        a.wait_empty()
        tap.equal(copies(A_MAIL, subject), {"box.test/joe": 1, "box.test/ann": 1}, title + ": each member has one copy")
        tap.equal(lib.messages_in(maildir), [], title + ": no report to the sender")
    # its own name means the mailbox (waxwing.lua(5)), which is none, and the owner hears of that
    kim = [Report(m) for m in lib.messages_in(os.path.join(A_MAIL, "box.test", "kim"))]
    tap.ok(len(kim) == 1 and kim[0].of_rcpt["Final-Recipient"].endswith("self@box.test"), "the owner hears of the list's own name, once",
           "\n".join(map(str, kim)))
    from_, maildir = sender()
    answer, subject = send(from_, "cross@box.test")
    lib.id_of(answer)
    lib.wait_until(lambda: lib.messages_in(maildir), "a report")
    both_empty()
    # neither knows what the other one did: each round makes copies, and the hops bound the rounds
    here, there = copies(A_MAIL, subject), copies(B_MAIL, subject)
    tap.ok(list(here) == ["box.test/lee"] and list(there) == ["far.test/bob"] and here["box.test/lee"] <= HOPS_MAX // 2 + 1 and
           there["far.test/bob"] <= HOPS_MAX // 2, "two lists of two servers that contain each other: copies are bounded", "%s %s" % (here, there))
    tap.say("copies: %s %s" % (here, there))
    got = [Report(m) for m in lib.messages_in(maildir)]
    tap.ok(len(got) == 1 and got[0].of_rcpt["Status"] == "5.4.6", "and one report says 5.4.6", "\n".join(map(str, got)))


# ---- reports that nobody takes ----------------------------------------------------------------------------------------------

def not_bounced(server):
    """The messages of which the log says that nobody was told, each as often as it says so."""
    return [re.search(lib.IDS, line)[0] for line in list(server.lines) if " admin not-bounced " in line]


TOLD = []  # the ids so far


def ends_untold(name, sender_, rcpt):
    lib.id_of(send(sender_, rcpt)[0])
    try:
        lib.wait_until(lambda: len(not_bounced(a) + not_bounced(b)) > len(TOLD), "not-bounced")
    except TimeoutError as e:
        return tap.ok(False, name, "%s\n%s\n%s" % (e, a.log(), b.log()))
    both_empty()
    new = [(server, id_) for server in (a, b) for id_ in not_bounced(server) if (server, id_) not in TOLD]
    TOLD.extend(new)
    rows = [r for server, id_ in new for r in server.why(id_) if r["event"] == "not-bounced"]
    tap.ok(len(new) == len(rows) == 1, name + ": it ends, nobody is told, and the log says so once", "%s %s" % (new, rows))


def reports_that_fail():
    ends_untold("a report whose recipient takes no mail", "x@null.test", "y@null.test")
    ends_untold("a report to an exchanger that is us", "x@own.test", "y@null.test")
    ends_untold("a report to aliases in a circle", "one@box.test", "y@null.test")
    ends_untold("a report that goes round between two servers", "x@waxwing.ring.test", "y@null.test")
    ends_untold("a message without a sender that goes round", "", "x@waxwing.ring.test")
    tap.equal([sum("queue.not-bounced" in line for line in s.lines) for s in (a, b)], [len(not_bounced(s)) for s in (a, b)],
              "the queue warned of each once")


def delivered_to():
    ends_once("a message that its recipient has had", "kim@box.test", r"5\.4\.6", "forwarding loop", once(1), "mailer-daemon@a.wax.test",
              more=b"Delivered-To: kim@box.test\r\n")
    if PYTHON is None:
        tap.skip("a program that sends again", "needs a python3 of the system")
        return
    ends_once("a program that sends again", "bot@again.test", r"5\.4\.6", "forwarding loop", once(2), "mailer-daemon@a.wax.test")
    a.wait_empty()
    with open(RUNS) as f:
        tap.equal(f.read().split(), ["bot@again.test"], "the program ran once")


def at_the_end():
    a.wait_empty()
    b.wait_empty()
    tap.ok(True, "the queues of both servers are empty")
    for name, peer in RUNNING:
        try:
            lib.wait_until(lambda: not left_at(peer), "an empty queue", 20)
            tap.ok(True, "and that of %s" % name)
        except TimeoutError:
            tap.ok(False, "and that of %s" % name, "%s\n%s" % (left_at(peer), peer.log()))
    tap.equal({name: len(lib.messages_in(m)) for name, m in REPORTED if len(lib.messages_in(m)) != 1}, {}, "no report came twice")
    tap.ok(len(REPORTED) >= 5, "there were reports", str(REPORTED))


for part in (two_waxwings, own_exchanger, aliases, lists, reports_that_fail, delivered_to, with_peers, at_the_end):
    try:
        part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s\n%s" % (type(e).__name__, e, a.log(), b.log()))
for name, peer in RUNNING:
    peer.stop()
for server in (a, b):
    tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
    tap.equal(server.stop(), 0, "the server ends well")
tap.end()

#!/usr/bin/env python3
"""Waxwing delivers to Postfix, Exim, OpenSMTPD, sendmail, aiosmtpd and Dovecot: octet for octet, and by the words they offer.

Each of them stands behind a wire tap, which notes what it offers and what of that is used."""
import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

tap = lib.Tap()
lib.inside(["nsd"])
where = lib.folder()


# ---- the wire -----------------------------------------------------------------------------------------------------------

class Wire:
    """Listens at an address and passes all octets on to another, both ways. .offers has the words of the last EHLO or LHLO,
    .mails what was said for each message: {"mail", "rcpts", "by": DATA or BDAT, "together": commands in one packet}."""

    def __init__(self, address, port, to):
        self.to, self.port, self.offers, self.mails = to, port, {}, []
        self.socket = socket.create_server((address, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._visit, args=(self.socket.accept()[0],), daemon=True).start()

    def _visit(self, client):
        session = Session(self)
        try:
            with client, socket.create_connection((self.to, self.port)) as server:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._pump, args=(server, client, session.hear), daemon=True)
                back.start()
                self._pump(client, server, session.say)
                back.join()
        except OSError:
            pass

    @staticmethod
    def _pump(source, sink, note):
        try:
            for octets in iter(lambda: source.recv(1 << 16), b""):
                note(octets)
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Session:
    """One connection, as a wire tap reads it."""

    def __init__(self, wire):
        self.wire, self.rest, self.replies = wire, b"", b""
        self.verb, self.n_chunk, self.in_data, self.mail = b"", 0, False, None

    def hear(self, octets):
        if self.in_data:
            return
        self.replies += octets
        if self.verb in (b"EHLO", b"LHLO") and re.search(rb"(?m)^250 .*\n", self.replies):
            words = [w.decode() for w in re.findall(rb"(?m)^250[- ](.*?)\r?$", self.replies)[1:]]
            self.wire.offers = {w.split()[0].upper(): w.split()[1:] for w in words}

    def say(self, octets):
        self.rest += octets
        n_commands = 0
        while self.rest:
            if self.n_chunk > 0:
                n = min(self.n_chunk, len(self.rest))
                self.n_chunk -= n
                self.rest = self.rest[n:]
            elif self.verb == b"DATA" and not self.in_data and self.replies.rpartition(b"\n")[0].rpartition(b"\n")[2][:3] == b"354":
                self.in_data, self.rest = True, b"\r\n" + self.rest
            elif self.in_data:
                end = self.rest.find(b"\r\n.\r\n")
                if end < 0:
                    self.rest = self.rest[-4:]
                    return
                self.in_data, self.rest = False, self.rest[end + 5:]
                self.verb = b""
            else:
                line, found, after = self.rest.partition(b"\r\n")
                if not found:
                    return
                self.rest = after
                n_commands += 1
                self.command(line, n_commands)

    def command(self, line, n):
        self.verb, self.replies = line[:4].upper(), b""
        text = line.decode("utf-8", "replace")
        if self.verb == b"MAIL":
            self.mail = {"mail": text, "rcpts": [], "by": None, "together": 0}
            self.wire.mails.append(self.mail)
        elif self.verb == b"RCPT":
            self.mail["rcpts"].append(text)
        elif self.verb in (b"DATA", b"BDAT"):
            self.mail["by"] = self.verb.decode()
            if self.verb == b"BDAT":
                self.n_chunk = int(line.split()[1])
        if self.mail:
            self.mail["together"] = max(self.mail["together"], n)


# ---- the servers --------------------------------------------------------------------------------------------------------

class Peer:
    """One of peers.next_hops(); mail for USER@DOMAIN goes there. words: what Debian 12's version offers of what we use."""

    def __init__(self, name, words):
        self.name, self.words = name, words.split()
        self.domain = name.replace(" by LMTP", "-l").lower() + ".test"
        self.server = self.wire = None
        self.sent = {}  # name of a message -> (id, octets, users)

    def start(self, n, why_not, is_lmtp, make):
        self.why_not, self.is_lmtp = why_not, is_lmtp
        self.at, inner = "198.51.100.%d" % (20 + n), "198.51.100.%d" % (40 + n)
        for address in (self.at, inner):
            subprocess.run(["ip", "addr", "add", address + "/24", "dev", "lo"], check=True)
        if why_not is None:
            self.server = make(inner, self.domain)
            self.wire = Wire(self.at, 24 if is_lmtp else 25, inner)


PEERS = [
    Peer("Postfix", "PIPELINING SIZE 8BITMIME SMTPUTF8 DSN CHUNKING"),
    Peer("Exim", "PIPELINING SIZE 8BITMIME SMTPUTF8 DSN CHUNKING"),
    Peer("OpenSMTPD", "SIZE 8BITMIME DSN"),
    Peer("sendmail", "PIPELINING SIZE 8BITMIME DSN DELIVERBY"),
    Peer("aiosmtpd", "SIZE 8BITMIME SMTPUTF8"),
    Peer("aiosmtpd by LMTP", "SIZE 8BITMIME SMTPUTF8"),
    Peer("Dovecot by LMTP", "PIPELINING 8BITMIME CHUNKING"),
]
hops = peers.next_hops(where)
for n, peer in enumerate(PEERS):
    peer.start(n, *hops[peer.name])
lib.Dns(where, {"test.": "null MX 0 .\n" + "\n".join("%s MX 10 mx.%s\nmx.%s A %s" % ((p.domain[:-5],) * 3 + (p.at,))
                                                     for p in PEERS if not p.is_lmtp)})
server = lib.start(where, """hostname "mx.wax.test"
postmaster "ann@home.test"
relay_from { "127.0.0.1" }
resolver { "127.0.0.53" }
retry { first = "1s", longest = "1s", jitter = 0 }
limits { sessions_per_client = 0 }
listen { port = 25, address = "127.0.0.1" }
domain "home.test" %s
%s""" % (lib.maildir_lua(where), "\n".join('domain "%s" { users = any, deliver = lmtp "%s:24" }' % (p.domain, p.at)
                                          for p in PEERS if p.is_lmtp)))
MAIL = lib.mail_folder(where)


# ---- messages -----------------------------------------------------------------------------------------------------------

def lines_to(n):
    line = b"the quick brown fox jumps over the lazy dog, and over 0123456789\r\n"
    return (line * (n // len(line) + 1))[:n - 2].replace(b"\r", b"x").replace(b"\n", b"\r\n")[:n - 2].rstrip(b"\r\n") + b"\r\n"


HEAD = b"From: Ann <ann@home.test>\r\nTo: %s\r\nSubject: %s\r\nX-Folded: a\r\n\t folded   field\r\n\r\n"
# name: (octets of the body, users, parameters of MAIL)
MESSAGES = {
    "plain": (b"Hello.\r\n", ["joe"], ""),
    "no body": (b"", ["joe"], ""),
    "8-bit": ("Grüße, мир\r\n".encode() + bytes(range(0xa0, 0x100)) + b"\r\n", ["joe"], " BODY=8BITMIME"),
    "dots": (b".\r\n..\r\n...\r\n.a\r\n. \r\na.\r\n.\r\n", ["joe"], ""),
    "empty lines at the end": (b"\r\nx\r\n\r\n\r\n\r\n", ["joe"], ""),
    "commands and From": (b"QUIT\r\nDATA\r\nFrom someone\r\n>From someone\r\n", ["joe"], ""),
    "spaces at the ends": (b"a \r\n \r\n\t\r\nb\t \r\n", ["joe"], ""),
    "lines of 998": ((b"a" * 998 + b"\r\n") * 5, ["joe"], ""),
    "a line of 20000": (b"b" * 20000 + b"\r\n", ["joe"], ""),
    "three recipients": (b"for three\r\n", ["joe", "kim", "lee"], ""),
    "20 MiB": (lines_to(20 << 20), ["joe"], ""),
    "UTF-8": ("Текст\r\n".encode(), ["мир"], " BODY=8BITMIME SMTPUTF8"),
}


def made(name, peer):
    body, users, parameters = MESSAGES[name]
    users = [u + "@" + peer.domain for u in users]
    more = "X-Utf8: grüße\r\n".encode() if "SMTPUTF8" in parameters else b""
    return more + HEAD % (", ".join(users).encode(), name.encode()) + body, users, parameters


def subject_of(octets):
    return next((line[9:].decode() for line in octets.split(b"\n") if line.startswith(b"Subject: ")), "")


# ---- what arrives -------------------------------------------------------------------------------------------------------

def send_all(peer):
    """All messages, in one session."""
    client = lib.Smtp(25)
    for name in MESSAGES:
        octets, users, parameters = made(name, peer)
        answer = client.send("ann@home.test", users, octets, parameters)
        peer.sent[name] = (lib.id_of(answer), octets.replace(b"\r\n", b"\n"), users)
    client.quit()


def arrives(peer):
    todo = {}
    for name, (id_, octets, users) in peer.sent.items():
        title = "%s: %s" % (peer.name, name)
        if "SMTPUTF8" not in MESSAGES[name][2] or "SMTPUTF8" in peer.words:
            todo[name] = len(users)
            continue
        row = server.wait_event(id_, "failed")
        report = lib.wait_until(lambda: report_of(id_), "a report")
        tap.ok("SMTPUTF8" in row["text"] and b"Status: 5.6.7" in report, title + " can't go there: 5.6.7",
               "%s\n%s" % (row, report.decode("utf-8", "replace")))
    try:
        lib.wait_until(lambda: len(peers.files_of(peer.server)) >= sum(todo.values()), "its messages")
    except TimeoutError as e:
        tap.say("%s\n%s" % (e, peer.server.log()))
    got = {}
    for path in peers.files_of(peer.server):
        with open(path, "rb") as f:
            octets = f.read().replace(b"\r\n", b"\n")
        got.setdefault(subject_of(octets), []).append(lib.without_trace(octets))
    for name, n in todo.items():
        here, want = got.pop(name, []), peer.sent[name][1]
        tap.ok(here == [want] * n, "%s: %s arrives, octet for octet" % (peer.name, name),
               lambda: "%d of %d; got\n%s\nwant\n%s" % (len(here), n, "\n".join({lib.brief(m) for m in here}), lib.brief(want)))
    tap.equal(list(got), [], "%s: nothing else arrives" % peer.name)


def report_of(id_):
    """The report to the sender, whose text names the message."""
    return next((m for m in lib.messages_in(MAIL + "/home.test/ann") if id_.encode() in m), None)


# ---- what was said ------------------------------------------------------------------------------------------------------

def wire_facts(peer):
    offers, mails = peer.wire.offers, peer.wire.mails
    lacking = [w for w in peer.words if w not in offers]
    tap.ok(not lacking, "%s offers %s" % (peer.name, " ".join(peer.words)), "lacks %s of %s" % (lacking, offers))
    tap.say("%s: %s" % (peer.name, " ".join(" ".join([w] + a) for w, a in offers.items())))
    wrong = []
    for m in mails:
        line = m["mail"]
        wrong += [line] if ("SIZE" in offers) != (" SIZE=" in line) or " BODY=8BITMIME" in line and "8BITMIME" not in offers \
            or " SMTPUTF8" in line and "SMTPUTF8" not in offers else []
    tap.ok(mails and not wrong, "%s: SIZE with each message if it is offered, and nothing that is not" % peer.name, str(wrong))
    eight = [m for m in mails if " BODY=8BITMIME" in m["mail"]]
    n_eight = sum("BODY=8BITMIME" in MESSAGES[n][2] and ("SMTPUTF8" not in MESSAGES[n][2] or "SMTPUTF8" in offers)
                  for n in peer.sent)
    tap.equal(len(eight), n_eight, "%s: BODY=8BITMIME for what is 8-bit, and for nothing else" % peer.name)
    utf8 = [m for m in mails if " SMTPUTF8" in m["mail"]]
    tap.equal([[r[8:] for r in m["rcpts"]] for m in utf8], [["<мир@%s>" % peer.domain]] if "SMTPUTF8" in offers else [],
              "%s: SMTPUTF8 for the one message that needs it, if it is offered" % peer.name)
    three = [m for m in mails if len(m["rcpts"]) == 3]
    tap.equal(len(three), 1, "%s: three recipients in one transaction" % peer.name)
    want = 5 if "PIPELINING" in offers else 1
    tap.ok(three and (three[0]["together"] >= want if want > 1 else three[0]["together"] == 1),
           "%s: commands go %s" % (peer.name, "together" if want > 1 else "one by one"), str(three))
    tap.ok(all(m["by"] == "DATA" for m in mails if m["rcpts"]), "%s: text goes by DATA" % peer.name, str(mails))


def success(peer):
    """Who offers DSN is asked for the report of success; for who does not we make one ourselves (RFC 3461 5.2.2)."""
    n = len(peer.wire.mails)
    client = lib.Smtp(25)
    user = "ann.%s@home.test" % peer.domain.partition(".")[0]
    answers = [client.ask("MAIL FROM:<%s> RET=HDRS ENVID=QQ314159" % user),
               client.ask("RCPT TO:<joe@%s> NOTIFY=SUCCESS ORCPT=rfc822;joe@%s" % (peer.domain, peer.domain)),
               client.data(b"Subject: success\r\n\r\nx\r\n")]
    client.quit()
    server.wait_event(lib.id_of(answers[2]), "done")
    said = peer.wire.mails[n]
    if "DSN" in peer.wire.offers:
        tap.ok(" RET=HDRS" in said["mail"] and " ENVID=QQ314159" in said["mail"] and " NOTIFY=SUCCESS" in said["rcpts"][0] and
               " ORCPT=rfc822;joe@" in said["rcpts"][0], "%s: the wish for a report goes on by DSN" % peer.name, str(said))
        tap.ok(not lib.messages_in(MAIL + "/home.test/" + user.partition("@")[0]), "%s: and we send none" % peer.name)
        return
    tap.ok("ENVID" not in said["mail"] and "NOTIFY" not in said["rcpts"][0], "%s: no word of DSN" % peer.name, str(said))
    report = lib.wait_until(lambda: lib.messages_in(MAIL + "/home.test/" + user.partition("@")[0]), "a report of success")[0]
    want = b"Action: " + (b"delivered" if peer.is_lmtp else b"relayed")
    tap.ok(want in report and b"Original-Envelope-Id: QQ314159" in report, "%s: we report: %s" % (peer.name, want.decode()),
           report.decode("utf-8", "replace"))


running = [p for p in PEERS if p.server]
for peer in running:
    send_all(peer)
try:
    server.wait_empty(120)
except TimeoutError as e:
    tap.ok(False, "nothing waits for long", "%s: %s" % (e, server.queue("list")))
for peer in running:
    for part in (arrives, wire_facts, success):
        try:
            part(peer)
        except Exception as e:
            tap.ok(False, "%s: %s goes to its end" % (peer.name, part.__name__),
                   "%s: %s\n%s\n%s" % (type(e).__name__, e, server.log()[-2000:], peer.server.log()))
for peer in PEERS:
    if peer.why_not:
        tap.skip("%s: %d messages" % (peer.name, len(MESSAGES)), "needs " + peer.why_not)
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()

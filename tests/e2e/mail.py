#!/usr/bin/env python3
"""Mail in from other programs and out to other programs, octet for octet."""
import os
import re
import smtplib
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

MX, LMTP_AT, GOOD, BAD = "198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"
tap = lib.Tap()
lib.inside(["nsd"])
where = lib.folder()
lib.Dns(where, {
    "test.": "\n".join((
        "pf MX 10 down.pf", "pf MX 20 mx.pf", "down.pf A 192.0.2.99", "mx.pf A " + MX,
        "implicit A " + MX, "null MX 0 .", "nomail TXT nothing", "alldown MX 10 down.pf",
        # BAD is preferred to GOOD; `alone` has no other
        "two MX 10 bad", "two MX 20 good", "third MX 10 bad", "third MX 20 good", "third MX 30 also", "also A " + GOOD, "alone MX 10 bad", "bad A " + BAD, "good A " + GOOD,
        "self MX 10 us", "self MX 20 good", "us A 192.0.2.1", "behind MX 10 bad", "behind MX 20 us", "behind MX 30 good",
        "local MX 10 localhere", "localhere A 127.0.0.1",
        "alias MX 10 www", "www CNAME good", "literal MX 10 198.51.100.3.", "both MX 10 six", "six AAAA 2001:db8::99",
        "six A " + GOOD, "many A " + GOOD, "nowhere MX 10 gone.test.", "nowhere MX 20 gone.pf",
        "\n".join("hundred MX %d h%d" % (i % 7 + 1, i) for i in range(99)), "hundred MX 0 good",
        "\n".join("h%d A 192.0.2.%d" % (i, 100 + i) for i in range(99)))),
})
no_postfix, no_dovecot = peers.missing("postfix"), peers.missing("dovecot")
postfix = None if no_postfix else peers.Postfix(where, MX, ["pf.test", "implicit.test", "smart.test"])
dovecot = None if no_dovecot else peers.Dovecot(where, LMTP_AT)
BASE = ('hostname "mx.wax.test"\npostmaster "joe@box.test"\nrelay_from { "127.0.0.1" }\nresolver { "127.0.0.53" }\n'
        'retry { first = "1s", longest = "1s", jitter = 0 }\nlimits { sessions_per_client = 0 }\n')
lua = BASE + ('listen { port = 25, address = "127.0.0.1" }\nlisten { port = 25, address = "192.0.2.1" }\n'
              'domain "box.test" %s\ndomain "plain.test" %s\ndomain "any.test" %s\n'
              'domain "tcp.test" { users = any, deliver = lmtp "%s:24" }\n'
              'domain "unix.test" { users = any, deliver = lmtp "unix:%s" }\ndomain "same.test" { same_as = "box.test" }\n'
              % (lib.maildir_lua(where, '{ "joe", "info" }', ', catchall = "info"'), lib.maildir_lua(where, '{ "ann" }'),
                 lib.maildir_lua(where), LMTP_AT, os.path.join(where, "dovecot", "lmtp")))
server = lib.start(where, lua)
MAIL = lib.mail_folder(where)


def log_of(peer):
    return server.log() + "\n" + (peer.log() if peer else "")


# ---- octet for octet ------------------------------------------------------------------------------------------------------

def lines_to(n, octets=b"0123456789 the quick brown fox jumps over the lazy dog "):
    """n octets of body in lines."""
    line = (octets * 2)[:70] + b"\r\n"
    text = line * (n // len(line) + 1)
    return text[:n - 2].replace(b"\r\r\n", b"xx\n").rstrip(b"\r\n").ljust(n - 2, b"-") + b"\r\n"


def bodies():
    yield "plain", b"Hello.\r\n"
    yield "no body", b""
    yield "one empty line", b"\r\n"
    yield "no empty line at the end but several", b"x\r\n\r\n\r\n\r\n"
    yield "8-bit", bytes(range(0x80, 0x100)) * 3 + b"\r\n" + "Grüße, мир\r\n".encode()
    yield "control characters", bytes(c for c in range(1, 0x20) if c not in (10, 13)) + b"\x7f\r\n"
    yield "leading dots", b".\r\n..\r\n...\r\n.a\r\n. \r\na.\r\n.\r\n"
    yield "lines that look like commands", b"QUIT\r\nRSET\r\nFrom someone\r\n>From someone\r\nDATA\r\n"
    yield "lines of 998", (b"a" * 998 + b"\r\n") * 5
    yield "a line of 100000", b"b" * 100000 + b"\r\n"
    for size in (65535, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 20 << 20):
        yield "%d octets" % size, lines_to(size)


def subject_of(octets):
    head = octets.partition(b"\n\n")[0]
    return next((line[9:].decode() for line in head.split(b"\n") if line.startswith(b"Subject: ")), None)


def by_subject(maildir):
    return {subject_of(m): m for m in lib.messages_in(maildir)}


def octets_for_octets():
    ways = [("Maildir", "joe@box.test", MAIL + "/box.test/joe")]
    if dovecot:
        ways += [("Dovecot by LMTP over TCP", "joe@tcp.test", dovecot.mail + "/tcp.test/joe"),
                 ("Dovecot by LMTP over a unix socket", "joe@unix.test", dovecot.mail + "/unix.test/joe")]
    if postfix:
        ways += [("Postfix by MX", "joe@pf.test", postfix.maildir)]
    sent = {}
    client = lib.Smtp(25)
    for name, body in bodies():
        message = b"Subject: %s\r\nX-Test: a\r\n folded\r\n\r\n" % name.encode() + body
        answer = client.send("ann@plain.test", [w[1] for w in ways], message, " BODY=8BITMIME SIZE=%d" % len(message))
        if tap.ok(answer[0] == 250, "in: " + name, repr(answer)):
            sent[name] = message.replace(b"\r\n", b"\n")
    client.quit()
    for title, _, maildir in ways:
        try:
            lib.wait_until(lambda: len(lib.messages_in(maildir)) >= len(sent), "all of them", 90)
        except TimeoutError:
            tap.say("%s: %d of %d\n%s" % (title, len(lib.messages_in(maildir)), len(sent), log_of(postfix)[-2000:]))
        got = by_subject(maildir)
        for name, message in sent.items():
            there = lib.without_trace(got.get(name, b""))
            # Postfix ends a header without a body by the empty line too
            tap.ok(there.replace(b"\r\n", b"\n") == message, "out: %s: %s" % (title, name),
                   "got %s" % lib.brief(there))
    for title, missing in (("Postfix by MX", no_postfix), ("Dovecot by LMTP", no_dovecot)):
        if missing:
            tap.skip("out: " + title, "needs " + missing)


# ---- programs of others ------------------------------------------------------------------------------------------------------

def other_clients():
    with smtplib.SMTP("127.0.0.1", 25, "client.example.org", timeout=60) as smtp:
        text = "Subject: by smtplib\r\n\r\none\r\n.two\r\n..three\r\n"
        tap.equal(smtp.sendmail("a@client.example.org", ["ann@plain.test", "joe@box.test"], text), {}, "smtplib sends to two")
        try:
            smtp.sendmail("a@client.example.org", ["nobody@plain.test"], text)
            tap.ok(False, "smtplib hears the refusal")
        except smtplib.SMTPRecipientsRefused as e:
            tap.equal(e.recipients["nobody@plain.test"][0], 550, "smtplib hears the refusal: 550")
        smtp.sendmail("jö@any.test", ["иван@any.test"], "Subject: grüße\r\n\r\nтекст\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])
    got = lib.wait_until(lambda: by_subject(MAIL + "/plain.test/ann").get("by smtplib"), "the message")
    tap.ok(got.endswith(b"\n\none\n.two\n..three\n"), "it arrives whole", repr(got))
    got = lib.wait_until(lambda: lib.messages_in(MAIL + "/any.test/иван"), "mail with SMTPUTF8")
    tap.ok("Subject: grüße\n\nтекст\n".encode() in got[0] and b"UTF8SMTP" in got[0],
           "SMTPUTF8: user, header and text, and the trace says so", repr(got[0]))
    why = peers.missing("swaks")
    if why:
        tap.skip("swaks", "needs " + why)
        return
    for n, more in enumerate((["--pipeline"], [], ["--helo", "[127.0.0.1]"], ["--protocol", "SMTP"])):
        done = subprocess.run(["swaks", "--server", "127.0.0.1", "--from", "a@client.example.org", "--to", "ann@plain.test",
                               "--header", "Subject: by swaks %d" % n, "--body", ".dot\nend"] + more,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        tap.ok(done.returncode == 0, "swaks %s" % " ".join(more), done.stdout[-1500:])
        got = lib.wait_until(lambda: by_subject(MAIL + "/plain.test/ann").get("by swaks %d" % n), "the message")
        tap.ok(b"\n.dot\nend" in got, "and its message is there", repr(got))


def by_bdat():
    client = lib.Smtp(25)
    tap.ok("CHUNKING" in client.capabilities and "SMTPUTF8" in client.capabilities, "EHLO offers both",
           client.capabilities)
    for name, chunks in (("bdat one", [b"Subject: bdat one\r\n\r\n.\r\n..\r\nend"]),
                         ("bdat many", [b"Subject: bdat ", b"many\r\n\r", b"\n.", b"\r\n", b"", b"x" * 70000 + b"\r\n"]),
                         ("bdat empty last", [b"Subject: bdat empty last\r\n\r\ntext\r\n", b""])):
        client.envelope("a@b.test", ["joe@box.test"])
        answer = client.bdat(chunks)
        tap.ok(answer[0] == 250 and "queued as" in answer[1], name, repr(answer))
        want = b"".join(chunks).replace(b"\r\n", b"\n")
        got = lib.wait_until(lambda: by_subject(MAIL + "/box.test/joe").get(name), name)
        # a Maildir file ends with a line end
        tap.ok(lib.without_trace(got).rstrip(b"\n") == want.rstrip(b"\n"), name + " arrives", lib.brief(got))
    client.envelope("a@b.test", ["joe@box.test"])
    client.write(b"BDAT 5\r\nSubjeRSET\r\n")
    tap.equal([client.reply()[0], client.reply()[0]], [250, 250], "RSET after a chunk throws it away")
    answer = client.send("a@b.test", ["joe@box.test"], b"Subject: after\r\n\r\nx\r\n")
    tap.equal(answer[0], 250, "and the next message is taken")
    client.quit()


# ---- who gets it ---------------------------------------------------------------------------------------------------------------

def users():
    def code(rcpt, source=None):
        client = lib.Smtp(25, "192.0.2.1" if source else "127.0.0.1", source=source)
        answer = client.envelope("a@b.test", [rcpt]) or (250,)
        client.close()
        return answer[0]

    table = [("joe@box.test", 250), ("JOE@BOX.TEST", 250), ("anyone@box.test", 250), ("nobody@plain.test", 550),
             ("ann@plain.test", 250), ("postmaster@plain.test", 250), ("abuse@plain.test", 250), ("Postmaster", 250),
             ("joe@same.test", 250), ("whoever@any.test", 250), ("x@other.test", 550), ("ann@sub.plain.test", 550)]
    for rcpt, want in table:
        tap.equal(code(rcpt, "192.0.2.7"), want, "a stranger's RCPT TO:<%s>" % rcpt)
    tap.equal(code("x@other.test"), 250, "the relay client may")
    before = len(lib.messages_in(MAIL + "/box.test/joe"))
    for i, rcpt in enumerate(("postmaster@plain.test", "abuse@plain.test", "postmaster", "joe@same.test")):
        lib.id_of(lib.send_one(25, "a@b.test", [rcpt], b"Subject: for joe %d\r\n\r\nx\r\n" % i))
    lib.wait_until(lambda: len(lib.messages_in(MAIL + "/box.test/joe")) >= before + 4, "four for the postmaster")
    tap.ok(True, "postmaster, abuse and the other name of the domain reach joe")
    lib.id_of(lib.send_one(25, "a@b.test", ["no.such.user@box.test"], b"Subject: for all\r\n\r\nx\r\n"))
    lib.wait_until(lambda: "for all" in by_subject(MAIL + "/box.test/info"), "the catchall")
    tap.ok(True, "the catchall gets the rest")


# ---- out -------------------------------------------------------------------------------------------------------------------------

def bounce(rcpt, *words):
    """Mail that can't be delivered comes back to its sender as a report."""
    user = "s%d" % tap.count
    id_ = lib.id_of(lib.send_one(25, user + "@any.test", [rcpt], b"Subject: to nowhere\r\nX-Mine: 7\r\n\r\nbody\r\n"))
    try:
        got = lib.wait_until(lambda: lib.messages_in(MAIL + "/any.test/" + user), "a report", 30)[0].decode()
    except TimeoutError:
        tap.ok(False, "a report for %s" % rcpt, str(server.why(id_)))
        return
    need = ("multipart/report", "message/delivery-status", "Final-Recipient: rfc822; " + rcpt, "Action: failed",
            "To: <%s@any.test>" % user, "X-Mine: 7", "Return-Path: <>") + words
    gone = [w for w in need if w not in got.replace("rfc822;" + rcpt, "rfc822; " + rcpt)]
    tap.ok(not gone, "mail for %s comes back as a report" % rcpt, "misses %s in\n%s" % (gone, got))
    tap.ok("failed" in [r["event"] for r in server.why(id_)], "and `why` says that it failed", str(server.why(id_)))


def out():
    bounce("x@null.test", "5.1.10")
    bounce("x@nothere.test")
    if postfix is None:
        tap.skip("implicit MX, preference, smart host, SMTPUTF8 to Postfix", "needs " + no_postfix)
        return
    id_ = lib.id_of(lib.send_one(25, "ann@plain.test", ["joe@implicit.test"], b"Subject: implicit\r\n\r\nx\r\n"))
    lib.wait_until(lambda: "implicit" in by_subject(postfix.maildir), "mail by an implicit MX")
    tap.ok(True, "a host without MX is its own")
    server.wait_event(id_, "done")
    id_ = lib.id_of(lib.send_one(25, "ann@plain.test", ["joe@pf.test"], b"Subject: preference\r\n\r\nx\r\n"))
    server.wait_event(id_, "done")
    row = server.wait_event(id_, "delivered")
    tap.ok(MX in row.get("host", "") or "mx.pf.test" in row.get("host", ""),
           "the first MX is down, the second has it", str(row))
    client = lib.Smtp(25)
    answer = client.send("jö@any.test", ["мир@pf.test"], "Subject: utf8 out\r\nX: grüße\r\n\r\nx\r\n".encode(), " SMTPUTF8")
    got = lib.wait_until(lambda: by_subject(postfix.maildir).get("utf8 out"), "mail with SMTPUTF8 at Postfix")
    tap.ok(answer[0] == 250 and "мир@pf.test".encode() in got and "X: grüße".encode() in got, "SMTPUTF8 to Postfix",
           repr(got))
    client.quit()
    other = os.path.join(where, "smart")
    os.mkdir(other)
    second = lib.start(other, BASE.replace('postmaster "joe@box.test"\n', "") +
                       'listen { port = 2525, address = "127.0.0.1" }\nroute { to = "*", via = "smtp://%s:25" }\n' % MX)
    id_ = lib.id_of(lib.send_one(2525, "ann@plain.test", ["a@smart.test", "b@smart.test", "c@pf.test"],
                                 b"Subject: smart\r\n\r\nx\r\n"))
    second.wait_event(id_, "done")
    copies = [m for m in lib.messages_in(postfix.maildir) if subject_of(m) == "smart"]
    tap.ok(len(copies) >= 1, "a smart host gets all mail", second.log())
    answer = lib.send_one(2525, "ann@plain.test", ["x@unknown.test"], b"Subject: no\r\n\r\nx\r\n")
    row = second.wait_event(lib.id_of(answer), "failed")
    tap.ok("relay" in row["text"].lower(), "what it refuses has failed, with its words", str(row))
    tap.equal(second.stop(), 0, "the second server ends well")


# ---- next hops that are odd, slow, broken or mean ------------------------------------------------------------------------------

class Hop:
    """A server at ADDRESS:25 whose answers the test gives: say(verb, n) is the text that answers the n-th command of this
    name ("" at the greeting, "." at the end of data); None closes the connection, bytes go out as they are."""

    def __init__(self, address, say):
        self.say, self.bodies, self.connections = say, [], []
        self.socket = socket.create_server((address, 25), reuse_port=True)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            self.connections.append(conn)
            threading.Thread(target=self._visit, args=(conn, len(self.connections)), daemon=True).start()

    def _answer(self, conn, verb, n):
        text = self.say(verb, n)
        if text is None:
            raise ConnectionError("as the test wants it")
        pieces = [p if isinstance(p, bytes) else p.encode() + b"\r\n"
                  for p in ((text,) if isinstance(text, (str, bytes)) else text)]
        for piece in pieces:
            conn.sendall(piece)
        return b"".join(pieces)

    def _visit(self, conn, n):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with conn, conn.makefile("rb") as lines:
                self._answer(conn, "", n)
                seen = {}
                for line in lines:
                    verb = line.split(b" ")[0].strip().upper().decode("ascii", "replace")
                    seen[verb] = seen.get(verb, 0) + 1
                    if not self._answer(conn, verb, seen[verb]).startswith(b"354"):
                        continue
                    body = b""
                    for line in iter(lines.readline, b".\r\n"):
                        if not line:
                            return
                        body += line
                    if self._answer(conn, ".", seen[verb]).startswith(b"250"):
                        self.bodies.append(body)
        except OSError:
            pass

    def has(self, subject):
        return sum(subject_of(b.replace(b"\r\n", b"\n")) == subject for b in self.bodies)

    def close(self):
        for s in [self.socket] + self.connections:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other end went before
        self.socket.close()


ANSWERS = {"": "220 hop", "EHLO": "250 hop", "HELO": "250 hop", "DATA": "354 go", "QUIT": "221 bye"}


def well(verb, n):
    return ANSWERS.get(verb, "250 ok")


def but(**other):
    """A server that goes well but for these: greeting, end or a command."""
    other = {{"greeting": "", "end": "."}.get(k, k): v for k, v in other.items()}
    return lambda verb, n: other[verb] if verb in other else well(verb, n)


def pipelined(**other):
    return but(EHLO="250-hop\r\n250 PIPELINING", **other)


def dribble(verb, n):
    return [bytes([c]) for c in well(verb, n).encode() + b"\r\n"]


def send_to(domain, subject, sender="ann@plain.test", rcpts=("x",), parameters=""):
    message = b"Subject: %s\r\n\r\nx\r\n" % subject.encode()
    return lib.id_of(lib.send_one(25, sender, [r + "@" + domain for r in rcpts], message, parameters))


def events(id_):
    return [r["event"] for r in server.why(id_)]


# the first server is left without harm: the second has the mail in the same attempt
LEFT = {
    "greets with 421": but(greeting="421 4.3.2 no"), "greets with 554": but(greeting="554 5.7.1 no"),
    "greets with a line of a megabyte": but(greeting="220 " + "x" * (1 << 20)),
    "greets without end": but(greeting=["220-" + "x" * 500] * 1000), "greets twice": but(greeting=["220 a", "220 b"]),
    "closes at once": but(greeting=None), "speaks HTTP": but(greeting="HTTP/1.1 400 Bad Request"),
    "says 421 to EHLO": but(EHLO="421 no"), "closes at EHLO": but(EHLO=None),
    "refuses EHLO and HELO": but(EHLO="502 what", HELO="550 no"), "answers EHLO twice": but(EHLO=["250 a", "250 b"]),
    "says 421 to MAIL": but(MAIL="421 no"), "closes at MAIL": but(MAIL=None), "answers MAIL by noise": but(MAIL=b"\0\xff\r\n"),
    "says 421 to RCPT": but(RCPT="421 no"), "closes at RCPT": pipelined(RCPT=None), "says 421 to DATA": pipelined(DATA="421 no"),
    "closes at DATA": but(DATA=None),
}
# the mail goes to the first server
TAKEN = {
    "dribbles": dribble, "knows no EHLO": but(EHLO="500 what"), "offers all and nothing": but(EHLO="250-hop\r\n250-\r\n250 X"),
    "answers by LF alone": lambda verb, n: well(verb, n).encode() + b"\n", "has no texts": lambda verb, n: well(verb, n)[:3],
    "takes one message a connection": lambda verb, n: "421 4.7.0 one is enough" if (verb, n) == ("MAIL", 2) else well(verb, n),
}


def odd_hops():
    for name, say in LEFT.items():
        bad, good = Hop(BAD, say), Hop(GOOD, well)  # none is kept from the one before
        id_ = send_to("two.test", name)
        server.wait_event(id_, "done")
        tap.ok(good.has(name) == 1 and "deferred" not in events(id_), "a first MX that %s is left for the second" % name,
               str(server.why(id_)))
        bad.close()
        good.close()
    for name, say in TAKEN.items():
        bad = Hop(BAD, say)
        ids = [send_to("alone.test", name) for _ in range(3)]
        for id_ in ids:
            server.wait_event(id_, "done")
        tap.ok(bad.has(name) == 3 and not any("deferred" in events(i) for i in ids), "a server that %s gets its mail" % name,
               "%d of 3, %s" % (bad.has(name), server.why(ids[-1])))
        bad.close()
    bad, good = Hop(BAD, pipelined(DATA="451 4.3.0 not now")), Hop(GOOD, well)
    row = server.wait_event(send_to("third.test", "451 to DATA"), "deferred")
    tap.ok(row["text"] == "not now" and good.has("451 to DATA") == 0, "what a server says of the message counts", str(row))
    bad.close()
    bad = Hop(BAD, but(end=None))
    id_ = send_to("alone.test", "closes at the end")
    row = server.wait_event(id_, "deferred")
    tap.ok("twice" in row["text"], "closed behind the message: deferred, and it may come twice", str(row))
    bad.close()
    good.close()


def some_recipients():
    def say(verb, n):
        return {("RCPT", 1): "250 ok", ("RCPT", 2): "550 5.1.1 nobody", ("RCPT", 3): "450 4.2.1 later"}.get((verb, n)) or (
            "554 5.6.0 not this" if verb == "." else "250-hop\r\n250 PIPELINING" if verb == "EHLO" else well(verb, n))
    bad = Hop(BAD, say)
    id_ = send_to("alone.test", "three fates", rcpts=("a", "b", "c"))
    row = server.wait_event(id_, "deferred")
    lib.wait_until(lambda: events(id_).count("failed") >= 2, "two failures")
    fates = {r["address"]: (r["event"], r["text"]) for r in server.why(id_) if r["event"] in ("failed", "deferred")}
    tap.ok(row["address"] == "c@alone.test" and fates["a@alone.test"] == ("failed", "not this") and
           fates["b@alone.test"] == ("failed", "nobody"), "each recipient has its own fate", str(fates))
    server.queue("drop", "id=" + id_)
    bad.close()
    bad = Hop(BAD, but(EHLO="250 hop"))
    id_ = lib.id_of(lib.send_one(25, "ann@plain.test", ["jö@alone.test", "a@alone.test"], b"Subject: half utf8\r\n\r\nx\r\n",
                                 " SMTPUTF8"))
    row = server.wait_event(id_, "failed")
    server.wait_event(id_, "done")
    tap.ok(row["address"] == "jö@alone.test" and "SMTPUTF8" in row["text"] and bad.has("half utf8") == 1,
           "without SMTPUTF8 only the recipient who needs it fails", str(server.why(id_)))
    report = lib.wait_until(lambda: [m for m in lib.messages_in(MAIL + "/plain.test/ann") if b"half utf8" in m], "its report")
    tap.ok(b"5.6.7" in report[0], "with 5.6.7 in its report", report[0].decode("utf-8", "replace"))
    bad.close()


def mail_exchangers():
    good = Hop(GOOD, well)
    for domain in ("alias", "both", "hundred", "many"):
        id_ = send_to(domain + ".test", domain)
        server.wait_event(id_, "done")
        tap.ok(good.has(domain) == 1 and "deferred" not in events(id_), "%s.test has its mail" % domain, str(server.why(id_)))
    for domain in ("self", "local"):
        row = server.wait_event(send_to(domain + ".test", domain), "failed")
        tap.ok("come back" in row["text"] and good.has(domain) == 0, "%s.test, whose exchanger is us: failed" % domain, str(row))
    for domain in ("literal", "nowhere"):
        row = server.wait_event(send_to(domain + ".test", domain), "failed")
        tap.ok("no address" in row["text"], "%s.test, whose exchangers have no address: failed" % domain, str(row))
    bounce("x@self.test", "Status: 5.4.6")
    id_ = send_to("behind.test", "behind")
    row = server.wait_event(id_, "deferred")
    tap.ok("refused" in row["text"] and good.has("behind") == 0, "we are the second exchanger: it waits for the first", str(row))
    bad = Hop(BAD, well)
    server.queue("retry", "id=" + id_)
    server.wait_event(id_, "done")
    tap.equal(bad.has("behind"), 1, "which gets it when it is there")
    bad.close()
    good.close()


for part in (octets_for_octets, other_clients, by_bdat, users, out, odd_hops, some_recipients, mail_exchangers):
    try:
        part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s" % (type(e).__name__, e, log_of(postfix)[-2500:]))
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()

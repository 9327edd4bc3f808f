#!/usr/bin/env python3
"""Users send mail: they log in over TLS at 587 and 465, by every mechanism that their programs know, and write as themselves.
Who is refused hears the right code, and learns nothing of who has an account."""
import base64
import json
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers
import tls_peer
from tls_peer import Scram, plain

NAME = "mx.example.org"
# A client's address on one machine is the server's: each program of others has one of its own, and so its own guesses.
HOST, OTHER_HOSTS = "192.0.2.1", {"smtplib": "203.0.113.1", "msmtp": "203.0.113.2", "swaks": "203.0.113.3", "nodemailer": "203.0.113.4",
                                  "gsasl": "203.0.113.5", "curl": "203.0.113.6"}
STRANGER, HOME = "198.51.100.66", "198.51.100.7"
PASSWORD = {"joe": "secret of joe", "ann": "ann's p\u00e4ss=w,rd", "bob": "secret of bob"}
MAY = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1"}
BAD, LATER, NOT_OFFERED = (535, "5.7.8"), (454, "4.7.0"), (504, "5.5.4")

tap = lib.Tap()
lib.inside(["openssl"])
for address in (STRANGER, HOME, *OTHER_HOSTS.values()):
    subprocess.run(["ip", "addr", "add", address + "/32", "dev", "lo"], check=True)
where = lib.folder()
pki = tls_peer.Pki(where)
pki.make("server", NAME, names=["DNS:" + NAME] + ["IP:" + a for a in (HOST, *OTHER_HOSTS.values())])
for client in ("joe@example.org", "eve@example.org", "joe@elsewhere.example"):
    pki.make(client, client)
pki.make("expired", "joe@example.org", days=0)
others = tls_peer.Pki(where, "others")
others.make("false", "joe@example.org")
lib.file_of(os.path.join(where, "org.users"), "locked:!\n")
LUA = """hostname "mx.example.org"
postmaster "joe@example.org"
resolver { "127.0.0.53" }
relay_from { "127.0.0.1" }
limits { sessions_per_client = 0 }
tls { cert = "server.crt", key = "server.key", client_ca = "ca.crt" }
listen { port = 25, address = "0.0.0.0" }
listen { port = 587, address = "0.0.0.0", submission = true }
listen { port = 465, address = "0.0.0.0", submission = true }
listen { port = 588, address = "0.0.0.0", submission = true, hide_client = true }
domain "example.org" %s
domain "shop.example" { same_as = "example.org" }
domain "box.test" %s
senders { ["joe@example.org"] = "*@news.example" }
""" % (lib.maildir_lua(where, 'passwd "org.users"', ', aliases = { team = "ann", all = { "ann", "joe" } }'), lib.maildir_lua(where))


def user_command(*args, text=""):
    done = lib.run("user", "--file", os.path.join(where, "org.users"), *args, input=text)
    if done.returncode != 0:
        raise RuntimeError("user %s: %s" % (args, done.stderr))
    return done.stdout.strip()


for user, password in PASSWORD.items():
    user_command("add", user, "--stdin", text=password + "\n")
ONE, TWO = "p\u00e4ssw\u00f6rd", "pa\u0308sswo\u0308rd"  # each letter one character, or the dots by themselves
user_command("add", "j\u00f6rg", "--stdin", text=TWO + "\u00a0x\n")
with open(os.path.join(where, "org.users"), "a", encoding="utf-8") as file:  # as another system has made it: of the octets as they come
    file.write("raw:" + ";".join(tls_peer.scram_verifier(h, TWO) for h in ("SHA-256", "SHA-1")) + "\n")
PHONE = user_command("app-password", "joe", "phone")
server = lib.start(where, LUA)
boxes = ("u%d" % i for i in range(10000))


def secret_of(user):
    return PHONE if "/" in user else PASSWORD[user.partition("@")[0]]


def arrived(box):
    path = os.path.join(lib.mail_folder(where), "box.test", box)
    return lib.wait_until(lambda: lib.messages_in(path), "mail for " + box)[0]


def starttls(context=None, **kw):
    return tls_peer.Smtp(587, context or pki.context(), **kw).starttls()


def implicit(context=None, **kw):
    return tls_peer.Smtp(465, context or pki.context(), implicit=True, **kw)


def code_of(answer):
    return answer[0], answer[1].split(" ", 1)[0]


def is_logged_in(client):
    return client.ask("AUTH PLAIN")[0] == 503 and client.envelope("joe@example.org", ["x@box.test"]) is None


# ---- what is offered ----------------------------------------------------------------------------------------------------

def offers():
    client = lib.Smtp(587, HOST)
    tap.ok("STARTTLS" in client.capabilities and "AUTH" not in client.capabilities, "587 offers no login before TLS", client.capabilities)
    tap.equal(code_of(client.ask("AUTH PLAIN AGpvZQB4")), (538, "5.7.11"), "a login before TLS is refused as such")
    tap.equal(code_of(client.ask("MAIL FROM:<joe@example.org>")), (530, "5.7.0"), "and mail before it")
    client.quit()
    for name, make in (("587", starttls), ("465", implicit)):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = make(pki.context(version=version))
            title = "%s over %s" % (name, version.name)
            tap.equal(set(client.mechanisms()), MAY | {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"}, title + ": the mechanisms")
            tap.ok("STARTTLS" not in client.capabilities, title + ": no TLS within TLS", client.capabilities)
            tap.equal(code_of(client.ask("MAIL FROM:<joe@example.org>")), (530, "5.7.0"), title + ": mail needs a login")
            tap.equal(code_of(client.ask("STARTTLS")), (503, "5.5.1"), title + ": TLS once")
            client.quit()
    client = tls_peer.Smtp(25, pki.context()).starttls()
    tap.ok(not client.mechanisms(), "25 offers no login", client.capabilities)
    tap.equal(client.ask("AUTH PLAIN AGpvZQB4")[0], 502, "nor takes one")
    client.quit()


# ---- right ones ---------------------------------------------------------------------------------------------------------

def by_hand():
    """Every mechanism that Python can speak with what it is told by TLS, and by s_client what it is not."""
    for name, make in (("587", starttls), ("465", implicit)):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for user in ("joe", "ann@example.org", "Joe@SHOP.example", "joe/phone@example.org", "joe/phone"):
                secret = secret_of(user.lower())
                title = "%s, %s, %s: " % (name, version.name, user)
                for mechanism in sorted(MAY - {"LOGIN"}):
                    client = make(pki.context(version=version))
                    if mechanism == "PLAIN":
                        answer = plain(client, user, secret)
                    else:
                        exchange = Scram(client, user, secret, mechanism)
                        answer = exchange.answer
                        tap.ok(exchange.is_proved, title + mechanism + ": the server proves itself")
                    tap.equal(code_of(answer), (235, "2.7.0"), title + mechanism)
                    client.quit()
        client = make(pki.context(version=ssl.TLSVersion.TLSv1_2))
        exchange = Scram(client, "joe", PASSWORD["joe"], "SCRAM-SHA-256-PLUS", ("tls-server-end-point", client.end_point()))
        tap.ok(exchange.is_proved and exchange.answer[0] == 235, name + ": SCRAM bound to the certificate, TLS 1.2", str(exchange.answer))
        client.quit()
        client = make()
        exchange = Scram(client, "joe", PASSWORD["joe"], "SCRAM-SHA-1-PLUS", ("tls-server-end-point", client.end_point()))
        tap.ok(exchange.is_proved and exchange.answer[0] == 235, name + ": SCRAM bound to the certificate, TLS 1.3", str(exchange.answer))
        client.quit()
        client = make()
        exchange = Scram(client, "joe", PASSWORD["joe"], "SCRAM-SHA-256-PLUS", ("tls-server-end-point", bytes(32)))
        tap.equal(code_of(exchange.answer), BAD, name + ": bound to another certificate (somebody is in between)")
        client.quit()
        client = make()
        exchange = Scram(client, "joe", PASSWORD["joe"], flag="y")
        tap.equal(code_of(exchange.answer), BAD, name + ": who saw no -PLUS was shown another list")
        client.quit()
    for options in ((), ("-tls1_2",)):
        for port, more in ((587, ("-starttls", "smtp")), (465, ())):
            title = "%d %s: " % (port, " ".join(options) or "TLS 1.3")
            for spoil in (False, True):
                client = tls_peer.ByOpenssl(port, pki.file, options=options + more)
                exporter = bytes(32) if spoil else client.exporter
                exchange = Scram(client, "joe", PASSWORD["joe"], "SCRAM-SHA-256-PLUS", ("tls-exporter", exporter))
                tap.equal((code_of(exchange.answer), exchange.is_proved), (BAD, False) if spoil else ((235, "2.7.0"), True),
                          title + ("bound to another session" if spoil else "SCRAM bound to the session by tls-exporter"))
                client.close()


def outside_ascii():
    """What looks alike is the same name and the same password (RFC 4013), whatever a keyboard makes of it."""
    for name, make in (("587", starttls), ("465", implicit)):
        for user, password, right, title in (
                ("j\u00f6rg", ONE + " x", True, "as it is kept"), ("jo\u0308rg", TWO + "\u00a0x", True, "dots apart, a space that does not break"),
                ("j\u00f6rg@example.org", "\uff50" + ONE[1:] + "\u2009x", True, "a wide letter, a thin space"), ("j\u00f6rg", ONE + "\u00adx", False, "no space"),
                ("jorg", ONE + " x", False, "another name"), ("j\u00f6rg", "password x", False, "no dots"), ("raw", TWO, True, "kept by others as it came"),
                ("raw", ONE, False, "of which there is one form only")):
            client = make(source="127.77.0.1")
            tap.equal(code_of(plain(client, user, password)), (235, "2.7.0") if right else BAD, "%s, outside ASCII: %s" % (name, title))
            client.quit()
        client = make()
        exchange = Scram(client, "j\u00f6rg", ONE + " x")
        tap.ok(exchange.is_proved and exchange.answer[0] == 235, name + ": a client of SCRAM says the one form", str(exchange.answer))
        client.quit()


def external():
    for name, make in (("587", starttls), ("465", implicit)):
        for authzid in ("", "joe@example.org", "JOE@shop.example"):
            client = make(pki.context("joe@example.org"))
            tap.ok("EXTERNAL" in client.mechanisms(), name + ": a certificate of our authority may log in", client.capabilities)
            tap.equal(code_of(client.ask("AUTH EXTERNAL " + tls_peer.coded(authzid.encode()))), (235, "2.7.0"), "as " + (authzid or "itself"))
            tap.equal(client.send("joe@example.org", [next(boxes) + "@box.test"], b"Subject: x\r\n\r\nx\r\n")[0], 250, "and sends")
            client.quit()
        client = make(pki.context("joe@example.org"))
        tap.equal(code_of(client.ask("AUTH EXTERNAL " + tls_peer.coded(b"ann@example.org"))), BAD, name + ": as nobody else")
        tap.equal(code_of(plain(client, "ann", PASSWORD["ann"])), (235, "2.7.0"), "but with a password as whoever has it")
        client.quit()
        for stranger in ("eve@example.org", "joe@elsewhere.example"):
            client = make(pki.context(stranger))
            tap.equal(code_of(client.ask("AUTH EXTERNAL =")), BAD, "%s: %s is no user of ours" % (name, stranger))
            client.quit()
        for which, what in (("false", "of another authority"), ("expired", "that has expired")):
            context = pki.context()
            context.load_cert_chain(os.path.join(where, which + ".crt"), os.path.join(where, which + ".key"))
            client = make(context)
            tap.ok("EXTERNAL" not in client.mechanisms(), "%s: a certificate %s says nothing" % (name, what), client.capabilities)
            tap.equal(code_of(client.ask("AUTH EXTERNAL =")), NOT_OFFERED, "and logs nobody in")
            client.quit()
        client = make()
        tap.equal(code_of(client.ask("AUTH EXTERNAL =")), NOT_OFFERED, name + ": nor does none at all")
        client.quit()


# ---- wrong ones ---------------------------------------------------------------------------------------------------------

NOBODIES = (("joe", "wrong"), ("joe", ""), ("nobody", "x"), ("nobody@example.org", "x"), ("joe@nowhere.example", "x"), ("joe@box.test", "x"),
            ("locked", "!"), ("locked", "x"), ("joe/none", PASSWORD["joe"]), ("joe/phone", PASSWORD["joe"]), ("joe", PHONE),
            ("joe/", PASSWORD["joe"]), ("@", "x"), ("team", PASSWORD["ann"]))


def wrong():
    texts = set()
    for user, password in NOBODIES:
        client = starttls(source=STRANGER)
        answer = plain(client, user, password) if password else Scram(client, user, "wrong").answer
        tap.equal(code_of(answer), BAD, "%s with %s is refused" % (user, password or "a wrong proof"))
        texts.add(answer)
        tap.equal(code_of(client.ask("MAIL FROM:<joe@example.org>")), (530, "5.7.0"), "and has not logged in")
        client.quit()
    tap.equal(len(texts), 1, "all hear the same, whoever is there and whoever not")
    server.wait_log(r"refused.*address=nobody@example\.org.*host=198\.51\.100\.66")
    tap.ok(True, "a login that failed is in the log, with name and address")
    client = starttls()
    tap.equal(code_of(plain(client, "joe", PASSWORD["joe"], "ann@example.org")), BAD, "nobody acts for somebody else")
    tap.equal(code_of(client.ask("AUTH LOGIN")), (334, "VXNlcm5hbWU6"), "LOGIN asks for the name")
    tap.equal(code_of(client.ask("*")), (501, "5.7.0"), "and may be cancelled")
    tap.equal(code_of(client.ask("AUTH PLAIN =!=")), (501, "5.5.2"), "what is no base64")
    tap.equal(code_of(client.ask("AUTH CRAM-MD5")), NOT_OFFERED, "what is not offered")
    tap.equal(code_of(plain(client, "joe", PASSWORD["joe"])), (235, "2.7.0"), "and after all that the right one")
    tap.equal(code_of(plain(client, "joe", PASSWORD["joe"])), (503, "5.5.1"), "once")
    client.quit()
    client = starttls()
    codes = []
    try:
        for _ in range(10):
            codes.append(plain(client, "bob", "wrong")[0])
    except (ConnectionError, ValueError):
        pass
    tap.ok(codes[:4] == [535] * 4 and codes[-1] == 421 and len(codes) == 5, "the fifth guess ends the session", str(codes))
    client.close()


def hostile():
    """Lines at their limits (RFC 4954 4: 12,288 octets), and loops: each ends in a reply or in the end of the session."""
    client = starttls()
    tap.equal(code_of(client.ask("AUTH PLAIN " + "A" * 12000)), (501, "5.5.2"), "a long response that is none")
    tap.equal(code_of(client.ask("AUTH PLAIN " + "A" * 13000)), (500, "5.5.2"), "a line that is too long")
    tap.equal(client.ask("AUTH PLAIN")[0], 334, "a challenge")
    tap.equal(code_of(client.ask("A" * 13000)), (500, "5.5.6"), "and a response that is too long")
    tap.equal(client.ask("NOOP")[0], 250, "after which commands are commands again")
    client.write(b"AUTH PLAIN\r\n" + b"B" * 70000 + b"\r\nNOOP\r\n")
    tap.equal([client.reply()[0] for _ in range(3)], [334, 500, 250], "also in one piece with what is around it")
    client.quit()
    client = starttls()
    for octet in b"AUTH PLAIN " + base64.b64encode(b"\0joe\0" + PASSWORD["joe"].encode()) + b"\r\n":
        client.write(bytes([octet]))  # a record each
    tap.equal(code_of(client.reply()), (235, "2.7.0"), "a login in records of one octet")
    client.quit()
    for title, lines in (("begun and cancelled", ["AUTH LOGIN", "*"]), ("of no mechanism", ["AUTH X"]),
                         ("of SCRAM, cancelled", ["AUTH SCRAM-SHA-256 " + tls_peer.coded(b"n,,n=joe,r=abcdefgh"), "*"])):
        client, n, last = starttls(), 0, None
        try:
            while n < 1000:
                for line in lines:
                    last = client.ask(line)
                n += 1
        except (OSError, ValueError):
            pass
        tap.ok(n < 1000 and last[0] == 421, "logins %s over and over end the session" % title, "%d, %s" % (n, last))
        client.close()
    for text in ("n,,n=joe,r=", "n,,n=joe,r=" + "x" * 9000, "n,a=,n=joe,r=abcdefgh", "p=tls-unique,,n=joe,r=abcdefgh", "n,,m=1,n=joe,r=abcdefgh",
                 "n,,n=jo=3Xe,r=abcdefgh", "n,,n=joe,r=a\0bcdefgh", "n,,n=\xff,r=abcdefgh"):
        client = starttls()
        answer = client.ask("AUTH SCRAM-SHA-256 " + tls_peer.coded(text.encode("latin-1")))
        tap.ok(answer[0] // 100 == 5, "SCRAM that begins with %r is refused" % text[:30], str(answer))
        client.quit()
    client = starttls()
    client.write(b"AUTH PLAIN\r\n")
    client.reply()
    client.close()  # within an exchange
    client = starttls()
    client.write(b"AUTH PLAIN " + base64.b64encode(b"\0joe\0" + PASSWORD["joe"].encode()) + b"\r\n")
    client.close()  # while the password is looked at
    client = starttls()
    tap.equal(plain(client, "joe", PASSWORD["joe"])[0], 235, "and others log in as before")
    client.quit()


def salts(path):
    got = {}
    for user in ("nobody", "someone", "locked", "joe@nowhere.example", "joe"):
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
            client = starttls(source=HOME)
            exchange = Scram(client, user, "x", mechanism)
            tap.equal(code_of(exchange.answer), BAD, "%s: %s by %s is refused at the end" % (path, user, mechanism))
            got[user, mechanism] = exchange.salt, exchange.rounds
            client.quit()
    return got


def false_salts():
    """A name without an account seems to have one (RFC 5802 9): the same salt each time."""
    first = salts("a first time")
    tap.equal(salts("a second time"), first, "names without an account have the same salt and rounds again")
    tap.equal(len({salt for salt, _ in first.values()}), len(first), "and each its own")
    tap.equal(len({rounds for _, rounds in first.values()}), 1, "and all the same rounds")
    shape = {len(base64.b64decode(salt)) for salt, _ in first.values()}
    tap.equal(len(shape), 1, "and salts of one length")
    return first


# ---- work ---------------------------------------------------------------------------------------------------------------

def counters():
    out = {}
    for row in lib.rows_of(lib.run("status", "--json", "--control", server.control).stdout):
        out[row["name"]] = out.get(row["name"], 0) + row["value"]
    return out


def work_and_salts_after_restart():
    """Counted, and not timed: a wrong password of a user, and any of a name that is none, is one slow hash; a proof is one
    proof. Each kind comes another number of times, so that the sum tells who was spared. They count from the server's start."""
    global server
    ends()
    server = lib.start(where, LUA)
    kinds = ("ann@example.org", "absent@example.org", "ann@nowhere.example", "locked@example.org")
    n = 0
    for i, user in enumerate(kinds):
        for _ in range(1 << i):
            client = starttls(source="127.%d.0.%d" % (i + 1, n + 1))
            plain(client, user, "wrong")
            Scram(client, user, "wrong", "SCRAM-SHA-256")
            client.quit()
            n += 1

    def is_told():
        now = counters()
        return now if now.get("keys_logins_wrong", 0) >= 2 * n else None
    told = lib.wait_until(is_told, "the counters of %d wrong logins" % (2 * n))
    names = ("keys_password_hashes", "keys_scram_proofs", "keys_logins_wrong", "keys_logins_right")
    tap.equal({x: told[x] for x in names}, dict(zip(names, (n, n, 2 * n, 0))),
              "a wrong password, an unknown user, an unknown domain and a locked account cost the same work")
    if not os.path.isfile("/etc/machine-id"):  # the salts are a function of it
        tap.skip("the same salts after a restart", "needs /etc/machine-id")
        return
    tap.equal(salts("after a restart"), false_before, "names without an account have the same salts after a restart")


def guesses():
    """service/keys/guess.h: a user's allowance is not that of an address he has come from before."""
    for make in (starttls, implicit):
        client = make(source=HOME)
        tap.equal(plain(client, "bob", PASSWORD["bob"])[0], 235, "bob logs in from home")
        client.quit()
    codes = []
    while len(codes) < 60 and 454 not in codes:
        client = starttls(source=STRANGER)
        try:
            for _ in range(4):
                codes.append(plain(client, "bob", "guess")[0])
                if codes[-1] == 454:
                    break
        finally:
            client.close()
    tap.ok(set(codes) == {535, 454} and codes[-1] == 454 and len(codes) < 60, "too many guesses are not looked at", str(codes))
    client = starttls(source=STRANGER)
    tap.equal(code_of(plain(client, "bob", PASSWORD["bob"])), LATER, "nor is a right one from there")
    tap.equal(code_of(Scram(client, "bob", PASSWORD["bob"]).answer), LATER, "by whatever mechanism")
    client.quit()
    server.wait_log(r"refused.*address=bob.*198\.51\.100\.66.*too many")
    client = starttls(source=HOME)
    tap.equal(code_of(plain(client, "bob", PASSWORD["bob"])), (235, "2.7.0"), "bob still logs in from home")
    client.quit()
    client = starttls(source="127.0.0.1")
    tap.equal(code_of(plain(client, "ann", PASSWORD["ann"])), (235, "2.7.0"), "and others from anywhere")
    client.quit()


# ---- what they send -----------------------------------------------------------------------------------------------------

def logged_in(port=587, user="joe"):
    client = tls_peer.Smtp(port, pki.context(), implicit=port == 465)
    if port != 465:
        client.starttls()
    if plain(client, user, secret_of(user))[0] != 235:
        raise RuntimeError("no login")
    return client


def senders():
    client = logged_in()
    for sender, want in (("joe@example.org", None), ("JOE@Example.ORG", None), ("joe+shop@example.org", None), ("joe@shop.example", None),
                         ("any@news.example", None), ("", None), ("ann@example.org", 550), ("team@example.org", 550),
                         ("all@example.org", 550), ("joe@elsewhere.example", 550), ("joe@sub.news.example", 550),
                         ("nobody@example.org", 550)):
        answer = client.envelope(sender, [])
        tap.equal(answer and code_of(answer), want and (want, "5.7.1"), "joe as <%s>" % sender)
        client.ask("RSET")
    client.quit()
    client = logged_in(user="ann")
    tap.ok(client.envelope("team@example.org", []) is None, "an alias that leads to ann alone is hers")
    client.quit()
    client = logged_in(user="joe/phone")
    tap.equal([client.envelope("joe@example.org", []), client.ask("RSET")[0], code_of(client.envelope("ann@example.org", []))],
              [None, 250, (550, "5.7.1")], "with the password of a program he is himself and nobody else")
    client.quit()


def traces():
    for port, hides in ((587, False), (465, False), (588, True)):
        box, client = next(boxes), logged_in(port)
        text = b"Subject: one\r\nTo: b@box.test\r\nBcc: secret@box.test,\r\n other@box.test\r\n\r\nBcc: in the body\r\n"
        answer = client.send("joe@example.org", [box + "@box.test"], text)
        id_ = lib.id_of(answer)
        client.quit()
        got = arrived(box)
        head, _, body = got.partition(b"\n\n")
        tap.ok(re.search(rb"(?m)^Date: ", head) and re.search(rb"(?m)^Message-ID: <", head), "%d: Date and Message-ID are added" % port, head)
        tap.ok(b"Bcc" not in head and b"secret@" not in head and body == b"Bcc: in the body\n", "%d: Bcc goes" % port, got)
        received = re.search(rb"(?m)^Received: .*\n(?:[ \t].*\n)*", got)[0].decode()
        tap.ok(re.search(r"\bwith ESMTPSA\b", received), "%d: it came with ESMTPSA" % port, received)
        tap.ok((HOST in received.partition("by ")[0]) == (not hides) and ("client.example.org" in received) == (not hides),
               "%d: who it came from is %s" % (port, "nobody's business" if hides else "told"), received)
        events = server.why(id_)
        tap.ok(events and "192.0.2.1" in json.dumps(events), "%d: the journal has it either way" % port, str(events))
    client = logged_in()
    tap.equal(client.send("joe@example.org", ["x@elsewhere.example"], b"Subject: x\r\n\r\nx\r\n")[0], 250, "and mail to anywhere is taken")
    client.quit()


# ---- programs of others -------------------------------------------------------------------------------------------------

def tool(args, octets=b"", env=None):
    """What went wrong, or None."""
    done = subprocess.run(args, input=octets, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S, env=env)
    return None if done.returncode == 0 else "exit code %d: %s" % (done.returncode, done.stdout.decode("utf-8", "replace")[-1500:])


MESSAGE = b"Subject: by %s\r\nFrom: joe@example.org\r\nTo: b@box.test\r\n\r\nhello\r\n"


def check(title, problem, box, wanted=True):
    """Sent, arrived, as a user."""
    if not wanted:
        tap.ok(problem, title + " goes nowhere", "it was sent")
        return
    if tap.ok(problem is None, title, problem):
        tap.ok(b"ESMTPSA" in arrived(box), title + ": arrives as a user's")


def by_smtplib():
    host = OTHER_HOSTS["smtplib"]
    for port in (587, 465):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", None):
            for user, password, right in (("joe@example.org", PASSWORD["joe"], mechanism != "CRAM-MD5"), ("joe@example.org", "no", False)):
                box, problem = next(boxes), None
                context = pki.context()
                smtp = smtplib.SMTP_SSL(host, port, "c.example", context=context) if port == 465 else smtplib.SMTP(host, port, "c.example")
                try:
                    if port != 465:
                        smtp.starttls(context=context)
                    smtp.ehlo_or_helo_if_needed()
                    smtp.user, smtp.password = user, password
                    if mechanism:
                        smtp.auth(mechanism, getattr(smtp, "auth_" + mechanism.lower().replace("-", "_")))
                    else:
                        smtp.login(user, password)
                    smtp.sendmail("joe@example.org", [box + "@box.test"], MESSAGE % b"smtplib")
                except smtplib.SMTPAuthenticationError as e:
                    problem = str(e)
                    want = 504 if mechanism == "CRAM-MD5" else 535
                    tap.equal(e.smtp_code, want, "smtplib, %d, %s: the code of a refusal" % (port, mechanism))
                finally:
                    smtp.close()
                check("smtplib, %d, %s, %s" % (port, mechanism, "right" if right else "wrong"), problem, box, right)


def msmtp():
    host = OTHER_HOSTS["msmtp"]
    known = subprocess.run(["msmtp", "--version"], stdout=subprocess.PIPE, text=True).stdout
    known = re.search(r"authentication methods:\n(.*)", known)[1].split()
    for port in (587, 465):
        for method in known + ["on"]:
            upper = method.upper()
            wanted = method == "on" or upper in MAY or method == "external"
            for password in (PASSWORD["joe"], "wrong"):
                if password == "wrong" and not (wanted and method != "external"):
                    continue
                box = next(boxes)
                conf = lib.file_of(os.path.join(where, "msmtprc"), """account default
host %s
port %d
domain client.example.org
tls on
tls_starttls %s
tls_trust_file %s
auth %s
user joe@example.org
password "%s"
from joe@example.org
""" % (host, port, "off" if port == 465 else "on", pki.file, method, password))
                if method == "external":
                    with open(conf, "a", encoding="utf-8") as f:
                        f.write("tls_cert_file %s\ntls_key_file %s\n" % (pki.path("joe@example.org.crt"), pki.path("joe@example.org.key")))
                os.chmod(conf, 0o600)
                problem = tool(["msmtp", "--file=" + conf, "--", box + "@box.test"], MESSAGE.replace(b"\r\n", b"\n") % b"msmtp")
                right = wanted and password != "wrong"
                check("msmtp, %d, %s, %s" % (port, method, "right" if password != "wrong" else "wrong"), problem, box, right)
                if wanted and not right:
                    tap.ok("535" in str(problem), "msmtp, %d, %s: 535 is what it was told" % (port, method), str(problem))


def swaks():
    host = OTHER_HOSTS["swaks"]
    for port in (587, 465):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "ANY"):
            for password in (PASSWORD["joe"], "wrong"):
                box = next(boxes)
                problem = tool(["swaks", "--server", host, "--port", str(port), "--tls" if port == 587 else "--tls-on-connect", "--tls-verify",
                                "--tls-ca-path", pki.file, "--auth", mechanism, "--auth-user", "joe@example.org", "--auth-password", password,
                                "--from", "joe@example.org", "--to", box + "@box.test", "--helo", "client.example.org"])
                check("swaks, %d, %s, %s" % (port, mechanism, "right" if password != "wrong" else "wrong"), problem, box,
                      password != "wrong" and mechanism != "CRAM-MD5")


def curl():
    host = OTHER_HOSTS["curl"]
    for port in (587, 465):
        for mechanism in ("PLAIN", "LOGIN", "*"):
            box = next(boxes)
            url = ("smtps" if port == 465 else "smtp") + "://%s:%d/client.example.org" % (host, port)
            problem = tool(["curl", "-sS", "--url", url, "--ssl-reqd", "--cacert", pki.file, "--user", "joe@example.org:" + PASSWORD["joe"],
                            "--login-options", "AUTH=" + mechanism, "--mail-from", "joe@example.org", "--mail-rcpt", box + "@box.test", "-T",
                            lib.file_of(os.path.join(where, "curl.eml"), (MESSAGE % b"curl").decode())])
            check("curl, %d, %s" % (port, mechanism), problem, box)


NODE = """
const spec = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const transport = require('nodemailer').createTransport(spec.transport)
transport.sendMail(spec.mail).then(() => process.exit(0), e => { console.log(e.responseCode, String(e)); process.exit(1) })
"""


def nodemailer():
    host = OTHER_HOSTS["nodemailer"]
    modules = os.path.join(peers.UNPACKED, "nodemailer", "node_modules")
    if not os.path.isdir(os.path.join(modules, "nodemailer")) or shutil.which("node") is None:
        tap.skip("nodemailer", "needs node and %s/nodemailer (packaging/setup.sh with WAXWING_PEERS=yes)" % modules)
        return
    with open(pki.file, encoding="ascii") as f:
        ca = f.read()
    for port in (587, 465):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", None):
            for password in (PASSWORD["joe"], "wrong"):
                box = next(boxes)
                auth = {"user": "joe@example.org", "pass": password}
                if mechanism == "XOAUTH2":
                    auth = {"type": "OAuth2", "user": "joe@example.org", "accessToken": "x"}
                transport = {"host": host, "port": port, "secure": port == 465, "requireTLS": True, "name": "client.example.org", "auth": auth,
                             "tls": {"ca": ca, "servername": NAME}}
                if mechanism:
                    transport["authMethod"] = mechanism
                spec = {"transport": transport,
                        "mail": {"from": "joe@example.org", "to": box + "@box.test", "subject": "by node", "text": "hello"}}
                problem = tool(["node", "-e", NODE], json.dumps(spec).encode(), dict(os.environ, NODE_PATH=modules))
                check("nodemailer, %d, %s, %s" % (port, mechanism, "right" if password != "wrong" else "wrong"), problem, box,
                      password != "wrong" and mechanism in ("PLAIN", "LOGIN", None))


class Unwrap:
    """A port in plain text before 465: for a client that knows STARTTLS only."""

    def __init__(self, host, context):
        self.host, self.context = host, context
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client = self.listener.accept()[0]
            there = self.context.wrap_socket(socket.create_connection((self.host, 465)), server_hostname=NAME)
            for ends in ((client, there), (there, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    @staticmethod
    def _pass(source, target):
        try:
            while octets := source.recv(1 << 16):
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, target):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is over


def gsasl():
    host = OTHER_HOSTS["gsasl"]
    known = subprocess.run(["gsasl", "--client-mechanisms"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                           text=True).stdout.split()
    plain_port = Unwrap(host, pki.context()).port
    with_certificate = ["--x509-cert-file=" + pki.path("joe@example.org.crt"), "--x509-key-file=" + pki.path("joe@example.org.key")]
    for title, port, more in (("587, TLS 1.3", 587, ["--starttls"]),
                              ("587, TLS 1.2", 587, ["--starttls", "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2"]),
                              ("465", plain_port, ["--no-starttls"])):
        for mechanism in known:
            if mechanism in ("GSSAPI", "GS2-KRB5", "SECURID", "SAML20", "OPENID20"):
                continue  # these ask for more than a name and a password before they say anything
            is_plus = mechanism.endswith("-PLUS")
            wanted = mechanism.replace("-PLUS", "") in MAY or (mechanism == "EXTERNAL" and port == 587)
            if is_plus and title != "587, TLS 1.3":
                wanted = False  # there it binds to tls-unique, which is not offered, and over the unwrapped port to nothing
            args = ["gsasl", "--client", "--smtp", "--connect=%s:%d" % (host, port), "--hostname=" + NAME, "--x509-ca-file=" + pki.file,
                    "-m", mechanism, "-a", "joe@example.org", "-n", "x"]
            if not is_plus:
                args.append("--no-cb")  # it takes SCRAM without -PLUS for an attack where it could bind
            for password in (PASSWORD["joe"], "wrong"):
                if password == "wrong" and mechanism == "EXTERNAL":
                    continue
                problem = tool(args + ["-p", password] + more + (with_certificate if mechanism == "EXTERNAL" else []))
                right = wanted and password != "wrong"
                tap.ok((problem is None) == right, "gsasl, %s, %s, %s: %s" % (title, mechanism, "right" if password != "wrong" else "wrong",
                                                                        "in" if right else "out"), str(problem))


def ends():
    tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
    tap.equal(server.stop(), 0, "the server ends well")


# ---- all of it ----------------------------------------------------------------------------------------------------------

false_before = None
for part, needs in ((offers, None), (by_hand, None), (outside_ascii, None), (external, None), (wrong, None), (hostile, None), (false_salts, None), (senders, None), (traces, None),
                    (by_smtplib, None), (msmtp, "msmtp"), (swaks, "swaks"), (curl, "curl"), (nodemailer, None), (gsasl, "gsasl"),
                    (guesses, None), (work_and_salts_after_restart, None)):
    if needs and shutil.which(needs) is None:
        tap.skip(part.__name__, "needs " + needs)
        continue
    try:
        if part is false_salts:
            false_before = part()
        else:
            part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s" % (type(e).__name__, e, server.log()))
ends()
tap.end()

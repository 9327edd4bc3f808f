#!/usr/bin/env python3
"""TLS on the way in: what is negotiated and what is not, certificates by name and renewed, resumption, and whoever tries to
get past it: commands behind STARTTLS, other protocols, handshakes that go wrong, processes that die under them."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import tls_peer
from tls_peer import openssl

HOST, NAME, OTHER = "192.0.2.1", "mx.example.org", "mail.other.test"
SESSIONS = 60
SHAKE_S = 60  # service/smtpd/smtpd.h: SMTPD_TLS_MS

tap = lib.Tap()
lib.inside(["openssl"])
where = lib.folder()
pki = tls_peer.Pki(where)
pki.make("ec", NAME, names=["DNS:" + NAME])
pki.make("rsa", NAME, tls_peer.RSA, names=["DNS:" + NAME])
pki.make("other", OTHER, names=["DNS:" + OTHER, "DNS:*.wild.test"])
for name in ("ec", "rsa", "other"):
    os.chmod(pki.path(name + ".key"), 0o600)
LUA = """hostname "mx.example.org"
postmaster "joe@box.test"
resolver { "127.0.0.53" }
limits { sessions_per_client = 0%s }
processes { smtpd = %d }
tls { cert = "ec.crt", key = "ec.key"%s }
tls { cert = "rsa.crt", key = "rsa.key" }
tls { cert = "other.crt", key = "other.key" }
listen { port = 25, address = "192.0.2.1" }
listen { port = 465, address = "192.0.2.1", tls = "implicit" }
listen { port = 466, address = "192.0.2.1", tls = "implicit", proxy = true }
domain "box.test" """
DOMAIN = lib.maildir_lua(where) + "\n"
server = lib.start(where, LUA % ("", 2, "") + DOMAIN)
boxes = ("u%d" % i for i in range(10000))


def arrived(box):
    path = os.path.join(lib.mail_folder(where), "box.test", box)
    return lib.wait_until(lambda: lib.messages_in(path), "mail for " + box)[0]


def implicit(context=None, **kw):
    return tls_peer.Smtp(465, context or pki.context(), implicit=True, **kw)


def starttls(context=None, **kw):
    return tls_peer.Smtp(25, context or pki.context(), **kw).starttls()


def goes_through(client, title):
    box = next(boxes)
    answer = client.send("a@client.test", [box + "@box.test"], b"Subject: x\r\n\r\nx\r\n")
    return tap.ok(answer[0] == 250 and arrived(box), title, str(answer))


def restart(limits="", n_smtpd=2, options=""):
    global server
    ends()
    server = lib.start(where, LUA % (limits, n_smtpd, options) + DOMAIN)


def ends():
    tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
    tap.equal(server.stop(), 0, "the server ends well")


def until_end(s):
    """All that comes until the peer closes; a reset is an end."""
    out = b""
    try:
        while octets := s.recv(1 << 16):
            out += octets
    except ConnectionResetError:
        pass
    return out


# ---- what is negotiated -------------------------------------------------------------------------------------------------

WORST = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def probe(*options, port=465):
    """What s_client says of a handshake with these options: (protocol, suite, group or None, key of the server), or None."""
    args = ["openssl", "s_client", "-connect", "%s:%d" % (HOST, port), "-CAfile", pki.file] + (["-starttls", "smtp"] if port == 25 else [])
    done = subprocess.run(args + list(options), input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S,
                          env=dict(os.environ, OPENSSL_CONF="/dev/null"))
    text = done.stdout.decode("utf-8", "replace")
    found = re.search(r"(?m)^New, (\S+), Cipher is (\S+)$", text)
    if not found or found[2] == "(NONE)":
        return None
    version = re.search(r"(?m)^\s*Protocol\s*: (\S+)$", text)
    group = re.search(r"(?m)^Server Temp Key: (\w+)(?:, ([\w-]+))?", text)
    kind = re.search(r"(?m)^Peer signature type: (\S+)$", text)
    return (version[1] if version else found[1], found[2], group and (group[2] if group[1] == "ECDH" else group[1]), kind and kind[1])


def versions(is_legacy):
    for port in (465, 25):
        got = {v for v in ("tls1", "tls1_1", "tls1_2", "tls1_3") if probe("-" + v, "-cipher", WORST, port=port)}
        want = {"tls1_2", "tls1_3"} | ({"tls1", "tls1_1"} if is_legacy else set())
        tap.equal(got, want, "%d%s: the versions of TLS" % (port, " with legacy = true" if is_legacy else ""))
    if not is_legacy:
        tap.ok(not probe("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA256"), "no CBC")
    else:
        tap.ok(probe("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"), "legacy = true: CBC")
    names = openssl("ciphers", "-s", "-tls1_2", WORST).strip().split(":")
    names = [n for n in names if not n.startswith("TLS_")]
    taken = {n for n in names if probe("-tls1_2", "-cipher", n + ":@SECLEVEL=0")}
    good = {n for n in names if re.match(r"ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-SHA\d+|CHACHA20-POLY1305)$", n)}
    old = {n for n in names if re.match(r"ECDHE-(ECDSA|RSA)-AES(128|256)-SHA(256|384)?$", n)}
    tap.equal(taken, good | (old if is_legacy else set()), "of %d suites of TLS 1.2 only good ones are taken%s" %
              (len(names), ", and old ones with forward secrecy" if is_legacy else ""))
    tap.ok(not probe("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"), "no short tags in TLS 1.3")


def groups():
    good = {"X25519": "X25519", "P-256": "prime256v1", "P-384": "secp384r1"}
    bad = ("P-521", "X448", "secp224r1", "secp192r1", "secp256k1", "brainpoolP256r1", "sect283k1", "ffdhe2048", "ffdhe3072")
    for name in list(good) + list(bad):
        got = probe("-groups", name, "-cipher", WORST)
        tap.ok((got is not None) == (name in good), "group %s is %s" % (name, "taken" if name in good else "not taken"), str(got))
    # RFC 8446 4.1.4: a client that guessed a group that we have not is asked for another
    got = probe("-tls1_3", "-groups", "P-521:P-384")
    tap.ok(got and got[2] in ("secp384r1", "P-384"), "a client is asked for another group", str(got))


def keys_of_one_name():
    for options, kind in ((("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "RSA"), (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), "ECDSA"),
                          (("-tls1_3", "-sigalgs", "RSA-PSS+SHA256"), "RSA"), (("-tls1_3", "-sigalgs", "ECDSA+SHA256"), "ECDSA")):
        for name in (NAME, None):
            got = probe(*options, *(("-servername", name) if name else ("-noservername",)))
            tap.ok(got and got[3].startswith(kind), "%s, %s: the certificate of the other kind of key" % (" ".join(options), name), str(got))
    tap.ok(not probe("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-servername", OTHER), "a name that has no RSA key gets none")


def names():
    for name, want in ((NAME, "ec"), (NAME.upper(), "ec"), (OTHER, "other"), ("a.wild.test", "other"), ("a.b.wild.test", "ec"),
                       ("nobody.test", "ec"), (None, "ec")):
        context = pki.context()
        context.check_hostname = False
        for make in (implicit, starttls):
            client = make(context, name=name)
            tap.equal(client.fingerprint(), pki.fingerprint(want), "%s by %s: the certificate %s" % (name, make.__name__, want))
            client.quit()


def alpn():
    for offered, want in ((["smtp"], "smtp"), (["h2", "http/1.1", "smtp"], "smtp"), (None, None)):
        context = pki.context()
        if offered:
            context.set_alpn_protocols(offered)
        client = implicit(context)
        tap.equal(client.socket.selected_alpn_protocol(), want, "ALPN %s" % offered)
        client.quit()
    for offered in (["http/1.1"], ["h2", "http/1.1"], ["smtpx"], ["imap"]):
        context = pki.context()
        context.set_alpn_protocols(offered)
        try:
            implicit(context)
            tap.ok(False, "ALPN %s is refused" % offered)
        except ssl.SSLError as e:
            tap.ok("no application protocol" in str(e).lower().replace("_", " "), "ALPN %s is refused as such" % offered, str(e))


# ---- what stands behind STARTTLS ------------------------------------------------------------------------------------------

def raw(port=25, hello=True):
    client = lib.Smtp(port, HOST, hello="client.example.org" if hello else None)
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def rest_of(client):
    """What it says in plain text until it closes."""
    out = b""
    try:
        while line := client.file.readline():
            out += line
    except ConnectionResetError:
        pass
    client.close()
    return out


def injection():
    mail = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<injected@box.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
    for title, behind in (("a command", b"NOOP\r\n"), ("a whole message", mail), ("EHLO", b"EHLO x\r\n"), ("one octet", b"N"), ("an LF", b"\n"),
                          ("an octet of a handshake", b"\x16"), ("another STARTTLS", b"STARTTLS\r\n")):
        client = raw()
        client.write(b"STARTTLS\r\n" + behind)
        said = rest_of(client)
        tap.ok(re.fullmatch(rb"(220 2\.0\.0 [^\r]*\r\n)?554 5\.5\.1 [^\r]*\r\n", said), title + " in the packet of STARTTLS ends the session",
               repr(said))
        # in a packet of its own it is no handshake: nothing is said in plain text any more
        client = raw()
        client.write(b"STARTTLS\r\n")
        answer = client.reply()
        client.write(behind)
        if title in ("one octet", "an octet of a handshake"):
            client.write(b"\x00" * 11)  # and more that is none
        said = rest_of(client)
        tap.ok(answer[0] == 220 and not re.search(rb"(?m)^\d\d\d[ -]", said), title + " in a packet behind it is no command", repr(said))
        # and as two packets that come together, whichever way they are read
        client = raw()
        client.write(b"STARTTLS\r\n")
        client.write(behind + b"\x00" * 11)
        said = rest_of(client)
        tap.ok(not re.search(rb"(?m)^250", said) and said.count(b"220 ") <= 1, title + " right behind it, too", repr(said))
    # RFC 3207 4.2: what was said before TLS is forgotten
    client = tls_peer.Smtp(25, pki.context())
    client.ask("MAIL FROM:<a@client.test>")
    tap.equal(client.ask("STARTTLS")[0], 503, "no STARTTLS within a transaction")
    client.ask("RSET")
    client.ask("STARTTLS")
    client.wrap()
    tap.equal(client.ask("MAIL FROM:<a@client.test>")[0], 503, "a new EHLO is needed")
    client.ask("EHLO client.example.org")
    tap.ok(goes_through(client, "and then mail comes"), "over STARTTLS")
    client.quit()
    client = raw()
    tap.equal(client.ask("STARTTLS now")[0], 501, "STARTTLS with an argument is none")
    client.quit()
    tap.equal(os.path.exists(os.path.join(lib.mail_folder(where), "box.test", "injected")), False, "no injected message came")


# ---- certificates that change --------------------------------------------------------------------------------------------

def renewals():
    old = implicit()
    before = old.fingerprint()
    since = server.mark()
    pki.make("ec", NAME, names=["DNS:" + NAME])
    server.wait_log(r"certificate\.loaded.*ec\.crt", since)

    def fresh(want, title):
        client = implicit()
        tap.equal(client.fingerprint(), want, title)
        goes_through(client, title + ": mail")
        client.quit()
    now = pki.fingerprint("ec")
    tap.ok(now != before and old.fingerprint() == before, "there is a new certificate")
    lib.wait_until(lambda: fingerprint_now() == now, "the new certificate in use")
    fresh(now, "a new session has it")
    goes_through(old, "the session of the old one lives on")
    old.quit()
    with open(pki.path("ec.crt"), "rb") as f:
        good = f.read()
    with open(pki.path("rsa.crt"), "rb") as f:
        stranger = f.read()
    try:
        bad_ones(good, stranger, fresh, now)
    finally:
        put(good)
    fresh(now, "the good one again")
    expired()
    since = server.mark()
    pki.make("ec", NAME, names=["DNS:" + NAME])
    server.wait_log(r"certificate\.loaded.*ec\.crt", since)
    lib.wait_until(lambda: fingerprint_now() == pki.fingerprint("ec"), "the new certificate in use")
    tap.ok(True, "and the next renewal is taken")


def put(octets):
    with open(pki.path("new.crt"), "wb") as f:
        f.write(octets)
    os.rename(pki.path("new.crt"), pki.path("ec.crt"))


def bad_ones(good, stranger, fresh, now):
    for title, octets, pattern in (("garbage", b"\x00\xff garbage\n" * 100, "."),
                                   ("half a certificate", good[:len(good) // 2], "."),
                                   ("the certificate of another key", stranger, "belong")):
        since = server.mark()
        put(octets)
        line = server.wait_log(r"secret\.refused.*ec\.crt.*the one in force", since)
        tap.ok(re.search(pattern, line), title + " is refused, and the log says so", line)
        fresh(now, title + " leaves the old one in force")


def expired():
    """Clients that look will refuse it, servers mostly do not look, and without TLS nobody is better off."""
    since = server.mark()
    openssl("req", *tls_peer.EC, "-nodes", "-subj", "/CN=" + NAME, "-keyout", pki.path("new.key"), "-out", pki.path("new.csr"))
    lib.file_of(pki.path("index"), "")
    lib.file_of(pki.path("serial"), "1000\n")
    lib.file_of(pki.path("ca.conf"), "[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\n[p]\n"
                "commonName=supplied\n" % (pki.path("index"), pki.path("serial"), where))
    openssl("ca", "-batch", "-config", pki.path("ca.conf"), "-in", pki.path("new.csr"), "-cert", pki.file, "-keyfile", pki.path("ca.key"),
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-notext", "-out", pki.path("new.crt"))
    os.rename(pki.path("new.key"), pki.path("ec.key"))
    os.rename(pki.path("new.crt"), pki.path("ec.crt"))
    line = server.wait_log(r"(secret|certificate)\..*ec\.crt.*expired", since)
    tap.ok(line, "one whose time is over: the log says so", line)
    tap.say(line)
    client = implicit(lenient())
    goes_through(client, "and mail still comes")
    client.quit()


def lenient():
    context = pki.context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fingerprint_now():
    client = implicit(lenient())
    try:
        return client.fingerprint()
    finally:
        client.quit()


# ---- resumption -----------------------------------------------------------------------------------------------------------

AGAIN = 8  # more than once, so that the other process has to know of it too


def resumed(version, make):
    """How many of AGAIN connections go on with the session of the first."""
    context = pki.context(version=version)
    client = make(context)
    client.ask("NOOP")  # in TLS 1.3 the ticket comes behind the handshake
    session, n = client.socket.session, 0
    client.quit()
    for _ in range(AGAIN):
        s = socket.create_connection((HOST, 465), lib.DEADLINE_S)
        again = context.wrap_socket(s, server_hostname=NAME, session=session)
        n += again.session_reused
        greeting = again.recv(1000)
        if not greeting.startswith(b"220 "):
            tap.ok(False, "a connection goes on to its greeting", repr(greeting))
        again.close()
    return n


def tickets(are_there):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for make in (implicit, starttls):
            tap.equal(resumed(version, make), AGAIN if are_there else 0, "%s by %s: a session is %sresumed by whichever process" %
                      (version.name, make.__name__, "" if are_there else "not "))


# ---- those who do not go through with it -------------------------------------------------------------------------------------

def hello_of(context, name=NAME):
    """The octets of a ClientHello, and what goes on with them: (object, in, out)."""
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(there, here, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return here.read(), tls, there, here


def go_on(s, tls, there, here):
    """Ends the handshake of hello_of() on the socket, and reads a line."""
    line = b""
    while not line.endswith(b"\n"):
        try:
            if tls.version() is None or not line:
                tls.do_handshake()
            line += tls.read(1000)
        except ssl.SSLWantReadError:
            s.sendall(here.read())
            octets = s.recv(1 << 16)
            if not octets:
                raise ConnectionError("closed within: %r" % line)
            there.write(octets)
    return line


def proxied():
    headers = {"version 1": b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 466\r\n",
               "version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("203.0.113.9") + socket.inet_aton(HOST) +
               struct.pack(">HH", 1234, 466)}
    for title, header in headers.items():
        for how in ("at once", "one octet at a time"):
            hello, tls, there, here = hello_of(pki.context())
            s = socket.create_connection((HOST, 466), lib.DEADLINE_S)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if how == "at once":
                s.sendall(header + hello)
            else:
                for i in range(len(header + hello)):
                    s.sendall((header + hello)[i:i + 1])
            line = go_on(s, tls, there, here)
            tap.ok(line.startswith(b"220 "), "PROXY %s and a handshake, %s" % (title, how), repr(line))
            box = next(boxes)
            tls.write(b"EHLO c.example\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<%s@box.test>\r\nDATA\r\n" % box.encode())
            tls.write(b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
            s.sendall(here.read())
            until_end(s)
            s.close()
            tap.ok(b"203.0.113.9" in arrived(box), "and the client is whom the header names")
    hello = hello_of(pki.context())[0]
    s = socket.create_connection((HOST, 466), lib.DEADLINE_S)
    s.sendall(hello)
    tap.equal(until_end(s), b"", "a handshake without the header is closed")
    s.close()


def other_protocols():
    for title, octets in (("HTTP", b"GET / HTTP/1.1\r\nHost: mx.example.org\r\n\r\n"), ("SMTP", b"EHLO client.example.org\r\n"),
                          ("garbage", bytes(range(256)) * 8), ("zeros", b"\0" * 2000), ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\0" * 40),
                          ("a record that is too long", b"\x16\x03\x01\xff\xff" + b"\x01" * 2000),
                          ("application data first", b"\x17\x03\x03\x00\x05hello"), ("an alert", b"\x15\x03\x03\x00\x02\x02\x28")):
        s = socket.create_connection((HOST, 465), lib.DEADLINE_S)
        s.sendall(octets)
        said = until_end(s)
        s.close()
        tap.ok(not re.search(rb"(?m)^(220|250|HTTP)", said), title + " at 465 is closed", repr(said))
    client = implicit(hello=None)
    client.write(b"GET / HTTP/1.1\r\nHost: mx.example.org\r\n\r\n")
    said = rest_of(client)
    tap.ok(re.match(rb"5\d\d ", said) and said.count(b"\r\n") == 1, "HTTP within TLS is told, once, and closed", repr(said))
    client = raw()
    client.write(hello_of(pki.context())[0])
    said = rest_of(client)
    tap.ok(said.startswith(b"554 5.5.1 "), "TLS at the port that begins in plain text is told", repr(said))


class Hanging:
    """Connections that stop at some point of the handshake. They are made first, and looked at when their time is up."""

    def __init__(self):
        hello = hello_of(pki.context())[0]
        self.began = time.monotonic()
        self.sockets = {}
        for title, octets in (("before the first octet", b""), ("within the header of a record", hello[:3]), ("within the hello", hello[:100]),
                              ("behind the hello", hello)):
            s = socket.create_connection((HOST, 465), SHAKE_S * 2)
            s.sendall(octets)
            self.sockets[title] = s
        client = raw()
        client.ask("STARTTLS")
        self.sockets["behind STARTTLS"] = client.socket

    def look(self):
        for title, s in self.sockets.items():
            until_end(s)
            s.close()
            tap.ok(True, "a client that hangs %s is closed" % title)
        tap.say("after %d s" % (time.monotonic() - self.began))


def fragments():
    """One octet a packet, and one octet a record."""
    for size, title in ((1, "one octet"), (7, "seven octets")):
        hello, tls, there, here = hello_of(pki.context())
        s = socket.create_connection((HOST, 465), lib.DEADLINE_S)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(hello), size):
            s.sendall(hello[i:i + size])
        tap.ok(go_on(s, tls, there, here).startswith(b"220 "), "a hello in packets of " + title)
        s.close()
    hello, tls, there, here = hello_of(pki.context())
    inner = hello[5:]
    for size in (1, 50):
        hello, tls, there, here = hello_of(pki.context())
        inner = hello[5:]
        s = socket.create_connection((HOST, 465), lib.DEADLINE_S)
        s.sendall(b"".join(b"\x16\x03\x01" + struct.pack(">H", len(inner[i:i + size])) + inner[i:i + size] for i in range(0, len(inner), size)))
        try:
            line = go_on(s, tls, there, here)
        except (ConnectionError, ssl.SSLError) as e:
            line = str(e).encode()
        tap.ok(line.startswith(b"220 "), "a hello in records of %d octets" % size, repr(line))
        s.close()


def huge_hello():
    """A hello as long as one may say that it is, sent up to its end: it is closed, and holds no memory of it."""
    size = (1 << 24) - 1
    s = socket.create_connection((HOST, 465), lib.DEADLINE_S)
    body = b"\x01" + struct.pack(">I", size)[1:] + b"\x03\x03" + b"\x5a" * (1 << 20)
    sent = 0
    try:
        for i in range(0, len(body), 16384):
            piece = body[i:i + 16384]
            s.sendall(b"\x16\x03\x01" + struct.pack(">H", len(piece)) + piece)
            sent += len(piece)
        said = until_end(s)
    except (BrokenPipeError, ConnectionResetError):
        said = b""
    tap.ok(b"220" not in said, "a hello of 16 MiB is closed", repr(said[:100]))
    s.close()


def renegotiation():
    done = subprocess.run(["openssl", "s_client", "-connect", HOST + ":465", "-tls1_2", "-CAfile", pki.file], input=b"R\nNOOP\r\n",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S)
    text = done.stdout.decode("utf-8", "replace")
    tap.ok("RENEGOTIATING" in text and ("no renegotiation" in text or "handshake failure" in text), "no renegotiation", text[-600:])


def by_testssl():
    """What testssl.sh says of versions and of known weaknesses, but for those whose search takes minutes."""
    path = os.path.join(where, "testssl.json")
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "min", "--ip", HOST, "--openssl-timeout", "10",
                    "--add-ca", pki.file, "--jsonfile", path, "--protocols", "--heartbleed", "--ccs-injection", "--ticketbleed", "--robot",
                    "--renegotiation", "--crime", "%s:465" % NAME], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, timeout=240)
    with open(path, encoding="utf-8") as f:
        rows = {row["id"]: row for row in json.load(f)}
    tap.ok(rows.get("TLS1_3", {}).get("finding", "").startswith("offered"), "testssl got through", str(rows)[:2000])
    tap.equal({i: r["finding"] for i, r in rows.items() if r["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")}, {},
              "testssl: none of %d findings is grave" % len(rows))


# ---- many, and death ------------------------------------------------------------------------------------------------------------

def many(n=200):
    """All at once: connected first, then shaking hands."""
    sockets = [socket.create_connection((HOST, 465), lib.DEADLINE_S) for _ in range(n)]
    context, results, start = pki.context(), [], threading.Barrier(n)

    def shake(s):
        start.wait()
        try:
            tls = context.wrap_socket(s, server_hostname=NAME)
            results.append(tls.recv(1000)[:4])
            tls.close()
        except OSError as e:
            results.append(str(e))
    threads = [threading.Thread(target=shake, args=(s,)) for s in sockets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    tap.equal([r for r in results if r != b"220 "], [], "%d handshakes at once" % n)


def deaths():
    for round_ in range(3):
        stop, ends_, hung = threading.Event(), [], []

        def shake():
            while not stop.is_set():
                try:
                    client = implicit(timeout_s=30)
                    client.quit()
                    ends_.append("good")
                except TimeoutError as e:
                    hung.append(str(e))
                except (OSError, ValueError) as e:
                    ends_.append(type(e).__name__)
        threads = [threading.Thread(target=shake) for _ in range(8)]
        for t in threads:
            t.start()
        lib.wait_until(lambda: len(ends_) >= 20, "handshakes under way")
        old = server.pid("keys")
        os.kill(old, signal.SIGKILL)
        lib.wait_until(lambda: server.pids().get(("keys", 0), old) != old, "another keys process")
        before = ends_.count("good")
        lib.wait_until(lambda: ends_.count("good") >= before + 8, "handshakes with the new one")
        stop.set()
        for t in threads:
            t.join()
        tap.ok(not hung, "keys dies under handshakes (%d): none hangs, new ones go through" % round_, str(hung))
        tap.say("%d good, %d failed" % (ends_.count("good"), len(ends_) - ends_.count("good")))
    old = implicit()
    os.kill(server.pid("keys"), signal.SIGKILL)
    tap.equal(old.ask("NOOP")[0], 250, "a session goes on without it")
    goes_through(old, "and its mail comes")
    old.quit()
    lib.wait_until(is_up, "handshakes again")
    forgive()


def lost():
    """The file is bad when the process dies that still had the old one: what nobody can sign for is not shown any more, and
    the certificate of the other kind of key serves its names."""
    with open(pki.path("ec.crt"), "rb") as f:
        good = f.read()
    since = server.mark()
    put(b"no certificate\n")
    server.wait_log(r"secret\.refused.*ec\.crt.*the one in force", since)
    os.kill(server.pid("keys"), signal.SIGKILL)
    server.wait_log(r"secret\.refused.*ec\.crt.*kept=none", since)
    lib.wait_until(is_up, "handshakes again")
    lib.wait_until(lambda: fingerprint_now() == pki.fingerprint("rsa"), "the other certificate")
    for make in (implicit, starttls):
        client = make()
        goes_through(client, "a certificate that got lost is not shown: " + make.__name__)
        client.quit()
    put(good)
    server.wait_log(r"certificate\.loaded.*ec\.crt", since)
    lib.wait_until(lambda: fingerprint_now() == pki.fingerprint("ec"), "it is back")
    tap.ok(True, "and is back when its file is")
    forgive()


def half_open():
    """As many handshakes that hang as there may be sessions: who comes then is told at once, and when they go all is well."""
    clients = [socket.create_connection((HOST, 465), lib.DEADLINE_S) for _ in range(SESSIONS)]
    hello = hello_of(pki.context())[0]
    for i, s in enumerate(clients):
        s.sendall(hello[:i % len(hello)])
    s = socket.create_connection((HOST, 465), lib.DEADLINE_S)
    tap.equal(until_end(s), b"", "one session too many is closed without a handshake")
    s.close()
    client = lib.Smtp(25, HOST, hello=None)
    tap.equal(client.greeting[0], 421, "and told so in plain text")
    client.close()
    for s in clients:
        s.close()
    lib.wait_until(is_up, "a session again")
    tap.ok(True, "when they are gone others are served")


def forgive():
    """It was we who killed that process."""
    server.lines[:] = [line for line in server.lines if not ("role.died" in line and "keys" in line)]


def is_up():
    try:
        implicit().quit()
        return True
    except OSError:
        return False


def run(*parts):
    for part, *args in parts:
        if part is by_testssl and shutil.which("testssl") is None:
            tap.skip("testssl", "needs testssl (testssl.sh)")
            continue
        try:
            part(*args)
        except Exception as e:
            tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s" % (type(e).__name__, e, server.log()))


hanging = Hanging()
run((versions, False), (groups,), (keys_of_one_name,), (names,), (alpn,), (injection,), (renewals,), (tickets, True), (proxied,), (other_protocols,),
    (fragments,), (huge_hello,), (renegotiation,), (by_testssl,), (many,), (deaths,), (lost,), (hanging.look,))
restart(", sessions = %d" % SESSIONS, 1)
run((half_open,))
restart(options=", legacy = true, tickets = false")
run((versions, True), (tickets, False))
ends()
tap.end()

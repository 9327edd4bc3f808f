#!/usr/bin/env python3
"""TLS and logins on the way out: what goes where, how protected, and what waits (RFC 3207, 4954, 8314, 9525)."""
import base64
import os
import socket
import ssl
import subprocess
import sys
import threading
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

tap = lib.Tap()
lib.inside(["nsd", "openssl"])
where = lib.folder()


# ---- certificates -------------------------------------------------------------------------------------------------------

def openssl(*args):
    subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=where)


def make(name, names, days="30", ca="ca"):
    """NAME.pem: a key and its certificate for these names; of the authority, or its own."""
    san = lib.file_of(os.path.join(where, name + ".ext"), "subjectAltName=" + ",".join("DNS:" + n for n in names))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
            "-keyout", name + ".key", "-out", name + ".csr")
    by = ["-CA", ca + ".crt", "-CAkey", ca + ".key", "-CAcreateserial"] if ca else ["-signkey", name + ".key"]
    openssl("x509", "-req", "-in", name + ".csr", "-extfile", san, "-days", days, "-out", name + ".crt", *by)
    with open(os.path.join(where, name + ".crt")) as crt, open(os.path.join(where, name + ".key")) as key:
        return lib.file_of(os.path.join(where, name + ".pem"), key.read() + crt.read())


openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=lab",
        "-keyout", "ca.key", "-out", "ca.crt")


# ---- next hops ----------------------------------------------------------------------------------------------------------

class Hop:
    """A server at ADDRESS:PORT. how: what it does about TLS: none, ok, old (TLS 1.0), smtps, refuse, close, garbage, hang, inject,
    asks (for a certificate that the lab has signed: without one the handshake fails), once (one message a connection);
    auth: the mechanisms it offers inside TLS, of "me" with "secret", or of whom the certificate is for. .taken: (TLS version or None, who logged in) of each
    message."""

    def __init__(self, address, how, cert, auth="", port=25):
        self.how, self.auth, self.taken, self.ends = how, auth, [], threading.Event()
        self.resumed = []  # of each message, whether its session was one of before
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert)
        if how == "asks":
            self.context.load_verify_locations(os.path.join(where, "ca.crt"))
            self.context.verify_mode = ssl.CERT_REQUIRED
        if how == "old":
            self.context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():  # that it is old is the point
                warnings.simplefilter("ignore")
                self.context.minimum_version = self.context.maximum_version = ssl.TLSVersion.TLSv1
        self.socket = socket.create_server((address, port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._visit, args=(self.socket.accept()[0],), daemon=True).start()

    def _visit(self, conn):
        try:
            if self.how == "smtps":
                conn = self.context.wrap_socket(conn, server_side=True)
            conn.sendall(b"220 hop ESMTP\r\n")
            while conn is not None:
                conn = self._talk(conn)
        except (OSError, ssl.SSLError):
            pass

    def _talk(self, conn):
        """Until the end, or TLS begins: gives the connection inside TLS."""
        version, user, f = conn.version() if isinstance(conn, ssl.SSLSocket) else None, None, conn.makefile("rb")
        say = lambda *lines: conn.sendall(b"".join(line.encode() + b"\r\n" for line in lines))
        for line in f:
            line = line.decode().rstrip("\r\n")
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                words = ["hop"] + (["STARTTLS"] if version is None and self.how != "none" else [])
                words += ["AUTH " + self.auth] if self.auth and version else []
                say(*["250%s%s" % ("-" if i + 1 < len(words) else " ", w) for i, w in enumerate(words)])
            elif verb == "STARTTLS" and self.how == "refuse":
                say("454 4.7.0 not now")
            elif verb == "STARTTLS":
                say("220 go", *(["250 injected"] if self.how == "inject" else []))
                if self.how == "garbage" and conn.recv(1):  # the handshake has begun
                    conn.sendall(b"\x00garbage" * 100)
                if self.how == "hang":
                    self.ends.wait(300)
                if self.how in ("close", "garbage", "hang"):
                    conn.close()
                    return None
                return self.context.wrap_socket(conn, server_side=True)
            elif verb == "AUTH":
                user = self._login(line.split(" "), say, f, self._subject(conn))
                say("235 2.7.0 welcome" if user else "535 5.7.8 who are you")
            elif verb == "DATA":
                say("354 go")
                while f.readline() not in (b".\r\n", b""):
                    pass
                self.taken.append((version, user or (self._subject(conn) if version else None)))
                self.resumed.append(version is not None and conn.session_reused)
                say("250 2.0.0 kept")
                if self.how == "once":
                    conn.close()
                    return None
            elif verb == "MAIL" and self.auth and not user:
                say("530 5.7.0 log in")
            elif verb == "QUIT":
                say("221 bye")
                conn.close()
                return None
            else:
                say("250 ok")
        return None

    @staticmethod
    def _subject(conn):
        """Whom the client's certificate is for, or None."""
        return dict(x[0] for x in (conn.getpeercert() or {}).get("subject", ())).get("commonName")

    @staticmethod
    def _login(words, say, f, subject):
        if words[1] == "EXTERNAL":  # as itself, and nobody else
            return subject + " by EXTERNAL" if subject and base64.b64decode(words[2]).decode() == subject else None
        if words[1] == "PLAIN" and base64.b64decode(words[2]) == b"\0me\0secret":
            return "me by PLAIN"
        if words[1] == "LOGIN":
            got = []
            for question in (b"Username:", b"Password:"):
                say("334 " + base64.b64encode(question).decode())
                got.append(base64.b64decode(f.readline().strip()))
            return "me by LOGIN" if got == [b"me", b"secret"] else None
        return None


for ours in ("us", "us-again"):
    make(ours, ["mx.wax.example"])
subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=stranger", "-keyout",
                "stranger.key", "-out", "stranger.crt"], cwd=where, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
OURS = 'tls = "encrypt", cert = "us.crt", key = "us.key"'
CERTS = {"good": {}, "self": {"ca": None}, "wrong": {}, "expired": {"days": "0"}}
# domain: what its server does, its certificate, what the route says ("": there is none), the first event that decides, and
# what it says; "transport" is followed by the delivery
CASES = {
    "plain": ("none", "good", "", "transport", "in the clear: no TLS was to be had"),
    "open": ("ok", "good", "", "transport", "TLSv1.3 TLS_"),
    "self": ("ok", "self", "", "transport", "not verified: "),
    "wrong": ("ok", "wrong", "", "transport", "not verified: "),
    "expired": ("ok", "expired", "", "transport", "not verified: certificate has expired"),
    "refuse": ("refuse", "good", "", "transport", "in the clear: no TLS was to be had"),
    "close": ("close", "good", "", "transport", "in the clear, since TLS failed"),
    "garbage": ("garbage", "good", "", "transport", "in the clear, since TLS failed"),
    "hang": ("hang", "good", "", "transport", "in the clear, since TLS failed"),
    "inject": ("inject", "good", "", "deferred", "in the clear behind the reply to STARTTLS"),
    "old": ("old", "good", "", "transport", "TLSv1 "),
    "oldver": ("old", "good", 'tls = "verify"', "deferred", "TLS could not be established"),
    "unwanted": ("ok", "good", 'tls = "none"', "transport", "in the clear"),
    "enc": ("ok", "self", 'tls = "encrypt"', "transport", "not verified: "),
    "encnone": ("none", "good", 'tls = "encrypt"', "deferred", "does not offer STARTTLS"),
    "encrefuse": ("refuse", "good", 'tls = "encrypt"', "deferred", "not now"),
    "encclose": ("close", "good", 'tls = "encrypt"', "deferred", "TLS could not be established"),
    "ver": ("ok", "good", 'tls = "verify"', "transport", "verified (PKIX)"),
    "verself": ("ok", "self", 'tls = "verify"', "deferred", "TLS could not be established"),
    "verwrong": ("ok", "wrong", 'tls = "verify"', "deferred", "TLS could not be established"),
    "verexp": ("ok", "expired", 'tls = "verify"', "deferred", "expired"),
    "vernone": ("none", "good", 'tls = "verify"', "deferred", "does not offer STARTTLS"),
    "smtps": ("smtps", "good", 'via = "smtps://mx.smtps.test"', "transport", "verified (PKIX)"),
    "smtpsbad": ("smtps", "wrong", 'via = "smtps://mx.smtpsbad.test"', "deferred", "TLS could not be established"),
    "smtpsany": ("smtps", "self", 'via = "smtps://mx.smtpsany.test", tls = "encrypt"', "transport", "not verified: "),
    "asks": ("asks", "good", OURS, "transport", "TLSv1.3 "),
    "asksver": ("asks", "good", 'tls = "verify", cert = "us.crt", key = "us.key"', "transport", "verified (PKIX)"),
    "asksno": ("asks", "good", 'tls = "encrypt"', "deferred", ""),
    "asksother": ("asks", "good", 'tls = "encrypt", cert = "stranger.crt", key = "stranger.key"', "deferred", ""),
    "asksnot": ("ok", "good", OURS, "transport", "TLSv1.3 "),
    "plainauth": ("ok", "good", 'via = "smtp://me@mx.plainauth.test", password = secret "right"', "transport", "verified"),
    "loginauth": ("ok", "good", 'via = "smtp://mx.loginauth.test", user = "me", password = secret "right"', "transport",
                  "verified"),
    "extauth": ("asks", "good", 'via = "smtp://us@mx.extauth.test", cert = "us.crt", key = "us.key"', "transport", "verified (PKIX)"),
    "extother": ("asks", "good", 'via = "smtp://you@mx.extother.test", cert = "us.crt", key = "us.key"', "deferred", "who are you"),
    "extnone": ("asks", "good", 'via = "smtp://us@mx.extnone.test", cert = "us.crt", key = "us.key"', "deferred",
                "offers no login by a certificate"),
    "extunseen": ("ok", "good", 'via = "smtp://us@mx.extunseen.test", cert = "us.crt", key = "us.key"', "deferred", "who are you"),
    "extplain": ("none", "good", 'via = "smtp://us@mx.extplain.test", cert = "us.crt", key = "us.key"', "deferred",
                 "does not offer STARTTLS"),
    "extpass": ("asks", "good", 'via = "smtp://me@mx.extpass.test", password = secret "right", cert = "us.crt", key = "us.key"',
                "transport", "verified (PKIX)"),
    "badauth": ("ok", "good", 'via = "smtp://me@mx.badauth.test", password = secret "false"', "deferred", "who are you"),
    "noauth": ("ok", "good", 'via = "smtp://me@mx.noauth.test", password = secret "right"', "deferred", "offers no login"),
    "cleartext": ("none", "good", 'via = "smtp://me@mx.cleartext.test", password = secret "right"', "deferred",
                  "does not offer STARTTLS"),
}
AUTH = {"extauth": "PLAIN EXTERNAL", "extother": "EXTERNAL", "extnone": "PLAIN LOGIN", "extunseen": "EXTERNAL",
        "extpass": "EXTERNAL PLAIN", "plainauth": "PLAIN", "loginauth": "LOGIN", "badauth": "PLAIN LOGIN"}
hops, records, routes = {}, [], []
for name, text in (("right", "secret\n"), ("false", "wrong\n"), ("apart", "pa\u0308sswo\u0308rd\u00a0x\n")):
    os.chmod(lib.file_of(os.path.join(where, name), text), 0o600)
for n, (domain, (how, cert, route, _, _)) in enumerate(CASES.items()):
    at = "192.0.2.%d" % (10 + n)
    names = ["mx.other.test"] if cert == "wrong" else ["mx.%s.test" % domain]
    pem = make("cert-" + domain, names, **CERTS[cert])
    hops[domain] = Hop(at, how, pem, AUTH.get(domain, ""), 465 if how == "smtps" else 25)
    records.append("%s MX 10 mx.%s\nmx.%s A %s" % (domain, domain, domain, at))
    if route:
        routes.append('route { to = "%s.test", %s }' % (domain, route))
for n, domain in enumerate(("again", "againver")):
    hops[domain] = Hop("192.0.2.%d" % (202 + n), "once", make("cert-" + domain, ["mx.%s.test" % domain]))
    records.append("%s MX 10 mx.%s\nmx.%s A 192.0.2.%d" % (domain, domain, domain, 202 + n))
routes.append('route { to = "againver.test", tls = "verify" }')
hops["asksnew"] = Hop("192.0.2.200", "asks", make("cert-asksnew", ["mx.asksnew.test"]))  # for later
records.append("asksnew MX 10 mx.asksnew\nmx.asksnew A 192.0.2.200")
routes.append('route { to = "asksnew.test", %s }' % OURS)


# ---- servers of others --------------------------------------------------------------------------------------------------

def dovecot_auth():
    """Dovecot as the one that knows passwords, for Postfix: the socket."""
    folder = os.path.join(where, "auth")
    os.mkdir(folder)
    conf = lib.file_of(os.path.join(folder, "conf"), """
base_dir = {w}/run
state_dir = {w}/state
log_path = {w}/log
protocols =
ssl = no
auth_mechanisms = plain login scram-sha-256
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {w}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {w}/socket {{
    mode = 0666
  }}
}}
""".format(w=folder))
    lib.file_of(os.path.join(folder, "users"), "me:{PLAIN}secret\nyou:{PLAIN}p\u00e4ssw\u00f6rd x\n")
    out = open(os.path.join(folder, "out"), "w")
    process = subprocess.Popen(["dovecot", "-F", "-c", conf], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    peers.atexit.register(lambda: process.poll() is None and (process.terminate(), process.wait()))
    path = os.path.join(folder, "socket")
    lib.wait_until(lambda: os.path.exists(path) or process.poll() is not None, "Dovecot")
    return path


others = {}
lacking = peers.missing("postfix", "dovecot")
if not lacking and os.path.exists(peers.POSTFIX_DIST):
    pem = make("postfix", ["mx.postfix.test"])
    folder = os.path.join(where, "pf")
    os.mkdir(folder)
    more = {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": pem, "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": dovecot_auth(), "smtpd_tls_auth_only": "yes",
            "smtpd_sasl_security_options": "noanonymous", "mynetworks": "127.0.0.9/32",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, check_recipient_access inline:{postfix.test=OK}, reject",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination"}
    others["postfix"] = peers.Postfix(folder, "198.51.100.1", ["postfix.test", "scram.test", "apart.test"], more)
    records.append("postfix MX 10 mx.postfix\nmx.postfix A 198.51.100.1")
    routes.append('route { to = "apart.test", via = "smtp://you@mx.postfix.test", password = secret "apart" }')
    routes.append('route { to = "scram.test", via = "smtp://me@mx.postfix.test", password = secret "right" }')

class EximExternal(peers.Exim):
    """Lets in whom a certificate of the lab's authority is for, and takes mail of nobody else."""

    def command(self, address, domains):
        command = super().command(address, domains)
        path = os.path.join(self.where, "conf")
        with open(path, encoding="ascii") as f:
            text = f.read().replace("  accept domains = +ours\n", "  accept authenticated = *\n         domains = +ours\n")
        lib.file_of(path, text + """begin authenticators
external:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = $tls_in_certificate_verified
  server_param2 = ${certextract {subject,CN}{$tls_in_peercert}}
  server_condition = ${if eq{$auth1}{$auth2}}
  server_set_id = $auth1
""")
        return command


why_not = peers.Exim.missing()
if why_not is None:
    folder = os.path.join(where, "ex")
    os.mkdir(folder)
    pem = make("exim", ["mx.exim.test"])
    os.chmod(pem, 0o644)
    peers.Exim(folder, "192.0.2.201", ["exim.test"], "tls_advertise_hosts = *\ntls_certificate = %s\ntls_privatekey = %s\n"
               % (pem, pem))
    records.append("exim MX 10 mx.exim\nmx.exim A 192.0.2.201")
    folder = os.path.join(where, "exx")
    os.mkdir(folder)
    pem = make("eximext", ["mx.eximext.test"])
    ca = os.path.join(where, "ca.crt")
    for path in (pem, ca):
        os.chmod(path, 0o644)
    others["exim"] = EximExternal(folder, "192.0.2.204", ["eximext.test", "eximyou.test"],
                                  "tls_advertise_hosts = *\ntls_certificate = %s\ntls_privatekey = %s\ntls_try_verify_hosts = *\n"
                                  "tls_verify_certificates = %s\n" % (pem, pem, ca))
    records.append("mx.eximext A 192.0.2.204")
    make("visitor", ["visitor.test"])
    for domain, user in (("eximext", "visitor"), ("eximyou", "you")):
        routes.append('route { to = "%s.test", via = "smtp://%s@mx.eximext.test", cert = "visitor.crt", key = "visitor.key" }'
                      % (domain, user))

lib.Dns(where, {"test.": "\n".join(records)})
server = lib.start(where, """hostname "mx.wax.example"
postmaster "ann@home.test"
relay_from { "127.0.0.1" }
resolver { "127.0.0.53" }
authorities "ca.crt"
limits { sessions_per_client = 0 }
listen { port = 25, address = "127.0.0.1" }
domain "home.test" %s
%s
""" % (lib.maildir_lua(where), "\n".join(routes)))


# ---- what becomes of it -------------------------------------------------------------------------------------------------

def send(domain):
    return lib.id_of(lib.send_one(25, "ann@home.test", ["joe@%s.test" % domain], b"Subject: x\r\n\r\nx\r\n"))


def text_of(id_, event):
    return server.wait_event(id_, event, 90).get("text", "")


sent = {domain: send(domain) for domain in CASES}
for domain, (how, _, route, event, want) in CASES.items():
    try:
        got = text_of(sent[domain], event)
    except TimeoutError as e:
        got = str(e)
    tap.ok(want in got, "%s, %s%s: %s" % (domain, how, ", " + route if route else "", event), got)
    if event == "transport" and want in got:
        server.wait_event(sent[domain], "delivered")
    encrypted = "TLS" in got[:4]
    taken = [(t[0] is not None) for t in hops[domain].taken]
    tap.equal(taken, [encrypted] if event == "transport" else [], "%s: so it was at the server" % domain)
for domain, who in (("plainauth", "me by PLAIN"), ("loginauth", "me by LOGIN"), ("extauth", "us by EXTERNAL"),
                    ("extpass", "me by PLAIN")):
    tap.equal([t[1] for t in hops[domain].taken], [who], "%s: the server knows who it was" % domain)
for domain, who in (("asks", "us"), ("asksver", "us"), ("asksnot", None)):
    tap.equal([t[1] for t in hops[domain].taken], [who], "%s: our certificate" % domain)
hops["hang"].ends.set()

for domain in ("again", "againver"):
    texts = []
    for _ in range(3):
        id_ = send(domain)
        texts.append(text_of(id_, "transport"))
        server.wait_event(id_, "delivered")
    tap.equal(hops[domain].resumed, [False, True, True], "%s: the session goes on, at the server" % domain)
    tap.equal([", resumed" in t for t in texts], [False, True, True], "%s: and why tells it" % domain)
    tap.ok(domain == "again" or all("verified (PKIX)" in t for t in texts), "%s: proven as before" % domain, texts)

since = server.mark()
for end in (".key", ".crt"):
    os.rename(os.path.join(where, "us-again" + end), os.path.join(where, "us" + end))
server.wait_log(r"certificate.loaded.*us.crt", since)
server.wait_event(send("asksnew"), "delivered")
tap.equal([t[1] for t in hops["asksnew"].taken], ["us-again"], "a renewed certificate of ours is taken by itself")

hops["open"].how = "none"  # the host spoke TLS: somebody may have taken the offer away
tap.ok("does not offer STARTTLS" in text_of(send("open"), "deferred"), "a host that spoke TLS is not believed without")
tap.equal(len(hops["open"].taken), 1, "and gets nothing in the clear")

if "postfix" in others:
    got = text_of(send("postfix"), "transport")
    tap.ok(got.startswith("TLSv1.3 ") and "verified (PKIX)" in got, "Postfix: TLS", got)
    id_ = send("scram")
    got = text_of(id_, "transport")
    tap.ok("verified (PKIX)" in got, "Postfix with Dovecot's logins", got + others["postfix"].log())
    server.wait_event(id_, "delivered")
    tap.ok("sasl_method=SCRAM-SHA-256" in others["postfix"].log(), "by SCRAM", others["postfix"].log())
    server.wait_event(send("apart"), "delivered")
    tap.ok("sasl_username=you" in others["postfix"].log(), "by SCRAM with a password that SASLprep has to prepare", others["postfix"].log())
else:
    tap.skip("Postfix and Dovecot", "needs " + (lacking or "Postfix's master.cf"))

if why_not is None:
    id_ = send("exim")
    got = text_of(id_, "transport")
    tap.ok("verified (PKIX)" in got, "Exim: TLS", got)
    server.wait_event(id_, "delivered")
    server.wait_event(send("eximext"), "delivered")
    tap.ok("A=external:visitor" in others["exim"].log(), "Exim: EXTERNAL, and Exim knows who it was", others["exim"].log())
    got = text_of(send("eximyou"), "deferred")
    tap.ok("535" in got or "ncorrect" in got, "Exim: as nobody else", got)
else:
    tap.skip("Exim", why_not)

done = lib.run("why", "--control", server.control, sent["ver"])
tap.ok("protected by" in done.stdout and "certificate SHA-256 " in done.stdout, "why tells the proof", done.stdout)


# ---- who may know the password ------------------------------------------------------------------------------------------

def holds(pid, octets):
    found = False
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(start)
                found = found or octets in mem.read(end - start)
            except (OSError, ValueError, OverflowError):
                pass
    return found


marked = "Zq7-only-relay-knows-this"
with open(os.path.join(where, "right"), "w") as f:
    f.write(marked + "\n")
relays = [pid for (role, _), pid in server.pids().items() if role == "relay"]
lib.wait_until(lambda: all(holds(pid, marked.encode()) for pid in relays), "the new password in relay")
said = server.wait_log(r"password.changed")
tap.ok(os.path.join(where, "right") in said, "a password that changed is taken by itself", said)
for (role, index), pid in sorted(server.pids().items()):
    if role != "relay":
        tap.ok(not holds(pid, marked.encode()), "%s %d does not know the password" % (role, index))
os.chmod(os.path.join(where, "right"), 0o644)
done = lib.run("check", os.path.join(where, "waxwing.lua"))
tap.ok(done.returncode != 0 and os.path.join(where, "right") in done.stdout + done.stderr, "a password that all may read",
       done.stdout + done.stderr)
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()

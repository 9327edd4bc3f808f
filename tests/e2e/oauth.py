#!/usr/bin/env python3
"""Logins by access tokens (OAUTHBEARER, XOAUTH2): an identity provider with keys of all kinds, tokens of all kinds, programs of
others; how it fails, and what must not be heard by anybody: tokens."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers
import tls_peer
from tls_peer import coded, plain

NAME, ISSUER = "mx.example.org", "https://id.test"
HOST, PROVIDER, CLIENTS = "192.0.2.1", "198.51.100.20", "203.0.113."
BY_PASSWORD = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"}
RIGHT, BAD, LATER, NOT_OFFERED = (235, "2.7.0"), (535, "5.7.8"), (454, "4.7.0"), (504, "5.5.4")
PASSWORD = "SecretOfJoe"
CLIENT, SECRET = "wax wing:1", "s3cr&t=+%/\u00e4 \"x"

tap = lib.Tap()
lib.inside(["nsd", "openssl"])
for address in [PROVIDER] + [CLIENTS + str(n) for n in range(1, 255)]:
    subprocess.run(["ip", "addr", "add", address + "/32", "dev", "lo"], check=True)
where = lib.folder()
pki = tls_peer.Pki(where)
pki.make("server", NAME, names=["DNS:" + NAME, "IP:" + HOST])
pki.make("id", "id.test", names=["DNS:id.test"])
pki.make("other", "other.test", names=["DNS:other.test"])
lib.file_of(os.path.join(where, "org.users"), "ann:!\n")
lib.file_of(os.path.join(where, "client.secret"), SECRET + "\n")
os.chmod(os.path.join(where, "client.secret"), 0o600)
HEAD = """hostname "mx.example.org"
postmaster "joe@example.org"
resolver { "127.0.0.53" }
authorities "ca.crt"
limits { sessions_per_client = 0 }
tls { cert = "server.crt", key = "server.key" }
listen { port = 25, address = "0.0.0.0" }
listen { port = 587, address = "0.0.0.0", submission = true }
listen { port = 465, address = "0.0.0.0", submission = true }
domain "example.org" %s
domain "same.example" { same_as = "example.org" }
domain "tokens.example" %s
domain "apart.example" %s
domain "box.test" %s
""" % (lib.maildir_lua(where, 'passwd "org.users"'), lib.maildir_lua(where, '{ "joe" }'), lib.maildir_lua(where, '{ "joe" }'),
       lib.maildir_lua(where))
DOMAINS = 'domains = { "example.org", "tokens.example" }'
BY_KEYS = HEAD + 'oauth { issuer = "%s", jwks = "%s/keys", audience = "waxwing", scope = "mail", %s }\n' % (ISSUER, ISSUER, DOMAINS)
BY_ASKING = HEAD + ('oauth { issuer = "%s", introspection = "%s/introspect", client = "%s", secret = secret "client.secret",\n'
                    '  audience = "waxwing", %s }\n' % (ISSUER, ISSUER, CLIENT, DOMAINS))


# ---- tokens -------------------------------------------------------------------------------------------------------------

def url64(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def run_openssl(*args, octets=b""):
    return subprocess.run(("openssl",) + args, input=octets, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout


class Key:
    """A private key in a file, made by openssl; .jwk: its public part."""

    KINDS = {"RSA": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "EC": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
             "OKP": ("-algorithm", "ED25519")}

    def __init__(self, kid, kind):
        self.path = os.path.join(where, kid + ".key")
        run_openssl("genpkey", *self.KINDS[kind], "-out", self.path)
        self.public = run_openssl("pkey", "-in", self.path, "-pubout")
        der = run_openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        self.jwk = {"kty": kind, "kid": kid, "use": "sig"}
        if kind == "RSA":
            modulus = run_openssl("rsa", "-in", self.path, "-noout", "-modulus").decode().strip().partition("=")[2]
            self.jwk.update(n=url64(bytes.fromhex(modulus)), e="AQAB")
        elif kind == "EC":
            self.jwk.update(crv="P-256", x=url64(der[-64:-32]), y=url64(der[-32:]))
        else:
            self.jwk.update(crv="Ed25519", x=url64(der[-32:]))

    def sign(self, alg, octets):
        if alg == "EdDSA":
            path = os.path.join(where, "to-sign")
            with open(path, "wb") as f:
                f.write(octets)
            return run_openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", path)
        pss = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest") if alg.startswith("PS") else ()
        signature = run_openssl("dgst", "-sha" + alg[2:], "-sign", self.path, *pss, octets=octets)
        if alg != "ES256":
            return signature
        numbers = re.findall(r"INTEGER\s*:([0-9A-F]+)", run_openssl("asn1parse", "-inform", "DER", octets=signature).decode())
        return b"".join(int(n, 16).to_bytes(32, "big") for n in numbers)


RSA, EC, ED, NEW, FALSE = Key("rsa-1", "RSA"), Key("ec-1", "EC"), Key("ed-1", "OKP"), Key("new-1", "RSA"), Key("false-1", "RSA")
spoken = []  # all tokens that were ever said


def claims_of(**changes):
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "7", "aud": ["web", "waxwing"], "scope": "openid mail", "email": "joe@example.org", "iat": now, "exp": now + 600}
    claims.update(changes)
    return {k: v for k, v in claims.items() if v is not None}


def token(key=RSA, alg="RS256", header=None, signature=None, **changes):
    """A JSON Web Token; changes: other claims, None takes one away. signature: a function, in place of the key's own."""
    head = {"alg": alg, "kid": key.jwk["kid"], "typ": "at+jwt"}
    head.update(header or {})
    head = {k: v for k, v in head.items() if v is not None}
    text = url64(json.dumps(head).encode()) + "." + url64(json.dumps(claims_of(**changes)).encode())
    spoken.append(text + "." + url64((signature or (lambda octets: key.sign(alg, octets)))(text.encode())))
    return spoken[-1]


def opaque(answer, status=200):
    """A token that says nothing; answer: what its issuer says of it."""
    spoken.append("opaque-" + os.urandom(12).hex() + "~+/==")
    provider.answers[spoken[-1]] = status, answer
    return spoken[-1]


# ---- the provider -------------------------------------------------------------------------------------------------------

class Provider:
    """https://id.test. keys: those of /keys; answers: {token: (code, JSON or octets)}; page: (code, fields, octets) for all, when it is
    in a bad mood; hangs: it says nothing at all."""

    def __init__(self):
        self.keys, self.answers, self.page, self.hangs = [RSA, EC, ED], {}, None, False
        self.asked, self.strange = [], []
        self.start()

    def start(self, certificate="id"):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def say(self, code, fields, body):
                self.send_response(code)
                for name, value in {"Content-Length": str(len(body)), "Connection": "close", **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def answer(self, code, what):
                provider.asked.append(self.path)
                if provider.hangs:
                    self.rfile.read(1)  # until the client goes
                elif provider.page:
                    self.say(*provider.page)
                else:
                    self.say(code, {"Content-Type": "application/json"}, what if isinstance(what, bytes) else json.dumps(what).encode())

            def do_GET(self):
                self.answer(200, {"keys": [{"kty": "oct", "kid": "rsa-1", "k": "AAAA"}] + [k.jwk for k in provider.keys]})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                fields = urllib.parse.parse_qs(body, strict_parsing=True)
                scheme, _, pair = self.headers["Authorization"].partition(" ")
                user, _, secret = base64.b64decode(pair).decode().partition(":")
                who = urllib.parse.unquote_plus(user), urllib.parse.unquote_plus(secret)
                if scheme != "Basic" or fields.get("token_type_hint") != ["access_token"] or \
                        self.headers["Content-Type"] != "application/x-www-form-urlencoded":
                    provider.strange.append((body, dict(self.headers)))
                if who != (CLIENT, SECRET):
                    self.answer(401, {"error": "invalid_client"})
                    return
                self.answer(*provider.answers.get(fields["token"][0], (200, {"active": False})))

            def log_message(self, *args):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.path(certificate + ".crt"), pki.path(certificate + ".key"))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, allow_reuse_address = True, True

            def finish_request(self, request, address):
                try:
                    super().finish_request(context.wrap_socket(request, server_side=True), address)
                except (OSError, ssl.SSLError):
                    pass  # the client went

        self.server = Server((PROVIDER, 443), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


# ---- logins -------------------------------------------------------------------------------------------------------------

hosts = iter(list(range(20, 255)) * 20)


def connect():
    """From an address of its own, for the limit of guesses."""
    return tls_peer.Smtp(465, pki.context(), implicit=True, source=CLIENTS + str(next(hosts)))


def code_of(answer):
    return answer[0], answer[1].split(" ", 1)[0]


def message_of(mechanism, text, user):
    if mechanism == "XOAUTH2":
        return "user=%s\1auth=Bearer %s\1\1" % (user, text)
    return "n,%s,\1host=%s\1port=465\1auth=Bearer %s\1\1" % ("a=" + user if user else "", NAME, text)


def say(client, text, user="", mechanism="OAUTHBEARER"):
    """The last answer, and what the challenge before it said."""
    answer, told = client.ask("AUTH %s %s" % (mechanism, coded(message_of(mechanism, text, user).encode()))), None
    if answer[0] == 334:
        told = json.loads(base64.b64decode(answer[1]))
        answer = client.ask(coded(b"\1"))
    return answer, told


def try_token(text, user="", mechanism="OAUTHBEARER"):
    client = connect()
    answer, _ = say(client, text, user, mechanism)
    client.close()
    return code_of(answer)


def reload(text):
    since = server.mark()
    lib.file_of(os.path.join(where, "waxwing.lua"), lib.paths_lua(where) + text)
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"reload\.done", since)


def offers():
    client = tls_peer.Smtp(587, pki.context())
    tap.ok("AUTH" not in client.capabilities, "no login is offered before TLS", client.capabilities)
    tap.equal(client.ask("AUTH OAUTHBEARER bixhPWpvZSwB")[0], 538, "nor is a token taken")
    client.starttls()
    found = client.mechanisms()
    client.quit()
    tap.equal(set(found), BY_PASSWORD | {"OAUTHBEARER", "XOAUTH2"}, "tokens are offered beside passwords")
    client = tls_peer.Smtp(25, pki.context()).starttls()
    tap.ok("AUTH" not in client.capabilities, "at port 25 there is nothing of it", client.capabilities)
    client.quit()


def right_ones():
    for title, text in (("RS256", token()), ("RS384", token(alg="RS384")), ("PS256", token(alg="PS256")), ("ES256", token(EC, "ES256")),
                        ("EdDSA", token(ED, "EdDSA")), ("without a kid", token(header={"kid": None})), ("of type JWT", token(header={"typ": "JWT"})),
                        ("of no type", token(header={"typ": None})), ("audience as a text", token(aud="waxwing")),
                        ("for an address in capitals", token(email="JOE@Example.org")), ("verified", token(email_verified=True)),
                        ("expired within the minute", token(exp=int(time.time()) - 20))):
        for mechanism, user in (("OAUTHBEARER", ""), ("OAUTHBEARER", "joe@example.org"), ("XOAUTH2", "joe@example.org")):
            tap.equal(try_token(text, user, mechanism), RIGHT, "%s, %s%s" % (title, mechanism, ", claimed" if user else ""))
    tap.equal(try_token(token(), "Joe@same.example"), RIGHT, "another name of his is he")
    client = connect()
    tap.equal(code_of(say(client, token())[0]), RIGHT, "a login")
    tap.equal(client.send("joe@example.org", ["x@box.test"], b"Subject: by token\r\n\r\nx\r\n")[0], 250, "he sends as himself")
    tap.equal(client.envelope("ann@example.org", ["x@box.test"])[0], 550, "and as nobody else")
    client.quit()
    client = connect()
    tap.equal(code_of(say(client, token(email="joe@tokens.example"))[0]), RIGHT, "a user who has no password")
    tap.equal(client.envelope("joe@tokens.example", ["x@box.test"]), None, "and sends")
    client.quit()


def passwords():
    for user, want in (("joe@example.org", RIGHT), ("joe@tokens.example", BAD)):
        client = connect()
        tap.equal(code_of(plain(client, user, PASSWORD)), want, "a password of %s, beside tokens" % user)
        client.close()
    tap.equal(try_token(PASSWORD), BAD, "a password is no token")
    client = connect()
    tap.equal(code_of(plain(client, "joe@example.org", token())), BAD, "nor is a token a password")
    client.close()


def wrong_ones():
    """The client hears that it was refused, and no more; the log says why."""
    secret = lambda key: lambda octets: hmac.digest(key, octets, "sha256")
    later = int(time.time()) + 300
    good = token()
    head, body, signature = good.split(".")
    other = url64(json.dumps(claims_of(email="ann@example.org")).encode())
    rows = [
        ("expired", token(exp=int(time.time()) - 100), "expired"),
        ("that never expires", token(exp=None), "never expires"),
        ("not valid yet", token(nbf=later), "not valid yet"),
        ("issued in the future", token(iat=later), "in the future"),
        ("of another issuer", token(iss="https://id.test.evil.example"), "another issuer"),
        ("of no issuer", token(iss=None), "another issuer"),
        ("for another audience", token(aud=["web"]), "for others"),
        ("for no audience", token(aud=None), "for others"),
        ("without the scope", token(scope="openid"), "scope"),
        ("an ID token", token(at_hash="x"), "ID token"),
        ("bound to a key", token(cnf={"jkt": "x"}), "bound to a key"),
        ("of another type", token(header={"typ": "logout+jwt"}), "its type"),
        ("with an extension", token(header={"crit": ["x"], "x": 1}), "extension"),
        ("for nobody", token(email=None), "for whom"),
        ("for an address that is not verified", token(email_verified=False), "not verified"),
        ("signed by another key", token(FALSE, header={"kid": "rsa-1"}), "signature"),
        ("signed by a key that it brings along", token(FALSE, header={"kid": "rsa-1", "jwk": FALSE.jwk}), "signature"),
        ("with the signature of another", ".".join((head, other, signature)), "signature"),
        ("with a changed signature", good[:-6] + ("AAAAAA" if good[-6:] != "AAAAAA" else "BBBBBB"), "signature|no signed"),
        ("of algorithm none", token(header={"alg": "none"}), "algorithm"),
        ("of algorithm none, unsigned", token(header={"alg": "none"}, signature=lambda octets: b""), "no signed"),
        ("of algorithm None", token(header={"alg": "None"}), "algorithm"),
        ("with the public key as a secret", token(header={"alg": "HS256"}, signature=secret(RSA.public)), "algorithm"),
        ("with the octets of a public key as a secret", token(header={"alg": "HS256"}, signature=secret(base64.urlsafe_b64decode(RSA.jwk["n"] + "=="))),
         "algorithm"),
        ("with an empty secret", token(header={"alg": "HS256"}, signature=secret(b"")), "algorithm"),
        ("of an RSA key by the name of another", token(header={"kid": "ec-1"}), "no key"),
        ("of PSS, said to be PKCS #1", token(alg="PS256", header={"alg": "RS256"}), "signature"),
        ("that is none", "AAAA.BBBB.CCCC", "malformed"),
        ("of eight kilobytes", "A" * 8192, "no signed"),
    ]
    for title, text, why in rows:
        spoken.append(text)
        since, client = server.mark(), connect()
        answer, told = say(client, text)
        tap.equal(code_of(answer), BAD, "a token " + title)
        tap.equal(told, {"status": "invalid_token", "scope": "mail", "openid-configuration": ISSUER + "/.well-known/openid-configuration"},
                  "a token %s: what the client hears" % title)
        tap.ok(server.wait_log("login.token_refused.*(%s)" % why, since), "a token %s: the log says why" % title)
        tap.equal(client.envelope("joe@example.org", ["x@box.test"])[0], 530, "a token %s: nobody is logged in" % title)
        client.close()
    for title, text, user in (("ann's, claimed by joe", token(email="ann@example.org"), "joe@example.org"),
                              ("joe's, claimed by ann", token(), "ann@example.org"), ("of no user", token(email="eve@example.org"), ""),
                              ("of a stranger", token(email="joe@elsewhere.example"), ""), ("of no address", token(email="joe"), ""),
                              ("of a domain that takes none", token(email="joe@apart.example"), ""),
                              ("for a program of joe's", token(email="joe/phone@example.org"), "")):
        since = server.mark()
        tap.equal(try_token(text, user), BAD, "a token " + title)
        tap.ok(server.wait_log("login.token_of_stranger", since), "a token %s: the log says so" % title)
    client = connect()
    answer, told = say(client, token(exp=1), "joe@example.org", "XOAUTH2")
    tap.equal((code_of(answer), told), (BAD, {"status": "401", "schemes": "bearer", "scope": "mail"}), "what XOAUTH2 hears")
    tap.equal(code_of(say(client, token(), "joe@example.org", "XOAUTH2")[0]), RIGHT, "and then a good one")
    client.quit()
    client = connect()
    tap.equal(code_of(client.ask("AUTH OAUTHBEARER")), (334, ""), "without an initial response it is asked for one")
    tap.equal(code_of(client.ask(coded(message_of("OAUTHBEARER", "B" * 8193, "").encode()))), (501, "5.5.2"), "a token that is too long")
    tap.equal(code_of(client.ask("AUTH OAUTHBEARER " + coded(b"n,,\1auth=Basic x\1\1"))), (501, "5.5.2"), "what is no bearer's")
    client.close()


def new_keys():
    """A key that is not known is looked for at once; what the issuer has taken back is gone with that."""
    text = token(NEW)
    tap.equal(try_token(text), BAD, "a token by a key that the provider does not show yet")
    provider.keys = [NEW, EC, ED]
    tap.equal(try_token(text), RIGHT, "by a new key, as soon as it does")
    tap.equal(try_token(token()), BAD, "by the key that it replaced")
    before = len(provider.asked)
    for _ in range(20):
        try_token(token(FALSE))
    tap.ok(len(provider.asked) - before <= 6, "tokens of unknown keys do not make us ask each time", "%d times" % (len(provider.asked) - before))
    provider.keys = [RSA, EC, ED]
    lib.wait_until(lambda: try_token(token()) == RIGHT, "the old keys", 60)


def memory():
    """What was looked at is forgotten: by all processes, a while after, as the client sent it, too."""
    if lib.SANITIZED:
        tap.skip("tokens in memory", "a sanitizer's memory is too large to search")
        return
    texts = [token(), token(exp=1), token(EC, "ES256")]
    for text in texts:
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            try_token(text, "joe@example.org", mechanism)
    needles = {text.split(".")[2][:40].encode() for text in texts}
    coded_ones = {coded(message_of("OAUTHBEARER", text, "joe@example.org").encode())[-80:-8].encode() for text in texts}
    for (role, index), pid in sorted(server.pids().items()):
        got = lib.found_in(pid, {o: o for o in needles | coded_ones})
        tap.equal(got, set(), "%s %d has no token in its memory" % (role, index))


def provider_away():
    since = server.mark()
    provider.stop()
    lib.signal_to(server.pid("tables"), signal.SIGKILL)  # what it knew is gone
    server.wait_log(r"role.*tables", since)
    text = token()
    tap.equal(try_token(text), LATER, "the provider is away, and no key is known: a temporary failure")
    tap.ok(server.wait_log(r"login\.failed.*id\.test", since), "the log says who is away")
    tap.equal(try_token(token(exp=1)), LATER, "whatever the token")
    provider.start("other")
    lib.wait_until(lambda: "https://other.test" if try_token(text) == RIGHT else any("not authenticated" in l for l in server.lines[since:]),
                   "a word on who is there", 60)
    tap.ok(any("not authenticated" in line for line in server.lines[since:]), "somebody else in its place is not asked")
    provider.stop()
    provider.start()
    lib.wait_until(lambda: try_token(text) == RIGHT, "a login after the provider came back", 60)
    tap.ok(True, "it is back: so are logins")
    provider.stop()
    tap.equal(try_token(token()), RIGHT, "away again: the keys that came are good")
    provider.start()


def programs():
    for part, needs in ((by_smtplib, None), (by_curl, "curl"), (by_msmtp, "msmtp"), (by_nodemailer, "node"), (by_swaks, "swaks")):
        if needs and shutil.which(needs) is None:
            tap.skip(part.__name__, "needs " + needs)
            continue
        part()


MESSAGE = b"Subject: by %s\r\nFrom: joe@example.org\r\nTo: b@box.test\r\n\r\nhello\r\n"
boxes = ("u%d" % i for i in range(10000))


def tool(args, octets=b"", env=None):
    """What went wrong, or None."""
    done = subprocess.run(args, input=octets, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S, env=env)
    return None if done.returncode == 0 else "exit code %d: %s" % (done.returncode, done.stdout.decode("utf-8", "replace")[-1500:])


def check(title, problem, box, wanted=True):
    if not wanted:
        tap.ok(problem, title + " goes nowhere", "it was sent")
    elif tap.ok(problem is None, title, problem):
        path = os.path.join(lib.mail_folder(where), "box.test", box)
        got = lib.wait_until(lambda: lib.messages_in(path), "mail for " + box)[0]
        tap.ok(b"ESMTPSA" in got, title + ": arrives as a user's")


def each_way():
    """(port, mechanism, token, is it good)"""
    for port in (587, 465):
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            yield port, mechanism, token(), True
            yield port, mechanism, token(exp=1), False


def by_smtplib():
    for port, mechanism, text, is_good in each_way():
        box, problem = next(boxes), None
        context = pki.context()
        smtp = smtplib.SMTP_SSL(HOST, port, "c.example", context=context) if port == 465 else smtplib.SMTP(HOST, port, "c.example")
        try:
            if port != 465:
                smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
            smtp.auth(mechanism, lambda challenge=None: message_of(mechanism, text, "joe@example.org") if challenge is None else "\1")
            smtp.sendmail("joe@example.org", [box + "@box.test"], MESSAGE % b"smtplib")
        except smtplib.SMTPAuthenticationError as e:
            problem = str(e)
            tap.equal(e.smtp_code, 535, "smtplib, %d, %s: the code of a refusal" % (port, mechanism))
        finally:
            smtp.close()
        check("smtplib, %d, %s, %s" % (port, mechanism, "good" if is_good else "expired"), problem, box, is_good)


def by_curl():
    for port, mechanism, text, is_good in each_way():
        box = next(boxes)
        url = ("smtps" if port == 465 else "smtp") + "://%s:%d/client.example.org" % (HOST, port)
        problem = tool(["curl", "-sS", "--url", url, "--ssl-reqd", "--cacert", pki.file, "--user", "joe@example.org", "--oauth2-bearer", text,
                        "--login-options", "AUTH=" + mechanism, "--mail-from", "joe@example.org", "--mail-rcpt", box + "@box.test", "-T",
                        lib.file_of(os.path.join(where, "curl.eml"), (MESSAGE % b"curl").decode())])
        check("curl, %d, %s, %s" % (port, mechanism, "good" if is_good else "expired"), problem, box, is_good)


def by_msmtp():
    for port, mechanism, text, is_good in each_way():
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
passwordeval "cat %s"
from joe@example.org
""" % (HOST, port, "off" if port == 465 else "on", pki.file, mechanism.lower(), lib.file_of(os.path.join(where, "msmtp.token"), text)))
        os.chmod(conf, 0o600)
        problem = tool(["msmtp", "--file=" + conf, "--", box + "@box.test"], MESSAGE.replace(b"\r\n", b"\n") % b"msmtp")
        check("msmtp, %d, %s, %s" % (port, mechanism, "good" if is_good else "expired"), problem, box, is_good)
        if not is_good:
            tap.ok("535" in str(problem), "msmtp, %d, %s: 535 is what it was told" % (port, mechanism), str(problem))


NODE = """
const spec = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const transport = require('nodemailer').createTransport(spec.transport)
transport.sendMail(spec.mail).then(() => process.exit(0), e => { console.log(e.responseCode, String(e)); process.exit(1) })
"""


def by_nodemailer():
    modules = os.path.join(peers.UNPACKED, "nodemailer", "node_modules")
    if not os.path.isdir(os.path.join(modules, "nodemailer")):
        tap.skip("nodemailer", "needs %s/nodemailer (packaging/setup.sh with WAXWING_PEERS=yes)" % modules)
        return
    with open(pki.file, encoding="ascii") as f:
        ca = f.read()
    for port, mechanism, text, is_good in each_way():
        if mechanism != "XOAUTH2":
            continue
        box = next(boxes)
        spec = {"transport": {"host": HOST, "port": port, "secure": port == 465, "requireTLS": True, "name": "client.example.org",
                              "auth": {"type": "OAuth2", "user": "joe@example.org", "accessToken": text}, "tls": {"ca": ca, "servername": NAME}},
                "mail": {"from": "joe@example.org", "to": box + "@box.test", "subject": "by node", "text": "hello"}}
        problem = tool(["node", "-e", NODE], json.dumps(spec).encode(), dict(os.environ, NODE_PATH=modules))
        check("nodemailer, %d, %s, %s" % (port, mechanism, "good" if is_good else "expired"), problem, box, is_good)


def by_swaks():
    known = subprocess.run(["swaks", "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    if "XOAUTH2" not in known:
        tap.skip("swaks", "this one has no XOAUTH2")
        return
    for port, mechanism, text, is_good in each_way():
        if mechanism != "XOAUTH2":
            continue
        box = next(boxes)
        problem = tool(["swaks", "--server", HOST, "--port", str(port), "--tls" if port == 587 else "--tls-on-connect", "--tls-verify",
                        "--tls-ca-path", pki.file, "--auth", mechanism, "--auth-user", "joe@example.org", "--auth-password", text,
                        "--from", "joe@example.org", "--to", box + "@box.test", "--helo", "client.example.org"])
        check("swaks, %d, %s, %s" % (port, mechanism, "good" if is_good else "expired"), problem, box, is_good)


# ---- introspection ------------------------------------------------------------------------------------------------------

def asked(path="/introspect"):
    return provider.asked.count(path)


def introspection():
    reload(BY_ASKING)
    answer = {"active": True, "aud": "waxwing", "email": "joe@example.org", "token_type": "Bearer"}
    lib.wait_until(lambda: try_token(opaque(answer)) == RIGHT, "the new configuration in all processes")
    text, before = opaque(answer), asked()
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        tap.equal(try_token(text, "joe@example.org", mechanism), RIGHT, "introspection: a good token, " + mechanism)
    tap.equal(asked() - before, 1, "what the provider says is remembered")
    tap.equal(provider.strange, [], "it is asked as the RFC wants it")
    soon = int(time.time()) + 3
    short, before = opaque(dict(answer, exp=soon)), asked()
    tap.equal(try_token(short), RIGHT, "introspection: a token that soon ends")
    lib.wait_until(lambda: time.time() > soon, "the end of a token")
    tap.equal(try_token(short), RIGHT, "introspection: it has ended, by less than clocks may differ")
    tap.equal(asked() - before, 2, "but is asked about again")
    tap.equal(try_token(token()), BAD, "introspection: a token that the provider does not know")
    for title, change, why in (("not active", {"active": False}, "not active"), ("for others", {"aud": "web"}, "for others"),
                               ("of another issuer", {"iss": "https://x.test"}, "another issuer"), ("expired", {"exp": 1}, "expired"),
                               ("bound", {"token_type": "DPoP"}, "no bearer"), ("not verified", {"email_verified": False}, "not verified"),
                               ("for nobody", {"email": 7}, "for whom")):
        since = server.mark()
        tap.equal(try_token(opaque(dict(answer, **change))), BAD, "introspection: a token " + title)
        tap.ok(server.wait_log("login.token_refused.*" + why, since), "introspection: a token %s: the log says why" % title)
    tap.equal(try_token(opaque(dict(answer, email="eve@example.org"))), BAD, "introspection: a token of no user")
    for title, what, why in (("without active", {"email": "joe@example.org"}, "whether the token is active"), ("no JSON", b"<html>", "malformed"),
                             ("two members of one name", b'{"active":true,"active":false}', "malformed"), ("nothing", b"", "malformed"),
                             ("deep", b"[" * 60000, "malformed"), ("too long", b'{"active":true,"x":"' + b"a" * 70000 + b'"}', "too long|file size")):
        since = server.mark()
        tap.equal(try_token(opaque(what)), LATER, "introspection: an answer that is %s" % title)
        tap.ok(server.wait_log(r"login\.failed.*id\.test.*" + why, since), "introspection: %s: the log says so" % title)
    for title, page, why in (("an error", (500, {}, b"{}"), "code 500"), ("another place", (302, {"Location": "https://id.test/keys"}, b""), "code 302"),
                             ("no such client", (401, {}, b"{}"), "client and secret")):
        provider.page, since = page, server.mark()
        tap.equal(try_token(opaque(answer)), LATER, "introspection: the provider says: " + title)
        tap.ok(server.wait_log(r"login\.failed.*id\.test.*" + why, since), "introspection: %s: the log says so" % title)
    provider.page = None
    tap.equal(try_token(text), RIGHT, "who is remembered is not asked about")
    since, provider.hangs = server.mark(), True
    tap.equal(try_token(opaque(answer)), LATER, "introspection: the provider says nothing")
    tap.ok(server.wait_log(r"login\.failed.*id\.test.*can't be asked", since), "the log says so")
    provider.hangs = False
    provider.stop()
    tap.equal(try_token(opaque(answer)), LATER, "introspection: the provider is away")
    provider.start()
    tap.equal(try_token(opaque(answer)), RIGHT, "introspection: it is back")
    lib.file_of(os.path.join(where, "client.secret"), "another\n")
    lib.wait_until(lambda: try_token(opaque(answer)) == LATER, "the new secret", 60)
    tap.ok(server.wait_log(r"login\.failed.*client and secret"), "a changed secret is taken by itself")
    lib.file_of(os.path.join(where, "client.secret"), SECRET + "\n")
    lib.wait_until(lambda: try_token(opaque(answer)) == RIGHT, "the old secret", 60)


def switched_off():
    reload(HEAD)
    lib.wait_until(lambda: not [r for r, _ in server.pids() if r in ("auth", "tables")], "the end of auth and tables")
    client = connect()
    tap.equal(set(client.mechanisms()), BY_PASSWORD, "without oauth no token is offered")
    tap.equal(code_of(client.ask("AUTH XOAUTH2 " + coded(message_of("XOAUTH2", token(), "joe@example.org").encode()))), NOT_OFFERED, "or taken")
    client.close()


def guesses():
    """Of one user, from everywhere; whoever has his password is not kept from it."""
    since = server.mark()
    answers = [try_token(token(exp=1), "joe@tokens.example") for _ in range(24)]
    tap.equal(answers[:15], [BAD] * 15, "some wrong ones are looked at")
    tap.equal(answers[-1], LATER, "then no more")
    tap.ok(server.wait_log("too many logins failed", since), "the log says why")
    tap.equal(try_token(token()), RIGHT, "others are not touched by it")


def silence():
    """No token is in a log, the journal, or the queue."""
    texts = {t.split(".")[-1][:40] for t in spoken if len(t) > 60} | {t for t in spoken if t.startswith("opaque")}
    texts -= {""}
    found = {t for t in texts if any(t in line for line in server.lines)}
    for folder in ("journal", "spool"):
        for root, _, names in os.walk(os.path.join(where, folder)):
            for name in names:
                with open(os.path.join(root, name), "rb") as f:
                    octets = f.read()
                found |= {t for t in texts if t.encode() in octets}
    tap.equal(found, set(), "none of %d tokens is in log, journal or spool" % len(texts))
    tap.ok(all(SECRET not in line and "s3cr" not in line for line in server.lines), "nor is our secret")
    tap.ok(not any("role.died" in line and "tables" not in line for line in server.lines), "nobody died", server.log())


dns = lib.Dns(where, {"test.": "id A %s\nother A %s\nbox MX 10 box\nbox A 192.0.2.1\n" % (PROVIDER, PROVIDER)})
provider = Provider()
done = lib.run("user", "--file", os.path.join(where, "org.users"), "add", "joe", "--stdin", input=PASSWORD + "\n")
tap.equal(done.returncode, 0, "a user with a password")
server = lib.start(where, BY_KEYS)
for part in (offers, right_ones, passwords, wrong_ones, memory, new_keys, guesses, provider_away, programs, introspection, switched_off, silence):
    try:
        part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s" % (type(e).__name__, e, server.log()))
tap.equal(server.stop(), 0, "the server ends")
tap.end()

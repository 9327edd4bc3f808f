#!/usr/bin/env python3
"""Certificates that come by themselves: an authority (pebble), its questions, renewals, and days on which nothing goes.

pebble makes certificates of ten days here, so that each round renews; a reload begins one.
"""
import hashlib
import json
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["pebble", "uacme", "openssl", "nsd", "curl"])
where = lib.folder()
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
KEY = where + "/acme/mx.example.org.key"
CERT = where + "/acme/mx.example.org.crt"


def path(name):
    return os.path.join(where, name)


def openssl(*args, **kw):
    return subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw).stdout


# ---- the authority ------------------------------------------------------------------------------------------------------

def make_trust():
    """A certificate for the authority's own port, in the place where the system looks: uacme has no other."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=pebble",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path("pebble.key"), "-out", path("pebble.crt"))
    with open(BUNDLE, encoding="ascii") as old, open(path("pebble.crt"), encoding="ascii") as own:
        bundle = lib.file_of(path("bundle.crt"), old.read() + own.read())
    subprocess.run(["mount", "--bind", bundle, BUNDLE], check=True)


class Pebble:
    def __init__(self):
        conf = {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": path("pebble.crt"),
                "privateKey": path("pebble.key"), "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
                "externalAccountBindingRequired": False, "certificateValidityPeriod": 10 * 24 * 3600}
        self.process = subprocess.Popen(
            ["pebble", "-config", lib.file_of(path("pebble.json"), json.dumps({"pebble": conf})), "-dnsserver", "127.0.0.53:53"],
            env=dict(os.environ, PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT="0", PEBBLE_AUTHZREUSE="0"),
            stdout=open(path("pebble.log"), "w"), stderr=subprocess.STDOUT)
        lib.wait_until(self.is_there, "the authority")

    @staticmethod
    def is_there():
        with socket.socket() as s, socket.socket() as t:
            return s.connect_ex(("127.0.0.1", 14000)) == 0 and t.connect_ex(("127.0.0.1", 15000)) == 0

    def root(self):
        return subprocess.run(["curl", "-s", "--cacert", path("pebble.crt"), "https://127.0.0.1:15000/roots/0"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def stop(self):
        self.process.kill()
        self.process.wait()


# ---- clients ------------------------------------------------------------------------------------------------------------

class Session:
    """STARTTLS at port 25; root: who must have signed, or nobody need have."""

    def __init__(self, root=None):
        self.smtp = lib.Smtp(25)
        self.starttls = self.smtp.ask("STARTTLS")[0]
        context = ssl.create_default_context(cadata=root) if root else ssl._create_unverified_context()
        self.smtp.socket = context.wrap_socket(self.smtp.socket, server_hostname="mx.example.org")
        self.smtp.file = self.smtp.socket.makefile("rb")
        self.der = self.smtp.socket.getpeercert(True)

    def noop(self):
        return self.smtp.ask("NOOP")[0]


def key_of(der):
    """SHA-256 of its public key, the way other software computes it."""
    public = openssl("x509", "-inform", "DER", "-pubkey", "-noout", input=der)
    return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=public)).hexdigest()


def port_80():
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", 80)) == 0


def configure(names='{ "mx.example.org", "mail.example.org" }', extra="", domain="", more=""):
    return lib.file_of(path("waxwing.lua"), lib.paths_lua(where) + '''
hostname "mx.example.org"
postmaster "joe@example.org"
resolver { "127.0.0.53" }
listen { port = 25, address = "127.0.0.1" }
tls { acme = "admin@example.org", names = %s, acme_directory = "https://127.0.0.1:14000/dir", acme_folder = "acme"%s }
domain "example.org" %s
%s''' % (names, extra, lib.maildir_lua(where, '{ "joe" }', domain), more))


def reload():
    since = server.mark()
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_log(r"reload\.done", since)
    return since


# ---- the first day: nobody is there -------------------------------------------------------------------------------------

make_trust()
dns = lib.Dns(where, {"example.org.": "mx A 127.0.0.1\nmail A 127.0.0.1\nmta-sts CNAME mx\nsilent A 192.0.2.1\nastray A 203.0.113.9"})
lib.mail_folder(where)
config = configure()
server = lib.Server(["--config", config], path("control")).wait_ready()
own = Session()
tap.equal(own.starttls, 220, "without a certificate of an authority there is TLS all the same")
server.wait_log(r"acme\.self_signed.*mx\.example\.org")
line = server.wait_log(r"acme\.failed")
tap.ok("connect to server" in line and "127.0.0.1:14000" in line, "the log says who could not be reached", line)
tap.ok(server.wait_log(r"acme\.retry in_s=\d+"), "and when it is tried again")

# ---- the authority comes ------------------------------------------------------------------------------------------------

pebble = Pebble()
since = reload()
server.wait_log(r"acme\.joined.*admin@example\.org", since)
server.wait_log(r"acme\.challenge", since)
server.wait_log(r"http01\.asked.*by=127\.0\.0\.1 status=200", since)
server.wait_log(r"acme\.issued.*mx\.example\.org", since)
server.wait_log(r"certificate\.loaded.*mx\.example\.org\.crt", since)
first = lib.wait_until(lambda: (lambda s: s if s.der != own.der else None)(Session()), "the new certificate")
names = openssl("x509", "-inform", "DER", "-noout", "-ext", "subjectAltName", input=first.der).decode()
tap.ok("DNS:mx.example.org" in names and "DNS:mail.example.org" in names, "a certificate for both names is issued and shown", names)
tap.equal(Session(pebble.root()).noop(), 250, "who looks whom it is from is content")
tap.equal(key_of(first.der), key_of(own.der), "its key is that of the self-signed one: TLSA records stay right")
tap.equal(own.noop(), 250, "the session from before goes on")
lib.wait_until(lambda: not port_80(), "the port closed again")
tap.ok(True, "port 80 is open while the authority asks, and not longer")

user = pwd.getpwnam("_wwacme").pw_uid
about = os.stat(KEY)
tap.equal((about.st_uid, about.st_mode & 0o777), (0, 0o600), "the private key is root's alone")
tap.equal([f for f in os.listdir(path("acme/client")) if f.endswith(".key")], [], "and there is none in the folder of the client")
tap.equal(os.stat(path("acme/client")).st_uid, user, "which is a user's of its own")
for role, name in (("acme", "_wwacme"), ("http01", "_wwhttp")):
    with open("/proc/%d/status" % server.pid(role), encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    tap.equal((status["Uid"].split()[0], status["CapEff"].strip("0"), status["NoNewPrivs"]),
              (str(pwd.getpwnam(name).pw_uid), "", "1"), "%s is %s, without a capability" % (role, name))
    tap.equal(status["Seccomp"], "0" if lib.SANITIZED else "2", "and has a filter of system calls")

with open(KEY, encoding="ascii") as f:
    pem = f.read()
private = re.search(r"^priv:\n((?:    [0-9a-f:]+\n)+)", openssl("pkey", "-in", KEY, "-text", "-noout").decode(), re.M)
number = bytes.fromhex(re.sub(r"[:\s]", "", private[1])).lstrip(b"\0")
secrets = {"number": number, "number, the other way round": number[::-1], "PEM": pem.splitlines()[1].encode()}
if lib.SANITIZED:
    tap.skip("the private key is in the memory of keys alone", "a sanitizer's memory is too large to search")
for (role, index), pid in () if lib.SANITIZED else sorted(server.pids().items()):
    found = lib.found_in(pid, secrets)
    tap.ok(bool(found) == (role == "keys"), "the private key is in the memory of keys alone: %s %d" % (role, index), sorted(found))

# ---- what to publish ----------------------------------------------------------------------------------------------------

done = lib.run("dns", "--config", config)
tap.ok(done.returncode == 0, "waxwing dns", done.stderr)
zone = lib.file_of(path("zone"), "$TTL 60\n@ IN SOA ns.invalid. host.invalid. 1 3600 600 86400 1\n@ IN NS ns.invalid.\n" + done.stdout)
checked = subprocess.run(["nsd-checkzone", "example.org", zone], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
tap.equal(checked.returncode, 0, "what it prints is a part of a zone file (nsd)" + ("" if checked.returncode == 0 else checked.stdout))
tlsa = [line.split(None, 3)[3] for line in done.stdout.splitlines() if line.startswith("_25._tcp.mx.example.org. IN TLSA ")]
tap.equal(tlsa, ["3 1 1 " + key_of(first.der).upper()], "its TLSA record is that of the key that clients meet")
for rdata, good in ((tlsa[0], True), (tlsa[0][:-2] + ("00" if tlsa[0][-2:] != "00" else "01"), False)):
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", "127.0.0.1:25", "-verify_return_error",
                           "-dane_tlsa_domain", "mx.example.org", "-dane_tlsa_rrdata", rdata], input="QUIT\r\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S)
    tap.equal("DANE TLSA 3 1 1" in done.stdout and done.returncode == 0, good,
              "DANE with it: OpenSSL is content" if good else "and with another one it is not")
rows = lib.rows_of(lib.run("dns", "--json", "--config", config).stdout)
records = {(r["name"], r["type"]): r["data"] for r in rows if r["kind"] == "record"}
tap.equal(records[("example.org.", "MX")], "10 mx.example.org.", "as JSON: MX")
tap.ok(records[("_mta-sts.example.org.", "TXT")].startswith('"v=STSv1; id='), "MTA-STS")
tap.equal([(r["url"], "mx: mx.example.org\r\n" in r["text"]) for r in rows if r["kind"] == "policy"],
          [("https://mta-sts.example.org/.well-known/mta-sts.txt", True)], "and its policy")
tap.equal(records[("_smtp._tls.example.org.", "TXT")], '"v=TLSRPTv1; rua=mailto:postmaster@example.org"', "TLS-RPT")
os.rename(CERT, CERT + ".away")
done = lib.run("dns", "--config", config)
tap.equal((done.returncode, CERT in done.stderr, done.stdout), (66, True, ""), "without the certificate it says which file is missing")
os.rename(CERT + ".away", CERT)

# ---- it is renewed ------------------------------------------------------------------------------------------------------

since = reload()
server.wait_log(r"acme\.issued", since)
server.wait_log(r"certificate\.loaded", since)
second = lib.wait_until(lambda: (lambda s: s if s.der != first.der else None)(Session(pebble.root())), "the renewed one")
tap.equal(key_of(second.der), key_of(first.der), "a renewed certificate has the same key")
tap.equal((own.noop(), first.noop()), (250, 250), "and no session is dropped for it")
tap.ok(not any("acme.joined" in line for line in server.lines[since:]), "the account is kept")
root = pebble.root()

# ---- days on which nothing goes -----------------------------------------------------------------------------------------

held = socket.create_server(("127.0.0.1", 80))
configure(extra=', acme_address = "127.0.0.1"')
since = reload()
line = server.wait_log(r"acme\.failed", since)
tap.ok("port" in line and "another program has it" in line, "another program has the port: the log says so", line)
held.close()

configure('{ "mx.example.org", "astray.example.org" }')
since = reload()
line = server.wait_log(r"acme\.failed", since)
tap.ok("astray.example.org" in line and "unreachable" in line, "a name that leads elsewhere: the authority's words are in the log", line)
server.wait_log(r"acme\.discarded.*not for all the names", since)
tap.equal(Session(root).der, second.der, "the old certificate stays, though it is for other names")
configure('{ "mx.example.org", "nosuch.example.org" }')
since = reload()
line = server.wait_log(r"acme\.failed", since)
tap.ok("nosuch.example.org" in line, "a name that is not there: likewise", line)

configure()
since = reload()
server.wait_log(r"acme\.issued", since)
server.wait_log(r"certificate\.loaded", since)
third = lib.wait_until(lambda: (lambda s: s if s.der != second.der else None)(Session(root)), "the third one")
pebble.stop()
since = reload()
line = server.wait_log(r"acme\.failed", since)
tap.ok("connect to server" in line, "the authority is away: the log says so", line)
tap.equal(Session(root).der, third.der, "and the old certificate stays")
tap.equal(own.noop(), 250, "the first session is still there")

# ---- what dies ----------------------------------------------------------------------------------------------------------

pebble = Pebble() # which knows nobody any more
for role in ("http01", "acme"):
    old = server.pid(role)
    since = server.mark()
    os.kill(old, signal.SIGKILL)
    lib.wait_until(lambda: server.pids().get((role, 0), old) != old, "another %s process" % role)
server.wait_log(r"acme\.joined", since)
server.wait_log(r"acme\.issued", since)
tap.ok(True, "killed processes come again, and begin anew, also with an authority that has forgotten us")

with open(path("acme/client/mx.example.org-cert.pem"), encoding="ascii") as f:
    good = f.read()
lib.wait_until(lambda: open(CERT, encoding="ascii").read() == good, "the certificate to be taken")
os.unlink(path("acme/client/mx.example.org-cert.pem"))
lib.file_of(path("acme/client/mx.example.org-cert.pem"), good.replace("A", "B", 40))
pebble.stop()
since = reload()
server.wait_log(r"acme\.discarded.*mx\.example\.org", since)
tap.ok(open(CERT, encoding="ascii").read() == good, "what the client's folder holds is taken only when it is good")
tap.equal(server.stop(), 0, "and it ends in good order")
server = lib.Server(["--config", config], path("control")).wait_ready()
tap.equal(ssl.PEM_cert_to_DER_cert(good[:good.index("-----END") + 26].strip()), Session().der,
          "after a restart without an authority the last certificate is in force")
tap.equal(server.stop(), 0, "and it ends in good order, while its client is waiting")

# ---- by TLS-ALPN-01, with a policy of MTA-STS -----------------------------------------------------------------------------

STS = ("mta-sts.example.org", "/.well-known/mta-sts.txt")


def policy_by_curl(root):
    return subprocess.run(["curl", "-s", "--cacert", lib.file_of(path("root.pem"), root), "--resolve", STS[0] + ":443:127.0.0.1",
                           "https://" + STS[0] + STS[1]], stdout=subprocess.PIPE, text=True).stdout


def alpn(names='{ "mx.example.org", "mail.example.org" }'):
    return configure(names, ', acme_challenge = "tls-alpn-01"', ', mta_sts_policy = "testing"', 'https { address = "127.0.0.1" }\n')


def print_of(name):
    """SHA-256 of the certificate that port 443 shows for the name."""
    with socket.create_connection(("127.0.0.1", 443)) as s, ssl._create_unverified_context().wrap_socket(s, server_hostname=name) as t:
        return hashlib.sha256(t.getpeercert(True)).hexdigest()


for name in ("mx", STS[0].partition(".")[0]): # as on the first day
    for ending in (".crt", ".key"):
        if os.path.exists(path("acme/%s.example.org%s" % (name, ending))):
            os.unlink(path("acme/%s.example.org%s" % (name, ending)))
held = socket.create_server(("127.0.0.1", 80)) # of another program, and of no interest
pebble = Pebble()
alpn()
server = lib.Server(["--config", config], path("control")).wait_ready()
for name in ("mx", "mail", "mta-sts"):
    server.wait_log(r"acme\.challenge.*name=%s\.example\.org kind=tls-alpn-01" % name)
    server.wait_log(r"https\.proven.*name=%s\.example\.org to=127\.0\.0\.1" % name)
for name in ("mx", "mta-sts"):
    server.wait_log(r"acme\.issued.*name=%s\.example\.org" % name)
root = pebble.root()
lib.wait_until(lambda: policy_by_curl(root).startswith("version: STSv1\nmode: testing\n"), "the policy")
tap.ok(True, "a certificate for the policy host comes by itself, by TLS-ALPN-01, and curl gets the policy with it")
tap.equal(Session(root).noop(), 250, "that of the host, too")
tap.ok(("http01", 0) not in server.pids() and ("https", 0) in server.pids(), "nobody wants port 80")
old = {name: print_of(name) for name in ("mx.example.org", STS[0])}
tap.equal(old["mx.example.org"], hashlib.sha256(Session(root).der).hexdigest(), "ports 25 and 443 show the same certificates")
names = [sorted(line.strip().split(", ")) for name in ("mx", "mta-sts") for line in
         openssl("x509", "-in", path("acme/%s.example.org.crt" % name), "-noout", "-ext", "subjectAltName").decode().splitlines()[1:]]
tap.equal(names, [["DNS:mail.example.org", "DNS:mx.example.org"], ["DNS:mta-sts.example.org"]], "the policy host has a certificate of its own")

since = reload()
for name in old:
    server.wait_log(r"acme\.issued.*name=%s" % re.escape(name), since)
    lib.wait_until(lambda: print_of(name) != old[name], "the renewed certificate")
tap.ok(policy_by_curl(root) != "" and Session(root).noop() == 250, "both are renewed, and taken by both")

dead = server.pid("https")
since = server.mark()
os.kill(dead, signal.SIGKILL)
lib.wait_until(lambda: server.pids().get(("https", 0), dead) != dead, "another https process")
lib.wait_until(lambda: policy_by_curl(root) != "", "the policy")
since = reload()
server.wait_log(r"acme\.issued.*name=mta-sts\.example\.org", since)
tap.ok(True, "a killed https process comes again, and begins anew")


class Silent:
    """Where another name leads: .asked is set when the authority is there, which then waits in vain."""

    def __init__(self):
        self.asked, self.listener = threading.Event(), socket.create_server(("192.0.2.1", 443))
        self.conns = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            self.conns.append(self.listener.accept()[0])
            self.asked.set()


def shown(name, *args):
    done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", name, *args], input="", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S)
    text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=done.stdout, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout
    return done.stdout, text


silent = Silent()
alpn('{ "mx.example.org", "silent.example.org" }')
since = reload()
tap.ok(silent.asked.wait(lib.DEADLINE_S), "the authority asks where the name leads")
said, text = shown("silent.example.org", "-alpn", "acme-tls/1")
tap.ok("ALPN protocol: acme-tls/1" in said and "1.3.6.1.5.5.7.1.31: critical" in text and "DNS:silent.example.org" in text and
       text.count("DNS:") == 1, "while it asks, its protocol is answered with the proof (openssl)", said + text)
for args in ((), ("-alpn", "http/1.1"), ("-alpn", "acme-tls/1,http/1.1")):
    said, text = shown("silent.example.org", *args)
    tap.ok("1.3.6.1.5.5.7.1.31" not in text and "DNS:mx.example.org" in text and "acme-tls/1" not in said.partition("---")[2],
           "and no other: " + " ".join(args), said + text)
said, text = shown("mail.example.org", "-alpn", "acme-tls/1")
tap.ok(text == "" and "alert" in said, "nor is another name", said)
line = server.wait_log(r"acme\.failed.*name=mx\.example\.org", since)
server.wait_log(r"acme\.retry", since)
tap.ok("192.0.2.1:443" in line, "a name that leads elsewhere gets no certificate", line)
tap.ok(policy_by_curl(root) != "", "and the policy host's goes on")
said, text = shown("silent.example.org", "-alpn", "acme-tls/1")
tap.ok(text == "" and "alert" in said, "behind that nothing is proven any more", said)

held.close()
configure()
since = reload()
server.wait_log(r"http01\.asked.*status=200", since)
server.wait_log(r"acme\.issued.*name=mx\.example\.org", since)
lib.wait_until(lambda: ("https", 0) not in server.pids(), "the end of the https process")
tap.ok(True, "a reload goes back to HTTP-01")
alpn()
since = reload()
server.wait_log(r"https\.proven.*name=mx\.example\.org", since)
server.wait_log(r"acme\.issued.*name=mta-sts\.example\.org", since)
tap.ok(True, "and to TLS-ALPN-01 again")
pebble.stop()
tap.equal(server.stop(), 0, "it ends in good order")
tap.end()

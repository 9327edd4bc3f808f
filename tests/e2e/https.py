#!/usr/bin/env python3
"""The policies of MTA-STS that are served at port 443: fetched by curl, asked for by clients of all kinds, through deaths and
reloads; and followed by another server that fetches them, over zone files that `waxwing dns` has printed."""
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["curl", "openssl", "nsd"])
where = lib.folder()
HERE, THERE = "192.0.2.1", "198.51.100.1"  # the domain's server, and who sends to it
URL = "https://mta-sts.%s/.well-known/mta-sts.txt"
MESSAGE = b"From: ann@us.test\r\nSubject: by policy\r\n\r\nhello\r\n"
VISITS_MAX = 256


def path(*names):
    return os.path.join(where, *names)


def openssl(*args):
    subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=where)


def make(name, names, key="ec"):
    """NAME.crt and NAME.key, of the authority."""
    san = lib.file_of(path(name + ".ext"), "subjectAltName=" + ",".join("DNS:" + n for n in names))
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else ["rsa:2048"]
    openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", "/CN=lab", "-keyout", name + ".key.new", "-out", name + ".csr")
    openssl("x509", "-req", "-in", name + ".csr", "-extfile", san, "-days", "30", "-out", name + ".crt.new", "-CA", "ca.crt",
            "-CAkey", "ca.key", "-CAcreateserial")
    for ending in (".key", ".crt"):
        os.rename(path(name + ending + ".new"), path(name + ending))


openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=lab",
        "-keyout", "ca.key", "-out", "ca.crt")
make("mx", ["mx.example.org"])
make("sts", ["mta-sts.example.org"])
make("wild", ["*.example.net"], "rsa")


# ---- the server ---------------------------------------------------------------------------------------------------------

def configure(org='"testing"', more="", has_policies=True):
    key = ", mta_sts_policy = %s"
    return lib.file_of(path("waxwing.lua"), lib.paths_lua(where) + '''
hostname "mx.example.org"
postmaster "joe@example.org"
resolver { "127.0.0.53" }
outgoing { mta_sts = false }
log { level = "debug" }
listen { port = 25, address = "%s" }
tls { cert = "mx.crt", key = "mx.key" }
tls { cert = "sts.crt", key = "sts.key" }
tls { cert = "wild.crt", key = "wild.key" }
https { address = "%s" }
domain "example.org" %s
domain "example.net" { same_as = "example.org"%s }
domain "example.com" { same_as = "example.org"%s }
%s''' % (HERE, HERE, lib.maildir_lua(where, '{ "joe" }', key % org if has_policies else ""),
         key % '{ mode = "enforce", max_age = "2d", mx = { "mx.example.org", "*.example.net" } }' if has_policies else "",
         key % '"none"' if has_policies else "", more))


def reload():
    since = server.mark()
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"reload\.done", since)
    return since


def policies():
    """{domain: what `waxwing dns` says that it serves}."""
    rows = lib.rows_of(lib.run("dns", "--json", "--config", path("waxwing.lua")).stdout)
    return {re.match(r"https://mta-sts\.([^/]+)/", r["url"])[1]: r["text"] for r in rows if r["kind"] == "policy" and r["served"]}


def records():
    """The lines of the zone file that `waxwing dns` prints, without the names' ends."""
    done = lib.run("dns", "--config", path("waxwing.lua"))
    return done.stdout


# ---- clients ------------------------------------------------------------------------------------------------------------

def curl(domain, *args, ca="ca.crt", url=None):
    """(exit code, status, type, body)."""
    done = subprocess.run(["curl", "-s", "--cacert", path(ca), "--resolve", "mta-sts.%s:443:%s" % (domain, HERE), "-o", path("body"),
                           "-w", "%{http_code} %{content_type} %{num_redirects}", "--max-time", str(lib.DEADLINE_S), *args,
                           url or URL % domain], stdout=subprocess.PIPE, text=True)
    body = ""
    if os.path.exists(path("body")):
        with open(path("body"), newline="", encoding="utf-8") as f:
            body = f.read()
        os.unlink(path("body"))
    status, kind, redirects = done.stdout.split(" ")
    return done.returncode, int(status), kind, body if redirects == "0" else "redirected"


def is_served(domain="example.org"):
    return curl(domain)[:2] == (0, 200)


def connect():
    return socket.create_connection((HERE, 443), lib.DEADLINE_S)


def secure(name="mta-sts.example.org", version=None, alpn=None):
    context = ssl.create_default_context(cafile=path("ca.crt"))
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(connect(), server_hostname=name)


def ask(octets, **kw):
    """What comes back for these octets, up to its end."""
    with secure(**kw) as s:
        s.sendall(octets)
        out = b""
        while True:
            more = s.recv(4096)
            if not more:
                return out
            out += more


def s_client(*args):
    done = subprocess.run(["openssl", "s_client", "-connect", HERE + ":443", "-servername", "mta-sts.example.org", "-CAfile", path("ca.crt"),
                           *args], input="", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S)
    return done.returncode, done.stdout


# ---- policies are fetched -----------------------------------------------------------------------------------------------

server = lib.start(where, open(configure(), encoding="utf-8").read().replace(lib.paths_lua(where), ""))
server.wait_log(r"listening.*at=%s:443 protocol=HTTPS" % re.escape(HERE))
configure()
texts = policies()
tap.equal(texts["example.org"], "version: STSv1\r\nmode: testing\r\nmx: mx.example.org\r\nmax_age: 604800\r\n", "waxwing dns: the usual policy")
for version in ("1.2", "1.3"):
    tap.equal(curl("example.org", "--tlsv" + version, "--tls-max", version), (0, 200, "text/plain", texts["example.org"]),
              "curl gets it by TLS %s, with a certificate for the policy host" % version)
tap.equal(curl("example.net"), (0, 200, "text/plain",
                                "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.example.net\r\nmax_age: 172800\r\n"),
          "another domain has its own policy, behind another certificate")
tap.equal(curl("example.com")[0], 60, "without a certificate for its host a policy is not to be had")
server.wait_log(r"https\.no_certificate.*mta-sts\.example\.com")
tap.equal(curl("example.com", "--insecure")[3], "version: STSv1\r\nmode: none\r\nmax_age: 604800\r\n", "which is what the log says")
done = lib.run("check", path("waxwing.lua"))
tap.ok(done.returncode == 0 and "none of the certificates is for mta-sts.example.com" in done.stderr and "mta-sts.example.org" not in done.stderr,
       "and waxwing check", done.stderr)
tap.ok("; None of the certificates is for mta-sts.example.com" in records(), "and waxwing dns")
tap.equal(curl("example.org", "--head")[:3], (0, 200, "text/plain"), "HEAD")
tap.equal(curl("example.org", "--http1.0", "--no-alpn")[:2], (0, 200), "HTTP/1.0")
tap.equal(curl("example.org", "--http1.1", "--no-alpn")[:2], (0, 200), "without ALPN")

# ---- and nothing else ---------------------------------------------------------------------------------------------------

for url in ("/", "/.well-known/mta-sts.txt?", "/.well-known/", "/robots.txt"):
    status = curl("example.org", url="https://mta-sts.example.org" + url)
    tap.equal(status[:2] + status[3:], (0, 404, "nothing here\n"), "404: " + url)
for host in ("mx.example.org", "mta-sts.example.edu", "example.org"):
    tap.equal(curl("example.org", "-H", "Host: " + host)[:2], (0, 404), "404: Host: " + host)
tap.equal(curl("example.org", "-d", "x=1")[:2], (0, 405), "405: POST")
tap.equal(curl("example.org", "-H", "X: " + "x" * 5000)[:2], (0, 431), "431: a long header")
tap.ok(ask(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 "), "400: no Host")
answer = ask(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
tap.ok(answer.count(b"HTTP/1.1") == 1 and b"Connection: close" in answer, "one request a connection", answer)
tap.ok(b"\0" not in ask(b"\0" * 100 + b"\r\n\r\n"), "octets of a request are in no answer")

# ---- TLS ----------------------------------------------------------------------------------------------------------------

with secure(alpn=["h2", "http/1.1"]) as s:
    tap.equal(s.selected_alpn_protocol(), "http/1.1", "ALPN: http/1.1")
code, text = s_client("-alpn", "h2")
tap.ok("no application protocol" in text, "who offers other protocols only is refused", text)
code, text = s_client("-alpn", "acme-tls/1")
tap.ok("alert" in text and "acmeIdentifier" not in text and "BEGIN CERTIFICATE" not in text, "nothing is shown where nobody has to prove a thing", text)
for version, good in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
    code, text = s_client(version, "-cipher", "ALL:@SECLEVEL=0")
    tap.equal("Verify return code: 0 (ok)" in text and "Cipher is (NONE)" not in text, good, "%s: %s" % (version, "yes" if good else "no"))
code, text = s_client("-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
tap.ok("Cipher is (NONE)" in text, "no old ciphers", text)
code, text = s_client("-servername", "nobody.example")
tap.ok("DNS:mx.example.org" in subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=text, text=True,
                                              stdout=subprocess.PIPE).stdout, "other names get the first certificate")
if shutil.which("testssl") is None or lib.SANITIZED:
    tap.skip("testssl", "needs testssl (testssl.sh), and no sanitizer")
else:
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "min", "--ip", HERE, "--openssl-timeout", "10",
                    "--add-ca", path("ca.crt"), "--jsonfile", path("testssl.json"), "--protocols", "--heartbleed", "--ccs-injection",
                    "--ticketbleed", "--robot", "--renegotiation", "--crime", "mta-sts.example.org:443"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
    with open(path("testssl.json"), encoding="utf-8") as f:
        rows = {row["id"]: row for row in lib.json.load(f)}
    tap.ok(rows.get("TLS1_3", {}).get("finding", "").startswith("offered") and rows["TLS1"]["finding"].startswith("not offered"),
           "testssl got through", str(rows)[:2000])
    tap.equal({i: r["finding"] for i, r in rows.items() if r["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")}, {},
              "testssl: none of %d findings is grave" % len(rows))

# ---- clients that mean no good ------------------------------------------------------------------------------------------

for octets in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\xff" * 2000, b"\x80\x2e\x01\x00\x02", os.urandom(3000), b""):
    with connect() as s:
        try:
            s.sendall(octets)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except OSError:
            pass
tap.ok(is_served(), "what is no TLS does no harm")


class Slow(threading.Thread):
    """Sends an octet at a time, for as long as there is somebody. .octets: what came back."""

    def __init__(self, is_secure):
        super().__init__(daemon=True)
        self.is_secure, self.octets = is_secure, None
        self.start()

    def run(self):
        s = secure() if self.is_secure else connect()
        got = b""
        try:
            s.settimeout(0.5)
            for octet in b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nX: " + b"x" * 4000 if self.is_secure else b"\x16\x03\x01\x02\x00" + b"\1" * 500:
                s.sendall(bytes([octet]))
                try:
                    got = s.recv(100)
                    break
                except TimeoutError:
                    pass
        except OSError:
            pass
        self.octets = got
        s.close()


slow = [Slow(True) for _ in range(5)] + [Slow(False) for _ in range(5)]
idle = [connect() for _ in range(200)]
tap.ok(is_served(), "200 connections that say nothing, and slow ones, keep nobody out")
more = [connect() for _ in range(VISITS_MAX)]
tap.ok(is_served(), "nor do %d, of which the oldest had to go" % (VISITS_MAX + 200))
quiet = secure()  # has shaken hands, and says no more
for thread in slow:
    thread.join(lib.DEADLINE_S)
tap.equal([t.octets for t in slow], [b""] * 10, "who is slow is sent away unanswered")
for s in idle + more + [quiet]:
    s.settimeout(lib.DEADLINE_S)
    try:
        while s.recv(4096):
            pass
    except ConnectionResetError:
        pass
    s.close()
tap.ok(True, "and so is who says nothing")

# ---- what the process may -----------------------------------------------------------------------------------------------

with open("/proc/%d/status" % server.pid("https"), encoding="ascii") as f:
    status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
tap.equal((status["Uid"].split()[0], status["CapEff"].strip("0"), status["NoNewPrivs"]), (str(pwd.getpwnam("_wwhttps").pw_uid), "", "1"),
          "https is _wwhttps, without a capability")
tap.equal(status["Seccomp"], "0" if lib.SANITIZED else "2", "and has a filter of system calls")
private = re.search(r"^priv:\n((?:    [0-9a-f:]+\n)+)", subprocess.run(["openssl", "pkey", "-in", path("sts.key"), "-text", "-noout"], check=True,
                                                                      text=True, stdout=subprocess.PIPE).stdout, re.M)
number = bytes.fromhex(re.sub(r"[:\s]", "", private[1])).lstrip(b"\0")
secrets = {"number": number, "number, the other way round": number[::-1],
           "PEM": open(path("sts.key"), encoding="ascii").read().splitlines()[1].encode()}
if lib.SANITIZED:
    tap.skip("the private key is in the memory of keys alone", "a sanitizer's memory is too large to search")
for (role, index), pid in () if lib.SANITIZED else sorted(server.pids().items()):
    found = lib.found_in(pid, secrets)
    tap.ok(bool(found) == (role == "keys"), "the private key is in the memory of keys alone: %s %d" % (role, index), sorted(found))

# ---- what dies, and what changes ------------------------------------------------------------------------------------------

for role in ("https", "keys"):
    old = server.pid(role)
    os.kill(old, signal.SIGKILL)
    lib.wait_until(lambda: server.pids().get((role, 0), old) != old, "another %s process" % role)
    lib.wait_until(is_served, "the policy after the death of " + role)
    tap.ok(is_served("example.net"), "%s dies, and comes again" % role)


def serial():
    with secure() as s:
        return s.getpeercert()["serialNumber"]


first = serial()
make("sts", ["mta-sts.example.org"])
lib.wait_until(lambda: serial() != first, "the renewed certificate")
tap.ok(is_served(), "a renewed certificate is taken by itself")

ids = set()


def record_id(domain="example.org"):
    return re.search(r"(?m)^_mta-sts\.%s\. IN TXT \"v=STSv1; id=(\w+)\"" % re.escape(domain), records())[1]


for mode in ("testing", "enforce", "none", "testing"):
    configure('"%s"' % mode)
    reload()
    ids.add(record_id())
    tap.ok("mode: %s\r\n" % mode in curl("example.org")[3] and curl("example.org")[3] == policies()["example.org"],
           "a reload changes the policy: " + mode)
tap.equal(len(ids), 3, "and another policy has another id, the same one the same")

configure(has_policies=False)
reload()


def is_open():
    with socket.socket() as s:
        return s.connect_ex((HERE, 443)) == 0


lib.wait_until(lambda: ("https", 0) not in server.pids() and not is_open(), "the end of the https process")
tap.ok(True, "without a policy the port is closed, and there is no such process")
held = socket.create_server((HERE, 443))
configure('"enforce"')
since = server.mark()
server.process.send_signal(signal.SIGHUP)
line = server.wait_log(r"reload\.refused", since)
tap.ok("%s:443" % HERE in line and "another program has this port" in line, "where another program has the port, that is said", line)
held.close()
reload()
lib.wait_until(is_open, "the port")
lib.wait_until(is_served, "the policy")
tap.ok(True, "with one it is open again")

# ---- another server follows it ------------------------------------------------------------------------------------------


def zone():
    """What `waxwing dns` prints, with the addresses of the host."""
    return {"example.org.": records() + "\nmx A %s\n" % HERE, "us.test.": "@ A %s" % THERE}


def zone_of(text):
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith(";") and "example.net" not in line and "example.com" not in line)


def start_dns():
    return lib.Dns(where, {name: zone_of(text) for name, text in zone().items()})


configure('{ mode = "enforce", max_age = 60 }')
reload()
dns = start_dns()
os.mkdir(path("sender"), 0o755)
port = lib.free_port()
SENDER = ('hostname "us.test"\nrelay_from { "127.0.0.0/8" }\nlisten { port = %d, address = "127.0.0.1" }\nresolver { "127.0.0.53" }\n'
          'authorities "%s"\nlog { level = "debug" }\n' % (port, path("ca.crt")))
sender = lib.start(path("sender"), SENDER)


def send():
    return lib.id_of(lib.send_one(port, "ann@us.test", ["joe@example.org"], MESSAGE))


def life(id_):
    return "\n".join(" ".join(str(v) for v in row.values()) for row in sender.why(id_))


id_ = send()
sender.wait_event(id_, "delivered")
tap.ok("verified (PKIX)" in life(id_) and "MTA-STS" in life(id_), "another server fetches the policy, and delivers as it says", lambda: life(id_))
lib.wait_until(lambda: len(lib.all_messages(path("mail"))) == 1, "the mail")
server.wait_log(r"https\.asked by=%s status=200|https\.asked by=127\.0\.0\.1 status=200|https\.asked by=%s status=200" % (re.escape(HERE), re.escape(THERE)))

configure('{ mode = "enforce", mx = { "mx.example.net" } }')
reload()
dns.stop()
dns = start_dns()
tap.equal(sender.stop(), 0, "the sender ends")  # it has what DNS said in mind, for as long as DNS said
sender = lib.start(path("sender"), SENDER)
id_ = send()
sender.wait_event(id_, "deferred")
tap.ok("MTA-STS" in life(id_), "a policy that names other hosts is fetched for its new id, and holds the mail up", lambda: life(id_))
tap.equal(len(lib.all_messages(path("mail"))), 1, "nothing came")
configure('{ mode = "testing", mx = { "mx.example.net" } }')
reload()
dns.stop()
dns = start_dns()
tap.equal(sender.stop(), 0, "the sender ends")
sender = lib.start(path("sender"), SENDER)
id_ = send()
sender.wait_event(id_, "delivered")
tap.ok(True, "in testing it goes all the same")
tap.equal((sender.stop(), server.stop()), (0, 0), "both end in good order")
tap.end()

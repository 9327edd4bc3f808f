#!/usr/bin/env python3
"""Reports about TLS (RFC 8460) end to end: mail goes to servers of all kinds, and what their domains are told of it a lab's day
of ten seconds later, by mail and by HTTPS; with receivers that refuse, sleep or are somebody else, with restarts, deaths and a
full disk."""
import collections
import email
import email.policy
import gzip
import http.server
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
lib.inside(["nsd", "openssl", "ss"])
where = lib.folder()
EVERY_S = 10
MESSAGE = b"From: ann@us.test\r\nSubject: to be counted\r\n\r\nhello\r\n"
HOSTS = ("good", "other", "bare", "sink", "web", "report", "shut", "slow", "away", "us")
AT = {name: "198.51.100.%d" % (11 + i) for i, name in enumerate(HOSTS)}
for address in AT.values():
    subprocess.run(["ip", "addr", "add", address + "/24", "dev", "lo"], check=True)


# ---- certificates -------------------------------------------------------------------------------------------------------

def openssl(*args):
    subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=where)


def make(name, names):
    """A context for a server with a certificate of the authority for these names."""
    san = lib.file_of(os.path.join(where, name + ".ext"), "subjectAltName=" + ",".join("DNS:" + n for n in names))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=lab",
            "-keyout", name + ".key", "-out", name + ".csr")
    openssl("x509", "-req", "-in", name + ".csr", "-extfile", san, "-days", "30", "-out", name + ".crt", "-CA", "ca.crt",
            "-CAkey", "ca.key", "-CAcreateserial")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(where, name + ".crt"), os.path.join(where, name + ".key"))
    return context


openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=lab",
        "-keyout", "ca.key", "-out", "ca.crt")


# ---- servers ------------------------------------------------------------------------------------------------------------

class Mx:
    """A mail server at port 25. context None: without STARTTLS. .taken: (recipient, TLS or not, octets) of each message."""

    def __init__(self, address, context):
        self.context, self.taken = context, []
        self.socket = socket.create_server((address, 25), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._visit, args=(self.socket.accept()[0],), daemon=True).start()

    def _visit(self, conn):
        try:
            conn.sendall(b"220 mx.test ESMTP\r\n")
            while conn is not None:
                conn = self._talk(conn)
        except (OSError, ssl.SSLError):
            pass

    def _talk(self, conn):
        lines, is_tls, rcpt = conn.makefile("rb"), isinstance(conn, ssl.SSLSocket), None
        for line in lines:
            verb, answer = line[:4].upper(), b"250 ok"
            if verb == b"EHLO" and self.context is not None and not is_tls:
                answer = b"250-mx.test\r\n250 STARTTLS"
            elif verb == b"STAR":
                conn.sendall(b"220 go\r\n")
                return self.context.wrap_socket(conn, server_side=True)
            elif verb == b"RCPT":
                rcpt = line[line.index(b"<") + 1:line.index(b">")].decode()
            elif verb == b"DATA":
                conn.sendall(b"354 go\r\n")
                self.taken.append((rcpt, is_tls, b"".join(iter(lines.readline, b".\r\n"))))
            elif verb == b"QUIT":
                answer = b"221 bye"
            conn.sendall(answer + b"\r\n")
            if verb == b"QUIT":
                break
        conn.close()
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    """Policies by GET at their place, reports by POST anywhere: see Web."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, body=b"", kind="text/plain"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        page = self.server.pages.get(self.headers["Host"].partition(":")[0].partition(".")[2])
        self.answer(*((200, page) if page else (404,)))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers["Content-Type"], body))
        self.answer(self.server.code)


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, port, context):
        self.pages, self.posted, self.code = {}, [], 201
        super().__init__((address, port), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def policy(mode, *mx):
    return ("version: STSv1\r\nmode: %s\r\n%smax_age: 86400\r\n" % (mode, "".join("mx: %s\r\n" % m for m in mx))).encode()


# ---- domains ------------------------------------------------------------------------------------------------------------

class Domain:
    """Its MX, the places that want its reports, its MTA-STS policy (None: none; empty: one that can't be had)."""

    def __init__(self, name, mx, rua, page=None):
        self.name, self.mx, self.rua, self.page = name + ".test", mx, rua, page


# each has a mail server of its own, so that none waits for the end of another's connection
DOMAINS = [
    Domain("right", "good", "mailto:tls%2Brpt@sink.test,https://report.test:8443/v1/right?a=b", policy("enforce", "good.test")),
    Domain("wrong", "other", "https://report.test:8443/wrong", policy("testing", "*.test")),
    Domain("plain", "bare", "https://report.test:8443/plain"),
    Domain("broken", "web", "https://report.test:8443/broken", b""),
    Domain("silent", "us", None),
    Domain("shut", "shut", "https://shut.test:8443/,mailto:shut@sink.test"),  # nobody listens there
    Domain("slow", "slow", "https://slow.test:8443/,mailto:slow@sink.test"),  # takes connections and says nothing
    Domain("away", "away", "https://away.test:8443/,mailto:away@sink.test"),  # has a certificate for another name
    # its own policy forbids its only mail server: reports must get through all the same (RFC 8460 3, RFC 8689)
    Domain("sink", "sink", "mailto:own@sink.test", policy("enforce", "elsewhere.test")),
]
zone = "".join("%s A %s\n" % (name, address) for name, address in AT.items())
for d in DOMAINS:
    label = d.name.partition(".")[0]
    zone += "%s MX 10 %s\n" % (label, d.mx)
    zone += '_smtp._tls.%s TXT "v=TLSRPTv1; rua=%s"\n' % (label, d.rua) if d.rua else ""
    if d.page is not None:
        zone += '_mta-sts.%s TXT "v=STSv1; id=1;"\nmta-sts.%s A %s\n' % (label, label, AT["web"])
dns = lib.Dns(where, {"test.": zone})
good, other = Mx(AT["good"], make("good", ["good.test"])), Mx(AT["other"], make("other", ["elsewhere.test"]))
bare, sink = Mx(AT["bare"], None), Mx(AT["sink"], None)
rest = [Mx(AT[name], None) for name in ("web", "us", "shut", "slow", "away")]
web = Web(AT["web"], 443, make("web", ["mta-sts.%s" % d.name for d in DOMAINS]))
web.pages = {d.name: d.page for d in DOMAINS}
report = Web(AT["report"], 8443, make("report", ["report.test"]))
away = Web(AT["away"], 8443, make("away", ["elsewhere.test"]))
slow = socket.create_server((AT["slow"], 8443), backlog=64)
port = lib.free_port()
LUA = ('hostname "mail.us.test"\nrelay_from { "127.0.0.0/8" }\nlisten { port = %d, address = "127.0.0.1" }\n'
       'resolver { "127.0.0.53" }\nauthorities "%s/ca.crt"\npostmaster "joe@us.test"\ndomain "us.test" %s\n'
       'reports { tls = "tls@us.test", tls_organization = "Us & Co", tls_every = %d }\n' % (
           port, where, lib.maildir_lua(where), EVERY_S))
server = lib.start(where, LUA)


def is_open(address):
    done = subprocess.run(["ss", "-Htn", "state", "established", "dst", address, "dport", "=", ":25"], check=True,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout != ""


def send(domain, wanted="delivered"):
    """A message, over a connection of its own: one that was kept is no new session."""
    mx = [d.mx for d in DOMAINS if d.name == domain][0]
    lib.wait_until(lambda: not is_open(AT[mx]), "the end of the connection to " + mx)
    id_ = lib.id_of(lib.send_one(port, "joe@us.test", ["ann@" + domain], MESSAGE))
    server.wait_event(id_, wanted)


# ---- what comes in ------------------------------------------------------------------------------------------------------

def by_https(path):
    """The reports that were posted there, and checks their form."""
    out = []
    for at, kind, body in list(report.posted):
        if at == path:
            assert kind == "application/tlsrpt+gzip", kind
            out.append(json.loads(gzip.decompress(body)))
    return out


def by_mail(rcpt):
    """(message, report) of each that came by mail for this recipient."""
    out = []
    for to, _, octets in list(sink.taken):
        if to == rcpt:
            m = email.message_from_bytes(octets, policy=email.policy.default)
            out.append((m, json.loads(gzip.decompress(m.get_payload(1).get_payload(decode=True)))))
    return out


def sums(reports):
    """{(policy type, domain): [good, bad, {(result, MX): sessions}]} of all of them."""
    out = {}
    for r in reports:
        for p in r["policies"]:
            row = out.setdefault((p["policy"]["policy-type"], p["policy"]["policy-domain"]), [0, 0, collections.Counter()])
            row[0] += p["summary"]["total-successful-session-count"]
            row[1] += p["summary"]["total-failure-session-count"]
            for f in p.get("failure-details", ()):
                row[2][(f["result-type"], f.get("receiving-mx-hostname"))] += f["failed-session-count"]
    return out


def total(reports):
    return sum(row[0] + row[1] for row in sums(reports).values())


def wait_total(get, n, what):
    """The reports, when they tell of so many sessions."""
    lib.wait_until(lambda: total(get()) >= n, "%d sessions in %s" % (n, what), 4 * EVERY_S + 60)
    return get()


# ---- each domain is told what became of it --------------------------------------------------------------------------------

N = 2
for i in range(N):
    for d in DOMAINS:
        if d.name != "sink.test":
            send(d.name)
send("sink.test", "deferred")

reports = wait_total(lambda: by_https("/v1/right?a=b"), N, "right by HTTPS")
tap.equal(sums(reports), {("sts", "right.test"): [N, 0, {}]}, "HTTPS: sessions that were as the policy wants")
tap.equal(reports[0]["policies"][0]["policy"]["policy-string"],
          ["version: STSv1", "mode: enforce", "mx: good.test", "max_age: 86400"], "the policy is told line by line")
tap.equal(reports[0]["policies"][0]["policy"]["mx-host"], ["good.test"], "and its hosts")
tap.equal((reports[0]["organization-name"], reports[0]["contact-info"]), ("Us & Co", "tls@us.test"), "who we are is told")
tap.ok(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d0Z", reports[0]["date-range"]["start-datetime"]) and
       reports[0]["date-range"]["end-datetime"].endswith("9Z"), "the day has its bounds", reports[0]["date-range"])

mails = lib.wait_until(lambda: total([r for _, r in by_mail("tls+rpt@sink.test")]) >= N and by_mail("tls+rpt@sink.test"),
                       "the same by mail", 4 * EVERY_S + 60)
tap.equal(sorted(json.dumps(r) for _, r in mails), sorted(json.dumps(r) for r in by_https("/v1/right?a=b")),
          "by mail the same reports come")
m, r = mails[0]
tap.equal(m.get_content_type(), "multipart/report", "the message is a report")
tap.equal(m["Content-Type"].params["report-type"], "tlsrpt", "of this type")
tap.equal((m["From"], m["To"]), ("tls@us.test", "tls+rpt@sink.test"), "from the configured address to the one that wants it")
tap.equal(m["Subject"], "Report Domain: right.test\tSubmitter: us.test\tReport-ID: <%s>" % r["report-id"], "its subject is the RFC's")
tap.equal((m["TLS-Report-Domain"], m["TLS-Report-Submitter"]), ("right.test", "us.test"), "so are its own fields")
tap.equal((m["TLS-Required"], m["Auto-Submitted"]), ("No", "auto-generated"), "it gets through without TLS, and nobody answers it")
tap.ok(m["Message-ID"] and m["Date"] and m["Date"].datetime, "it has a date and an id")
parts = [p.get_content_type() for p in m.iter_parts()]
tap.equal(parts, ["text/plain", "application/tlsrpt+gzip"], "a part for people and the report")
begin, end = (int(x) for x in re.search(r"!(\d+)!(\d+)!", m.get_payload(1).get_filename()).groups())
tap.equal(m.get_payload(1).get_filename(), "us.test!right.test!%d!%d!%s.json.gz" % (begin, end, r["report-id"].partition("@")[0]),
          "the file's name is the RFC's")
tap.equal((begin % EVERY_S, end - begin), (0, EVERY_S - 1), "with the bounds of the day")

reports = wait_total(lambda: by_https("/wrong"), N, "wrong")
tap.equal(sums(reports), {("sts", "wrong.test"): [0, N, {("certificate-host-mismatch", "other.test"): N}]},
          "a certificate for another name is told, under a policy that is only tested")
tap.ok(all(f["receiving-ip"] == AT["other"] and f["sending-mta-ip"] for p in reports[0]["policies"] for f in p["failure-details"]),
       "with the addresses of both")
reports = wait_total(lambda: by_https("/plain"), N, "plain")
tap.equal(sums(reports), {("no-policy-found", "plain.test"): [0, N, {("starttls-not-supported", "bare.test"): N}]},
          "a server without STARTTLS is told")
reports = wait_total(lambda: by_https("/broken"), N, "broken")
tap.equal([(k, v[:2], [f for f, _ in v[2]]) for k, v in sums(reports).items()],
          [(("sts", "broken.test"), [0, N], ["sts-policy-fetch-error"])], "a policy that can't be had is told")

# ---- places that do not work ------------------------------------------------------------------------------------------------

for name in ("shut", "away"):
    lib.wait_until(lambda: total([r for _, r in by_mail(name + "@sink.test")]) >= N, name, 4 * EVERY_S + 60)
    tap.equal(total([r for _, r in by_mail(name + "@sink.test")]), N, "%s: the other place gets its report" % name)
    server.wait_log(r"tlsrpt\.failed.*domain=%s\.test.*rua=https://%s\.test:8443/" % (name, name))
    tap.ok(True, "%s: it is tried for a day, given up and said" % name)
server.wait_log(r"tlsrpt\.delayed.*domain=slow\.test", deadline_s=120)  # a minute later
lib.wait_until(lambda: by_mail("slow@sink.test"), "slow", 60)
tap.ok(True, "slow: the other place is behind it, and gets its report")
tap.equal(away.posted, [], "nothing is said to a host that is somebody else")
own = wait_total(lambda: [r for _, r in by_mail("own@sink.test")], 1, "sink")
send("silent.test")
tap.ok(not any("silent.test" in json.dumps(r) for r in [r for _, r in by_mail("own@sink.test")]), "who wants no report gets none")
ids = [(path, json.loads(gzip.decompress(body))["report-id"]) for path, _, body in report.posted]
tap.equal(len(ids), len(set(ids)), "no report comes twice")

# ---- a restart loses no session, and sends nothing twice -------------------------------------------------------------------

def again(name, act):
    """Sessions on both sides of `act`: each is told once."""
    global server
    before = total(by_https("/plain"))
    for _ in range(2):
        send("plain.test")
        act()
    reports = wait_total(lambda: by_https("/plain"), before + 2, name)
    tap.equal(total(reports), before + 2, "%s: each session is told once" % name)
    ids = [r["report-id"] for r in reports]
    tap.equal(len(ids), len(set(ids)), "%s: no report comes twice" % name)


def restart():
    global server
    code = server.stop()
    if code != 0:
        tap.ok(False, "the server ends in order", server.log())
    server = lib.start(where, LUA)


def kill(role):
    mark = server.mark()
    lib.signal_to(server.pid(role), signal.SIGKILL)
    server.wait_log(r"role\.died", mark)
    server.pid(role)


again("a restart", restart)
kill("queue")
n = len(by_mail("tls+rpt@sink.test"))
send("right.test")
kill("queue")
lib.wait_until(lambda: len(by_mail("tls+rpt@sink.test")) > n, "a report by mail", 4 * EVERY_S + 60)
tap.ok(True, "a queue that dies is waited for")
n = len(by_https("/plain"))
kill("agent")
send("plain.test")
lib.wait_until(lambda: len(by_https("/plain")) > n, "a report of an agent that died", 4 * EVERY_S + 60)
tap.ok(True, "an agent that died goes on")

# ---- a receiver that refuses for a while ---------------------------------------------------------------------------------------

report.code = 503
before, mark = len(report.posted), server.mark()
send("plain.test")
server.wait_log(r"tlsrpt\.delayed.*domain=plain\.test.*code 503", mark)
mark, report.code = server.mark(), 200
server.wait_log(r"tlsrpt\.sent.*rua=https://report\.test:8443/plain", mark)
bodies = [json.loads(gzip.decompress(body))["report-id"] for path, _, body in report.posted[before:] if path == "/plain"]
tap.ok(len(bodies) >= 2 and len(set(bodies)) == 1, "a report that is refused comes again, and is the same", bodies)
rows = lib.rows_of(lib.run("status", "--json", "--control", server.control).stdout)
tap.ok(any("tls_reports_sent" in json.dumps(row) for row in rows), "`waxwing status` counts them", rows)

own = sums([r for _, r in by_mail("own@sink.test")])
tap.equal([(k, v[:2]) for k, v in own.items()], [(("sts", "sink.test"), [0, 1])],
          "the reports' own connections, all in the clear, are in no report")
received = [octets for _, _, octets in sink.taken if b"Report Domain: right.test" in octets][0]
id_ = re.search(rb"\tid (%s);" % lib.IDS.encode(), received)[1].decode()
tap.equal([row["event"] for row in server.why(id_)][:2], ["accepted", "recipient"], "`waxwing why` knows where a report comes from")

# ---- a full disk -------------------------------------------------------------------------------------------------------------

tap.equal(server.stop(), 0, "the server ends in order")
agent = os.path.join(where, "journal-agent")
user = pwd.getpwnam("_wwagent")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4096,mode=700,uid=%d,gid=%d" % (user.pw_uid, user.pw_gid), "none", agent], check=True)
with open(os.path.join(agent, "=full"), "wb") as f:
    f.write(b"x" * 4096)
server = lib.start(where, LUA)
before = total(by_https("/plain"))
mark = server.mark()
send("plain.test")
server.wait_log(r"tlsrpt\.not_saved", mark)
wait_total(lambda: by_https("/plain"), before + 1, "with a full disk")
tap.ok(True, "with a full disk mail flows and reports go out")
tap.equal(server.stop(), 0, "the server ends in order again")
tap.end()

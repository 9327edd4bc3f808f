#!/usr/bin/env python3
"""MTA-STS (RFC 8461) end to end: policies of all kinds behind HTTPS servers of all kinds, and what becomes of the mail; what a
restart, a dead policy host and a missing record change, which is nothing."""
import os
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["nsd", "openssl"])
where = lib.folder()
MESSAGE = b"From: ann@us.test\r\nSubject: by policy\r\n\r\nhello\r\n"
HOSTS = ("good", "other", "bare", "web", "silent", "away", "us")
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

class Listener:
    """A thread for each connection to ADDRESS:PORT; see visit()."""

    def __init__(self, address, port):
        self.socket = socket.create_server((address, port), backlog=64)
        self.is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self.is_open:
            try:
                conn = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._visit, args=(conn,), daemon=True).start()

    def _visit(self, conn):
        try:
            self.visit(conn)
        except (OSError, ssl.SSLError):
            pass
        finally:
            conn.close()

    def close(self):
        self.is_open = False
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Mx(Listener):
    """A mail server. context None: without STARTTLS. .taken: (recipient, TLS or not) of each message."""

    def __init__(self, address, context):
        self.context, self.taken = context, []
        super().__init__(address, 25)

    def visit(self, conn):
        conn.sendall(b"220 mx.test ESMTP\r\n")
        while conn is not None:
            conn = self._talk(conn)

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
                while lines.readline() not in (b".\r\n", b""):
                    pass
                self.taken.append((rcpt, is_tls))
            conn.sendall((b"221 bye" if verb == b"QUIT" else answer) + b"\r\n")
        return None


def policy(mode, mx, age=86400):
    return ("version: STSv1\r\nmode: %s\r\n%smax_age: %d\r\n" % (mode, "".join("mx: %s\r\n" % m for m in mx), age)).encode()


class Web(Listener):
    """HTTPS for all policy hosts; .pages: {domain: octets of the whole answer, or None for an endless one}."""

    def __init__(self, address, context):
        self.context, self.pages, self.asked = context, {}, []
        super().__init__(address, 443)

    def visit(self, conn):
        conn = self.context.wrap_socket(conn, server_side=True)
        request = b""
        while b"\r\n\r\n" not in request:
            more = conn.recv(4096)
            if not more:
                return
            request += more
        fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        domain = fields[b"Host"].decode().partition(":")[0].partition(".")[2]
        self.asked.append((domain, request.split(b" ")[1].decode()))
        page = self.pages[domain]
        if page is not None:
            conn.sendall(page)
            return
        conn.sendall(answer("200 OK", b""))
        while True:
            conn.sendall(b"mx: a.test\r\n" * 1000)


class Silent(Listener):
    """Says nothing until the client goes."""

    def visit(self, conn):
        while conn.recv(4096):
            pass


def answer(status, body, fields="Content-Type: text/plain\r\n"):
    return ("HTTP/1.1 %s\r\n%sConnection: close\r\n\r\n" % (status, fields)).encode() + body


# ---- cases --------------------------------------------------------------------------------------------------------------

class Case:
    """A domain: its MX, which of AT has its policy host, what that answers, whether the mail goes out now, and with TLS; says:
    in what `why` or the log tells of it."""

    def __init__(self, domain, mx, page, goes, says, web="web", record="v=STSv1; id=1;"):
        self.domain, self.mx, self.page, self.goes, self.says = domain + ".test", mx, page, goes, says
        self.web, self.record = web, record


def ok(mode, *mx):
    return answer("200 OK", policy(mode, mx))


ENFORCED = "an enforced MTA-STS policy"
NO_FETCH = "mta_sts.not_fetched.*%s"
CASES = [
    Case("right", "good", ok("enforce", "good.test"), "tls", "verified (PKIX)"),
    Case("wild", "good", ok("enforce", "x.example", "*.test"), "tls", "verified (PKIX)"),
    Case("mismatch", "good", ok("enforce", "mx.example"), None, "MTA-STS"),
    Case("stranger", "other", ok("enforce", "other.test"), None, "MTA-STS"),  # its certificate is for another name
    Case("bare", "bare", ok("enforce", "bare.test"), None, "MTA-STS"),        # it has no STARTTLS
    Case("testing", "bare", ok("testing", "mx.example"), "plain", "MTA-STS"),
    Case("nomode", "bare", ok("none"), "plain", "in the clear"),
    Case("nothing", "bare", None, "plain", "in the clear", record=None),
    Case("redirect", "bare", answer("301 Moved", b"", "Location: https://mta-sts.right.test/.well-known/mta-sts.txt\r\n"),
         "plain", NO_FETCH % "answered with code 301"),
    Case("missing", "bare", answer("404 Not Found", b""), "plain", NO_FETCH % "answered with code 404"),
    Case("html", "bare", answer("200 OK", policy("enforce", ["bare.test"]), "Content-Type: text/html\r\n"), "plain",
         NO_FETCH % "not text/plain but text/html"),
    Case("garbled", "bare", answer("200 OK", b"mode: enforce\r\n"), "plain", NO_FETCH % "the policy can't be used"),
    Case("huge", "bare", None, "plain", NO_FETCH % "the answer is too long"),
    Case("forged", "bare", ok("enforce", "bare.test"), "plain", NO_FETCH % "not authenticated", web="away"),
    Case("dead", "bare", None, "plain", NO_FETCH % "can't be fetched", web="us"),
    Case("nohost", "bare", None, "plain", NO_FETCH % "no address", web=None),
]
SLOW = Case("slow", "bare", None, "plain", NO_FETCH % "can't be fetched", web="silent")
zone = "".join("%s A %s\n" % (name, address) for name, address in AT.items())
for case in CASES + [SLOW]:
    name = case.domain.partition(".")[0]
    zone += "%s MX 10 %s\n" % (name, case.mx)
    zone += "_mta-sts.%s TXT \"%s\"\n" % (name, case.record) if case.record else ""
    zone += "mta-sts.%s A %s\n" % (name, AT[case.web]) if case.web else ""
dns = lib.Dns(where, {"test.": zone})
good, other, bare = Mx(AT["good"], make("good", ["good.test"])), Mx(AT["other"], make("other", ["elsewhere.test"])), Mx(AT["bare"], None)
web = Web(AT["web"], make("web", ["mta-sts.%s" % c.domain for c in CASES]))
away = Web(AT["away"], make("away", ["mta-sts.elsewhere.test"]))
silent = Silent(AT["silent"], 443)
web.pages = {c.domain: c.page for c in CASES}
port = lib.free_port()
LUA = ('hostname "us.test"\nrelay_from { "127.0.0.0/8" }\nlisten { port = %d, address = "127.0.0.1" }\nresolver { "127.0.0.53" }\n'
       'authorities "%s/ca.crt"\n' % (port, where))
server = lib.start(where, LUA)


def taken():
    return good.taken + other.taken + bare.taken


def send(domain):
    """The id of a message to ann@DOMAIN."""
    return lib.id_of(lib.send_one(port, "bob@us.test", ["ann@" + domain], MESSAGE))


def life(id_):
    return "\n".join(" ".join(str(v) for v in row.values()) for row in server.why(id_))


def decided(id_):
    """The events that say that it went out, or that it waits."""
    return [row["event"] for row in server.why(id_) if row.get("event") in ("delivered", "deferred")]


def check(case, id_, name):
    lib.wait_until(lambda: decided(id_), "a result for " + case.domain, 120)
    went = decided(id_)[0] == "delivered"
    how = [is_tls for rcpt, is_tls in taken() if rcpt == "ann@" + case.domain]
    want = [] if case.goes is None else [case.goes == "tls"]
    tap.ok(went == (case.goes is not None) and how == want, "%s: %s" % (
        name, "it waits" if case.goes is None else "it goes out, " + case.goes), lambda: life(id_))
    if case.says.startswith("mta_sts."):
        try:
            server.wait_log(r"mta_sts\.not_fetched.*%s" % case.domain, deadline_s=5)
            line = server.wait_log(case.says.replace("not_fetched", "not_fetched.*" + case.domain, 1), deadline_s=5)
        except TimeoutError as e:
            line = None
        tap.ok(line is not None, "%s: the log says why" % name, server.log)
    else:
        tap.ok(case.says in life(id_), "%s: `why` says %r" % (name, case.says), lambda: life(id_))


# the slow one takes a minute, which the others need not wait for
slow = send(SLOW.domain)
ids = [(case, send(case.domain)) for case in CASES]
for case, id_ in ids:
    check(case, id_, case.domain.partition(".")[0])
tap.ok(all(path == "/.well-known/mta-sts.txt" for _, path in web.asked + away.asked), "one page is asked for, and no other")
tap.equal(away.asked, [], "nothing is said to a host that is somebody else")
tap.equal([d for d, _ in web.asked if d in ("right.test", "nothing.test")], ["right.test"], "each policy is fetched once")
again = send("right.test")
server.wait_event(again, "delivered")
tap.equal([d for d, _ in web.asked].count("right.test"), 1, "the next mail finds it in memory")

# ---- what must not change it --------------------------------------------------------------------------------------------

check(SLOW, slow, "slow")
kept = sorted(os.listdir(os.path.join(where, "journal-agent")))
tap.equal(kept, sorted(c.domain for c in CASES if c.page and c.page.startswith(b"HTTP/1.1 200") and c.web == "web" and
                       c.domain not in ("html.test", "garbled.test")), "what was fetched is on disk")
tap.equal(server.stop(), 0, "the server ends in order")
web.close()
dns.stop()
records = "".join(line + "\n" for line in zone.splitlines() if "_mta-sts." not in line and not line.startswith("mta-sts."))
dns = lib.Dns(where, {"test.": records})
server = lib.start(where, LUA)
# whoever can forge DNS would like them to be forgotten: no record, no policy host, and another mail server
good.context = make("evil", ["evil.test"])
for domain in ("right.test", "wild.test"):
    before = len(taken())
    id_ = send(domain)
    lib.wait_until(lambda: decided(id_), "a result")
    tap.equal(decided(id_)[0], "deferred", "%s: after a restart, without record and policy host, the policy holds" % domain)
    tap.equal(len(taken()), before, "%s: nobody else gets the mail" % domain)
id_ = send("nothing.test")
server.wait_event(id_, "delivered")
tap.ok(True, "other mail goes on")

# ---- the agent dies, is switched off, and on again -------------------------------------------------------------------------

mark = server.mark()
lib.signal_to(server.pid("agent"), 9)
server.wait_log(r"role\.died.*role=agent|role\.died.*agent", mark)
id_ = send("bare.test")  # whose way is not blocked by what has just failed
lib.wait_until(lambda: decided(id_), "a result")
tap.equal(decided(id_)[0], "deferred", "an agent that died is there again, and knows what it knew")
config = os.path.join(where, "waxwing.lua")
lib.file_of(config, lib.paths_lua(where) + LUA + "outgoing { mta_sts = false }\n")
mark = server.mark()
server.process.send_signal(1)
server.wait_log("reload.done", mark)
lib.wait_until(lambda: ("agent", 0) not in server.pids(), "the end of the agent")
id_ = send("right.test")
server.wait_event(id_, "delivered")
tap.ok(True, "switched off, no policy is followed")
lib.file_of(config, lib.paths_lua(where) + LUA)
mark = server.mark()
server.process.send_signal(1)
server.wait_log("reload.done", mark)
server.pid("agent")
id_ = send("stranger.test")
lib.wait_until(lambda: decided(id_), "a result")
tap.equal(decided(id_)[0], "deferred", "switched on, what was remembered is in force")
tap.equal(server.stop(), 0, "the server ends in order again")
tap.end()

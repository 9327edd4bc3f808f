"""What the tests of TLS and of logins share: certificates made on the spot, clients with TLS, SCRAM (RFC 5802) as a client
computes it from the text of the RFC."""
import base64
import hashlib
import hmac
import os
import re
import ssl
import subprocess

import lib


def openssl(*args, text=""):
    done = subprocess.run(["openssl"] + list(args), input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (" ".join(args), done.stderr[-800:]))
    return done.stdout


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")


class Pki:
    """An authority in a folder, and what it signed: NAME.crt with NAME.key."""

    def __init__(self, where, name="ca"):
        self.where, self.name = where, name
        self.file = os.path.join(where, name + ".crt")
        openssl("req", "-x509", *EC, "-nodes", "-days", "30", "-subj", "/CN=Authority of a test", "-keyout", self.path(name + ".key"),
                "-out", self.file)

    def path(self, name):
        return os.path.join(self.where, name)

    def make(self, name, subject, kind=EC, names=(), days=30):
        """By rename, as who renews does it: the key first."""
        openssl("req", *kind, "-nodes", "-subj", "/CN=" + subject, "-keyout", self.path("new.key"), "-out", self.path("new.csr"))
        extension = lib.file_of(self.path("new.ext"), "subjectAltName = " + ",".join(names) + "\n" if names else "")
        openssl("x509", "-req", "-in", self.path("new.csr"), "-CA", self.file, "-CAkey", self.path(self.name + ".key"), "-CAcreateserial",
                "-days", str(days), "-extfile", extension, "-out", self.path("new.crt"))
        os.rename(self.path("new.key"), self.path(name + ".key"))
        os.rename(self.path("new.crt"), self.path(name + ".crt"))

    def fingerprint(self, name):
        with open(self.path(name + ".crt"), encoding="ascii") as f:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()

    def context(self, client=None, version=None):
        """A client's; client: the name of its certificate; version: the only one it speaks."""
        context = ssl.create_default_context(cafile=self.file)
        if client:
            context.load_cert_chain(self.path(client + ".crt"), self.path(client + ".key"))
        if version:
            context.minimum_version = context.maximum_version = version
        return context


class Smtp(lib.Smtp):
    """As lib.Smtp, over TLS: from the first octet (implicit), or by STARTTLS when starttls() is called."""

    def __init__(self, port, context=None, host="192.0.2.1", name="mx.example.org", implicit=False, **kw):
        self.context, self.name, self.is_implicit = context, name, implicit
        super().__init__(port, host, **kw)

    def reply(self):
        if self.is_implicit and not isinstance(self.socket, ssl.SSLSocket):
            self.wrap()
        return super().reply()

    def wrap(self):
        self.file.close()
        self.socket = self.context.wrap_socket(self.socket, server_hostname=self.name)
        self.file = self.socket.makefile("rb")

    def starttls(self):
        answer = self.ask("STARTTLS")
        if answer[0] != 220:
            raise RuntimeError("STARTTLS: %r" % (answer,))
        self.wrap()
        self.capabilities = self.ask("EHLO client.example.org")[1]
        return self

    def fingerprint(self):
        return hashlib.sha256(self.socket.getpeercert(True)).hexdigest()

    def end_point(self):
        """tls-server-end-point (RFC 5929 4.1) of a certificate signed with SHA-256."""
        return hashlib.sha256(self.socket.getpeercert(True)).digest()

    def mechanisms(self):
        found = re.search(r"(?m)^AUTH (.*)$", self.capabilities)
        return found[1].split() if found else []


def coded(octets):
    return base64.b64encode(octets).decode() or "="


def plain(client, user, password, authzid=""):
    return client.ask("AUTH PLAIN " + coded(("%s\0%s\0%s" % (authzid, user, password)).encode()))


class Scram:
    """One exchange. answers: the replies; salt and rounds: what the server said."""

    def __init__(self, client, user, password, mechanism="SCRAM-SHA-256", binding=None, flag=None, spoil=False):
        """binding: (its name, its octets) for -PLUS. flag: another gs2 flag than is right. spoil: sends a wrong proof."""
        digest = "sha256" if "256" in mechanism else "sha1"
        header = (flag if flag is not None else "p=" + binding[0] if binding else "n") + ",,"
        bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), base64.b64encode(os.urandom(18)).decode())
        self.salt = self.rounds = None
        self.is_proved = False
        self.answer = client.ask("AUTH %s %s" % (mechanism, coded((header + bare).encode())))
        if self.answer[0] != 334:
            return
        first = base64.b64decode(self.answer[1]).decode()
        fields = dict(x.split("=", 1) for x in first.split(","))
        self.salt, self.rounds = fields["s"], int(fields["i"])
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(self.salt), self.rounds)
        key = hmac.digest(salted, b"Client Key", digest)
        final = "c=%s,r=%s" % (coded(header.encode() + (binding[1] if binding else b"")), fields["r"])
        message = ",".join((bare, first, final)).encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.new(digest, key).digest(), message, digest)))
        if spoil:
            proof = bytes(len(proof))
        self.answer = client.ask(coded(("%s,p=%s" % (final, coded(proof))).encode()))
        if self.answer[0] != 334:
            return
        want = hmac.digest(hmac.digest(salted, b"Server Key", digest), message, digest)
        self.is_proved = base64.b64decode(self.answer[1]) == b"v=" + coded(want).encode()
        self.answer = client.ask("")  # RFC 4954 4: nothing to say is an empty line


def scram_verifier(name, password, rounds=4096):
    """As files of users have it (RFC 5803's parts), of the octets as they are. name: "SHA-256" or "SHA-1"."""
    digest, salt = name.lower().replace("-", ""), os.urandom(16)
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, rounds)
    stored = hashlib.new(digest, hmac.digest(salted, b"Client Key", digest)).digest()
    return "{SCRAM-%s}%d,%s,%s,%s" % (name, rounds, coded(salt), coded(stored), coded(hmac.digest(salted, b"Server Key", digest)))


class ByOpenssl(lib.Smtp):
    """A session over `openssl s_client`, which tells the exporter of RFC 9266 that Python's ssl does not."""

    def __init__(self, port, ca, host="192.0.2.1", name="mx.example.org", options=(), hello="client.example.org"):
        args = ["openssl", "s_client", "-connect", "%s:%d" % (host, port), "-servername", name, "-CAfile", ca, "-verify_return_error",
                "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", "-ign_eof", "-nocommands"] + list(options)
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.file, self.before = self.process.stdout, []
        self.exporter = None
        self.until_exporter()
        self.greeting = None if "-starttls" in options else self.reply()
        if hello:
            self.capabilities = self.ask("EHLO " + hello)[1]

    def until_exporter(self):
        """What s_client says of the connection comes first."""
        for raw in self.file:
            self.before.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
            found = re.match(r"\s*Keying material: ([0-9A-F]+)$", self.before[-1])
            if found:
                self.exporter = bytes.fromhex(found[1])
                return
        raise ConnectionError("no session: " + "\n".join(self.before[-20:]))

    def reply(self):
        """What it says between the replies (of tickets that come) does not begin with a code."""
        lines = []
        while True:
            raw = self.file.readline()
            if not raw:
                raise ConnectionError("the connection ended within a reply: %r" % lines)
            found = re.match(r"(\d{3})([ -])(.*)$", raw.decode("utf-8", "replace").rstrip("\r\n"))
            if found:
                lines.append(found[3])
                if found[2] == " ":
                    return int(found[1]), "\n".join(lines)

    def write(self, octets):
        self.process.stdin.write(octets)
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.file.close()

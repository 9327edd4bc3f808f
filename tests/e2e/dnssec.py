"""A private Internet of names: a signed root and zones below it, with one name server for all of them, certificates and
their TLSA records. Needs nsd, ldns-keygen, ldns-signzone and openssl."""
import atexit
import base64
import hashlib
import os
import re
import subprocess

import lib

TOOLS = ("nsd", "ldns-keygen", "ldns-signzone", "openssl")
SERVER = "127.0.0.53"
STRANGER = "127.0.0.54"  # a name server that knows no zone: what is delegated to it can't be looked up
HEAD = "$ORIGIN %s\n$TTL 60\n@ IN SOA ns.test. host.test. 1 3600 600 86400 1\n@ NS ns.test.\n%s\n"


class Tree:
    """Zones below test.: {name: (kind, records)}, kind "signed", "plain", or "altered": signed, and then what alter() makes of
    its text. .anchor and .hints are files for resolvers; a resolver starts at the root on 127.0.0.53."""

    def __init__(self, where, zones, alter=lambda text: text):
        self.folder = os.path.join(where, "dnssec")
        os.mkdir(self.folder)
        ready, below = {}, "ns A %s\n" % SERVER
        for name, (kind, records) in zones.items():
            path = self.file(name, HEAD % (name, records))
            label = name[:-len(".test.")]
            below += "%s NS ns.test.\n" % label
            if kind != "plain":
                path, key = self.sign(name, path)
                below += read(key + ".ds")
            if kind == "altered":
                lib.file_of(path, alter(read(path)))
            ready[name] = path
        ready["test."], key = self.sign("test.", self.file("test.", HEAD % ("test.", below)))
        root = HEAD % (".", "test. NS ns.test.\nns.test. A %s\n" % SERVER + read(key + ".ds"))
        ready["."], key = self.sign(".", self.file("root", root))
        self.anchor = key + ".key"
        self.hints = self.file("hints", ". 3600 NS ns.test.\nns.test. 3600 A %s\n" % SERVER)
        self.server = lib.Dns(where, {}, SERVER, ready)
        self.stranger = lib.Dns(self.folder, {}, STRANGER)

    def file(self, name, text):
        return lib.file_of(os.path.join(self.folder, name + "zone"), text)

    def sign(self, name, path):
        """The file of the signed zone, and the path of its key without the ending."""
        key = tool("ldns-keygen", "-k", "-a", "ECDSAP256SHA256", name, cwd=self.folder).strip()
        tool("ldns-signzone", path, key, cwd=self.folder)
        return path + ".signed", os.path.join(self.folder, key)

    def lua(self):
        return 'resolver { "recursive", trust_anchor = "%s", root_hints = "%s" }\n' % (self.anchor, self.hints)


class Unbound:
    """A validating resolver on 127.0.0.1, for programs that have none of their own; /etc/resolv.conf of this mount namespace
    names it."""

    def __init__(self, where, tree):
        folder = os.path.join(where, "unbound")
        os.mkdir(folder)
        conf = ('server:\n interface: 127.0.0.1\n username: ""\n chroot: ""\n directory: "%s"\n pidfile: ""\n use-syslog: no\n'
                ' do-not-query-localhost: no\n do-ip6: no\n local-zone: test. nodefault\n trust-anchor-file: "%s"\n'
                ' root-hints: "%s"\n module-config: "validator iterator"\n qname-minimisation: no\n'
                'remote-control:\n control-enable: no\n' % (folder, tree.anchor, tree.hints))
        self.process = subprocess.Popen(["unbound", "-d", "-c", lib.file_of(os.path.join(folder, "conf"), conf)],
                                        stdout=open(os.path.join(folder, "log"), "w"), stderr=subprocess.STDOUT)
        atexit.register(self.stop)
        lib.wait_until(self.is_there, "a resolver")
        resolv = lib.file_of(os.path.join(folder, "resolv.conf"), "nameserver 127.0.0.1\noptions edns0 trust-ad\n")
        subprocess.run(["mount", "--bind", resolv, "/etc/resolv.conf"], check=True)

    def is_there(self):
        if self.process.poll() is not None:
            raise RuntimeError("unbound ended")
        with open("/proc/net/udp") as f:
            return "0100007F:0035" in f.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


class Certificate:
    """A key and a certificate for these names; issuer: another one, else it signs itself. .cert is its file, with that of the
    issuer behind it, .key its key's."""

    def __init__(self, folder, name, names, issuer=None, is_ca=False, days=30):
        base = os.path.join(folder, name)
        self.key, self.own, self.cert = base + ".key", base + ".pem", base + "-chain.pem"
        tool("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out",
             base + ".csr", "-subj", "/CN=" + name)
        extensions = "basicConstraints = critical, CA:%s\n" % ("TRUE" if is_ca else "FALSE")
        if names:
            extensions += "subjectAltName = %s\n" % ", ".join("DNS:" + n for n in names)
        by = ["-signkey", self.key] if issuer is None else ["-CA", issuer.own, "-CAkey", issuer.key, "-CAcreateserial"]
        tool("openssl", "x509", "-req", "-in", base + ".csr", "-out", self.own, "-days", str(days), "-extfile",
             lib.file_of(base + ".ext", extensions), *by)
        lib.file_of(self.cert, read(self.own) + (read(issuer.own) if issuer else ""))

    def tlsa(self, usage, selector, matching=1):
        """"3 1 1 0D6F..."."""
        pem = tool("openssl", "x509", "-in", self.own, "-noout", "-pubkey") if selector == 1 else read(self.own)
        der = base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
        data = der if matching == 0 else hashlib.new("sha256" if matching == 1 else "sha512", der).digest()
        return "%d %d %d %s" % (usage, selector, matching, data.hex().upper())


def flip_tlsa(text):
    """For an "altered" zone: each TLSA record says something else than what was signed."""
    return re.sub(r"(?m)(\sIN\s+TLSA\s+\d \d \d )(.)", lambda m: m[1] + ("0" if m[2] != "0" else "1"), text)


def tool(*args, cwd=None):
    done = subprocess.run(args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(args), done.stderr))
    return done.stdout


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()

"""Directories and databases that tests ask about passwords: slapd and PostgreSQL, each started by hand in the test's
namespace, with certificates of its authority."""
import base64
import hashlib
import hmac
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess

import lib
import tls_peer

PG_BIN = "/usr/lib/postgresql/15/bin"
SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"


def has_postgresql():
    return os.path.exists(PG_BIN + "/initdb")


def has_slapd():
    return os.path.exists(SLAPD) and os.path.exists("/usr/lib/ldap/back_mdb.so")


# ---- verifiers ----------------------------------------------------------------------------------------------------------

def crypt_form(password):
    return tls_peer.openssl("passwd", "-6", "-stdin", text=password + "\n").strip()


def scram_form(password, name="sha256", iterations=4096, salt=b"0123456789abcdef"):
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", name)
    server = hmac.digest(salted, b"Server Key", name)
    parts = (salt, hashlib.new(name, client).digest(), server)
    return "{SCRAM-SHA-256}%d,%s" % (iterations, ",".join(base64.b64encode(p).decode() for p in parts))


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------------

class Postgresql:
    """As the user postgres, at an address with TLS (logins by SCRAM), at ::1 without, and at a unix socket."""

    def __init__(self, where, pki, address, certificate):
        self.where, self.address = os.path.join(where, "postgresql"), address
        self.account = pwd.getpwnam("postgres")
        self.data, self.sockets = self.where + "/data", self.where + "/run"
        os.makedirs(self.sockets)
        for path in (self.where, self.sockets):
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        self.run(PG_BIN + "/initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
        self.certificate(pki, certificate)
        lib.file_of(self.data + "/pg_hba.conf", "local all postgres trust\nlocal all all scram-sha-256\n"
                    "hostssl all all 192.0.2.0/24 scram-sha-256\nhost all all ::1/128 scram-sha-256\n")
        lib.file_of(self.data + "/postgresql.auto.conf", "listen_addresses = '%s, ::1'\nport = 5432\nssl = on\nfsync = off\n"
                    "unix_socket_directories = '%s'\nlog_statement = 'none'\nlog_parameter_max_length = 0\n" % (address, self.sockets))
        self.process = None
        self.start()

    def run(self, *args, text=None):
        done = subprocess.run(["setpriv", "--reuid=%d" % self.account.pw_uid, "--regid=%d" % self.account.pw_gid, "--clear-groups"]
                              + list(args), input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", check=False)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (args, done.stdout))
        return done.stdout

    def certificate(self, pki, name):
        for ending in ("crt", "key"):
            path = "%s/server.%s" % (self.data, ending)
            shutil.copyfile(pki.path("%s.%s" % (name, ending)), path)
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
            os.chmod(path, 0o600)

    def start(self):
        self.process = subprocess.Popen(["setpriv", "--reuid=%d" % self.account.pw_uid, "--regid=%d" % self.account.pw_gid,
                                         "--clear-groups", PG_BIN + "/postgres", "-D", self.data], stdin=subprocess.DEVNULL,
                                        stdout=open(self.where + "/log", "ab"), stderr=subprocess.STDOUT, cwd="/")
        lib.wait_until(lambda: subprocess.run([PG_BIN + "/pg_isready", "-q", "-h", self.sockets], check=False).returncode == 0,
                       "PostgreSQL")

    def stop(self):
        self.process.send_signal(signal.SIGINT)  # "fast": open sessions end
        self.process.wait(lib.DEADLINE_S)

    def sql(self, text):
        return self.run(PG_BIN + "/psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-U", "postgres", "-d",
                        "postgres", "-At", text=text)

    def sessions(self, user):
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'" % user))

    def log(self):
        with open(self.where + "/log", encoding="utf-8", errors="replace") as f:
            return f.read()


# ---- LDAP ---------------------------------------------------------------------------------------------------------------

SLAPD_CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %(where)s/pid
TLSCACertificateFile %(ca)s
TLSCertificateFile %(where)s/server.crt
TLSCertificateKeyFile %(where)s/server.key
TLSVerifyClient never
database mdb
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
rootpw root
directory %(where)s/db
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=mail,dc=example,dc=org" read by * none
"""


class Slapd:
    """At an address with and without TLS, and at a unix socket."""

    def __init__(self, where, pki, address, certificate, entries):
        self.where, self.address = os.path.join(where, "slapd-" + address), address
        os.makedirs(self.where + "/db")
        os.chmod(self.where, 0o755)
        self.socket = self.where + "/ldapi"
        self.certificate(pki, certificate)
        self.conf = lib.file_of(self.where + "/conf", SLAPD_CONF % {"where": self.where, "ca": pki.file})
        ldif = lib.file_of(self.where + "/ldif", entries)
        done = subprocess.run([os.path.join(os.path.dirname(SLAPD), "slapadd"), "-f", self.conf, "-l", ldif], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stdout)
        self.start()

    def certificate(self, pki, name):
        for ending in ("crt", "key"):
            shutil.copyfile(pki.path("%s.%s" % (name, ending)), "%s/server.%s" % (self.where, ending))

    def start(self):
        at = "ldap://%s/ ldaps://%s/ ldapi://%s/" % (self.address, self.address, self.socket.replace("/", "%2F"))
        self.process = subprocess.Popen([SLAPD, "-f", self.conf, "-h", at, "-d", "stats"], stdin=subprocess.DEVNULL,
                                        stdout=open(self.where + "/log", "ab"), stderr=subprocess.STDOUT)
        lib.wait_until(self.is_there, "slapd")

    def is_there(self):
        if self.process.poll() is not None:
            raise RuntimeError("slapd ended: " + self.log())
        return subprocess.run(["ldapwhoami", "-x", "-H", "ldapi://" + self.socket.replace("/", "%2F")], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(lib.DEADLINE_S)

    def log(self):
        with open(self.where + "/log", encoding="utf-8", errors="replace") as f:
            return f.read()


def sqlite(path, script, parameters=()):
    """Runs a script, or one statement with parameters, and leaves the file to all."""
    db = sqlite3.connect(path)
    if parameters:
        db.execute(script, parameters)
    else:
        db.executescript(script)
    db.commit()
    db.close()
    os.chmod(path, 0o644)

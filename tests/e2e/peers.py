"""Postfix, Dovecot, Exim, OpenSMTPD, sendmail and aiosmtpd as peers: instances of this test's own, in its folder and its
network namespace. Exim, OpenSMTPD and sendmail are not installed, since Debian lets no two mail servers stand beside each
other: packaging/peers.sh unpacked them, and each sees its own laid over the system, in a mount namespace of its own."""
import os
import pwd
import re
import shutil
import signal
import subprocess
import atexit

import lib

POSTFIX_DIST = "/usr/share/postfix/master.cf.dist"
UNPACKED = os.path.join(lib.SOURCE, "build-peers")


def missing(*tools):
    """The first that is not there, or None."""
    return next((t for t in tools if shutil.which(t) is None), None)


class Postfix:
    """Takes mail for the given domains at ADDRESS:25 into one Maildir, .maildir. more: {parameter of main.cf: value}."""

    def __init__(self, where, address, domains, more=None, extra=""):
        self.conf = os.path.join(where, "postfix")
        os.makedirs(self.conf)
        for name in ("spool", "data", "mail"):
            os.mkdir(os.path.join(self.conf, name))
        user = pwd.getpwnam("postfix")
        os.chown(os.path.join(self.conf, "data"), user.pw_uid, user.pw_gid)
        owner = pwd.getpwnam("_wwmail")
        os.chown(os.path.join(self.conf, "mail"), owner.pw_uid, owner.pw_gid)
        self.maildir = os.path.join(self.conf, "mail", "all")
        with open(POSTFIX_DIST) as f:
            services = re.sub(r"(?m)^(\w\S*\s+\S+\s+\S+\s+\S+\s+)[y-](\s)", r"\1n\2", f.read())
        lib.file_of(os.path.join(self.conf, "master.cf"), services + "postlog unix-dgram n - n - 1 postlogd\n")
        lines = (
            "compatibility_level = 3.6", "queue_directory = %s/spool" % self.conf, "data_directory = %s/data" % self.conf,
            "command_directory = /usr/sbin", "daemon_directory = /usr/lib/postfix/sbin", "mail_owner = postfix",
            "setgid_group = postdrop", "maillog_file = %s/log" % self.conf, "maillog_file_prefixes = " + where,
            "inet_interfaces = " + address, "inet_protocols = ipv4", "myhostname = mx.pf.test", "mydestination =",
            "local_header_rewrite_clients =", "alias_maps =", "alias_database =", "message_size_limit = 60000000",
            "mailbox_size_limit = 0", "virtual_mailbox_limit = 0", "smtputf8_enable = yes", "mynetworks = 127.0.0.9/32",
            "virtual_mailbox_domains = " + " ".join(domains), "virtual_mailbox_base = %s/mail" % self.conf,
            "virtual_mailbox_maps = static:all/", "virtual_uid_maps = static:%d" % owner.pw_uid,
            "virtual_gid_maps = static:%d" % owner.pw_gid, "virtual_minimum_uid = 1",
            "smtpd_relay_restrictions = reject_unauth_destination", "smtpd_tls_security_level = none")
        more = more or {}
        lines = [x for x in lines if x.split(" =")[0] not in more] + ["%s = %s" % x for x in more.items()] + [extra, ""]
        lib.file_of(os.path.join(self.conf, "main.cf"), "\n".join(lines))
        done = subprocess.run(["postfix", "-c", self.conf, "start"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stdout + self.log())
        atexit.register(self.stop)
        self.is_up = True

    def log(self):
        path = os.path.join(self.conf, "log")
        if not os.path.exists(path):
            return ""
        with open(path) as f:
            return f.read()[-3000:]

    def stop(self):
        if self.is_up:
            subprocess.run(["postfix", "-c", self.conf, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.is_up = False


class Dovecot:
    """Takes mail for any user by LMTP at ADDRESS:24 and at the unix socket .unix into WHERE/dovecot/mail/DOMAIN/USER."""

    def __init__(self, where, address):
        self.where = os.path.join(where, "dovecot")
        self.mail, self.unix = os.path.join(self.where, "mail"), os.path.join(self.where, "lmtp")
        os.makedirs(self.mail)
        owner = pwd.getpwnam("_wwmail")
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        conf = lib.file_of(os.path.join(self.where, "conf"), """
base_dir = {w}/run
state_dir = {w}/state
log_path = {w}/log
protocols = lmtp
ssl = no
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{w}/mail/%d/%n
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={u} gid={g} home={w}/mail/%d/%n allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = {a}
    port = 24
  }}
  unix_listener {w}/lmtp {{
    mode = 0666
  }}
}}
""".format(w=self.where, u=owner.pw_uid, g=owner.pw_gid, a=address))
        with open(os.path.join(self.where, "out"), "w") as out:
            self.process = subprocess.Popen(["dovecot", "-F", "-c", conf], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        atexit.register(self.stop)
        lib.wait_until(lambda: os.path.exists(self.unix) or self.process.poll() is not None, "Dovecot")
        if self.process.poll() is not None:
            raise RuntimeError("Dovecot ended: " + self.log())

    def log(self):
        text = ""
        for name in ("out", "log"):
            path = os.path.join(self.where, name)
            if os.path.exists(path):
                with open(path) as f:
                    text += f.read()[-2000:]
        return text

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


# ---- servers that are unpacked ------------------------------------------------------------------------------------------

# $1: what is laid over the system; $2: a folder for the file system of /etc; $3: users that it needs; the rest: a command
OVERLAY = """
set -e
root=$1 etc=$2 users=$3
shift 3
mount -t overlay overlay -o "lowerdir=$root/usr:/usr" /usr
mkdir -p "$etc"
mount -t tmpfs tmpfs "$etc"
mkdir "$etc/upper" "$etc/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$etc/upper,workdir=$etc/work" /etc
for folder in /run /var/spool /var/lib; do
    mount -t tmpfs -o mode=755 tmpfs $folder
done
id=64001
for user in $users; do
    grep -q "^$user:" /etc/passwd || echo "$user:x:$id:$id::/nonexistent:/bin/false" >>/etc/passwd
    grep -q "^$user:" /etc/group || echo "$user:x:$id:" >>/etc/group
    id=$((id + 1))
done
exec "$@"
"""


class Unpacked:
    """One of packaging/peers.sh's servers; takes mail for the given domains at ADDRESS:25 into one Maildir, .maildir."""
    NAME, USERS, PROBE = "", "", ["true"]

    @classmethod
    def missing(cls):
        """Why it can't run here, or None."""
        root = os.path.join(UNPACKED, cls.NAME)
        if not os.path.exists(os.path.join(root, "done")):
            return "%s (WAXWING_PEERS=yes sh packaging/setup.sh)" % cls.NAME
        etc = lib.folder()
        probe = subprocess.run(cls.inside(etc) + cls.PROBE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
        return None if probe.returncode == 0 else "%s: %s" % (cls.NAME, probe.stdout.strip().splitlines()[-1:])

    @classmethod
    def inside(cls, folder):
        return ["unshare", "-m", "sh", "-c", OVERLAY, "sh", os.path.join(UNPACKED, cls.NAME, "root"),
                os.path.join(folder, "etc"), cls.USERS]

    def __init__(self, where, address, domains, extra=""):
        """extra: lines for its configuration that come before others."""
        self.where, self.extra = os.path.join(where, self.NAME), extra
        self.maildir = os.path.join(self.where, "mail", "all")
        for folder in ("tmp", "new", "cur"):
            os.makedirs(os.path.join(self.maildir, folder))
        owner = pwd.getpwnam("_wwmail")
        for path, _, _ in os.walk(os.path.join(self.where, "mail")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        with open(os.path.join(self.where, "out"), "w") as out:
            self.process = subprocess.Popen(self.inside(self.where) + self.command(address, domains),
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        atexit.register(self.stop)
        lib.wait_until(lambda: listens(address, 25) or self.process.poll() is not None, self.NAME)
        if self.process.poll() is not None:
            raise RuntimeError("%s ended: %s" % (self.NAME, self.log()))

    def command(self, address, domains):
        """Writes its configuration and says how it is started, in the foreground; `sh -c` may prepare its system."""
        raise NotImplementedError

    def file(self, name, text):
        return lib.file_of(os.path.join(self.where, name), text)

    def log(self):
        text = ""
        for name in ("out", "mainlog", "paniclog", "rejectlog"):
            path = os.path.join(self.where, name)
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    text += f.read()[-3000:]
        return text

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()


def listens(address, port):
    """Somebody listens at this address of IPv4."""
    want = "%s:%04X" % ("".join("%02X" % int(p) for p in reversed(address.split("."))), port)
    with open("/proc/net/tcp") as f:
        return any(line.split()[1] == want and line.split()[3] == "0A" for line in f.read().splitlines()[1:])


class Exim(Unpacked):
    NAME, USERS, PROBE = "exim", "Debian-exim", ["exim4", "-bV", "-C", "/dev/null"]

    def command(self, address, domains):
        conf = self.file("conf", """
exim_user = Debian-exim
spool_directory = /var/spool/exim
log_file_path = {w}/%slog
pid_file_path = /run/exim.pid
keep_environment =
primary_hostname = mx.exim.test
local_interfaces = {a}
daemon_smtp_ports = 25
domainlist ours = {d}
{x}
dsn_advertise_hosts = *
{t}
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 60M
smtp_accept_queue_per_connection = 0
queue_run_max = 0
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = +ours
         control = dkim_disable_verify
  deny message = relaying denied
begin routers
ours:
  driver = accept
  domains = +ours
  transport = maildir
begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {m}
  user = _wwmail
  check_string =
  escape_string =
begin retry
* * F,1h,1s
""".format(w=self.where, a=address, d=" : ".join(domains), m=self.maildir, x=self.extra or "smtputf8_advertise_hosts = *",
           t="" if "tls_" in self.extra else "tls_advertise_hosts ="))  # no option may stand twice
        # only there Exim trusts its configuration with root's rights
        return ["sh", "-c", "mkdir -p /etc/exim4 /var/spool/exim && chown Debian-exim: /var/spool/exim '%s' && "
                "install -m 644 '%s' /etc/exim4/exim4.conf && exec exim4 -bdf" % (self.where, conf)]


class OpenSMTPD(Unpacked):
    NAME, USERS, PROBE = "opensmtpd", "opensmtpd opensmtpq", ["sh", "-c", "smtpd -h 2>&1 | grep -q version"]

    def command(self, address, domains):
        conf = self.file("conf", """
table users {{ "@" = "_wwmail" }}
smtp max-message-size "60M"
listen on {a} port 25 hostname "mx.osmtpd.test"
action "in" maildir "{m}" virtual <users>
match from any for domain {{ {d} }} action "in"
""".format(a=address, m=self.maildir, d=", ".join('"%s"' % d for d in domains)))
        return ["sh", "-c", "mkdir -p -m 711 /var/spool/smtpd && mkdir -p -m 755 /var/lib/opensmtpd/empty /run/opensmtpd && "
                "exec smtpd -d -f '%s'" % conf]


class Sendmail(Unpacked):
    NAME, USERS, PROBE = "sendmail", "smmta smmsp", ["sh", "-c", "m4 --version && ldd /usr/libexec/sendmail/sendmail && "
                                                     "! ldd /usr/libexec/sendmail/sendmail | grep 'not found'"]

    def command(self, address, domains):
        deliver = self.file("deliver", """#!/bin/sh
set -e
cd '%s'
t=$(mktemp tmp/XXXXXXXXXX)
cat >"$t"
mv "$t" new/
""" % self.maildir)
        os.chmod(deliver, 0o755)
        mc = self.file("mc", """include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mx.sendmail.test')dnl
define(`confPID_FILE', `/run/sendmail.pid')dnl
define(`QUEUE_DIR', `/var/spool/mqueue')dnl
define(`STATUS_FILE', `')dnl
define(`ALIAS_FILE', `')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confHOSTS_FILE', `/etc/hosts')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `background')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDEF_USER_ID', `_wwmail')dnl
define(`confMAX_MESSAGE_SIZE', `60000000')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Name=MTA, Addr={address}, Port=25')dnl
MAILER(`smtp')dnl
MAILER_DEFINITIONS
Mbox, P={deliver}, F=ln8, U=_wwmail, T=DNS/RFC822/X-Unix, A=deliver $u
LOCAL_CONFIG
Cw{domains}
LOCAL_RULE_0
R$* < @ $=w . >\t$#box $: $1
""".format(deliver=deliver, address=address, domains=" ".join(domains)))
        return ["sh", "-c", "mkdir -p /etc/mail /var/spool/mqueue && chmod 700 /var/spool/mqueue && "
                "printf 'hosts files\naliases files\n' >/etc/mail/service.switch && "
                "echo '%s mx.sendmail.test' $(uname -n) >/etc/hosts && : >/etc/mail/local-host-names && "
                "m4 -D_CF_DIR_=/usr/share/sendmail/cf/ '%s' >/etc/mail/sendmail.cf && "
                "exec /usr/libexec/sendmail/sendmail -bD -X '%s/mainlog'" % (address, mc, self.where)]


# ---- aiosmtpd -----------------------------------------------------------------------------------------------------------

class Aiosmtpd:
    """Takes mail for anybody at ADDRESS:25, or by LMTP at ADDRESS:24, octet for octet with CRLF, into the Maildir .maildir."""
    PYTHON = "/usr/bin/python3"  # that Debian's package is for

    @classmethod
    def missing(cls):
        done = subprocess.run([cls.PYTHON, "-c", "import aiosmtpd.lmtp"], stderr=subprocess.DEVNULL)
        return None if done.returncode == 0 else "python3-aiosmtpd"

    def __init__(self, where, address, protocol="smtp"):
        self.where = os.path.join(where, "aiosmtpd-" + protocol)
        self.maildir = os.path.join(self.where, "mail")
        for folder in ("tmp", "new", "cur"):
            os.makedirs(os.path.join(self.maildir, folder))
        port = {"smtp": 25, "lmtp": 24}[protocol]
        with open(os.path.join(self.where, "out"), "w") as out:
            self.process = subprocess.Popen([self.PYTHON, "-B", os.path.join(lib.HERE, "sink_aiosmtpd.py"), protocol, address,
                                             str(port), self.maildir], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        atexit.register(self.stop)
        lib.wait_until(lambda: listens(address, port) or self.process.poll() is not None, "aiosmtpd")
        if self.process.poll() is not None:
            raise RuntimeError("aiosmtpd ended: " + self.log())

    def log(self):
        with open(os.path.join(self.where, "out")) as f:
            return f.read()[-3000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


# ---- all of them --------------------------------------------------------------------------------------------------------

def next_hops(where):
    """{name: (why it can't be had or None, is it LMTP, make(address, domain))}: each can be delivered to."""
    def of(kind):
        return kind.missing(), False, lambda address, domain: kind(where, address, [domain])
    return {
        "Postfix": (missing("postfix"), False, lambda address, domain: Postfix(where, address, [domain])),
        "Exim": of(Exim), "OpenSMTPD": of(OpenSMTPD), "sendmail": of(Sendmail),
        "aiosmtpd": (Aiosmtpd.missing(), False, lambda address, domain: Aiosmtpd(where, address)),
        "aiosmtpd by LMTP": (Aiosmtpd.missing(), True, lambda address, domain: Aiosmtpd(where, address, "lmtp")),
        "Dovecot by LMTP": (missing("dovecot"), True, lambda address, domain: Dovecot(where, address)),
    }


def lesser(where, name, extra):
    """Another instance "NAME, HOW" of Postfix or Exim with these lines in its configuration; as in next_hops()."""
    kind = {"Postfix": Postfix, "Exim": Exim}[name.partition(",")[0]]
    folder = os.path.join(where, name.replace(", ", "-"))
    os.mkdir(folder)
    return (missing("postfix") if kind is Postfix else Exim.missing(), False,
            lambda address, domain: kind(folder, address, [domain], extra=extra))


def files_of(peer):
    """The paths of all messages in new of its Maildirs."""
    top = peer.mail if hasattr(peer, "mail") else peer.maildir
    return [os.path.join(path, name) for path, _, names in os.walk(top) if path.endswith("/new") for name in names]

"""Postfix and Dovecot as peers: instances of this test's own, in its folder and its network namespace."""
import os
import pwd
import re
import shutil
import subprocess
import atexit

import lib

POSTFIX_DIST = "/usr/share/postfix/master.cf.dist"


def missing(*tools):
    """The first that is not there, or None."""
    return next((t for t in tools if shutil.which(t) is None), None)


class Postfix:
    """Takes mail for the given domains at ADDRESS:25 into one Maildir, .maildir."""

    def __init__(self, where, address, domains):
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
        lib.file_of(os.path.join(self.conf, "main.cf"), "\n".join((
            "compatibility_level = 3.6", "queue_directory = %s/spool" % self.conf, "data_directory = %s/data" % self.conf,
            "command_directory = /usr/sbin", "daemon_directory = /usr/lib/postfix/sbin", "mail_owner = postfix",
            "setgid_group = postdrop", "maillog_file = %s/log" % self.conf, "maillog_file_prefixes = " + where,
            "inet_interfaces = " + address, "inet_protocols = ipv4", "myhostname = mx.pf.test", "mydestination =",
            "local_header_rewrite_clients =", "alias_maps =", "alias_database =", "message_size_limit = 60000000",
            "mailbox_size_limit = 0", "virtual_mailbox_limit = 0", "smtputf8_enable = yes", "mynetworks = 127.0.0.9/32",
            "virtual_mailbox_domains = " + " ".join(domains), "virtual_mailbox_base = %s/mail" % self.conf,
            "virtual_mailbox_maps = static:all/", "virtual_uid_maps = static:%d" % owner.pw_uid,
            "virtual_gid_maps = static:%d" % owner.pw_gid, "virtual_minimum_uid = 1",
            "smtpd_relay_restrictions = reject_unauth_destination", "smtpd_tls_security_level = none", "")))
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

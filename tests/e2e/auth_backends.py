#!/usr/bin/env python3
"""Logins that others decide: Dovecot's auth process (the real one) and PAM's modules, with all that they refuse, how they
fail, and what must not be heard by anybody: passwords."""
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import tls_peer
from tls_peer import coded, plain

NAME = "mx.example.org"
PASSWORD = {"joe": "secret of joe", "ann": "ann's p\u00e4ss=w,rd", "alias": "secret of alias", "eve": "secret of eve"}
RIGHT, BAD, LATER = (235, "2.7.0"), (535, "5.7.8"), (454, "4.7.0")

tap = lib.Tap()
lib.inside(["openssl", "mount"])
DOVECOT = shutil.which("dovecot")
SYSTEM = {"wwtest": "secret of wwtest", "wwold": "secret of wwold"}
where = lib.folder()
pki = tls_peer.Pki(where)
pki.make("server", NAME, names=["DNS:" + NAME, "IP:192.0.2.1"])
run_folder = os.path.join(where, "dovecot")
SOCKET = os.path.join(run_folder, "auth-client")
for n in range(2, 250):
    subprocess.run(["ip", "addr", "add", "203.0.113.%d/32" % n, "dev", "lo"], check=True)
LUA = """hostname "mx.example.org"
postmaster "joe@example.org"
resolver { "127.0.0.53" }
tls { cert = "server.crt", key = "server.key" }
listen { port = 465, address = "0.0.0.0", submission = true }
domain "example.org" { users = { "joe", "ann", "alias", "off" }, auth = dovecot "unix:%s", deliver = maildir "%s/%%d/%%u", user = "_wwmail" }
domain "same.example" { same_as = "example.org" }
domain "pam.example" { users = { "joe", "ann" }, auth = pam "waxwing-yes", deliver = maildir "%s/%%d/%%u", user = "_wwmail" }
domain "no.example" { users = { "joe" }, auth = pam "waxwing-no", deliver = maildir "%s/%%d/%%u", user = "_wwmail" }
domain "none.example" { users = { "joe" }, auth = pam "waxwing-none", deliver = maildir "%s/%%d/%%u", user = "_wwmail" }
domain "unix.example" { users = { "wwtest", "wwold", "daemon" }, auth = pam "waxwing-unix", deliver = maildir "%s/%%d/%%u", user = "_wwmail" }
""" % ((SOCKET,) + (lib.mail_folder(where),) * 5)
DOVECOT_CONF = """base_dir = %s
log_path = %s/log
state_dir = %s/state
protocols =
ssl = no
auth_mechanisms = plain
disable_plaintext_auth = yes
auth_failure_delay = 0
auth_username_format = %%Lu
default_internal_user = dovecot
default_login_user = dovenull
auth_debug_passwords = no
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%Lu %s/passwd
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
service auth {
  unix_listener auth-client {
    path = auth-client
    mode = 0666
  }
}
""" % (run_folder, run_folder, run_folder, run_folder)


class Dovecot:
    def __init__(self):
        os.makedirs(run_folder, exist_ok=True)
        os.chmod(run_folder, 0o755)
        lib.file_of(run_folder + "/passwd", "joe@example.org:%s\nann@example.org:%s\n"
                    "alias@example.org:%s::::::user=joe@example.org\neve@example.org:%s\n"
                    "off@example.org:secret of off::::::user=eve@example.org\n" % tuple(PASSWORD[u] for u in ("joe", "ann", "alias", "eve")))
        self.conf = lib.file_of(run_folder + "/conf", DOVECOT_CONF)
        self.start()

    def start(self):
        self.process = subprocess.Popen([DOVECOT, "-F", "-c", self.conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(run_folder + "/stderr", "w", encoding="ascii"), start_new_session=True)
        lib.wait_until(lambda: os.path.exists(SOCKET), "the socket of Dovecot")

    def stop(self):
        pids = [pid for pid, _ in lib.children(self.process.pid)]
        self.process.kill()  # by its master alone its auth process is asked to end, and serves who is there
        self.process.wait(lib.DEADLINE_S)
        for pid in pids:
            lib.signal_to(pid, signal.SIGKILL)
        lib.wait_until(lambda: not any(lib.is_alive(p) for p in pids), "the end of Dovecot's processes")
        os.unlink(os.path.join(run_folder, "master.pid"))
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)

    def pid_of_auth(self):
        for pid, args in lib.children(self.process.pid):
            if args[0].startswith("dovecot/auth") and "worker" not in args[0]:
                return pid
        return None


hosts = iter(range(2, 250))


def connect(host=None):
    """host: the client's address, for the limit of guesses; without, one that nobody had."""
    return tls_peer.Smtp(465, pki.context(), implicit=True, source="203.0.113.%d" % (host or next(hosts)))


def code_of(answer):
    return answer[0], answer[1].split(" ", 1)[0]


def try_plain(user, password, host=None):
    client = connect(host)
    answer = code_of(plain(client, user, password))
    client.close()
    return answer


def try_login(user, password):
    client = connect()
    client.ask("AUTH LOGIN")
    client.ask(coded(user.encode()))
    answer = code_of(client.ask(coded(password.encode())))
    client.close()
    return answer


# ---- Dovecot ------------------------------------------------------------------------------------------------------------

def by_dovecot():
    client = connect()
    tap.equal(set(client.mechanisms()), {"PLAIN", "LOGIN"}, "what Dovecot can't look at is not offered: SCRAM")
    tap.equal(code_of(plain(client, "joe@example.org", PASSWORD["joe"])), RIGHT, "Dovecot: PLAIN")
    tap.equal(client.envelope("joe@example.org", ["ann@example.org"]), None, "and he sends as himself")
    tap.equal(client.data(b"Subject: by Dovecot\r\n\r\nx\r\n")[0], 250, "a message")
    client.ask("RSET")
    tap.equal(client.envelope("ann@example.org", ["joe@example.org"])[0], 550, "and as nobody else")
    client.quit()
    for user in ("joe@example.org", "JOE@Example.org", "joe@same.example"):
        tap.equal(try_plain(user, PASSWORD["joe"]), RIGHT, "Dovecot: PLAIN, " + user)
    tap.equal(try_login("ann@example.org", PASSWORD["ann"]), RIGHT, "Dovecot: LOGIN, a password that is not ASCII")
    for user, password in (("joe@example.org", "wrong"), ("joe@example.org", PASSWORD["ann"]), ("ann@same.example", ""),
                           ("nobody@example.org", "x"), ("joe/phone@example.org", PASSWORD["joe"]), ("joe@elsewhere.example", "x"),
                           ("@example.org", "x")):
        if password:
            tap.equal(try_plain(user, password), BAD, "Dovecot: refused, %s with %r" % (user, password))
        tap.equal(try_login(user, password or "y"), BAD, "Dovecot: refused by LOGIN, %s" % user)


def other_names():
    """Dovecot may call a user otherwise than he calls himself (user= in its answer)."""
    client = connect()
    tap.equal(code_of(plain(client, "alias@example.org", PASSWORD["alias"])), RIGHT, "Dovecot calls alias joe: he may log in")
    tap.equal(client.envelope("joe@example.org", ["ann@example.org"]), None, "and is joe")
    client.ask("RSET")
    tap.equal(client.envelope("alias@example.org", ["ann@example.org"])[0], 550, "and not alias")
    client.quit()
    since = server.mark()
    tap.equal(try_plain("off@example.org", "secret of off"), BAD, "Dovecot calls off eve, who has no mailbox: refused")
    tap.ok(server.wait_log("login.stranger.*eve", since), "the log says so")
    tap.equal(try_plain("eve@example.org", PASSWORD["eve"]), BAD, "whom Dovecot knows and we don't is refused")


def guesses():
    """From many addresses: for each Dovecot makes wrong ones wait longer and longer, and time gives guesses back."""
    since = server.mark()
    answers = [try_plain("off@example.org", "guess %d" % i) for i in range(40)]
    tap.equal(answers[:15], [BAD] * 15, "some wrong ones are looked at")
    tap.equal(answers[-1], LATER, "then no more")
    tap.equal(try_plain("off@example.org", "secret of off"), LATER, "nor is the right one")
    tap.ok(server.wait_log("off@example.org.*too many logins failed", since), "the log says why")
    tap.equal(try_plain("joe@example.org", PASSWORD["joe"]), RIGHT, "others are not touched by it")


def in_journal(user):
    """The last that it has of a login of this user that was refused: our code, and why."""
    with sqlite3.connect("file:%s/journal/journal.db?mode=ro" % where, uri=True) as journal:
        rows = journal.execute("SELECT number, text FROM lines WHERE id = 0 AND rcpt = ? ORDER BY seq DESC LIMIT 1", (user.encode(),)).fetchall()
    return [(number, text.decode()) for number, text in rows][0] if rows else (0, "")


def tells(user, reason, title):
    """The journal comes a moment after the reply."""
    lib.wait_until(lambda: in_journal(user)[0] == 454 and reason in in_journal(user)[1], "\"%s\" in the journal" % reason)
    tap.ok(in_journal(user)[1].startswith("the login can't be checked now"), title, str(in_journal(user)))


def failures():
    since = server.mark()
    dovecot.stop()
    tap.equal(try_plain("joe@example.org", PASSWORD["joe"]), LATER, "Dovecot is away: a temporary failure")
    tells("joe@example.org", "Dovecot can't be reached at its socket", "the journal says that it was trouble, and whose")
    tap.equal(try_plain("joe@example.org", "wrong"), LATER, "whatever the password")
    tap.ok(server.wait_log(r"auth\.down.*auth-client", since), "the log says who is away")
    tap.ok(server.wait_log(r"refused.*address=joe@example\.org.*can't be checked", since), "and that of logins the same")
    since = server.mark()
    dovecot.start()
    tap.equal(try_plain("joe@example.org", PASSWORD["joe"]), RIGHT, "it is back: so are logins")
    tap.ok(server.wait_log(r"auth\.up", since), "the log says so")
    pid = lib.wait_until(dovecot.pid_of_auth, "the auth process of Dovecot")
    os.kill(pid, signal.SIGKILL)
    lib.wait_until(lambda: dovecot.pid_of_auth() != pid, "the end of Dovecot's auth process")
    lib.wait_until(lambda: try_plain("joe@example.org", PASSWORD["joe"]) == RIGHT, "a login after Dovecot's auth process died")
    tap.ok(True, "Dovecot's auth process died: the next connection is made")
    since = server.mark()
    os.kill(server.pid("auth"), signal.SIGKILL)
    server.wait_log(r"role.*auth", since)
    lib.wait_until(lambda: try_plain("joe@example.org", PASSWORD["joe"]) == RIGHT, "a login after auth died")
    tap.ok(True, "our own process died: it is started again")


def silence():
    """No password is in a log, ours or Dovecot's."""
    with open(run_folder + "/log", encoding="utf-8", errors="replace") as f:
        theirs = f.read()
    for user, password in PASSWORD.items():
        for text in (password, coded(password.encode()), coded(("\0%s@example.org\0%s" % (user, password)).encode())):
            tap.ok(all(text not in line for line in server.lines) and text not in theirs, "no log has the password of " + user)


# ---- PAM ----------------------------------------------------------------------------------------------------------------

SERVICES = {
    "waxwing-yes": "auth required pam_permit.so\naccount required pam_permit.so\n",
    "waxwing-no": "auth required pam_deny.so\naccount required pam_deny.so\n",
    "waxwing-unix": "auth required pam_unix.so\naccount required pam_unix.so\n",
}


def make_accounts():
    """Services and accounts that nobody outside of this test's mounts sees."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/etc/pam.d"], check=True)
    for name, text in SERVICES.items():
        lib.file_of("/etc/pam.d/" + name, text)
    lines = {"passwd": "", "shadow": ""}
    for i, (user, password) in enumerate(SYSTEM.items()):
        lines["passwd"] += "%s:x:%d:%d::/nonexistent:/bin/sh\n" % (user, 61000 + i, 61000 + i)
        expires = "1" if user == "wwold" else ""
        lines["shadow"] += "%s:%s:19000:0:99999:7::%s:\n" % (user, tls_peer.openssl("passwd", "-6", "-stdin", text=password + "\n").strip(), expires)
    for name, text in lines.items():
        path = os.path.join(where, name)
        with open("/etc/" + name, encoding="utf-8") as f:
            lib.file_of(path, f.read() + text)
        os.chmod(path, 0o640 if name == "shadow" else 0o644)
        subprocess.run(["mount", "--bind", path, "/etc/" + name], check=True)


def by_pam():
    tap.equal(try_plain("joe@pam.example", "anything"), RIGHT, "PAM: modules that say yes")
    tap.equal(try_login("ann@pam.example", "x"), RIGHT, "PAM: LOGIN")
    tap.equal(try_plain("eve@pam.example", "anything"), BAD, "PAM: who has no mailbox is refused where all are taken")
    tap.equal(try_plain("joe@no.example", "anything"), BAD, "PAM: modules that say no")
    since = server.mark()
    tap.equal(try_plain("joe@none.example", "anything"), LATER, "PAM: a service that there isn't")
    tap.ok(server.wait_log("pam.failed.*waxwing-none", since), "the log says so")
    tells("joe@none.example", "PAM's modules could not say", "and the journal")
    tap.equal(try_plain("wwtest@unix.example", SYSTEM["wwtest"]), RIGHT, "PAM: an account of this machine")
    tap.equal(try_plain("wwtest@unix.example", "wrong"), BAD, "its wrong password")
    tap.equal(try_plain("wwold@unix.example", SYSTEM["wwold"]), BAD, "an account that has expired")
    tap.equal(try_plain("daemon@unix.example", "x"), BAD, "an account without a password")
    tap.equal(try_plain("root@unix.example", "x"), BAD, "root, who is no user of the domain")
    for index in range(4):
        os.kill(server.pid("pam", index), signal.SIGKILL)
    lib.wait_until(lambda: try_plain("wwtest@unix.example", SYSTEM["wwtest"]) == RIGHT, "a login after PAM's processes died")
    tap.ok(True, "PAM's processes died: they are started again")
    for user, password in SYSTEM.items():
        tap.ok(all(password not in line for line in server.lines), "no log has the password of " + user)


def memory():
    """What was looked at is forgotten: by all processes, a while after."""
    if lib.SANITIZED:
        tap.skip("passwords in memory", "a sanitizer's memory is too large to search")
        return
    client = connect()
    tap.equal(code_of(plain(client, "wwtest@unix.example", SYSTEM["wwtest"])), RIGHT, "a login to be forgotten")
    client.quit()
    secrets = {p.encode() for p in SYSTEM.values()} | {PASSWORD["joe"].encode()}
    spoken = {coded(("\0%s@example.org\0%s" % (u, PASSWORD[u])).encode()).encode() for u in ("joe", "ann")}  # to Dovecot
    sent = {coded(("\0wwtest@unix.example\0" + SYSTEM["wwtest"]).encode()).encode()}  # by the client
    for (role, index), pid in sorted(server.pids().items()):
        got = lib.found_in(pid, {o: o for o in secrets | spoken | sent})
        tap.equal(got, set(), "%s %d has no password in its memory" % (role, index))


def reload(text):
    since = server.mark()
    lib.file_of(os.path.join(where, "waxwing.lua"), lib.paths_lua(where) + text)
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"reload\.done", since)


def changes():
    """The processes come and go with the configuration."""
    lines = [line for line in LUA.splitlines() if " auth = " not in line and "same_as" not in line]
    plain_lua = "\n".join(lines) + '\ndomain "example.org" { users = { "joe" }, deliver = maildir "%s/%%d/%%u", user = "_wwmail" }\n' % lib.mail_folder(where)
    reload(plain_lua)
    lib.wait_until(lambda: not [r for r, _ in server.pids() if r in ("auth", "pam")], "the end of auth and pam")
    tap.ok(True, "without auth there are no processes for it")
    reload(LUA)
    lib.wait_until(lambda: len([r for r, _ in server.pids() if r in ("auth", "pam")]) == 5, "auth and pam")
    lib.wait_until(lambda: try_plain("wwtest@unix.example", SYSTEM["wwtest"]) == RIGHT, "a login after a reload")
    tap.ok(True, "with it again they are back, and asked")


make_accounts()
server = lib.start(where, LUA)
by_pam()
changes()
if DOVECOT is None:
    tap.skip("Dovecot", "dovecot is not installed")
else:
    dovecot = Dovecot()
    by_dovecot()
    other_names()
    guesses()
    failures()
    silence()
memory()
tap.equal(server.stop(), 0, "the server ends")
tap.end()

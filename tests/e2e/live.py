#!/usr/bin/env python3
"""What the kernel says of the processes of a running server: user, capabilities, seccomp, descriptors."""
import os
import pwd
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

USERS = {"smtpd": "_wwsmtpd", "lookup": "_wwlookup", "queue": "_wwqueue", "relay": "_wwrelay", "admin": "_wwadmin",
         "local": "root", "supervisor": "root"}

tap = lib.Tap()
lib.inside()
where = lib.folder()
server = lib.start_demo(where, 2525)


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def descriptors(pid):
    folder = "/proc/%d/fd" % pid
    return [os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)]


def look(pid, role, name):
    s, user = status(pid), pwd.getpwnam(USERS[role])
    tap.equal(s["Uid"].split(), [str(user.pw_uid)] * 4, "%s is %s" % (name, user.pw_name))
    tap.equal(s["Gid"].split(), [str(user.pw_gid)] * 4, "%s has its group" % name)
    if role == "supervisor":
        return
    tap.equal(s["NoNewPrivs"], "1", "%s can gain nothing by set-user-ID" % name)
    tap.equal(s["Seccomp"], "2", "%s has a seccomp filter" % name)
    for thread in os.listdir("/proc/%d/task" % pid):
        t = status(int(thread))
        if (t["Seccomp"], t["Uid"]) != ("2", s["Uid"]):
            tap.ok(False, "%s: so has each thread" % name, str(t))
    if role != "local":
        tap.equal(s["CapEff"].strip("0") + s["CapPrm"].strip("0"), "", "%s has no capability" % name)
        tap.equal(s["Groups"].strip(), "", "%s has no further group" % name)
    # not dumpable: what it has in memory belongs to root, so that no other process of its user may look
    tap.equal(os.stat("/proc/%d/mem" % pid).st_uid, 0, "%s is not dumpable" % name)
    tap.equal(os.getpgid(pid) != 0 and os.readlink("/proc/%d/exe" % pid), os.path.realpath(lib.WAXWING),
              "%s is the one program" % name)


found = server.pids()
tap.equal(sorted({r for r, _ in found}), sorted(USERS), "all roles are there")
for (role, index), pid in sorted(found.items()):
    look(pid, role, "%s %d" % (role, index))
client = lib.Smtp(2525)
client.envelope("a@localhost", ["joe@localhost"])
client.ask("DATA")
for (role, index), pid in sorted(found.items()):
    fds = descriptors(pid)
    paths = [f for f in fds if f.startswith("/") and not f.startswith(("/dev/null", "/proc"))]
    allowed = {"queue": "/spool", "admin": "/journal"}.get(role)
    wrong = [p for p in paths if allowed is None or not p.startswith(where + allowed)]
    wrong += [f for f in fds if f.startswith("/proc")]
    if role == "supervisor":  # the configuration, sealed: each role gets the same memory
        tap.equal(wrong, ["/memfd:waxwing (deleted)"], "supervisor 0 holds the configuration that roles get, and no file")
        continue
    tap.ok(not wrong, "%s %d holds no file but its own" % (role, index), str(wrong))
client.close()


def tcp_inodes():
    out = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with open("/proc/net/" + name) as f:
            next(f)
            out |= {line.split()[9] for line in f}
    return out


inodes = tcp_inodes()
for (role, index), pid in sorted(found.items()):
    has = [f for f in descriptors(pid) if f.startswith("socket:[") and f[8:-1] in inodes]
    want = role in ("smtpd", "supervisor")
    tap.ok(bool(has) == want, "%s %d holds %s" % (role, index, "a listener" if want else "no network socket"), str(has))
mode = os.stat(server.control).st_mode & 0o777
tap.equal(mode & 0o7, 0, "the control socket is not for everybody")
owners = {part: os.stat(os.path.join(where, part)) for part in ("spool", "journal")}
tap.equal([(pwd.getpwuid(s.st_uid).pw_name, s.st_mode & 0o777) for s in owners.values()],
          [("_wwqueue", 0o700), ("_wwadmin", 0o700)], "spool and journal belong to their roles alone")
id_ = lib.id_of(lib.send_one(2525, "a@localhost", ["joe@localhost"], b"Subject: x\r\n\r\nx\r\n"))
server.wait_event(id_, "done")
maildir = os.path.join(where, "mail", "joe", "new")
s = os.stat(os.path.join(maildir, os.listdir(maildir)[0]))
tap.equal((pwd.getpwuid(s.st_uid).pw_name, s.st_mode & 0o777), ("_wwmail", 0o600), "a message is its user's alone")
delivers = [p for p, args in lib.children(found[("local", 0)]) if "deliver" in args]
for pid in delivers:  # kept for a while for the next message
    t = status(pid)
    tap.equal((t["Uid"].split()[0], t["Seccomp"], t["NoNewPrivs"]), (str(pwd.getpwnam("_wwmail").pw_uid), "2", "1"),
              "the deliverer is the user, in its sandbox")
if not delivers:
    tap.skip("the deliverer is the user, in its sandbox", "it had ended already")
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()

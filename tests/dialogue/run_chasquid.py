#!/usr/bin/env python3
"""Plays the dialogues of chasquid's test suite, read where they lie, and prints TAP.

    run_chasquid.py --exec PROGRAM      the session in memory as a child process
    run_chasquid.py HOST PORT           a running server (domains testserver, localhost; size limit 1 MiB)

Codes are compared and not texts: the suite's texts are its own. Where this server answers with another code on
purpose, the table below says which and why. The suite is looked for in $WAXWING_SUITES, else in ../shared/suites
beside the project's folder; without it every test is skipped.
"""
import ast
import os
import re
import socket
import subprocess
import sys

NAME = "smtp-dialogs-chasquid"
SIZE_MAX = 1024 * 1024

# Scripts of a listener that speaks TLS: in memory the session is told that it does; a server would need that port.
SECURE = {"auth_multi_dialog.cmy", "auth_too_many_failures.cmy"}

# script: {code there, and a part of the command before when the code is not enough: (code here, why)}
DIFFERENCES = {
    "auth_multi_dialog.cmy": {"534": ("504", "a mechanism that is not known is 504 (RFC 4954 4)")},
    "auth_too_many_failures.cmy": {"421": ("501", "as many malformed lines are borne as other errors are, not three")},
    "auth_not_tls.cmy": {"503": ("502", "AUTH is not offered at all, not only before TLS")},
    "bad_data.cmy": {"554": ("250", "a malformed header is no reason to refuse: RFC 5321 6.4 and 3.3")},
    "bad_data_dot.cmy": {"521": ("550", "the message is refused and not the host (RFC 7504)")},
    "bad_data_dot_2.cmy": {"521": ("550", "as in bad_data_dot")},
    "bad_data_dot_on_message_too_big.cmy": {"521": ("550", "as in bad_data_dot")},
    "bad_mail_from.cmy": {
        "500": ("501", "a verb that is known with a wrong argument is 501 (RFC 5321 4.2.2)"),
    },
    "bad_rcpt_to.cmy": {
        "500": ("501", "a verb that is known with a wrong argument is 501 (RFC 5321 4.2.2)"),
        "501 <pepe>": ("550", "a bare name is well-formed but names no mailbox here"),
        "550": ("553", "an address outside ASCII without SMTPUTF8 is 553 (RFC 6531 3.5)"),
    },
    "line_too_long.cmy": {"554": ("501", "the line is within our limit; the host name in it is too long")},
}


class Mismatch(Exception):
    pass


class Process:
    def __init__(self, program, is_secure):
        how = ["--secure"] if is_secure else []
        self.child = subprocess.Popen([program] + how + [str(SIZE_MAX), "testserver", "localhost"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, octets):
        try:
            self.child.stdin.write(octets)
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # the server closed; the script says whether it should have

    def line(self):
        return self.child.stdout.readline()

    def close(self):
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        self.child.stdout.close()
        self.child.wait()


class Tcp:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), 30)
        self.file = self.socket.makefile("rb")

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def line(self):
        return self.file.readline()

    def close(self):
        self.file.close()
        self.socket.close()


def with_brackets(text):
    """The suite writes "RCPT TO: user@host"; here the brackets of RFC 5321 4.1.2 are needed."""
    return re.sub(r"^((?:MAIL FROM|RCPT TO): *)([^<\s]\S*)$", r"\1<\2>", text)


def octets_of(node):
    """A Python expression of strings, numbers, + and *; nothing else is evaluated."""
    if isinstance(node, ast.Expression):
        return octets_of(node.body)
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)):
        return node.value.encode() if isinstance(node.value, str) else node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return octets_of(node.left) + octets_of(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return octets_of(node.left) * octets_of(node.right)
    raise Mismatch("an expression that is not understood")


def reply_code(server):
    """The code of one whole reply, '' at the end of the stream."""
    line = server.line()
    while line[3:4] == b"-":
        line = server.line()
    return line[:3].decode("latin-1")


def wanted_code(op, text):
    if op == "<...":
        m = re.search(r"\d{3}", text)
    else:
        m = re.match(r"\d{3}", text)
    return m[0] if m else ""


def play(name, path, connect):
    """Returns the differences met. Where the suite's server hangs up ours may go on: only what a script expects is
    compared."""
    server, met, last_sent = None, set(), ""
    table = DIFFERENCES.get(name, {})
    for number, raw in enumerate(open(path, encoding="utf-8").read().split("\n"), 1):
        m = re.match(r"c (tcp_connect|tls_connect|close|->|~>|<-|<~|<\.\.\.) ?(.*)$", raw.rstrip("\r"))
        if not m:
            continue
        op, text = m[1], m[2]
        if op in ("tcp_connect", "tls_connect", "close"):
            if server:
                server.close()
            server = connect(op == "tls_connect") if op != "close" else None
        elif op == "->":
            last_sent = with_brackets(text)
            server.send(last_sent.encode() + b"\r\n")
        elif op == "~>":
            server.send(octets_of(ast.parse(text.strip(), mode="eval")))
        else:
            want, got = wanted_code(op, text), reply_code(server)
            special = [k for k in table if k.startswith(want) and (" " not in k or k[4:] in last_sent)]
            if got != want:
                for key in special:
                    if table[key][0] == got:
                        met.add(key)
                        break
                else:
                    raise Mismatch("line %d (%s) wants %s, got %s" % (number, last_sent[:60], want, got))
    if server:
        server.close()
    unmet = set(table) - met
    if unmet:
        raise Mismatch("the table explains a difference that is none: %s" % ", ".join(sorted(unmet)))
    return met


def find_suite():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.environ.get("WAXWING_SUITES") or os.path.join(here, "..", "..", "..", "shared", "suites")
    folder = os.path.join(root, NAME)
    return folder if os.path.isdir(folder) else None


def main(argv):
    if argv[0] == "--exec":
        connect = lambda is_secure: Process(argv[1], is_secure)
    else:
        connect = lambda is_secure: Tcp(argv[0], int(argv[1]))
    folder = find_suite()
    if not folder:
        print("1..0 # SKIP the suite %s is not here: set WAXWING_SUITES" % NAME)
        return 0
    scripts = sorted(n for n in os.listdir(folder) if n.endswith(".cmy"))
    scripts += ["t-05-null_address/sendmail.cmy"]
    failed = 0
    print("1..%d" % len(scripts))
    for n, name in enumerate(scripts, 1):
        if name in SECURE and argv[0] != "--exec":
            print("ok %d - %s # SKIP the server has no port with TLS here; the session in memory plays it" % (n, name))
            continue
        try:
            met = play(name, os.path.join(folder, name), connect)
            print("ok %d - %s" % (n, name))
            for key in sorted(met):
                print("# %s -> %s: %s" % (key, *DIFFERENCES[name][key]))
        except (Mismatch, OSError) as e:
            failed += 1
            print("not ok %d - %s" % (n, name))
            print("# " + str(e))
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))

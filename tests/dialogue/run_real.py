#!/usr/bin/env python3
"""Plays dialogue scripts against a running server over TCP and prints TAP.

    run_real.py HOST PORT [--have NAME]... FILE...

Standard library only. README.md tells the format of the scripts.
"""
import re
import socket
import sys

TIMEOUT_S = 30
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\", '"': b'"'}


class Mismatch(Exception):
    pass


def glob_matches(glob, line):
    pattern = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in glob)
    return re.fullmatch(pattern, line, re.DOTALL) is not None


def literal(text):
    """The octets of a quoted text with its escapes."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        raise ValueError("a quoted text is expected")
    out, i, text = b"", 0, text[1:-1]
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode("latin-1")
            i += 1
        elif text[i + 1] == "x":
            out += bytes([int(text[i + 2:i + 4], 16)])
            i += 4
        else:
            out += ESCAPES[text[i + 1]]
            i += 2
    return out


class Script:
    """steps: (line number, word, count, text)."""

    def __init__(self, path):
        self.headers, self.steps = {}, []
        with open(path, "rb") as f:
            for number, raw in enumerate(f.read().decode("latin-1").split("\n"), 1):
                if raw.startswith("#"):
                    m = re.match(r"# (only|needs|conf): *(.*)", raw)
                    if m and not self.steps:
                        self.headers.setdefault(m[1], []).append(m[2].strip())
                elif raw:
                    self.steps.append(self.step(number, raw))

    @staticmethod
    def step(number, raw):
        word, _, rest = raw.partition(" ")
        count = 1
        if word in ("C*", "S*"):
            text, _, rest = rest.partition(" ")
            count, word = int(text), {"C*": "C+", "S*": "S:"}[word]
        return number, word, count, rest

    def why_skip(self, have):
        if "pure" in self.headers.get("only", []) or "conf" in self.headers:
            return "needs the session in memory"
        missing = [n for n in self.headers.get("needs", []) if n not in have]
        # a port that speaks LMTP understands none of the other scripts
        if "lmtp" in have and "lmtp" not in self.headers.get("needs", []):
            return "the port speaks LMTP"
        if "relay" in have and "relay" not in self.headers.get("needs", []):
            return "the client may relay here"
        return "needs --have " + missing[0] if missing else None


class Connection:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), TIMEOUT_S)
        self.buffer = b""

    def line(self):
        """The next line without CR LF, or None at the end of the stream."""
        while b"\n" not in self.buffer:
            try:
                octets = self.socket.recv(65536)
            except ConnectionResetError:
                octets = b""
            if not octets:
                if self.buffer:
                    raise Mismatch("the stream ends within a line: %r" % self.buffer)
                return None
            self.buffer += octets
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r") or len(line) + 1 > 512:
            raise Mismatch("a malformed reply line: %r" % line)
        return line[:-1].decode("latin-1")

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server closed; the script says whether it should have

    def expect(self, glob, number):
        line = self.line()
        if line is None or not glob_matches(glob, line):
            raise Mismatch("line %d wants %r, got %r" % (number, glob, line))

    def expect_to(self, glob, number):
        line = self.line()
        while line is not None and not glob_matches(glob, line):
            line = self.line()
        if line is None:
            raise Mismatch("line %d wants %r, got the end" % (number, glob))


def play(script, host, port):
    """A run of client lines is sent at once when the server's lines stand behind it, as the script says."""
    c = Connection(host, port)
    pending = b""
    try:
        for number, word, count, text in script.steps:
            if word == "C:":
                pending += text.encode("latin-1") + b"\r\n"
                continue
            if word == "C+":
                pending += literal(text) * count
                continue
            if word in ("event", "answer", "tick", "close"):
                continue
            c.send(pending)
            pending = b""
            if word == "S:":
                for _ in range(count):
                    c.expect(text, number)
            elif word == "S...":
                c.expect_to(text, number)
            elif word == "closed":
                line = c.line()
                if line is not None:
                    raise Mismatch("line %d wants the end, got %r" % (number, line))
            elif word == "eof":
                c.socket.shutdown(socket.SHUT_WR)
                while c.line() is not None:
                    pass
            else:
                raise ValueError("line %d: not understood" % number)
    finally:
        c.socket.close()


def main(argv):
    have, files = [], []
    host, port, rest = argv[0], int(argv[1]), argv[2:]
    while rest:
        word = rest.pop(0)
        if word == "--have":
            have.append(rest.pop(0))
        else:
            files.append(word)
    failed = 0
    print("1..%d" % len(files))
    for n, path in enumerate(sorted(files), 1):
        name = path.rsplit("/", 1)[-1]
        try:
            script = Script(path)
            why = script.why_skip(have)
            if why:
                print("ok %d - %s # SKIP %s" % (n, name, why))
                continue
            play(script, host, port)
            print("ok %d - %s" % (n, name))
        except (Mismatch, OSError, ValueError) as e:
            failed += 1
            print("not ok %d - %s" % (n, name))
            print("# " + str(e).replace("\n", " "))
        sys.stdout.flush()
    return 1 if failed or not files else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))

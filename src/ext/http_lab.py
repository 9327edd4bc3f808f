#!/usr/bin/python3
"""HTTPS servers of all kinds on the loopback, for tests of an HTTPS client.

  http_lab.py PROGRAM [ARGUMENT...]   runs PROGRAM; LAB is a folder with ca.pem and a file `ports`: a line for each
                                      server, "NAME PORT". Its exit status is PROGRAM's.

Servers: good (www.lab.test), other (a certificate for other.test), wild (*.lab.test), expired, stranger (an authority
that nobody trusts), plain (no TLS), silent (takes connections and says nothing), closes (ends them at once).
Needs the openssl command; without it a TAP skip.
"""
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

TEXT = b"version: STSv1\r\nmode: testing\r\nmx: mx.lab.test\r\nmax_age: 86400\r\n"


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_authority(lab, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", f"{lab}/{name}.key", "-out", f"{lab}/{name}.pem")


def make_certificate(lab, name, host, authority, days):
    with open(f"{lab}/{name}.ext", "w") as f:
        f.write(f"subjectAltName=DNS:{host}\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=lab",
            "-keyout", f"{lab}/{name}.key", "-out", f"{lab}/{name}.csr")
    openssl("x509", "-req", "-in", f"{lab}/{name}.csr", "-CA", f"{lab}/{authority}.pem", "-CAkey",
            f"{lab}/{authority}.key", "-CAcreateserial", "-days", str(days), "-extfile", f"{lab}/{name}.ext",
            "-out", f"{lab}/{name}.pem")


def head(status, *fields):
    return f"HTTP/1.1 {status}\r\n".encode() + "".join(f + "\r\n" for f in fields).encode() + b"\r\n"


def flood(conn, octets):
    while True:
        conn.sendall(octets)


def echo(conn, request):
    """What was asked, and what came with it."""
    top, _, body = request.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    fields = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:])}
    while len(body) < int(fields.get("content-length", "0")):
        more = conn.recv(65536)
        if not more:
            return
        body += more
    text = " ".join([lines[0].split(" ")[0], fields.get("content-type", "-"), fields.get("authorization", "-"), ""])
    if "expect" not in fields:
        body = text.encode("latin-1") + body
    conn.sendall(head("200 OK", f"Content-Length: {len(body)}") + body)


def answer(conn, path, port):
    text = ["Content-Type: text/plain", f"Content-Length: {len(TEXT)}"]
    if path == "/ok":
        conn.sendall(head("200 OK", *text) + TEXT)
    elif path == "/split":
        for octet in head("200 OK", *text) + TEXT:
            conn.sendall(bytes([octet]))
    elif path == "/close":
        conn.sendall(head("200 OK", "Content-Type: text/plain; charset=utf-8", "Connection: close") + TEXT)
    elif path == "/chunked":
        conn.sendall(head("200 OK", "Content-Type: text/plain", "Transfer-Encoding: chunked"))
        for i in range(0, len(TEXT), 7):
            part = TEXT[i:i + 7]
            conn.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        conn.sendall(b"0\r\n\r\n")
    elif path == "/redirect":
        conn.sendall(head("301 Moved", f"Location: https://www.lab.test:{port}/ok", "Content-Length: 0"))
    elif path == "/missing":
        conn.sendall(head("404 Not Found", "Content-Type: text/plain", "Content-Length: 2") + b"no")
    elif path == "/html":
        conn.sendall(head("200 OK", "Content-Type: text/html", f"Content-Length: {len(TEXT)}") + TEXT)
    elif path == "/notype":
        conn.sendall(head("200 OK", f"Content-Length: {len(TEXT)}") + TEXT)
    elif path == "/long":
        conn.sendall(head("200 OK", "Content-Type: text/plain", "Content-Length: 100000000"))
        flood(conn, b"a" * 16384)
    elif path == "/endless":
        conn.sendall(head("200 OK", "Content-Type: text/plain", "Connection: close"))
        flood(conn, b"a" * 16384)
    elif path == "/header":
        conn.sendall(b"HTTP/1.1 200 OK\r\n")
        flood(conn, b"X-Field: " + b"a" * 1000 + b"\r\n")
    elif path == "/slow":
        conn.sendall(head("200 OK", *text))
        conn.sendall(TEXT[:1])
        conn.recv(1)  # nothing more comes: until the client goes
    elif path == "/mute":
        conn.recv(1)
    elif path == "/short":
        conn.sendall(head("200 OK", *text) + TEXT[:10])
    elif path == "/garbage":
        conn.sendall(b"\x00\x01\x02 not HTTP\r\n\r\n")
    elif path == "/zip":
        conn.sendall(head("200 OK", "Content-Type: text/plain", "Content-Encoding: gzip",
                          f"Content-Length: {len(TEXT)}") + TEXT)


def serve_one(conn, context, port):
    try:
        conn.settimeout(60)
        if context == "silent":
            while conn.recv(4096):
                pass
        elif context == "plain":
            conn.recv(4096)
            conn.sendall(head("400 Bad Request", "Connection: close"))
        elif context != "closes":
            conn = context.wrap_socket(conn, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request and len(request) < 65536:
                more = conn.recv(4096)
                if not more:
                    return
                request += more
            path = request.split(b" ")[1].decode("latin-1")
            if path == "/echo":
                echo(conn, request)
            else:
                answer(conn, path, port)
    except OSError:
        pass
    finally:
        conn.close()


def serve(context):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = listener.getsockname()[1]

    def run():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=serve_one, args=(conn, context, port), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return port


def tls(lab, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{lab}/{name}.pem", f"{lab}/{name}.key")
    return context


def main():
    if shutil.which("openssl") is None:
        print("1..0 # SKIP the openssl command is not there")
        return 0
    with tempfile.TemporaryDirectory(prefix="http_lab.") as lab:
        make_authority(lab, "ca")
        make_authority(lab, "strangers")
        servers = {}
        for name, host, authority, days in [("good", "www.lab.test", "ca", 30), ("other", "other.test", "ca", 30),
                                            ("wild", "*.lab.test", "ca", 30), ("expired", "www.lab.test", "ca", -1),
                                            ("stranger", "www.lab.test", "strangers", 30)]:
            make_certificate(lab, name, host, authority, days)
            servers[name] = serve(tls(lab, name))
        for name in ["plain", "silent", "closes"]:
            servers[name] = serve(name)
        with open(f"{lab}/ports", "w") as f:
            f.write("".join(f"{name} {port}\n" for name, port in servers.items()))
        return subprocess.run(sys.argv[1:], env={**os.environ, "LAB": lab}, check=False).returncode


sys.exit(main())

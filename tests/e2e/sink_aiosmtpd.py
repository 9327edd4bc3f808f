#!/usr/bin/env python3
"""aiosmtpd as a peer: `sink_aiosmtpd.py smtp|lmtp ADDRESS PORT MAILDIR` keeps a copy of each message for each recipient."""
import asyncio
import os
import sys

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP

protocol, address, port, maildir = sys.argv[1:5]


class Sink:
    n = 0

    async def handle_DATA(self, server, session, envelope):
        for _ in envelope.rcpt_tos:
            self.n += 1
            name = "%d.%d" % (self.n, os.getpid())
            with open(os.path.join(maildir, "tmp", name), "wb") as f:
                f.write(envelope.original_content)
            os.rename(os.path.join(maildir, "tmp", name), os.path.join(maildir, "new", name))
        # by LMTP there is an answer for each recipient (RFC 2033 4.2)
        return "\r\n".join(["250 2.0.0 kept"] * (len(envelope.rcpt_tos) if protocol == "lmtp" else 1))


class Server(LMTP if protocol == "lmtp" else SMTP):
    line_length_limit = 1 << 20  # of its own it takes 1001, and a message with longer lines is refused


async def serve():
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(sink, data_size_limit=60 << 20, enable_SMTPUTF8=True, hostname="mx.aio.test"), address, int(port))
    await server.serve_forever()


asyncio.run(serve())

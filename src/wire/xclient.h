/* wire/xclient.h: the arguments of XCLIENT (Postfix's XCLIENT_README): what a trusted proxy says of its
 * client.
 *
 * Owns:     nothing; texts borrow from the buffer they were decoded into.
 * Limits:   SMTP_DOMAIN_MAX octets for NAME, HELO and LOGIN.
 * Errors:   a phrase that can stand in a 501 reply.
 */
#pragma once
#include "base/netaddr.h"
#include "base/str.h"

enum { /* which attributes were given */
       XCLIENT_NAME = 1 << 0,
       XCLIENT_ADDR = 1 << 1,
       XCLIENT_PORT = 1 << 2,
       XCLIENT_PROTO = 1 << 3,
       XCLIENT_HELO = 1 << 4,
       XCLIENT_LOGIN = 1 << 5,
       XCLIENT_DESTADDR = 1 << 6,
       XCLIENT_DESTPORT = 1 << 7,
};
/* What EHLO says behind XCLIENT. */
#define XCLIENT_ATTRIBUTES "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

struct xclient {
    unsigned has;         /* XCLIENT_* */
    unsigned unavailable; /* of has: "[UNAVAILABLE]", then the value is empty */
    unsigned tempunavail; /* of has: "[TEMPUNAVAIL]" */
    struct str name, helo, login;
    struct netaddr addr, dest_addr; /* the port is in them when it was given, whatever the order */
    bool is_esmtp;                  /* PROTO=ESMTP */
};
/* arg is what follows XCLIENT: "NAME=a.example ADDR=192.0.2.1". Values are xtext of RFC 3461; decoded ones
 * are appended to mem, which must not move (a fixed one of arg.n octets is enough). ADDR and DESTADDR take
 * "IPV6:" in front. An attribute that is unknown or given twice is an error. NULL on success. */
const char *xclient_parse(struct str arg, struct buf *mem, struct xclient *out);

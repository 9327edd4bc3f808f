/* wire/proxy.h: the PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): what a load balancer
 * sends before the client's first octet.
 *
 * Owns:     nothing. The caller keeps the octets until the header is whole.
 * Limits:   PROXY_V1_MAX, PROXY_V2_MAX octets; a longer header is BAD before it is read.
 * Security: only for peers that the configuration trusts; whoever may speak it may claim any address.
 */
#pragma once
#include "base/netaddr.h"

enum {
    PROXY_V1_MAX = 107, /* 2.1 */
    PROXY_V2_HEAD = 16, /* 2.2 */
    PROXY_V2_MAX =
        PROXY_V2_HEAD + 4096, /* room for TLVs: a client certificate's name, an ALPN, a cloud's ids */
};
enum proxy_status { PROXY_MORE = 0, PROXY_OK, PROXY_BAD };
struct proxy_header {
    uint8_t version; /* 1 or 2 */
    bool is_local; /* the balancer speaks for itself (LOCAL, UNKNOWN): the connection's addresses are true */
    struct netaddr source, dest; /* NETADDR_NONE when is_local or of a family that says nothing here */
};
/* in: all octets of the connection so far. MORE: too few yet. OK: *out_consumed is the header's length, what
 * is behind it is the client's. BAD: no such header, or a malformed one: close the connection without a word
 * (2). TLVs are checked for their lengths and, where there is one, CRC32C (2.2.3); what they say is not
 * taken. */
enum proxy_status proxy_parse(struct str in, struct proxy_header *out, size_t *out_consumed);

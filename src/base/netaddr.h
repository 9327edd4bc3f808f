/* base/netaddr.h: a network address: IPv4, IPv6, or a unix socket path. IPv4-mapped IPv6 is normalised to
 * IPv4. */
#pragma once
#include "base/buf.h"

enum netaddr_kind { NETADDR_NONE = 0, NETADDR_IP4, NETADDR_IP6, NETADDR_UNIX };
enum { NETADDR_PATH_MAX = 107, NETADDR_TEXT_MAX = 120 };

struct netaddr {
    enum netaddr_kind kind;
    uint16_t port;  /* host byte order; 0 for unix */
    uint8_t ip[16]; /* network byte order; IPv4 uses the first 4 */
    uint32_t scope; /* IPv6 zone index, usually 0 */
    char path[NETADDR_PATH_MAX + 1];
};

/* "192.0.2.1" or "2001:db8::1" (RFC 4291 2.2, no zone, no brackets); the port becomes `port`. */
MUST_USE bool netaddr_parse_ip(struct str s, uint16_t port, struct netaddr *out);
/* "192.0.2.1:25", "[2001:db8::1]:25", "192.0.2.1", "2001:db8::1" (then default_port), "unix:/path" or
 * "/path". */
MUST_USE bool netaddr_parse(struct str s, uint16_t default_port, struct netaddr *out);
/* The address alone, RFC 5952 form for IPv6; the path for unix. */
void netaddr_format_ip(const struct netaddr *a, struct buf *out);
/* With the port: "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path". */
void netaddr_format(const struct netaddr *a, struct buf *out);
bool netaddr_same_ip(const struct netaddr *a, const struct netaddr *b);
bool netaddr_eq(const struct netaddr *a, const struct netaddr *b); /* address and port, or path */
bool netaddr_is_loopback(const struct netaddr *a);
bool netaddr_is_any(const struct netaddr *a);

/* An address prefix, "10.0.0.0/8", "2001:db8::/32", or a single address. */
struct netblock {
    struct netaddr addr;
    uint8_t bits;
};
/* Host bits must be zero: "10.1.2.3/8" is refused (the caller says so to the user). */
MUST_USE bool netblock_parse(struct str s, struct netblock *out);
bool netblock_has(const struct netblock *b, const struct netaddr *a);

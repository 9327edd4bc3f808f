/* wire/dnsrr.h: resource record data as resolvers hand it over: uncompressed wire form (RFC 1035 3.3, RFC 3596). */
#pragma once
#include "base/netaddr.h"

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };
/* An uncompressed name at the start of s into "a.b.c" (lower case, without the final dot; the root is "."): octets that
 * are not printable ASCII, dots inside a label, over-long names fail. *rest follows the name. */
bool dnsname_decode(struct str s, struct buf *out, struct str *rest);
/* A text name (a final dot is taken) into wire form. */
bool dnsname_encode(struct str name, struct buf *out);
bool dnsrr_mx(struct str rdata, uint16_t *out_preference, struct buf *out_name);
bool dnsrr_address(enum dns_type type, struct str rdata, struct netaddr *out);

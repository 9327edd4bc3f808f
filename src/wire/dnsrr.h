/* wire/dnsrr.h: resource record data as resolvers hand it over: uncompressed wire form (RFC 1035 3.3, RFC
 * 3596). */
#pragma once
#include "base/netaddr.h"

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };
/* An uncompressed name at the start of s into "a.b.c" (lower case, without the final dot; the root is "."):
 * octets that are not printable ASCII, dots inside a label, over-long names and compression pointers fail.
 * *rest follows the name. On failure nothing is appended. */
MUST_USE bool dnsname_decode(struct str s, struct buf *out, struct str *rest);
/* A text name (a final dot is taken, "." is the root) into wire form, the case kept. False, and nothing
 * appended, for what dnsname_decode() would not give back, and for the empty text. */
MUST_USE bool dnsname_encode(struct str name, struct buf *out);
/* The name of a null MX (RFC 7505) is ".". */
MUST_USE bool dnsrr_mx(struct str rdata, uint16_t *out_preference, struct buf *out_name);
/* type is DNS_A or DNS_AAAA, others fail; port 0. An IPv4-mapped AAAA becomes IPv4, as everywhere
 * (base/netaddr.h): what is forbidden to connect to must not be reachable under another spelling. */
MUST_USE bool dnsrr_address(enum dns_type type, struct str rdata, struct netaddr *out);
/* The character-strings of a TXT record one behind the other, nothing between them (RFC 1035 3.3.14, and as
 * RFC 7208 3.3 and its kin want them read). False, and nothing appended, when a length leads beyond the
 * record, there is none, or out is full. */
MUST_USE bool dnsrr_txt(struct str rdata, struct buf *out);

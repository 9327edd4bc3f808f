/* ext/dns_packet.h: the answer of a DNS response: what a resolver that hands over whole packets needs, no
 * more.
 *
 * Owns:     one buffer for uncompressed record data, kept between packets.
 * Limits:   DNS_RECORDS_MAX records of the answer section are looked at, DNS_CHAIN_MAX aliases followed.
 * Errors:   a malformed packet is refused whole.
 * Security: hostile bytes; compression pointers only go backwards, names end at 255 octets.
 * RFC:      1035 4.1, 2308 5 (negative answers), 3597 4 (which record data may be compressed).
 */
#pragma once
#include "base/buf.h"
#include "wire/dnsrr.h"

enum { DNS_RECORDS_MAX = 512, DNS_CHAIN_MAX = 16, DNS_WIRE_NAME_MAX = 255 };

struct dns_packet {
    unsigned rcode; /* RFC 1035 4.1.1 */
    uint32_t ttl_s; /* least of the records used; of the SOA when there is no data; 0 unknown */
    size_t n_rdata; /* records of the type at the end of the chain of aliases */
    struct str rdata[DNS_RECORDS_MAX]; /* uncompressed; valid until the next read */
    char canonical[DNS_WIRE_NAME_MAX +
                   1]; /* text of the name at the end of the chain; "" when it can't be text */
    struct buf bytes;  /* of rdata */
};

void dns_packet_init(struct dns_packet *p);
void dns_packet_fini(struct dns_packet *p);
/* Reads a response with one question. Of the answers it takes the records of `type` that the question's name
 * leads to, by CNAMEs if need be. false: malformed, or without memory; then p holds nothing. */
MUST_USE bool dns_packet_read(struct dns_packet *p, struct str packet, enum dns_type type);

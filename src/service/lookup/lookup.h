/* service/lookup/lookup.h: the parts of the lookup role that need no world but random numbers: from the
 * resolver's answers to what the askers want to know.
 */
#pragma once
#include "base/limits.h"
#include "ext/resolver.h"
#include "ipc/lists.h"
#include "ipc/schema.h"

enum {
    LOOKUP_TTL_MIN_S = 5,
    LOOKUP_TTL_MAX_S = 24 * 60 * 60,
    LOOKUP_WHY_MAX = 640,
    LOOKUP_MX_SEEN_MAX = 512, /* records of one answer that are looked at */
};

/* The MX hosts of an answer to a question for `domain`, RFC 5321 5.1: hops in order of preference, equal ones
 * in random order, at most DNS_MX_MAX, each name once. Without MX records (DNS_STATUS_NODATA) the one hop is
 * the domain itself. DNS_STATUS_NULL_MX: RFC 7505. hosts and why are appended to; why says it for people
 * unless it is DNS_STATUS_OK. */
enum dns_status lookup_mx(struct world *w, struct str domain, uint16_t port, const struct resolver_answer *a,
                          struct buf *hosts, struct buf *why);

/* Addresses of one host, of one kind at a time. */
struct lookup_side {
    bool is_done, is_secure;
    enum resolver_status status;
    uint32_t ttl_s;
    size_t n;
    uint8_t ip[DNS_ADDRESSES_MAX][16];
};
/* Takes what an A or AAAA answer says, in random order; 0.0.0.0 and :: are no addresses of a host. */
void lookup_side_take(struct world *w, struct lookup_side *s, enum dns_type type,
                      const struct resolver_answer *a);
/* Both sides: IPv6 and IPv4 in turn, IPv6 first, at most DNS_ADDRESSES_MAX. It is DNS_STATUS_TEMPORARY only
 * when there is no address at all and one side failed; secure when both sides are. */
enum dns_status lookup_host(const struct lookup_side *ip6, const struct lookup_side *ip4,
                            struct buf *addresses);
/* Within the bounds above. */
uint32_t lookup_ttl(uint32_t ttl_s);

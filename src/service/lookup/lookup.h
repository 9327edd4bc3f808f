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
    /* octets of an answer's records as a list: in a packet, at most 64 KiB, each one takes more room than
       here */
    LOOKUP_RDATA_MAX = 64 * 1024,
};

/* The MX hosts of an answer to a question for `domain`, RFC 5321 5.1: hops in order of preference, equal ones
 * in random order, at most DNS_MX_MAX, each name once. Without MX records (DNS_STATUS_NODATA) the one hop is
 * the domain itself. DNS_STATUS_NULL_MX: RFC 7505. hosts and why are appended to; why says it for people
 * unless it is DNS_STATUS_OK. */
enum dns_status lookup_mx(struct world *w, struct str domain, uint16_t port, const struct resolver_answer *a,
                          struct buf *hosts, struct buf *why);

/* The records of an answer to a question for `type` of `name`, as they are, for rdata (list_put_str()): all
 * of them, or it is DNS_STATUS_TEMPORARY: some without the others could say something else. why as above. */
enum dns_status lookup_rr(struct str name, enum dns_type type, const struct resolver_answer *a,
                          struct buf *rdata, struct buf *why);
/* What may be asked so. */
bool lookup_is_rr(uint16_t type);

/* Addresses of one host, of one kind at a time. */
struct lookup_side {
    bool is_done, is_secure;
    enum resolver_status status;
    uint32_t ttl_s;
    char canonical[DNS_NAME_MAX + 1]; /* behind the CNAMEs; "" when not known */
    size_t n;
    uint8_t ip[DNS_ADDRESSES_MAX][16];
};
/* Takes what an A or AAAA answer says, in random order; 0.0.0.0 and :: are no addresses of a host. */
void lookup_side_take(struct world *w, struct lookup_side *s, enum dns_type type,
                      const struct resolver_answer *a);
/* Both sides: IPv6 and IPv4 in turn, IPv6 first, at most DNS_ADDRESSES_MAX. It is DNS_STATUS_TEMPORARY only
 * when there is no address at all and one side failed. */
enum dns_status lookup_host(const struct lookup_side *ip6, const struct lookup_side *ip4,
                            struct buf *addresses);
/* The side that tells whether the host is secure and what it is really called (RFC 7672 2.2.2): one that was
 * validated, else one that knows a name. An insecure name beside a secure one may be forged. */
const struct lookup_side *lookup_witness(const struct lookup_side *ip6, const struct lookup_side *ip4);
/* Within the bounds above. */
uint32_t lookup_ttl(uint32_t ttl_s);

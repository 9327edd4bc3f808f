/* ipc/lists.h: lists inside one string field of a message. Writers append to a buf; readers walk a struct
 * reader and return false at the end or when malformed (then r->failed).
 */
#pragma once
#include "base/netaddr.h"
#include "wire/esc.h"
#include "wire/params.h"

/* plain texts (recipients have a list of their own: wire/params.h) */
bool list_put_str(struct buf *out, struct str s);
bool list_next_str(struct reader *r, struct str *out);
/* How many texts a well-formed list holds; STR_NPOS when malformed. */
size_t list_count_str(struct str list);

/* next hops: a host name (to be looked up) or an address; tried in order of preference, equals in any order
 */
struct hop {
    uint16_t preference;
    uint16_t port;
    struct str name;     /* host name, or empty */
    struct netaddr addr; /* when name is empty: IPv4, IPv6 or unix */
};
bool list_put_hop(struct buf *out, const struct hop *h);
bool list_next_hop(struct reader *r, struct hop *out);

bool list_put_addr(struct buf *out, const struct netaddr *a);
bool list_next_addr(struct reader *r, struct netaddr *out);

/* results of a job, one a recipient */
enum result_kind {
    RESULT_OK = 0,
    RESULT_TEMPORARY,
    RESULT_PERMANENT,
    RESULT_EXPANDED, /* the recipient's own .forward names others: `targets` takes its place */
};
enum {
    RESULT_TEXT_MAX = 512,
    RESULT_TARGETS_MAX = 32 * 1024,
};
enum { /* job_result.flags */
       RESULT_TOOK_DSN =
           1 << 0, /* the server offers DSN and was told what reports are wanted (RFC 3461 5.2.2) */
};
struct job_result {
    enum result_kind kind;
    uint8_t stage; /* enum smtp_client_stage for relay; 0 for local */
    uint8_t flags; /* RESULT_TOOK_* */
    uint16_t code; /* the remote reply code or 0 */
    struct esc esc;
    struct str host;    /* "mx.example.org [192.0.2.1]:25", or empty */
    struct str text;    /* the remote reply or our phrase; cut to RESULT_TEXT_MAX when put */
    struct str targets; /* RESULT_EXPANDED: rcpt_put() records, at most RESULT_TARGETS_MAX octets */
};
bool list_put_result(struct buf *out, const struct job_result *j);
bool list_next_result(struct reader *r, struct job_result *out);

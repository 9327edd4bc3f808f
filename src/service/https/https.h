/* service/https/https.h: what the files of the https role share: https.c (the role, and who talks to it),
 * visit.c (one connection), pages.c (what it serves).
 */
#pragma once
#include "base/world_tls.h"
#include "proto/sts_server.h"
#include "service/boot/role.h"
#include "service/boot/signer.h"

enum {
    HTTPS_VISITS_MAX = 256,
    HTTPS_SHAKE_MS = 10 * 1000,
    HTTPS_VISIT_MS = 20 * 1000, /* from accept to the end */
    HTTPS_LOG_MS = 60 * 1000,   /* one line about handshakes that failed in so long */
    HTTPS_UNCOVERED_SHOWN = 20,
    HTTPS_DIGEST = 32,
};

struct https_pages { /* of one configuration, whose texts they borrow */
    struct sts_page *list;
    size_t n;
    char *texts;
};
/* false: no memory; nothing is there then. */
MUST_USE bool https_pages_make(const struct config *c, struct https_pages *out);
void https_pages_free(struct https_pages *p);

struct https_proof { /* see tls_context_prove() */
    size_t n_name;
    char name[DNS_NAME_MAX];
    unsigned char digest[HTTPS_DIGEST];
};
struct https {
    struct role_env *env;
    struct world *world;
    const struct config *config; /* that the pages are of */
    struct channel *keys, *acme;
    struct signer signer;
    struct tls_context *tls; /* of new handshakes; NULL: no certificate is in force */
    struct timer renew;      /* several certificates that come together make one context */
    struct https_pages pages;
    struct list visits; /* the oldest first */
    size_t n_visits;
    struct https_proof proofs[TLS_PROOFS_MAX];
    size_t n_proofs;
    size_t n_told; /* of them acme has heard that they are shown */
    uint64_t n_failed, log_ms;
    bool is_draining;
};

/* ---- visit.c ---- */

/* A connection was accepted; it ends by itself. */
void visit_start(struct https *r, struct conn *c);
void visits_end(struct https *r);

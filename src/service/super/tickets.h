/* service/super/tickets.h: the keys that session tickets are sealed with (RFC 5077 4): made here, known to
 * all smtpd processes, so that a client resumes at whichever of them it meets. The one secret of TLS that
 * they see.
 *
 * Owns:     TLS_TICKET_KEYS_MAX keys in memory, nowhere else: a restart forgets them.
 * Limits:   a key seals for TICKETS_ROTATE_MS and opens for as long again.
 * Security: with a key, what was sent in sessions that it sealed could be read (those of TLS 1.3 but for
 * their first flight excepted); hence it is short-lived.
 */
#pragma once
#include "base/world_tls.h"

enum { TICKETS_ROTATE_MS = 8 * 60 * 60 * 1000, TICKETS_N = 2 };

struct tickets {
    struct world *world;
    void *arg;
    void (*on_change)(void *arg);
    struct timer timer;
    struct tls_ticket_key keys[TICKETS_N]; /* the first seals */
};
void tickets_init(struct tickets *t, struct world *w, void *arg, void (*on_change)(void *arg));
void tickets_fini(struct tickets *t);
/* For sup_tickets; valid until the next change. */
struct str tickets_bytes(const struct tickets *t);
/* How many keys these octets hold; 0: they are none. */
size_t tickets_count(struct str bytes);

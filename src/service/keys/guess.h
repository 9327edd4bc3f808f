/* service/keys/guess.h: how often somebody may be wrong about a password.
 *
 * Each user and each client's network has an allowance that fills again by and by; a guess takes one from
 * both, and a right one gives it back, so who knows his password is never counted. A client that was right
 * about a user keeps an allowance of its own for him: strangers who use up the user's can't lock him out of
 * the places where he works.
 *
 * Owns:     two tables of fixed size.
 * Limits:   GUESS_USER_* and GUESS_CLIENT_*. Where a table is full who is nearest to a full allowance goes.
 * Errors:   none.
 * Security: texts are known by their SipHash with a secret key alone: nobody chooses who shares a place.
 */
#pragma once
#include "base/siphash.h"
#include "base/world.h"

enum {
    GUESS_USER_BURST = 20,            /* wrong ones in a row */
    GUESS_USER_REFILL_MS = 60 * 1000, /* one more in this time */
    GUESS_CLIENT_BURST = 40,
    GUESS_CLIENT_REFILL_MS = 30 * 1000,
    GUESS_TEXT_MAX = 5000, /* octets of a user or client by which they are told apart */
    GUESS_KNOWN_DAYS = 30, /* how long a client that was right is remembered */
};

struct guesses;
struct guess { /* one guess under way */
    unsigned char user[SIPHASH_SIZE], client[SIPHASH_SIZE], pair[SIPHASH_SIZE];
    bool has_client, is_known;
};

MUST_USE struct guesses *guesses_new(struct world *w); /* NULL: no memory */
void guesses_del(struct guesses **g);
/* client: an IP address (an IPv6 one counts as its /64), or another text, which has no limit of its own.
 * false: too many wrong ones; nothing was taken. Else *out must be ended by one of the other two, or by
 * neither when the guess was wrong. */
MUST_USE bool guess_begin(struct guesses *g, struct str user, struct str client, struct guess *out);
/* It was right. */
void guess_right(struct guesses *g, const struct guess *x);
/* It was not looked at. */
void guess_undo(struct guesses *g, const struct guess *x);

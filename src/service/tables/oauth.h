/* service/tables/oauth.h: access tokens, looked at for auth: by the issuer's public keys, or by asking him
 * (see oauth.c).
 */
#pragma once
#include "service/tables/tables.h"

enum {
    OAUTH_ASKS_MAX = 256,                      /* tokens that are being looked at */
    OAUTH_ANSWER_MS = 20 * 1000,               /* for one; auth waits a little longer */
    OAUTH_FETCH_MS = 10 * 1000,                /* for an answer of the issuer's */
    OAUTH_FETCHES_MAX = 32,                    /* introspections at a time; more wait */
    OAUTH_CACHE_MAX = 4096,                    /* verdicts of introspections, kept for OAUTH_CACHE_S */
    OAUTH_CACHE_S = 60,                        /* and never beyond the token's end */
    OAUTH_KEYS_FRESH_MS = 15 * 60 * 1000,      /* then keys are fetched anew, beside what they are used for */
    OAUTH_KEYS_STALE_MS = 24 * 60 * 60 * 1000, /* older ones count for nothing */
    OAUTH_KEYS_ATTEMPTS = 5,         /* to fetch them, one after another, whatever tokens say of keys */
    OAUTH_KEYS_AGAIN_MS = 10 * 1000, /* gives one back */
};

struct oauth;
/* NULL: no memory. http NULL: nobody can be asked, and all is a temporary failure. */
MUST_USE struct oauth *oauth_new(struct tables *t, struct http_client *http);
void oauth_del(struct oauth **o); /* the HTTP client must not answer any more; NULL is fine */
/* The configuration is new; old is the one before. What hangs on that is answered. */
void oauth_configure(struct oauth *o, const struct oauth_conf *old);
/* Is answered by one tables_say(), at once or later. false: no such question exists. */
MUST_USE bool oauth_ask(struct oauth *o, const struct ipc_auth_ask *m);
void oauth_auth_gone(struct oauth *o); /* nobody waits for answers any more */
bool oauth_is_idle(const struct oauth *o);

/* service/keys/keys.h: what the files of the keys role share.
 *
 * keys.c has the role, its channels and the secrets that the supervisor hands over; keys_auth.c looks at
 * logins.
 */
#pragma once
#include "crypto/private_key.h"
#include "service/boot/role.h"
#include "service/keys/guess.h"
#include "service/keys/users.h"

enum {
    KEYS_THREADS = 2,       /* for slow hashes */
    KEYS_WAITING_MAX = 256, /* logins that wait for one, or are computed */
    KEYS_LOG_MS = 10 * 1000, /* between two lines about refused signatures */
    KEYS_SEED = VERIFIER_SECRET,
};

struct keys;
struct asker { /* a peer's channel */
    struct list link;
    struct keys *keys;
    enum role role;
    struct channel *channel;
    struct list unsent; /* answers for which the channel had no room: it is not read meanwhile */
};
struct held_key {
    struct list link;
    uint32_t number;
    uint8_t uses;
    struct private_key *key;
};
struct held_users {
    struct list link;
    uint32_t file;
    struct users *users;
    uint8_t seed[KEYS_SEED];
    size_t n_name;
    char name[];
};
struct keys {
    struct role_env *env;
    struct world *world;
    struct crypto *crypto;
    struct workers *workers;
    struct guesses *guesses;
    struct list askers, keys, files;
    struct list logins; /* with the workers */
    size_t n_logins;
    uint64_t sign_log_ms; /* no line about a refused signature before this */
    unsigned scram; /* bits 1 << enum scram_hash: no user lacks the verifier; smtpd knows */
    struct timer count_timer, drain_timer;
    bool is_draining, is_drained;
    struct {
        uint64_t signatures, signatures_refused;
        uint64_t right, wrong, too_many, busy;
        uint64_t hashes, proofs; /* passwords and SCRAM proofs computed, whoever they were of */
    } count;
};

/* Sends, now or when there is room. */
void asker_send(struct asker *k, uint16_t type, struct str payload);
/* At the end of a login: are we done? */
void keys_look_drained(struct keys *k);
/* NULL: no such file was handed over. */
struct held_users *keys_find_users(struct keys *k, struct str name);

/* ---- keys_auth.c ---- */

/* Answers now or later. false: no such question exists, the asker is broken. */
MUST_USE bool keys_login(struct asker *k, const struct ipc_auth_ask *m);
/* Its logins are computed to the end, and nobody is told. */
void keys_forget_asker(struct keys *k, const struct asker *a);
/* After the workers were closed. */
void keys_forget_logins(struct keys *k);

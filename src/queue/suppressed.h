/* queue/suppressed.h: what the store keeps of an address that lists send no mail to: an envelope that is no
 * mail, told from others by its hint.
 *
 * Owns:     nothing; decoded slices borrow from the octets.
 * Limits:   SMTP_PATH_MAX, SUPPRESSED_WHY_MAX.
 * Errors:   false for octets that are no whole, sound record.
 * Security: as queue/envelope.h. Addresses are others' choice: their fingerprint is a keyed one.
 */
#pragma once
#include "base/buf.h"
#include "base/siphash.h"
#include "queue/store.h"

enum { SUPPRESSED_WHY_MAX = 512, SUPPRESSED_RECORD_MAX = 2048 };
/* Why, the weakest first: a stronger one takes the place of a weaker. */
enum suppress_reason {
    SUPPRESS_REFUSED = 1, /* a server refused it as unknown; ends when one takes mail for it */
    SUPPRESS_BOUNCED,     /* a report that came in says so */
    SUPPRESS_COMPLAINED,  /* its owner called our mail spam (RFC 5965) */
    SUPPRESS_OPERATOR,
};
enum { SUPPRESS_REASON_MAX = SUPPRESS_OPERATOR };
const char *suppress_reason_word(enum suppress_reason r); /* "refused" */

struct suppressed {
    enum suppress_reason reason;
    uint32_t since_s;   /* wall clock */
    struct str address; /* as it was written */
    struct str why;     /* "mx.example.org [192.0.2.1]:25: 550 5.1.1 no such user" */
};
/* Texts are cut to their limits. */
bool suppressed_encode(const struct suppressed *s, struct buf *out);
MUST_USE bool suppressed_decode(struct str octets, struct suppressed *out);

struct suppressed_hint {
    enum suppress_reason reason;
    uint32_t since_s;
    unsigned char hash[SIPHASH_SIZE]; /* of the key, see suppressed_hash() */
};
void suppressed_hint_encode(const struct suppressed_hint *h, unsigned char out[STORE_HINT]);
/* false: it is another one's. */
MUST_USE bool suppressed_hint_decode(const unsigned char in[STORE_HINT], struct suppressed_hint *out);

/* The fingerprint of an address in its normal form, the same in each process life. Its key is public: who
 * finds two addresses that share it gains nothing, as the address itself is compared before anything is done.
 */
void suppressed_hash(struct str key, unsigned char out[SIPHASH_SIZE]);

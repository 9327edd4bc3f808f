/* crypto/verifier.h: stored password verifiers, as the password field of a passwd-like file holds them.
 *
 * The field is one form, or several of the same password with ";" between them (no form may hold one):
 *   {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey     base64 behind the first comma, as Dovecot writes
 * it {SCRAM-SHA-1}iterations,salt,StoredKey,ServerKey $y$... (yescrypt), $2b$ or $2y$ (bcrypt), $6$, $5$
 * crypt(5); also behind {CRYPT}, {BLF-CRYPT}, {SHA512-CRYPT}, {SHA256-CRYPT} Names in braces may be in either
 * case. A field that begins with "!" or "*" is a locked account: take verifier_false() for it, as for a user
 * that isn't there.
 *
 * Not taken: {PLAIN} (whoever reads the file, or a backup of it, has passwords that are used elsewhere too),
 * DES and MD5 forms ($1$), unsalted and plainly salted digests ({SSHA} and its like): they are guessed at
 * billions a second.
 *
 * Owns:     nothing.
 * Limits:   VERIFIER_TEXT_MAX; a form whose check would take more than some seconds or
 *           VERIFIER_YESCRYPT_MEMORY_MAX is refused when it is parsed.
 * Errors:   of a parse a phrase for an operator, who is not told what the field holds; of a check ERR_NOMEM.
 * Security: what is parsed here is an operator's file and not remote, but checked as if it were. A user that
 *           isn't there gets verifier_false(), so that nobody learns who is.
 */
#pragma once
#include "base/buf.h"
#include "crypto/scram.h"

enum {
    VERIFIER_TEXT_MAX = 1024,
    VERIFIER_CRYPT_MAX = 191, /* octets of a crypt(3) form */
    VERIFIER_CRYPT_ROUNDS_MAX = 2000000,
    VERIFIER_BCRYPT_COST_MAX = 14,
    VERIFIER_YESCRYPT_MEMORY_MAX = 256 * 1024 * 1024,
    VERIFIER_SALT = 16,   /* octets of salt of what we make */
    VERIFIER_SECRET = 32, /* octets that verifier_make() wants, and of the secret of verifier_false() */
};

/* Which form a password in clear text is checked with: the first of these that there is. */
enum verifier_kind { VERIFIER_NONE = 0, VERIFIER_CRYPT, VERIFIER_SCRAM_SHA256, VERIFIER_SCRAM_SHA1 };

struct verifier {
    enum verifier_kind asks;
    bool has_scram[SCRAM_HASHES];
    bool is_false; /* of no user, or locked: nothing matches */
    struct scram_verifier scram[SCRAM_HASHES];
    char crypt[VERIFIER_CRYPT_MAX + 1]; /* with NUL; empty: none */
};

/* NULL on success; else why not, and a verifier that nothing matches. A locked account gives VERIFIER_NONE.
 */
const char *verifier_parse(struct str text, struct verifier *out);
/* Is it the password? Slow by intention: never on the loop of a process that serves others. A password with
 * NUL in it is nobody's, and one longer than crypt(3) takes (511 octets) not that of a crypt form. */
MUST_USE enum err verifier_check(const struct crypto *c, const struct verifier *v, struct str password,
                                 bool *ok);
/* The same for the proof of a SCRAM exchange; fast. v->has_scram[h] must hold. */
MUST_USE enum err verifier_check_proof(const struct crypto *c, const struct verifier *v, enum scram_hash h,
                                       struct str auth_message, struct str proof, bool *ok,
                                       uint8_t signature[SCRAM_KEY_MAX]);
/* Appends the text of verifiers for both hashes: a client takes the strongest mechanism that the server
 * offers to all, so a user who lacks one of them could not log in with it. random: VERIFIER_SECRET octets
 * from the kernel, for the salts. */
MUST_USE enum err verifier_make(const struct crypto *c, struct str password,
                                const uint8_t random[VERIFIER_SECRET], uint32_t iterations, struct buf *out);
/* Appends the text of one form. */
bool verifier_put_scram(struct buf *out, enum scram_hash h, const struct scram_verifier *v);
/* A verifier for a user that isn't there, or who lacks the SCRAM form that is asked for: always the same one
 * for the same name and secret, with both SCRAM forms. Costs and salt lengths are those of `like`, which is
 * what users of the place have; NULL: those of verifier_make() with the default. Users whose verifiers differ
 * from it can be told from those that aren't there. The secret must outlive restarts, or a changed salt
 * tells. Never matches, and takes its full time. */
MUST_USE enum err verifier_false(const struct crypto *c, const uint8_t secret[VERIFIER_SECRET],
                                 struct str user, const struct verifier *like, struct verifier *out);

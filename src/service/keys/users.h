/* service/keys/users.h: one passwd-like file: who may log in and by what verifier.
 *
 * A line is NAME:VERIFIER, what follows another colon is not read (crypto/verifier.h says what a verifier
 * is); empty lines and those that begin with # are skipped. A user without a verifier has an account that
 * nobody can log in to. Names are looked up without regard to ASCII case.
 *
 * Owns:     a copy of the file's text, wiped when it goes.
 * Limits:   PASSWORD_FILE_MAX octets.
 * Errors:   a text for people with the line's number; a file is taken whole or not at all.
 * Security: what the text holds is never repeated in a message, a user's name is.
 */
#pragma once
#include "base/err.h"
#include "crypto/verifier.h"

struct users;
/* ERR_INVALID: why says which line and what is wrong with it. ERR_TOO_BIG, ERR_NOMEM likewise. */
MUST_USE enum err users_parse(struct str text, struct users **out, struct buf *why);
size_t users_count(const struct users *u);
/* false: there is no such user, or his account is locked. */
MUST_USE bool users_find(const struct users *u, struct str name, struct verifier *out);
/* Bits 1 << enum scram_hash: the hashes for which each user who can log in has a verifier. */
unsigned users_scram(const struct users *u);
/* What false verifiers of this place should look like: that of the first user who has one; NULL: none has. */
const struct verifier *users_like(const struct users *u);
void users_free(struct users **u);

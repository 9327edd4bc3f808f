/* crypto/secret.h: what secrets need besides algorithms. Owns nothing, never fails. */
#pragma once
#include "base/buf.h"

/* Equal, in a time that tells nothing of where they differ. Lengths are no secret. */
bool secret_eq(struct str a, struct str b);
/* Overwrites with zeros, also where nothing reads the octets afterwards. n may be 0, then p may be NULL. */
void secret_wipe(void *p, size_t n);
/* Wipes what a buffer has allocated and empties it. A buffer that grew has left octets behind: secrets belong
 * into fixed ones, or into those whose room was reserved at once. */
void secret_wipe_buf(struct buf *b);
/* The password that a file holds: its first line, without the end of it. */
struct str secret_line(struct str octets);
/* A copy on the heap that secret_free() wipes; the empty slice for an empty one. false: no memory. */
MUST_USE bool secret_copy(struct str s, struct str *out);
/* Wipes and frees what secret_copy() gave and leaves the empty slice. */
void secret_free(struct str *s);

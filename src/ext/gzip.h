/* ext/gzip.h: octets packed as gzip (RFC 1952) by zlib, whole and at once. For what we send; nothing of
 * others is unpacked here.
 *
 * Owns:   nothing between calls.
 * Limits: those of out.
 */
#pragma once
#include "base/buf.h"

/* Appends them. false, and nothing appended: no memory, or out is too small. */
MUST_USE bool gzip_pack(struct str octets, struct buf *out);

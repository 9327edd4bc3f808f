/* wire/downgrade.h: a message made fit for a next hop without 8BITMIME (RFC 6152 section 3) or without
 * BINARYMIME (RFC 3030 section 3): content transfer encodings are changed, and nothing else.
 *
 * The whole message goes through twice: first to see what is in it, then to be converted. What decides are
 * the octets, not what a part says of itself.
 *
 *   8bit text, mostly ASCII       quoted-printable (sendmail's rule: at most one octet in eight is over 0x7f)
 *   other 8bit leaves, binary     base64, octet for octet
 *   quoted-printable, raw octets  these are escaped
 *   base64, stray octets          these are left out, as readers do
 *   multipart, message/rfc822     7bit (RFC 2045 6.4), and what is in them is converted
 *   preambles and epilogues       octets that may not go out become "?"; no reader shows them
 *   multipart/signed, /encrypted  DOWNGRADE_FORBIDDEN, if they would have to change
 *
 * Postfix and sendmail's older form break the signatures of the last two; a bounce is the lesser harm.
 * application/pkcs7-mime is a leaf as others are: what is signed or encrypted lies within its octets, and
 * these stay (RFC 8551 3: the CMS object is wrapped in MIME last of all).
 *
 * A message without MIME-Version and Content-Type gets both, with charset=unknown-8bit (RFC 1428), as
 * sendmail does. Content-Type counts without MIME-Version too, as in Postfix. Lines over 998 octets don't
 * make a message binary; only when it is (NUL, bare CR or LF, or "binary" with such lines), all its parts
 * with such lines are encoded too. Header fields are never changed or folded.
 *
 * Owns:     about 300 KiB from the heap, whatever the message.
 * Limits:   those of wire/mime.h; beyond them DOWNGRADE_IMPOSSIBLE, if anything has to change.
 */
#pragma once
#include "wire/mime.h"

enum downgrade_need {
    DOWNGRADE_8BIT = 1 << 0,   /* no octet over 0x7f may go out */
    DOWNGRADE_BINARY = 1 << 1, /* no NUL, bare CR or bare LF may go out, nor (but in header fields and between
                                  parts) lines over 998 octets where the message is binary */
};
enum downgrade_status {
    DOWNGRADE_OK = 0,
    DOWNGRADE_NOT_NEEDED, /* passes as it is; downgrade_put would copy it */
    DOWNGRADE_FORBIDDEN,  /* a signed or encrypted part would have to change: 5.6.3 */
    DOWNGRADE_IMPOSSIBLE, /* octets in header fields, MIME that is broken or over the limits: 5.6.3 too */
};

struct downgrade;
/* need: bits of enum downgrade_need. NULL without memory (a 4xx). */
struct downgrade *downgrade_new(unsigned need);
void downgrade_del(struct downgrade **d);
/* Pass 1, in pieces of any size. */
void downgrade_scan(struct downgrade *d, struct str piece);
enum downgrade_status downgrade_scan_end(struct downgrade *d);
/* After the scan, a phrase for people: "part 2.1: text/plain 8bit -> quoted-printable", "part 2: a
 * multipart/signed part may not be changed". Printable ASCII; valid as long as d. */
struct str downgrade_why(const struct downgrade *d);
/* DOWNGRADE_OK, and a DKIM-Signature or ARC field stands in the message's header section: it will not verify
 * after the conversion. */
bool downgrade_breaks_dkim(const struct downgrade *d);
/* Pass 2, the same octets again; only after DOWNGRADE_OK or DOWNGRADE_NOT_NEEDED. Appends to out as far as it
 * has room (out->failed is not set by a lack of it) and returns the octets taken from piece; when that is
 * less than all, make room in out and call again with the rest. */
MUST_USE size_t downgrade_put(struct downgrade *d, struct str piece, struct buf *out);
/* After the last octet: true when all is written, otherwise make room and call again. */
MUST_USE bool downgrade_end(struct downgrade *d, struct buf *out);
/* Before another pass 2 (a second delivery of the same message to such a host). */
void downgrade_rewind(struct downgrade *d);

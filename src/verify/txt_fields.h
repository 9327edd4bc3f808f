/* verify/txt_fields.h: for this folder only: TXT records of the form "v=STSv1; name=value; ...", which
 * MTA-STS (RFC 8461 3.1) and TLS reports (RFC 8460 3) share.
 *
 * Owns:   nothing; what is given borrows from the caller's buffer.
 * Limits: DNS_TXT_MAX octets of a record.
 */
#pragma once
#include "base/limits.h"
#include "wire/dnsrr.h"

enum txt_pick {
    TXT_NONE = 0, /* no record begins with the version */
    TXT_ONE,
    TXT_MANY, /* more than one does, which counts as none */
};
/* version: "v=STSv1". Of the TXT records of an answer (rdata as resolvers give it), the one that begins with
 * it and a semicolon. TXT_ONE: *out_fields is what stands behind both, in mem, which has room for DNS_TXT_MAX
 * octets. Records that are longer, or malformed, are passed over. */
enum txt_pick txt_pick(const struct str *rdata, size_t n, struct str version, struct buf *mem,
                       struct str *out_fields);

enum txt_next { TXT_FIELD = 0, TXT_END, TXT_BAD };
/* The next field off the front of *fields. Names are 1 to 32 of letters, digits, "_", "-", "."; values one or
 * more of ASCII without ";" and without control characters. Values that nobody knows are not looked at
 * closer: what a later version puts there must not cost a domain its policy. */
enum txt_next txt_next(struct str *fields, struct str *out_name, struct str *out_value);

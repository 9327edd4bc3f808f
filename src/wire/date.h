/* wire/date.h: dates of RFC 5322 3.3 and RFC 3339, in UTC. No time zone or locale of the machine comes into
 * it.
 *
 * Years before 0 or after 9999 can't be written: such times become the first or last second that can.
 */
#pragma once
#include "base/buf.h"

/* "Tue, 24 Nov 2026 01:02:03 +0000" */
void date_format_rfc5322(int64_t unix_s, struct buf *out);
/* "2026-11-24T01:02:03Z"; with_ms adds ".123". */
void date_format_rfc3339(int64_t unix_ms, bool with_ms, struct buf *out);
/* Seconds since 1970 of an RFC 5322 date: comments, folds, two-digit years and the obsolete zones of 4.3 are
 * taken; a leap second counts as the second after it. The name of the day need not be the right one: too many
 * are not. False, and nothing written, when malformed or when something else follows. */
bool date_parse_rfc5322(struct str s, int64_t *out_unix_s);
/* Seconds since 1970 of an RFC 3339 date-time (5.6): "2026-11-24T01:02:03Z", "...03.5+01:00"; a fraction is
 * dropped, a leap second counts as the second after it. False, and nothing written, when malformed. */
bool date_parse_rfc3339(struct str s, int64_t *out_unix_s);

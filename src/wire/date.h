/* wire/date.h: dates of RFC 5322 3.3 and RFC 3339, in UTC. */
#pragma once
#include "base/buf.h"

/* "Tue, 24 Nov 2026 01:02:03 +0000" */
void date_format_rfc5322(int64_t unix_s, struct buf *out);
/* "2026-11-24T01:02:03Z"; with_ms adds ".123". */
void date_format_rfc3339(int64_t unix_ms, bool with_ms, struct buf *out);
/* Seconds since 1970 of an RFC 5322 date (obsolete zones too); false when malformed. */
bool date_parse_rfc5322(struct str s, int64_t *out_unix_s);

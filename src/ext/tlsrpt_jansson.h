/* ext/tlsrpt_jansson.h: reads the TLS reports that others send us (RFC 8460 4), with jansson behind it.
 *
 * Owns:     nothing that lasts; what is read is copied into the caller's arena.
 * Limits:   TLS_RPT_REPORT_MAX octets (unpacked: gzip is the caller's), TLSRPT_DEPTH_MAX, TLSRPT_VALUES_MAX,
 *           TLSRPT_POLICIES_MAX, TLSRPT_FAILURES_MAX, and the arena's.
 * Errors:   what is no report is refused whole; a field that is missing is empty or 0, one of a wrong
 *           type refuses.
 * Security: anybody may send a report and claim anything in it. Depth and number of values are counted
 *           before the parser sees the text, since it recurses and takes memory for each.
 */
#pragma once
#include "verify/tls_rpt.h"

enum {
    TLSRPT_DEPTH_MAX = 16,     /* the format needs 6 */
    TLSRPT_VALUES_MAX = 65536, /* JSON values, commas and brackets counted */
    TLSRPT_POLICIES_MAX = 1000,
    TLSRPT_FAILURES_MAX = 10000, /* of one policy */
};
/* Before the first tlsrpt_read() of a process, and before its sandbox closes: without it jansson opens a file
 * for a seed of its hash tables. Later calls do nothing. */
void tlsrpt_seed(uint64_t seed);
/* false: why (for people) is appended, *out is not to be looked at; the caller resets the arena. */
MUST_USE bool tlsrpt_read(struct str json, struct arena *a, struct tls_rpt_report *out, struct buf *why);

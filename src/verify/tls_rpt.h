/* verify/tls_rpt.h: reports about TLS (RFC 8460): the record that asks for them, counting a day's sessions
 * towards one domain, and the report's text. Reading what others send is ext/tlsrpt_jansson.h.
 *
 * Owns:     a tally keeps copies in the arena it is given; else all borrows.
 * Limits:   TLS_RPT_RUA_MAX, TLS_RPT_POLICIES_MAX, TLS_RPT_FAILURES_MAX, and the arena's. Over them, or
 *           without memory, sessions are still counted where they can be; what is not told apart is in
 *           n_dropped.
 * Security: texts from others (host names, reasons) are escaped when the report is written; how long they
 *           may be is the arena's limit.
 */
#pragma once
#include "base/arena.h"
#include "verify/txt_fields.h"

/* ---- the record ---- */

enum tls_rpt_rua_kind { TLS_RPT_MAILTO = 0, TLS_RPT_HTTPS };
struct tls_rpt_rua {
    enum tls_rpt_rua_kind kind;
    struct str uri; /* whole, as it stands there */
};
struct tls_rpt_record {
    struct tls_rpt_rua rua[TLS_RPT_RUA_MAX]; /* in order, without other schemes and what is too many */
    size_t n_rua;
};
/* "_smtp._tls.DOMAIN" (3). */
void tls_rpt_record_name(struct str domain, struct buf *out);
/* The one record there (3); borrowed from mem, which has room for DNS_TXT_MAX octets. false: the domain wants
 * no reports: no such record, more than one, a malformed one, or no rua that we know. */
MUST_USE bool tls_rpt_record(const struct str *rdata, size_t n, struct buf *mem, struct tls_rpt_record *out);
/* The address of a mailto URI without its header fields (RFC 6068), "%40" and its like decoded. false, and
 * nothing appended: it is none, or it names several, or holds control characters. Whether it is an address is
 * the caller's to check (wire/address.h). */
MUST_USE bool tls_rpt_mailto(struct str uri, struct buf *out);

/* ---- a report ---- */

/* NAME, word; 4.3 */
#define TLS_RPT_RESULTS(X)                                                                                   \
    X(STARTTLS_NOT_SUPPORTED, "starttls-not-supported")                                                      \
    X(CERTIFICATE_HOST_MISMATCH, "certificate-host-mismatch")                                                \
    X(CERTIFICATE_EXPIRED, "certificate-expired")                                                            \
    X(CERTIFICATE_NOT_TRUSTED, "certificate-not-trusted")                                                    \
    X(VALIDATION_FAILURE, "validation-failure")                                                              \
    X(TLSA_INVALID, "tlsa-invalid")                                                                          \
    X(DNSSEC_INVALID, "dnssec-invalid")                                                                      \
    X(DANE_REQUIRED, "dane-required")                                                                        \
    X(STS_POLICY_FETCH_ERROR, "sts-policy-fetch-error")                                                      \
    X(STS_POLICY_INVALID, "sts-policy-invalid")                                                              \
    X(STS_WEBPKI_INVALID, "sts-webpki-invalid")
enum tls_rpt_result {
#define X(NAME, word) TLS_RPT_##NAME,
    TLS_RPT_RESULTS(X)
#undef X
        TLS_RPT_OTHER, /* in reports of others: a word we do not know */
    TLS_RPT_RESULTS_N
};
const char *tls_rpt_result_word(enum tls_rpt_result r); /* "other" for TLS_RPT_OTHER */
enum tls_rpt_result tls_rpt_result_parse(struct str word);

enum tls_rpt_type { TLS_RPT_NO_POLICY = 0, TLS_RPT_TLSA, TLS_RPT_STS, TLS_RPT_TYPE_OTHER, TLS_RPT_TYPES_N };
const char *tls_rpt_type_word(enum tls_rpt_type t); /* "no-policy-found", "tlsa", "sts", "other" */
enum tls_rpt_type tls_rpt_type_parse(struct str word);

struct tls_rpt_failure { /* 4.4; empty: not told */
    enum tls_rpt_result result;
    struct str sending_ip, mx, helo, receiving_ip, info, reason;
    uint64_t n; /* sessions */
};
struct tls_rpt_policy {
    enum tls_rpt_type type;
    struct str domain;
    const struct str *lines; /* policy-string: the TLSA records, or the lines of the MTA-STS policy */
    size_t n_lines;
    const struct str *mx; /* mx-host: the patterns of an MTA-STS policy */
    size_t n_mx;
    uint64_t n_ok, n_failed; /* all sessions */
    struct tls_rpt_failure *failures;
    size_t n_failures;
};
struct tls_rpt_report {
    struct str organization, contact, id;
    int64_t begin_s, end_s; /* both included, seconds since 1970, UTC */
    struct tls_rpt_policy *policies;
    size_t n_policies;
};
/* The report as JSON (4.4). false: out was too small. */
MUST_USE bool tls_rpt_write(const struct tls_rpt_report *r, struct buf *out);
/* "sender.example!domain.example!1470013207!1470186007!ID.json.gz" (5.1); id may be empty. */
void tls_rpt_file_name(struct str sender, struct str domain, int64_t begin_s, int64_t end_s, struct str id,
                       bool is_gzip, struct buf *out);

/* ---- counting ---- */

struct tls_rpt_tally {
    struct arena *arena;
    struct tls_rpt_policy policies[TLS_RPT_POLICIES_MAX];
    size_t n_policies;
    uint64_t n_dropped; /* sessions that are missing in the report, or failed ones without their details */
};
/* The arena must outlive the tally, and be its own: what it has is freed with it. */
void tls_rpt_tally_init(struct tls_rpt_tally *t, struct arena *a);
/* One session under a policy: of p count type, domain, lines and mx (texts are copied). f: NULL when it was
 * made as the policy wants; else why not (f->n is not looked at). A session tells what decided first: a
 * session without policy is counted under TLS_RPT_NO_POLICY. */
void tls_rpt_tally_add(struct tls_rpt_tally *t, const struct tls_rpt_policy *p,
                       const struct tls_rpt_failure *f);
/* A policy with all its counts, as a tally had it before; all is copied. false: there is no room for it, or the tally
 * has it already. */
MUST_USE bool tls_rpt_tally_restore(struct tls_rpt_tally *t, const struct tls_rpt_policy *p);

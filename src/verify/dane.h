/* verify/dane.h: DANE for SMTP: what the TLSA records of a server mean for a delivery, and which questions
 * about it have to be asked (RFC 6698, 7671, 7672).
 *
 * Owns:     nothing; records and names borrow from the facts, names of questions are in the verdict.
 * Limits:   DANE_RECORDS_MAX usable records (more can only make fewer certificates match), DANE_DATA_MAX.
 * Errors:   a failed question is a verdict (DANE_DEFER): a lie to us must not look like "no records".
 * Security: what DNSSEC did not validate counts as if it was not there (RFC 7672 2.1.1). The certificate is
 *           matched by the TLS library; it also prefers the stronger of two digests (RFC 7671 9).
 */
#pragma once
#include "base/limits.h"
#include "wire/dnsrr.h"

/* ---- records ---- */

enum { DANE_PKIX_TA = 0, DANE_PKIX_EE = 1, DANE_TA = 2, DANE_EE = 3 }; /* usage, RFC 6698 2.1.1, RFC 7218 */
enum { DANE_CERT = 0, DANE_SPKI = 1 };                                 /* selector, 2.1.2 */
enum { DANE_FULL = 0, DANE_SHA256 = 1, DANE_SHA512 = 2 };              /* matching type, 2.1.3 */
struct dane_record {
    uint8_t usage, selector, matching; /* any number */
    struct str data;                   /* binary */
};
/* RFC 6698 2.1. false, and nothing written: no TLSA record (no data, or over DANE_DATA_MAX octets). */
MUST_USE bool dane_parse(struct str rdata, struct dane_record *out);
/* Why a record can't be used, for people; static text. NULL: it can. Unusable: usages 0 and 1 (RFC 7672
 * 3.1.3), numbers we do not know, a digest of the wrong length, a whole certificate or key that is no DER. */
const char *dane_unusable(const struct dane_record *r);
/* "3 1 1 0D6FCE...": as zone files have it, for journal and reports (RFC 6698 2.2). */
void dane_format(const struct dane_record *r, struct buf *out);

/* ---- a server ---- */

enum dane_status {
    DANE_NOT_ASKED = 0,
    DANE_FOUND,
    DANE_ABSENT, /* no such name, or no such records */
    DANE_FAILED, /* no answer, SERVFAIL, or forged (bogus) */
};
struct dane_answer {
    enum dane_status status;
    bool is_secure;          /* validated by DNSSEC, and so was every CNAME on the way */
    const struct str *rdata; /* TLSA: what was found */
    size_t n_rdata;
};
enum dane_mx {
    DANE_MX_SECURE = 0, /* the MX records, and every CNAME before them, were validated */
    DANE_MX_INSECURE,
    DANE_MX_NONE, /* none: the host is the next hop itself, or the administrator named it */
};
enum { DANE_BASE_EXPANDED = 0, DANE_BASE_HOST, DANE_BASES };
struct dane_facts {                /* names are A-labels without the final dot */
    struct str next_hop;           /* the recipient's domain, or the name that a route has */
    struct str next_hop_canonical; /* after CNAMEs that were all validated; empty: no such */
    enum dane_mx mx;
    bool ignore_insecure_mx; /* RFC 7672 2.2.1 leaves to us whether hosts of an insecure MX get DANE. */
    struct str host; /* as the MX record says, or the next hop; empty: it is known by its address alone */
    uint16_t port;
    /* A and AAAA together, asked before all else. Secure: one of the two answers is, an empty one too. */
    struct dane_answer address;
    struct str canonical;     /* the host's name after CNAMEs; empty: itself */
    struct dane_answer cname; /* the host's own CNAME record (and not what it leads to) */
    struct dane_answer tlsa[DANE_BASES];
};

enum dane_result {
    DANE_ASK = 0,  /* the questions first, then again */
    DANE_NONE,     /* DANE does not apply to this server */
    DANE_DEFER,    /* the server counts as unreachable (RFC 7672 2.1.1, 2.2.1): another host, or later */
    DANE_UNUSABLE, /* it promises TLS but no record says whose: encrypt, without authentication (2.2) */
    DANE_USABLE,   /* the server's certificate must match one of the records */
};
enum dane_why {
    DANE_WHY_ASKING = 0,
    DANE_WHY_NO_NAME, /* an address literal, or a route that has an address */
    DANE_WHY_MX_INSECURE,
    DANE_WHY_ADDRESS_FAILED,
    DANE_WHY_ADDRESS_INSECURE,
    DANE_WHY_CNAME_FAILED,
    DANE_WHY_CNAME_INSECURE,
    DANE_WHY_TLSA_FAILED,
    DANE_WHY_TLSA_ABSENT,
    DANE_WHY_TLSA_INSECURE,
    DANE_WHY_TLSA_UNUSABLE,
    DANE_WHY_TLSA_USABLE,
    DANE_WHYS
};
enum { DANE_NAMES_MAX = 4 };
struct dane_question {
    enum dns_type type; /* DNS_CNAME: goes to facts.cname; DNS_TLSA: to facts.tlsa[slot] */
    unsigned slot;
    char name[DNS_NAME_MAX + 1];
    size_t n;
};
struct dane_verdict {
    enum dane_result result;
    enum dane_why why;
    struct dane_question questions[DANE_BASES]; /* DANE_ASK: all that are open, at once */
    size_t n_questions;
    /* UNUSABLE, USABLE: */
    struct str base; /* the TLSA base domain (RFC 7672 2.2.3), which also goes into SNI */
    /* USABLE: */
    struct dane_record records[DANE_RECORDS_MAX];
    size_t n_records;
    struct str names[DANE_NAMES_MAX]; /* a certificate under DANE-TA(2) must be for one of them (3.2.2) */
    size_t n_names;
    /* false: the MX was insecure. What is authenticated is then the host, not that it serves the next hop;
     * that must not be told as delivery secured to the next hop (2.2.1). */
    bool is_next_hop_authentic;
};
/* The verdict, or all its next questions. Pure: the same facts give the same verdict. The expanded name of an
 * alias goes before the name itself (2.2.2); where an alias leads out of what is validated, only the name
 * itself can be a base, and only when its CNAME record is validated. Both TLSA questions of an alias are
 * asked together, since an answer costs more time than a question. */
void dane_judge(const struct dane_facts *f, struct dane_verdict *out);
/* Short text for journal and people; static. */
const char *dane_why_text(enum dane_why w);

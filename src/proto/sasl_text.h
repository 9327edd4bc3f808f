/* proto/sasl_text.h: what both ends of a SASL exchange (RFC 4422) share: names of mechanisms, which
 * characters names and passwords may have, why an exchange fails.
 *
 * Owns:     nothing.
 * Text:     names and passwords are UTF-8 without control characters, and otherwise taken octet by octet: no
 *           SASLprep (RFC 4013) and no PRECIS (RFC 8265), whose tables are those of one version of Unicode.
 *           What is ASCII, or was typed in NFC, is the same either way.
 */
#pragma once
#include "base/buf.h"
#include "base/limits.h"
#include "crypto/scram.h"

/* In order of strength, the strongest first: what is in front is preferred and listed first. */
enum sasl_mechanism {
    SASL_NONE = 0,
    SASL_EXTERNAL,          /* RFC 4422 A: who the client's certificate says */
    SASL_SCRAM_SHA256_PLUS, /* RFC 5802, 7677; bound to the TLS session: RFC 9266, RFC 5929 4 */
    SASL_SCRAM_SHA1_PLUS,
    SASL_SCRAM_SHA256,
    SASL_SCRAM_SHA1,
    SASL_OAUTHBEARER, /* RFC 7628 */
    SASL_XOAUTH2,     /* Google's and Microsoft's forerunner of it */
    SASL_PLAIN,       /* RFC 4616 */
    SASL_LOGIN,       /* draft-murchison-sasl-login, as clients do it */
    SASL_MECHANISMS,
};
#define SASL_BIT(m) (1u << (m))
#define SASL_ALL (SASL_BIT(SASL_MECHANISMS) - 2)
#define SASL_PLUS (SASL_BIT(SASL_SCRAM_SHA256_PLUS) | SASL_BIT(SASL_SCRAM_SHA1_PLUS))
/* Whoever listens has the password or the token afterwards: for encrypted connections only. */
#define SASL_CLEAR                                                                                           \
    (SASL_BIT(SASL_OAUTHBEARER) | SASL_BIT(SASL_XOAUTH2) | SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN))

enum sasl_failure {
    SASL_FAIL_NONE = 0,
    SASL_FAIL_CREDENTIALS, /* user, password, proof, token or certificate */
    SASL_FAIL_TEMPORARY,   /* trouble of ours */
    SASL_FAIL_MALFORMED,   /* what the peer sent is not of this mechanism */
    SASL_FAIL_TOO_BIG,     /* over SASL_RESPONSE_MAX */
    SASL_FAIL_UNKNOWN,     /* no such mechanism */
    SASL_FAIL_NOT_OFFERED, /* there is such a mechanism, but not here, or not without TLS */
    SASL_FAIL_BINDING,     /* the channel binding is another: somebody may stand between */
    SASL_FAIL_DOWNGRADE,   /* somebody took -PLUS off the list (RFC 5802 6) */
    SASL_FAIL_AUTHZID,     /* the client wants to be somebody else than who it logs in as */
    SASL_FAIL_CANCELLED,   /* "*" (RFC 4954 4) */
    SASL_FAIL_SERVER,      /* of a client: the server has not proved that it knows the password's verifier */
    SASL_FAIL_COST,        /* of a client: the server wants more or less iterations than are sane */
};
/* A phrase for logs, static. */
const char *sasl_failure_text(enum sasl_failure f);

/* The name; mechanisms by name in either case, SASL_NONE: unknown. */
struct str sasl_name(enum sasl_mechanism m);
enum sasl_mechanism sasl_of_name(struct str name);
/* The known ones of a list as EHLO has it behind AUTH, as a mask of SASL_BIT(). "AUTH=" of old servers is the
 * caller's. */
unsigned sasl_of_list(struct str list);
/* Appends the names of a mask with spaces between them, the strongest first. */
void sasl_put_list(unsigned mask, struct buf *out);
bool sasl_is_scram(enum sasl_mechanism m);
bool sasl_is_plus(enum sasl_mechanism m);
/* Of a mechanism that is SCRAM. */
enum scram_hash sasl_hash(enum sasl_mechanism m);

/* UTF-8 without control characters (C0, DEL, C1, the separators of lines and paragraphs). */
bool sasl_is_text(struct str s);
/* The same, with 1 to max octets. */
bool sasl_is_text_up_to(struct str s, size_t max);

/* RFC 5801 4: a name in a GS2 header or in SCRAM: "," is =2C and "=" is =3D. take appends the name and is
 * false for another "=". */
void sasl_put_saslname(struct buf *out, struct str name);
MUST_USE bool sasl_take_saslname(struct str text, struct buf *out);

/* A GS2 header (RFC 5801 4, the part that RFC 5802 and 7628 use): "n,a=name,". Slices borrow. */
struct sasl_gs2 {
    char flag;          /* 'n': no channel binding; 'y': could, but was not offered it; 'p': with it */
    struct str binding; /* of 'p': its name */
    struct str authzid; /* with its escapes; empty: none */
    struct str text;    /* the header with its last comma */
};
/* Takes it off the front of *s. */
MUST_USE bool sasl_take_gs2(struct str *s, struct sasl_gs2 *out);

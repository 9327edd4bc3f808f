/* wire/smtp_cmd.h: one command line of SMTP or LMTP into a struct (RFC 5321 4.1.1, 2033; parameters RFC 1870,
 * 6152, 3030, 6531, 3461, 6533, 2852, 6710, 4865, 4954, 8689, and PRDR of draft-hall-prdr). Only the form is
 * judged here; whether a command is legal now is proto's business.
 *
 * Owns nothing, slices borrow from the line. Errors are phrases for a reply.
 */
#pragma once
#include "wire/address.h"
#include "wire/params.h"

/* The verb of a line (without CRLF), ASCII upper or lower case as given, and its argument without the space
 * between and without trailing spaces. A verb is letters only, up to the first space or the end. */
void smtp_cmd_split(struct str line, struct str *out_verb, struct str *out_arg);

enum smtp_body { SMTP_BODY_7BIT = 0, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_cmd_err {
    SMTP_CMD_OK = 0,
    SMTP_CMD_SYNTAX,          /* 501 5.5.4: malformed parameter or path */
    SMTP_CMD_BAD_ADDRESS,     /* 553 5.1.x / 501 5.1.7 or 5.1.3: malformed mailbox */
    SMTP_CMD_UNKNOWN_PARAM,   /* 555 5.5.4 */
    SMTP_CMD_DUPLICATE_PARAM, /* 501 5.5.4 */
    SMTP_CMD_NEEDS_UTF8,      /* 553 5.6.7: UTF-8 in a path without SMTPUTF8 */
};
enum { /* which parameters a line had */
       SMTP_PARAM_SIZE = 1 << 0,
       SMTP_PARAM_BODY = 1 << 1,
       SMTP_PARAM_SMTPUTF8 = 1 << 2,
       SMTP_PARAM_RET = 1 << 3,
       SMTP_PARAM_ENVID = 1 << 4,
       SMTP_PARAM_BY = 1 << 5,
       SMTP_PARAM_PRIORITY = 1 << 6, /* MT-PRIORITY */
       SMTP_PARAM_HOLDFOR = 1 << 7,
       SMTP_PARAM_HOLDUNTIL = 1 << 8,
       SMTP_PARAM_REQUIRETLS = 1 << 9,
       SMTP_PARAM_PRDR = 1 << 10,
       /* of RCPT */
       SMTP_PARAM_NOTIFY = 1 << 11,
       SMTP_PARAM_ORCPT = 1 << 12,
       SMTP_PARAM_AUTH = 1 << 13, /* of MAIL; RFC 4954 5 */
       SMTP_PARAMS_ALL = (1 << 14) - 1,
};
struct smtp_mail_args {
    struct address from; /* text.n == 0: the null reverse-path */
    bool had_route;
    unsigned params; /* SMTP_PARAM_* */
    uint64_t size;   /* RFC 1870; saturates at UINT64_MAX for 20-digit numbers */
    enum smtp_body body;
    bool smtputf8;
    bool requiretls, prdr;
    bool by_trace;
    int8_t priority; /* MT_PRIORITY_MIN to MT_PRIORITY_MAX */
    enum dsn_ret ret;
    struct str envid; /* as given; xtext_decode() gives 1 to DSN_ENVID_MAX printable characters of it */
    enum by_mode by_mode;
    int32_t by_s; /* from now; not over 0 only with BY_NOTIFY: the time has passed already */
    /* one of them at most */
    uint32_t hold_for_s;  /* from now, 1 to 999999999 */
    int64_t hold_until_s; /* wall clock, since 1970 */
};
struct smtp_rcpt_args {
    struct address to; /* never empty; kind DOMAIN_NONE only for a bare name */
    bool had_route;
    unsigned params;
    uint8_t notify;   /* NOTIFY_* */
    struct str orcpt; /* as given; smtp_orcpt_decode() takes it */
};
/* arg is what follows MAIL: "FROM:<a@b> SIZE=10". "FROM: <a@b>" with a space is taken, as Postfix and Exim
 * do; a path without brackets is not. `allowed` are the SMTP_PARAM_* that this server offers: others are
 * SMTP_CMD_UNKNOWN_PARAM. *out_why is a phrase for the reply when the result is not SMTP_CMD_OK. */
enum smtp_cmd_err smtp_mail_parse(struct str arg, unsigned allowed, struct smtp_mail_args *out,
                                  const char **out_why);
/* utf8: the transaction has SMTPUTF8. */
enum smtp_cmd_err smtp_rcpt_parse(struct str arg, bool utf8, unsigned allowed, struct smtp_rcpt_args *out,
                                  const char **out_why);
/* "rfc822;joe+2Bx@example.org" of ORCPT into "rfc822;joe+x@example.org", appended (at most DSN_ORCPT_MAX
 * octets): xtext of RFC 3461 4, or for the type utf-8 the three forms of RFC 6533 3. UTF-8 that was given as
 * rfc822 becomes "utf-8;...", as Postfix means it. Nothing and false when it is malformed, holds a control
 * character or anything else outside ASCII. What is appended is no longer than s. */
MUST_USE bool smtp_orcpt_decode(struct str s, struct buf *out);
/* BDAT: "1000" or "1000 LAST" (RFC 3030 2). */
enum smtp_cmd_err smtp_bdat_parse(struct str arg, uint64_t *out_size, bool *out_last, const char **out_why);

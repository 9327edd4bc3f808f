/* wire/smtp_cmd_param.h: the parameters of MAIL and RCPT, one by one. Only smtp_cmd.c includes it.
 *
 * Owns:     nothing; slices borrow from the line.
 * Limits:   DSN_ENVID_MAX, DSN_ORCPT_MAX after decoding.
 * Errors:   a phrase that says which form is right.
 */
#pragma once
#include "wire/smtp_cmd.h"

/* "KEYWORD" or "KEYWORD=value"; the value is not empty, its octets are those of esmtp-value. */
struct smtp_param {
    struct str keyword, value;
    bool has_value;
};
/* esmtp-param of RFC 5321 4.1.2 up to the next space; values may hold UTF-8 (RFC 6531 3.3). False: malformed.
 */
MUST_USE bool smtp_param_take(struct str *s, struct smtp_param *out);
/* Puts a parameter into *out. `allowed` as for smtp_mail_parse(). */
enum smtp_cmd_err smtp_param_of_mail(const struct smtp_param *p, unsigned allowed, struct smtp_mail_args *out,
                                     const char **out_why);
enum smtp_cmd_err smtp_param_of_rcpt(const struct smtp_param *p, unsigned allowed, bool utf8,
                                     struct smtp_rcpt_args *out, const char **out_why);

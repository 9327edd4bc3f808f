/* wire/address.h: mailboxes of the envelope: local-part "@" domain (RFC 5321 4.1.2, RFC 6531 3.3).
 *
 * Owns:     nothing; slices borrow from the input.
 * Limits:   SMTP_LOCAL_PART_TAKEN_MAX, SMTP_DOMAIN_MAX, SMTP_PATH_MAX octets.
 * Errors:   a static English phrase that says what is wrong and can stand in a 501 reply.
 */
#pragma once
#include "base/netaddr.h"
#include "base/str.h"
#include "wire/utf8.h"

enum domain_kind { DOMAIN_NONE = 0, DOMAIN_NAME, DOMAIN_LITERAL };

struct address {
    struct str text;  /* the whole as given, without angle brackets and source route: local "@" domain */
    struct str local; /* as given, quotes included */
    struct str
        domain; /* as given, brackets of a literal included; empty for a bare name such as postmaster */
    enum domain_kind kind;
    bool is_quoted; /* the local part is a quoted-string */
    bool is_utf8;   /* any octet over 0x7f (well-formed UTF-8, else the parse fails) */
    /* kind == DOMAIN_LITERAL: the address; NETADDR_NONE for another tag than IPv6 (none is registered) */
    struct netaddr literal;
};

/* The path syntax of MAIL and RCPT, from "<" to ">" at the start of s; *rest is what follows ">" (all of s on
 * failure).
 * "<>" gives an address with text.n == 0. A source route "@a,@b:" is checked, stripped and reported in
 * *had_route. Bare names ("<postmaster>") parse with kind DOMAIN_NONE: the caller decides. Control
 * characters, spaces outside quotes, 8-bit octets when !utf8 and malformed UTF-8 fail. NULL on success, else
 * the phrase. */
const char *address_parse_path(struct str s, bool utf8, struct address *out, bool *had_route,
                               struct str *rest);
/* A mailbox without brackets, all of s. */
const char *address_parse(struct str s, bool utf8, struct address *out);
/* A domain name of MAIL, EHLO: letters, digits, hyphens, dots (underscore is taken, as Postfix and Exim do),
 * labels of 1 to 63, no leading or trailing hyphen, no empty label (one trailing dot is refused); U-labels
 * when utf8. */
bool domain_is_valid(struct str s, bool utf8);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3: "::" stands for two groups or more); false for
 * anything else. */
bool domain_literal_parse(struct str s, struct netaddr *out);
/* The local part with quotes and backslashes removed where that gives the same mailbox (RFC 5321 4.1.2:
 * "jo\e"@x is joe@x), appended to out; needs_quotes tells whether it must be quoted to be written again. */
void local_part_unquote(struct str local, struct buf *out, bool *needs_quotes);
/* "(local)@(domain)" with the local part quoted if it must be; without "@" when domain is empty. Control
 * characters can't stand in an address: nothing is appended and out->failed is set. */
void address_format(struct str local_unquoted, struct str domain, struct buf *out);
/* RFC 3461 4: xtext. Appends the decoded octets, or nothing and false when s is no xtext ("+" and two upper
 * case hexadecimal digits, otherwise "!" to "~" without "="). */
MUST_USE bool xtext_decode(struct str s, struct buf *out);
void xtext_encode(struct str s, struct buf *out);
/* RFC 6533 3: utf-8-addr-xtext, ASCII whatever the address: "\x{E9}" for what is not, and for space, "+", "="
 * and "\". keeps_utf8: utf-8-addr-unitext, what is over ASCII stays as it is. An octet that is no UTF-8
 * becomes '?'. */
void utf8_xtext_encode(struct str s, bool keeps_utf8, struct buf *out);
/* Octets of the "\x{HEX}" at the start of s, two to six digits, and the number; 0: there is none. */
size_t utf8_xtext_point(struct str s, uint32_t *out_code);

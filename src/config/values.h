/* config/values.h: what a value of the configuration may look like: text in, number or address out. No Lua
 * here.
 *
 * Functions that return a phrase return NULL when all is well; the phrase is static English that follows
 * "NAME ".
 */
#pragma once
#include "policy/policy.h"

/* "5m", "90s", "4h", "5d", "2w", or plain seconds. */
MUST_USE bool value_duration(struct str s, uint64_t *out_s);
/* "50M", "512K", "2G" (of 1024, a B or iB behind the letter is taken), or plain octets. */
MUST_USE bool value_size(struct str s, uint64_t *out);
/* The shortest of those forms that is exact: 300 -> "5m". */
void value_put_duration(uint64_t seconds, struct buf *out);
void value_put_size(uint64_t octets, struct buf *out);

/* A fully qualified domain name: what an EHLO says. */
const char *value_hostname_error(struct str s);
/* A user of a local domain: a dot-string as RFC 5321 has it (without quotes), no '/', not over 64 octets. */
const char *value_user_error(struct str s);
/* The "phone" of "joe/phone", which is a password of joe's for one program. RFC 5322 3.2.3 lets the '/' stand in
 * an address. */
const char *value_app_error(struct str s);
/* An absolute path with %u, %d and %% in it, at least one %u; or with %h at its front. */
const char *value_maildir_error(struct str s);
const char *value_path_error(struct str s);
/* "https://HOST/...", printable ASCII without spaces, at most ACME_URL_MAX octets. */
const char *value_https_error(struct str s);
/* Who sends reports, or whom to ask about them: UTF-8 of at most TLS_RPT_CONTACT_MAX octets. */
const char *value_contact_error(struct str s);
/* The host and the port (0: none) of such an address, which must name a host in lower case, and no user. */
const char *value_https_host(struct str s, struct str *out, uint16_t *out_port);
/* A mailbox at a domain name (not at an address literal). */
const char *value_mailbox_error(struct str s);
/* One that stands in a header field as it is: in ASCII. */
const char *value_ascii_mailbox_error(struct str s);
/* The name of a service of PAM: a file in /etc/pam.d, never a path. */
const char *value_service_error(struct str s);
/* As netblock_parse(); a block with host bits gives the block that was meant in *out and a phrase. */
const char *value_netblock(struct str s, struct netblock *out);

struct value_host {      /* a host by address, or by name and port */
    struct str name;     /* empty when addr is set */
    struct netaddr addr; /* by name: kind NETADDR_NONE and the port */
};
/* "192.0.2.1", "[2001:db8::1]:24", "mail.example.org:24"; "unix:/path" when may_be_unix. */
const char *value_host(struct str s, uint16_t default_port, bool may_be_unix, struct value_host *out);
/* "smtp://USER@HOST:PORT", "smtps://USER@HOST:PORT", "lmtp://HOST:PORT"; a user may hold an '@' of its own. */
const char *value_via(struct str s, struct next_hop *out, struct str *out_user);
/* Do the parts of a route go together: TLS, login and next hop? For the loader and for what decodes its work. */
const char *value_route_error(const struct route_rule *r);
/* A login name, RFC 4954's by way of SASL: no control characters, at most ROUTE_USER_MAX octets. */
const char *value_login_error(struct str s);
/* What a listener or a route calls mail: printable, without spaces, at most MAIL_TAG_MAX octets. */
const char *value_tag_error(struct str s);
/* The name of a header field, RFC 5322 2.2. */
const char *value_field_error(struct str s);
/* Of a pipe: the program, and a word behind it. */
const char *value_program_error(struct str s);
const char *value_word_error(struct str s);
const char *value_plus_error(struct str s);

/* The next line of *rest without its end (LF or CRLF); false at the end of the text. */
MUST_USE bool value_next_line(struct str *rest, struct str *out);
/* The "nameserver" lines of a resolv.conf, at most max of them; returns how many were found. */
size_t value_resolv_conf(struct str text, struct netaddr *out, size_t max);

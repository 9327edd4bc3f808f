/* policy/rewrite.h: addresses that mean something on this machine only, made into ones that the world knows,
 * in what its programs submit: a machine that gets no mail of its own sends as somebody, and its root is
 * somebody elsewhere.
 *
 *   envelope senders    all become `from`; without it, names of this machine get `domain`
 *   recipients          names of this machine become what `names` and `to` say; else they get `domain`
 *   From, Sender        an address there is rewritten as the envelope sender is, where it is that very
 * address or a name of this machine: what cron and daemons write. Another one is an application's own choice
 *
 * nullmailer's allmailfrom and adminaddr, and Postfix's generic(5) maps, are about the same: nullmailer
 * leaves fields as they are, which gives two senders where there is one, and ssmtp replaces each From unless
 * FromLineOverride is set.
 *
 * Names of this machine: those without a domain, at localhost (RFC 6761 6.3), localhost.localdomain, the
 * hostname or its first label, unless that is a domain of ours, with users. The null sender stays: reports
 * must not come back.
 *
 * Owns:     nothing, no state; what is given borrows from the configuration, from the arguments or from mem.
 * Limits:   an address that would be longer than SMTP_PATH_MAX - 2 stays as it is.
 */
#pragma once
#include "policy/policy.h"

/* Is there anything that could become something else? */
bool rewrite_is_on(const struct policy_conf *p);
/* mem: what can't be borrowed is put there, SMTP_PATH_MAX free octets are enough. */
struct str rewrite_sender(const struct policy_conf *p, const struct address *from, struct buf *mem);
struct str rewrite_rcpt(const struct policy_conf *p, const struct address *to, struct buf *mem);
/* An address in From or Sender of mail whose envelope said `sender`; empty: it stays. */
struct str rewrite_author(const struct policy_conf *p, struct str sender, const struct address *author,
                          struct buf *mem);

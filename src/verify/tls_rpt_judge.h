/* verify/tls_rpt_judge.h: what one session towards a domain counts as in the day's report about TLS (RFC 8460
 * 4): one pure function.
 *
 * A session counts under the policy that decided, as verify/tls_level.h has it. A policy that is only tested
 * is judged as if it were enforced (RFC 8461 5.2): that is what the reports are for.
 */
#pragma once
#include "base/world_tls.h"
#include "verify/tls_level.h"
#include "verify/tls_rpt.h"

enum tls_rpt_end { /* how far it came */
                   TLS_RPT_END_UNTRIED =
                       0, /* no connection was made: tls_level_judge() says DEFER or REFUSE */
                   TLS_RPT_END_NO_STARTTLS, /* not offered, or refused */
                   TLS_RPT_END_BROKEN,      /* the handshake failed, or the certificate was not taken */
                   TLS_RPT_END_SECURED,     /* all that was asked for was there */
};
struct tls_rpt_session {
    enum tls_rpt_end end;
    enum tls_fault fault; /* BROKEN, SECURED: as conn_tls_fault() */
};
struct tls_rpt_verdict {
    bool is_counted, is_ok;
    enum tls_rpt_type type;
    enum tls_rpt_result result; /* not is_ok */
};
/* Not counted: what says nothing of the domain. That is where the administrator sets aside what domains
 * publish, or the sender of the message does (TLS-Required: No); where only the sender asks for more than the
 * domain does and no connection was made; and trouble of ours. */
void tls_rpt_judge(const struct tls_level_facts *f, const struct tls_rpt_session *s,
                   struct tls_rpt_verdict *out);

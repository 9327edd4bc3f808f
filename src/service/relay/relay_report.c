/* service/relay/relay_report.c: what became of TLS with servers of other domains, for the reports that the
 * domains get (RFC 8460): one message to agent a connection, once that is decided.
 *
 * Counted are connections of jobs by MX; not those to what the configuration names (smart hosts, LMTP), nor
 * callouts. A connection that ends before TLS was spoken of says nothing. One in the clear that follows a
 * handshake that failed is the same session, and a kept one was counted when it was made. A report's own
 * delivery must not be in the next report (RFC 8460 5.3): ours go out as mail with "TLS-Required: No" (RFC
 * 8689), and a message with that has no say here (verify/tls_rpt_judge.h).
 *
 * Limits: REPORT_LINES_MAX octets of TLSA records; a longer one is left out.
 * Errors: never waited for: without room, or without agent, a session is missing in the report. How many is
 *         in the log.
 */
#include "service/relay/relay.h"
#include "verify/tls_rpt_judge.h"

enum { REPORT_LINES_MAX = 8192, REPORT_REASON_MAX = 300, REPORT_ADDRESS_MAX = 64 };

static bool is_reported(const struct relay *r, const struct job *j)
{
    return r->env->config->tls_reports.n > 0 && j->next_hop.n > 0 && !j->is_lmtp && !j->is_callout;
}

static void put_ip(const struct netaddr *a, struct buf *out)
{
    if (a->kind == NETADDR_IP4 || a->kind == NETADDR_IP6)
        netaddr_format_ip(a, out);
}

void relay_report_room(struct relay *r)
{
    if (r->n_unreported > 0)
        log_warn(r->world->log, "relay.tls_unreported", LU("sessions", r->n_unreported));
    r->n_unreported = 0;
}

void relay_report(struct link *k, const struct job *j, enum tls_rpt_end end, enum tls_fault fault,
                  struct str reason)
{
    struct relay *r = k->relay;
    char lines_mem[REPORT_LINES_MAX], from_mem[REPORT_ADDRESS_MAX], to_mem[REPORT_ADDRESS_MAX];
    struct buf lines, from, to;
    struct tls_level_facts f;
    struct tls_rpt_session s = {end, fault};
    struct tls_rpt_verdict v;
    if (k->is_reported || !is_reported(r, j))
        return;
    k->is_reported = true;
    relay_tls_facts(k, j, &f);
    tls_rpt_judge(&f, &s, &v);
    if (!v.is_counted)
        return;
    buf_init_fixed(&lines, lines_mem, sizeof lines_mem);
    buf_init_fixed(&from, from_mem, sizeof from_mem);
    buf_init_fixed(&to, to_mem, sizeof to_mem);
    if (v.type == TLS_RPT_TLSA)
        relay_dane_lines(j, &lines);
    if (k->conn != NULL) {
        put_ip(conn_local(k->conn), &from);
        put_ip(conn_peer(k->conn), &to);
    }
    struct ipc_tls_session m = {.policy = (uint8_t)v.type,
                                .result = v.is_ok ? TLS_SESSION_OK : (uint8_t)v.result,
                                .domain = j->next_hop,
                                .lines = buf_str(&lines),
                                .mx = k->has_name ? str_from_c(k->key) : STR_NIL,
                                .helo = str_from_c(k->helo),
                                .sending = buf_str(&from),
                                .receiving = buf_str(&to),
                                .reason = v.is_ok ? STR_NIL : str_slice(reason, 0, REPORT_REASON_MAX)};
    if (r->agent == NULL || ipc_send_tls_session(r->agent, &m, NULL) != ERR_OK)
        r->n_unreported++;
}

void relay_report_plain(struct link *k, const struct job *j)
{
    /* never asked for TLS: after a handshake that failed, or none is wanted */
    if (!k->is_encrypted && k->tls != SMTP_CLIENT_TLS_NONE)
        relay_report(k, j, TLS_RPT_END_NO_STARTTLS, TLS_FAULT_NONE,
                     STR("the server does not offer STARTTLS, or refuses it"));
}

void relay_report_failure(struct link *k, const struct job *j, const struct smtp_client_result *f)
{
    /* octets in the clear behind the 220, or a connection that ended there, are no word against TLS */
    bool is_refused = f->code != 0 || (f->esc.subject == 7 && f->esc.detail == 4);
    if (f->stage == SMTP_AT_TLS)
        relay_report(k, j, is_refused ? TLS_RPT_END_NO_STARTTLS : TLS_RPT_END_BROKEN,
                     is_refused ? TLS_FAULT_NONE : TLS_FAULT_HANDSHAKE, f->text);
}

void relay_report_secured(struct link *k, const struct job *j, const struct tls_facts *f)
{
    enum tls_fault fault = conn_tls_fault(k->conn);
    struct str why = f->verify_text;
    if (k->dane == DANE_UNUSABLE)
        why = str_from_c(tls_why_text(TLS_WHY_DANE_UNUSABLE));
    else if (j->sts == MTA_STS_TESTING && !relay_tls_is_of_policy(k, j))
        why = str_from_c(tls_why_text(TLS_WHY_STS_MISMATCH));
    else if (fault == TLS_FAULT_NAME)
        why = STR("the certificate is for another name");
    relay_report(k, j, TLS_RPT_END_SECURED, fault, why);
}

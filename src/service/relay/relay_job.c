/* service/relay/relay_job.c: one job's search for a server that takes it.
 *
 * Hops come sorted by preference from the queue. A hop with a name is asked of lookup for its addresses, and
 * then for what DANE wants to know (relay_dane.c); each address is tried once, SMTP_CLIENT_ADDRESSES_MAX in
 * all (RFC 5321 5.1: at least two). Trouble before the server has said anything of the job (no connection, a
 * bad greeting or hello, a connection that ends, 421) leads to the next address; what a server says of
 * sender, recipients or message is final for this attempt. When nothing is left the attempt has failed; it
 * has failed for good only when no hop's name exists at all.
 */
#include "service/relay/relay.h"

#include "base/limits.h"
#include "base/mem.h"

static bool copy(struct job *j, struct str s, struct str *out)
{
    size_t at = j->text.n;
    if (!buf_put(&j->text, s) || !buf_putc(&j->text, '\0'))
        return false;
    *out = str_of(j->text.p + at, s.n); /* text was reserved whole: it does not move */
    return true;
}

static bool take_rcpts(struct job *j, struct str list)
{
    size_t n = rcpt_count(list);
    struct reader r = reader_of(list);
    struct rcpt one;
    if (n == 0 || n > QUEUE_RCPTS_PER_ATTEMPT_MAX)
        return false;
    j->rcpts = mem_alloc_array(n, sizeof *j->rcpts);
    if (j->rcpts == NULL)
        return false;
    while (rcpt_next(&r, &one)) {
        struct rcpt *r2 = &j->rcpts[j->n_rcpts++];
        *r2 = one;
        if (!copy(j, one.address, &r2->address) || !copy(j, one.orcpt, &r2->orcpt))
            return false;
        r2->shown = STR_NIL; /* for reports only */
    }
    return !r.failed;
}

static bool take_params(struct job *j, struct str record)
{
    return mail_params_get(record, &j->params) && copy(j, j->params.envid, &j->params.envid) &&
           copy(j, j->params.tag, &j->params.tag);
}

static bool take_hops(struct job *j, struct str list)
{
    struct reader r = reader_of(list);
    struct hop h;
    while (j->n_hops < RELAY_HOPS_MAX && list_next_hop(&r, &h)) {
        if (!copy(j, h.name, &h.name))
            return false;
        j->hops[j->n_hops++] = h;
    }
    return !r.failed && j->n_hops > 0;
}

struct job *job_new(struct relay *r, const struct ipc_relay_job *m, struct handle *given)
{
    struct job *j = mem_new(struct job);
    if (j == NULL)
        return NULL;
    j->relay = r;
    j->token = m->token;
    j->id = m->id;
    j->size = m->size;
    j->flags = m->flags;
    j->is_lmtp = m->is_lmtp != 0;
    j->is_callout = m->is_callout != 0;
    j->tls = m->tls < HOP_TLS_KINDS ? (enum hop_tls)m->tls : HOP_TLS_VERIFY;
    j->is_smtps = m->is_smtps != 0;
    j->trusts_hops = m->trusts_hops != 0;
    j->sts = m->sts <= MTA_STS_ENFORCE ? (enum mta_sts_mode)m->sts : MTA_STS_ENFORCE;
    j->sts_hops = m->sts_hops;
    j->mx = m->mx <= DANE_MX_NONE ? (enum dane_mx)m->mx : DANE_MX_INSECURE;
    size_t room = m->next_hop.n + m->canonical.n + m->names.n + m->user.n + m->secret.n + m->certificate.n +
                  m->site.n + m->source.n + m->sender.n + m->params.n + m->rcpts.n + m->hosts.n + m->body.n +
                  4096;
    buf_init(&j->text, room);
    buf_init(&j->piece, RELAY_PIECE);
    bool ok = buf_reserve(&j->text, room) && copy(j, m->site, &j->site) && copy(j, m->sender, &j->sender) &&
              copy(j, m->source, &j->source) && copy(j, m->names, &j->names) && copy(j, m->user, &j->user) &&
              copy(j, m->secret, &j->secret) && copy(j, m->certificate, &j->certificate) &&
              copy(j, m->next_hop, &j->next_hop) && copy(j, m->canonical, &j->canonical) &&
              m->names.n <= RELAY_NAMES_MAX && m->user.n <= ROUTE_USER_MAX && take_params(j, m->params) &&
              take_rcpts(j, m->rcpts) && take_hops(j, m->hosts);
    if (ok && j->is_callout) {
        j->size = 0;
    } else if (ok && m->is_piped) {
        j->pipe = handle_take_conn(r->world, given);
        ok = j->pipe != NULL;
    } else if (ok) {
        ok = copy(j, m->body, &j->body) && m->body.n == m->size;
    }
    list_push_back(&r->jobs, &j->link);
    r->n_jobs++;
    if (!ok) {
        job_del(j);
        return NULL;
    }
    return j;
}

void job_del(struct job *j)
{
    struct relay *r = j->relay;
    must(j->on == NULL);
    if (j->is_asking)
        (void)idmap_remove(&r->questions, j->by_question.id);
    relay_dane_drop(j);
    if (j->pipe != NULL)
        conn_close(j->pipe);
    list_remove(&j->link);
    r->n_jobs--;
    mem_free(j->rcpts);
    downgrade_del(&j->converter);
    r->convert_octets -= j->n_reserved;
    buf_fini(&j->whole);
    buf_fini(&j->text);
    buf_fini(&j->piece);
    mem_free(j);
}

void job_note(struct job *j, enum smtp_client_stage stage, uint16_t code, struct esc esc, const char *host,
              struct str text)
{
    j->fail_stage = stage;
    j->fail_code = code;
    j->fail_esc = esc;
    (void)str_to_c(str_from_c(host), j->fail_host, sizeof j->fail_host);
    (void)str_to_c(text, j->fail_text, sizeof j->fail_text);
}

/* Nothing is left to try. */
static void give_up(struct job *j)
{
    bool is_absent = j->n_absent == j->n_hops;
    bool is_refused =
        j->n_tried > 0 && j->n_refused == j->n_tried && j->n_unknown == 0 && j->hop + 1 == j->n_hops;
    struct job_result res = {
        .kind = is_absent || is_refused ? RESULT_PERMANENT : RESULT_TEMPORARY,
        .stage = (uint8_t)j->fail_stage,
        .code = j->fail_code,
        .esc = is_absent ? ESC(5, 4, 4) : j->fail_esc,
        .host = str_from_c(j->fail_host),
        .text = str_from_c(j->fail_text),
    };
    if (res.esc.class !=
        (res.kind == RESULT_PERMANENT
             ? 5
             : 4)) /* a 5xx greeting: RFC 3463 4.4.1 "no answer from host", for this attempt */
        res.esc = is_absent ? ESC(5, 4, 4) : ESC(4, 4, 1);
    relay_answer_all(j, &res);
}

static void ask_host(struct job *j)
{
    struct relay *r = j->relay;
    struct ipc_host_ask m = {.token = r->next_question, .name = j->hops[j->hop].name};
    if (r->lookup == NULL || ipc_send_host_ask(r->lookup, &m, NULL) != ERR_OK) {
        job_note(j, SMTP_AT_CONNECT, 0, ESC(4, 3, 0), "", STR("the name server process is not there"));
        give_up(j);
        return;
    }
    idmap_insert(&r->questions, &j->by_question, r->next_question++);
    j->is_asking = true;
}

static void try_hop(struct job *j)
{
    const struct hop *h = &j->hops[j->hop];
    j->n_addresses = j->address = 0;
    j->n_before = j->n_tried;
    relay_dane_drop(j);
    if (h->name.n > 0) {
        ask_host(j);
        return;
    }
    j->addresses[j->n_addresses++] = h->addr;
    if (h->addr.kind != NETADDR_UNIX && h->addr.port == 0)
        j->addresses[0].port = h->port;
    job_next_address(j);
}

/* Iterative: a refused attempt comes back here through a later turn. */
void job_next_address(struct job *j)
{
    while (j->address < j->n_addresses && j->n_tried < SMTP_CLIENT_ADDRESSES_MAX) {
        const struct netaddr *to = &j->addresses[j->address++];
        j->n_tried++;
        if (relay_link_open(j, to, j->hops[j->hop].name))
            return;
    }
    if (j->hop + 1 < j->n_hops && j->n_tried < SMTP_CLIENT_ADDRESSES_MAX) {
        j->hop++;
        try_hop(j);
    } else {
        give_up(j);
    }
}

void job_next_host(struct job *j)
{
    j->n_refused++;
    j->address = j->n_addresses;
    job_next_address(j);
}

void job_again_in_plain(struct job *j)
{
    must(j->address > 0 && !j->in_plain);
    j->in_plain = true;
    (void)str_to_c(str_from_c(j->fail_text), j->tls_why, sizeof j->tls_why);
    if (!relay_link_open(j, &j->addresses[j->address - 1], j->hops[j->hop].name))
        job_next_address(j);
}

bool job_has_better(const struct job *j)
{
    return j->n_before > 0 || j->n_absent < j->hop;
}

/* RFC 5321 5.1: hosts that are not preferred to ourselves must not be tried. When there is no other at all
 * the mail can only come back to us. */
void job_on_loop(struct job *j)
{
    struct job_result res = {.kind = RESULT_PERMANENT,
                             .stage = (uint8_t)j->fail_stage,
                             .esc = ESC(5, 4, 6),
                             .host = str_from_c(j->fail_host),
                             .text = str_from_c(j->fail_text)};
    if (job_has_better(j))
        give_up(j);
    else
        relay_answer_all(j, &res);
}

void job_start_anew(struct job *j)
{
    j->hop = j->n_tried = j->n_absent = j->n_unknown = j->n_refused = 0;
    try_hop(j);
}

void job_start(struct job *j)
{
    struct link *k = relay_find_idle(j->relay, j);
    if (k != NULL)
        relay_link_take_job(k, j);
    else
        job_start_anew(j);
}

static void note_answer(struct job *j, const struct ipc_host_answer *m)
{
    char mem[RESULT_TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    bool absent = m->status == DNS_STATUS_NXDOMAIN || m->status == DNS_STATUS_NODATA;
    buf_printf(&b, "%s %.*s", absent ? "no address exists for" : "the address could not be looked up for",
               STR_FMT(j->hops[j->hop].name));
    if (!absent && m->why.n > 0 && m->why.n < 200)
        buf_printf(&b, ": %.*s", STR_FMT(m->why));
    if (absent)
        j->n_absent++;
    else
        j->n_unknown++;
    job_note(j, SMTP_AT_CONNECT, 0, absent ? ESC(4, 4, 4) : ESC(4, 4, 3), "", buf_str(&b));
}

void job_on_answer(struct relay *r, const struct ipc_host_answer *m)
{
    struct idmap_node *n = idmap_remove(&r->questions, m->token);
    if (n == NULL)
        return;
    struct job *j = container_of(n, struct job, by_question);
    struct reader list = reader_of(m->addresses);
    struct netaddr a;
    j->is_asking = false;
    while (m->status == DNS_STATUS_OK && j->n_addresses < SMTP_CLIENT_ADDRESSES_MAX &&
           list_next_addr(&list, &a)) {
        a.port = j->hops[j->hop].port;
        j->addresses[j->n_addresses++] = a;
    }
    if (j->n_addresses == 0)
        note_answer(j, m);
    else if (relay_dane_begin(j, m))
        return;
    job_next_address(j);
}

void job_on_lookup_lost(struct relay *r)
{
    list_each (l, &r->jobs) {
        struct job *j = list_entry(l, struct job, link);
        if (!j->is_asking && !relay_dane_is_asking(j))
            continue;
        if (j->is_asking)
            (void)idmap_remove(&r->questions, j->by_question.id);
        j->is_asking = false;
        relay_dane_drop(j);
        job_note(j, SMTP_AT_CONNECT, 0, ESC(4, 3, 0), "", STR("the name server process went away"));
        give_up(j);
    }
}

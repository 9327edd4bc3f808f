/* service/agent/rpt_send.c: one report on its way: whether it is still wanted, its text, and each place that
 * it goes to (RFC 8460 5), one after the other.
 *
 * Errors:   a place that does not take it is tried again, less and less often, for a day (5.5); then given up
 * and said. What can never work is given up at once. Security: places are strangers': they are held to what
 * an HTTPS client or the queue may be told.
 */
#include "base/mem.h"
#include "ext/gzip.h"
#include "ipc/lists.h"
#include "service/agent/rpt.h"
#include "wire/address.h"

#include <string.h>

enum {
    GIVE_UP_S = 86400,
    AGAIN_FIRST_S = 5 * 60,
    AGAIN_MAX_S = 4 * 3600,
    POST_MS = 60 * 1000,
    ANSWER_MAX = 256 * 1024, /* octets of what a server says to a report */
    ADDRESSES_MAX = 8,
    IDS_WANTED = 8,
    JSON_MAX = 1024 * 1024,
    CODE_OK = 200,
    CODE_OK_LAST = 299,
};

static void next_place(struct rpt_day *d);

static struct rpt_place *place_of(struct rpt_day *d)
{
    return &d->places[d->at];
}

static enum tls_rpt_rua_kind kind_of(const struct rpt_place *p)
{
    return str_istarts(rpt_uri(p), STR("mailto:")) ? TLS_RPT_MAILTO : TLS_RPT_HTTPS;
}

/* ---- how a place fares --------------------------------------------------------------------------------- */

static void say(const struct rpt_day *d, enum log_level level, const char *event, struct str uri,
                const char *why)
{
    log_write(world_log(d->agent->world), level, event,
              (const struct log_field[]){LS("domain", rpt_domain(d)),
                                         LI("day", d->begin_s),
                                         LS("rua", uri),
                                         LC(why == NULL ? "report" : "why", why == NULL ? d->id : why),
                                         {0}});
}

static void place_sent(struct rpt_day *d)
{
    struct rpt_place *p = place_of(d);
    p->state = PLACE_SENT;
    d->agent->rpt->count.sent++;
    say(d, LOG_INFO, "tlsrpt.sent", rpt_uri(p), NULL);
    rpt_store_mark(d, true);
    next_place(d);
}

static void give_up(struct rpt_day *d, struct rpt_place *p)
{
    p->state = PLACE_GIVEN_UP;
    d->agent->rpt->count.failed++;
    say(d, LOG_WARN, "tlsrpt.failed", rpt_uri(p), p->why);
    rpt_store_mark(d, true);
}

/* The reason may hold what a server said. */
static void set_why(struct rpt_place *p, const char *what, struct str text)
{
    struct buf b;
    buf_init_fixed(&b, p->why, sizeof p->why - 1);
    buf_puts(&b, what);
    for (size_t i = 0; i < text.n && b.n < RPT_WHY_MAX; i++)
        buf_putc(&b, text.p[i] < ' ' || text.p[i] > '~' ? '?' : text.p[i]);
    p->why[b.n] = '\0';
}

static void place_later(struct rpt_day *d, const char *what, struct str text)
{
    set_why(place_of(d), what, text);
    say(d, LOG_INFO, "tlsrpt.delayed", rpt_uri(place_of(d)), place_of(d)->why);
    next_place(d);
}

static void place_never(struct rpt_day *d, const char *why)
{
    set_why(place_of(d), why, STR_NIL);
    give_up(d, place_of(d));
    next_place(d);
}

/* ---- how the report fares ------------------------------------------------------------------------------ */

static bool is_to_do(const struct rpt_day *d)
{
    bool yes = d->places == NULL;
    for (size_t i = 0; i < d->n_places; i++)
        yes = yes || d->places[i].state == PLACE_TODO;
    return yes;
}

static bool is_hopeless(const struct rpt_day *d)
{
    return rpt_now_s(d->agent) - d->first_s >= rpt_scaled_s(d->every_s, GIVE_UP_S);
}

static void wait_on(struct rpt_day *d)
{
    int64_t s = AGAIN_FIRST_S;
    for (uint32_t i = 0; i < d->n_tries && s < AGAIN_MAX_S; i++)
        s *= 2;
    d->due_s = rpt_now_s(d->agent) + rpt_scaled_s(d->every_s, s < AGAIN_MAX_S ? s : AGAIN_MAX_S);
    d->n_tries++;
    d->step = STEP_NONE;
    rpt_day_set(d, DAY_WAITING);
    rpt_store_mark(d, false);
}

/* Each place had its turn. */
static void end_round(struct rpt_day *d)
{
    for (size_t i = 0; i < d->n_places && is_hopeless(d); i++) {
        if (d->places[i].state == PLACE_TODO)
            give_up(d, &d->places[i]);
    }
    if (is_to_do(d))
        wait_on(d);
    else
        rpt_day_del(d);
}

/* Without a record nobody is known to send it to. */
static void no_record(struct rpt_day *d, const char *why)
{
    if (!is_hopeless(d)) {
        wait_on(d);
        return;
    }
    d->agent->rpt->count.failed++;
    say(d, LOG_WARN, "tlsrpt.failed", STR_NIL, why);
    rpt_day_del(d);
}

/* ---- the text ------------------------------------------------------------------------------------------ */

static struct str submitter_of(const struct config *c)
{
    return str_skip(c->tls_reports, str_rchr(c->tls_reports, '@') + 1);
}

static int64_t last_s(const struct rpt_day *d)
{
    return d->begin_s + (int64_t)d->every_s - 1;
}

/* "0123456789abcdef@us.example" */
static void put_id(const struct rpt_day *d, struct buf *out)
{
    buf_puts(out, d->id);
    buf_putc(out, '@');
    buf_put(out, submitter_of(d->agent->env->config));
}

/* The report, packed, with so many details of each policy's failures at most; its counts are always whole.
 * false: no memory. */
static bool pack(const struct rpt_day *d, size_t details, struct buf *out)
{
    const struct config *c = d->agent->env->config;
    struct tls_rpt_policy policies[TLS_RPT_POLICIES_MAX];
    char id_mem[RPT_ID + 1 + SMTP_DOMAIN_MAX];
    struct buf json, id;
    buf_init_fixed(&id, id_mem, sizeof id_mem);
    put_id(d, &id);
    for (size_t i = 0; i < d->tally.n_policies; i++) {
        policies[i] = d->tally.policies[i];
        policies[i].n_failures = policies[i].n_failures < details ? policies[i].n_failures : details;
    }
    struct tls_rpt_report r = {.organization = c->tls_organization,
                               .contact = c->tls_contact,
                               .id = buf_str(&id),
                               .begin_s = d->begin_s,
                               .end_s = last_s(d),
                               .policies = policies,
                               .n_policies = d->tally.n_policies};
    buf_init(&json, JSON_MAX);
    bool ok = tls_rpt_write(&r, &json) && gzip_pack(buf_str(&json), out);
    buf_fini(&json);
    return ok;
}

/* ---- by HTTPS (5.4) ------------------------------------------------------------------------------------ */

struct place_url {
    struct str host;
    uint16_t port;   /* 0: none is in it */
    struct str rest; /* from the first slash on, or empty */
};

/* "https://HOST[:PORT][/...]"; the host by name, since only names have certificates. */
static bool parse_url(struct str uri, struct place_url *out)
{
    struct str rest = str_skip(uri, STR("https://").n);
    size_t n = 0;
    uint64_t port = 0;
    for (size_t i = 0; i < uri.n; i++) {
        if (uri.p[i] <= ' ' || uri.p[i] > '~' || strchr("\"<>\\^`{|}#", uri.p[i]) != NULL)
            return false;
    }
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    struct str port_text = str_slice(rest, 0, n);
    out->host = str_cut(&port_text, ':');
    out->rest = str_skip(rest, n);
    bool has_port = out->host.n < n;
    if (has_port && (!str_to_u64(port_text, UINT16_MAX, &port) || port == 0))
        return false;
    out->port = (uint16_t)port;
    return domain_is_valid(out->host, false) && out->host.n <= DNS_NAME_MAX && uri.n < RPT_URI_MAX;
}

static void on_http(void *arg, const struct http_answer *r)
{
    struct rpt_day *d = arg;
    char mem[16];
    struct buf code;
    buf_init_fixed(&code, mem, sizeof mem);
    buf_printf(&code, "%u", r->code);
    must(d->state == DAY_AT_WORK && d->step == STEP_POST);
    if (r->status != HTTP_ANSWERED)
        place_later(d, "", r->why);
    else if (r->code < CODE_OK || r->code > CODE_OK_LAST)
        place_later(d, "the server answered with code ", buf_str(&code));
    else
        place_sent(d);
}

static bool post(struct rpt_day *d, const struct place_url *u, const struct netaddr *addresses, size_t n)
{
    struct agent *a = d->agent;
    char url_mem[RPT_URI_MAX + 1];
    struct buf url, packed;
    buf_init_fixed(&url, url_mem, sizeof url_mem);
    buf_puts(&url, "https://");
    buf_put(&url, u->host);
    if (u->port != 0)
        buf_printf(&url, ":%u", (unsigned)u->port);
    buf_puts(&url, str_starts(u->rest, STR("/")) ? "" : "/");
    buf_put(&url, u->rest);
    buf_init(&packed, JSON_MAX);
    struct http_request q = {.url = buf_str(&url),
                             .host = u->host,
                             .addresses = addresses,
                             .n_addresses = n,
                             .size_max = ANSWER_MAX,
                             .timeout_ms = POST_MS,
                             .port = u->port,
                             .is_post = true,
                             .type = STR("application/tlsrpt+gzip")};
    bool ok = pack(d, TLS_RPT_FAILURES_MAX, &packed) && !url.failed;
    q.body = buf_str(&packed);
    ok = ok && a->http->ask(a->http->self, &q, on_http, d);
    buf_fini(&packed);
    return ok;
}

void rpt_send_host(struct rpt_day *d, const struct ipc_host_answer *m)
{
    struct place_url u;
    struct netaddr addresses[ADDRESSES_MAX];
    struct reader r = reader_of(m->addresses);
    size_t n = 0;
    must(parse_url(rpt_uri(place_of(d)), &u)); /* it was, before the host was asked for */
    while (n < ADDRESSES_MAX && list_next_addr(&r, &addresses[n]))
        n++;
    if (m->status != DNS_STATUS_OK || n == 0) {
        place_later(d, "the host has no address: ", m->why);
        return;
    }
    d->step = STEP_POST;
    if (!post(d, &u, addresses, n))
        place_later(d, "no memory", STR_NIL);
}

static void begin_post(struct rpt_day *d)
{
    struct agent *a = d->agent;
    struct place_url u;
    if (!parse_url(rpt_uri(place_of(d)), &u)) {
        place_never(d, "this is no address of a server");
        return;
    }
    d->step = STEP_HOST;
    struct ipc_host_ask m = {.name = u.host};
    if (a->lookup != NULL) {
        m.token = rpt_token(a, &d->ask, true);
        if (ipc_send_host_ask(a->lookup, &m, NULL) == ERR_OK)
            return;
        (void)idmap_remove(&a->rpt->tokens, m.token);
    }
    place_later(d, "no addresses can be asked for", STR_NIL);
}

/* ---- by mail (5.3) ------------------------------------------------------------------------------------- */

/* In ASCII, and without quotes: it stands in a header field as it is. */
static bool mail_address(const struct rpt_place *p, struct buf *out)
{
    struct address a;
    return tls_rpt_mailto(rpt_uri(p), out) && address_parse(buf_str(out), false, &a) == NULL &&
           a.kind == DOMAIN_NAME && !a.is_quoted;
}

static bool message(const struct rpt_day *d, struct str to, size_t details, uint64_t queue_id,
                    struct buf *out)
{
    const struct config *c = d->agent->env->config;
    char id_mem[RPT_ID + 1 + SMTP_DOMAIN_MAX], name_mem[2 * SMTP_DOMAIN_MAX + 128];
    struct buf packed, id, name;
    buf_init(&packed, JSON_MAX);
    buf_init_fixed(&id, id_mem, sizeof id_mem);
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    put_id(d, &id);
    tls_rpt_file_name(submitter_of(c), rpt_domain(d), d->begin_s, last_s(d), str_from_c(d->id), true, &name);
    struct rpt_mail m = {.from = c->tls_reports,
                         .to = to,
                         .hostname = c->policy.hostname,
                         .submitter = submitter_of(c),
                         .domain = rpt_domain(d),
                         .id = buf_str(&id),
                         .file_name = buf_str(&name),
                         .queue_id = queue_id,
                         .now_s = rpt_now_s(d->agent)};
    bool ok = pack(d, details, &packed) && !name.failed && !id.failed;
    m.packed = buf_str(&packed);
    ok = ok && rpt_mail_format(&m, out);
    buf_fini(&packed);
    return ok;
}

/* With as many details as a message that goes inline has room for. */
static bool fitting_message(const struct rpt_day *d, struct str to, uint64_t queue_id, struct buf *out)
{
    static const size_t details[] = {TLS_RPT_FAILURES_MAX, 16, 4, 1, 0};
    for (size_t i = 0; i < ARRAY_LEN(details); i++) {
        buf_reset(out);
        if (message(d, to, details[i], queue_id, out))
            return true;
    }
    return false;
}

static enum err put(struct rpt_day *d, struct str to, uint64_t id, struct str body)
{
    struct agent *a = d->agent;
    char rcpts_mem[SMTP_PATH_MAX + RCPT_RECORD_FIXED];
    struct buf rcpts;
    buf_init_fixed(&rcpts, rcpts_mem, sizeof rcpts_mem);
    if (!rcpt_put(&(struct rcpt){.address = to}, &rcpts))
        return ERR_TOO_BIG;
    d->step = STEP_PUT;
    d->n_put = body.n;
    struct ipc_put m = {.token = rpt_token(a, &d->ask, true),
                        .id = id,
                        .sender = a->env->config->tls_reports,
                        .rcpts = buf_str(&rcpts),
                        .body = body};
    enum err e = ipc_send_put(a->queue, &m, NULL);
    if (e != ERR_OK)
        (void)idmap_remove(&a->rpt->tokens, m.token);
    return e;
}

/* There is an id, and a queue. */
static void put_mail(struct rpt_day *d)
{
    struct rpt *r = d->agent->rpt;
    char to_mem[SMTP_PATH_MAX];
    struct buf to, body;
    buf_init_fixed(&to, to_mem, sizeof to_mem);
    must(mail_address(place_of(d), &to)); /* it was, before an id was wanted */
    buf_init(&body, IPC_BODY_INLINE_MAX);
    if (!fitting_message(d, buf_str(&to), r->ids, &body)) {
        buf_fini(&body);
        place_never(d, "the report is too large for a message");
        return;
    }
    enum err e = put(d, buf_str(&to), r->ids, buf_str(&body));
    buf_fini(&body);
    if (e == ERR_OK)
        r->ids++;
    else
        place_later(d, "the queue did not take it: ", str_from_c(err_str(e)));
}

void rpt_send_ids(struct agent *a)
{
    struct rpt *r = a->rpt;
    struct ipc_id_want want = {.n = IDS_WANTED};
    while (!list_is_empty(&r->want_id)) {
        struct rpt_day *d = list_entry(r->want_id.next, struct rpt_day, ready);
        bool has_queue = a->queue != NULL;
        if (has_queue && r->ids == r->ids_end) {
            if (r->id_asked || ipc_send_id_want(a->queue, &want, NULL) == ERR_OK) {
                r->id_asked = true;
                return;
            }
            has_queue = false;
        }
        list_remove(&d->ready);
        if (has_queue)
            put_mail(d);
        else
            place_later(d, "the queue is away", STR_NIL);
    }
}

/* What smtpd says of the messages that it hands over. */
static void tell_put(const struct rpt_day *d, uint64_t id, struct str to)
{
    struct agent *a = d->agent;
    char mem[DNS_NAME_MAX + 64];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_puts(&text, "our report about TLS to ");
    buf_put(&text, rpt_domain(d));
    struct ipc_event e = {
        .kind = EVENT_RCPT, .wall_ms = (uint64_t)world_wall_ms(a->world), .id = id, .rcpt = to};
    role_event(a->env, &e);
    e.kind = EVENT_ACCEPTED;
    e.rcpt = a->env->config->tls_reports;
    e.text = buf_str(&text);
    e.number = d->n_put;
    role_event(a->env, &e);
}

void rpt_send_put_done(struct rpt_day *d, const struct ipc_put_done *m)
{
    char mem[SMTP_PATH_MAX];
    struct buf to;
    buf_init_fixed(&to, mem, sizeof mem);
    if (m->err == ERR_OK) {
        must(mail_address(place_of(d), &to)); /* it was, before it was put */
        tell_put(d, m->id, buf_str(&to));
        place_sent(d);
    } else {
        place_later(d, "the queue did not take it: ",
                    str_from_c(m->err <= ERR_TLS ? err_str((enum err)m->err) : "for no reason"));
    }
}

static void begin_mail(struct rpt_day *d)
{
    char mem[SMTP_PATH_MAX];
    struct buf to;
    buf_init_fixed(&to, mem, sizeof mem);
    if (!mail_address(place_of(d), &to)) {
        place_never(d, "this is no mail address");
        return;
    }
    d->step = STEP_ID; /* rpt_send_ids() goes on at the end of the turn */
    list_push_back(&d->agent->rpt->want_id, &d->ready);
}

/* ---- one after the other ------------------------------------------------------------------------------- */

static void begin_place(struct rpt_day *d)
{
    if (kind_of(place_of(d)) == TLS_RPT_MAILTO)
        begin_mail(d);
    else
        begin_post(d);
}

/* At most TLS_RPT_RUA_MAX deep. */
static void next_place(struct rpt_day *d)
{
    d->step = STEP_NONE;
    do
        d->at++;
    while (d->at < d->n_places && d->places[d->at].state != PLACE_TODO);
    if (d->at < d->n_places && !d->agent->is_draining)
        begin_place(d);
    else
        end_round(d);
}

static void begin_round(struct rpt_day *d)
{
    d->at = 0;
    while (d->at < d->n_places && d->places[d->at].state != PLACE_TODO)
        d->at++;
    if (d->at < d->n_places)
        begin_place(d);
    else
        end_round(d);
}

/* As they stand there, each once. false: no memory. */
static bool take_record(struct rpt_day *d, const struct tls_rpt_record *r)
{
    struct str uris[TLS_RPT_RUA_MAX];
    size_t n = 0;
    for (size_t i = 0; i < r->n_rua; i++) {
        bool is_useless = r->rua[i].uri.n > RPT_URI_MAX;
        for (size_t k = 0; k < n; k++)
            is_useless = is_useless || str_eq(uris[k], r->rua[i].uri);
        if (!is_useless)
            uris[n++] = r->rua[i].uri;
    }
    if (!rpt_places_new(d, n))
        return false;
    for (size_t i = 0; i < n; i++)
        rpt_place_add(d, uris[i], PLACE_TODO);
    return true;
}

static void make_id(struct rpt_day *d)
{
    uint64_t random;
    struct buf b;
    world_random(d->agent->world, &random, sizeof random);
    buf_init_fixed(&b, d->id, sizeof d->id);
    buf_printf(&b, "%016llx", (unsigned long long)random);
}

void rpt_send_txt(struct rpt_day *d, const struct ipc_rr_answer *m)
{
    char mem[DNS_TXT_MAX];
    struct buf b;
    struct tls_rpt_record record;
    buf_init_fixed(&b, mem, sizeof mem);
    d->step = STEP_NONE;
    switch (rpt_read_txt(m, &b, &record)) {
    case RPT_TXT_FAILED:
        no_record(d, "its record can't be had");
        return;
    case RPT_TXT_NONE: /* it does not want it any more */
        rpt_day_del(d);
        return;
    case RPT_TXT_RECORD:
        break;
    }
    if (!take_record(d, &record)) {
        no_record(d, "no memory");
        return;
    }
    make_id(d);
    rpt_store_mark(d, false);
    begin_round(d);
}

void rpt_send(struct rpt_day *d)
{
    if (d->first_s == 0)
        d->first_s = rpt_now_s(d->agent);
    if (d->tally.n_policies == 0) { /* nothing of it could be kept */
        rpt_day_del(d);
        return;
    }
    if (d->places != NULL) {
        begin_round(d);
        return;
    }
    d->step = STEP_TXT;
    if (!rpt_ask_txt(d->agent, rpt_domain(d), &d->ask, true))
        no_record(d, "its record can't be asked for");
}

void rpt_send_fail(struct rpt_day *d, const char *why)
{
    list_remove(&d->ready);
    if (d->step == STEP_TXT) {
        d->step = STEP_NONE;
        no_record(d, why);
    } else {
        place_later(d, why, STR_NIL);
    }
}

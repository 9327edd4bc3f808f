/* service/smtpd/identity.c: who the client is, and what it is offered.
 *
 * The client is the other end of the connection, unless a proxy that the configuration trusts says otherwise:
 * by a PROXY header before the first octet, or by XCLIENT. From then on that address counts for policy,
 * limits, trace and journal. Who comes by the socket of sendmail is a user of this machine, known by his user
 * id from the kernel.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/smtpd/smtpd.h"

#include <string.h>

const struct netaddr *session_peer(const struct session *s)
{
    return s->claim != NULL ? &s->claim->addr : conn_peer(s->conn);
}

struct str session_client_name(const struct session *s)
{
    return s->claim != NULL ? str_of(s->claim->name, s->claim->name_n) : STR_NIL;
}

static bool is_in(const struct netblock *blocks, size_t n, const struct netaddr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (netblock_has(&blocks[i], a))
            return true;
    }
    return false;
}

/* ---- what is offered ---------------- */

static struct smtp_server_conf offer(const struct config *c, const struct listener_conf *l, unsigned who)
{
    bool is_ours = (who & OFFER_OURS) != 0;
    return (struct smtp_server_conf){
        .hostname = c->policy.hostname,
        .size_max = c->size_max,
        .rcpt_max = c->rcpt_max,
        .lmtp = l->lmtp,
        .dsn = true,
        .binarymime = true,
        .deliverby = c->deliver_by,
        .by_min_s = c->deliver_by_min_s,
        .prdr = !l->lmtp,
        .limits = true,
        /* RFC 4865 1: for submission; a stranger has no business in letting us keep his mail */
        .hold_max_s = is_ours ? c->future_release_s : 0,
        .xclient = (who & OFFER_XCLIENT) != 0,
        .expn = is_ours && c->expn,
        .etrn = (who & OFFER_ETRN) != 0,
        .normalize_bare = is_ours && l->normalize,
        .greets_late = !is_ours && l->greet_delay_s > 0,
    };
}

struct smtp_server_conf *identity_offers(const struct config *c)
{
    struct smtp_server_conf *all = mem_alloc_array((c->n_listeners + 1) * OFFER_N, sizeof *all);
    for (size_t i = 0; all != NULL && i < c->n_listeners; i++) {
        for (unsigned who = 0; who < OFFER_N; who++)
            all[i * OFFER_N + who] = offer(c, &c->listeners[i], who);
    }
    return all;
}

const struct smtp_server_conf *identity_settle(struct session *s)
{
    const struct config *c = s->conf->config;
    /* XCLIENT is a right of the connection's own end, whatever it claims. */
    const struct netaddr *end = conn_peer(s->conn), *peer = session_peer(s);
    s->is_ours = s->listener->is_submit || policy_may_relay(&c->policy, peer);
    unsigned who = (s->is_ours ? OFFER_OURS : 0u) |
                   (is_in(c->xclient_from, c->n_xclient_from, end) ? OFFER_XCLIENT : 0u) |
                   (is_in(c->etrn_from, c->n_etrn_from, peer) ? OFFER_ETRN : 0u);
    size_t i = (size_t)(s->listener - c->listeners);
    must(i < c->n_listeners);
    return &s->conf->server[i * OFFER_N + who];
}

/* ---- PROXY ---------------- */

bool identity_may_proxy(const struct session *s)
{
    const struct listener_conf *l = s->listener;
    return l->n_proxy_from == 0 || is_in(l->proxy_from, l->n_proxy_from, conn_peer(s->conn));
}

static bool claim(struct session *s, const struct netaddr *addr)
{
    if (s->claim == NULL) {
        s->claim = mem_new(struct claim);
        if (s->claim == NULL)
            return false;
        s->claim->addr = *conn_peer(s->conn);
    }
    if (addr->kind == NETADDR_IP4 || addr->kind == NETADDR_IP6)
        s->claim->addr = *addr;
    return session_move_client(s);
}

enum proxy_status identity_take_proxy(struct session *s)
{
    struct proxy_header h;
    size_t n = 0;
    enum proxy_status st = proxy_parse(buf_str(&s->in), &h, &n);
    if (st != PROXY_OK)
        return st;
    buf_consume(&s->in, n);
    s->waits_proxy = false;
    return h.source.kind == NETADDR_NONE || claim(s, &h.source) ? PROXY_OK : PROXY_BAD;
}

/* ---- XCLIENT ---------------- */

static void keep_text(struct str from, char *to, uint16_t *out_n)
{
    must(from.n <= SMTP_DOMAIN_MAX);
    memcpy(to, from.p, from.n);
    *out_n = (uint16_t)from.n;
}

void identity_on_xclient(struct session *s, const struct smtp_event *ev)
{
    const struct xclient *x = ev->xclient;
    static const struct netaddr none;
    bool has_addr = (x->has & XCLIENT_ADDR) != 0;
    if (!claim(s, has_addr ? &x->addr : &none)) {
        smtp_server_answer(&s->server, ev->question, R_NO_MEMORY, STR_NIL);
        return;
    }
    if ((x->unavailable & XCLIENT_ADDR) != 0) /* not the proxy's own, which may do more */
        s->claim->addr = none;
    if (has_addr && (x->has & XCLIENT_NAME) == 0)
        s->claim->name_n = 0; /* the name of another address */
    if ((x->has & XCLIENT_NAME) != 0)
        keep_text(x->name, s->claim->name, &s->claim->name_n);
    if ((x->has & XCLIENT_LOGIN) != 0)
        keep_text(x->login, s->claim->login, &s->claim->login_n);
    s->has_uid = false;
    smtp_server_set_conf(&s->server, identity_settle(s));
    smtp_server_answer(&s->server, ev->question, R_GREETING, STR_NIL);
}

/* ---- EXPN ---------------- */

/* The address of a name: as it is, or at the first domain of ours that has such an alias. */
static struct str expn_address(const struct policy_conf *p, struct str text, struct buf *mem)
{
    if (str_starts(text, STR("<")) && str_ends(text, STR(">")))
        text = str_slice(text, 1, text.n - 1);
    if (str_chr(text, '@') != STR_NPOS)
        return text;
    for (size_t i = 0; i < p->n_domains; i++) {
        if (policy_alias(&p->domains[i], text) == NULL)
            continue;
        buf_put(mem, text);
        buf_putc(mem, '@');
        buf_put(mem, p->domains[i].name);
        return buf_str(mem);
    }
    return text;
}

static enum smtp_reply_id expn(const struct session *s, struct str text, struct arena *a, struct buf *lines)
{
    const struct policy_conf *p = &s->conf->config->policy;
    char mem[SMTP_PATH_MAX + 1];
    struct buf name;
    struct expansion x;
    buf_init_fixed(&name, mem, sizeof mem);
    struct rcpt r = {.address = expn_address(p, text, &name)};
    struct address parsed;
    if (address_parse(r.address, true, &parsed) != NULL || parsed.kind != DOMAIN_NAME ||
        policy_domain(p, parsed.domain) == NULL)
        return R_NO_SUCH_LIST;
    if (!policy_expand(p, &r, a, &x))
        return R_NO_MEMORY;
    if (x.kind == EXPAND_FAILED)
        return R_ALIAS_TROUBLE;
    if (x.kind == EXPAND_NONE)
        return R_NO_SUCH_LIST;
    for (size_t i = 0; i < x.n_targets; i++) {
        if (i > 0)
            buf_putc(lines, '\n');
        buf_putc(lines, '<');
        buf_put(lines, x.targets[i].address);
        buf_puts(lines, x.targets[i].target != 0 ? "> (a program)" : ">");
    }
    return lines->failed ? R_EXPN_TOO_LONG : R_EXPN;
}

void identity_on_expn(struct session *s, const struct smtp_event *ev)
{
    struct arena a;
    struct buf lines;
    arena_init(&a, &s->d->pool, SMTPD_EXPN_MEMORY);
    buf_init(&lines, SMTP_SERVER_OUTPUT_HIGH / 2);
    enum smtp_reply_id id = expn(s, ev->text, &a, &lines);
    smtp_server_answer(&s->server, ev->question, id, id == R_EXPN ? buf_str(&lines) : STR_NIL);
    buf_fini(&lines);
    arena_reset(&a);
}

/* ---- ETRN ---------------- */

void identity_on_etrn(struct session *s, const struct smtp_event *ev)
{
    struct str domain = ev->text;
    /* RFC 1985 5.2: "#" names a queue, of which there is one kind only here */
    bool is_queue = str_starts(domain, STR("#"));
    if (str_starts(domain, STR("@")))
        domain = str_skip(domain, 1);
    if (is_queue || !domain_is_valid(domain, false))
        smtp_server_answer(&s->server, ev->question, R_ETRN_DENIED, ev->text);
    else
        ask_etrn(s, ev, ev->text);
}

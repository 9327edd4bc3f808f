/* ext/unbound.c: see the header.
 *
 * A question is OPEN until the library answers or its time is up, then DONE until the next step of the loop,
 * when its asker is told: the library may answer from its cache within the call that asks, and its packets
 * live only as long as its callback, so every answer is copied and told later. The library can't be stopped
 * from working on a question, so one that ran out of time stays as a GHOST, without an asker, until the
 * library is done with it.
 */
#include "ext/unbound.h"

#include "base/limits.h"
#include "base/mem.h"
#include "ext/dns_packet.h"
#include "ext/unbound_event.h"
#include "wire/address.h"

#include <stdio.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>

enum {
    GHOSTS_MAX = 4 * UNBOUND_OPEN_MAX,
    WHY_MAX = 256,
    ANCHOR_TEXT_MAX = 4096, /* of one record */
    SERVERS_MAX = 64,
    HOST_NAMES_MAX = 10000,
    SAYINGS_MAX = 10, /* lines of the library in SAYINGS_MS */
    SAYINGS_MS = 60 * 1000,
    SEC_BOGUS = 1, /* `sec` of ub_event_callback_type */
    SEC_SECURE = 2,
};

enum question_state { QUESTION_OPEN = 0, QUESTION_DONE, QUESTION_GHOST };
struct question {
    struct list link; /* in the list of its state */
    struct unbound *u;
    enum question_state state;
    bool is_held; /* the library will call back */
    enum dns_type type;
    void (*fn)(void *arg, const struct resolver_answer *a);
    void *arg;
    uint64_t deadline_ms;
    enum resolver_status status; /* RESOLVER_OK: the packet tells */
    bool is_secure;
    char *packet; /* owned, or NULL */
    size_t n_packet;
    char why[WHY_MAX];
};
struct unbound {
    struct resolver resolver;
    struct world *world;
    uint32_t timeout_ms;
    struct ub_event_base *base;
    struct ub_ctx *ctx; /* NULL until configured */
    FILE *sayings;      /* what the library wants to log */
    uint64_t sayings_until_ms;
    unsigned n_sayings;
    struct list open, done, ghosts; /* open: by deadline */
    size_t n_open, n_ghosts;        /* n_open: with those that are done and not told */
    struct timer deadline, soon;
    struct dns_packet read;
};

static void set_state(struct question *q, enum question_state to)
{
    static const bool allowed[3][3] = {
        [QUESTION_OPEN] = {[QUESTION_DONE] = true},
        [QUESTION_DONE] = {[QUESTION_GHOST] = true},
    };
    must(allowed[q->state][to]);
    struct unbound *u = q->u;
    q->state = to;
    list_remove(&q->link);
    list_push_back(to == QUESTION_DONE ? &u->done : &u->ghosts, &q->link);
}

static void question_del(struct question *q)
{
    list_remove(&q->link);
    mem_free(q->packet);
    mem_free(q);
}

static void fail(struct question *q, enum resolver_status status, const char *why)
{
    struct buf b;
    q->status = status;
    buf_init_fixed(&b, q->why, sizeof q->why - 1);
    (void)buf_put(&b, str_slice(str_from_c(why), 0, sizeof q->why - 1));
    q->why[b.n] = 0;
}

static void tell_soon(struct unbound *u)
{
    if (!u->soon.is_set)
        world_timer_set(u->world, &u->soon, world_now_ms(u->world));
}

static void finish(struct question *q)
{
    set_state(q, QUESTION_DONE);
    tell_soon(q->u);
}

/* ---- the library's answer -------------------------------------------------------------------- */

/* RFC 1035 4.1.1 */
static const char *const rcode_words[] = {
    "no error",     "a malformed question", "its name servers fail or do not answer",
    "no such name", "not implemented",      "its name servers refuse to answer"};

static const char *rcode_word(unsigned rcode)
{
    return rcode < ARRAY_LEN(rcode_words) ? rcode_words[rcode] : "an error of its name servers";
}

static void take_answer(struct question *q, int rcode, const void *packet, int n_packet, int sec,
                        const char *why)
{
    q->is_secure = sec == SEC_SECURE;
    if (sec == SEC_BOGUS) {
        fail(q, RESOLVER_BOGUS, why == NULL ? "DNSSEC validation failed" : why);
        return;
    }
    if (rcode != 0 && rcode != 3) {
        fail(q, RESOLVER_FAILED, rcode_word((unsigned)rcode));
        return;
    }
    if (packet == NULL || n_packet <= 0) {
        fail(q, rcode == 3 ? RESOLVER_NXDOMAIN : RESOLVER_FAILED, rcode_word(rcode == 3 ? 3 : 2));
        return;
    }
    q->packet = mem_alloc((size_t)n_packet);
    if (q->packet == NULL) {
        fail(q, RESOLVER_FAILED, "no memory");
        return;
    }
    q->n_packet = (size_t)n_packet;
    memcpy(q->packet, packet, q->n_packet);
}

static void on_answer(void *arg, int rcode, void *packet, int n_packet, int sec, char *why, int was_limited)
{
    struct question *q = arg;
    UNUSED(was_limited);
    q->is_held = false;
    if (q->state == QUESTION_GHOST) {
        q->u->n_ghosts--;
        question_del(q);
    } else if (q->state == QUESTION_OPEN) {
        take_answer(q, rcode, packet, n_packet, sec, why);
        finish(q);
    } /* DONE: it came too late, between the deadline and the telling */
}

static void tell(struct unbound *u, struct question *q)
{
    struct resolver_answer a = {.status = q->status, .is_secure = q->is_secure, .why = str_from_c(q->why)};
    if (q->packet != NULL && !dns_packet_read(&u->read, str_of(q->packet, q->n_packet), q->type)) {
        a.status = RESOLVER_FAILED;
        a.why = STR("a malformed answer");
    } else if (q->packet != NULL) {
        a.ttl_s = u->read.ttl_s;
        a.canonical = str_from_c(u->read.canonical);
        a.rdata = u->read.rdata;
        a.n_rdata = u->read.n_rdata;
        if (u->read.rcode == 3)
            a.status = RESOLVER_NXDOMAIN;
        else if (u->read.rcode != 0)
            a.status = RESOLVER_FAILED;
        else if (a.n_rdata == 0)
            a.status = RESOLVER_NODATA;
        if (a.status != RESOLVER_OK) {
            a.n_rdata = 0;
            a.why = str_from_c(a.status == RESOLVER_NODATA ? "no such records" : rcode_word(u->read.rcode));
        }
    }
    a.is_secure = a.is_secure && a.status != RESOLVER_FAILED;
    q->fn(q->arg, &a);
}

static void on_soon(struct timer *t)
{
    struct unbound *u = container_of(t, struct unbound, soon);
    const struct list *last = u->done.prev; /* what gets done meanwhile is told another time */
    bool is_last = false;
    for (struct list *l = list_pop_front(&u->done); l != NULL;
         l = is_last ? NULL : list_pop_front(&u->done)) {
        is_last = l == last;
        struct question *q = list_entry(l, struct question, link);
        u->n_open--;
        tell(u, q); /* the library may come back for q meanwhile */
        if (q->is_held) {
            set_state(q, QUESTION_GHOST);
            u->n_ghosts++;
        } else {
            question_del(q);
        }
    }
    if (!list_is_empty(&u->done))
        tell_soon(u);
}

static void arm_deadline(struct unbound *u)
{
    if (list_is_empty(&u->open)) {
        world_timer_cancel(u->world, &u->deadline);
        return;
    }
    const struct question *q = list_entry(u->open.next, struct question, link);
    if (!u->deadline.is_set)
        world_timer_set(u->world, &u->deadline, q->deadline_ms);
}

static void on_deadline(struct timer *t)
{
    struct unbound *u = container_of(t, struct unbound, deadline);
    list_each (l, &u->open) {
        struct question *q = list_entry(l, struct question, link);
        if (q->deadline_ms > world_now_ms(u->world))
            break;
        fail(q, RESOLVER_FAILED, "no answer in time");
        finish(q);
    }
    arm_deadline(u);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Only what means the same to the library as to us: no escapes, no blanks, no trouble with an ending dot. An
 * address, as some write it into their MX, is no name: the servers of the root need not say so. */
static bool is_possible_name(struct str name)
{
    char wire[DNS_WIRE_NAME_MAX];
    struct netaddr address;
    struct buf b;
    buf_init_fixed(&b, wire, sizeof wire);
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == '\\')
            return false;
    }
    return name.n > 0 && dnsname_encode(name, &b) && !netaddr_parse_ip(name, 0, &address);
}

static bool unbound_ask(void *self, struct str name, enum dns_type type,
                        void (*fn)(void *arg, const struct resolver_answer *a), void *arg)
{
    struct unbound *u = self;
    must(u->ctx != NULL);
    if (u->n_open >= UNBOUND_OPEN_MAX || u->n_ghosts >= GHOSTS_MAX)
        return false;
    struct question *q = mem_new(struct question);
    if (q == NULL)
        return false;
    *q = (struct question){.u = u, .type = type, .fn = fn, .arg = arg};
    q->deadline_ms = world_now_ms(u->world) + u->timeout_ms;
    list_init(&q->link);
    list_push_back(&u->open, &q->link);
    u->n_open++;
    char text[DNS_WIRE_NAME_MAX + 2];
    if (!is_possible_name(name) || !str_to_c(name, text, sizeof text)) {
        fail(q, RESOLVER_NXDOMAIN, "not a possible domain name");
        finish(q);
        return true;
    }
    q->is_held = true;
    int failed = ub_resolve_event(u->ctx, text, (int)type, 1, q, on_answer, NULL);
    if (failed != 0 && q->state == QUESTION_OPEN) {
        q->is_held = false;
        fail(q, RESOLVER_FAILED, ub_strerror(failed));
        finish(q);
    }
    arm_deadline(u);
    return true;
}

/* ---- settings -------------------------------------------------------------------------------- */

static bool say(struct buf *why, const char *what, int code)
{
    (void)buf_printf(why, "the resolver refuses %s: %s", what, ub_strerror(code));
    return false;
}

/* "192.0.2.1@53" */
static bool server_text(const struct netaddr *a, char *out, size_t cap)
{
    struct buf b;
    if (a->kind != NETADDR_IP4 && a->kind != NETADDR_IP6)
        return false;
    buf_init_fixed(&b, out, cap - 1);
    netaddr_format_ip(a, &b);
    (void)buf_printf(&b, "@%u", a->port == 0 ? 53u : a->port);
    out[b.n] = 0;
    return !b.failed;
}

/* The addresses in zone file text: of each line, ended by its comment, the last word when A or AAAA stands
 * before it. */
static size_t hint_addresses(struct str text, struct netaddr *out, size_t n_max)
{
    size_t n = 0;
    while (text.n > 0 && n < n_max) {
        struct str line = str_cut(&text, '\n');
        line = str_cut(&line, ';');
        struct str word[2] = {STR_NIL, STR_NIL};
        for (size_t i = 0; i < line.n; i++) {
            if (line.p[i] == ' ' || line.p[i] == '\t' || line.p[i] == '\r')
                continue;
            size_t from = i;
            while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\r')
                i++;
            word[0] = word[1];
            word[1] = str_slice(line, from, i);
        }
        if ((str_ieq(word[0], STR("A")) || str_ieq(word[0], STR("AAAA"))) &&
            netaddr_parse_ip(word[1], 53, &out[n]))
            n++;
    }
    return n;
}

/* Adds each record of zone file text: comments go, brackets join lines. */
static bool add_anchors(struct ub_ctx *ctx, struct str text, struct buf *why)
{
    char mem[ANCHOR_TEXT_MAX];
    struct buf b;
    unsigned depth = 0, n = 0;
    buf_init_fixed(&b, mem, sizeof mem - 1);
    while (text.n > 0) {
        struct str line = str_cut(&text, '\n');
        line = str_cut(&line, ';');
        for (size_t i = 0; i < line.n; i++) {
            char c = line.p[i];
            if (c == '(')
                depth++;
            else if (c == ')' && depth > 0)
                depth--;
            (void)buf_putc(&b, c == '(' || c == ')' || c == '\r' || c == '\0' ? ' ' : c);
        }
        if (depth > 0 && text.n > 0) {
            (void)buf_putc(&b, ' ');
            continue;
        }
        struct str record = str_trim(buf_str(&b));
        mem[b.n] = 0;
        if (b.failed || depth > 0) {
            (void)buf_puts(why, "the trust anchor file holds a record that is too long or not ended");
            return false;
        }
        if (record.n > 0 && record.p[0] != '$') {
            int failed = ub_ctx_add_ta(ctx, record.p);
            if (failed != 0)
                return say(why, "a trust anchor", failed);
            n++;
        }
        buf_reset(&b);
    }
    if (n == 0)
        (void)buf_puts(why, "the trust anchor file holds no record");
    return n > 0;
}

static struct str next_word(struct str *line)
{
    size_t from = 0, end;
    while (from < line->n && (line->p[from] == ' ' || line->p[from] == '\t' || line->p[from] == '\r'))
        from++;
    for (end = from; end < line->n && line->p[end] != ' ' && line->p[end] != '\t' && line->p[end] != '\r';
         end++)
        ;
    struct str word = str_slice(*line, from, end);
    *line = str_skip(*line, end);
    return word;
}

/* What hosts(5) says of names. localhost is built into the library; what is none, or too much, is passed
 * over, as by the C library. */
static bool add_hosts(struct ub_ctx *ctx, struct str text, struct buf *why)
{
    char mem[DNS_NAME_MAX + NETADDR_TEXT_MAX + 16];
    size_t n = 0;
    while (text.n > 0 && n < HOST_NAMES_MAX) {
        struct str line = str_cut(&text, '\n'), name;
        line = str_cut(&line, '#');
        struct netaddr addr;
        if (!netaddr_parse_ip(next_word(&line), 0, &addr) || addr.scope != 0)
            continue;
        while ((name = next_word(&line)).n > 0 && n < HOST_NAMES_MAX) {
            struct buf b;
            if (!domain_is_valid(name, false) || str_ieq(name, STR("localhost")))
                continue;
            buf_init_fixed(&b, mem, sizeof mem);
            buf_put(&b, name);
            buf_puts(&b, addr.kind == NETADDR_IP4 ? " A " : " AAAA ");
            netaddr_format_ip(&addr, &b);
            buf_putc(&b, '\0');
            int failed = b.failed ? UB_SYNTAX : ub_ctx_data_add(ctx, mem);
            if (failed != 0)
                return say(why, "a name of hosts", failed);
            n++;
        }
    }
    return true;
}

static bool set_servers(struct ub_ctx *ctx, const struct resolver_conf *conf, struct buf *why)
{
    struct netaddr hints[SERVERS_MAX];
    const struct netaddr *servers = conf->servers;
    size_t n = conf->n_servers < SERVERS_MAX ? conf->n_servers : SERVERS_MAX;
    bool is_forward = n > 0, is_near = false;
    if (!is_forward && conf->root_hints.n > 0) {
        servers = hints;
        n = hint_addresses(conf->root_hints, hints, SERVERS_MAX);
        if (n == 0) {
            (void)buf_puts(why, "the root hints hold no address");
            return false;
        }
    }
    for (size_t i = 0; i < n; i++) {
        char text[NETADDR_TEXT_MAX + 8];
        int failed = UB_SYNTAX;
        if (server_text(&servers[i], text, sizeof text))
            failed = is_forward ? ub_ctx_set_fwd(ctx, text) : ub_ctx_set_stub(ctx, ".", text, 1);
        if (failed != 0)
            return say(why, "a server's address", failed);
        is_near = is_near || netaddr_is_loopback(&servers[i]);
    }
    /* a tree or a server of one's own knows names that the public one must never be asked for (RFC 6303,
     * 6761) */
    static const char *const own_tree[][2] = {
        {"unblock-lan-zones:", "yes"}, {"insecure-lan-zones:", "yes"}, {"local-zone:", "test. transparent"}};
    for (size_t i = 0; n > 0 && i < ARRAY_LEN(own_tree); i++) {
        int failed = ub_ctx_set_option(ctx, own_tree[i][0], own_tree[i][1]);
        if (failed != 0)
            return say(why, own_tree[i][0], failed);
    }
    int failed = ub_ctx_set_option(ctx, "do-not-query-localhost:", is_near ? "no" : "yes");
    return failed == 0 || say(why, "do-not-query-localhost", failed);
}

static void on_warm(void *arg, int rcode, void *packet, int n_packet, int sec, char *why, int was_limited)
{
    bool *is_warm = arg;
    UNUSED(packet);
    UNUSED(n_packet);
    UNUSED(sec);
    UNUSED(why);
    UNUSED(was_limited);
    *is_warm = rcode == 0;
}

/* Everything must be set before the first question: later settings are refused. */
static bool set_up(struct ub_ctx *ctx, const struct resolver_conf *conf, bool *is_warm, struct buf *why)
{
    static const char *const options[][2] = {
        {"msg-cache-size:", "32m"},    {"rrset-cache-size:", "64m"}, {"key-cache-size:", "4m"},
        {"neg-cache-size:", "2m"},     {"outgoing-range:", "256"},   {"outgoing-num-tcp:", "20"},
        {"minimal-responses:", "yes"}, {"val-log-level:", "2"}, /* 2: a bogus answer says why */
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        int failed = ub_ctx_set_option(ctx, options[i][0], options[i][1]);
        if (failed != 0)
            return say(why, options[i][0], failed);
    }
    if (!set_servers(ctx, conf, why))
        return false;
    if (conf->trust_anchor.n > 0 && !add_anchors(ctx, conf->trust_anchor, why))
        return false;
    if (!add_hosts(ctx, conf->hosts, why)) /* last: from the first name on other settings are refused */
        return false;
    /* a name that needs no network: what is wrong with the settings shows now */
    int failed = ub_resolve_event(ctx, "localhost", DNS_A, 1, is_warm, on_warm, NULL);
    return (failed == 0 && *is_warm) || say(why, "its settings", failed == 0 ? UB_INITFAIL : failed);
}

static ssize_t on_saying(void *cookie, const char *text, size_t n)
{
    struct unbound *u = cookie;
    uint64_t now = world_now_ms(u->world);
    if (now >= u->sayings_until_ms) {
        u->sayings_until_ms = now + SAYINGS_MS;
        u->n_sayings = 0;
    }
    struct str s = str_of(text, n);
    size_t at = str_find(s, STR("] ")); /* "[time] libunbound[pid:0] error: ..." */
    at = at == STR_NPOS ? at : at + 2 + str_find(str_skip(s, at + 2), STR("] "));
    if (at < s.n)
        s = str_skip(s, at + 2);
    if (s.n > 0 && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n > 0 && u->n_sayings++ < SAYINGS_MAX)
        log_warn(world_log(u->world), "resolver.library", LS("text", s));
    return (ssize_t)n;
}

/* The old context goes, and with it all the library holds of ours. */
static void drop_context(struct unbound *u)
{
    if (u->ctx == NULL)
        return;
    ub_ctx_delete(u->ctx);
    u->ctx = NULL;
    list_each (l, &u->ghosts) {
        question_del(list_entry(l, struct question, link));
    }
    u->n_ghosts = 0;
    list_each (l, &u->done) {
        list_entry(l, struct question, link)->is_held = false;
    }
    list_each (l, &u->open) {
        struct question *q = list_entry(l, struct question, link);
        q->is_held = false;
        fail(q, RESOLVER_FAILED, "the resolver was configured anew");
        finish(q);
    }
}

static bool unbound_configure(void *self, const struct resolver_conf *conf, struct buf *why)
{
    struct unbound *u = self;
    bool is_warm = false;
    struct ub_ctx *ctx = ub_ctx_create_ub_event(u->base);
    if (ctx == NULL) {
        (void)buf_puts(why, "no memory for the resolver");
        return false;
    }
    (void)ub_ctx_debugout(ctx, u->sayings);
    bool ok = set_up(ctx, conf, &is_warm, why);
    if (ok) {
        drop_context(u);
        u->ctx = ctx;
    } else {
        ub_ctx_delete(ctx);
    }
    if (u->ctx != NULL)
        (void)ub_ctx_debugout(u->ctx, u->sayings); /* process-wide in the library, and reset by a delete */
    return ok;
}

struct unbound *unbound_new(struct io_world *w, uint32_t timeout_ms)
{
    struct unbound *u = mem_new(struct unbound);
    if (u == NULL)
        return NULL;
    u->resolver = (struct resolver){.self = u, .configure = unbound_configure, .ask = unbound_ask};
    u->timeout_ms = timeout_ms;
    u->world = io_world_base(w);
    list_init(&u->open);
    list_init(&u->done);
    list_init(&u->ghosts);
    u->deadline.fire = on_deadline;
    u->soon.fire = on_soon;
    dns_packet_init(&u->read);
    u->base = unbound_event_base_new(w);
    u->sayings = fopencookie(u, "w", (cookie_io_functions_t){.write = on_saying});
    if (u->base == NULL || u->sayings == NULL || setvbuf(u->sayings, NULL, _IOLBF, 1024) != 0) {
        unbound_del(&u);
        return NULL;
    }
    return u;
}

void unbound_del(struct unbound **up)
{
    struct unbound *u = *up;
    if (u == NULL)
        return;
    drop_context(u);
    list_each (l, &u->done) {
        question_del(list_entry(l, struct question, link));
    }
    world_timer_cancel(u->world, &u->soon);
    world_timer_cancel(u->world, &u->deadline);
    unbound_event_base_del(&u->base);
    if (u->sayings != NULL)
        (void)fclose(u->sayings);
    dns_packet_fini(&u->read);
    mem_free(u);
    *up = NULL;
}

struct resolver *unbound_resolver(struct unbound *u)
{
    return &u->resolver;
}

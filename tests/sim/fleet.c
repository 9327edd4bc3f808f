#include "tests/sim/fleet.h"

#include "base/mem.h"
#include "base/queue_id.h"
#include "ipc/schema.h"
#include "sim/sim_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const host_names[FLEET_NODES] = {"node1", "node2", "node3"};
static const char *const addresses[FLEET_NODES] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};

/* ---- messages ---- */

static size_t body_size(const struct fleet *f, unsigned id)
{
    struct rng r;
    rng_seed(&r, id);
    uint64_t dice = rng_below(&r, 1000);
    if (f->all_large)
        return 100 * 1024 + (size_t)rng_below(&r, 100 * 1024);
    if (dice < 2 && !f->is_small)
        return 1100 * 1024 + (size_t)rng_below(&r, 200 * 1024);
    if (dice < 14 && !f->is_small)
        return 66 * 1024 + (size_t)rng_below(&r, 100 * 1024);
    if (dice < 300)
        return 2000 + (size_t)rng_below(&r, 10000);
    return (size_t)rng_below(&r, 2000);
}

/* The body follows from the id alone, so it can be compared without being kept. */
static void put_body(const struct fleet *f, unsigned id, const char *newline, struct buf *out)
{
    struct rng r;
    rng_seed(&r, ~(uint64_t)id);
    for (size_t n = body_size(f, id), done = 0; done < n; done += 64) {
        buf_printf(out, "%016llx%016llx%016llx%014x", (unsigned long long)rng_next(&r),
                   (unsigned long long)rng_next(&r), (unsigned long long)rng_next(&r), id);
        buf_puts(out, newline);
    }
    buf_puts(out, "the end");
    buf_puts(out, newline);
}

static void make_text(struct fleet_mail *m)
{
    struct buf b;
    buf_init(&b, (size_t)4 * 1024 * 1024);
    buf_printf(&b, "From: <%s>\r\nSubject: number %u\r\nX-Sim-Id: %u\r\n\r\n", m->from, m->id, m->id);
    put_body(m->fleet, m->id, "\r\n", &b);
    must(!b.failed);
    m->text = b.p;
    m->mail.data = buf_str(&b);
}

static void choose_rcpt(struct fleet *f, struct fleet_rcpt *r, unsigned k)
{
    struct rng *rng = sim_rng(f->sim);
    uint64_t dice = f->only_good ? 0 : rng_below(rng, 1000);
    unsigned node = 1 + (unsigned)rng_below(rng, FLEET_NODES),
             user = (unsigned)rng_below(rng, FLEET_USERS / 4) * 4 + k;
    struct buf b;
    buf_init_fixed(&b, r->address, sizeof r->address);
    r->fate = dice < 900 ? FATE_MAILBOX : dice < 950 ? FATE_NO_USER : dice < 985 ? FATE_NO_DOMAIN : FATE_DOWN;
    if (r->fate == FATE_MAILBOX)
        buf_printf(&b, "u%u@node%u.sim", user, node);
    else if (r->fate == FATE_NO_USER)
        buf_printf(&b, "nobody%u@node%u.sim", k, node);
    else
        buf_printf(&b, "x%u@%s.sim", k, r->fate == FATE_NO_DOMAIN ? "gone" : "down");
    buf_putc(&b, '\0');
    must(!b.failed);
}

/* A user that the accepting node itself has not: refused at RCPT, so no promise comes of it; else the next
 * node refuses. */
static void make_mail(struct fleet *f, unsigned id)
{
    struct rng *rng = sim_rng(f->sim);
    struct fleet_mail *m = &f->mails[id];
    m->fleet = f;
    m->id = id;
    m->node = f->all_large ? 0 : (unsigned)rng_below(rng, FLEET_NODES);
    m->mail.n_rcpts = rng_below(rng, 4) > 0 ? 1 : 1 + (size_t)rng_below(rng, FLEET_RCPTS_MAX);
    for (unsigned k = 0; k < m->mail.n_rcpts; k++) {
        choose_rcpt(f, &m->rcpts[k], k);
        m->mail.rcpts[k] = m->rcpts[k].address;
    }
    if (f->only_good || rng_below(rng, 20) > 0)
        must(snprintf(m->from, sizeof m->from, "u%u@node%u.sim", (unsigned)rng_below(rng, FLEET_USERS),
                      1 + (unsigned)rng_below(rng, FLEET_NODES)) > 0);
    m->mail.from = m->from;
    must(netaddr_parse_ip(str_from_c(addresses[m->node]), 25, &m->mail.to));
}

static uint64_t queue_id_of(struct str reply)
{
    uint64_t id;
    while (reply.n > 0) {
        if (queue_id_parse(str_cut(&reply, ' '), &id))
            return id;
    }
    return 0;
}

static void on_mail_done(void *arg, struct sim_mail *mail)
{
    struct fleet_mail *m = arg;
    struct fleet *f = m->fleet;
    mem_free(m->text);
    m->text = NULL;
    f->n_done++;
    for (size_t i = 0; i < mail->n_rcpts; i++)
        m->rcpts[i].is_accepted = mail->is_accepted && mail->rcpt_accepted[i];
    if (mail->is_accepted)
        m->queue_id = queue_id_of(str_from_c(mail->text));
}

static void send_next(void *arg)
{
    struct fleet *f = arg;
    if (f->n_sent == f->n_mails)
        return;
    if (f->n_sent - f->n_done < f->window) {
        struct fleet_mail *m = &f->mails[f->n_sent++];
        make_text(m);
        m->mail.done = on_mail_done;
        m->mail.arg = m;
        sim_client_send(f->client, &m->mail);
    }
    sim_call_at(f->sim, sim_now_us(f->sim) + rng_below(sim_rng(f->sim), 2 * f->pace_us + 1), send_next, f);
}

void fleet_send(struct fleet *f, unsigned n)
{
    must(f->mails == NULL);
    f->mails = sim_alloc(n * sizeof *f->mails);
    f->n_mails = n;
    for (unsigned i = 0; i < n; i++)
        make_mail(f, i);
    send_next(f);
}

bool fleet_all_sent(void *arg)
{
    const struct fleet *f = arg;
    return f->n_done == f->n_mails;
}

/* ---- nodes ---- */

void fleet_lua(unsigned node, struct buf *out)
{
    buf_printf(out, "hostname \"node%u.sim\"\n", node);
    buf_printf(out, "postmaster \"postmaster@node%u.sim\"\n", node);
    buf_printf(out, "listen { port = 25, address = \"%s\" }\n", addresses[node - 1]);
    buf_puts(
        out,
        "relay_from { \"10.0.1.0/24\" }\nresolver { \"10.0.0.53\" }\nspool \"/spool\"\njournal \"/journal\"\n"
        "limits { sessions_per_client = 0 }\n");
    buf_printf(out, "domain \"node%u.sim\" {\n  users = { \"postmaster\"", node);
    for (unsigned u = 0; u < FLEET_USERS; u++)
        buf_printf(out, ", \"u%u\"", u);
    buf_puts(out, " },\n  deliver = maildir \"/mail/%u\",\n}\n");
}

static void on_log(void *arg, struct sim_proc *p, struct str line)
{
    struct fleet *f = arg;
    const char *want = getenv("SIM_LOG");
    if (str_starts(line, STR("error")))
        f->n_log_errors++;
    if (want != NULL && (strcmp(want, "all") == 0 || strcmp(want, sim_proc_what(p)) == 0))
        (void)fprintf(stderr, "%12.6f %s %s[%llu]: %.*s", (double)sim_now_us(f->sim) / 1e6,
                      sim_host_name(sim_proc_host(p)), sim_proc_what(p), (unsigned long long)sim_proc_id(p),
                      STR_FMT(line));
}

static void show_event(const struct fleet *f, struct sim_proc *p, const struct ipc_event *e)
{
    if (getenv("SIM_EVENTS") == NULL)
        return;
    (void)fprintf(stderr, "%12.6f %s %s: %s %016llx other %016llx <%.*s> at %.*s: %.*s (%llu)\n",
                  (double)sim_now_us(f->sim) / 1e6, sim_host_name(sim_proc_host(p)), sim_proc_what(p),
                  event_word(e->kind), (unsigned long long)e->id, (unsigned long long)e->other_id,
                  STR_FMT(e->rcpt), STR_FMT(e->host), STR_FMT(e->text), (unsigned long long)e->number);
}

static void on_send(void *arg, struct sim_proc *p, uint16_t type, struct str payload)
{
    struct fleet *f = arg;
    struct ipc_event e;
    if (type != IPC_EVENT || !ipc_decode_event(payload, &e))
        return;
    show_event(f, p, &e);
    if (strcmp(sim_proc_what(p), "queue") != 0)
        return;
    if (e.kind != EVENT_SPLIT && e.kind != EVENT_NOT_BOUNCED)
        return;
    struct fleet_link *l = sim_make(struct fleet_link);
    *l = (struct fleet_link){.id = e.kind == EVENT_SPLIT ? e.other_id : e.id,
                             .parent = e.kind == EVENT_SPLIT ? e.id : 0,
                             .is_not_bounced = e.kind == EVENT_NOT_BOUNCED};
    list_init(&l->link);
    list_push_back(&f->links, &l->link);
}

static void add_names(struct fleet *f)
{
    char name[FLEET_NAME_MAX];
    for (unsigned i = 0; i < FLEET_NODES; i++) {
        must(snprintf(name, sizeof name, "node%u.sim", i + 1) > 0);
        sim_dns_add_mx(f->dns, name, 10, name);
        sim_dns_add_a(f->dns, name, addresses[i]);
    }
    sim_dns_add_mx(f->dns, "down.sim", 10, "mx.down.sim");
    sim_dns_add_a(f->dns, "mx.down.sim", "10.0.2.99");
}

struct fleet *fleet_new(uint64_t seed)
{
    struct fleet *f = sim_make(struct fleet);
    f->sim = sim_new(seed);
    f->dns = sim_dns_new(f->sim);
    f->pace_us = 20 * SIM_MS;
    f->window = 100;
    list_init(&f->links);
    sim_on_log(f->sim, on_log, f);
    sim_on_send(f->sim, on_send, f);
    add_names(f);
    for (unsigned i = 0; i < FLEET_NODES; i++) {
        char mem[4096];
        struct buf lua;
        buf_init_fixed(&lua, mem, sizeof mem);
        fleet_lua(i + 1, &lua);
        buf_putc(&lua, '\0');
        must(!lua.failed);
        f->nodes[i] = sim_node_new(sim_host_new(f->sim, host_names[i], addresses[i]), f->dns, mem);
        sim_node_start(f->nodes[i]);
    }
    f->client_host = sim_host_new(f->sim, "client", "10.0.1.1");
    f->client = sim_client_new(f->client_host, 20);
    return f;
}

void fleet_del(struct fleet **fp)
{
    struct fleet *f = *fp;
    *fp = NULL;
    sim_del(&f->sim);
    for (unsigned i = 0; i < FLEET_NODES; i++)
        sim_node_del(&f->nodes[i]);
    sim_client_del(&f->client);
    sim_dns_del(&f->dns);
    for (unsigned i = 0; i < f->n_mails; i++)
        mem_free(f->mails[i].text);
    for (struct list *l = list_pop_front(&f->links); l != NULL; l = list_pop_front(&f->links))
        mem_free(list_entry(l, struct fleet_link, link));
    mem_free(f->mails);
    mem_free(f);
}

static bool all_ready(void *arg)
{
    const struct fleet *f = arg;
    for (unsigned i = 0; i < FLEET_NODES; i++) {
        if (!sim_node_is_ready(f->nodes[i]))
            return false;
    }
    return true;
}

void fleet_await_ready(struct fleet *f)
{
    must(sim_run_until_true(f->sim, sim_now_us(f->sim) + 10 * SIM_MINUTE, all_ready, f));
}

/* ---- the account ---- */

struct reading {
    struct fleet *fleet;
    unsigned node;
    struct buf text, want;
};

static struct str field_of(struct str text, const char *name)
{
    size_t at = str_find(text, str_from_c(name));
    if (at == STR_NPOS)
        return STR_NIL;
    struct str rest = str_skip(text, at + str_from_c(name).n);
    return str_trim(str_cut(&rest, '\n'));
}

static struct fleet_rcpt *find_rcpt(struct fleet_mail *m, struct str address)
{
    for (size_t i = 0; i < m->mail.n_rcpts; i++) {
        if (str_ieq(str_from_c(m->rcpts[i].address), address))
            return &m->rcpts[i];
    }
    return NULL;
}

/* RFC 3464: each recipient has a Final-Recipient of its own. */
static void read_report(struct reading *r, struct fleet_mail *m, struct str text, struct str to)
{
    struct fleet_counts *k = &r->fleet->counts;
    if (!str_ieq(to, str_from_c(m->from)))
        k->n_misreported++;
    static const char name[] = "\nFinal-Recipient: rfc822;";
    for (size_t at = str_find(text, STR("\nFinal-Recipient: rfc822;")); at != STR_NPOS;
         at = str_find(text, STR("\nFinal-Recipient: rfc822;"))) {
        text = str_skip(text, at);
        struct fleet_rcpt *rcpt = find_rcpt(m, field_of(text, name));
        if (rcpt == NULL)
            k->n_misreported++;
        else
            rcpt->n_reported++;
        text = str_skip(text, 1);
    }
}

static void read_message(struct reading *r, struct str text, struct str user)
{
    struct fleet *f = r->fleet;
    uint64_t id;
    struct str to = field_of(text, "\nDelivered-To: ");
    char at_node[FLEET_NAME_MAX];
    must(snprintf(at_node, sizeof at_node, "%.*s@node%u.sim", STR_FMT(user), r->node) > 0);
    if (!str_to_u64(field_of(text, "\nX-Sim-Id: "), UINT32_MAX, &id) || id >= f->n_mails) {
        f->n_unopened++;
        return;
    }
    struct fleet_mail *m = &f->mails[id];
    if (!str_ieq(to, str_from_c(at_node)))
        f->counts.n_misreported++;
    if (str_find(text, STR("Content-Type: multipart/report")) != STR_NPOS) {
        read_report(r, m, text, to);
        return;
    }
    struct fleet_rcpt *rcpt = find_rcpt(m, to);
    size_t end_of_header = str_find(text, STR("\n\n"));
    buf_reset(&r->want);
    put_body(f, m->id, "\n", &r->want);
    if (rcpt == NULL || end_of_header == STR_NPOS ||
        !str_eq(str_skip(text, end_of_header + 2), buf_str(&r->want)))
        f->counts.n_damaged++;
    if (rcpt != NULL)
        rcpt->n_delivered++;
}

static void on_file(void *arg, const char *path, uint64_t size)
{
    struct reading *r = arg;
    struct str rest = str_from_c(path);
    (void)str_cut(&rest, '/'); /* mail */
    struct str user = str_cut(&rest, '/');
    if (!str_eq(str_cut(&rest, '/'), STR("new")))
        return;
    buf_reset(&r->text);
    if (size == 0) {
        r->fleet->n_unopened++;
        return;
    }
    must(buf_reserve(&r->text, (size_t)size));
    must(sim_disk_peek(sim_host_disk(sim_node_host(r->fleet->nodes[r->node - 1])), path, 0, r->text.p,
                       (size_t)size));
    r->text.n = (size_t)size;
    read_message(r, buf_str(&r->text), user);
}

/* Was it said of this envelope, or of a part of it, that nobody can be told? */
static bool is_not_bounced(const struct fleet *f, uint64_t id)
{
    list_each (l, &f->links) {
        const struct fleet_link *x = list_entry(l, struct fleet_link, link);
        if (x->is_not_bounced ? x->id == id : x->parent == id && is_not_bounced(f, x->id))
            return true;
    }
    return false;
}

static void settle(struct fleet *f, const struct fleet_mail *m, const struct fleet_rcpt *r)
{
    struct fleet_counts *k = &f->counts;
    k->n_delivered += r->n_delivered > 0;
    k->n_reported += r->n_reported > 0;
    k->n_duplicates += r->n_delivered > 1 ? r->n_delivered - 1 : 0;
    k->n_report_duplicates += r->n_reported > 1 ? r->n_reported - 1 : 0;
    if (!r->is_accepted) {
        k->n_unacknowledged_delivered += r->n_delivered > 0 || r->n_reported > 0;
        return;
    }
    k->n_rcpts++;
    if (r->fate == FATE_MAILBOX ? r->n_reported > 0 : r->n_delivered > 0)
        k->n_misreported++;
    if (r->n_delivered > 0 || r->n_reported > 0)
        return;
    if (r->fate == FATE_MAILBOX || m->from[0] != '\0') {
        k->n_lost++;
        (void)fprintf(stderr, "# lost: message %u, queue id %016llx at %s, from <%s> to <%s>\n", m->id,
                      (unsigned long long)m->queue_id, host_names[m->node], m->from, r->address);
    } else if (is_not_bounced(f, m->queue_id)) {
        k->n_not_bounced++;
    } else {
        k->n_null_unseen++; /* its event was lost with the process that had it */
    }
}

void fleet_account(struct fleet *f)
{
    struct reading r = {.fleet = f};
    buf_init(&r.text, (size_t)16 * 1024 * 1024);
    buf_init(&r.want, (size_t)16 * 1024 * 1024);
    for (unsigned i = 0; i < FLEET_NODES; i++) {
        struct sim_host *h = sim_node_host(f->nodes[i]);
        sim_host_power_cut(h);
        r.node = i + 1;
        sim_disk_each_file(sim_host_disk(h), "mail", on_file, &r);
    }
    buf_fini(&r.text);
    buf_fini(&r.want);
    for (unsigned i = 0; i < f->n_mails; i++) {
        f->counts.n_acknowledged += f->mails[i].mail.is_accepted;
        for (size_t k = 0; k < f->mails[i].mail.n_rcpts; k++)
            settle(f, &f->mails[i], &f->mails[i].rcpts[k]);
    }
}

/* service/tables/hosts.c: the addresses of directories and databases, asked of lookup and remembered as long
 * as DNS says.
 *
 * While lookup is away questions wait for it, as long as they may; when DNS is in trouble what it said last
 * still counts.
 */
#include "ipc/lists.h"
#include "service/tables/tables.h"

#include <stdio.h>

enum { KEEP_OLD_MS = 30 * 1000 };

void table_host_init(struct table_host *h, struct tables *t, struct str name, const struct netaddr *at,
                     void (*settled)(struct table_host *h))
{
    *h = (struct table_host){.tables = t, .name = name, .port = at->port, .settled = settled};
    if (name.n == 0) {
        h->at[0] = *at;
        h->n = 1;
    }
    list_init(&h->link);
    list_push_back(&t->hosts, &h->link);
}

void table_host_fini(struct table_host *h)
{
    list_remove(&h->link);
    h->is_wanted = false;
    h->token = 0;
}

static void ask(struct table_host *h)
{
    struct tables *t = h->tables;
    struct ipc_host_ask m = {.token = t->next_question + 1, .name = h->name};
    h->token = 0;
    if (t->lookup == NULL || ipc_send_host_ask(t->lookup, &m, NULL) != ERR_OK)
        return; /* asked again when it is back, or at the next tick */
    h->token = ++t->next_question;
}

bool table_host_want(struct table_host *h)
{
    if (h->name.n == 0 || (h->n > 0 && world_now_ms(h->tables->world) < h->fresh_until_ms))
        return true;
    if (!h->is_wanted) {
        h->is_wanted = true;
        ask(h);
    }
    return false;
}

static void take(struct table_host *h, const struct ipc_host_answer *m)
{
    uint64_t now = world_now_ms(h->tables->world);
    struct reader r = reader_of(m->addresses);
    struct netaddr at[TABLES_ADDRESSES_MAX];
    size_t n = 0;
    while (m->status == DNS_STATUS_OK && n < TABLES_ADDRESSES_MAX && list_next_addr(&r, &at[n]))
        at[n++].port = h->port;
    if (n == 0 && h->n > 0 && m->status == DNS_STATUS_TEMPORARY) {
        h->fresh_until_ms = now + KEEP_OLD_MS;
        return;
    }
    for (size_t i = 0; i < n; i++)
        h->at[i] = at[i];
    h->n = n;
    uint64_t ttl_s = m->ttl_s < 1 ? 1 : m->ttl_s > TABLES_HOST_TTL_MAX_S ? TABLES_HOST_TTL_MAX_S : m->ttl_s;
    h->fresh_until_ms = now + ttl_s * 1000;
    (void)snprintf(h->why, sizeof h->why, "the name has no address (DNS: %.*s)",
                   STR_FMT(str_slice(m->why, 0, 200)));
}

void table_hosts_on_answer(struct tables *t, const struct ipc_host_answer *m)
{
    list_each (l, &t->hosts) {
        struct table_host *h = list_entry(l, struct table_host, link);
        if (h->token == 0 || h->token != m->token)
            continue;
        h->token = 0;
        h->is_wanted = false;
        take(h, m);
        h->settled(h);
        return;
    }
}

void table_hosts_lost(struct tables *t)
{
    list_each (l, &t->hosts)
        list_entry(l, struct table_host, link)->token = 0;
}

void table_hosts_retry(struct tables *t)
{
    list_each (l, &t->hosts) {
        struct table_host *h = list_entry(l, struct table_host, link);
        if (h->is_wanted && h->token == 0)
            ask(h);
    }
}

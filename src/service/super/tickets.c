#include "service/super/tickets.h"

#include "base/limits.h"

#include <string.h>

static void on_timer(struct timer *timer)
{
    struct tickets *t = container_of(timer, struct tickets, timer);
    memmove(&t->keys[1], &t->keys[0], sizeof t->keys - sizeof t->keys[0]);
    world_random(t->world, &t->keys[0], sizeof t->keys[0]);
    world_timer_set(t->world, &t->timer, world_now_ms(t->world) + TICKETS_ROTATE_MS);
    t->on_change(t->arg);
}

void tickets_init(struct tickets *t, struct world *w, void *arg, void (*on_change)(void *arg))
{
    *t = (struct tickets){.world = w, .arg = arg, .on_change = on_change, .timer = {.fire = on_timer}};
    world_random(w, t->keys, sizeof t->keys);
    world_timer_set(w, &t->timer, world_now_ms(w) + TICKETS_ROTATE_MS);
}

void tickets_fini(struct tickets *t)
{
    world_timer_cancel(t->world, &t->timer);
    explicit_bzero(t->keys, sizeof t->keys);
}

struct str tickets_bytes(const struct tickets *t)
{
    return str_of((const char *)t->keys, sizeof t->keys);
}

size_t tickets_count(struct str bytes)
{
    size_t n = bytes.n / sizeof(struct tls_ticket_key);
    return bytes.n % sizeof(struct tls_ticket_key) == 0 && n <= TLS_TICKET_KEYS_MAX ? n : 0;
}

#include "base/strmap.h"

enum { SLOTS_FIRST = 32 };

static struct strmap_entry *slot_of(const struct strmap *m, struct str key)
{
    size_t i = (size_t)str_ihash(key, m->seed) & (m->n_slots - 1);
    while (m->slots[i].key.n > 0 && !str_eq(m->slots[i].key, key))
        i = (i + 1) & (m->n_slots - 1);
    return &m->slots[i];
}

static bool grow(struct strmap *m)
{
    struct strmap old = *m;
    m->n_slots = old.n_slots == 0 ? SLOTS_FIRST : old.n_slots * 2;
    m->slots = arena_alloc_array(m->arena, m->n_slots, sizeof *m->slots);
    if (m->slots == NULL) {
        *m = old;
        return false;
    }
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.slots[i].key.n > 0)
            *slot_of(m, old.slots[i].key) = old.slots[i];
    }
    return true;
}

struct strmap_entry *strmap_put(struct strmap *m, struct str key, uint32_t value, bool *out_is_new)
{
    must(key.n > 0);
    if (m->n * 2 >= m->n_slots && !grow(m))
        return NULL;
    struct strmap_entry *e = slot_of(m, key);
    *out_is_new = e->key.n == 0;
    if (!*out_is_new)
        return e;
    if (!arena_str(m->arena, key, &e->key))
        return NULL;
    e->value = value;
    m->n++;
    return e;
}

void strmap_clear(struct strmap *m)
{
    m->slots = NULL;
    m->n = m->n_slots = 0;
}

#include "base/idmap.h"

#include "base/mem.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

static struct idmap_node **bucket(const struct idmap *m, size_t i)
{
    return &m->pages[i / IDMAP_PAGE][i % IDMAP_PAGE];
}

/* Sixteen ids in a row are neighbours in memory: what is walked in order of its ids, as a queue is when it is
 * read at a start, then misses the cache once in eight. At the worst, when all ids that are left are sixteen
 * apart, a chain is sixteen times as long. */
static size_t index_of(const struct idmap *m, uint64_t id)
{
    uint64_t h = mix(id >> 4) << 4 | (id & 15);
    size_t i = (size_t)(h & (((uint64_t)IDMAP_PAGE << m->level) - 1));
    if (i < m->split)
        i = (size_t)(h & (((uint64_t)IDMAP_PAGE << (m->level + 1)) - 1));
    return i;
}

bool idmap_init(struct idmap *m)
{
    *m = (struct idmap){0};
    m->pages = mem_alloc_array(IDMAP_PAGES_MAX, sizeof *m->pages);
    if (m->pages == NULL)
        return false;
    m->pages[0] = mem_alloc_array(IDMAP_PAGE, sizeof **m->pages);
    if (m->pages[0] == NULL) {
        mem_free(m->pages);
        m->pages = NULL;
        return false;
    }
    m->n_buckets = IDMAP_PAGE;
    return true;
}

void idmap_fini(struct idmap *m)
{
    if (m->pages == NULL)
        return;
    for (size_t i = 0; i < IDMAP_PAGES_MAX && m->pages[i] != NULL; i++)
        mem_free(m->pages[i]);
    mem_free(m->pages);
    *m = (struct idmap){0};
}

/* Splits the next bucket in line into itself and one new bucket at the end. */
static void grow(struct idmap *m)
{
    size_t page = m->n_buckets / IDMAP_PAGE;
    if (page >= IDMAP_PAGES_MAX)
        return;
    if (m->pages[page] == NULL) {
        m->pages[page] = mem_alloc_array(IDMAP_PAGE, sizeof **m->pages);
        if (m->pages[page] == NULL)
            return;
    }
    size_t from = m->split;
    struct idmap_node *n = *bucket(m, from);
    *bucket(m, from) = NULL;
    m->n_buckets++;
    m->split++;
    if (m->split == (size_t)IDMAP_PAGE << m->level) {
        m->level++;
        m->split = 0;
    }
    while (n != NULL) {
        struct idmap_node *next = n->next;
        struct idmap_node **b = bucket(m, index_of(m, n->id));
        n->next = *b;
        *b = n;
        n = next;
    }
}

void idmap_insert(struct idmap *m, struct idmap_node *node, uint64_t id)
{
    must(m->pages != NULL);
    if (m->n >= m->n_buckets)
        grow(m);
    struct idmap_node **b = bucket(m, index_of(m, id));
    node->id = id;
    node->next = *b;
    *b = node;
    m->n++;
}

struct idmap_node *idmap_find(const struct idmap *m, uint64_t id)
{
    struct idmap_node *n = *bucket(m, index_of(m, id));
    while (n != NULL && n->id != id)
        n = n->next;
    return n;
}

struct idmap_node *idmap_remove(struct idmap *m, uint64_t id)
{
    struct idmap_node **at = bucket(m, index_of(m, id));
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    struct idmap_node *n = *at;
    if (n != NULL) {
        *at = n->next;
        n->next = NULL;
        m->n--;
    }
    return n;
}

void idmap_each(struct idmap *m, void (*fn)(struct idmap_node *node, void *arg), void *arg)
{
    for (size_t i = 0; i < m->n_buckets; i++) {
        struct idmap_node *n = *bucket(m, i);
        while (n != NULL) {
            struct idmap_node *next = n->next;
            fn(n, arg);
            n = next;
        }
    }
}

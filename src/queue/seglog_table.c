#include "queue/seglog_table.h"

#include "base/mem.h"

#include <string.h>

enum { PAGE = 64 * 1024 };

static void slab_init(struct seglog_slab *s, size_t size)
{
    *s = (struct seglog_slab){.size = (size + 7) & ~(size_t)7};
}

static void *slab_take(struct seglog_slab *s)
{
    if (s->free != NULL) {
        void *p = s->free;
        memcpy(&s->free, p, sizeof s->free);
        s->n_free--;
        memset(p, 0, s->size);
        return p;
    }
    if (s->n_fresh == 0) {
        char *page = mem_alloc(PAGE); /* begins with the link to the page before */
        if (page == NULL)
            return NULL;
        memcpy(page, &s->pages, sizeof s->pages);
        s->pages = page;
        s->n_fresh = (PAGE - sizeof(void *)) / s->size;
    }
    s->n_fresh--;
    return (char *)s->pages + sizeof(void *) + s->n_fresh * s->size;
}

static void slab_give(struct seglog_slab *s, void *p)
{
    memcpy(p, &s->free, sizeof s->free);
    s->free = p;
    s->n_free++;
}

static bool slab_reserve(struct seglog_slab *s, size_t n)
{
    while (s->n_free + s->n_fresh < n) {
        size_t n_left = s->n_fresh; /* what is left of this page becomes free, the new page is fresh */
        char *fresh = s->pages == NULL ? NULL : (char *)s->pages + sizeof(void *);
        char *page = mem_alloc(PAGE);
        if (page == NULL)
            return false;
        for (size_t i = 0; i < n_left; i++)
            slab_give(s, fresh + i * s->size);
        memcpy(page, &s->pages, sizeof s->pages);
        s->pages = page;
        s->n_fresh = (PAGE - sizeof(void *)) / s->size;
    }
    return true;
}

static void slab_fini(struct seglog_slab *s)
{
    while (s->pages != NULL) {
        void *next;
        memcpy(&next, s->pages, sizeof next);
        mem_free(s->pages);
        s->pages = next;
    }
}

bool seglog_table_init(struct seglog_table *t)
{
    *t = (struct seglog_table){0};
    slab_init(&t->env_slab, sizeof(struct seglog_env));
    slab_init(&t->body_slab, sizeof(struct seglog_body));
    slab_init(&t->tomb_slab, sizeof(struct seglog_tomb));
    slab_init(&t->result_slab, sizeof(struct seglog_result));
    if (idmap_init(&t->envs) && idmap_init(&t->bodies) && idmap_init(&t->tombs))
        return true;
    seglog_table_fini(t);
    return false;
}

void seglog_table_fini(struct seglog_table *t)
{
    idmap_fini(&t->envs);
    idmap_fini(&t->bodies);
    idmap_fini(&t->tombs);
    slab_fini(&t->env_slab);
    slab_fini(&t->body_slab);
    slab_fini(&t->tomb_slab);
    slab_fini(&t->result_slab);
}

struct seglog_env *seglog_env_find(const struct seglog_table *t, uint64_t id)
{
    struct idmap_node *n = idmap_find(&t->envs, id);
    return n == NULL ? NULL : container_of(n, struct seglog_env, node);
}

struct seglog_body *seglog_body_find(const struct seglog_table *t, uint64_t id)
{
    struct idmap_node *n = idmap_find(&t->bodies, id);
    return n == NULL ? NULL : container_of(n, struct seglog_body, node);
}

struct seglog_tomb *seglog_tomb_find(const struct seglog_table *t, uint64_t id)
{
    struct idmap_node *n = t->tombs.n == 0 ? NULL : idmap_find(&t->tombs, id);
    return n == NULL ? NULL : container_of(n, struct seglog_tomb, node);
}

struct seglog_env *seglog_env_add(struct seglog_table *t, uint64_t id)
{
    struct seglog_env *e = slab_take(&t->env_slab);
    if (e != NULL) {
        e->at.slot = SEGLOG_SLOT_NONE;
        idmap_insert(&t->envs, &e->node, id);
    }
    return e;
}

struct seglog_body *seglog_body_add(struct seglog_table *t, uint64_t id)
{
    struct seglog_body *b = slab_take(&t->body_slab);
    if (b != NULL) {
        b->at.slot = SEGLOG_SLOT_NONE;
        idmap_insert(&t->bodies, &b->node, id);
    }
    return b;
}

struct seglog_tomb *seglog_tomb_add(struct seglog_table *t, uint64_t id)
{
    struct seglog_tomb *b = slab_take(&t->tomb_slab);
    if (b != NULL) {
        b->at.slot = SEGLOG_SLOT_NONE;
        idmap_insert(&t->tombs, &b->node, id);
    }
    return b;
}

struct seglog_result *seglog_result_find(const struct seglog_env *e, uint64_t seq)
{
    struct seglog_result *r = e->last;
    if (r == NULL)
        return NULL;
    do {
        if (r->seq == seq)
            return r;
        r = r->next;
    } while (r != e->last);
    return NULL;
}

struct seglog_result *seglog_result_add(struct seglog_table *t, struct seglog_env *e, uint64_t seq)
{
    struct seglog_result *before = e->last; /* the new one goes behind it */
    if (before != NULL && seq <= before->seq) {
        struct seglog_result *r = before->next;
        while (r->seq < seq) {
            before = r;
            r = r->next;
        }
        if (r->seq == seq)
            return r;
    }
    struct seglog_result *n = slab_take(&t->result_slab);
    if (n == NULL)
        return NULL;
    n->seq = seq;
    n->at.slot = SEGLOG_SLOT_NONE;
    n->next = before == NULL ? n : before->next;
    if (before != NULL)
        before->next = n;
    if (e->last == NULL || seq > e->last->seq)
        e->last = n;
    return n;
}

void seglog_result_del(struct seglog_table *t, struct seglog_env *e, struct seglog_result *r)
{
    struct seglog_result *before = e->last;
    while (before->next != r)
        before = before->next;
    before->next = r->next;
    if (e->last == r)
        e->last = before == r ? NULL : before;
    slab_give(&t->result_slab, r);
}

bool seglog_table_reserve(struct seglog_table *t, size_t n_envs, size_t n_bodies, size_t n_tombs,
                          size_t n_results)
{
    return slab_reserve(&t->env_slab, n_envs) && slab_reserve(&t->body_slab, n_bodies) &&
           slab_reserve(&t->tomb_slab, n_tombs) && slab_reserve(&t->result_slab, n_results);
}

void seglog_env_del(struct seglog_table *t, struct seglog_env *e)
{
    struct seglog_result *r = e->last;
    if (r != NULL) {
        do {
            struct seglog_result *next = r->next;
            slab_give(&t->result_slab, r);
            r = next;
        } while (r != e->last);
    }
    (void)idmap_remove(&t->envs, e->node.id);
    slab_give(&t->env_slab, e);
}

void seglog_body_del(struct seglog_table *t, struct seglog_body *b)
{
    (void)idmap_remove(&t->bodies, b->node.id);
    slab_give(&t->body_slab, b);
}

void seglog_tomb_del(struct seglog_table *t, struct seglog_tomb *b)
{
    (void)idmap_remove(&t->tombs, b->node.id);
    slab_give(&t->tomb_slab, b);
}

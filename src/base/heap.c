#include "base/heap.h"

static bool less(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

/* Both are roots (no siblings); the lesser becomes the parent. */
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (less(b, a)) {
        struct heap_node *t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Pairs the siblings left to right, then melds right to left; iterative, so a million equal keys need no
 * stack. */
static struct heap_node *meld_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL; /* stack through ->prev */
    while (first != NULL) {
        struct heap_node *a = first;
        struct heap_node *b = a->next;
        first = b == NULL ? NULL : b->next;
        a->next = a->prev = NULL;
        if (b != NULL)
            b->next = b->prev = NULL;
        struct heap_node *m = meld(a, b);
        m->prev = pairs;
        pairs = m;
    }
    struct heap_node *root = NULL;
    while (pairs != NULL) {
        struct heap_node *m = pairs;
        pairs = m->prev;
        m->prev = NULL;
        root = meld(root, m);
    }
    return root;
}

void heap_insert(struct heap *h, struct heap_node *node, uint64_t key)
{
    *node = (struct heap_node){.key = key, .seq = h->seq++};
    h->root = meld(h->root, node);
    h->n++;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    must(h->n > 0);
    struct heap_node *sub = meld_siblings(node->child);
    node->child = NULL;
    if (node == h->root) {
        h->root = sub;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next;
        else
            node->prev->next = node->next;
        if (node->next != NULL)
            node->next->prev = node->prev;
        h->root = meld(h->root, sub);
    }
    node->next = node->prev = NULL;
    h->n--;
}

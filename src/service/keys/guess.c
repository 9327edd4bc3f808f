#include "service/keys/guess.h"

#include "base/mem.h"

#include <string.h>

/* 16 places each: memory that an attacker can't make grow. */
enum { SETS = 2048, WAYS = 8, MARK = 8, IP6_NETWORK = 8, DAY_MS = 24 * 3600 * 1000 };

struct place {
    unsigned char mark[MARK]; /* of the text, half of its fingerprint */
    uint64_t until_ms; /* allowance: when it is full again; known: when it is forgotten. Before now: free */
};
struct guesses {
    struct world *world;
    unsigned char key[SIPHASH_KEY];
    struct place allowances[SETS][WAYS];
    struct place known[SETS][WAYS];
};

struct guesses *guesses_new(struct world *w)
{
    struct guesses *g = mem_new(struct guesses);
    if (g == NULL)
        return NULL;
    g->world = w;
    world_random(w, g->key, sizeof g->key);
    return g;
}

void guesses_del(struct guesses **g)
{
    mem_free(*g);
    *g = NULL;
}

/* ---- places ---------------------------------------------------------------------------------- */

static struct place *set_of(struct place table[SETS][WAYS], const unsigned char print[SIPHASH_SIZE])
{
    return table[get_u64_at(print) % SETS];
}

static struct place *find(struct place *set, const unsigned char print[SIPHASH_SIZE], uint64_t now)
{
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].until_ms > now && memcmp(set[i].mark, print + SIPHASH_SIZE - MARK, MARK) == 0)
            return &set[i];
    }
    return NULL;
}

/* The one it has, or that of who loses least. */
static struct place *find_or_take(struct place *set, const unsigned char print[SIPHASH_SIZE], uint64_t now)
{
    struct place *p = find(set, print, now);
    if (p != NULL)
        return p;
    p = set;
    for (size_t i = 1; i < WAYS; i++) {
        if (set[i].until_ms < p->until_ms)
            p = &set[i];
    }
    memcpy(p->mark, print + SIPHASH_SIZE - MARK, MARK);
    p->until_ms = now;
    return p;
}

/* ---- allowances: one number each, the time at which it is full again -------------------------- */

static bool may_take(struct guesses *g, const unsigned char print[SIPHASH_SIZE], uint64_t burst,
                     uint64_t refill_ms)
{
    uint64_t now = world_now_ms(g->world);
    const struct place *p = find(set_of(g->allowances, print), print, now);
    return p == NULL || p->until_ms - now + refill_ms <= burst * refill_ms;
}

static void take(struct guesses *g, const unsigned char print[SIPHASH_SIZE], uint64_t refill_ms)
{
    uint64_t now = world_now_ms(g->world);
    find_or_take(set_of(g->allowances, print), print, now)->until_ms += refill_ms;
}

static void give_back(struct guesses *g, const unsigned char print[SIPHASH_SIZE], uint64_t refill_ms)
{
    uint64_t now = world_now_ms(g->world);
    struct place *p = find(set_of(g->allowances, print), print, now);
    if (p != NULL && p->until_ms >= refill_ms)
        p->until_ms -= refill_ms; /* not after now: it is full */
}

/* ---- guesses --------------------------------------------------------------------------------- */

static void print_of(const struct guesses *g, char what, struct str a, struct str b,
                     unsigned char out[SIPHASH_SIZE])
{
    char mem[2 * GUESS_TEXT_MAX + 16];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    (void)buf_putc(&text, what);
    (void)buf_put_lstr(&text, str_slice(a, 0, GUESS_TEXT_MAX));
    (void)buf_put_lstr(&text, str_slice(b, 0, GUESS_TEXT_MAX));
    siphash(g->key, buf_str(&text), out);
}

/* Whoever has one address of an IPv6 network has all of it. */
static bool network_of(struct str client, struct str *out, struct netaddr *mem)
{
    if (!netaddr_parse_ip(client, 0, mem))
        return false;
    *out = str_of(mem->ip, mem->kind == NETADDR_IP4 ? 4 : IP6_NETWORK);
    return true;
}

bool guess_begin(struct guesses *g, struct str user, struct str client, struct guess *out)
{
    struct netaddr addr;
    struct str network = client;
    *out = (struct guess){.has_client = network_of(client, &network, &addr)};
    print_of(g, 'u', user, STR_NIL, out->user);
    print_of(g, 'c', network, STR_NIL, out->client);
    print_of(g, 'p', user, network, out->pair);
    out->is_known = find(set_of(g->known, out->pair), out->pair, world_now_ms(g->world)) != NULL;
    const unsigned char *whose = out->is_known ? out->pair : out->user;
    if (!may_take(g, whose, GUESS_USER_BURST, GUESS_USER_REFILL_MS) ||
        (out->has_client && !may_take(g, out->client, GUESS_CLIENT_BURST, GUESS_CLIENT_REFILL_MS)))
        return false;
    take(g, whose, GUESS_USER_REFILL_MS);
    if (out->has_client)
        take(g, out->client, GUESS_CLIENT_REFILL_MS);
    return true;
}

void guess_undo(struct guesses *g, const struct guess *x)
{
    give_back(g, x->is_known ? x->pair : x->user, GUESS_USER_REFILL_MS);
    if (x->has_client)
        give_back(g, x->client, GUESS_CLIENT_REFILL_MS);
}

void guess_right(struct guesses *g, const struct guess *x)
{
    uint64_t now = world_now_ms(g->world);
    guess_undo(g, x);
    if (x->has_client)
        find_or_take(set_of(g->known, x->pair), x->pair, now)->until_ms =
            now + (uint64_t)GUESS_KNOWN_DAYS * DAY_MS;
}

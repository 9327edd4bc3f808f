#include "base/siphash.h"

#include "base/buf.h"

struct state {
    uint64_t v[4];
};

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void rounds(struct state *s, unsigned n)
{
    uint64_t *v = s->v;
    for (unsigned i = 0; i < n; i++) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void add(struct state *s, uint64_t m)
{
    s->v[3] ^= m;
    rounds(s, 2);
    s->v[0] ^= m;
}

static uint64_t sum(const struct state *s)
{
    return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

void siphash(const unsigned char key[SIPHASH_KEY], struct str in, unsigned char out[SIPHASH_SIZE])
{
    uint64_t k0 = get_u64_at(key), k1 = get_u64_at(key + 8), last = (uint64_t)in.n << 56;
    struct state s = {{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, k0 ^ 0x6c7967656e657261,
                       k1 ^ 0x7465646279746573}};
    for (; in.n >= 8; in = str_skip(in, 8))
        add(&s, get_u64_at(in.p));
    for (size_t i = 0; i < in.n; i++)
        last |= (uint64_t)(unsigned char)in.p[i] << (8 * i);
    add(&s, last);
    s.v[2] ^= 0xee;
    rounds(&s, 4);
    put_u64_at(out, sum(&s));
    s.v[1] ^= 0xdd;
    rounds(&s, 4);
    put_u64_at(out + 8, sum(&s));
}

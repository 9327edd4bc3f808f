/* base/rand.h: a seeded generator (xoshiro256**) for jitter, tests and the simulator. Not for secrets: those
 * come from world_random() in the kernel's world. */
#pragma once
#include <stdint.h>

struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, bound); bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);

/* base/strmap.h: texts, each once, with a number beside it, in an arena.
 *
 * Owns:     nothing: keys and slots lie in the arena and end with it. Outgrown slots stay there until then:
 * as much again at most. Limits:   those of the arena. Errors:   NULL without memory; what was in the map
 * stays. Security: where keys come from the network the seed must be a secret of the world's (str_ihash).
 */
#pragma once
#include "base/arena.h"

struct strmap_entry {
    struct str key; /* empty: free */
    uint32_t value;
};
struct strmap { /* zeroed, with arena and seed set, is an empty one */
    struct arena *arena;
    uint64_t seed;
    struct strmap_entry *slots;
    size_t n, n_slots;
};
/* The entry of a key (not empty; octets, case counts), which is copied and gets the value when it is new. */
MUST_USE struct strmap_entry *strmap_put(struct strmap *m, struct str key, uint32_t value, bool *out_is_new);
/* Empty again; the memory stays the arena's. */
void strmap_clear(struct strmap *m);

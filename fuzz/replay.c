/* fuzz/replay.c: runs a fuzz target without libFuzzer: all files given, then mutations of them from a fixed
 * seed.
 *
 * Usage: fuzz_X [-n ROUNDS] [-s SEED] [-m OCTETS_MAX] [-v] [-r ROUND] [FILE | FOLDER]...
 * The same arguments give the same inputs on every machine. When a round aborts, run again with -v: the last
 * line names the round, and -r ROUND writes its input to stdout without running it.
 */
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUTS_MAX = 1000,
    OCTETS_MAX = 1 << 20,
    EDITS_MAX = 8,
    ROUNDS_DEFAULT = 20000,
    OCTETS_DEFAULT = 4096
};
#define NO_ROUND UINT64_MAX

struct options {
    uint64_t n_rounds, seed, octets_max, print_round;
    bool verbose;
};

struct corpus {
    struct str inputs[INPUTS_MAX];
    size_t n;
};

static const struct str tokens[] = {
    {"\r\n", 2}, {"\r\n.\r\n", 5}, {"\n", 1},    {"\r", 1},       {".", 1},        {"..", 2},   {"\0", 1},
    {"\xff", 1}, {"<", 1},         {">", 1},     {"@", 1},        {":", 1},        {"\"", 1},   {"\\", 1},
    {"[", 1},    {"]", 1},         {"(", 1},     {")", 1},        {" ", 1},        {"=", 1},    {"-", 1},
    {"0", 1},    {"9999", 4},      {"IPv6:", 5}, {"::", 2},       {"\xc3\xbc", 2}, {"\xc0", 1}, {"\x3f", 1},
    {"\x40", 1}, {"%s", 2},        {"LAST", 4},  {"SMTPUTF8", 8}, {"250-", 4},     {"250 ", 4}, {"5.1.1", 5},
    {"\t", 1},   {"\x7f", 1},      {"\x80", 1},  {",", 1},        {"+", 1},
};

/* A copy of exactly n octets, so that a sanitizer sees a read beyond them. */
static void run(struct str input)
{
    char *exact = mem_must_alloc(input.n > 0 ? input.n : 1);
    if (input.n > 0)
        memcpy(exact, input.p, input.n);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)exact, input.n);
    mem_free(exact);
}

static bool add_file(struct corpus *c, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || c->n == INPUTS_MAX) {
        if (f != NULL)
            (void)fclose(f);
        return false;
    }
    char *p = mem_must_alloc(OCTETS_MAX);
    size_t n = fread(p, 1, OCTETS_MAX, f);
    bool ok = ferror(f) == 0;
    (void)fclose(f);
    c->inputs[c->n++] = str_of(p, n);
    return ok;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* The files of a folder in the order of their names, or one file. */
static bool add_path(struct corpus *c, const char *path)
{
    struct stat st;
    if (stat(path, &st) == -1)
        return false;
    if (!S_ISDIR(st.st_mode))
        return add_file(c, path);
    struct dirent **names;
    int n = scandir(path, &names, is_visible, by_name);
    bool ok = n >= 0;
    for (int i = 0; i < n; i++) {
        char name[4096];
        int k = snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        ok = ok && k > 0 && (size_t)k < sizeof name && add_file(c, name);
        mem_free(names[i]);
    }
    if (n >= 0)
        mem_free(names);
    return ok;
}

struct edit {
    char *p;
    size_t n, max;
    struct rng *rng;
};

static size_t below(struct edit *e, size_t bound)
{
    return (size_t)rng_below(e->rng, bound);
}

static void insert(struct edit *e, size_t at, struct str s)
{
    if (s.n > e->max - e->n)
        s.n = e->max - e->n;
    if (s.n == 0)
        return;
    memmove(e->p + at + s.n, e->p + at, e->n - at);
    memcpy(e->p + at, s.p, s.n);
    e->n += s.n;
}

static void mutate(struct edit *e, const struct corpus *c)
{
    char octet = (char)below(e, 256);
    char copy[64];
    size_t at = below(e, e->n + 1);
    size_t k = 1 + below(e, sizeof copy);
    if (k > e->n - at)
        k = e->n - at;
    switch (below(e, 8)) {
    case 0:
        if (at < e->n)
            e->p[at] = octet;
        return;
    case 1:
        if (at < e->n)
            e->p[at] = (char)((unsigned char)e->p[at] ^ 1u << below(e, 8));
        return;
    case 2:
        insert(e, at, str_of(&octet, 1));
        return;
    case 3:
    case 4:
        insert(e, at, tokens[below(e, ARRAY_LEN(tokens))]);
        return;
    case 5:
        memmove(e->p + at, e->p + at + k, e->n - at - k);
        e->n -= k;
        return;
    case 6:
        memcpy(copy, e->p + at, k);
        insert(e, below(e, e->n + 1), str_of(copy, k));
        return;
    default:
        if (c->n > 0) {
            struct str other = c->inputs[below(e, c->n)];
            insert(e, at, str_slice(other, below(e, other.n + 1), other.n));
        }
    }
}

static void run_mutations(const struct corpus *c, const struct options *o)
{
    struct edit e = {.p = mem_must_alloc((size_t)o->octets_max), .max = (size_t)o->octets_max};
    for (uint64_t round = 0; round < o->n_rounds; round++) {
        struct rng rng; /* of its own, so that a round can be had without those before it */
        rng_seed(&rng, o->seed + round * 0x9e3779b97f4a7c15u);
        e.rng = &rng;
        e.n = 0;
        if (c->n > 0)
            insert(&e, 0, c->inputs[below(&e, c->n)]);
        for (size_t n = 1 + below(&e, EDITS_MAX); n > 0; n--)
            mutate(&e, c);
        if (o->print_round == round)
            (void)fwrite(e.p, 1, e.n, stdout);
        if (o->print_round != NO_ROUND)
            continue;
        if (o->verbose)
            (void)fprintf(stderr, "round %llu\n", (unsigned long long)round);
        run(str_of(e.p, e.n));
    }
    mem_free(e.p);
}

/* Takes the options; *out_i is the first argument that is none. */
static bool take_options(int argc, char **argv, struct options *o, int *out_i)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const struct {
            char name;
            uint64_t max;
            uint64_t *value;
        } known[] = {
            {'n', UINT64_MAX, &o->n_rounds},
            {'s', UINT64_MAX, &o->seed},
            {'m', OCTETS_MAX, &o->octets_max},
            {'r', UINT64_MAX - 1, &o->print_round},
        };
        bool found = argv[i][1] == 'v';
        o->verbose |= found;
        for (size_t k = 0; k < ARRAY_LEN(known) && !found; k++) {
            if (argv[i][1] == known[k].name && i + 1 < argc)
                found = str_to_u64(str_from_c(argv[++i]), known[k].max, known[k].value);
        }
        if (!found)
            return false;
    }
    *out_i = i;
    return o->octets_max > 0;
}

int main(int argc, char **argv)
{
    struct options o = {ROUNDS_DEFAULT, 1, OCTETS_DEFAULT, NO_ROUND, false};
    struct corpus *c = mem_must_new(struct corpus);
    int i;
    if (!take_options(argc, argv, &o, &i)) {
        (void)fputs("usage: [-n ROUNDS] [-s SEED] [-m OCTETS_MAX] [-v] [-r ROUND] [FILE | FOLDER]...\n",
                    stderr);
        return 64;
    }
    for (; i < argc; i++) {
        if (!add_path(c, argv[i])) {
            (void)fprintf(stderr, "can't read %s\n", argv[i]);
            return 66;
        }
    }
    if (o.print_round == NO_ROUND) {
        (void)puts("1..2");
        run(STR_NIL);
        for (size_t k = 0; k < c->n; k++)
            run(c->inputs[k]);
        (void)printf("ok 1 - %zu files\n", c->n);
        (void)fflush(stdout);
    }
    run_mutations(c, &o);
    if (o.print_round == NO_ROUND)
        (void)printf("ok 2 - %llu mutations from seed %llu\n", (unsigned long long)o.n_rounds,
                     (unsigned long long)o.seed);
    for (size_t k = 0; k < c->n; k++) {
        char *p = NULL;
        memcpy(&p, &c->inputs[k].p, sizeof p); /* the heap's own, seen as const since it was read */
        mem_free(p);
    }
    mem_free(c);
    return 0;
}

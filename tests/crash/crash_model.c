#include "tests/crash/crash_model.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x7fb5d329728ea185u;
    x ^= x >> 27;
    x *= 0x81dadef4bc2dd44du;
    return x ^ (x >> 33);
}

void model_init(struct model *m)
{
    *m = (struct model){.n_units = 1};
    m->units = mem_must_alloc(sizeof(struct model_unit *));
    m->n_settled = 1;
}

void model_fini(struct model *m)
{
    for (size_t i = 1; i < m->n_units; i++)
        mem_free(m->units[i]);
    mem_free(m->units);
    mem_free(m->envs);
}

void model_say(struct model *m, const char *fmt, ...)
{
    if (m->wrong[0] != '\0')
        return;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(m->wrong, sizeof m->wrong, fmt, ap);
    va_end(ap);
}

static void on_done(struct store_ticket *t, enum err err)
{
    struct model_unit *u = container_of(t, struct model_unit, ticket);
    u->fate = err == ERR_OK ? MODEL_ACKED : MODEL_UNKNOWN;
    if (err == ERR_OK)
        u->model->n_acked++;
    else
        u->model->n_failed++;
}

struct model_unit *model_unit_new(struct model *m, size_t *out_index)
{
    if ((m->n_units & (m->n_units - 1)) == 0) {
        m->units = mem_grow(m->units, 2 * m->n_units * sizeof(struct model_unit *));
        must(m->units != NULL);
    }
    struct model_unit *u = mem_must_new(struct model_unit);
    u->model = m;
    u->ticket.done = on_done;
    *out_index = m->n_units;
    m->units[m->n_units++] = u;
    return u;
}

void model_unit_refused(struct model *m)
{
    mem_free(m->units[--m->n_units]);
}

struct model_env *model_env_new(struct model *m, uint64_t id, uint64_t body_id, size_t put)
{
    if (m->n_envs == m->n_envs_max) {
        m->n_envs_max = m->n_envs_max * 2 + 64;
        m->envs = mem_grow(m->envs, m->n_envs_max * sizeof *m->envs);
        must(m->envs != NULL);
    }
    must(m->n_envs == 0 || m->envs[m->n_envs - 1].id < id);
    struct model_env *e = &m->envs[m->n_envs++];
    *e = (struct model_env){.id = id, .body_id = body_id, .put = put};
    return e;
}

bool model_is_live(const struct model *m, const struct model_env *e)
{
    return !e->is_void && e->drop == 0 && m->units[e->put]->fate == MODEL_ACKED;
}

/* ---- contents ---- */

size_t model_body_size(uint64_t body_id)
{
    uint64_t h = mix(body_id);
    if (h % 100 < 70)
        return (size_t)(mix(h) % 1500);
    if (h % 100 < 96)
        return (size_t)(1500 + mix(h) % (MODEL_BODY_SEGMENT_MAX - 1500));
    return (size_t)(MODEL_BODY_SEGMENT_MAX + 1 + mix(h) % 80000);
}

size_t model_env_size(uint64_t id)
{
    return (size_t)(20 + mix(id * 3) % 380);
}

size_t model_result_size(uint64_t id, size_t i)
{
    return (size_t)(mix(id * 5 + i) % 200);
}

bool model_result_has_hint(uint64_t id, size_t i)
{
    return mix(id * 7 + i) % 2 == 0;
}

uint64_t model_result_seed(uint64_t id, size_t i)
{
    return mix(id * 11 + i);
}

void model_fill(uint64_t seed, char *out, size_t n)
{
    uint64_t x = mix(seed + 1);
    for (size_t i = 0; i < n; i += sizeof x) {
        x += 0x9e3779b97f4a7c15u;
        uint64_t v = x ^ (x >> 29);
        memcpy(out + i, &v, n - i < sizeof v ? n - i : sizeof v);
    }
}

void model_hint(uint64_t id, size_t n_results, unsigned char out[STORE_HINT])
{
    size_t from = 0; /* 0: of the envelope itself, else of result from - 1 */
    for (size_t i = 0; i < n_results; i++) {
        if (model_result_has_hint(id, i))
            from = i + 1;
    }
    char mem[STORE_HINT];
    model_fill(mix(id * 13 + from), mem, sizeof mem);
    memcpy(out, mem, STORE_HINT);
}

/* ---- checking ---- */

static void evidence(struct model *m, size_t unit, bool exists, const struct model_env *e, const char *of,
                     bool tolerant)
{
    struct model_unit *u = m->units[unit];
    if (tolerant)
        return;
    if (u->fate == MODEL_ACKED && !exists) {
        model_say(m, "acknowledged unit %zu is not there: %s of %llx", unit, of, (unsigned long long)e->id);
        return;
    }
    signed char now = exists ? 1 : -1;
    if (u->evidence != 0 && u->evidence != now)
        model_say(m, "unit %zu is torn: %s of %llx", unit, of, (unsigned long long)e->id);
    u->evidence = now;
}

static void check_found(struct model *m, const struct model_env *e, const struct model_found *f,
                        bool tolerant)
{
    if (e->is_void)
        model_say(m, "%llx is there, but was found missing before", (unsigned long long)e->id);
    if (f->body_id != e->body_id)
        model_say(m, "%llx has another body", (unsigned long long)e->id);
    if (f->is_unreadable && !tolerant)
        model_say(m, "%llx can't be read", (unsigned long long)e->id);
    if (f->n_results > e->n_results)
        model_say(m, "%llx has too many results", (unsigned long long)e->id);
    evidence(m, e->put, true, e, "put", tolerant);
    if (e->drop != 0)
        evidence(m, e->drop, false, e, "drop", tolerant);
    for (size_t i = 0; i < e->n_results; i++)
        evidence(m, e->results[i], i < f->n_results, e, "result", tolerant);
    unsigned char hint[STORE_HINT];
    model_hint(e->id, f->n_results, hint);
    if (memcmp(hint, f->hint, STORE_HINT) != 0 && !tolerant)
        model_say(m, "%llx has a wrong hint", (unsigned long long)e->id);
}

/* Exactly a prefix of the units may exist. */
static void check_order(struct model *m)
{
    size_t missing = 0;
    for (size_t i = m->n_settled; i < m->n_units; i++) {
        const struct model_unit *u = m->units[i];
        if (u->evidence < 0 && missing == 0)
            missing = i;
        if ((u->evidence > 0 || u->fate == MODEL_ACKED) && missing != 0)
            model_say(m, "unit %zu is there and %zu before it is not", i, missing);
    }
}

static void settle_env(const struct model *m, struct model_env *e, const struct model_found *f)
{
    e->epoch = 0;
    if (f == NULL) {
        e->is_void = e->is_void || e->drop == 0 || m->units[e->drop]->evidence < 0;
        return;
    }
    e->n_results = f->n_results;
    e->drop = 0;
}

static void settle(struct model *m)
{
    for (size_t i = m->n_settled; i < m->n_units; i++) {
        if (m->units[i]->fate != MODEL_ACKED)
            m->units[i]->fate = m->units[i]->evidence < 0 ? MODEL_UNKNOWN : MODEL_ACKED;
    }
    m->n_settled = m->n_units;
    while (m->first_live < m->n_envs && (m->envs[m->first_live].is_void || m->envs[m->first_live].drop != 0))
        m->first_live++;
}

bool model_check(struct model *m, const struct model_found *found, size_t n_found, bool settles,
                 bool tolerant, size_t *out_damaged)
{
    size_t at = 0, n_damaged = 0;
    for (size_t i = m->n_settled; i < m->n_units; i++)
        m->units[i]->evidence = 0;
    for (size_t i = 0; i < m->n_envs; i++) {
        struct model_env *e = &m->envs[i];
        const struct model_found *f = at < n_found && found[at].id == e->id ? &found[at++] : NULL;
        if (f != NULL) {
            check_found(m, e, f, tolerant);
            n_damaged += f->is_unreadable || f->n_results < e->n_results || e->drop != 0;
        } else if (!e->is_void && m->units[e->put]->fate == MODEL_ACKED) {
            if (e->drop == 0 && !tolerant)
                model_say(m, "acknowledged %llx is lost", (unsigned long long)e->id);
            if (e->drop != 0)
                evidence(m, e->drop, true, e, "drop", tolerant);
            n_damaged += e->drop == 0;
        } else if (!e->is_void) {
            evidence(m, e->put, false, e, "put", tolerant);
        }
        if (settles)
            settle_env(m, e, f);
    }
    if (at != n_found)
        model_say(m, "%llx is there and was never put, or out of order", (unsigned long long)found[at].id);
    if (!tolerant)
        check_order(m);
    if (settles)
        settle(m);
    if (out_damaged != NULL)
        *out_damaged += n_damaged;
    return m->wrong[0] == '\0';
}

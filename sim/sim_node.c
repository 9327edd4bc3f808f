#include "sim/sim_node.h"

#include "base/mem.h"
#include "config/config.h"
#include "service/boot/role.h"
#include "service/local/deliver.h"
#include "service/local/pipe.h"
#include "service/super/super.h"
#include "sim/sim_mem.h"

#include <stdio.h>

enum { CHUNK = 64 * 1024, CHUNKS = 1024, CONFIG_MAX = 16 * 1024 * 1024, DRAIN_MS = 60000 };

struct sim_node {
    struct sim_host *host;
    struct sim *sim;
    struct sim_dns *dns;
    struct buf config; /* encoded */
    uint64_t generation;
    struct sim_proc *supervisor; /* NULL: none */
    struct supervisor *running;
    bool is_wanted, is_ready;
    struct sim_node_counts counts;
    struct journal journal;
    void (*on_journal)(void *arg, const struct journal_line *l);
    void *on_journal_arg;
};
struct supervisor { /* memory of its process */
    struct sim_node *node;
    struct sim_proc *proc;
    struct super *super;
    struct chunk_pool pool[2];
    struct arena arena[2];
    unsigned present;
};

/* ---- configuration ---- */

static enum err no_file(void *arg, struct str path, struct arena *a, struct str *out)
{
    UNUSED(arg);
    UNUSED(path);
    UNUSED(a);
    UNUSED(out);
    return ERR_NOTFOUND;
}

static bool no_user(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid)
{
    UNUSED(arg);
    UNUSED(name);
    UNUSED(out_uid);
    UNUSED(out_gid);
    return false;
}

static void encode(struct sim_node *n, const char *lua)
{
    struct chunk_pool pool;
    struct arena arena;
    struct config_env env = {.read_file = no_file, .find_user = no_user, .home = STR("/")};
    struct config_report report = {0};
    chunk_pool_init(&pool, CHUNK, CHUNKS);
    arena_init(&arena, &pool, (size_t)CHUNK * CHUNKS);
    buf_init(&report.errors, 65536);
    buf_init(&report.warnings, 65536);
    const struct config *c = config_load(STR("sim.lua"), str_from_c(lua), &env, &arena, &report);
    if (c == NULL)
        (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&report.errors)));
    must(c != NULL);
    struct config copy = *c;
    copy.generation = ++n->generation;
    buf_reset(&n->config);
    must(config_encode(&copy, &n->config));
    buf_fini(&report.errors);
    buf_fini(&report.warnings);
    arena_reset(&arena);
    chunk_pool_fini(&pool);
}

static const struct config *decode(struct supervisor *s, unsigned i)
{
    arena_reset(&s->arena[i]);
    chunk_pool_fini(&s->pool[i]);
    chunk_pool_init(&s->pool[i], CHUNK, CHUNKS);
    arena_init(&s->arena[i], &s->pool[i], (size_t)CHUNK * CHUNKS);
    struct str bytes;
    must(arena_str(&s->arena[i], buf_str(&s->node->config), &bytes));
    const struct config *c = config_decode(bytes, &s->arena[i]);
    must(c != NULL);
    return c;
}

/* ---- journal ---- */

static void journal_add(void *self, const struct journal_line *l)
{
    struct sim_node *n = self;
    struct sim_heap *was = sim_heap_enter(NULL);
    sim_trace(n->sim, 'j', l->kind, l->id);
    if (l->kind < ARRAY_LEN(n->counts.n_lines))
        n->counts.n_lines[l->kind]++;
    if (n->on_journal != NULL)
        n->on_journal(n->on_journal_arg, l);
    (void)sim_heap_enter(was);
}

static enum err journal_flush(void *self)
{
    UNUSED(self);
    return ERR_OK;
}

static enum err journal_why(void *self, uint64_t id, size_t n_max,
                            void (*fn)(void *arg, const struct journal_line *l), void *arg)
{
    UNUSED(self);
    UNUSED(id);
    UNUSED(n_max);
    UNUSED(fn);
    UNUSED(arg);
    return ERR_OK;
}

static enum err journal_expire(void *self, uint64_t before_wall_ms)
{
    UNUSED(self);
    UNUSED(before_wall_ms);
    return ERR_OK;
}

/* ---- roles ---- */

static void on_role_exit(void *arg, int status)
{
    sim_proc_exit(arg, status);
}

static const struct role_ops *ops_of(enum role r)
{
    switch (r) {
    case ROLE_SMTPD:
        return &smtpd_role;
    case ROLE_LOOKUP:
        return &lookup_role;
    case ROLE_QUEUE:
        return &queue_role;
    case ROLE_RELAY:
        return &relay_role;
    case ROLE_LOCAL:
        return &local_role;
    case ROLE_ADMIN:
        return &admin_role;
    case ROLE_SUPER:
    case ROLE_DELIVER:
    case ROLE_PIPE:
    case ROLE_KEYS:
    case ROLE_AGENT: /* HTTPS has live tests instead */
    case ROLE_ACME:
    case ROLE_HTTP01:
    case ROLE_HTTPS:
    case ROLE_AUTH:
    case ROLE_PAM:
    case ROLE_TABLES:
        break;
    }
    must_not_reach();
}

static void role_start(void *arg, struct world *w, const char *name, unsigned index, const char *root,
                       struct channel *super)
{
    struct sim_node *n = arg;
    enum role role;
    struct boot_hooks hooks = {.arg = sim_proc_of(w), .exit = on_role_exit};
    must(role_parse(str_from_c(name), &role));
    if (role == ROLE_DELIVER) {
        deliver_start(w, super, root, &hooks);
        return;
    }
    if (role == ROLE_PIPE) {
        pipe_start(w, super, &(struct pipe_account){.name = STR_NIL}, &hooks);
        return;
    }
    void *ext = role == ROLE_LOOKUP  ? (void *)sim_dns_resolver(n->dns, w)
                : role == ROLE_ADMIN ? (void *)&n->journal
                                     : NULL;
    (void)boot_new(w, role, index, root, super, ops_of(role), ext, &hooks);
}

/* ---- the supervisor ---- */

static void on_ready(void *arg)
{
    struct supervisor *s = arg;
    s->node->is_ready = true;
    s->node->counts.n_ready++;
}

static void on_end(void *arg, int status, struct str why)
{
    struct supervisor *s = arg;
    log_info(sim_proc_world(s->proc)->log, "end", LS("why", why));
    sim_proc_exit(s->proc, status);
}

static void supervisor_main(struct world *w, void *arg)
{
    struct sim_node *n = arg;
    struct supervisor *s = mem_must_new(struct supervisor);
    struct super_conf conf = {.arg = s, .on_ready = on_ready, .on_end = on_end};
    for (size_t r = 0; r < ROLE_N; r++)
        conf.uid[r] = conf.gid[r] = UINT32_MAX;
    s->node = n;
    s->proc = sim_proc_of(w);
    for (unsigned i = 0; i < 2; i++) {
        chunk_pool_init(&s->pool[i], CHUNK, CHUNKS);
        arena_init(&s->arena[i], &s->pool[i], (size_t)CHUNK * CHUNKS);
    }
    n->running = s;
    s->super = super_new(w, decode(s, 0), buf_str(&n->config), &conf);
    must(s->super != NULL);
}

static void start_if_wanted(void *arg)
{
    struct sim_node *n = arg;
    if (n->is_wanted && n->supervisor == NULL && sim_host_is_up(n->host))
        sim_node_start(n);
}

static void on_supervisor_exit(void *arg, struct str how)
{
    struct sim_node *n = arg;
    UNUSED(how);
    n->supervisor = NULL;
    n->running = NULL;
    n->is_ready = false;
    sim_call_at(n->sim, sim_now_us(n->sim) + SIM_S, start_if_wanted, n);
}

void sim_node_start(struct sim_node *n)
{
    must(n->supervisor == NULL && sim_host_is_up(n->host));
    n->is_wanted = true;
    n->counts.n_starts++;
    n->supervisor = sim_proc_new(n->host, "supervisor", supervisor_main, on_supervisor_exit, n);
}

static void drain(void *arg)
{
    struct supervisor *s = arg;
    super_drain(s->super, DRAIN_MS);
}

void sim_node_stop(struct sim_node *n)
{
    n->is_wanted = false;
    if (n->running != NULL)
        sim_proc_post(n->supervisor, 1, drain, n->running);
    else if (n->supervisor != NULL)
        sim_proc_kill(n->supervisor, "signal 15");
}

static void reload(void *arg)
{
    struct supervisor *s = arg;
    char mem[256];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    unsigned next = 1 - s->present;
    if (super_reload(s->super, decode(s, next), buf_str(&s->node->config), &why))
        s->present = next;
    else
        log_error(sim_proc_world(s->proc)->log, "reload.refused", LS("why", buf_str(&why)));
}

void sim_node_configure(struct sim_node *n, const char *lua)
{
    encode(n, lua);
    if (n->running != NULL)
        sim_proc_post(n->supervisor, 1, reload, n->running);
}

/* ---- the node ---- */

struct sim_node *sim_node_new(struct sim_host *h, struct sim_dns *dns, const char *lua)
{
    struct sim_node *n = sim_make(struct sim_node);
    n->host = h;
    n->sim = sim_host_sim(h);
    n->dns = dns;
    buf_init(&n->config, CONFIG_MAX);
    encode(n, lua);
    n->journal = (struct journal){
        .self = n, .add = journal_add, .flush = journal_flush, .why = journal_why, .expire = journal_expire};
    sim_host_set_program(h, &(const struct sim_program){.main = role_start, .arg = n});
    sim_disk_mkdir(sim_host_disk(h), "spool");
    sim_disk_mkdir(sim_host_disk(h), "journal");
    sim_disk_mkdir(sim_host_disk(h), "mail");
    return n;
}

void sim_node_del(struct sim_node **np)
{
    struct sim_node *n = *np;
    if (n == NULL)
        return;
    *np = NULL;
    buf_fini(&n->config);
    mem_free(n);
}

bool sim_node_is_running(const struct sim_node *n)
{
    return n->supervisor != NULL;
}

bool sim_node_is_ready(const struct sim_node *n)
{
    return n->is_ready;
}

struct sim_host *sim_node_host(struct sim_node *n)
{
    return n->host;
}

const struct sim_node_counts *sim_node_counts(const struct sim_node *n)
{
    return &n->counts;
}

void sim_node_on_journal(struct sim_node *n, void (*fn)(void *arg, const struct journal_line *l), void *arg)
{
    n->on_journal = fn;
    n->on_journal_arg = arg;
}

static void power_on(void *arg)
{
    struct sim_node *n = arg;
    if (!sim_host_is_up(n->host))
        sim_host_power_on(n->host);
    start_if_wanted(n);
}

void sim_node_power_cycle(struct sim_node *n, uint64_t off_us)
{
    sim_host_power_cut(n->host);
    sim_call_at(n->sim, sim_now_us(n->sim) + off_us, power_on, n);
}

struct choice {
    struct str what;
    struct rng *rng;
    size_t n_seen;
    struct sim_proc *proc;
};

static void choose(void *arg, struct sim_proc *p)
{
    struct choice *c = arg;
    if (str_eq(str_from_c(sim_proc_what(p)), c->what) && rng_below(c->rng, ++c->n_seen) == 0)
        c->proc = p;
}

bool sim_node_kill(struct sim_node *n, const char *what)
{
    struct choice c = {.what = str_from_c(what), .rng = sim_rng(n->sim)};
    sim_host_each_proc(n->host, choose, &c);
    if (c.proc != NULL)
        sim_proc_kill(c.proc, "signal 9");
    return c.proc != NULL;
}

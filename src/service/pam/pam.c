/* service/pam/pam.c: the pam role: one password at a time before PAM's modules, for the auth role.
 *
 * The modules run on a thread beside the loop and may take their time. One that takes more than PAM_LIMIT_MS
 * hangs: the process ends, and the supervisor starts another.
 *
 * Owns:     one question with its password, wiped when it is answered.
 * Errors:   what the modules can't say is a temporary failure, with the reason in the log.
 * Security: root, since only root may look at the password of another. It reads messages of auth alone, and
 *           the service is one of its own configuration: nobody chooses another file of /etc/pam.d.
 */
#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/pam_check.h"
#include "service/boot/role.h"

#include <string.h>

enum { PAM_LIMIT_MS = 60 * 1000, CLIENT_SIZE = NETADDR_TEXT_MAX + 1 };

struct pam {
    struct role_env *env;
    struct world *world;
    const struct pam_checker *checker;
    struct workers *workers;
    struct channel *asker;  /* NULL: gone */
    bool is_busy, is_stale; /* stale: its asker is gone, another one waits */
    bool is_draining, is_drained;
    uint64_t token;
    struct timer limit, drain_timer;
    struct compute work;
    /* the work's alone while is_busy */
    char service[PAM_SERVICE_MAX + 1], user[SASL_NAME_MAX + 1], client[CLIENT_SIZE];
    char password[SASL_PASSWORD_MAX + 1];
    enum pam_verdict verdict;
    struct buf why;
    char why_mem[PAM_WHY_MAX];
};

static void answer(struct pam *p, uint64_t token, enum auth_verdict verdict)
{
    struct ipc_auth_answer m = {.token = token, .verdict = (uint8_t)verdict};
    if (p->asker != NULL && ipc_send_auth_answer(p->asker, &m, NULL) != ERR_OK)
        log_error(world_log(p->world), "pam.answer_lost", LU("token", token)); /* it has its own deadline */
}

static void look_drained(struct pam *p)
{
    if (!p->is_draining || p->is_drained || p->is_busy)
        return;
    p->is_drained = true;
    role_drained(p->env);
}

static void run(struct compute *w) /* beside the loop */
{
    struct pam *p = container_of(w, struct pam, work);
    struct pam_question q = {
        .service = p->service, .user = p->user, .password = p->password, .client = p->client};
    p->verdict = p->checker->check(&q, &p->why);
}

static void done(struct compute *w)
{
    struct pam *p = container_of(w, struct pam, work);
    static const enum auth_verdict verdicts[] = {
        [PAM_CHECK_YES] = AUTH_OK, [PAM_CHECK_NO] = AUTH_BAD, [PAM_CHECK_LATER] = AUTH_TEMPORARY};
    secret_wipe(p->password, sizeof p->password);
    world_timer_cancel(p->world, &p->limit);
    p->is_busy = false;
    if (p->verdict == PAM_CHECK_LATER)
        log_error(world_log(p->world), "pam.failed", LC("service", p->service), LC("user", p->user),
                  LS("why", buf_str(&p->why)));
    if (p->is_stale && p->asker != NULL)
        channel_pause(p->asker, false);
    else if (!p->is_stale)
        answer(p, p->token, verdicts[p->verdict]);
    p->is_stale = false;
    look_drained(p);
}

static bool has_service(const struct pam *p, struct str name)
{
    const struct config *c = p->env->config;
    for (size_t i = 0; i < c->n_auths; i++) {
        if (c->auths[i].kind == AUTH_BY_PAM && str_eq(c->auths[i].service, name))
            return true;
    }
    return false;
}

/* false: no such question exists, the asker is broken. */
static bool on_ask(struct pam *p, const struct ipc_auth_ask *m)
{
    if (p->is_busy || m->kind != AUTH_PASSWORD)
        return false;
    if (!has_service(p, m->file)) { /* it was one of another configuration */
        answer(p, m->token, AUTH_TEMPORARY);
        return true;
    }
    if (!str_to_c(m->file, p->service, sizeof p->service) || !str_to_c(m->user, p->user, sizeof p->user) ||
        !str_to_c(m->client, p->client, sizeof p->client) ||
        !str_to_c(m->secret, p->password, sizeof p->password))
        return false; /* too long, or a NUL is in it */
    p->token = m->token;
    p->is_busy = true;
    p->work = (struct compute){.run = run, .done = done};
    buf_init_fixed(&p->why, p->why_mem, sizeof p->why_mem);
    world_timer_set(p->world, &p->limit, world_now_ms(p->world) + PAM_LIMIT_MS);
    workers_submit(p->workers, &p->work);
    return true;
}

static void on_limit(struct timer *t)
{
    struct pam *p = container_of(t, struct pam, limit);
    log_error(world_log(p->world), "pam.hangs", LC("service", p->service), LC("user", p->user));
    role_fail(p->env, STR("a module of PAM takes too long"));
}

/* ---- channels ---------------- */

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct pam *p = arg;
    struct ipc_auth_ask m;
    UNUSED(given);
    bool is_allowed = role_message_allowed(p->env, ROLE_AUTH, c, type);
    if (is_allowed && type == IPC_AUTH_ASK && ipc_decode_auth_ask(payload, &m) && on_ask(p, &m))
        return;
    if (is_allowed)
        role_message_malformed(p->env, ROLE_AUTH, c, type);
    p->asker = NULL;
    p->is_stale = p->is_busy;
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_closed(void *arg, struct channel *c)
{
    struct pam *p = arg;
    p->asker = NULL;
    p->is_stale = p->is_busy;
    role_peer_closed(p->env, c);
}

static const struct channel_user asker_user = {on_message, on_room, on_closed};

static void pam_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct pam *p = self;
    UNUSED(index);
    if (who != ROLE_AUTH)
        return;
    p->asker = c;
    channel_set_user(c, &asker_user, p);
    p->is_stale = p->is_busy;
    if (p->is_busy) /* it knows of no question, and would ask one */
        channel_pause(c, true);
}

/* ---- the role ---------------- */

static void on_drain_deadline(struct timer *t)
{
    struct pam *p = container_of(t, struct pam, drain_timer);
    if (!p->is_drained)
        role_drained(p->env);
    p->is_drained = true;
}

static void *pam_create(struct role_env *env)
{
    struct pam *p = mem_must_new(struct pam);
    p->env = env;
    p->world = env->world;
    p->checker = env->ext;
    p->limit.fire = on_limit;
    p->drain_timer.fire = on_drain_deadline;
    enum err e = world_workers(p->world, 1, &p->workers);
    if (e != ERR_OK) {
        mem_free(p);
        role_fail(env, str_from_c(err_str(e)));
        return NULL;
    }
    if (env->peers[ROLE_AUTH][0] != NULL)
        pam_peer(p, ROLE_AUTH, 0, env->peers[ROLE_AUTH][0]);
    role_ready(env);
    return p;
}

static void pam_reload(void *self, const struct config *old)
{
    struct pam *p = self;
    role_config_release(p->env, old);
}

static void pam_drain(void *self, uint64_t deadline_ms)
{
    struct pam *p = self;
    p->is_draining = true;
    world_timer_set(p->world, &p->drain_timer, deadline_ms);
    look_drained(p);
}

static void pam_del(void *self)
{
    struct pam *p = self;
    workers_close(p->workers);
    world_timer_cancel(p->world, &p->limit);
    world_timer_cancel(p->world, &p->drain_timer);
    secret_wipe(p, sizeof *p);
    mem_free(p);
}

const struct role_ops pam_role = {
    .create = pam_create, .peer = pam_peer, .reload = pam_reload, .drain = pam_drain, .del = pam_del};

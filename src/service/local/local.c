/* service/local/local.c: the local role: a small parent that starts a child per user and hands it the
 * deliveries.
 *
 * It reads nothing of a message. As root it may become any user but root; a child is started for (uid, gid,
 * folder), takes deliveries one after the other and beside each other, and is let go after CHILD_IDLE_MS
 * without work. A child that dies takes its deliveries with it as temporary failures: the queue tries again.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/boot/role.h"

enum {
    CHILDREN_MAX = 64,
    CHILD_IDLE_MS = 10000,
    CHILD_JOBS_MAX = 128,
    ROOT_MAX = 512,
    CHILD_BACKLOG = IPC_QUEUE_MAX / 2
};

struct local {
    struct role_env *env;
    struct world *world;
    struct channel *queue;
    struct list children;
    size_t n_children;
    uint64_t queue_life; /* one more with each queue that was lost */
    uint64_t next_token;
    bool is_draining;
};
struct outstanding {
    struct list link;
    uint64_t token;      /* between us and the child: ours, as a new queue counts from 1 again */
    uint64_t asked_as;   /* the queue's */
    uint64_t queue_life; /* which queue asked */
};
struct user_child {
    struct list link;
    struct local *local;
    uint32_t uid, gid;
    char root[ROOT_MAX];
    struct channel *channel;
    struct child *child;
    struct list jobs;
    size_t n_jobs;
    struct timer idle;
    bool is_leaving;
};

/* ---- answers ---------------- */

static void answer(struct local *l, uint64_t token, struct str results)
{
    struct ipc_job_done m = {.token = token, .results = results};
    /* The queue bounds what is out with us, so its channel has room; when it is gone nobody waits for the
     * answer. */
    if (l->queue != NULL && ipc_send_job_done(l->queue, &m, NULL) != ERR_OK)
        log_error(l->world->log, "local.unheard", LU("token", token));
}

static void answer_failure(struct local *l, uint64_t token, struct str text)
{
    char mem[RESULT_TEXT_MAX + 64];
    struct buf b;
    struct job_result r = {.kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0), .text = text};
    buf_init_fixed(&b, mem, sizeof mem);
    (void)list_put_result(&b, &r);
    answer(l, token, buf_str(&b));
}

static void maybe_drained(struct local *l)
{
    if (!l->is_draining)
        return;
    list_each (c, &l->children) {
        if (list_entry(c, struct user_child, link)->n_jobs > 0)
            return;
    }
    role_drained(l->env);
}

/* ---- children ---------------- */

static void fail_jobs(struct user_child *c, struct str why)
{
    struct list *l;
    while ((l = list_pop_front(&c->jobs)) != NULL) {
        struct outstanding *o = list_entry(l, struct outstanding, link);
        if (o->queue_life == c->local->queue_life)
            answer_failure(c->local, o->asked_as, why);
        mem_free(o);
    }
    c->n_jobs = 0;
}

static void child_forget_channel(struct user_child *c)
{
    if (c->channel != NULL)
        channel_close(c->channel);
    c->channel = NULL;
    c->is_leaving = true;
}

static void on_exit_child(void *arg, bool clean, struct str how)
{
    struct user_child *c = arg;
    struct local *l = c->local;
    if (!clean)
        log_error(l->world->log, "deliver.died", LU("uid", c->uid), LS("how", how));
    child_forget_channel(c);
    fail_jobs(c, STR("the delivering process ended before the message was stored; see the log"));
    world_timer_cancel(l->world, &c->idle);
    list_remove(&c->link);
    l->n_children--;
    mem_free(c);
    maybe_drained(l);
}

static void on_job_done(struct user_child *c, const struct ipc_job_done *m)
{
    list_each (l, &c->jobs) {
        struct outstanding *o = list_entry(l, struct outstanding, link);
        if (o->token != m->token)
            continue;
        if (o->queue_life == c->local->queue_life) /* else: a queue that is gone asked, nobody waits */
            answer(c->local, o->asked_as, m->results);
        list_remove(&o->link);
        mem_free(o);
        c->n_jobs--;
        break;
    }
    if (c->n_jobs == 0)
        world_timer_set(c->local->world, &c->idle, world_now_ms(c->local->world) + CHILD_IDLE_MS);
    maybe_drained(c->local);
}

static void on_child_message(void *arg, struct channel *ch, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct user_child *c = arg;
    struct ipc_job_done m;
    UNUSED(ch);
    UNUSED(given);
    if (!ipc_may_send(ROLE_DELIVER, ROLE_LOCAL, type) ||
        (type == IPC_JOB_DONE && !ipc_decode_job_done(payload, &m))) {
        log_error(c->local->world->log, "ipc.forbidden", LC("from", "deliver"),
                  LC("type", ipc_type_name(type)));
        child_kill(c->child, true);
        return;
    }
    if (type == IPC_JOB_DONE)
        on_job_done(c, &m);
}

static void on_child_room(void *arg, struct channel *ch)
{
    UNUSED(arg);
    UNUSED(ch);
}

static void on_child_closed(void *arg, struct channel *ch)
{
    UNUSED(ch);
    child_forget_channel(arg); /* its exit follows */
}

static const struct channel_user child_user = {on_child_message, on_child_room, on_child_closed};

static void on_idle(struct timer *t)
{
    struct user_child *c = container_of(t, struct user_child, idle);
    struct ipc_sup_drain m = {.deadline_ms = 1000};
    if (c->n_jobs > 0 || c->channel == NULL)
        return;
    c->is_leaving = true; /* no new work: the next delivery gets a new child */
    if (ipc_send_sup_drain(c->channel, &m, NULL) != ERR_OK)
        child_kill(c->child, true);
}

static struct user_child *child_find(struct local *l, uint32_t uid, uint32_t gid, struct str root)
{
    list_each (k, &l->children) {
        struct user_child *c = list_entry(k, struct user_child, link);
        if (c->uid == uid && c->gid == gid && !c->is_leaving && c->n_jobs < CHILD_JOBS_MAX &&
            str_eq(str_from_c(c->root), root))
            return c;
    }
    return NULL;
}

static struct user_child *child_new(struct local *l, uint32_t uid, uint32_t gid, struct str root)
{
    if (l->n_children >= CHILDREN_MAX)
        return NULL;
    struct user_child *c = mem_new(struct user_child);
    if (c == NULL)
        return NULL;
    c->local = l;
    c->uid = uid;
    c->gid = gid;
    c->idle.fire = on_idle;
    list_init(&c->jobs);
    if (!str_to_c(root, c->root, sizeof c->root)) {
        mem_free(c);
        return NULL;
    }
    struct spawn s = {.role = role_name(ROLE_DELIVER), .uid = uid, .gid = gid, .root = c->root};
    enum err e = world_spawn(l->world, &s, on_exit_child, c, &c->channel, &c->child);
    if (e != ERR_OK) {
        log_error(l->world->log, "deliver.unstartable", LU("uid", uid), LERR(e));
        mem_free(c);
        return NULL;
    }
    channel_set_user(c->channel, &child_user, c);
    list_push_back(&l->children, &c->link);
    l->n_children++;
    return c;
}

/* ---- the queue ---------------- */

/* The folder below which a delivery's Maildirs lie: the fixed part of the template that the path fits, so
 * that one child serves all Maildirs of a template. Nothing: the queue asks for a path that no domain has. */
static struct str root_of(const struct config *conf, const struct ipc_local_job *m)
{
    struct str best = STR_NIL;
    for (size_t i = 0; i < conf->policy.n_domains; i++) {
        const struct deliver *d = &conf->policy.domains[i].deliver;
        if (d->kind != DELIVER_MAILDIR || d->uid != m->uid || d->gid != m->gid)
            continue;
        size_t percent = str_chr(d->maildir, '%');
        struct str fixed = str_slice(d->maildir, 0, percent);
        size_t slash = str_rchr(percent == STR_NPOS ? d->maildir : fixed, '/');
        if (slash == STR_NPOS)
            continue;
        fixed = str_slice(d->maildir, 0, slash == 0 ? 1 : slash);
        bool fits = str_starts(m->maildir, fixed) && m->maildir.n > fixed.n &&
                    (fixed.n == 1 || m->maildir.p[fixed.n] == '/');
        if (fits && fixed.n > best.n)
            best = fixed;
    }
    return best;
}

static void on_local_job(struct local *l, const struct ipc_local_job *m, struct handle *given)
{
    if (m->uid == 0 || m->gid == 0) { /* whatever the configuration says: root gets no mail */
        answer_failure(l, m->token, STR("mail is not delivered as root"));
        return;
    }
    struct str root = root_of(l->env->config, m);
    if (root.n == 0) {
        answer_failure(l, m->token, STR("the configuration has no such mailbox any more"));
        return;
    }
    struct user_child *c = child_find(l, m->uid, m->gid, root);
    if (c == NULL)
        c = child_new(l, m->uid, m->gid, root);
    struct outstanding *o =
        c == NULL || channel_backlog(c->channel) > CHILD_BACKLOG ? NULL : mem_new(struct outstanding);
    if (o == NULL) {
        answer_failure(l, m->token, STR("no delivering process could be started or all are busy"));
        return;
    }
    o->token = l->next_token++;
    o->asked_as = m->token;
    o->queue_life = l->queue_life;
    struct ipc_local_job to_child = *m;
    to_child.token = o->token;
    struct conn *pipe = m->is_piped ? handle_take_conn(l->world, given) : NULL;
    struct handle *h = pipe == NULL ? NULL : handle_of_conn(pipe);
    if ((m->is_piped && h == NULL) || ipc_send_local_job(c->channel, &to_child, h) != ERR_OK) {
        if (pipe != NULL && h == NULL)
            conn_close(pipe);
        handle_drop(h);
        mem_free(o);
        answer_failure(l, m->token, STR("the delivering process takes no work"));
        return;
    }
    list_push_back(&c->jobs, &o->link);
    c->n_jobs++;
    world_timer_cancel(l->world, &c->idle);
}

static void on_queue_lost(struct local *l)
{
    l->queue = NULL;
    l->queue_life++;
}

static void on_message(void *arg, struct channel *ch, uint16_t type, struct str payload, struct handle *given)
{
    struct local *l = arg;
    struct ipc_local_job m;
    if (!role_message_allowed(l->env, ROLE_QUEUE, ch, type)) {
        on_queue_lost(l);
    } else if (!ipc_decode_local_job(payload, &m)) {
        role_message_malformed(l->env, ROLE_QUEUE, ch, type);
        on_queue_lost(l);
    } else {
        on_local_job(l, &m, given);
    }
}

static void on_room(void *arg, struct channel *ch)
{
    UNUSED(arg);
    UNUSED(ch);
}

/* What is under way goes on: a message stored twice is better than half a message, and tmp/ is cleaned by
 * nobody else. */
static void on_closed(void *arg, struct channel *ch)
{
    struct local *l = arg;
    if (l->queue == ch)
        on_queue_lost(l);
    role_peer_closed(l->env, ch);
}

static const struct channel_user queue_user = {on_message, on_room, on_closed};

static void no_message(void *arg, struct channel *ch, uint16_t type, struct str payload, struct handle *given)
{
    struct local *l = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(l->env, ROLE_ADMIN, ch, type))
        role_message_malformed(l->env, ROLE_ADMIN, ch, type);
}

static const struct channel_user admin_user = {no_message, on_room, on_closed};

/* ---- role ---------------- */

static void on_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct local *l = self;
    UNUSED(index);
    if (who == ROLE_QUEUE)
        l->queue = c;
    channel_set_user(c, who == ROLE_QUEUE ? &queue_user : &admin_user, l);
}

static void *create(struct role_env *env)
{
    struct local *l = mem_must_new(struct local);
    *l = (struct local){.env = env, .world = env->world, .next_token = 1};
    list_init(&l->children);
    if (env->peers[ROLE_QUEUE][0] != NULL)
        on_peer(l, ROLE_QUEUE, 0, env->peers[ROLE_QUEUE][0]);
    if (env->peers[ROLE_ADMIN][0] != NULL)
        on_peer(l, ROLE_ADMIN, 0, env->peers[ROLE_ADMIN][0]);
    role_ready(env);
    return l;
}

static void reload(void *self, const struct config *old)
{
    struct local *l = self;
    role_config_release(l->env, old);
}

static void drain(void *self, uint64_t deadline_ms)
{
    struct local *l = self;
    UNUSED(
        deadline_ms); /* the supervisor ends us at the deadline; the queue is gone and asks for nothing new */
    l->is_draining = true;
    maybe_drained(l);
}

static void del(void *self)
{
    struct local *l = self;
    list_each (k, &l->children) {
        struct user_child *c = list_entry(k, struct user_child, link);
        world_timer_cancel(l->world, &c->idle);
        if (c->channel != NULL)
            channel_close(c->channel);
        list_each (j, &c->jobs)
            mem_free(list_entry(j, struct outstanding, link));
        mem_free(c);
    }
    mem_free(l);
}

const struct role_ops local_role = {create, on_peer, reload, drain, del};

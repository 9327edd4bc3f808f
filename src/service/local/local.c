/* service/local/local.c: the local role: a small parent that starts a child per user and hands it the
 * deliveries.
 *
 * It reads nothing of a message. As root it may become any user but root; a child is started for (uid, gid,
 * folder), takes deliveries one after the other and beside each other, and is let go after CHILD_IDLE_MS
 * without work, or at once when another user waits for its place. A child that dies takes its deliveries with
 * it as temporary failures: the queue tries again. Children are of two kinds: ROLE_DELIVER writes Maildirs,
 * ROLE_PIPE runs programs; neither kind takes the other's places.
 *
 * A delivery that finds no place (children_max are at work, PROGRAMS_MAX programs run, or its child's channel
 * is full) waits here: the queue bounds what is out with us, and a refusal would cost the message a whole
 * retry interval.
 *
 * Where the queue names the user's home his .forward comes first: a child that is rooted there is asked
 * (FORWARD_ASK) while the delivery is kept here with its body. What it found goes to the queue as it is;
 * without a .forward the delivery goes the way of all others. A home counts only when it is that of the very
 * user in our own configuration: a lying queue has nothing else read.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/local/deliver.h"
#include "service/local/pipe_plan.h"

#include <string.h>

enum {
    DELIVERERS_MAX = 64,
    PIPERS_MAX = 32,
    PROGRAMS_MAX = 64,
    CHILD_IDLE_MS = 10000,
    CHILD_JOBS_MAX = 128,
    FAILURE_MAX = 200,
    WAITING_MAX = 256, /* more than the queue has out with us at a time */
};

struct local {
    struct role_env *env;
    struct world *world;
    struct channel *queue;
    struct list children;
    size_t n_children[ROLE_N]; /* of each kind */
    size_t n_programs;
    struct list waiting; /* struct delivery, in the order they came */
    size_t n_waiting;
    size_t n_kept;       /* deliveries whose .forward is being read */
    uint64_t queue_life; /* one more with each queue that was lost */
    uint64_t next_token;
    bool is_draining;
};
struct outstanding {
    struct list link;
    uint64_t token;        /* between us and the child: ours, as a new queue counts from 1 again */
    uint64_t asked_as;     /* the queue's */
    uint64_t queue_life;   /* which queue asked */
    struct delivery *kept; /* the child reads .forward for it; NULL: the child has all of it */
};
struct delivery {             /* what the queue asked for and no child has yet */
    struct list link;         /* in waiting, unless an outstanding keeps it */
    bool wants_forward;       /* job.home is to be asked first */
    struct ipc_local_job job; /* its texts lie in mem */
    struct str root;          /* in mem, too */
    struct conn *pipe;        /* or NULL: the body is in the job */
    char mem[];
};
struct user_child {
    struct list link;
    struct local *local;
    enum role kind;
    uint32_t uid, gid;
    char root[MAILDIR_TEMPLATE_MAX + 1];
    char why[FAILURE_MAX]; /* what it said before it ended, for people */
    struct channel *channel;
    struct child *child;
    struct list jobs;
    size_t n_jobs;
    struct timer idle;
    bool is_leaving;
    bool is_homeless; /* its folder was missing when it started: it is not asked again */
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

static void answer_result(struct local *l, uint64_t token, const struct job_result *r)
{
    char mem[RESULT_TEXT_MAX + 64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    (void)list_put_result(&b, r);
    answer(l, token, buf_str(&b));
}

static void answer_failure(struct local *l, uint64_t token, struct str text)
{
    const struct job_result r = {.kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0), .text = text};
    answer_result(l, token, &r);
}

static void maybe_drained(struct local *l)
{
    if (!l->is_draining || l->n_waiting > 0)
        return;
    list_each (c, &l->children) {
        if (list_entry(c, struct user_child, link)->n_jobs > 0)
            return;
    }
    role_drained(l->env);
}

/* ---- children ---------------- */

static size_t children_max(enum role kind)
{
    return kind == ROLE_PIPE ? PIPERS_MAX : DELIVERERS_MAX;
}

/* What a job without a Maildir wants is a program. */
static enum role kind_of(const struct ipc_local_job *m)
{
    return m->maildir.n == 0 ? ROLE_PIPE : ROLE_DELIVER;
}

static void count_job(struct user_child *c, int by)
{
    c->n_jobs += (size_t)by;
    if (c->kind == ROLE_PIPE)
        c->local->n_programs += (size_t)by;
}

static void serve_waiting(struct local *l);

static void delivery_free(struct delivery *d)
{
    if (d->pipe != NULL)
        conn_close(d->pipe);
    mem_free(d);
}

/* A child has done with it. Returns the delivery that was kept for it, now the caller's, or NULL. */
static struct delivery *outstanding_end(struct user_child *c, struct outstanding *o)
{
    struct delivery *kept = o->kept;
    c->local->n_kept -= kept != NULL;
    list_remove(&o->link);
    mem_free(o);
    count_job(c, -1);
    return kept;
}

static void fail_jobs(struct user_child *c, struct str why)
{
    while (!list_is_empty(&c->jobs)) {
        struct outstanding *o = list_entry(c->jobs.next, struct outstanding, link);
        if (o->queue_life == c->local->queue_life)
            answer_failure(c->local, o->asked_as, why);
        struct delivery *kept = outstanding_end(c, o);
        if (kept != NULL)
            delivery_free(kept);
    }
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
    struct str why = str_from_c(c->why);
    if (!clean && why.n == 0)
        log_error(l->world->log, c->kind == ROLE_PIPE ? "pipe.died" : "deliver.died", LU("uid", c->uid),
                  LC("folder", c->root), LS("how", how));
    child_forget_channel(c);
    if (why.n == 0 && c->kind == ROLE_PIPE)
        why = STR("the process that runs the program ended before it did; see the log");
    else if (why.n == 0)
        why = STR("the delivering process ended before the message was stored; see the log");
    fail_jobs(c, why);
    world_timer_cancel(l->world, &c->idle);
    list_remove(&c->link);
    l->n_children[c->kind]--;
    mem_free(c);
    serve_waiting(l);
    maybe_drained(l);
}

/* It can't do its work: what it says is the reason of all that was given to it. */
static void on_failed(struct user_child *c, struct str reason)
{
    struct buf b;
    buf_init_fixed(&b, c->why, sizeof c->why - 1);
    buf_put(&b, str_slice(reason, 0, sizeof c->why - 1));
    c->why[b.n] = '\0';
    c->is_leaving = true;
    log_error(c->local->world->log, c->kind == ROLE_PIPE ? "pipe.failed" : "deliver.failed",
              LU("uid", c->uid), LC("folder", c->root), LS("why", reason));
    child_kill(c->child, true); /* its exit answers what was given to it */
}

static void let_go(struct user_child *c);

static struct outstanding *outstanding_find(struct user_child *c, uint64_t token, bool is_kept)
{
    list_each (l, &c->jobs) {
        struct outstanding *o = list_entry(l, struct outstanding, link);
        if (o->token == token && (o->kept != NULL) == is_kept)
            return o;
    }
    return NULL;
}

static void after_answer(struct user_child *c)
{
    if (c->n_jobs == 0 && c->is_homeless && !c->is_leaving)
        let_go(c);
    else if (c->n_jobs == 0)
        world_timer_set(c->local->world, &c->idle, world_now_ms(c->local->world) + CHILD_IDLE_MS);
    serve_waiting(c->local);
    maybe_drained(c->local);
}

static void on_job_done(struct user_child *c, const struct ipc_job_done *m)
{
    struct outstanding *o = outstanding_find(c, m->token, false);
    if (o != NULL &&
        o->queue_life == c->local->queue_life) /* else nobody waits: the queue that asked is gone */
        answer(c->local, o->asked_as, m->results);
    if (o != NULL)
        (void)outstanding_end(c, o);
    after_answer(c);
}

static void on_forward_answer(struct user_child *c, const struct ipc_forward_answer *m)
{
    struct local *l = c->local;
    struct outstanding *o = outstanding_find(c, m->token, true);
    if (m->says == HOME_IS_MISSING)
        c->is_homeless = true;
    if (o != NULL) {
        bool is_awaited = o->queue_life == l->queue_life;
        struct delivery *d = outstanding_end(c, o);
        if (is_awaited && m->says != HOME_SAYS_RESULT) {
            d->wants_forward = false;
            d->job.home = STR_NIL;
            list_push_front(&l->waiting, &d->link); /* after_answer() looks for a place */
            l->n_waiting++;
        } else {
            if (is_awaited)
                answer(l, d->job.token, m->results);
            delivery_free(d);
        }
    }
    after_answer(c);
}

static void on_child_message(void *arg, struct channel *ch, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct user_child *c = arg;
    struct ipc_job_done m;
    struct ipc_forward_answer forward;
    struct ipc_sup_failed failed;
    UNUSED(ch);
    UNUSED(given);
    if (!ipc_may_send(c->kind, ROLE_LOCAL, type) ||
        (type == IPC_JOB_DONE && !ipc_decode_job_done(payload, &m)) ||
        (type == IPC_FORWARD_ANSWER &&
         (!ipc_decode_forward_answer(payload, &forward) || forward.says >= HOME_SAYS_N)) ||
        (type == IPC_SUP_FAILED && !ipc_decode_sup_failed(payload, &failed))) {
        log_error(c->local->world->log, "ipc.forbidden", LC("from", role_name(c->kind)),
                  LC("type", ipc_type_name(type)));
        child_kill(c->child, true);
        return;
    }
    if (type == IPC_JOB_DONE)
        on_job_done(c, &m);
    else if (type == IPC_FORWARD_ANSWER)
        on_forward_answer(c, &forward);
    else if (type == IPC_SUP_FAILED)
        on_failed(c, failed.reason);
}

static void on_child_room(void *arg, struct channel *ch)
{
    struct user_child *c = arg;
    UNUSED(ch);
    serve_waiting(c->local);
}

static void on_child_closed(void *arg, struct channel *ch)
{
    UNUSED(ch);
    child_forget_channel(arg); /* its exit follows */
}

static const struct channel_user child_user = {on_child_message, on_child_room, on_child_closed};

static void let_go(struct user_child *c)
{
    struct ipc_sup_drain m = {.deadline_ms = 1000};
    c->is_leaving = true; /* no new work: the next delivery gets a new child */
    world_timer_cancel(c->local->world, &c->idle);
    if (ipc_send_sup_drain(c->channel, &m, NULL) != ERR_OK)
        child_kill(c->child, true);
}

static void on_idle(struct timer *t)
{
    struct user_child *c = container_of(t, struct user_child, idle);
    if (c->n_jobs == 0 && c->channel != NULL)
        let_go(c);
}

/* n deliveries wait for a child of their own: as many of those of their kind that have no work make room. */
static void make_room(struct local *l, enum role kind, size_t n)
{
    list_each (k, &l->children) {
        struct user_child *c = list_entry(k, struct user_child, link);
        n -= n > 0 && c->kind == kind && c->is_leaving;
    }
    list_each (k, &l->children) {
        struct user_child *c = list_entry(k, struct user_child, link);
        if (n == 0)
            return;
        if (c->kind != kind || c->n_jobs > 0 || c->is_leaving || c->channel == NULL)
            continue;
        let_go(c);
        n--;
    }
}

/* What a child is to do. */
struct task {
    enum role kind;
    const struct ipc_local_job *job;
    struct str root;
    const struct pipe_plan *plan;  /* of a program */
    struct conn **pipe;            /* the body, or NULL in it; the child's when it was placed */
    struct delivery *asks_forward; /* its .forward alone is wanted, the body stays; or NULL */
};

static struct user_child *child_find(struct local *l, const struct task *t)
{
    list_each (k, &l->children) {
        struct user_child *c = list_entry(k, struct user_child, link);
        if (c->kind == t->kind && c->uid == t->job->uid && c->gid == t->job->gid && !c->is_leaving &&
            !c->is_homeless && c->n_jobs < CHILD_JOBS_MAX && str_eq(str_from_c(c->root), t->root))
            return c;
    }
    return NULL;
}

static struct user_child *child_new(struct local *l, const struct task *t)
{
    const struct ipc_local_job *m = t->job;
    enum role kind = t->kind;
    must(l->n_children[kind] < children_max(kind));
    struct user_child *c = mem_new(struct user_child);
    if (c == NULL)
        return NULL;
    c->local = l;
    c->kind = kind;
    c->uid = m->uid;
    c->gid = m->gid;
    c->idle.fire = on_idle;
    list_init(&c->jobs);
    if (!str_to_c(t->root, c->root, sizeof c->root)) {
        mem_free(c);
        return NULL;
    }
    struct spawn s = {
        .role = role_name(kind), .uid = m->uid, .gid = m->gid, .root = kind == ROLE_PIPE ? NULL : c->root};
    enum err e = world_spawn(l->world, &s, on_exit_child, c, &c->channel, &c->child);
    if (e != ERR_OK) {
        log_error(l->world->log, kind == ROLE_PIPE ? "pipe.unstartable" : "deliver.unstartable",
                  LU("uid", m->uid), LERR(e));
        mem_free(c);
        return NULL;
    }
    channel_set_user(c->channel, &child_user, c);
    list_push_back(&l->children, &c->link);
    l->n_children[kind]++;
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
        const struct system_user *su = policy_system_user(&conf->policy.domains[i], m->user_name);
        if (d->kind != DELIVER_MAILDIR || (su != NULL ? su->uid : d->uid) != m->uid ||
            (su != NULL ? su->gid : d->gid) != m->gid)
            continue;
        bool is_home = su != NULL && str_starts(d->maildir, STR("%h"));
        struct str fixed = is_home ? su->home : maildir_root(d->maildir);
        bool fits = fixed.n > 0 && str_starts(m->maildir, fixed) && m->maildir.n > fixed.n &&
                    (fixed.n == 1 || m->maildir.p[fixed.n] == '/');
        if (fits && fixed.n > best.n)
            best = fixed;
    }
    return best;
}

/* Nothing: the queue asks for the home of somebody whose .forward no domain has read. */
static struct str home_of(const struct config *conf, const struct ipc_local_job *m)
{
    for (size_t i = 0; i < conf->policy.n_domains; i++) {
        const struct local_domain *d = &conf->policy.domains[i];
        const struct system_user *su = policy_system_user(d, m->user_name);
        if (d->deliver.kind == DELIVER_MAILDIR && d->deliver.forward && su != NULL && su->uid == m->uid &&
            su->gid == m->gid && str_eq(su->home, m->home))
            return su->home;
    }
    return STR_NIL;
}

enum placing { PLACED, PLACE_NONE, PLACE_FULL, PLACE_FAILED };

static enum err send_task(struct user_child *c, const struct task *t, struct handle *h)
{
    const struct ipc_local_job *m = t->job;
    uint64_t token = c->local->next_token;
    if (t->asks_forward != NULL) {
        struct reader r = reader_of(m->rcpts);
        struct rcpt rcpt;
        struct ipc_forward_ask ask = {.token = token, .uid = m->uid, .user_name = m->user_name};
        if (!rcpt_next(&r, &rcpt))
            return ERR_INVALID;
        ask.rcpt = rcpt.address;
        return ipc_send_forward_ask(c->channel, &ask, NULL);
    }
    if (t->plan != NULL) {
        struct ipc_pipe_job to_child = t->plan->job;
        to_child.token = token;
        return ipc_send_pipe_job(c->channel, &to_child, h);
    }
    struct ipc_local_job to_child = *m;
    to_child.token = token;
    return ipc_send_local_job(c->channel, &to_child, h);
}

/* The child takes it, or tells why not. */
static enum placing hand_over(struct user_child *c, const struct task *t)
{
    struct local *l = c->local;
    struct outstanding *o = mem_new(struct outstanding);
    if (o == NULL)
        return PLACE_FAILED;
    *o = (struct outstanding){.token = l->next_token,
                              .asked_as = t->job->token,
                              .queue_life = l->queue_life,
                              .kept = t->asks_forward};
    bool gives_pipe = t->asks_forward == NULL && *t->pipe != NULL;
    struct handle *h = gives_pipe ? handle_of_conn(*t->pipe) : NULL;
    enum err e = gives_pipe && h == NULL ? ERR_NOMEM : send_task(c, t, h);
    if (e != ERR_OK) {
        if (h != NULL)
            *t->pipe = handle_take_conn(l->world, h);
        mem_free(o);
        bool has_body = t->asks_forward != NULL || !t->job->is_piped || *t->pipe != NULL;
        return e == ERR_AGAIN && has_body ? PLACE_FULL : PLACE_FAILED;
    }
    if (gives_pipe)
        *t->pipe = NULL;
    l->next_token++;
    l->n_kept += o->kept != NULL;
    list_push_back(&c->jobs, &o->link);
    count_job(c, 1);
    world_timer_cancel(l->world, &c->idle);
    return PLACED;
}

static enum placing place_task(struct local *l, const struct task *t)
{
    struct user_child *c = child_find(l, t);
    if (c == NULL && l->n_children[t->kind] >= children_max(t->kind))
        return PLACE_NONE;
    if (c == NULL)
        c = child_new(l, t);
    return c == NULL ? PLACE_FAILED : hand_over(c, t);
}

/* FAILED: it was answered. */
static enum placing place(struct local *l, const struct ipc_local_job *m, struct str root, struct conn **pipe)
{
    struct job_result why = {
        .kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0), .text = STR("no delivering process could be started")};
    enum placing p = PLACE_FAILED;
    struct task t = {.kind = kind_of(m), .job = m, .root = root, .pipe = pipe};
    if (t.kind == ROLE_DELIVER) {
        p = place_task(l, &t);
    } else if (l->n_programs >= PROGRAMS_MAX) {
        return PLACE_FULL;
    } else {
        struct pipe_plan plan;
        t.plan = &plan;
        if (plan_pipe(l->env->config, m, &plan, &why))
            p = place_task(l, &t);
    }
    if (p == PLACE_FAILED)
        answer_result(l, m->token, &why);
    return p;
}

static void delivery_del(struct local *l, struct delivery *d)
{
    list_remove(&d->link);
    l->n_waiting--;
    delivery_free(d);
}

/* For one that waits: it does no longer, unless there is no place. */
static enum placing place_waiting(struct local *l, struct delivery *d)
{
    if (!d->wants_forward) {
        enum placing p = place(l, &d->job, d->root, &d->pipe);
        if (p == PLACED || p == PLACE_FAILED)
            delivery_del(l, d);
        return p;
    }
    const struct task t = {.kind = ROLE_DELIVER, .job = &d->job, .root = d->job.home, .asks_forward = d};
    enum placing p = place_task(l, &t);
    if (p == PLACED) {
        list_remove(&d->link);
        l->n_waiting--;
    } else if (p == PLACE_FAILED) {
        answer_failure(l, d->job.token, STR("no process could be started to read the user's .forward"));
        delivery_del(l, d);
    }
    return p;
}

/* Gives what waits to children that have room. One that finds none does not hold up those behind it. */
static void serve_waiting(struct local *l)
{
    size_t n_wanted[ROLE_N] = {0};
    list_each (k, &l->waiting) {
        struct delivery *d = list_entry(k, struct delivery, link);
        enum role kind = kind_of(&d->job);
        n_wanted[kind] += place_waiting(l, d) == PLACE_NONE;
    }
    make_room(l, ROLE_DELIVER, n_wanted[ROLE_DELIVER]);
    make_room(l, ROLE_PIPE, n_wanted[ROLE_PIPE]);
}

static struct str keep(char **at, struct str s)
{
    struct str kept = str_of(*at, s.n);
    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

/* It waits; the pipe is its own. NULL: too many do, or no memory. */
static struct delivery *wait_for_place(struct local *l, const struct ipc_local_job *m, struct str root,
                                       struct conn *pipe)
{
    size_t n = root.n + m->maildir.n + m->home.n + m->user_name.n + m->sender.n + m->rcpts.n + m->body.n;
    struct delivery *d = l->n_waiting + l->n_kept >= WAITING_MAX ? NULL : mem_alloc(sizeof *d + n);
    if (d == NULL)
        return NULL;
    char *at = d->mem;
    *d = (struct delivery){.job = *m, .pipe = pipe, .wants_forward = m->home.n > 0};
    d->root = keep(&at, root);
    d->job.maildir = keep(&at, m->maildir);
    d->job.home = keep(&at, m->home);
    d->job.user_name = keep(&at, m->user_name);
    d->job.sender = keep(&at, m->sender);
    d->job.rcpts = keep(&at, m->rcpts);
    d->job.body = keep(&at, m->body);
    list_push_back(&l->waiting, &d->link);
    l->n_waiting++;
    return d;
}

/* One that was checked. What has a .forward to be asked for waits in any case: it is here while it is asked.
 */
static void begin(struct local *l, const struct ipc_local_job *m, struct str root, struct conn *pipe)
{
    bool wants_forward = m->home.n > 0;
    enum placing p = wants_forward ? PLACE_FULL : place(l, m, root, &pipe);
    if (p == PLACED)
        return;
    struct delivery *d = p == PLACE_FAILED ? NULL : wait_for_place(l, m, root, pipe);
    if (d == NULL) {
        if (pipe != NULL)
            conn_close(pipe);
        if (p != PLACE_FAILED)
            answer_failure(l, m->token, STR("all delivering processes are busy"));
        return;
    }
    if (wants_forward)
        p = place_waiting(l, d);
    if (p == PLACE_NONE)
        make_room(l, kind_of(m), l->n_waiting);
}

static void on_local_job(struct local *l, const struct ipc_local_job *m, struct handle *given)
{
    if (m->uid == 0 || m->gid == 0) { /* whatever the configuration says: root gets no mail */
        answer_failure(l, m->token, STR("mail is not delivered as root"));
        return;
    }
    bool is_pipe = kind_of(m) == ROLE_PIPE;
    struct str root = is_pipe ? STR_NIL : root_of(l->env->config, m);
    bool is_known = m->home.n == 0 || (!is_pipe && home_of(l->env->config, m).n > 0);
    if (!is_known || (root.n == 0 && !is_pipe)) {
        answer_failure(l, m->token, STR("the configuration has no such mailbox any more"));
        return;
    }
    struct conn *pipe = m->is_piped ? handle_take_conn(l->world, given) : NULL;
    if (m->is_piped && pipe == NULL) {
        answer_failure(l, m->token, STR("the message did not come"));
        return;
    }
    begin(l, m, root, pipe);
}

static void on_queue_lost(struct local *l)
{
    l->queue = NULL;
    l->queue_life++;
    while (!list_is_empty(&l->waiting)) /* the next queue asks for them again */
        delivery_del(l, list_entry(l->waiting.next, struct delivery, link));
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
    list_init(&l->waiting);
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
    while (!list_is_empty(&l->waiting))
        delivery_del(l, list_entry(l->waiting.next, struct delivery, link));
    list_each (k, &l->children) {
        struct user_child *c = list_entry(k, struct user_child, link);
        world_timer_cancel(l->world, &c->idle);
        if (c->channel != NULL)
            channel_close(c->channel);
        while (!list_is_empty(&c->jobs)) {
            struct delivery *kept = outstanding_end(c, list_entry(c->jobs.next, struct outstanding, link));
            if (kept != NULL)
                delivery_free(kept);
        }
        mem_free(c);
    }
    mem_free(l);
}

const struct role_ops local_role = {
    .create = create, .peer = on_peer, .reload = reload, .drain = drain, .del = del};

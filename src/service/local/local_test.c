/* service/local/local_test.c: the role over a world that this test holds in its hand: it is the queue and
 * every child. What a child does with a .forward is forward_test.c's; here is who is asked what, and what
 * becomes of the delivery meanwhile. */
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/boot/role.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { CHILDREN_MAX = 70, SENT_MAX = 300, TEXT_MAX = 600, JOE = 1000, ANN = 1001 };

struct channel {
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_closed;
    bool is_full;
};
struct conn {
    struct world_object object;
    bool is_closed, is_given;
};
struct handle {
    struct conn *conn;
};
struct child {
    struct channel channel;
    uint32_t uid, gid;
    char root[200];
    bool is_pipe, is_killed, is_gone;
    void (*on_exit)(void *arg, bool clean, struct str how);
    void *arg;
};
struct sent { /* to a child or to the queue */
    const struct channel *to;
    uint16_t type;
    uint64_t token;
    uint32_t uid;
    struct conn *conn;
    char text[TEXT_MAX]; /* LOCAL_JOB: maildir and home; FORWARD_ASK: user and rcpt; JOB_DONE: the results */
};

static struct fixture {
    struct world world; /* first */
    struct log log;
    uint64_t now_ms;
    struct timer *idle[CHILDREN_MAX];
    size_t n_idle;
    struct channel queue;
    struct child children[CHILDREN_MAX];
    size_t n_children, n_seen;
    struct sent sent[SENT_MAX];
    size_t n_sent;
    struct conn pipe;
    struct handle pipe_handle;
    struct system_user users[2];
    struct local_domain domains[2];
    struct config config;
    struct role_env env;
    void *self;
    unsigned n_drained;
    bool cant_spawn;
} the;

/* ---- boot ------------------------------------------------------------------------------------ */

void role_ready(struct role_env *env)
{
    UNUSED(env);
}

void role_drained(struct role_env *env)
{
    UNUSED(env);
    the.n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(env);
    UNUSED(old);
}

#include "service/boot/role_testing.h"

/* ---- world ----------------------------------------------------------------------------------- */

static const struct world_ops ops;

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the.now_ms;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    for (size_t i = 0; i < the.n_idle; i++) {
        if (the.idle[i] == t)
            the.idle[i--] = the.idle[--the.n_idle];
    }
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    UNUSED(due_ms);
    timer_cancel(w, t);
    assert_true(the.n_idle < CHILDREN_MAX);
    the.idle[the.n_idle++] = t;
}

static void put_texts(struct sent *s, struct str a, struct str b)
{
    struct buf text;
    buf_init_fixed(&text, s->text, sizeof s->text - 1);
    (void)(buf_put(&text, a) && buf_putc(&text, ' ') && buf_put(&text, b));
    assert_false(text.failed);
}

static enum err channel_takes(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    struct ipc_local_job job;
    struct ipc_forward_ask ask;
    struct ipc_job_done done;
    if (c->is_closed)
        return ERR_CLOSED;
    if (c->is_full)
        return ERR_AGAIN;
    assert_true(the.n_sent < SENT_MAX);
    struct sent *s = &the.sent[the.n_sent++];
    *s = (struct sent){.to = c, .type = type, .conn = give == NULL ? NULL : give->conn};
    if (give != NULL)
        give->conn->is_given = true;
    if (type == IPC_LOCAL_JOB) {
        assert_true(ipc_decode_local_job(payload, &job));
        s->token = job.token;
        s->uid = job.uid;
        put_texts(s, job.maildir, job.body);
    } else if (type == IPC_FORWARD_ASK) {
        assert_true(ipc_decode_forward_ask(payload, &ask));
        s->token = ask.token;
        s->uid = ask.uid;
        put_texts(s, ask.user_name, ask.rcpt);
    } else if (type == IPC_JOB_DONE) {
        assert_true(ipc_decode_job_done(payload, &done));
        s->token = done.token;
        struct reader r = reader_of(done.results);
        struct job_result one;
        put_texts(s, list_next_result(&r, &one) ? one.text : done.results, STR_NIL);
    } else {
        assert_int_equal(type, IPC_SUP_DRAIN);
    }
    return ERR_OK;
}

static void channel_user_is(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void channel_closes(struct channel *c)
{
    c->is_closed = true;
}

static struct handle *handle_of(struct conn *c)
{
    the.pipe_handle.conn = c;
    return &the.pipe_handle;
}

static struct conn *take_conn(struct world *w, struct handle *h)
{
    UNUSED(w);
    return h == NULL ? NULL : h->conn;
}

static void conn_closes(struct conn *c)
{
    assert_false(c->is_closed);
    c->is_closed = true;
}

static enum err spawn(struct world *w, const struct spawn *s,
                      void (*fn)(void *arg, bool clean, struct str how), void *arg, struct channel **out,
                      struct child **out_child)
{
    UNUSED(w);
    if (the.cant_spawn)
        return ERR_NOMEM;
    assert_true(the.n_children < CHILDREN_MAX);
    struct child *c = &the.children[the.n_children++];
    *c = (struct child){.channel = {.object = {&ops}},
                        .uid = s->uid,
                        .gid = s->gid,
                        .is_pipe = s->root == NULL,
                        .on_exit = fn,
                        .arg = arg};
    if (s->root != NULL)
        assert_true(str_to_c(str_from_c(s->root), c->root, sizeof c->root));
    *out = &c->channel;
    *out_child = c;
    return ERR_OK;
}

static void child_kills(struct child *c, bool hard)
{
    UNUSED(hard);
    c->is_killed = true;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = channel_takes,
                                     .channel_set_user = channel_user_is,
                                     .channel_close = channel_closes,
                                     .handle_of_conn = handle_of,
                                     .handle_take_conn = take_conn,
                                     .conn_close = conn_closes,
                                     .spawn = spawn,
                                     .child_kill = child_kills};

/* ---- what the tests do ----------------------------------------------------------------------- */

static void begin(void)
{
    memset(&the, 0, sizeof the);
    the.world.ops = &ops;
    the.log.min = LOG_ERROR;
    the.world.log = &the.log;
    the.queue.object.ops = &ops;
    the.pipe.object.ops = &ops;
    the.users[0] = (struct system_user){STR("ann"), STR("/home/ann"), ANN, ANN};
    the.users[1] = (struct system_user){STR("joe"), STR("/home/joe"), JOE, JOE};
    struct deliver d = {.kind = DELIVER_MAILDIR, .forward = true, .maildir = STR("%h/Maildir")};
    for (size_t i = 0; i < 2; i++)
        the.domains[i] = (struct local_domain){.name = i == 0 ? STR("a.example") : STR("b.example"),
                                               .system_users = the.users,
                                               .n_system_users = 2};
    the.domains[0].deliver = d;
    d.maildir = STR("/var/mail/%u");
    the.domains[1].deliver = d;
    the.config.policy.domains = the.domains;
    the.config.policy.n_domains = 2;
    the.env = (struct role_env){.world = &the.world, .role = ROLE_LOCAL, .config = &the.config};
    the.env.peers[ROLE_QUEUE][0] = &the.queue;
    the.self = local_role.create(&the.env);
}

static void end(void)
{
    local_role.del(the.self);
}

static struct ipc_local_job job_of_joe(uint64_t token)
{
    static char mem[200];
    struct buf b;
    const struct rcpt rcpt = {.address = STR("joe@a.example")};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(rcpt_put(&rcpt, &b));
    return (struct ipc_local_job){.token = token,
                                  .maildir = STR("/home/joe/Maildir"),
                                  .home = STR("/home/joe"),
                                  .user_name = STR("joe"),
                                  .uid = JOE,
                                  .gid = JOE,
                                  .rcpts = buf_str(&b),
                                  .body = STR("body")};
}

static void queue_asks(const struct ipc_local_job *m, struct handle *h)
{
    struct buf b;
    buf_init(&b, IPC_FRAME_MAX);
    assert_true(ipc_encode_local_job(m, &b));
    the.queue.user->on_message(the.queue.arg, &the.queue, IPC_LOCAL_JOB, buf_str(&b), h);
    buf_fini(&b);
}

/* The next that was sent, to whomever. */
static const struct sent *next(uint16_t type, const struct channel *to)
{
    assert_true(the.n_seen < the.n_sent);
    const struct sent *s = &the.sent[the.n_seen++];
    assert_int_equal(s->type, type);
    assert_ptr_equal(s->to, to);
    return s;
}

static void expect_text(const struct sent *s, const char *text)
{
    struct buf want;
    char mem[TEXT_MAX];
    buf_init_fixed(&want, mem, sizeof mem);
    buf_puts(&want, text);
    if (!str_eq(str_from_c(s->text), buf_str(&want)))
        fail_msg("%s and not %s", s->text, text);
}

static void expect_no_more(void)
{
    assert_int_equal(the.n_seen, the.n_sent);
}

static void child_says(struct child *c, uint64_t token, enum home_says says, struct str results)
{
    char mem[TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    const struct ipc_forward_answer m = {.token = token, .says = (uint8_t)says, .results = results};
    assert_true(ipc_encode_forward_answer(&m, &b));
    c->channel.user->on_message(c->channel.arg, &c->channel, IPC_FORWARD_ANSWER, buf_str(&b), NULL);
}

static void child_is_done(struct child *c, uint64_t token)
{
    char mem[TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_job_done(&(struct ipc_job_done){.token = token, .results = STR("done")}, &b));
    c->channel.user->on_message(c->channel.arg, &c->channel, IPC_JOB_DONE, buf_str(&b), NULL);
}

static void child_ends(struct child *c, bool clean)
{
    c->is_gone = true;
    c->on_exit(c->arg, clean, STR("gone"));
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* The same child reads the file and then writes the Maildir, which is in the home. */
static void test_no_file(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    queue_asks(&m, NULL);
    struct child *c = &the.children[0];
    assert_true(the.n_children == 1 && c->uid == JOE && c->gid == JOE);
    assert_string_equal(c->root, "/home/joe");
    const struct sent *s = next(IPC_FORWARD_ASK, &c->channel);
    expect_text(s, "joe joe@a.example");
    assert_int_equal(s->uid, JOE);
    expect_no_more();
    child_says(c, s->token, HOME_SAYS_NOTHING, STR_NIL);
    s = next(IPC_LOCAL_JOB, &c->channel);
    expect_text(s, "/home/joe/Maildir body");
    expect_no_more();
    child_is_done(c, s->token);
    s = next(IPC_JOB_DONE, &the.queue);
    assert_int_equal(s->token, 7);
    expect_text(s, "done ");
    assert_int_equal(the.n_children, 1);
    assert_int_equal(the.n_idle, 1);
    end();
}

/* A Maildir elsewhere: a child for the home, another for the Maildir; the pipe goes to the second only. */
static void test_two_children(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    struct handle h = {&the.pipe};
    m.maildir = STR("/var/mail/joe");
    m.body = STR_NIL;
    m.is_piped = true;
    queue_asks(&m, &h);
    struct child *c = &the.children[0];
    assert_string_equal(c->root, "/home/joe");
    const struct sent *s = next(IPC_FORWARD_ASK, &c->channel);
    assert_true(s->conn == NULL && !the.pipe.is_given);
    child_says(c, s->token, HOME_SAYS_NOTHING, STR_NIL);
    assert_int_equal(the.n_children, 2);
    assert_string_equal(the.children[1].root, "/var/mail");
    s = next(IPC_LOCAL_JOB, &the.children[1].channel);
    assert_ptr_equal(s->conn, &the.pipe);
    child_is_done(&the.children[1], s->token);
    (void)next(IPC_JOB_DONE, &the.queue);
    assert_false(the.pipe.is_closed); /* it is the child's */
    end();
}

static void test_result_passes(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    struct handle h = {&the.pipe};
    m.body = STR_NIL;
    m.is_piped = true;
    queue_asks(&m, &h);
    struct child *c = &the.children[0];
    const struct sent *s = next(IPC_FORWARD_ASK, &c->channel);
    child_is_done(c, s->token); /* that is no answer to the question */
    child_says(c, s->token + 1, HOME_SAYS_RESULT, STR("x"));
    expect_no_more();
    child_says(c, s->token, HOME_SAYS_RESULT, STR("others"));
    s = next(IPC_JOB_DONE, &the.queue);
    assert_int_equal(s->token, 7);
    expect_text(s, "others ");
    assert_true(the.pipe.is_closed && !the.pipe.is_given);
    child_says(c, s->token, HOME_SAYS_RESULT, STR("again"));
    expect_no_more();
    end();
}

/* A taken-over queue names a home: it must be that of the user, in a domain that wants it, beside a Maildir.
 */
static void test_lies(void **state)
{
    UNUSED(state);
    begin();
    for (unsigned i = 0; i < 7; i++) {
        struct ipc_local_job m = job_of_joe(i);
        struct handle h = {&the.pipe};
        the.pipe.is_closed = false;
        m.home = i == 0 ? STR("/home/ann") : i == 1 ? STR("/etc") : i == 2 ? STR("/home/joe/") : m.home;
        m.user_name = i == 3 ? STR("ann") : i == 4 ? STR("nobody") : m.user_name;
        m.maildir = i == 5 ? STR_NIL : m.maildir; /* a program's */
        the.domains[0].deliver.forward = the.domains[1].deliver.forward = i != 6;
        queue_asks(&m, &h);
        const struct sent *s = next(IPC_JOB_DONE, &the.queue);
        assert_int_equal(s->token, i);
        expect_text(s, "the configuration has no such mailbox any more ");
    }
    assert_int_equal(the.n_children, 0);
    end();
}

/* Its child is asked no more: a home that is there for the next message is seen. */
static void test_home_is_missing(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    m.maildir = STR("/var/mail/joe");
    queue_asks(&m, NULL);
    m.token = 8;
    queue_asks(&m, NULL);
    struct child *c = &the.children[0];
    const struct sent *first = next(IPC_FORWARD_ASK, &c->channel),
                      *second = next(IPC_FORWARD_ASK, &c->channel);
    child_says(c, first->token, HOME_IS_MISSING, STR_NIL);
    (void)next(IPC_LOCAL_JOB, &the.children[1].channel);
    expect_no_more();
    m.token = 9;
    queue_asks(&m, NULL);
    assert_int_equal(the.n_children, 3);
    (void)next(IPC_FORWARD_ASK, &the.children[2].channel);
    child_says(c, second->token, HOME_IS_MISSING, STR_NIL);
    (void)next(IPC_SUP_DRAIN, &c->channel);
    (void)next(IPC_LOCAL_JOB, &the.children[1].channel);
    child_ends(c, true);
    expect_no_more();
    end();
}

static void test_child_dies(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    struct handle h = {&the.pipe};
    m.body = STR_NIL;
    m.is_piped = true;
    queue_asks(&m, &h);
    (void)next(IPC_FORWARD_ASK, &the.children[0].channel);
    child_ends(&the.children[0], false);
    const struct sent *s = next(IPC_JOB_DONE, &the.queue);
    assert_int_equal(s->token, 7);
    expect_text(s, "the delivering process ended before the message was stored; see the log ");
    assert_true(the.pipe.is_closed);
    expect_no_more();
    end();
}

static void test_cant_start(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    the.cant_spawn = true;
    queue_asks(&m, NULL);
    expect_text(next(IPC_JOB_DONE, &the.queue), "no process could be started to read the user's .forward ");
    end();
}

/* The next queue asks anew: what the first one asked is dropped, with its pipe, whatever the child says. */
static void test_queue_is_lost(void **state)
{
    UNUSED(state);
    for (unsigned says = 0; says < HOME_SAYS_N; says++) {
        begin();
        struct ipc_local_job m = job_of_joe(7);
        struct handle h = {&the.pipe};
        m.body = STR_NIL;
        m.is_piped = true;
        queue_asks(&m, &h);
        struct child *c = &the.children[0];
        const struct sent *s = next(IPC_FORWARD_ASK, &c->channel);
        the.queue.user->on_closed(the.queue.arg, &the.queue);
        struct channel second = {.object = {&ops}};
        local_role.peer(the.self, ROLE_QUEUE, 0, &second);
        child_says(c, s->token, (enum home_says)says, STR("x"));
        assert_true(the.pipe.is_closed);
        if (says == HOME_IS_MISSING)
            (void)next(IPC_SUP_DRAIN, &c->channel);
        expect_no_more();
        end();
    }
}

/* All that comes waits for its turn, and the end of the role for it. */
static void test_full_and_drained(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(1);
    queue_asks(&m, NULL);
    struct child *c = &the.children[0];
    const struct sent *first = next(IPC_FORWARD_ASK, &c->channel);
    c->channel.is_full = true;
    m.token = 2;
    queue_asks(&m, NULL);
    expect_no_more();
    c->channel.is_full = false;
    c->channel.user->on_room(c->channel.arg, &c->channel);
    const struct sent *second = next(IPC_FORWARD_ASK, &c->channel);
    local_role.drain(the.self, 1000);
    child_says(c, first->token, HOME_SAYS_RESULT, STR("others"));
    assert_int_equal(next(IPC_JOB_DONE, &the.queue)->token, 1);
    child_says(c, second->token, HOME_SAYS_NOTHING, STR_NIL);
    const struct sent *job = next(IPC_LOCAL_JOB, &c->channel);
    assert_int_equal(the.n_drained, 0);
    child_is_done(c, job->token);
    assert_int_equal(next(IPC_JOB_DONE, &the.queue)->token, 2);
    assert_int_equal(the.n_drained, 1);
    end();
}

/* Many more than there are places: each home is asked, one child makes room for the next. */
static void test_makes_room(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(1);
    m.maildir = STR("/var/mail/joe");
    for (unsigned i = 1; i <= 64; i++) {
        m.token = i;
        m.gid = the.users[1].gid = JOE + i; /* another child each */
        queue_asks(&m, NULL);
        (void)next(IPC_FORWARD_ASK, &the.children[i - 1].channel);
    }
    m.token = 65;
    m.gid = the.users[1].gid = JOE + 65;
    queue_asks(&m, NULL);
    expect_no_more();
    assert_int_equal(the.n_children, 64);
    struct child *c = &the.children[0];
    child_says(c, the.sent[0].token, HOME_SAYS_RESULT, STR("others"));
    (void)next(IPC_JOB_DONE, &the.queue);
    (void)next(IPC_SUP_DRAIN, &c->channel);
    child_ends(c, true);
    (void)next(IPC_FORWARD_ASK, &the.children[64].channel);
    expect_no_more();
    end();
}

/* A child that says what it may not say, or not as it must, is ended. */
static void test_malformed(void **state)
{
    UNUSED(state);
    begin();
    struct ipc_local_job m = job_of_joe(7);
    queue_asks(&m, NULL);
    struct child *c = &the.children[0];
    const struct sent *s = next(IPC_FORWARD_ASK, &c->channel);
    c->channel.user->on_message(c->channel.arg, &c->channel, IPC_FORWARD_ANSWER, STR("x"), NULL);
    assert_true(c->is_killed);
    c->is_killed = false;
    child_says(c, s->token, HOME_SAYS_N, STR("x"));
    assert_true(c->is_killed);
    child_ends(c, false);
    assert_int_equal(next(IPC_JOB_DONE, &the.queue)->token, 7);
    expect_no_more();
    end();
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_file),          cmocka_unit_test(test_two_children),
        cmocka_unit_test(test_result_passes),    cmocka_unit_test(test_lies),
        cmocka_unit_test(test_home_is_missing),  cmocka_unit_test(test_child_dies),
        cmocka_unit_test(test_cant_start),       cmocka_unit_test(test_queue_is_lost),
        cmocka_unit_test(test_full_and_drained), cmocka_unit_test(test_makes_room),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

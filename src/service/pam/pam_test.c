/* The role over a world, a worker and a channel that this test holds in its hand; PAM's modules are the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "ext/pam_check.h"
#include "service/boot/role.h"

#include <string.h>

enum { PAM_LIMIT = 60 * 1000 };

struct channel { /* the far end is the test */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_paused, is_closed;
    unsigned n_answers;
    struct ipc_auth_answer answer;
};
struct workers {
    struct world_object object;
    struct compute *work;
    bool is_closed;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    uint64_t now_ms;
    struct config config;
    struct role_env env;
    struct channel auth, auth2;
    struct workers workers;
    struct timer *timer; /* the last one set */
    uint64_t due_ms;
    unsigned n_ready, n_failed, n_drained, n_released;
    void *self;
};
static struct { /* what the modules were asked, and what they say */
    char service[80], user[400], password[1100], client[200];
    const char *password_at;
    enum pam_verdict verdict;
    unsigned n;
} modules;

static struct fixture *fixture_of_env(struct role_env *env)
{
    return container_of(env, struct fixture, env);
}

void role_ready(struct role_env *env)
{
    fixture_of_env(env)->n_ready++;
}

void role_fail(struct role_env *env, struct str reason)
{
    assert_true(reason.n > 0);
    fixture_of_env(env)->n_failed++;
}

void role_drained(struct role_env *env)
{
    fixture_of_env(env)->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(old);
    fixture_of_env(env)->n_released++;
}

#include "service/boot/role_testing.h"

static uint64_t now_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->now_ms;
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    struct fixture *f = container_of(w, struct fixture, world);
    t->is_set = true;
    f->timer = t;
    f->due_ms = due_ms;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    assert_int_equal(type, IPC_AUTH_ANSWER);
    assert_true(ipc_decode_auth_answer(payload, &c->answer));
    c->n_answers++;
    return ERR_OK;
}

static void set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void pause_channel(struct channel *c, bool is_paused)
{
    c->is_paused = is_paused;
}

static enum err new_workers(struct world *w, unsigned n, struct workers **out)
{
    assert_int_equal(n, 1);
    *out = &container_of(w, struct fixture, world)->workers;
    return ERR_OK;
}

static void submit(struct workers *p, struct compute *k)
{
    assert_null(p->work);
    p->work = k;
}

static void close_workers(struct workers *p)
{
    p->is_closed = true;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_test,
                                     .channel_set_user = set_user,
                                     .channel_pause = pause_channel,
                                     .workers = new_workers,
                                     .workers_submit = submit,
                                     .workers_close = close_workers};

static enum pam_verdict check(const struct pam_question *q, struct buf *why)
{
    assert_null(q->folder);
    assert_true(str_to_c(str_from_c(q->service), modules.service, sizeof modules.service));
    assert_true(str_to_c(str_from_c(q->user), modules.user, sizeof modules.user));
    assert_true(str_to_c(str_from_c(q->password), modules.password, sizeof modules.password));
    assert_true(str_to_c(str_from_c(q->client), modules.client, sizeof modules.client));
    modules.password_at = q->password;
    modules.n++;
    buf_puts(why, "the reason");
    return modules.verdict;
}

static struct pam_checker checker = {check};

static void work(struct fixture *f)
{
    struct compute *k = f->workers.work;
    assert_non_null(k);
    f->workers.work = NULL;
    k->run(k);
    k->done(k);
}

static const struct auth_backend backends[] = {
    {.kind = AUTH_BY_DOVECOT, .at = {.kind = NETADDR_UNIX, .path = "/run/x"}},
    {.kind = AUTH_BY_PAM, .service = STR_INIT("waxwing")},
    {.kind = AUTH_BY_PAM, .service = STR_INIT("other")},
};

static int setup(void **state)
{
    struct fixture *f = mem_must_new(struct fixture);
    memset(&modules, 0, sizeof modules);
    f->log.min = LOG_ERROR;
    f->world = (struct world){.ops = &ops, .log = &f->log};
    f->now_ms = 1000;
    f->config.auths = backends;
    f->config.n_auths = ARRAY_LEN(backends);
    f->env = (struct role_env){.world = &f->world, .role = ROLE_PAM, .config = &f->config, .ext = &checker};
    f->auth.object.ops = f->auth2.object.ops = f->workers.object.ops = &ops;
    f->env.peers[ROLE_AUTH][0] = &f->auth;
    f->self = pam_role.create(&f->env);
    assert_non_null(f->self);
    assert_int_equal(f->n_ready, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pam_role.del(f->self);
    assert_true(f->workers.is_closed);
    mem_free(f);
    return 0;
}

static struct ipc_auth_ask question(uint64_t token)
{
    return (struct ipc_auth_ask){.token = token,
                                 .kind = AUTH_PASSWORD,
                                 .file = STR("waxwing"),
                                 .user = STR("joe"),
                                 .client = STR("192.0.2.1"),
                                 .secret = STR("secret")};
}

static void ask(struct channel *c, const struct ipc_auth_ask *m)
{
    char mem[8192];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_ask(m, &b));
    c->user->on_message(c->arg, c, IPC_AUTH_ASK, buf_str(&b), NULL);
}

static void ask_joe(struct channel *c, uint64_t token)
{
    struct ipc_auth_ask m = question(token);
    ask(c, &m);
}

static void what_modules_say(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum pam_verdict says;
        enum auth_verdict verdict;
    } rows[] = {{PAM_CHECK_YES, AUTH_OK}, {PAM_CHECK_NO, AUTH_BAD}, {PAM_CHECK_LATER, AUTH_TEMPORARY}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        modules.verdict = rows[i].says;
        ask_joe(&f->auth, 70 + i);
        assert_int_equal(f->auth.n_answers, i);
        work(f);
        assert_int_equal(f->auth.n_answers, i + 1);
        assert_int_equal(f->auth.answer.token, 70 + i);
        assert_int_equal(f->auth.answer.verdict, rows[i].verdict);
        assert_string_equal(modules.service, "waxwing");
        assert_string_equal(modules.user, "joe");
        assert_string_equal(modules.password, "secret");
        assert_string_equal(modules.client, "192.0.2.1");
        for (size_t k = 0; k < sizeof "secret"; k++)
            assert_int_equal(modules.password_at[k], 0); /* wiped */
    }
}

static void the_most_that_may_be_asked(void **state)
{
    struct fixture *f = *state;
    char user[SASL_NAME_MAX], password[SASL_PASSWORD_MAX];
    memset(user, 'u', sizeof user);
    memset(password, 'p', sizeof password);
    struct ipc_auth_ask m = question(1);
    m.user = str_of(user, sizeof user);
    m.secret = str_of(password, sizeof password);
    ask(&f->auth, &m);
    work(f);
    assert_int_equal(strlen(modules.user), sizeof user);
    assert_int_equal(strlen(modules.password), sizeof password);
}

/* Nobody chooses a file of /etc/pam.d but the configuration. */
static void services_of_the_configuration(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {"login", "", "/etc/passwd", "waxwing2", "waxwin"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct ipc_auth_ask m = question(i);
        m.file = str_from_c(others[i]);
        ask(&f->auth, &m);
        assert_int_equal(f->auth.answer.verdict, AUTH_TEMPORARY);
        assert_int_equal(f->auth.n_answers, i + 1);
        assert_null(f->workers.work);
    }
    struct ipc_auth_ask m = question(9);
    m.file = STR("other");
    ask(&f->auth, &m);
    work(f);
    assert_string_equal(modules.service, "other");
}

static void questions_that_there_are_not(void **state)
{
    struct fixture *f = *state;
    char big[SASL_PASSWORD_MAX + 1];
    memset(big, 'x', sizeof big);
    struct ipc_auth_ask bad[6];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = question(i);
    bad[0].kind = AUTH_SCRAM_FIRST;
    bad[1].secret = str_of("a\0b", 3); /* the modules would see another */
    bad[2].user = str_of("a\0b", 3);
    bad[3].secret = str_of(big, sizeof big);
    bad[4].user = str_of(big, SASL_NAME_MAX + 1);
    bad[5].client = str_of(big, NETADDR_TEXT_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f->auth2 = (struct channel){.object = {&ops}};
        pam_role.peer(f->self, ROLE_AUTH, 0, &f->auth2);
        ask(&f->auth2, &bad[i]);
        assert_true(f->auth2.is_closed);
        assert_null(f->workers.work);
    }
    f->auth2 = (struct channel){.object = {&ops}};
    pam_role.peer(f->self, ROLE_AUTH, 0, &f->auth2);
    ask_joe(&f->auth2, 1);
    ask_joe(&f->auth2, 2); /* one at a time */
    assert_true(f->auth2.is_closed);
    work(f);
    assert_int_equal(f->auth2.n_answers, 0);
    assert_int_equal(modules.n, 1);
}

static void a_module_hangs(void **state)
{
    struct fixture *f = *state;
    ask_joe(&f->auth, 1);
    assert_int_equal(f->due_ms, f->now_ms + PAM_LIMIT);
    f->timer->fire(f->timer);
    assert_int_equal(f->n_failed, 1); /* the process ends */
}

static void no_limit_without_a_question(void **state)
{
    struct fixture *f = *state;
    ask_joe(&f->auth, 1);
    work(f);
    assert_false(f->timer->is_set);
}

/* Another auth process knows nothing of the question that is under way. */
static void another_asker(void **state)
{
    struct fixture *f = *state;
    ask_joe(&f->auth, 1);
    f->auth.user->on_closed(f->auth.arg, &f->auth);
    pam_role.peer(f->self, ROLE_AUTH, 0, &f->auth2);
    assert_true(f->auth2.is_paused);
    work(f);
    assert_int_equal(f->auth2.n_answers, 0);
    assert_false(f->auth2.is_paused);
    ask_joe(&f->auth2, 1);
    work(f);
    assert_int_equal(f->auth2.n_answers, 1);
}

static void drain(void **state)
{
    struct fixture *f = *state;
    ask_joe(&f->auth, 1);
    pam_role.drain(f->self, f->now_ms + 1000);
    assert_int_equal(f->n_drained, 0);
    work(f);
    assert_int_equal(f->n_drained, 1);
    assert_int_equal(f->auth.n_answers, 1);
}

static void drain_at_once(void **state)
{
    struct fixture *f = *state;
    pam_role.drain(f->self, f->now_ms + 1000);
    assert_int_equal(f->n_drained, 1);
    f->timer->fire(f->timer);
    assert_int_equal(f->n_drained, 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_modules_say),
        TEST(the_most_that_may_be_asked),
        TEST(services_of_the_configuration),
        TEST(questions_that_there_are_not),
        TEST(a_module_hangs),
        TEST(no_limit_without_a_question),
        TEST(another_asker),
        TEST(drain),
        TEST(drain_at_once),
    };
    return cmocka_run_group_tests_name("pam", tests, NULL, NULL);
}

/* service/acme/acme.c: the role that gets certificates from an authority (RFC 8555), by the program uacme.
 *
 *   RESTING until the next round, which looks at each certificate of the configuration that names are for:
 *   ISSUING: uacme looks whether it is due, and gets it. Where the authority does not know us yet:
 *   JOINING: an account is made, once a round, and ISSUING begins again.
 *   CLOSING: who answers the authority forgets what that was, and http01 closes the port. -> ISSUING, the
 * next; RESTING
 *
 * The authority looks whether a name leads here in one of two ways: at port 80 (HTTP-01), then http01
 * answers, or at port 443 (TLS-ALPN-01), then https does.
 *
 * A round comes at the start, at each reload, and every day at a minute that chance finds; after one that
 * failed, after RETRY_FIRST_MS, doubled up to RETRY_MAX_MS. What is in force meanwhile stays in force. uacme
 * has requests that the supervisor put into its folder, and never sees the private key of a certificate
 * (prog/acme_files.h).
 *
 * Owns:     the program that runs, what it said last.
 * Limits:   one program at a time, for PROGRAM_MS; UACME_LINE_MAX, WHY_MAX.
 * Errors:   each failure is one line in the log, with the authority's words where it gave some.
 * Security: what uacme prints holds an authority's words: of them come a token and its answer, of letters
 *           that are checked on both sides, and text for the log. This process reads no octet of the
 *           network itself.
 */
#include "base/mem.h"
#include "proto/http01.h"
#include "service/acme/uacme.h"
#include "service/boot/role.h"

#include <string.h>

#define UACME "/usr/bin/uacme"
enum {
    PROGRAM_MS = 10 * 60 * 1000,
    KILL_MS = 5000, /* from SIGTERM to SIGKILL */
    PORT_AGAIN_MS = 500,
    DAY_MS = 24 * 3600 * 1000,
    DAY_SPREAD_MS = 3600 * 1000,
    RETRY_FIRST_MS = 15 * 60 * 1000, /* authorities take five failures an hour */
    RETRY_MAX_MS = 12 * 3600 * 1000,
    READS_MAX = 16,
    WHY_MAX = 512,
    WORDS_OCTETS = 16 * 1024,
};
enum acme_phase { ACME_RESTING = 0, ACME_ISSUING, ACME_JOINING, ACME_CLOSING };
enum why_rank { WHY_NOTHING = 0, WHY_FIRST, WHY_FAILED, WHY_AUTHORITY, WHY_OURS };

struct acme {
    struct role_env *env;
    struct world *world;
    enum acme_challenge challenge; /* of this round */
    struct channel *servers[2];    /* http01, https: by challenge */
    enum acme_phase phase;
    size_t at;       /* the certificate under way */
    bool has_joined; /* in this round */
    bool has_failed; /* likewise, somewhere */
    bool has_served; /* the server has something to forget */
    bool is_over;    /* CLOSING: the round is, too */
    bool is_again;   /* another round is wanted at once */
    bool is_draining;
    unsigned n_failures; /* rounds in a row */
    struct timer next, limit, port_again;

    struct program *program;
    struct conn *input, *output;
    bool was_asked_to_end, is_unknown;
    struct buf line; /* of its output, as far as it has come */
    char line_mem[UACME_LINE_MAX];
    struct buf why;
    enum why_rank why_rank;
    char why_mem[WHY_MAX];

    uint32_t port_token; /* of the port that is asked for or open in this round; 0: none */
    uint32_t last_token;
    size_t n_open; /* what the server is to say that it answers, and the program waits for: 0: nothing */
    char open[DNS_NAME_MAX]; /* a token, or of TLS-ALPN-01 a name */
};

static const enum role server_role[] = {[ACME_HTTP_01] = ROLE_HTTP01, [ACME_TLS_ALPN_01] = ROLE_HTTPS};

static void next_certificate(struct acme *a);
static void begin_round(struct acme *a);

static void set_phase(struct acme *a, enum acme_phase to)
{
    static const bool allowed[4][4] = {
        [ACME_RESTING] = {[ACME_ISSUING] = true, [ACME_RESTING] = true},
        [ACME_ISSUING] =
            {[ACME_ISSUING] = true, [ACME_JOINING] = true, [ACME_CLOSING] = true, [ACME_RESTING] = true},
        [ACME_JOINING] = {[ACME_ISSUING] = true, [ACME_CLOSING] = true, [ACME_RESTING] = true},
        [ACME_CLOSING] = {[ACME_ISSUING] = true, [ACME_RESTING] = true},
    };
    must(allowed[a->phase][to]);
    a->phase = to;
}

static const struct certificate_conf *present(const struct acme *a)
{
    return &a->env->config->certificates[a->at];
}

/* ---- rounds ---------------- */

static uint64_t pause_ms(struct acme *a)
{
    if (a->n_failures == 0)
        return DAY_MS - DAY_SPREAD_MS / 2 + world_random_below(a->world, DAY_SPREAD_MS);
    uint64_t ms = RETRY_FIRST_MS;
    for (unsigned i = 1; i < a->n_failures && ms < RETRY_MAX_MS; i++)
        ms *= 2;
    if (ms > RETRY_MAX_MS)
        ms = RETRY_MAX_MS;
    return ms + world_random_below(a->world, ms / 5);
}

static void rest(struct acme *a)
{
    set_phase(a, ACME_RESTING);
    if (a->is_draining) {
        role_drained(a->env);
        return;
    }
    if (a->is_again) {
        begin_round(a);
        return;
    }
    a->n_failures = a->has_failed ? a->n_failures + 1 : 0;
    uint64_t ms = pause_ms(a);
    if (a->has_failed)
        log_warn(a->world->log, "acme.retry", LU("in_s", ms / 1000));
    world_timer_set(a->world, &a->next, world_now_ms(a->world) + ms);
}

/* Nothing is answered any more. Of another configuration `at` says nothing. */
static void go_on(struct acme *a)
{
    a->port_token = 0;
    a->has_served = false;
    if (a->is_over || a->is_again || a->is_draining)
        rest(a);
    else
        next_certificate(a);
}

static enum err send_forget(struct acme *a)
{
    struct channel *server = a->servers[a->challenge];
    const struct ipc_http01_serve http = {.token = STR_NIL};
    const struct ipc_alpn_serve alpn = {.name = STR_NIL};
    if (!a->has_served || server == NULL)
        return ERR_CLOSED;
    return a->challenge == ACME_HTTP_01 ? ipc_send_http01_serve(server, &http, NULL)
                                        : ipc_send_alpn_serve(server, &alpn, NULL);
}

/* A server's list is as long as that of one certificate may be. */
static void end_certificate(struct acme *a, bool is_over)
{
    a->is_over = is_over;
    if (send_forget(a) == ERR_OK)
        set_phase(a, ACME_CLOSING);
    else
        go_on(a);
}

static void on_next(struct timer *t)
{
    begin_round(container_of(t, struct acme, next));
}

/* ---- the program ---------------- */

static void note(struct acme *a, enum why_rank rank, struct str text)
{
    if (rank <= a->why_rank)
        return;
    a->why_rank = rank;
    buf_reset(&a->why);
    (void)buf_put(&a->why, str_slice(text, 0, WHY_MAX));
}

/* It ends in vain; its end goes on. */
static void give_up(struct acme *a, struct str why)
{
    note(a, WHY_OURS, why);
    if (a->program == NULL)
        return;
    program_kill(a->program, a->was_asked_to_end);
    a->was_asked_to_end = true;
    world_timer_set(a->world, &a->limit, world_now_ms(a->world) + KILL_MS);
}

static void on_limit(struct timer *t)
{
    give_up(container_of(t, struct acme, limit), STR("uacme did not end in time and was stopped"));
}

static void say(struct acme *a, const char *word)
{
    struct str s = str_from_c(word);
    size_t n = 0;
    if (a->input != NULL && (conn_write(a->input, &s, 1, &n) != ERR_OK || n != s.n))
        give_up(a, STR("uacme does not listen"));
}

static void ask_port(struct acme *a)
{
    if (role_ask_port(a->env, a->port_token) != ERR_OK)
        give_up(a, STR("the supervisor could not be asked for the port"));
}

static void on_port_again(struct timer *t)
{
    struct acme *a = container_of(t, struct acme, port_again);
    if (a->program != NULL)
        ask_port(a);
}

static enum err send_serve(struct acme *a, const struct uacme_line *l)
{
    struct channel *server = a->servers[a->challenge];
    const struct ipc_http01_serve http = {.token = l->token, .answer = l->answer};
    const struct ipc_alpn_serve alpn = {.name = l->name, .digest = str_of(l->digest, sizeof l->digest)};
    if (server == NULL)
        return ERR_CLOSED;
    return a->challenge == ACME_HTTP_01 ? ipc_send_http01_serve(server, &http, NULL)
                                        : ipc_send_alpn_serve(server, &alpn, NULL);
}

/* What we can't answer is declined: it asks again, until there is one that we can. */
static void on_challenge(struct acme *a, const struct uacme_line *l)
{
    if (l->token.n == 0) {
        say(a, "n\n");
        return;
    }
    bool is_http = a->challenge == ACME_HTTP_01;
    struct str open = is_http ? l->token : l->name;
    if (open.n == 0 || open.n > sizeof a->open || send_serve(a, l) != ERR_OK) {
        give_up(a, is_http ? STR("the http01 process is not there to answer the authority")
                           : STR("the https process is not there to answer the authority"));
        return;
    }
    a->has_served = true;
    memcpy(a->open, open.p, open.n);
    a->n_open = open.n;
    log_info(a->world->log, "acme.challenge", LS("name", l->name),
             LC("kind", is_http ? "http-01" : "tls-alpn-01"));
    if (!is_http || a->port_token != 0)
        return; /* the port is open */
    a->port_token = ++a->last_token == 0 ? ++a->last_token : a->last_token;
    ask_port(a);
}

static void on_line(struct acme *a, struct str line)
{
    struct uacme_line l;
    switch (uacme_read(line, a->challenge, &l)) {
    case UACME_CHALLENGE:
        on_challenge(a, &l);
        break;
    case UACME_TEXT:
        note(a, str_find(l.text, STR("failed")) != STR_NPOS ? WHY_FAILED : WHY_FIRST, l.text);
        break;
    case UACME_DETAIL:
        note(a, WHY_AUTHORITY, l.text);
        break;
    case UACME_NO_ACCOUNT:
        a->is_unknown = true;
        note(a, WHY_FAILED, STR("there is no account at the authority"));
        break;
    case UACME_NOTHING:
        break;
    }
}

static void take_output(struct acme *a, struct str s)
{
    while (s.n > 0) {
        bool has_end = str_chr(s, '\n') != STR_NPOS;
        struct str part = str_cut(&s, '\n');
        (void)buf_put(&a->line, str_slice(part, 0, UACME_LINE_MAX - a->line.n)); /* more is not wanted */
        if (!has_end)
            return;
        on_line(a, buf_str(&a->line));
        buf_reset(&a->line);
    }
}

static void read_output(struct acme *a)
{
    char mem[4096];
    for (unsigned i = 0; i < READS_MAX && a->output != NULL; i++) {
        size_t n = 0;
        enum err e = conn_read(a->output, mem, sizeof mem, &n);
        if (e == ERR_AGAIN)
            return;
        if (e == ERR_OK) {
            take_output(a, str_of(mem, n));
        } else {
            conn_close(a->output);
            a->output = NULL;
        }
    }
}

static void on_output(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    read_output(arg);
}

static void on_input(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(arg);
    UNUSED(c);
    UNUSED(ready);
}

static const struct conn_user output_user = {on_output}, input_user = {on_input};

static void on_program_end(void *arg, const struct program_end *end);

/* One word behind the other in `out`, which does not move. */
static const char *word(struct buf *out, struct str a, const char *b, struct str c)
{
    size_t at = out->n;
    buf_put(out, a);
    buf_puts(out, b);
    buf_put(out, c);
    buf_putc(out, '\0');
    return out->p + at;
}

static enum err start(struct acme *a)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    const struct acme_conf *conf = &a->env->config->acme;
    const char *argv[12] = {UACME};
    char mem[WORDS_OCTETS];
    struct buf b;
    size_t n = 1;
    struct str root = str_from_c(a->env->root);
    buf_init_fixed(&b, mem, sizeof mem);
    argv[n++] = "-y"; /* to the terms: to give the key acme is to agree */
    argv[n++] = "-a";
    argv[n++] = word(&b, conf->directory, "", STR_NIL);
    argv[n++] = "-c";
    argv[n++] = a->env->root;
    if (a->phase == ACME_JOINING) {
        argv[n++] = "new";
        argv[n++] = word(&b, conf->contact, "", STR_NIL);
    } else {
        argv[n++] = "issue";
        struct str name = str_from_c(word(&b, present(a)->names[0], ".csr", STR_NIL));
        argv[n++] = word(&b, root, "/", name);
    }
    argv[n] = NULL;
    const struct program_plan plan = {.argv = argv, .env = env, .folder = a->env->root};
    return b.failed ? ERR_TOO_BIG
                    : world_program(a->world, &plan, on_program_end, a, &a->input, &a->output, &a->program);
}

/* In the present phase. */
static void run(struct acme *a)
{
    buf_reset(&a->line);
    buf_reset(&a->why);
    a->why_rank = WHY_NOTHING;
    a->is_unknown = a->was_asked_to_end = false;
    a->n_open = 0;
    enum err e = start(a);
    if (e != ERR_OK) {
        const struct program_end end = {.err = e};
        on_program_end(a, &end);
        return;
    }
    conn_set_user(a->input, &input_user, a);
    conn_set_user(a->output, &output_user, a);
    conn_want(a->output, CONN_READABLE);
    world_timer_set(a->world, &a->limit, world_now_ms(a->world) + PROGRAM_MS);
}

static void note_end(struct acme *a, const struct program_end *end)
{
    char mem[160];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (end->err == ERR_NOTFOUND)
        note(a, WHY_OURS, STR(UACME " is not there (package uacme)"));
    else if (end->err != ERR_OK && buf_printf(&b, "can't run " UACME ": %s", err_str(end->err)))
        note(a, WHY_OURS, buf_str(&b));
    else if (end->signo != 0 && buf_printf(&b, "uacme ended by signal %d", end->signo))
        note(a, WHY_FIRST, buf_str(&b));
    else if (buf_printf(&b, "uacme ended with status %d and did not say why", end->status))
        note(a, WHY_FIRST, buf_str(&b));
}

static void fail(struct acme *a)
{
    a->has_failed = true;
    log_error(a->world->log, "acme.failed", LS("name", present(a)->names[0]), LS("why", buf_str(&a->why)),
              LS("authority", a->env->config->acme.directory), LC("kept", "the certificate in force"));
}

static void on_issue_end(struct acme *a, const struct program_end *end, bool is_good)
{
    enum { ISSUED = 0, STILL_CURRENT = 1 };
    const struct certificate_conf *c = present(a);
    if (is_good && (end->status == ISSUED || end->status == STILL_CURRENT)) {
        log_info(a->world->log, end->status == ISSUED ? "acme.issued" : "acme.current",
                 LS("name", c->names[0]), LU("names", c->n_names));
        /* one that is current may be of a round whose end was lost */
        if (role_tell_issued(a->env, (uint16_t)a->at) != ERR_OK)
            log_error(a->world->log, "acme.untold", LS("name", c->names[0]));
    } else if (a->is_unknown && !a->has_joined) {
        a->has_joined = true;
        set_phase(a, ACME_JOINING);
        run(a);
        return;
    } else {
        fail(a);
    }
    a->at++;
    end_certificate(a, false);
}

static void on_program_end(void *arg, const struct program_end *end)
{
    struct acme *a = arg;
    a->program = NULL;
    read_output(a); /* what it wrote before it ended is there */
    world_timer_cancel(a->world, &a->limit);
    world_timer_cancel(a->world, &a->port_again);
    if (a->input != NULL)
        conn_close(a->input);
    if (a->output != NULL)
        conn_close(a->output);
    a->input = a->output = NULL;
    a->n_open = 0;
    bool is_good = end->err == ERR_OK && end->signo == 0 && a->why_rank != WHY_OURS;
    note_end(a, end);
    if (a->is_draining || a->is_again) { /* the configuration is another one: what `at` says is not known */
        end_certificate(a, true);
    } else if (a->phase == ACME_ISSUING) {
        on_issue_end(a, end, is_good);
    } else if (is_good && end->status == 0) {
        log_info(a->world->log, "acme.joined", LS("contact", a->env->config->acme.contact),
                 LS("authority", a->env->config->acme.directory));
        set_phase(a, ACME_ISSUING);
        run(a);
    } else {
        fail(a);
        end_certificate(a, true); /* without an account nothing goes */
    }
}

static void next_certificate(struct acme *a)
{
    const struct config *c = a->env->config;
    while (a->at < c->n_certificates && c->certificates[a->at].n_names == 0)
        a->at++;
    if (a->at == c->n_certificates) {
        rest(a);
        return;
    }
    set_phase(a, ACME_ISSUING);
    run(a);
}

static void begin_round(struct acme *a)
{
    world_timer_cancel(a->world, &a->next);
    a->is_again = a->has_joined = a->has_failed = false;
    a->challenge = (enum acme_challenge)a->env->config->acme.challenge;
    a->at = 0;
    next_certificate(a);
}

/* ---- who answers, and the supervisor ---------------- */

static void on_serving(struct acme *a, struct str what)
{
    if (what.n == 0 && a->phase == ACME_CLOSING) {
        go_on(a);
    } else if (what.n > 0 && a->program != NULL && str_eq(what, str_of(a->open, a->n_open))) {
        a->n_open = 0;
        say(a, "y\n");
    }
}

static void lose_server(struct acme *a, enum acme_challenge which)
{
    a->servers[which] = NULL;
    if (which != a->challenge)
        return;
    a->port_token = 0; /* it closed with its process */
    a->has_served = false;
    if (a->phase == ACME_CLOSING)
        go_on(a);
    else if (a->n_open > 0)
        give_up(a, which == ACME_HTTP_01 ? STR("the http01 process died") : STR("the https process died"));
}

static void on_server(struct acme *a, enum acme_challenge which, struct channel *c, uint16_t type,
                      struct str payload)
{
    struct ipc_http01_serving http = {.token = STR_NIL};
    struct ipc_alpn_serving alpn = {.name = STR_NIL};
    bool is_http = which == ACME_HTTP_01;
    if (!role_message_allowed(a->env, server_role[which], c, type)) {
        lose_server(a, which);
    } else if (is_http ? !ipc_decode_http01_serving(payload, &http)
                       : !ipc_decode_alpn_serving(payload, &alpn)) {
        role_message_malformed(a->env, server_role[which], c, type);
        lose_server(a, which);
    } else if (which == a->challenge) {
        on_serving(a, is_http ? http.token : alpn.name);
    }
}

static void on_http01(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    UNUSED(given);
    on_server(arg, ACME_HTTP_01, c, type, payload);
}

static void on_https(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    UNUSED(given);
    on_server(arg, ACME_TLS_ALPN_01, c, type, payload);
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void http01_closed(void *arg, struct channel *c)
{
    struct acme *a = arg;
    role_peer_closed(a->env, c);
    lose_server(a, ACME_HTTP_01);
}

static void https_closed(void *arg, struct channel *c)
{
    struct acme *a = arg;
    role_peer_closed(a->env, c);
    lose_server(a, ACME_TLS_ALPN_01);
}

static const struct channel_user server_users[] = {[ACME_HTTP_01] = {on_http01, on_room, http01_closed},
                                                   [ACME_TLS_ALPN_01] = {on_https, on_room, https_closed}};

static void acme_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct acme *a = self;
    for (size_t i = 0; i < ARRAY_LEN(server_role) && index == 0; i++) {
        if (who != server_role[i])
            continue;
        a->servers[i] = c;
        channel_set_user(c, &server_users[i], a);
    }
}

static void acme_from_super(void *self, uint16_t type, struct str payload, struct handle *given)
{
    struct acme *a = self;
    struct ipc_sup_port m;
    char mem[200];
    struct buf why;
    UNUSED(given);
    if (type != IPC_SUP_PORT || !ipc_decode_sup_port(payload, &m) || m.token != a->port_token ||
        m.err == ERR_OK)
        return;
    if (m.err == ERR_AGAIN) { /* http01 is only just starting */
        world_timer_set(a->world, &a->port_again, world_now_ms(a->world) + PORT_AGAIN_MS);
        return;
    }
    a->port_token = 0;
    buf_init_fixed(&why, mem, sizeof mem);
    buf_printf(&why, "the port for the authority's questions can't be opened: %s",
               m.err == ERR_EXISTS ? "another program has it (see acme_address)" : err_str((enum err)m.err));
    give_up(a, buf_str(&why));
}

/* ---- the role ---------------- */

static void *acme_create(struct role_env *env)
{
    struct acme *a = mem_must_new(struct acme);
    a->env = env;
    a->world = env->world;
    a->next.fire = on_next;
    a->limit.fire = on_limit;
    a->port_again.fire = on_port_again;
    buf_init_fixed(&a->line, a->line_mem, sizeof a->line_mem);
    buf_init_fixed(&a->why, a->why_mem, sizeof a->why_mem);
    must(env->root != NULL);
    for (size_t i = 0; i < ARRAY_LEN(server_role); i++) {
        if (env->peers[server_role[i]][0] != NULL)
            acme_peer(a, server_role[i], 0, env->peers[server_role[i]][0]);
    }
    world_timer_set(a->world, &a->next,
                    world_now_ms(a->world)); /* the first round, once the sandbox is closed */
    role_ready(env);
    return a;
}

static void acme_reload(void *self, const struct config *old)
{
    struct acme *a = self;
    role_config_release(a->env, old);
    a->n_failures = 0;
    if (a->phase == ACME_RESTING && !a->is_draining)
        begin_round(a);
    else
        a->is_again = true;
}

static void acme_drain(void *self, uint64_t deadline_ms)
{
    struct acme *a = self;
    UNUSED(deadline_ms);
    a->is_draining = true;
    if (a->phase == ACME_RESTING)
        role_drained(a->env);
    else if (a->program != NULL)
        give_up(a, STR("the server ends"));
}

static void acme_del(void *self)
{
    struct acme *a = self;
    world_timer_cancel(a->world, &a->next);
    world_timer_cancel(a->world, &a->limit);
    world_timer_cancel(a->world, &a->port_again);
    if (a->program != NULL)
        program_kill(a->program, true);
    if (a->input != NULL)
        conn_close(a->input);
    if (a->output != NULL)
        conn_close(a->output);
    mem_free(a);
}

const struct role_ops acme_role = {.create = acme_create,
                                   .peer = acme_peer,
                                   .reload = acme_reload,
                                   .drain = acme_drain,
                                   .del = acme_del,
                                   .from_super = acme_from_super};

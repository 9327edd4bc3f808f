/* prog/cmd_relay_check.c: `waxwing relay --check`: goes the whole way up to the login, once, and says how far
 * it came.
 *
 * The same conversation (proto/smtp_client.h), TLS and configuration as the server's, in this process: no
 * mail is sent and nothing is kept. Addresses are asked of the C library, and tried in its order until one
 * can be connected to.
 */
#include "prog/cmd_relay.h"

#include "base/limits.h"
#include "base/world_tls.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "ext/saslprep.h"
#include "io/secret_file.h"
#include "io/sockaddr.h"
#include "io/world_io.h"
#include "prog/load.h"
#include "prog/prog.h"
#include "proto/smtp_client.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { ADDRESSES_MAX = 8, CHECK_MS = 60000, CONNECT_MS = 15000, SCRATCH = 16384, CHUNKS_MAX = 64 };

struct check {
    struct log log;
    struct io_world *io;
    struct world *world;
    const struct config *config;
    const struct route_rule *route;
    struct netaddr to[ADDRESSES_MAX];
    size_t n_to, at;
    struct conn *conn;
    struct tls_context *tls;
    struct chunk_pool pool;
    struct smtp_client *client;
    struct smtp_client_login login;
    struct crypto *crypto;
    struct buf password, prepared, prepared_user;
    char prepared_mem[SASL_PASSWORD_MAX], prepared_user_mem[SASL_NAME_MAX];
    struct timer timer;
    bool wants_tls, is_shaking, is_over;
    int status;
};

static void finish(struct check *c, int status)
{
    if (!c->is_over) {
        c->is_over = true;
        c->status = status;
        io_stop(c->io);
    }
}

static void say(const char *what, struct str text)
{
    (void)printf("%-10s ", what);
    for (; text.n > 0; text = str_skip(text, 1))
        (void)putchar(text.p[0] == '\n'                                     ? ' '
                      : (unsigned char)text.p[0] < ' ' || text.p[0] == 0x7f ? '?'
                                                                            : text.p[0]);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static struct str address_text(const struct netaddr *a, char mem[NETADDR_TEXT_MAX])
{
    struct buf b;
    buf_init_fixed(&b, mem, NETADDR_TEXT_MAX);
    netaddr_format(a, &b);
    return buf_str(&b);
}

/* ---- the conversation ---------------- */

static void pump(struct check *c);

static void on_failure(struct check *c)
{
    const struct smtp_client_result *f = smtp_client_failure(c->client);
    bool is_login = f->stage == SMTP_AT_AUTH;
    if (f->outcome == SMTP_OUTCOME_PENDING) {
        finish(c, EXIT_OK); /* after QUIT */
        return;
    }
    (void)printf("%-10s failed at %s", is_login ? "login" : "host", smtp_client_stage_name(f->stage));
    if (f->code != 0)
        (void)printf(" with %u", (unsigned)f->code);
    (void)putchar('\n');
    say("", f->text);
    finish(c, is_login ? EXIT_NOPERM : EXIT_UNAVAILABLE);
}

static void on_greeted(struct check *c)
{
    if (c->route->auth.user.n > 0)
        say("login", c->route->auth.user);
    say("result", STR("it would take our mail"));
    smtp_client_quit(c->client, world_now_ms(c->world));
}

static void take_events(struct check *c)
{
    enum smtp_client_event_kind ev;
    while (!c->is_over && smtp_client_next(c->client, &ev)) {
        if (ev == SMTP_CLIENT_READY)
            on_greeted(c);
        else if (ev == SMTP_CLIENT_WANT_TLS)
            c->wants_tls = true;
        else if (ev == SMTP_CLIENT_DEAD)
            on_failure(c);
    }
}

static void greet(struct check *c, const struct smtp_client_secured *s)
{
    static const enum smtp_client_tls levels[] = {[HOP_TLS_MAY] = SMTP_CLIENT_TLS_MAY,
                                                  [HOP_TLS_NONE] = SMTP_CLIENT_TLS_NONE,
                                                  [HOP_TLS_ENCRYPT] = SMTP_CLIENT_TLS_MUST,
                                                  [HOP_TLS_VERIFY] = SMTP_CLIENT_TLS_MUST};
    const struct netaddr *to = &c->to[c->at];
    struct smtp_client_conf conf = {
        .helo = c->config->policy.hostname,
        .lmtp = c->route->via.lmtp,
        .tls = levels[c->route->tls],
        .secured = s,
        .login = c->route->auth.user.n > 0 ? &c->login : NULL,
        .is_near = to->kind == NETADDR_UNIX || netaddr_is_loopback(to),
    };
    c->client = smtp_client_new(&conf, &c->pool, world_now_ms(c->world));
    if (c->client == NULL)
        finish(c, EXIT_OS);
    else
        pump(c);
}

static void on_tls(void *arg, struct conn *conn, enum err err, struct str why)
{
    struct check *c = arg;
    const struct tls_facts *f = err == ERR_OK ? conn_tls(conn) : NULL;
    struct smtp_client_secured s = {.is_verified = f != NULL && f->is_trusted && f->is_named};
    c->is_shaking = false;
    if (f == NULL) {
        say("TLS", why.n > 0 ? why : str_from_c(err_str(err)));
        finish(c, EXIT_UNAVAILABLE);
        return;
    }
    (void)printf("%-10s %.*s %.*s, certificate of %.*s, %s\n", "TLS", STR_FMT(f->version), STR_FMT(f->cipher),
                 STR_FMT(f->peer_subject), s.is_verified ? "verified" : "not verified");
    if (conn_tls_exporter(conn, s.exporter))
        s.n_exporter = sizeof s.exporter;
    if (!conn_tls_server_end_point(conn, s.end_point, &s.n_end_point))
        s.n_end_point = 0;
    if (c->client == NULL) {
        greet(c, &s);
    } else {
        smtp_client_tls(c->client, &s, world_now_ms(c->world));
        pump(c);
    }
}

static void begin_tls(struct check *c)
{
    struct str name = c->route->via.host;
    struct tls_start s = {
        .context = c->tls,
        .deadline_ms = world_now_ms(c->world) + SMTP_CLIENT_TLS_MS,
        .server_name = name,
        .check = c->route->tls == HOP_TLS_VERIFY ? TLS_CHECK_PKIX : TLS_CHECK_NONE,
        .names = &name,
        .n_names = name.n > 0 ? 1 : 0,
    };
    c->wants_tls = false;
    enum err e = conn_tls_start(c->conn, false, &s, on_tls, c);
    c->is_shaking = e == ERR_OK;
    if (e != ERR_OK) {
        say("TLS", str_from_c(err_str(e)));
        finish(c, EXIT_OS);
    }
}

static void read_all(struct check *c)
{
    char mem[SCRATCH] __attribute__((uninitialized));
    size_t n;
    enum err e;
    while (!c->is_over && !c->wants_tls && (e = conn_read(c->conn, mem, sizeof mem, &n)) != ERR_AGAIN) {
        if (e != ERR_OK) {
            smtp_client_eof(c->client, e);
            take_events(c);
            return;
        }
        size_t got = 1;
        for (size_t used = 0; used < n && got > 0 && !c->is_over; used += got) {
            got = smtp_client_feed(c->client, str_of(mem + used, n - used), world_now_ms(c->world));
            take_events(c);
        }
    }
}

static void write_all(struct check *c)
{
    struct str out;
    size_t n;
    enum err e = ERR_OK;
    while (!c->is_over && e == ERR_OK && (out = smtp_client_output(c->client)).n > 0) {
        e = conn_write(c->conn, &out, 1, &n);
        if (e == ERR_OK)
            smtp_client_sent(c->client, n, world_now_ms(c->world));
    }
    if (e != ERR_OK && e != ERR_AGAIN)
        smtp_client_eof(c->client, e);
}

static void pump(struct check *c)
{
    if (c->is_shaking || c->is_over || c->client == NULL)
        return;
    take_events(c);
    read_all(c);
    write_all(c);
    take_events(c);
    if (c->wants_tls && !c->is_over)
        begin_tls(c);
    if (!c->is_over && !c->is_shaking)
        conn_want(c->conn,
                  CONN_READABLE | (smtp_client_output(c->client).n > 0 ? (unsigned)CONN_WRITABLE : 0u));
}

static void on_ready(void *arg, struct conn *conn, unsigned ready)
{
    UNUSED(conn);
    UNUSED(ready);
    pump(arg);
}

/* ---- the connection ---------------- */

static void connect_next(struct check *c);

static void on_connected(void *arg, enum err err, struct conn *conn)
{
    static const struct conn_user user = {on_ready};
    struct check *c = arg;
    char mem[NETADDR_TEXT_MAX];
    struct str to = address_text(&c->to[c->at], mem);
    if (err != ERR_OK) {
        (void)printf("%-10s %.*s: %s\n", "connection", STR_FMT(to), err_str(err));
        c->at++;
        connect_next(c);
        return;
    }
    say("connection", to);
    c->conn = conn;
    conn_set_user(conn, &user, c);
    if (c->route->via.is_smtps)
        begin_tls(c);
    else
        greet(c, NULL);
}

static void connect_next(struct check *c)
{
    if (c->at == c->n_to) {
        finish(c, EXIT_UNAVAILABLE);
        return;
    }
    uint64_t deadline = world_now_ms(c->world) + CONNECT_MS;
    if (world_connect(c->world, &c->to[c->at], NULL, deadline, on_connected, c) == NULL)
        finish(c, EXIT_OS);
}

static void on_late(struct timer *t)
{
    struct check *c = container_of(t, struct check, timer);
    say("host", STR("no answer within a minute"));
    finish(c, EXIT_UNAVAILABLE);
}

/* ---- before it ---------------- */

static int find_addresses(struct check *c)
{
    const struct next_hop *via = &c->route->via;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG},
                    *list = NULL;
    char name[SMTP_DOMAIN_MAX + 1];
    if (via->host.n == 0) {
        c->to[c->n_to++] = via->addr;
        return EXIT_OK;
    }
    if (!str_to_c(via->host, name, sizeof name))
        return EXIT_USAGE;
    int failed = getaddrinfo(name, NULL, &hints, &list);
    for (const struct addrinfo *a = list; a != NULL && c->n_to < ADDRESSES_MAX; a = a->ai_next) {
        struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
        memcpy(&ss, a->ai_addr, a->ai_addrlen < sizeof ss ? a->ai_addrlen : sizeof ss);
        sockaddr_to_netaddr(&ss, a->ai_addrlen, &c->to[c->n_to]);
        c->to[c->n_to++].port = via->addr.port;
    }
    if (list != NULL)
        freeaddrinfo(list);
    (void)printf("%-10s %s, port %u%s%s\n", "host", name, (unsigned)via->addr.port, failed != 0 ? ": " : "",
                 failed != 0 ? gai_strerror(failed) : "");
    return failed != 0 ? EXIT_UNAVAILABLE : EXIT_OK;
}

/* What SCRAM says (RFC 5802 5.1), where it is not the same. */
static struct str prepared(struct str s, struct buf *mem)
{
    bool ok = saslprep(s, SASLPREP_QUERY, mem) == SASLPREP_OK && !str_eq(buf_str(mem), s);
    return ok ? buf_str(mem) : STR_NIL;
}

static int find_login(struct check *c)
{
    const struct hop_login *auth = &c->route->auth;
    char path[PATH_MAX];
    bool is_open;
    if (auth->user.n == 0)
        return EXIT_OK;
    enum err e = str_to_c(auth->secret, path, sizeof path) ? secret_file_read(path, &c->password, &is_open)
                                                           : ERR_TOO_BIG;
    if (e != ERR_OK || crypto_new(&c->crypto) != ERR_OK) {
        say("login", e != ERR_OK ? str_from_c(err_str(e)) : STR("no cryptography"));
        return EXIT_NOINPUT;
    }
    struct str line = buf_str(&c->password);
    line = str_slice(line, 0, str_chr(line, '\n') == STR_NPOS ? line.n : str_chr(line, '\n'));
    if (str_ends(line, STR("\r")))
        line.n--;
    c->login = (struct smtp_client_login){.crypto = c->crypto,
                                          .user = auth->user,
                                          .password = line,
                                          .scram_user = prepared(auth->user, &c->prepared_user),
                                          .scram_password = prepared(line, &c->prepared),
                                          .host = c->route->via.host,
                                          .port = c->route->via.addr.port};
    world_random(c->world, c->login.nonce, sizeof c->login.nonce);
    return EXIT_OK;
}

static int start_tls(struct check *c)
{
    char mem[512];
    struct buf why;
    struct tls_client_conf conf = {.ca = c->config->authorities};
    buf_init_fixed(&why, mem, sizeof mem);
    c->tls = world_tls_client(c->world, &conf, &why);
    if (c->tls == NULL)
        say("TLS", buf_str(&why));
    return c->tls == NULL ? EXIT_OS : EXIT_OK;
}

static int go(struct check *c)
{
    c->io = io_world_new(&c->log, NULL);
    if (c->io == NULL)
        return EXIT_OS;
    c->world = io_world_base(c->io);
    int status = find_addresses(c);
    if (status == EXIT_OK)
        status = find_login(c);
    if (status == EXIT_OK)
        status = start_tls(c);
    if (status != EXIT_OK)
        return status;
    c->timer.fire = on_late;
    world_timer_set(c->world, &c->timer, world_now_ms(c->world) + CHECK_MS);
    connect_next(c);
    if (!c->is_over)
        io_run(c->io);
    return c->status;
}

int relay_check(struct str lua)
{
    struct check c = {.log = {.min = LOG_ERROR, .role = "check", .write = io_log_stderr}};
    struct loaded l;
    bool is_good = load_config(NULL, lua, "relay", 1, &l);
    (void)fprintf(stderr, "%.*s%.*s", STR_FMT(buf_str(&l.warnings)), STR_FMT(buf_str(&l.errors)));
    if (!is_good) {
        loaded_fini(&l);
        return EXIT_CONFIG;
    }
    c.config = l.config;
    c.route = &l.config->policy.routes[0];
    buf_init(&c.password, SECRET_FILE_MAX + 1);
    buf_init_fixed(&c.prepared, c.prepared_mem, sizeof c.prepared_mem);
    buf_init_fixed(&c.prepared_user, c.prepared_user_mem, sizeof c.prepared_user_mem);
    chunk_pool_init(&c.pool, 65536, CHUNKS_MAX);
    int status = go(&c);
    secret_wipe_buf(&c.password);
    secret_wipe_buf(&c.prepared); /* what is open ends with the process */
    return status;
}

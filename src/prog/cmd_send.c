/* prog/cmd_send.c: `waxwing send`: one message through a server, by the same client code that relays mail. */
#include "base/limits.h"
#include "base/log.h"
#include "prog/control.h"
#include "prog/prog.h"
#include "proto/smtp_client.h"
#include "wire/address.h"
#include "wire/date.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char usage_text[] =
    "Usage: waxwing send [--json] [--server HOST:PORT] [--from A] --to B [--to C ...] [--subject TEXT] "
    "[TEXT]\n"
    "\n"
    "Sends one message by SMTP and prints what the server said. Without TEXT the message is read from "
    "standard input: as\n"
    "a whole message with header when no --subject is given, else as its text.\n"
    "  --server   default 127.0.0.1:2525\n"
    "\n"
    "Exit code: 0 every recipient taken, 75 some only temporarily refused, 69 refused or unreachable.\n";

enum { SEND_RCPTS_MAX = 100, SEND_CHUNK = 4096 };

struct send {
    const char *server, *from, *subject;
    struct rcpt rcpts[SEND_RCPTS_MAX];
    uint32_t n_rcpts;
    struct buf message;
    bool json;
    int fd;
    struct smtp_client *client;
    size_t n_given;
    bool wants_body, is_over;
    int status;
};

static uint64_t now_ms(void)
{
    return (uint64_t)prog_clock_ms() + 1; /* never 0 */
}

/* ---- the message ---------------- */

static bool read_input(struct buf *out)
{
    for (;;) {
        if (!buf_reserve(out, 65536))
            return false;
        ssize_t n = read(0, out->p + out->n, 65536);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        out->n += (size_t)n;
    }
}

/* Every line end becomes CRLF: what comes from a terminal or a file has LF. */
static void put_crlf(struct buf *out, struct str in)
{
    while (in.n > 0) {
        bool had_end = str_chr(in, '\n') != STR_NPOS;
        struct str line = str_cut(&in, '\n');
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        buf_put(out, line);
        if (had_end || in.n == 0)
            buf_puts(out, "\r\n");
    }
}

static bool make_message(struct send *s, const char *text)
{
    struct buf in;
    buf_init(&in, 256u << 20);
    buf_init(&s->message, (256u << 20) + 65536);
    bool ok = text != NULL ? buf_puts(&in, text) : read_input(&in);
    if (ok && (text != NULL || s->subject != NULL)) {
        uint64_t id[2] = {0};
        ok = getrandom(id, sizeof id, 0) == (ssize_t)sizeof id;
        buf_puts(&s->message, "Date: ");
        date_format_rfc5322((int64_t)time(NULL), &s->message);
        buf_printf(&s->message, "\r\nFrom: <%s>\r\nTo: ", s->from);
        for (uint32_t i = 0; i < s->n_rcpts; i++)
            buf_printf(&s->message, "%s<%.*s>", i > 0 ? ",\r\n " : "", STR_FMT(s->rcpts[i].address));
        buf_printf(&s->message, "\r\nSubject: %s\r\nMessage-ID: <%016llx%016llx@localhost>\r\n\r\n",
                   s->subject == NULL ? "" : s->subject, (unsigned long long)id[0],
                   (unsigned long long)id[1]);
    }
    put_crlf(&s->message, buf_str(&in));
    buf_fini(&in);
    return ok && !s->message.failed;
}

/* ---- the connection ---------------- */

static bool dial(struct send *s)
{
    char host[256], port[8] = "25";
    struct str h = str_from_c(s->server);
    size_t colon = str_rchr(h, ':');
    if (colon != STR_NPOS && (str_chr(h, ':') == colon || h.p[0] == '[')) {
        if (!str_to_c(str_skip(h, colon + 1), port, sizeof port))
            return false;
        h.n = colon;
    }
    if (h.n > 2 && h.p[0] == '[')
        h = str_slice(h, 1, h.n - 1);
    if (!str_to_c(h, host, sizeof host))
        return false;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int gai = getaddrinfo(host, port, &hints, &list);
    s->fd = -1;
    for (struct addrinfo *a = list; gai == 0 && a != NULL && s->fd == -1; a = a->ai_next) {
        s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (s->fd != -1 && connect(s->fd, a->ai_addr, a->ai_addrlen) == -1) {
            (void)close(s->fd);
            s->fd = -1;
        }
    }
    if (list != NULL)
        freeaddrinfo(list);
    if (s->fd == -1)
        (void)fprintf(stderr, "waxwing: can't reach %s: %s\n", s->server,
                      gai != 0 ? gai_strerror(gai) : err_str(err_from_errno(errno)));
    return s->fd != -1;
}

static void print_result(const struct send *s, struct str rcpt, const struct smtp_client_result *r)
{
    const char *outcome = r->outcome == SMTP_OUTCOME_OK          ? "accepted"
                          : r->outcome == SMTP_OUTCOME_TEMPORARY ? "deferred"
                                                                 : "refused";
    struct buf b;
    buf_init(&b, 65536);
    if (s->json) {
        buf_puts(&b, "{\"recipient\":");
        log_quote(&b, rcpt);
        buf_printf(&b, ",\"outcome\":\"%s\",\"code\":%u,\"stage\":\"%s\",\"text\":", outcome, r->code,
                   smtp_client_stage_name(r->stage));
        log_quote(&b, r->text);
        buf_puts(&b, "}");
    } else {
        buf_printf(&b, "%.*s: %s at %s: %u %.*s", STR_FMT(rcpt), outcome, smtp_client_stage_name(r->stage),
                   r->code, STR_FMT(r->text));
    }
    put_clean(stdout, buf_str(&b));
    (void)putchar('\n');
    buf_fini(&b);
}

static void on_results(struct send *s)
{
    const struct smtp_client_result *r = smtp_client_results(s->client);
    s->status = EXIT_OK;
    for (uint32_t i = 0; i < s->n_rcpts; i++) {
        print_result(s, s->rcpts[i].address, &r[i]);
        if (r[i].outcome == SMTP_OUTCOME_PERMANENT)
            s->status = EXIT_UNAVAILABLE;
        else if (r[i].outcome == SMTP_OUTCOME_TEMPORARY && s->status == EXIT_OK)
            s->status = EXIT_TEMPFAIL;
    }
}

static void on_dead(struct send *s)
{
    const struct smtp_client_result *f = smtp_client_failure(s->client);
    s->is_over = true;
    if (f->outcome == SMTP_OUTCOME_PENDING)
        return;
    (void)fprintf(stderr, "waxwing: %s at %s: ", s->server, smtp_client_stage_name(f->stage));
    (void)fprintf(stderr, "%u ", f->code);
    put_clean(stderr, f->text);
    (void)fputc('\n', stderr);
}

static void take_events(struct send *s)
{
    enum smtp_client_event_kind ev;
    while (smtp_client_next(s->client, &ev)) {
        struct smtp_client_job job = {.from = str_from_c(s->from),
                                      .rcpts = s->rcpts,
                                      .n_rcpts = s->n_rcpts,
                                      .size = s->message.n,
                                      .is_8bit = !str_is_ascii(buf_str(&s->message))};
        switch (ev) {
        case SMTP_CLIENT_READY:
            job.needs_utf8 = !str_is_ascii(job.from);
            for (uint32_t i = 0; i < s->n_rcpts; i++)
                job.needs_utf8 = job.needs_utf8 || !str_is_ascii(s->rcpts[i].address);
            smtp_client_job(s->client, &job, now_ms());
            break;
        case SMTP_CLIENT_WANT_BODY:
            s->wants_body = true;
            break;
        case SMTP_CLIENT_JOB_DONE:
            s->wants_body = false;
            on_results(s);
            if (smtp_client_is_ready(s->client))
                smtp_client_quit(s->client, now_ms());
            break;
        case SMTP_CLIENT_WANT_TLS:        /* only where the session is told to look for it */
        case SMTP_CLIENT_WANT_CONVERSION: /* only of jobs that may_convert */
            must_not_reach();
        case SMTP_CLIENT_DEAD:
            on_dead(s);
            break;
        }
    }
}

static void give_body(struct send *s)
{
    while (s->wants_body) {
        size_t n = smtp_client_body(s->client, str_skip(buf_str(&s->message), s->n_given), now_ms());
        s->n_given += n;
        if (s->n_given == s->message.n) {
            smtp_client_body_end(s->client, now_ms());
            s->wants_body = false;
        } else if (n == 0) {
            return;
        }
    }
}

static void talk(struct send *s)
{
    char in[16384];
    while (!s->is_over) {
        give_body(s);
        struct str out = smtp_client_output(s->client);
        struct pollfd p = {.fd = s->fd, .events = (short)(POLLIN | (out.n > 0 ? POLLOUT : 0))};
        uint64_t now = now_ms(), due = smtp_client_deadline(s->client);
        int ready = poll(&p, 1, due > now ? (int)(due - now < 60000 ? due - now : 60000) : 0);
        if (ready > 0 && (p.revents & POLLOUT) != 0) {
            ssize_t n = send(s->fd, out.p, out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n > 0)
                smtp_client_sent(s->client, (size_t)n, now_ms());
        }
        if (ready > 0 && (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            ssize_t n = recv(s->fd, in, sizeof in, MSG_DONTWAIT);
            if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
                smtp_client_eof(s->client, n == 0 ? ERR_CLOSED : err_from_errno(errno));
            for (size_t used = 0; n > 0 && used < (size_t)n && !s->is_over;) {
                size_t got = smtp_client_feed(s->client, str_of(in + used, (size_t)n - used), now_ms());
                take_events(s);
                if (got == 0)
                    break;
                used += got;
            }
        }
        if (now_ms() >= smtp_client_deadline(s->client))
            smtp_client_tick(s->client, now_ms());
        take_events(s);
    }
}

static bool is_good_address(const char *text, bool may_be_empty)
{
    struct address a;
    if (may_be_empty && text[0] == '\0')
        return true;
    const char *why = address_parse(str_from_c(text), true, &a);
    if (why != NULL)
        (void)fprintf(stderr, "waxwing: '%s' is not an address: %s\n", text, why);
    return why == NULL;
}

static bool parse(struct send *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"server", required_argument, NULL, 's'},
        {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 't'},
        {"subject", required_argument, NULL, 'u'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            s->is_over = true;
            return true;
        }
        if (c == 'j')
            s->json = true;
        else if (c == 's')
            s->server = optarg;
        else if (c == 'f')
            s->from = optarg;
        else if (c == 'u' && !str_has_ctl(str_from_c(optarg)))
            s->subject = optarg;
        else if (c == 't' && s->n_rcpts < SEND_RCPTS_MAX && is_good_address(optarg, false))
            s->rcpts[s->n_rcpts++].address = str_from_c(optarg);
        else
            return false;
    }
    return s->n_rcpts > 0 && optind >= argc - 1 && is_good_address(s->from, true);
}

int cmd_send(int argc, char **argv)
{
    struct send s = {.server = "127.0.0.1:2525", .from = "postmaster@localhost", .status = EXIT_UNAVAILABLE};
    struct chunk_pool pool;
    if (!parse(&s, argc, argv)) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    if (s.is_over)
        return EXIT_OK;
    if (!make_message(&s, optind < argc ? argv[optind] : NULL)) {
        (void)fputs("waxwing: the message could not be read or is too big\n", stderr);
        return EXIT_NOINPUT;
    }
    if (dial(&s)) {
        static const struct smtp_client_conf conf = {.helo = {"localhost", 9}};
        chunk_pool_init(&pool, SEND_CHUNK, 4096);
        s.client = smtp_client_new(&conf, &pool, now_ms());
        if (s.client != NULL)
            talk(&s);
        smtp_client_del(&s.client);
        (void)close(s.fd);
    }
    buf_fini(&s.message);
    return s.status;
}

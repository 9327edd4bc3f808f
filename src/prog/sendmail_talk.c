#include "prog/sendmail.h"

#include "base/err.h"
#include "base/limits.h"
#include "config/config.h"
#include "prog/control.h"
#include "prog/load.h"
#include "wire/address.h"
#include "wire/date.h"
#include "wire/dotstuff.h"
#include "wire/smtp_reply.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { NAME_ROOM = SMTP_DOMAIN_MAX + 1, FULL_NAME_MAX = 200 };

struct session {
    int fd;
    char in[4096];
    size_t in_at, in_n;
    struct smtp_reply_parser parser;
    unsigned n_ehlo_lines;
    char server[NAME_ROOM]; /* what it calls itself */
    char domain[NAME_ROOM]; /* of addresses without one */
    bool has_8bitmime, has_utf8, has_dsn, has_size;
};

/* -1: it was said why, *status is the exit code. */
static int dial(int *status)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *path = socket_path("WAXWING_SUBMIT", CONFIG_SUBMIT_PATH, "submit");
    *status = EXIT_TEMPFAIL;
    if (!str_to_c(str_from_c(path), sa.sun_path, sizeof sa.sun_path)) {
        (void)fprintf(stderr, "sendmail: the path of the server's socket is too long: %s\n", path);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd != -1 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    if (errno == EACCES || errno == EPERM)
        *status = EXIT_NOPERM;
    (void)fprintf(
        stderr, "sendmail: nothing was sent: can't reach the mail server at %s: %s%s\n", path,
        err_str(err_from_errno(errno)),
        errno == ENOENT || errno == ECONNREFUSED ? " (is `waxwing serve` or `waxwing relay` running?)" : "");
    if (fd != -1)
        (void)close(fd);
    return -1;
}

/* ---- lines and replies ---------------- */

/* A server that speaks before all is written has refused it: false, and its reply is there to be read. */
static bool put(struct session *c, struct str s)
{
    while (s.n > 0) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLOUT};
        int n_ready = poll(&p, 1, SMTP_CLIENT_DATA_BLOCK_MS);
        if (n_ready == -1 && errno == EINTR)
            continue;
        if (n_ready <= 0 || (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            return false;
        ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == -1 && errno != EINTR && errno != EAGAIN)
            return false;
        if (n > 0)
            s = str_skip(s, (size_t)n);
    }
    return true;
}

static bool fill(struct session *c)
{
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int n_ready = poll(&p, 1, SMTP_CLIENT_DATA_END_MS);
        if (n_ready == -1 && errno == EINTR)
            continue;
        ssize_t n = n_ready > 0 ? recv(c->fd, c->in, sizeof c->in, 0) : 0;
        if (n == -1 && errno == EINTR)
            continue;
        c->in_at = 0;
        c->in_n = n > 0 ? (size_t)n : 0;
        return n > 0;
    }
}

static void on_ehlo_line(void *arg, struct str line)
{
    struct session *c = arg;
    struct str word = str_cut(&line, ' ');
    if (c->n_ehlo_lines++ == 0) {
        if (domain_is_valid(word, false))
            (void)str_to_c(word, c->server, sizeof c->server);
        return;
    }
    c->has_8bitmime = c->has_8bitmime || str_ieq(word, STR("8BITMIME"));
    c->has_utf8 = c->has_utf8 || str_ieq(word, STR("SMTPUTF8"));
    c->has_dsn = c->has_dsn || str_ieq(word, STR("DSN"));
    c->has_size = c->has_size || str_ieq(word, STR("SIZE"));
}

/* The reply's code, 0 when none came. */
static unsigned get(struct session *c, bool is_ehlo)
{
    smtp_reply_parser_init(&c->parser);
    for (;;) {
        size_t used = 0;
        enum smtp_reply_status st = smtp_reply_feed(&c->parser, str_of(c->in + c->in_at, c->in_n - c->in_at),
                                                    &used, is_ehlo ? on_ehlo_line : NULL, c);
        c->in_at += used;
        if (st == SMTP_REPLY_DONE)
            return c->parser.reply.code;
        if (st == SMTP_REPLY_BAD || (c->in_at == c->in_n && !fill(c))) {
            c->parser.reply = (struct smtp_reply){0};
            return 0;
        }
    }
}

static unsigned ask(struct session *c, const struct buf *line)
{
    if (line->failed) {
        c->parser.reply = (struct smtp_reply){.code = 500};
        return 500;
    }
    (void)put(c, buf_str(line)); /* whether it came through is seen by the reply */
    return get(c, false);
}

/* sysexits(3) for a reply, by RFC 3463 where the server gives its codes. */
static int exit_code(const struct smtp_reply *r)
{
    if (r->code < 500)
        return r->code >= 200 && r->code < 400 ? EXIT_OK : EXIT_TEMPFAIL;
    if (r->esc.class == 5 && r->esc.subject == 1)
        return EXIT_NOUSER;
    if (r->code == 552 || (r->esc.class == 5 && r->esc.subject == 6))
        return EXIT_DATA;
    return r->esc.class == 5 && r->esc.subject == 7 ? EXIT_NOPERM : EXIT_UNAVAILABLE;
}

static int refused(const struct session *c, const char *what, struct str whom)
{
    const struct smtp_reply *r = &c->parser.reply;
    int status = exit_code(r);
    (void)fprintf(stderr, "sendmail: %s", what);
    put_clean(stderr, whom);
    if (r->code == 0)
        (void)fputs(": the server ended the connection", stderr);
    else
        (void)fprintf(stderr, ": %u ", r->code);
    put_clean(stderr, str_of(r->text, r->text_n));
    (void)fputc('\n', stderr);
    return status == EXIT_OK ? EXIT_TEMPFAIL : status; /* a reply that can't be meant */
}

/* ---- names ---------------- */

/* Debian's /etc/mailname (its policy, 11.6) is what follows the @ where nothing does; else the server's name.
 */
static void find_domain(struct session *c)
{
    struct buf b;
    buf_init(&b, 4096);
    (void)str_to_c(str_from_c(c->server), c->domain, sizeof c->domain);
    if (load_file("/etc/mailname", 4000, &b) == ERR_OK) {
        struct str rest = buf_str(&b), line = str_trim(str_cut(&rest, '\n'));
        if (domain_is_valid(line, false))
            (void)str_to_c(line, c->domain, sizeof c->domain);
    }
    buf_fini(&b);
}

static void put_address(const struct session *c, struct str address, struct buf *out)
{
    struct address a;
    buf_put(out, address);
    if (address.n > 0 && address_parse(address, true, &a) == NULL && a.kind == DOMAIN_NONE)
        buf_printf(out, "@%s", c->domain);
}

/* false: this user has no name. */
static bool put_login(const struct session *c, struct buf *out)
{
    const struct passwd *pw = getpwuid(getuid());
    if (pw == NULL || pw->pw_name[0] == '\0') {
        (void)fprintf(stderr, "sendmail: user id %u has no name; give the sender with -f\n",
                      (unsigned)getuid());
        return false;
    }
    address_format(str_from_c(pw->pw_name), str_from_c(c->domain), out);
    return !out->failed;
}

/* The name of a person before the address: as a quoted-string, or in encoded words (RFC 2047 4.2, 5(3)). */
static void put_phrase(struct str name, struct buf *out)
{
    if (str_is_ascii(name)) {
        buf_putc(out, '"');
        for (size_t i = 0; i < name.n; i++) {
            if (name.p[i] == '"' || name.p[i] == '\\')
                buf_putc(out, '\\');
            buf_putc(out, name.p[i]);
        }
        buf_putc(out, '"');
        return;
    }
    while (name.n > 0) {
        size_t before = out->n;
        buf_puts(out, "=?utf-8?q?");
        while (name.n > 0 && out->n - before < 75 - 2 - 12) { /* a character is 12 octets at most */
            uint32_t code;
            size_t n = utf8_next(name, &code);
            for (size_t i = 0; i < (n == 0 ? 1 : n); i++) {
                if (ascii_is_alnum(name.p[i]))
                    buf_putc(out, name.p[i]);
                else
                    buf_printf(out, "=%02X", (unsigned char)name.p[i]);
            }
            name = str_skip(name, n == 0 ? 1 : n);
        }
        buf_puts(out, name.n > 0 ? "?=\r\n " : "?=");
    }
}

static struct str full_name(const struct sendmail *s)
{
    struct str name = str_from_c(s->full_name);
    if (s->full_name == NULL) {
        const struct passwd *pw = getpwuid(getuid());
        name = str_from_c(pw == NULL || pw->pw_gecos == NULL ? "" : pw->pw_gecos);
        name = str_cut(&name, ',');
        if (str_chr(name, '&') != STR_NPOS)
            name = STR_NIL;
    }
    return name.n > FULL_NAME_MAX || str_has_ctl(name) || !utf8_is_valid(name) ? STR_NIL : name;
}

/* What RFC 5322 3.6 wants in a message and this one has not. */
static bool put_missing(const struct session *c, const struct sendmail *s, struct str sender, struct buf *out)
{
    const char *again = s->is_resent ? "Resent-" : "";
    uint64_t id[2] = {0};
    if (s->lacks_date) {
        buf_printf(out, "%sDate: ", again);
        date_format_rfc5322((int64_t)time(NULL), out);
        buf_puts(out, "\r\n");
    }
    if (s->lacks_from) {
        struct str name = full_name(s);
        buf_printf(out, "%sFrom: ", again);
        if (name.n > 0)
            put_phrase(name, out);
        buf_puts(out, name.n > 0 ? " <" : "<");
        if (sender.n > 0)
            buf_put(out, sender);
        else
            buf_printf(out, "MAILER-DAEMON@%s", c->domain);
        buf_puts(out, ">\r\n");
    }
    if (s->lacks_id) {
        if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
            return false;
        buf_printf(out, "%sMessage-ID: <%016llx%016llx@%s>\r\n", again, (unsigned long long)id[0],
                   (unsigned long long)id[1], c->server);
    }
    return !out->failed;
}

/* ---- the conversation ---------------- */

/* false: *status is the exit code. */
static bool greet(struct session *c, int *status)
{
    char mem[512], name[NAME_ROOM];
    struct buf line;
    c->fd = dial(status);
    if (c->fd == -1)
        return false;
    buf_init_fixed(&line, mem, sizeof mem);
    if (gethostname(name, sizeof name) != 0 ||
        !domain_is_valid(str_of(name, strnlen(name, sizeof name)), false))
        (void)str_to_c(STR("localhost"), name, sizeof name);
    (void)str_to_c(STR("localhost"), c->server, sizeof c->server);
    buf_printf(&line, "EHLO %s\r\n", name);
    if (get(c, false) != 220 || !put(c, buf_str(&line)) || get(c, true) != 250) {
        *status = refused(c, "nothing was sent: the server does not greet", STR_NIL);
        (void)close(c->fd);
        return false;
    }
    find_domain(c);
    return true;
}

static void part(struct session *c)
{
    (void)put(c, STR("QUIT\r\n"));
    (void)close(c->fd);
}

static bool needs_utf8(const struct sendmail *s, struct str sender)
{
    return s->has_utf8_header || !str_is_ascii(sender) || !str_is_ascii(buf_str(&s->rcpts));
}

static int say_mail(struct session *c, const struct sendmail *s, struct str sender, uint64_t size)
{
    char mem[SMTP_COMMAND_LINE_MAX];
    struct buf line;
    buf_init_fixed(&line, mem, sizeof mem);
    buf_puts(&line, "MAIL FROM:<");
    buf_put(&line, sender);
    buf_putc(&line, '>');
    if (c->has_size && size > 0)
        buf_printf(&line, " SIZE=%llu", (unsigned long long)size);
    if (c->has_8bitmime)
        buf_puts(&line, s->is_8bit && !s->is_7bit ? " BODY=8BITMIME" : " BODY=7BIT");
    if (c->has_utf8 && needs_utf8(s, sender))
        buf_puts(&line, " SMTPUTF8");
    if (c->has_dsn && s->ret != DSN_RET_NONE)
        buf_puts(&line, s->ret == DSN_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if (c->has_dsn && s->envid != NULL) {
        buf_puts(&line, " ENVID=");
        xtext_encode(str_from_c(s->envid), &line);
    }
    buf_puts(&line, "\r\n");
    return ask(c, &line) == 250 ? EXIT_OK
                                : refused(c, "nothing was sent: the server refuses the sender ", sender);
}

static unsigned say_rcpt(struct session *c, const struct sendmail *s, struct str rcpt)
{
    char mem[SMTP_COMMAND_LINE_MAX];
    struct buf line;
    buf_init_fixed(&line, mem, sizeof mem);
    buf_puts(&line, "RCPT TO:<");
    put_address(c, rcpt, &line);
    buf_putc(&line, '>');
    if (c->has_dsn && s->notify != 0) {
        buf_puts(&line, " NOTIFY=");
        notify_put(s->notify, &line);
    }
    buf_puts(&line, "\r\n");
    return ask(c, &line);
}

/* Who is refused for now stops it all, so that a caller who tries again sends nothing twice; who is refused
 * for good is named, and the others get it. *n_taken: for how many the server answers. */
static int say_rcpts(struct session *c, const struct sendmail *s, uint32_t *n_taken)
{
    struct str rest = buf_str(&s->rcpts);
    int status = EXIT_OK;
    while (rest.n > 0) {
        struct str rcpt = str_cut(&rest, '\n');
        unsigned code = say_rcpt(c, s, rcpt);
        if (code == 250 || code == 251) {
            (*n_taken)++;
            continue;
        }
        status = refused(c, "not sent to ", rcpt);
        if (status == EXIT_TEMPFAIL) {
            (void)fputs("sendmail: nothing was sent\n", stderr);
            *n_taken = 0;
            return status;
        }
        status = EXIT_NOUSER;
    }
    return status;
}

static bool put_stuffed(struct session *c, struct dot_encoder *e, struct str s)
{
    char mem[16384];
    struct buf out;
    while (s.n > 0) {
        buf_init_fixed(&out, mem, sizeof mem);
        s = str_skip(s, dot_encode(e, s, &out));
        if (!put(c, buf_str(&out)))
            return false;
    }
    return true;
}

/* After 354. */
static int say_message(struct session *c, struct sendmail *s, const struct buf *top)
{
    struct dot_encoder e;
    struct buf block;
    char end_mem[8];
    struct buf end;
    dot_encoder_init(&e);
    buf_init(&block, 2 * SENDMAIL_BLOCK);
    bool ok = put_stuffed(c, &e, buf_str(top)) && put_stuffed(c, &e, buf_str(&s->header)) &&
              put_stuffed(c, &e, STR("\r\n"));
    bool is_whole = true;
    for (uint64_t at = 0; ok && at < s->body_size && is_whole; at += block.n) {
        is_whole = sendmail_body_next(s, at, &block);
        ok = is_whole && put_stuffed(c, &e, buf_str(&block));
    }
    buf_fini(&block);
    if (!is_whole) { /* without its final dot the server keeps nothing of it */
        (void)fputs("sendmail: nothing was sent: the file in TMPDIR can't be read\n", stderr);
        return EXIT_TEMPFAIL;
    }
    buf_init_fixed(&end, end_mem, sizeof end_mem);
    dot_encode_end(&e, &end);
    if (ok)
        (void)put(c, buf_str(&end));
    if (get(c, false) != 250 || !ok)
        return refused(c, "nothing was sent: the server does not take the message", STR_NIL);
    if (s->is_verbose) {
        (void)fputs("sendmail: ", stdout);
        put_clean(stdout, str_of(c->parser.reply.text, c->parser.reply.text_n));
        (void)fputc('\n', stdout);
    }
    return EXIT_OK;
}

static int submit_on(struct session *c, struct sendmail *s, struct buf *sender, struct buf *top)
{
    uint32_t n_taken = 0;
    if (s->has_from)
        put_address(c, buf_str(&s->from), sender);
    else if (!put_login(c, sender))
        return EXIT_OS;
    if (!put_missing(c, s, buf_str(sender), top)) {
        (void)fputs("sendmail: no memory, or no random numbers, for Message-ID; nothing was sent\n", stderr);
        return EXIT_TEMPFAIL;
    }
    int status = say_mail(c, s, buf_str(sender), top->n + s->header.n + 2 + s->body_size);
    if (status == EXIT_OK)
        status = say_rcpts(c, s, &n_taken);
    if (n_taken == 0)
        return status;
    if (!put(c, STR("DATA\r\n")) || get(c, false) != 354)
        return refused(c, "nothing was sent: the server does not take the message", STR_NIL);
    int said = say_message(c, s, top);
    return said != EXIT_OK ? said : status;
}

int sendmail_submit(struct sendmail *s)
{
    struct session c = {.fd = -1};
    struct buf sender, top;
    int status;
    if (!greet(&c, &status))
        return status;
    buf_init(&sender, SMTP_PATH_MAX);
    buf_init(&top, 8192);
    status = submit_on(&c, s, &sender, &top);
    part(&c);
    buf_fini(&sender);
    buf_fini(&top);
    return status;
}

int sendmail_verify(struct sendmail *s)
{
    struct session c = {.fd = -1};
    int status;
    if (!greet(&c, &status))
        return status;
    status = say_mail(&c, s, STR_NIL, 0);
    struct str rest = status == EXIT_OK ? buf_str(&s->rcpts) : STR_NIL;
    while (rest.n > 0) {
        struct str rcpt = str_cut(&rest, '\n');
        unsigned code = say_rcpt(&c, s, rcpt);
        bool is_good = code == 250 || code == 251;
        put_clean(stdout, rcpt);
        (void)printf(": %s: %u ", is_good ? "deliverable" : "not deliverable", code);
        put_clean(stdout, str_of(c.parser.reply.text, c.parser.reply.text_n));
        (void)fputc('\n', stdout);
        if (!is_good && status != EXIT_NOUSER)
            status = code >= 500 ? EXIT_NOUSER : EXIT_TEMPFAIL;
    }
    part(&c);
    return status;
}

/* ---- -bs ---------------- */

enum { STREAM_MAX = 4096 }; /* PIPE_BUF: a write of so much to a pipe that has room does not wait */

struct stream {
    char mem[STREAM_MAX];
    size_t at, n; /* what was read and not yet written */
    bool is_over; /* nothing more comes, or nobody takes it */
};

/* Reads when all that came before was written. */
static void stream_read(struct stream *s, int from)
{
    ssize_t n = read(from, s->mem, sizeof s->mem);
    if (n == -1 && errno == EINTR)
        return;
    s->at = 0;
    s->n = n > 0 ? (size_t)n : 0;
    s->is_over = n <= 0;
}

static void stream_wrote(struct stream *s, ssize_t n)
{
    if (n == -1 && errno != EINTR && errno != EAGAIN) {
        s->is_over = true;
        s->n = 0;
    }
    s->at += n > 0 ? (size_t)n : 0;
    s->n -= n > 0 ? (size_t)n : 0;
}

/* Neither direction waits for the other: a server that does not read before its replies are taken gets rid of
 * them, and its last words come through when it has closed while the client still talks. */
static void carry(int fd)
{
    struct stream up = {.n = 0}, down = {.n = 0};
    bool is_shut = false;
    while (!down.is_over || down.n > 0) {
        short at_server = (short)((up.n > 0 ? POLLOUT : 0) | (down.n == 0 && !down.is_over ? POLLIN : 0));
        struct pollfd p[3] = {
            {.fd = up.n == 0 && !up.is_over ? 0 : -1, .events = POLLIN},
            {.fd = at_server != 0 ? fd : -1, .events = at_server},
            {.fd = down.n > 0 ? 1 : -1, .events = POLLOUT},
        };
        if (poll(p, ARRAY_LEN(p), -1) == -1 && errno != EINTR)
            return;
        if (p[0].revents != 0)
            stream_read(&up, 0);
        if (p[1].revents != 0 && up.n > 0)
            stream_wrote(&up, send(fd, up.mem + up.at, up.n, MSG_NOSIGNAL | MSG_DONTWAIT));
        if (p[1].revents != 0 && (p[1].revents & ~POLLOUT) != 0 && down.n == 0)
            stream_read(&down, fd);
        if (p[2].revents != 0)
            stream_wrote(&down, write(1, down.mem + down.at, down.n));
        if (up.is_over && up.n == 0 && !is_shut) {
            is_shut = true;
            (void)shutdown(fd, SHUT_WR);
        }
    }
}

int sendmail_pass_through(void)
{
    int status;
    int fd = dial(&status);
    if (fd == -1)
        return status;
    carry(fd);
    (void)close(fd);
    return EXIT_OK;
}

#include "prog/sendmail.h"

#include "base/err.h"
#include "base/limits.h"
#include "prog/control.h"
#include "wire/addrlist.h"
#include "wire/header.h"
#include "wire/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Lines on their way from any line end to CRLF. */
struct lines {
    bool ignores_dots, in_line, has_dot, has_cr, is_over;
};

static void say(const char *what, struct str text)
{
    (void)fprintf(stderr, "sendmail: %s", what);
    put_clean(stderr, text);
    (void)fputc('\n', stderr);
}

static bool is_known(const struct sendmail *s, struct str address)
{
    struct str rest = buf_str(&s->rcpts);
    while (rest.n > 0) {
        if (str_eq(str_cut(&rest, '\n'), address))
            return true;
    }
    return false;
}

bool sendmail_add_rcpts(struct sendmail *s, struct str text)
{
    struct addrlist l;
    struct str element;
    const char *why = NULL;
    enum addrlist_status st;
    char mem[2 * SMTP_PATH_MAX];
    struct buf one;
    addrlist_init(&l, text);
    buf_init_fixed(&one, mem, sizeof mem);
    while ((st = addrlist_next(&l, &one, &element, &why)) == ADDRLIST_MAILBOX) {
        if (!is_known(s, buf_str(&one))) {
            if (s->n_rcpts == SMTP_RCPT_MAX) {
                (void)fprintf(stderr,
                              "sendmail: a message may have %u recipients at most; nothing was sent\n",
                              (unsigned)SMTP_RCPT_MAX);
                return false;
            }
            s->n_rcpts++;
            if (!buf_put(&s->rcpts, buf_str(&one)) || !buf_putc(&s->rcpts, '\n')) {
                say("no memory for the recipients; nothing was sent", STR_NIL);
                return false;
            }
        }
        buf_reset(&one);
    }
    if (st == ADDRLIST_END)
        return true;
    (void)fprintf(stderr, "sendmail: %s; nothing was sent: ", why);
    put_clean(stderr, element);
    (void)fputc('\n', stderr);
    return false;
}

/* ---- line ends ---------------- */

/* A CR that ends no line becomes a space, as Postfix has it (cleanup_replace_stray_cr_lf): SMTP has no way to
 * carry one, and what a lenient reader takes for a line end must be none. */
static void take_octet(struct lines *l, char c, struct buf *out)
{
    if (l->has_dot) {
        if (c == '\n') {
            l->is_over = true;
            return;
        }
        if (c == '\r' && !l->has_cr) {
            l->has_cr = true;
            return;
        }
        buf_putc(out, '.');
        l->has_dot = false;
    }
    if (l->has_cr && c != '\n')
        buf_putc(out, ' ');
    l->has_cr = c == '\r';
    if (c == '\n')
        buf_puts(out, "\r\n");
    else if (c == '.' && !l->in_line && !l->ignores_dots)
        l->has_dot = true;
    else if (c != '\r')
        buf_putc(out, c);
    l->in_line = c != '\n';
}

static void take_end(struct lines *l, struct buf *out)
{
    if (!l->is_over && !l->has_dot && l->in_line)
        buf_puts(out, "\r\n");
    l->is_over = true;
}

/* Appends the next lines, or their end. false: the input can't be read. */
static bool read_some(struct lines *l, struct buf *out)
{
    char in[SENDMAIL_BLOCK];
    ssize_t n;
    do
        n = read(0, in, sizeof in);
    while (n == -1 && errno == EINTR);
    for (ssize_t i = 0; i < n && !l->is_over; i++)
        take_octet(l, in[i], out);
    if (n == 0)
        take_end(l, out);
    if (out->failed)
        errno = ENOMEM;
    return n >= 0 && !out->failed;
}

/* ---- the body ---------------- */

static bool write_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n == -1 && errno != EINTR)
            return false;
        if (n > 0)
            s = str_skip(s, (size_t)n);
    }
    return true;
}

static bool open_file(struct sendmail *s)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/waxwing-XXXXXX",
                     folder != NULL && folder[0] == '/' ? folder : "/tmp");
    if (n < 0 || (size_t)n >= sizeof path)
        return false;
    s->body_fd = mkostemp(path, O_CLOEXEC);
    return s->body_fd != -1 && unlink(path) == 0;
}

static int put_body(struct sendmail *s, struct str piece)
{
    s->body_size += piece.n;
    s->is_8bit = s->is_8bit || !str_is_ascii(piece);
    if (s->body_size > SENDMAIL_SIZE_MAX) {
        say("the message is too big; nothing was sent", STR_NIL);
        return EXIT_DATA;
    }
    bool ok = true;
    if (s->body_fd == -1 && s->body_size <= SENDMAIL_MEMORY_MAX)
        ok = buf_put(&s->body, piece);
    else if (s->body_fd != -1)
        ok = write_all(s->body_fd, piece);
    else
        ok = open_file(s) && write_all(s->body_fd, buf_str(&s->body)) && write_all(s->body_fd, piece);
    if (ok)
        return EXIT_OK;
    say("the message can't be kept in TMPDIR; nothing was sent: ",
        str_from_c(err_str(err_from_errno(errno))));
    return EXIT_TEMPFAIL;
}

bool sendmail_body_next(struct sendmail *s, uint64_t at, struct buf *out)
{
    buf_reset(out);
    if (s->body_fd == -1)
        return buf_put(out, str_slice(buf_str(&s->body), at, at + SENDMAIL_BLOCK));
    ssize_t n = -1;
    if (buf_reserve(out, SENDMAIL_BLOCK)) {
        do
            n = pread(s->body_fd, out->p, SENDMAIL_BLOCK, (off_t)at);
        while (n == -1 && errno == EINTR);
    }
    out->n = n > 0 ? (size_t)n : 0;
    return n >= 0 && (n > 0 || at >= s->body_size);
}

/* ---- the header ---------------- */

static bool is_one_of(struct str name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (str_ieq(name, str_from_c(*names)))
            return true;
    }
    return false;
}

/* RFC 5322 3.6.6: a message that is sent again says in fields of their own who gets it now. */
static bool is_resent(struct str text)
{
    struct header_walk w;
    struct header_field f = {0};
    header_walk_init(&w, text);
    while (header_walk_next(&w, &f)) {
        if (str_istarts(f.name, STR("Resent-")))
            return true;
    }
    return false;
}

static int take_header(struct sendmail *s, struct str text, struct str *body)
{
    static const char *const dropped[] = {"Bcc", "Resent-Bcc", "Return-Path", NULL};
    static const char *const to[] = {"To", "Cc", "Bcc", NULL};
    struct header_walk w;
    struct header_field f = {0};
    s->is_resent = is_resent(text);
    s->lacks_from = s->lacks_date = s->lacks_id = true;
    header_walk_init(&w, text);
    while (header_walk_next(&w, &f)) {
        struct str name = f.name;
        bool is_again = str_istarts(name, STR("Resent-"));
        if (is_again)
            name = str_skip(name, 7);
        if (is_again == s->is_resent) {
            if (s->takes_header && is_one_of(name, to) && !sendmail_add_rcpts(s, f.body))
                return EXIT_DATA;
            s->lacks_from = s->lacks_from && !str_ieq(name, STR("From"));
            s->lacks_date = s->lacks_date && !str_ieq(name, STR("Date"));
            s->lacks_id = s->lacks_id && !str_ieq(name, STR("Message-ID"));
        }
        /* Bcc is for us alone (RFC 5322 3.6.3); Return-Path is for the last server to write (RFC 5321 4.4) */
        if (!is_one_of(f.name, dropped))
            buf_put(&s->header, f.raw);
    }
    *body = w.rest;
    s->has_utf8_header = !str_is_ascii(buf_str(&s->header)) && utf8_is_valid(buf_str(&s->header));
    s->is_8bit = !str_is_ascii(buf_str(&s->header));
    if (s->header.failed)
        say("no memory for the header; nothing was sent", STR_NIL);
    return s->header.failed ? EXIT_TEMPFAIL : EXIT_OK;
}

/* The line that parts messages in a mailbox file is not of the message. */
static void drop_mbox_line(struct buf *text)
{
    struct str s = buf_str(text);
    if (str_starts(s, STR("From ")) || str_starts(s, STR(">From ")))
        buf_consume(text, str_chr(s, '\n') == STR_NPOS ? s.n : str_chr(s, '\n') + 1);
}

int sendmail_read(struct sendmail *s)
{
    struct lines l = {.ignores_dots = s->ignores_dots};
    struct buf text;
    struct str body = STR_NIL;
    int status = EXIT_OK;
    bool ok = true, is_begun = false;
    buf_init(&text, HEADER_SECTION_MAX + 4 * SENDMAIL_BLOCK);
    while ((ok = read_some(&l, &text)) && !l.is_over) {
        if (!is_begun && str_chr(buf_str(&text), '\n') == STR_NPOS && text.n <= HEADER_SECTION_MAX)
            continue;
        if (!is_begun)
            drop_mbox_line(&text);
        is_begun = true;
        if (header_section_size(buf_str(&text)) != STR_NPOS || text.n > HEADER_SECTION_MAX)
            break;
    }
    if (ok && !is_begun)
        drop_mbox_line(&text);
    size_t size = header_section_size(buf_str(&text));
    if (ok && (size == STR_NPOS ? text.n : size) > HEADER_SECTION_MAX) {
        say("the header is longer than a server takes; nothing was sent", STR_NIL);
        status = EXIT_DATA;
    } else if (ok) {
        status = take_header(s, buf_str(&text), &body);
    }
    if (ok && status == EXIT_OK)
        status = put_body(s, body);
    while (ok && status == EXIT_OK && !l.is_over) {
        buf_reset(&text);
        if ((ok = read_some(&l, &text)))
            status = put_body(s, buf_str(&text));
    }
    if (!ok) {
        say("the message can't be read; nothing was sent: ", str_from_c(err_str(err_from_errno(errno))));
        status = EXIT_NOINPUT;
    }
    buf_fini(&text);
    return status;
}

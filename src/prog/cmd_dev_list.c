/* prog/cmd_dev_list.c: `waxwing dev list`, `clear` and `wait`. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/queue_id.h"
#include "prog/cmd_dev.h"
#include "prog/control.h"
#include "prog/prog.h"
#include "wire/date.h"
#include "wire/encoded_word.h"
#include "wire/header.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD_MAX = HEADER_SECTION_MAX + 8192,
    HEAD_USUAL = 8192,
    TRACE_MAX = 2048,
    SHOWN_RCPTS = 3,
    SHOWN_SUBJECT = 300
};

/* ---- messages as rows ---------------- */

enum err dev_read(const struct dev_place *p, const struct box_copy *copy, size_t max, bool is_cut_ok,
                  struct buf *out)
{
    enum err e = ERR_OK;
    int fd = openat(p->mail, copy->path.p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd == -1)
        return err_from_errno(errno);
    while (e == ERR_OK) {
        size_t room = max + 1 - out->n < 65536 ? max + 1 - out->n : 65536;
        if (!buf_reserve(out, room)) {
            e = ERR_NOMEM;
            break;
        }
        ssize_t n = room == 0 ? 0 : read(fd, out->p + out->n, room);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            e = err_from_errno(errno);
        if (n <= 0)
            break;
        out->n += (size_t)n;
    }
    (void)close(fd);
    if (e == ERR_OK && out->n > max) {
        out->n = max;
        e = is_cut_ok ? ERR_OK : ERR_TOO_BIG;
    }
    return e;
}

json_t *dev_json_text(struct str s)
{
    struct buf text;
    buf_init(&text, s.n * CHARSET_GROWTH_MAX + 1);
    charset_guess(s, &text);
    json_t *v = json_stringn(text.n == 0 ? "" : text.p, text.n);
    buf_fini(&text);
    return v;
}

static json_t *recipients(const struct dev_place *p, const struct box_message *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_copies; i++) {
        struct buf top;
        struct box_head head;
        buf_init(&top, TRACE_MAX + 1);
        if (dev_read(p, &m->copies[i], TRACE_MAX, true, &top) == ERR_OK && box_head(buf_str(&top), &head))
            (void)json_array_append_new(list, dev_json_text(head.to));
        buf_fini(&top);
    }
    return list;
}

static json_t *subject_of(struct str message)
{
    struct header_walk w;
    struct header_field f;
    struct buf text;
    buf_init(&text, HEAD_MAX * CHARSET_GROWTH_MAX);
    header_walk_init(&w, message);
    while (header_walk_next(&w, &f)) {
        if (str_ieq(f.name, STR("Subject"))) {
            encoded_words_decode(f.body, &dev_charsets, &text);
            break;
        }
    }
    json_t *v = dev_json_text(buf_str(&text));
    buf_fini(&text);
    return v;
}

/* The beginning of the file, with all of the message's header. */
static bool read_top(const struct dev_place *p, const struct box_copy *copy, struct buf *top,
                     struct box_head *head)
{
    if (dev_read(p, copy, HEAD_USUAL, true, top) != ERR_OK)
        return false;
    if (top->n == HEAD_USUAL && header_section_size(buf_str(top)) == STR_NPOS) {
        buf_reset(top);
        if (dev_read(p, copy, HEAD_MAX, true, top) != ERR_OK)
            return false;
    }
    return box_head(buf_str(top), head);
}

json_t *dev_row(const struct dev_place *p, const struct box *b, size_t index)
{
    const struct box_message *m = &b->messages[index];
    const struct box_copy *first = &m->copies[0];
    struct buf top, text;
    struct box_head head;
    struct stat st;
    char mem[64];
    json_t *row = NULL;
    buf_init(&top, HEAD_MAX + 1);
    if (read_top(p, first, &top, &head) && fstatat(p->mail, first->path.p, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        row = json_object();
        (void)json_object_set_new(row, "number", json_integer((json_int_t)index + 1));
        buf_init_fixed(&text, mem, sizeof mem);
        queue_id_format(m->id, &text);
        (void)json_object_set_new(row, "id", dev_json_text(buf_str(&text)));
        buf_reset(&text);
        date_format_rfc3339(m->when_ns / 1000000, false, &text);
        (void)json_object_set_new(row, "time", dev_json_text(buf_str(&text)));
        (void)json_object_set_new(row, "from", dev_json_text(head.from));
        (void)json_object_set_new(row, "to", recipients(p, m));
        size_t on_top = (size_t)(head.message.p - top.p);
        (void)json_object_set_new(row, "size", json_integer((json_int_t)st.st_size - (json_int_t)on_top));
        (void)json_object_set_new(row, "subject", subject_of(head.message));
    }
    buf_fini(&top);
    return row;
}

/* ---- rows for people ---------------- */

static void print_time(const char *rfc3339)
{
    int64_t unix_s;
    char text[64];
    struct tm tm;
    if (!date_parse_rfc3339(str_from_c(rfc3339), &unix_s))
        return;
    time_t t = (time_t)unix_s;
    if (localtime_r(&t, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm) > 0)
        (void)fputs(text, stdout);
}

/* As much of it as a line should hold. */
static void print_subject(const char *subject)
{
    struct str s = str_from_c(subject);
    size_t n = s.n < SHOWN_SUBJECT ? s.n : SHOWN_SUBJECT;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80) /* not within a character */
        n--;
    put_clean(stdout, str_slice(s, 0, n));
    (void)fputs(n < s.n ? "...\n" : "\n", stdout);
}

static void print_size(long long n)
{
    if (n < 10000)
        (void)printf("%lld octets", n);
    else if (n < 10000 * 1024LL)
        (void)printf("%lld KiB", n / 1024);
    else
        (void)printf("%lld MiB", n / 1024 / 1024);
}

void dev_print_row(json_t *row, bool json)
{
    if (json) {
        char *line = json_dumps(row, JSON_COMPACT);
        if (line != NULL)
            print_json(str_from_c(line));
        mem_free(line);
        return;
    }
    json_t *to = json_object_get(row, "to");
    size_t n = json_array_size(to);
    const char *from = row_text(row, "from");
    (void)printf("%4lld  ", (long long)json_integer_value(json_object_get(row, "number")));
    print_time(row_text(row, "time"));
    (void)fputs("  from ", stdout);
    print_clean(from[0] == '\0' ? "<>" : from);
    for (size_t i = 0; i < n && i < SHOWN_RCPTS; i++) {
        const char *address = json_string_value(json_array_get(to, i));
        (void)fputs(i == 0 ? " to " : ", ", stdout);
        print_clean(address == NULL ? "" : address);
    }
    if (n > SHOWN_RCPTS)
        (void)printf(" and %zu more", n - SHOWN_RCPTS);
    (void)fputs("  (", stdout);
    print_size((long long)json_integer_value(json_object_get(row, "size")));
    (void)fputs(")\n      ", stdout);
    print_subject(row_text(row, "subject"));
}

bool dev_scan(const struct dev_place *p, struct box *out)
{
    enum err e = ERR_OK;
    if (p->mail == -1)
        box_init(out);
    else
        e = box_scan(out, p->mail, NULL, NULL);
    if (e != ERR_OK)
        (void)fprintf(stderr, "waxwing: can't read %s/mail: %s\n", p->dir, err_str(e));
    if (out->is_cut)
        (void)fprintf(stderr, "waxwing: more than %d files lie there; `waxwing dev clear` removes them\n",
                      (int)BOX_COPIES_MAX);
    return e == ERR_OK;
}

int dev_list(const struct dev_args *a)
{
    struct dev_place p;
    struct box b;
    int status = dev_place_open(a->dir, &p);
    if (status != EXIT_OK)
        return status;
    if (!dev_scan(&p, &b))
        status = EXIT_OS;
    for (size_t i = b.n_messages; status == EXIT_OK && i > 0; i--) {
        json_t *row = dev_row(&p, &b, i - 1);
        if (row != NULL)
            dev_print_row(row, a->json);
        json_decref(row);
    }
    if (status == EXIT_OK && !a->json)
        (void)printf("%zu message%s\n", b.n_messages, b.n_messages == 1 ? "" : "s");
    box_fini(&b);
    return status;
}

/* ---- clear ---------------- */

int dev_clear(const struct dev_args *a)
{
    struct dev_place p;
    struct box b;
    int status = dev_place_open(a->dir, &p);
    if (status != EXIT_OK)
        return status;
    if (!dev_scan(&p, &b)) {
        box_fini(&b);
        return EXIT_OS;
    }
    if (!a->yes && b.n_messages > 0) {
        (void)fprintf(stderr, "waxwing: this removes %zu message%s in %s: say --yes\n", b.n_messages,
                      b.n_messages == 1 ? "" : "s", p.dir);
        status = EXIT_USAGE;
    }
    for (size_t i = 0; status == EXIT_OK && i < b.n_copies; i++) {
        if (unlinkat(p.mail, b.copies[i].path.p, 0) == -1 && errno != ENOENT) {
            (void)fprintf(stderr, "waxwing: can't remove %s/mail/", p.dir);
            put_clean(stderr, b.copies[i].path);
            (void)fprintf(stderr, ": %s\n", err_str(err_from_errno(errno)));
            status = EXIT_OS;
        }
    }
    if (status == EXIT_OK)
        (void)printf("%zu message%s removed\n", b.n_messages, b.n_messages == 1 ? "" : "s");
    box_fini(&b);
    return status;
}

/* ---- news ---------------- */

int dev_watch_new(void)
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch == -1)
        (void)fprintf(stderr, "waxwing: can't watch for new mail: %s\n", err_str(err_from_errno(errno)));
    return watch;
}

struct watching {
    const struct dev_place *place;
    int watch;
    bool has_failed;
};

static void watch_folder(void *arg, const char *path)
{
    struct watching *w = arg;
    char whole[PATH_MAX];
    struct buf b;
    buf_init_fixed(&b, whole, sizeof whole);
    buf_printf(&b, "%s/mail/%s", w->place->dir, path);
    buf_putc(&b, '\0');
    if (b.failed ||
        inotify_add_watch(w->watch, whole, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW) == -1)
        w->has_failed = w->has_failed || (errno != ENOENT && errno != ENOTDIR);
}

bool dev_watch_all(int watch, const struct dev_place *p)
{
    struct watching w = {p, watch, false};
    struct box b;
    enum err e = box_scan(&b, p->mail, watch_folder, &w);
    box_fini(&b);
    return e == ERR_OK && !w.has_failed;
}

void dev_watch_drain(int watch)
{
    char events[4096];
    while (read(watch, events, sizeof events) > 0) {
    }
}

/* ---- wait ---------------- */

static bool is_wanted(const struct dev_args *a, json_t *row)
{
    size_t i;
    json_t *v;
    if (a->to == NULL)
        return true;
    json_array_foreach (json_object_get(row, "to"), i, v) {
        if (str_ieq(str_from_c(json_string_value(v)), str_from_c(a->to)))
            return true;
    }
    return false;
}

/* The newest that is wanted was printed. */
static bool print_wanted(const struct dev_args *a, const struct dev_place *p)
{
    struct box b;
    bool found = false;
    if (dev_scan(p, &b)) {
        for (size_t i = b.n_messages; !found && i > a->after; i--) {
            json_t *row = dev_row(p, &b, i - 1);
            found = row != NULL && is_wanted(a, row);
            if (found)
                dev_print_row(row, a->json);
            json_decref(row);
        }
    }
    box_fini(&b);
    return found;
}

int dev_wait(const struct dev_args *a)
{
    struct dev_place p;
    int status = dev_place_open(a->dir, &p);
    if (status != EXIT_OK)
        return status;
    int watch = p.mail == -1 ? -1 : dev_watch_new();
    if (watch == -1)
        return EXIT_OS;
    int64_t end = prog_clock_ms() + (int64_t)a->timeout_s * 1000;
    for (;;) {
        dev_watch_drain(watch);
        /* watched first, then looked at: what comes in between is news */
        if (!dev_watch_all(watch, &p)) {
            (void)fputs("waxwing: can't watch so many folders; `waxwing dev clear` makes them no fewer\n",
                        stderr);
            return EXIT_OS;
        }
        if (print_wanted(a, &p))
            return EXIT_OK;
        int64_t left = end - prog_clock_ms();
        struct pollfd pfd = {.fd = watch, .events = POLLIN};
        if (left <= 0) {
            (void)fprintf(stderr, "waxwing: no such message came within %llu s\n",
                          (unsigned long long)a->timeout_s);
            return EXIT_TEMPFAIL;
        }
        (void)poll(&pfd, 1, left > INT_MAX ? INT_MAX : (int)left);
    }
}

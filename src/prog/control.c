#include "prog/control.h"

#include "base/str.h"
#include "config/config.h"
#include "prog/cmd_relay.h"
#include "prog/folder.h"
#include "prog/prog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_AT_ONCE = 65536, ANSWER_MAX = 256 * 1024 * 1024 };

void put_clean(FILE *to, struct str s)
{
    while (s.n > 0) {
        unsigned number;
        size_t n = str_odd_char(s, &number);
        (void)fputc(n == 0 ? s.p[0] : number == '\n' || number == '\r' ? ' ' : '?', to);
        s = str_skip(s, n == 0 ? 1 : n);
    }
}

/* Such characters stand within texts of JSON, where their number means the same. */
void print_json(struct str s)
{
    while (s.n > 0) {
        unsigned number;
        size_t n = str_odd_char(s, &number);
        if (n == 0)
            (void)fputc(s.p[0], stdout);
        else if (number != '\t') /* space between tokens; within a text JSON has none */
            (void)printf("\\u%04x", number);
        s = str_skip(s, n == 0 ? 1 : n);
    }
    (void)fputc('\n', stdout);
}

/* The machine's server goes first; a user's own `waxwing relay` is for where there is none. */
const char *socket_path(const char *variable, const char *usual, const char *name)
{
    static char room[PATH_MAX];
    const char *env = getenv(variable);
    struct buf path;
    if (env != NULL && env[0] != '\0')
        return env;
    buf_init_fixed(&path, room, sizeof room);
    if (access(usual, F_OK) == 0 || !folder_of_state(RELAY_STATE, &path))
        return usual;
    path.n--; /* the NUL */
    buf_putc(&path, '/');
    buf_puts(&path, name);
    buf_putc(&path, '\0');
    return !path.failed && access(room, F_OK) == 0 ? room : usual;
}

const char *control_path(const char *option)
{
    return option != NULL ? option : socket_path("WAXWING_CONTROL", CONFIG_CONTROL_PATH, "control");
}

static int dial(const char *path, int *status)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (!str_to_c(str_from_c(path), sa.sun_path, sizeof sa.sun_path)) {
        (void)fprintf(stderr, "waxwing: the path of the control socket is too long: %s\n", path);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd != -1 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    int e = errno;
    if (e == EACCES || e == EPERM)
        *status = EXIT_NOPERM;
    (void)fprintf(stderr, "waxwing: can't reach the server at %s: %s\n", path, err_str(err_from_errno(e)));
    if (e == EACCES || e == EPERM)
        (void)fputs("waxwing: only root and the user who started the server may ask it\n", stderr);
    if (e == ENOENT || e == ECONNREFUSED)
        (void)fprintf(stderr,
                      "waxwing: is it running? (`waxwing serve`; --control or WAXWING_CONTROL names another "
                      "socket)\n");
    if (fd != -1)
        (void)close(fd);
    return -1;
}

static bool send_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n == -1 && errno != EINTR)
            return false;
        if (n > 0)
            s = str_skip(s, (size_t)n);
    }
    return true;
}

/* The last object: true; *status is the exit code. */
static bool is_end(json_t *row, int *status)
{
    if (!json_is_true(json_object_get(row, "end")))
        return false;
    *status = EXIT_OK;
    if (!json_is_true(json_object_get(row, "ok"))) {
        (void)fputs("waxwing: ", stderr);
        put_clean(stderr, str_from_c(row_text(row, "error")));
        (void)fputc('\n', stderr);
        *status = EXIT_DATA;
    }
    return true;
}

static bool on_line(struct str line, bool raw, void (*fn)(void *arg, json_t *row), void *arg, int *status)
{
    json_error_t why;
    json_t *row = json_loadb(line.p, line.n, JSON_ALLOW_NUL, &why);
    if (row == NULL) {
        (void)fputs("waxwing: the server sent something that is not JSON: ", stderr);
        put_clean(stderr, str_from_c(why.text));
        (void)fputc('\n', stderr);
        *status = EXIT_SOFTWARE;
        return true;
    }
    bool end = is_end(row, status);
    if (!end && raw)
        print_json(line);
    else if (!end)
        fn(arg, row);
    json_decref(row);
    return end;
}

/* Octets of whole lines up to and with the last object; 0: it is not there yet. *from: what was looked at. */
static size_t whole_answer(struct str in, size_t *from)
{
    size_t nl;
    while ((nl = str_chr(str_skip(in, *from), '\n')) != STR_NPOS) {
        bool is_last = str_starts(str_skip(in, *from), STR("{\"end\":true"));
        *from += nl + 1;
        if (is_last)
            return *from;
    }
    return 0;
}

/* The whole answer, before a line of it is printed: the server keeps a bounded part for a client that does
 * not read, and who reads our output may take his time. */
static bool read_answer(int fd, struct buf *in)
{
    size_t from = 0;
    while (whole_answer(buf_str(in), &from) == 0) {
        if (!buf_reserve(in, READ_AT_ONCE)) {
            (void)fputs("waxwing: the answer is too long: ask for less\n", stderr);
            return false;
        }
        ssize_t n = read(fd, in->p + in->n, READ_AT_ONCE);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            (void)fputs("waxwing: the server closed the connection before its answer was complete\n", stderr);
            return false;
        }
        in->n += (size_t)n;
    }
    return true;
}

int control_ask(const char *path, struct str request, bool raw, void (*fn)(void *arg, json_t *row), void *arg)
{
    int status = EXIT_UNAVAILABLE;
    int fd = dial(path, &status);
    if (fd == -1)
        return status;
    struct buf in;
    buf_init(&in, ANSWER_MAX);
    bool ok = send_all(fd, request) && send_all(fd, STR("\n")) && read_answer(fd, &in);
    (void)close(fd);
    struct str rest = buf_str(&in);
    for (bool done = false; ok && !done && rest.n > 0;)
        done = on_line(str_cut(&rest, '\n'), raw, fn, arg, &status);
    buf_fini(&in);
    return status;
}

const char *row_text(json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s == NULL ? "" : s;
}

void print_clean(const char *text)
{
    put_clean(stdout, str_from_c(text));
}

#include "prog/control.h"

#include "base/str.h"
#include "prog/prog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char *control_path(const char *option)
{
    const char *env = getenv("WAXWING_CONTROL");
    return option != NULL ? option : env != NULL && env[0] != '\0' ? env : "/run/waxwing/control";
}

static int dial(const char *path)
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
    (void)fprintf(stderr, "waxwing: can't reach the server at %s: %s\n", path, err_str(err_from_errno(e)));
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
        (void)fprintf(stderr, "%s\n", row_text(row, "error"));
        *status = EXIT_DATA;
    }
    return true;
}

static bool on_line(struct str line, bool raw, void (*fn)(void *arg, json_t *row), void *arg, int *status)
{
    json_error_t why;
    json_t *row = json_loadb(line.p, line.n, 0, &why);
    if (row == NULL) {
        (void)fprintf(stderr, "waxwing: the server sent something that is not JSON: %s\n", why.text);
        *status = EXIT_SOFTWARE;
        return true;
    }
    bool end = is_end(row, status);
    if (!end && raw)
        (void)printf("%.*s\n", STR_FMT(line));
    else if (!end)
        fn(arg, row);
    json_decref(row);
    return end;
}

int control_ask(const char *path, struct str request, bool raw, void (*fn)(void *arg, json_t *row), void *arg)
{
    int fd = dial(path);
    if (fd == -1)
        return EXIT_UNAVAILABLE;
    struct buf in;
    int status = EXIT_UNAVAILABLE;
    bool done = false;
    buf_init(&in, 64u << 20);
    if (!send_all(fd, request) || !send_all(fd, STR("\n")))
        done = true;
    while (!done && buf_reserve(&in, 65536)) {
        ssize_t n = read(fd, in.p + in.n, 65536);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            (void)fputs("waxwing: the server closed the connection before its answer was complete\n", stderr);
            break;
        }
        in.n += (size_t)n;
        size_t used = 0, nl;
        while (!done && (nl = str_chr(str_skip(buf_str(&in), used), '\n')) != STR_NPOS) {
            done = on_line(str_slice(buf_str(&in), used, used + nl), raw, fn, arg, &status);
            used += nl + 1;
        }
        buf_consume(&in, used);
    }
    (void)close(fd);
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
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        (void)putchar(c == '\n' ? ' ' : c < 0x20 || c == 0x7f ? '?' : c);
    }
}

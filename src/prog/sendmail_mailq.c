#include "prog/sendmail.h"

#include "base/err.h"
#include "prog/control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct table {
    size_t n_rows;
    long long octets;
};

static void print_cell(const char *text, int width)
{
    int n = (int)str_from_c(text).n;
    print_clean(text);
    (void)printf("%*s", n < width ? width - n : 0, "");
}

static void on_row(void *arg, json_t *row)
{
    struct table *t = arg;
    if (t->n_rows++ == 0)
        (void)puts("-Queue ID----- --Size-- ----Arrival Time---- -Sender/Recipient-------");
    struct str state = str_from_c(row_text(row, "state"));
    long long size = (long long)json_integer_value(json_object_get(row, "size"));
    const char *sender = row_text(row, "sender");
    t->octets += size;
    print_cell(row_text(row, "id"), 13);
    (void)printf("%c %8lld ",
                 str_eq(state, STR("active")) ? '*'
                 : str_eq(state, STR("held")) ? '!'
                                              : ' ',
                 size);
    print_cell(row_text(row, "arrived"), 20);
    (void)putchar(' ');
    print_clean(sender[0] == '\0' ? "MAILER-DAEMON" : sender);
    (void)putchar('\n');
    if (row_text(row, "reason")[0] != '\0') {
        (void)printf("%16s(", "");
        print_clean(row_text(row, "reason"));
        (void)puts(")");
    }
    size_t i;
    json_t *rcpt;
    json_array_foreach (json_object_get(row, "recipients"), i, rcpt) {
        (void)printf("%45s", "");
        print_clean(json_is_string(rcpt) ? json_string_value(rcpt) : row_text(rcpt, "address"));
        (void)putchar('\n');
    }
    (void)putchar('\n');
}

int sendmail_mailq(void)
{
    struct table t = {0};
    int status = control_ask(control_path(NULL), STR("queue-list 100000 "), false, on_row, &t);
    if (status == EXIT_OK && t.n_rows == 0)
        (void)puts("Mail queue is empty");
    else if (status == EXIT_OK)
        (void)printf("-- %lld Kbytes in %zu Request%s.\n", (t.octets + 1023) / 1024, t.n_rows,
                     t.n_rows == 1 ? "" : "s");
    return status;
}

static void on_no_row(void *arg, json_t *row)
{
    UNUSED(arg);
    UNUSED(row);
}

int sendmail_retry(struct str filter)
{
    char mem[1024];
    struct buf request;
    buf_init_fixed(&request, mem, sizeof mem);
    buf_puts(&request, "queue-retry ");
    buf_put(&request, filter);
    if (request.failed || str_has_ctl(filter) || str_chr(filter, ' ') != STR_NPOS) {
        (void)fputs("sendmail: -q: the name is too long or holds spaces\n", stderr);
        return EXIT_USAGE;
    }
    return control_ask(control_path(NULL), buf_str(&request), false, on_no_row, NULL);
}

/* Aliases are read with the configuration. Who listens at the control socket is the process that reads it. */
int sendmail_newaliases(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t n = sizeof peer;
    const char *path = control_path(NULL);
    int fd = str_to_c(str_from_c(path), sa.sun_path, sizeof sa.sun_path)
                 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
                 : -1;
    bool ok = fd != -1 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0 &&
              getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0;
    if (ok && peer.pid <= 1) {
        errno = ESRCH; /* it lives in another namespace of processes */
        ok = false;
    }
    ok = ok && kill(peer.pid, SIGHUP) == 0;
    int e = errno;
    if (fd != -1)
        (void)close(fd);
    if (ok)
        return EXIT_OK;
    (void)fprintf(stderr,
                  "newaliases: can't tell the server at %s to read its configuration again: %s\n"
                  "newaliases: what is in the aliases counts from its next start or SIGHUP on\n",
                  path, err_str(err_from_errno(e)));
    return e == EACCES || e == EPERM ? EXIT_NOPERM : EXIT_UNAVAILABLE;
}

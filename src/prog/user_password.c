#include "prog/user_password.h"

#include "crypto/secret.h"
#include "ext/saslprep.h"
#include "prog/control.h"
#include "prog/prog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

enum { GROUPS = 5, GROUP_LETTERS = 4 };

static int refuse(const char *why)
{
    (void)fprintf(stderr, "waxwing user: the password %s\n", why);
    return EXIT_DATA;
}

static int too_long(void)
{
    return refuse("is too long: 511 octets are the most");
}

/* Into the form that is compared (RFC 4013), or only says what is wrong with it. */
static int prepare(struct buf *mem, bool only_look)
{
    char form_mem[USER_PASSWORD_MAX];
    struct buf form;
    int status = EXIT_OK;
    buf_init_fixed(&form, form_mem, sizeof form_mem);
    enum saslprep_result r = saslprep(buf_str(mem), SASLPREP_STORED, &form);
    if (r == SASLPREP_NO_ROOM)
        status = too_long();
    else if (r != SASLPREP_OK)
        status = refuse(saslprep_text(r));
    else if (form.n < USER_PASSWORD_MIN)
        status = refuse("is too short: 8 characters are the least");
    if (status == EXIT_OK && !only_look) {
        secret_wipe_buf(mem);
        must(buf_put(mem, buf_str(&form))); /* USER_PASSWORD_MAX is the room of both */
    }
    secret_wipe(form_mem, sizeof form_mem);
    return status;
}

/* ---- lines ---------------- */

enum line { LINE_READ, LINE_TOO_LONG, LINE_FAILED, LINE_CANCELLED };

/* One octet at a time: what follows the line is for others, and no copy stays in a buffer of the library. */
static enum line read_line(int fd, int signals, struct buf *out)
{
    char c = '\0';
    ssize_t n;
    buf_reset(out);
    for (;;) {
        struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (signals != -1 && poll(p, ARRAY_LEN(p), -1) == -1 && errno != EINTR)
            return LINE_FAILED;
        if (signals != -1 && p[1].revents != 0)
            return LINE_CANCELLED;
        n = read(fd, &c, 1);
        if (n == -1 && errno == EINTR)
            continue;
        if (n != 1 || c == '\n')
            break;
        if (!buf_putc(out, c))
            return LINE_TOO_LONG;
    }
    secret_wipe(&c, 1);
    return n == -1 ? LINE_FAILED : LINE_READ;
}

static int line_status(enum line l)
{
    if (l == LINE_TOO_LONG)
        return too_long();
    if (l == LINE_FAILED)
        (void)fprintf(stderr, "waxwing user: the password can't be read\n");
    return l == LINE_READ ? EXIT_OK : EXIT_NOINPUT;
}

int user_password_read(struct buf *mem)
{
    int status = line_status(read_line(STDIN_FILENO, -1, mem));
    if (str_ends(buf_str(mem), STR("\r")))
        mem->n--;
    return status == EXIT_OK ? prepare(mem, false) : status;
}

/* ---- the terminal ---------------- */

struct terminal {
    int fd, signals;
    sigset_t before;
    struct termios mode;
};

/* Without echo. Signals that would end or stop us are held, so that the echo comes back first. */
static bool terminal_open(struct terminal *t)
{
    static const int held[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(held); i++)
        (void)sigaddset(&set, held[i]);
    *t = (struct terminal){.fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC), .signals = -1};
    if (t->fd == -1 || tcgetattr(t->fd, &t->mode) == -1)
        return false;
    t->signals = signalfd(-1, &set, SFD_CLOEXEC);
    struct termios quiet = t->mode;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ICANON | ISIG;
    if (t->signals == -1 || sigprocmask(SIG_BLOCK, &set, &t->before) == -1)
        return false;
    return tcsetattr(t->fd, TCSAFLUSH, &quiet) == 0;
}

/* Gives back what was found; a signal that was held comes now. */
static void terminal_close(struct terminal *t)
{
    if (t->signals != -1) {
        (void)tcsetattr(t->fd, TCSAFLUSH, &t->mode);
        (void)close(t->signals);
        (void)sigprocmask(SIG_SETMASK, &t->before, NULL);
    }
    if (t->fd != -1)
        (void)close(t->fd);
}

static enum line prompt(const struct terminal *t, const char *what, struct str whose, struct buf *out)
{
    (void)dprintf(t->fd, "%s %.*s: ", what, STR_FMT(whose));
    enum line l = read_line(t->fd, t->signals, out);
    (void)dprintf(t->fd, "\n");
    return l;
}

int user_password_ask(struct str whose, struct buf *mem)
{
    char again_mem[USER_PASSWORD_MAX];
    struct buf again;
    struct terminal t;
    int status = EXIT_USAGE;
    buf_init_fixed(&again, again_mem, sizeof again_mem);
    if (!terminal_open(&t)) {
        (void)fprintf(stderr,
                      "waxwing user: there is no terminal to ask at: give the password with --stdin\n");
    } else {
        status = line_status(prompt(&t, "New password of", whose, mem));
        if (status == EXIT_OK)
            status = prepare(mem, true);
        if (status == EXIT_OK)
            status = line_status(prompt(&t, "Again, that of", whose, &again));
        if (status == EXIT_OK && !secret_eq(buf_str(mem), buf_str(&again)))
            status = refuse("was another one the second time");
        if (status == EXIT_OK)
            status = prepare(mem, false);
    }
    terminal_close(&t);
    secret_wipe(again_mem, sizeof again_mem);
    return status;
}

/* ---- random ---------------- */

int user_password_make(struct buf *mem)
{
    /* no letter that is taken for a digit, in lower case: most keyboards start there */
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char random[GROUPS * GROUP_LETTERS];
    _Static_assert(sizeof letters - 1 == 32, "five bits of each octet are used, evenly");
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        (void)fprintf(stderr, "waxwing user: there are no random numbers\n");
        return EXIT_OS;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        if (i > 0 && i % GROUP_LETTERS == 0)
            buf_putc(mem, '-');
        buf_putc(mem, letters[random[i] % 32]);
    }
    secret_wipe(random, sizeof random);
    return EXIT_OK;
}

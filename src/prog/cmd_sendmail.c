/* prog/cmd_sendmail.c: `waxwing sendmail`, and the links sendmail, mailq and newaliases: what programs that
 * send mail have called since long before SMTP servers had other names. Options are those of Postfix and
 * Exim. */
#include "prog/sendmail.h"

#include "base/limits.h"
#include "config/config.h"
#include "wire/addrlist.h"
#include "wire/utf8.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static const char usage_text[] =
    "Usage: waxwing sendmail [OPTIONS] [ADDRESS...]\n"
    "       mailq | newaliases\n"
    "\n"
    "Takes a message from standard input and hands it to the server on this machine, for each ADDRESS.\n"
    "  -t             also for the addresses of its To, Cc and Bcc; Bcc is taken off\n"
    "  -i, -oi        a dot alone on a line does not end the message\n"
    "  -f A, -r A     the sender of the envelope, <> for none (default: who you are)\n"
    "  -F NAME        the name in From, when the message has none\n"
    "  -N never | success,failure,delay    which reports are wanted\n"
    "  -R full | hdrs                      what of the message they give back\n"
    "  -V ID                               the id that they name\n"
    "  -B 7BIT | 8BITMIME                  what the message is declared as\n"
    "  -v             say what the server said\n"
    "  -bs            speak SMTP on standard input and output\n"
    "  -bv            ask the server about each ADDRESS and send nothing\n"
    "  -bp, mailq     what waits (root and who started the server)\n"
    "  -bi, newaliases    the server reads its configuration and aliases again\n"
    "  -q             try all that waits now; -qRDOMAIN what waits for a domain, -qIID one message\n"
    "Other options of sendmail are taken and mean nothing here.\n"
    "\n"
    "WAXWING_SUBMIT names another socket than " CONFIG_SUBMIT_PATH ".\n"
    "Exit code: 0 taken, 75 not now (try again), 67 a recipient is refused, 65 the message or an address is, "
    "69 "
    "refused,\n"
    "64 wrong usage, 77 not permitted.\n";

static int usage(const char *why)
{
    if (why != NULL)
        (void)fprintf(stderr, "sendmail: %s\n", why);
    (void)fputs(usage_text, stderr);
    return EXIT_USAGE;
}

static bool take_from(struct sendmail *s, struct str text)
{
    struct addrlist l;
    struct str element;
    const char *why = NULL;
    buf_reset(&s->from);
    s->has_from = true;
    text = str_trim(text);
    if (text.n == 0 || str_eq(text, STR("<>")))
        return true;
    addrlist_init(&l, text);
    struct buf more;
    char mem[SMTP_PATH_MAX];
    buf_init_fixed(&more, mem, sizeof mem);
    if (addrlist_next(&l, &s->from, &element, &why) == ADDRLIST_MAILBOX &&
        addrlist_next(&l, &more, &element, &why) == ADDRLIST_END)
        return true;
    (void)fprintf(stderr, "sendmail: -f wants one address: %s\n", why == NULL ? "there are several" : why);
    return false;
}

static bool take_notify(struct sendmail *s, struct str text)
{
    s->notify = 0;
    while (text.n > 0) {
        uint8_t bit = notify_bit(str_trim(str_cut(&text, ',')));
        if (bit == 0)
            return false;
        s->notify |= bit;
    }
    /* RFC 3461 4.1: NEVER stands alone */
    return s->notify == NOTIFY_NEVER || (s->notify != 0 && (s->notify & NOTIFY_NEVER) == 0);
}

static bool take_ret(struct sendmail *s, struct str text)
{
    s->ret = str_ieq(text, STR("full")) ? DSN_RET_FULL : DSN_RET_HDRS;
    return s->ret == DSN_RET_FULL || str_ieq(text, STR("hdrs"));
}

static bool take_envid(struct sendmail *s, const char *text)
{
    struct str id = str_from_c(text);
    s->envid = text;
    return id.n > 0 && id.n <= DSN_ENVID_MAX && str_is_ascii(id) && !str_has_ctl(id);
}

static bool take_name(struct sendmail *s, const char *text)
{
    s->full_name = text;
    return !str_has_ctl(str_from_c(text)) && utf8_is_valid(str_from_c(text));
}

static bool take_body(struct sendmail *s, struct str text)
{
    s->is_7bit = str_ieq(text, STR("7BIT"));
    return s->is_7bit || str_ieq(text, STR("8BITMIME"));
}

/* What is wrong with the value of this option, or NULL. */
static const char *take_value(struct sendmail *s, int c, const char *value)
{
    struct str v = str_from_c(value);
    switch (c) {
    case 'f':
    case 'r':
        return take_from(s, v) ? NULL : "the sender makes no sense";
    case 'F':
        return take_name(s, value) ? NULL : "-F: the name holds control characters or is not UTF-8";
    case 'N':
        return take_notify(s, v) ? NULL : "-N wants never, or some of success,failure,delay";
    case 'R':
        return take_ret(s, v) ? NULL : "-R wants full or hdrs";
    case 'V':
        return take_envid(s, value) ? NULL : "-V wants an id of 1 to 100 printable characters";
    case 'B':
        return take_body(s, v) ? NULL : "-B wants 7BIT or 8BITMIME";
    case 'o':
        s->ignores_dots = s->ignores_dots || str_eq(v, STR("i"));
        return NULL;
    default:
        return NULL; /* for programs that ask other servers for what is nothing here */
    }
}

static int retry(struct str what)
{
    char mem[512];
    struct buf filter;
    buf_init_fixed(&filter, mem, sizeof mem);
    if (what.n > 0 && ascii_is_digit(what.p[0])) {
        (void)fputs("sendmail: -q with a time: the server tries again by itself (`retry` in waxwing.lua)\n",
                    stderr);
        return EXIT_OK;
    }
    if (str_starts(what, STR("R")) || str_starts(what, STR("I"))) {
        bool is_id = what.p[0] == 'I';
        what = str_skip(what, 1);
        if (str_starts(what, STR("@")))
            what = str_skip(what, 1);
        buf_puts(&filter, is_id ? "id=" : "domain=");
        if (what.n == 0)
            return usage("-qR wants a domain, -qI an id");
        buf_put(&filter, what);
    } else if (what.n > 0) {
        return usage("-q goes alone, or as -qRDOMAIN or -qIID");
    }
    if (filter.failed)
        return usage("-q: the name is too long");
    return sendmail_retry(buf_str(&filter));
}

/* The letter of -b, 'q', or 0: *status is the exit code. */
static int parse(struct sendmail *s, int argc, char **argv, struct str *queue, int *status)
{
    int c, mode = 'm';
    *status = EXIT_USAGE;
    opterr = 0; /* a bad option is told of in our own words */
    while ((c = getopt(argc, argv, "+A:B:C:F:GIL:N:O:R:UV:X:ab:cd::e:f:h:imno:p:q::r:tvx")) != -1) {
        const char *wrong = optarg == NULL ? NULL : take_value(s, c, c == 'q' || c == 'd' ? "" : optarg);
        if (c == '?')
            wrong = "there is no such option, or its value is missing";
        if (wrong != NULL) {
            *status = usage(wrong);
            return 0;
        }
        if (c == 'C' && getuid() != 0) {
            (void)fputs("sendmail: -C is for root only: the server has the one configuration\n", stderr);
            *status = EXIT_NOPERM;
            return 0;
        }
        s->takes_header = s->takes_header || c == 't';
        s->ignores_dots = s->ignores_dots || c == 'i';
        s->is_verbose = s->is_verbose || c == 'v';
        if (c == 'b')
            mode = optarg[0];
        else if (c == 'I')
            mode = 'i';
        if (c == 'q') {
            mode = mode == 'd' ? 'd' : 'q';
            *queue = str_from_c(optarg == NULL ? "" : optarg);
        }
    }
    return mode;
}

/* Recipients from the command line, each of which may be a list, as sendmail always had it. */
static int take_rcpts(struct sendmail *s, int argc, char **argv)
{
    bool is_dash_fine = str_eq(str_from_c(argv[optind - 1]), STR("--"));
    for (int i = optind; i < argc; i++) {
        if (argv[i][0] == '-' && !is_dash_fine) /* an option in the wrong place, or somebody's idea of one */
            return usage("an address that begins with - stands behind -- only");
        if (!sendmail_add_rcpts(s, str_from_c(argv[i])))
            return EXIT_DATA;
    }
    return EXIT_OK;
}

static int submit(struct sendmail *s)
{
    if (s->n_rcpts == 0 && !s->takes_header)
        return usage("who shall get it? Give addresses, or -t to take them from the message");
    int status = sendmail_read(s);
    if (status != EXIT_OK)
        return status;
    if (s->n_rcpts == 0) {
        (void)fputs("sendmail: the message names no recipient in To, Cc or Bcc; nothing was sent\n", stderr);
        return EXIT_USAGE;
    }
    return sendmail_submit(s);
}

static int run(struct sendmail *s, int mode, struct str queue, int argc, char **argv)
{
    switch (mode) {
    case 'p':
        return sendmail_mailq();
    case 'i':
        return sendmail_newaliases();
    case 'q':
        return retry(queue);
    case 's':
        return sendmail_pass_through();
    case 'd':
    case 'D':
        (void)fputs("sendmail: -bd: the server is started by `waxwing serve` (systemctl start waxwing)\n",
                    stderr);
        return EXIT_USAGE;
    case 'm':
    case 'v':
        break;
    default:
        return usage("-b goes with m, s, v, p or i");
    }
    int status = take_rcpts(s, argc, argv);
    if (status != EXIT_OK)
        return status;
    if (mode == 'm')
        return submit(s);
    return s->n_rcpts > 0 ? sendmail_verify(s) : usage("-bv wants addresses");
}

int cmd_sendmail(int argc, char **argv)
{
    struct sendmail s = {.body_fd = -1};
    struct str me = str_from_c(argv[0]), queue = STR_NIL;
    int status;
    if (argc > 1 && str_eq(str_from_c(argv[1]), STR("--help"))) {
        (void)fputs(usage_text, stdout);
        return EXIT_OK;
    }
    buf_init(&s.from, SMTP_PATH_MAX);
    buf_init(&s.rcpts, (size_t)SMTP_RCPT_MAX * (SMTP_PATH_MAX + 1));
    buf_init(&s.header, HEADER_SECTION_MAX + SENDMAIL_BLOCK);
    buf_init(&s.body, SENDMAIL_MEMORY_MAX);
    int mode = parse(&s, argc, argv, &queue, &status);
    if (mode == 'm' && str_ends(me, STR("mailq")))
        mode = 'p';
    if (mode == 'm' && str_ends(me, STR("newaliases")))
        mode = 'i';
    if (mode != 0)
        status = run(&s, mode, queue, argc, argv);
    buf_fini(&s.from);
    buf_fini(&s.rcpts);
    buf_fini(&s.header);
    buf_fini(&s.body);
    if (s.body_fd != -1)
        (void)close(s.body_fd);
    return status;
}

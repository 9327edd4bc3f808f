/* prog/cmd_user.c: `waxwing user`: who has a mailbox and what verifies his passwords, in the files that
 * domains name with users = passwd "FILE". No server need run. */
#include "base/limits.h"
#include "base/log.h"
#include "config/values.h"
#include "crypto/secret.h"
#include "crypto/verifier.h"
#include "prog/control.h"
#include "prog/load.h"
#include "prog/prog.h"
#include "prog/user_file.h"
#include "prog/user_lines.h"
#include "prog/user_password.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/random.h>

static const char usage_text[] =
    "Usage: waxwing user [--config FILE | --file FILE] [--json] [--stdin] ACTION\n"
    "\n"
    "  add ADDRESS                a new user, and his password\n"
    "  passwd ADDRESS             another password\n"
    "  app-password ADDRESS NAME  a random password for one program or device; it is printed, and never "
    "again\n"
    "  list [DOMAIN]              who there is, and what verifies each password\n"
    "  remove ADDRESS [NAME]      the user with all his passwords, or the one of that name\n"
    "\n"
    "A user's file is what his domain names in the configuration (/etc/waxwing/waxwing.lua) with users = "
    "passwd "
    "\"FILE\";\n"
    "with --file it is that one, no configuration is read, and ADDRESS is the name alone. Passwords are "
    "asked for "
    "at the\n"
    "terminal, or are the first line of standard input (--stdin). Who logs in with the password of a program "
    "says so:\n"
    "joe/phone@example.org.\n"
    "\n"
    "Exit code: 0 done, 64 wrong usage, 65 a name or password that can't be, 66 no such file, 67 no such "
    "user, 77 "
    "not\n"
    "permitted, 78 a configuration with errors.\n";

enum action { ADD, PASSWD, APP_PASSWORD, LIST, REMOVE };
static const char *const action_words[] = {"add", "passwd", "app-password", "list", "remove"};

struct options {
    const char *config, *file;
    bool json, is_stdin;
};
struct target {
    const char *path;
    char path_mem[4096];
    char mem[2 * POLICY_LOGIN_MAX];
    char name_mem[POLICY_LOGIN_MAX];
    struct str user;  /* "joe" */
    struct str name;  /* of the line: "joe" or "joe/phone" */
    struct str shown; /* "joe@example.org" */
};

static int complain(int status, const char *what, struct str name, const char *why)
{
    (void)fputs("waxwing user: ", stderr);
    (void)fputs(what, stderr);
    put_clean(stderr, name);
    (void)fprintf(stderr, " %s\n", why);
    return status;
}

/* ---- where ---------------- */

static int load(const struct options *o, struct loaded *l)
{
    const char *path = o->config != NULL ? o->config : "/etc/waxwing/waxwing.lua";
    if (load_config(path, STR_NIL, path, 1, l))
        return EXIT_OK;
    (void)fprintf(stderr, "%.*swaxwing user: with --file FILE no configuration is needed\n",
                  STR_FMT(buf_str(&l->errors)));
    return l->is_unreadable ? EXIT_NOINPUT : EXIT_CONFIG;
}

static int find_in(const struct config *c, struct str address, struct target *t)
{
    struct policy_login login;
    struct buf mem;
    buf_init_fixed(&mem, t->mem, sizeof t->mem);
    if (!policy_login(&c->policy, address, &mem, &login) || login.passwords == 0)
        return complain(EXIT_DATA, "", address,
                        "is in no domain whose users = passwd \"FILE\" (give the whole address)");
    t->user = login.user;
    t->shown = login.address;
    t->path = t->path_mem;
    return str_to_c(c->password_files[login.passwords - 1], t->path_mem, sizeof t->path_mem)
               ? EXIT_OK
               : complain(EXIT_CONFIG, "", address, "has a file whose path is too long");
}

/* app may be NULL. */
static int find_target(const struct options *o, const char *address, const char *app, struct target *t)
{
    int status = EXIT_OK;
    t->path = o->file;
    t->user = t->shown = str_from_c(address);
    if (o->file == NULL) {
        struct loaded l;
        status = load(o, &l);
        if (status == EXIT_OK)
            status = find_in(l.config, str_from_c(address), t);
        loaded_fini(&l);
    }
    if (status != EXIT_OK)
        return status;
    const char *why = value_user_error(t->user);
    if (why != NULL)
        return complain(EXIT_DATA, "user ", t->user, why);
    why = app != NULL ? value_app_error(str_from_c(app)) : NULL;
    if (why != NULL)
        return complain(EXIT_DATA, "the name ", str_from_c(app), why);
    struct buf name;
    buf_init_fixed(&name, t->name_mem, sizeof t->name_mem);
    buf_put(&name, t->user);
    if (app != NULL) {
        buf_putc(&name, '/');
        buf_puts(&name, app);
    }
    must(!name.failed);
    t->name = buf_str(&name);
    return EXIT_OK;
}

/* ---- edits ---------------- */

/* Does the text allow it? */
static int look(const struct target *t, enum action action, struct str text)
{
    struct user_line l;
    bool has_user = user_file_find(text, t->user, &l), has_name = user_file_find(text, t->name, &l);
    if (action == ADD && has_name)
        return complain(EXIT_DATA, "", t->shown, "is there already; `passwd` gives another password");
    if (action == ADD)
        return EXIT_OK;
    if (action != REMOVE && !has_user)
        return complain(EXIT_NOUSER, "", t->shown, "is no user; `add` makes one");
    if (action == APP_PASSWORD && has_name)
        return complain(EXIT_DATA, "the password ", t->name, "is there already; `remove` it first");
    if (action == REMOVE && !has_name)
        return complain(EXIT_NOUSER, "", t->name, "is not there");
    return EXIT_OK;
}

static int look_first(const struct target *t, enum action action)
{
    struct user_file f;
    int status = user_file_open(t->path, false, action == ADD, &f);
    if (status == EXIT_OK)
        status = look(t, action, buf_str(&f.text));
    user_file_close(&f);
    return status;
}

static int edit(const struct target *t, enum action action, struct str field)
{
    struct user_file f;
    struct buf text;
    int status = user_file_open(t->path, true, action == ADD, &f);
    if (status == EXIT_OK)
        status = look(t, action, buf_str(&f.text));
    if (status == EXIT_OK) {
        buf_init(&text, CONFIG_FILE_MAX);
        if (action == REMOVE)
            (void)user_file_remove(buf_str(&f.text), t->name, &text);
        else
            user_file_set(buf_str(&f.text), t->name, field, &text);
        status = !text.failed ? user_file_save(&f, buf_str(&text))
                              : complain(EXIT_DATA, "", str_from_c(t->path), "would be larger than 16M");
        buf_fini(&text);
    }
    user_file_close(&f);
    return status;
}

static int make_verifiers(struct str password, struct buf *out)
{
    struct crypto *c = NULL;
    uint8_t random[VERIFIER_SECRET];
    bool has_random = getrandom(random, sizeof random, 0) == (ssize_t)sizeof random;
    enum err e = crypto_new(&c);
    if (e == ERR_OK && has_random)
        e = verifier_make(c, password, random, SCRAM_ITERATIONS_DEFAULT, out);
    crypto_del(&c);
    if (e == ERR_OK && has_random)
        return EXIT_OK;
    (void)fprintf(stderr, "waxwing user: no verifier of the password can be made: %s\n",
                  e == ERR_OK ? "there are no random numbers" : err_str(e));
    return EXIT_OS;
}

static int get_password(const struct options *o, enum action action, const struct target *t, struct buf *mem)
{
    if (action == APP_PASSWORD)
        return user_password_make(mem);
    return o->is_stdin ? user_password_read(mem) : user_password_ask(t->shown, mem);
}

/* The login that goes with the password of a program. */
static void print_login(FILE *to, const struct target *t)
{
    put_clean(to, t->name);
    put_clean(to, str_skip(t->shown, t->user.n)); /* "@example.org" */
}

static int set_password(const struct options *o, enum action action, const struct target *t)
{
    char password_mem[USER_PASSWORD_MAX], field_mem[VERIFIER_TEXT_MAX];
    struct buf password, field;
    buf_init_fixed(&password, password_mem, sizeof password_mem);
    buf_init_fixed(&field, field_mem, sizeof field_mem);
    int status = look_first(t, action); /* nobody is asked for what can't be done */
    if (status == EXIT_OK)
        status = get_password(o, action, t, &password);
    if (status == EXIT_OK)
        status = make_verifiers(buf_str(&password), &field);
    if (status == EXIT_OK)
        status = edit(t, action, buf_str(&field));
    if (status == EXIT_OK && action == APP_PASSWORD) {
        (void)fputs("waxwing user: log in as ", stderr);
        print_login(stderr, t);
        (void)fputs(" with:\n", stderr);
        (void)printf("%.*s\n", STR_FMT(buf_str(&password)));
        status = fflush(stdout) == 0 ? EXIT_OK : EXIT_OS;
    }
    secret_wipe(password_mem, sizeof password_mem);
    return status;
}

/* ---- list ---------------- */

static const char *crypt_name(const char *form)
{
    static const char *const names[][2] = {
        {"$y$", "yescrypt"}, {"$2", "bcrypt"}, {"$6$", "sha512crypt"}, {"$5$", "sha256crypt"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_starts(str_from_c(form), str_from_c(names[i][0])))
            return names[i][1];
    }
    return "crypt";
}

/* What verifies it, never the verifier. Returns how many names there are; *problem is why there is none. */
static size_t kinds_of(struct str field, const char *out[3], const char **problem)
{
    struct verifier v;
    size_t n = 0;
    *problem = field.n == 0 ? "no password" : verifier_parse(field, &v);
    if (*problem != NULL)
        return 0;
    if (v.asks == VERIFIER_NONE)
        *problem = "locked";
    if (v.has_scram[SCRAM_SHA256])
        out[n++] = "SCRAM-SHA-256";
    if (v.has_scram[SCRAM_SHA1])
        out[n++] = "SCRAM-SHA-1";
    if (v.crypt[0] != '\0')
        out[n++] = crypt_name(v.crypt);
    secret_wipe(&v, sizeof v);
    return n;
}

static void print_row(const struct user_line *l, struct str domain)
{
    const char *kinds[3], *problem;
    size_t n = kinds_of(l->field, kinds, &problem);
    put_clean(stdout, l->name);
    if (domain.n > 0)
        (void)printf("@%.*s", STR_FMT(domain));
    (void)fputs(" ", stdout);
    for (size_t i = 0; i < n; i++)
        (void)printf(" %s", kinds[i]);
    if (problem != NULL)
        (void)printf(" (%s)", problem);
    (void)putchar('\n');
}

static void print_json_row(const struct user_line *l, struct str domain, struct buf *out)
{
    const char *kinds[3], *problem;
    size_t n = kinds_of(l->field, kinds, &problem);
    struct str app = l->name, user = str_cut(&app, '/');
    buf_reset(out);
    buf_puts(out, "{\"user\":");
    log_quote(out, user);
    if (domain.n > 0) {
        buf_puts(out, ",\"domain\":");
        log_quote(out, domain);
    }
    if (user.n < l->name.n) {
        buf_puts(out, ",\"app\":");
        log_quote(out, app);
    }
    buf_puts(out, ",\"verifiers\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", kinds[i]);
    buf_puts(out, "]");
    if (problem != NULL) {
        buf_puts(out, ",\"problem\":");
        log_quote(out, str_from_c(problem));
    }
    buf_puts(out, "}");
    print_json(buf_str(out));
}

static int list_file(const struct options *o, const char *path, struct str domain)
{
    struct user_file f;
    struct user_line l;
    struct buf row;
    int status = user_file_open(path, false, false, &f);
    struct str rest = buf_str(&f.text);
    buf_init(&row, CONFIG_FILE_MAX);
    while (status == EXIT_OK && user_file_next(&rest, &l)) {
        if (l.name.n > 0 && o->json)
            print_json_row(&l, domain, &row);
        else if (l.name.n > 0)
            print_row(&l, domain);
    }
    buf_fini(&row);
    user_file_close(&f);
    return status;
}

static int list_domains(const struct options *o, const struct config *c, const char *only)
{
    char path[4096];
    int status = EXIT_OK;
    size_t n = 0;
    const struct local_domain *wanted = only == NULL ? NULL : policy_domain(&c->policy, str_from_c(only));
    for (size_t i = 0; i < c->policy.n_domains && status == EXIT_OK; i++) {
        const struct local_domain *d = &c->policy.domains[i];
        if (d->passwords == 0 || d->same_as.n > 0 || (only != NULL && d != wanted))
            continue;
        n++;
        if (str_to_c(c->password_files[d->passwords - 1], path, sizeof path))
            status = list_file(o, path, d->name);
    }
    if (only != NULL && n == 0)
        return complain(EXIT_DATA, "", str_from_c(only), "is no domain with users = passwd \"FILE\"");
    return status;
}

static int list(const struct options *o, const char *domain)
{
    if (o->file != NULL)
        return list_file(o, o->file, STR_NIL);
    struct loaded l;
    int status = load(o, &l);
    if (status == EXIT_OK)
        status = list_domains(o, l.config, domain);
    loaded_fini(&l);
    return status;
}

/* ---- the command ---------------- */

static bool parse_options(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"file", required_argument, NULL, 'f'},
        {"json", no_argument, NULL, 'j'},
        {"stdin", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'c')
            o->config = optarg;
        else if (c == 'f')
            o->file = optarg;
        else if (c == 'j')
            o->json = true;
        else if (c == 's')
            o->is_stdin = true;
        else
            return false;
    }
    return o->config == NULL || o->file == NULL;
}

static bool find_action(const char *word, enum action *out)
{
    for (size_t i = 0; i < ARRAY_LEN(action_words); i++) {
        if (str_eq(str_from_c(word), str_from_c(action_words[i]))) {
            *out = (enum action)i;
            return true;
        }
    }
    return false;
}

int cmd_user(int argc, char **argv)
{
    static const int n_words[][2] = {
        [ADD] = {1, 1}, [PASSWD] = {1, 1}, [APP_PASSWORD] = {2, 2}, [LIST] = {0, 1}, [REMOVE] = {1, 2}};
    struct options o = {0};
    enum action action = LIST;
    if (argc == 2 && str_eq(str_from_c(argv[1]), STR("--help"))) {
        (void)fputs(usage_text, stdout);
        return EXIT_OK;
    }
    bool ok = parse_options(argc, argv, &o) && optind < argc && find_action(argv[optind], &action);
    int n = ok ? argc - optind - 1 : 0;
    char **words = argv + optind + 1;
    if (!ok || n < n_words[action][0] || n > n_words[action][1] || (o.json && action != LIST) ||
        (o.is_stdin && action != ADD && action != PASSWD) || (action == LIST && n > 0 && o.file != NULL)) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    if (action == LIST)
        return list(&o, n > 0 ? words[0] : NULL);
    struct target t;
    int status = find_target(&o, words[0], n > 1 ? words[1] : NULL, &t);
    if (status != EXIT_OK)
        return status;
    return action == REMOVE ? edit(&t, action, STR_NIL) : set_password(&o, action, &t);
}

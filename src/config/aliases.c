/* config/aliases.c: aliases, as a table of Lua or as a file with the grammar of aliases(5).
 *
 *     name: target, target, ...      lines that begin with a space go on with the targets; # begins a comment
 *
 * A target is an address, a bare name of the alias's own domain, \name for the mailbox itself, "|program word
 * ..." or :include:FILE, whose lines are targets. Quotes hold a target together. "/file" is refused: a
 * mailbox is a Maildir here. A program's words are parted by spaces; '...', "..." and \ quote as they do in a
 * shell, and nothing else means anything: no shell is run.
 *
 * Limits: CONFIG_ALIASES_MAX targets, LOADER_ALIAS_DEPTH_MAX files within each other, ALIAS_PIPES_MAX,
 * PIPE_WORDS_MAX.
 */
#include "config/loader.h"

#include "base/limits.h"
#include "config/values.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { ERRORS_A_LIST_MAX = 5, LINE_STEPS = 2 };

struct target_node {
    struct target_node *next;
    struct alias_target target;
};
struct alias_reader {
    lua_State *L;
    struct loader *ld;
    struct domain_fact *f;
    unsigned errors; /* of the report, when we began */
    struct place at; /* of the target at work */
    /* the alias at work; name empty: none */
    struct str name;
    struct place at_name;
    struct target_node *first, *last;
    size_t n;
    unsigned n_pipes, depth;
};

static void complain(struct alias_reader *r, struct str target, const char *problem)
{
    report_error(r->ld->report, r->at, "alias \"%.*s\": \"%.*s\" %s", STR_FMT(report_brief(r->name)),
                 STR_FMT(report_brief(target)), problem);
}

static bool has_had_enough(const struct alias_reader *r)
{
    return r->ld->report->n_errors >= r->errors + ERRORS_A_LIST_MAX;
}

static void add_target(struct alias_reader *r, const struct alias_target *target)
{
    if (r->ld->n_targets == CONFIG_ALIASES_MAX)
        (void)luaL_error(r->L, "more than a million targets of aliases");
    struct target_node *node = loader_alloc(r->ld, 1, sizeof *node);
    node->target = *target;
    if (r->last != NULL)
        r->last->next = node;
    else
        r->first = node;
    r->last = node;
    r->n++;
    r->ld->n_targets++;
}

/* ---- programs ---------------------------------------------------------------------------------- */

/* The next word, its quotes removed, into out. 1: there is one; 0: the end; -1: a quote is not closed. */
static int next_word(struct str *rest, struct buf *out)
{
    char quote = '\0';
    size_t i = 0;
    bool has_any = false;
    *rest = str_trim(*rest);
    for (; i < rest->n; i++) {
        char c = rest->p[i];
        if (quote == '\0' && (c == ' ' || c == '\t'))
            break;
        has_any = true;
        if (quote == c)
            quote = '\0';
        else if (quote == '\0' && (c == '\'' || c == '"'))
            quote = c;
        else if (c == '\\' && quote != '\'' && i + 1 < rest->n)
            buf_putc(out, rest->p[++i]);
        else
            buf_putc(out, c);
    }
    *rest = str_skip(*rest, i);
    return quote != '\0' ? -1 : has_any ? 1 : 0;
}

static void warn_of_shell(struct alias_reader *r, struct str word)
{
    static const char *const signs[] = {">", ">>", "<", "|", "||", "&", "&&", ";", "2>&1"};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        if (str_eq(word, str_from_c(signs[i])))
            report_warning(r->ld->report, r->at,
                           "alias \"%.*s\": the program gets %s as a word: no shell is run",
                           STR_FMT(report_brief(r->name)), signs[i]);
    }
}

static void add_program(struct alias_reader *r, struct str command)
{
    struct loader *ld = r->ld;
    struct str rest = str_skip(command, 1), words[PIPE_WORDS_MAX];
    size_t n = 0;
    char mem[4096];
    struct buf word;
    int got;
    buf_init_fixed(&word, mem, sizeof mem);
    if (r->depth > 0) {
        complain(r, command, "is a program: none may stand in an included file");
        return;
    }
    while ((got = next_word(&rest, &word)) > 0) {
        const char *error = n == PIPE_WORDS_MAX ? "has more than 64 words"
                            : word.failed       ? "has a word that is too long"
                            : n == 0            ? value_program_error(buf_str(&word))
                                                : value_word_error(buf_str(&word));
        if (error != NULL) {
            complain(r, n == 0 || n == PIPE_WORDS_MAX ? command : buf_str(&word), error);
            return;
        }
        warn_of_shell(r, buf_str(&word));
        words[n++] = loader_copy(ld, buf_str(&word));
        buf_reset(&word);
    }
    if (got < 0 || n == 0 || r->n_pipes == ALIAS_PIPES_MAX) {
        complain(r, command,
                 got < 0  ? "has a quote that is not closed"
                 : n == 0 ? "names no program"
                          : "is one program too many: an alias has at most 255");
        return;
    }
    struct deliver *d = loader_alloc(ld, 1, sizeof *d);
    struct str *argv = loader_alloc(ld, n, sizeof *argv);
    struct program_fact *program = loader_alloc(ld, 1, sizeof *program);
    for (size_t i = 0; i < n; i++)
        argv[i] = words[i];
    *d = (struct deliver){.kind = DELIVER_PIPE,
                          .argv = argv,
                          .n_argv = n,
                          .time_limit_s = PIPE_TIME_LIMIT_S,
                          .uid = UINT32_MAX,
                          .gid = UINT32_MAX};
    *program = (struct program_fact){.next = r->f->programs, .deliver = d, .at = r->at};
    r->f->programs = program;
    r->n_pipes++;
    add_target(r, &(struct alias_target){.kind = ALIAS_PIPE, .text = loader_copy(ld, command), .pipe = d});
}

/* ---- targets ----------------------------------------------------------------------------------- */

static void read_targets(struct alias_reader *r, struct str text);

/* Does a line only hold a comment, or nothing? */
static bool is_empty_line(struct str line)
{
    line = str_trim(line);
    return line.n == 0 || line.p[0] == '#';
}

static void include(struct alias_reader *r, struct str target)
{
    struct str path = str_trim(str_skip(target, 9)), text, line;
    struct place at = r->at;
    if (r->depth == LOADER_ALIAS_DEPTH_MAX) {
        complain(r, target, "stands in too many included files: does one include itself?");
        return;
    }
    if (path.n == 0 || str_has_ctl(path)) {
        complain(r, target, "names no file");
        return;
    }
    path = loader_copy(r->ld, path);
    if (!loader_read(r->ld, at, path, &text))
        return;
    r->depth++;
    r->at = (struct place){path, 0};
    while (value_next_line(&text, &line) && !has_had_enough(r)) {
        r->at.line++;
        if (!is_empty_line(line))
            read_targets(r, line);
    }
    r->at = at;
    r->depth--;
}

static struct str in_domain(struct alias_reader *r, struct str name)
{
    char mem[SMTP_PATH_MAX + SMTP_DOMAIN_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    address_format(name, r->f->d.name, &text);
    return loader_copy(r->ld, buf_str(&text));
}

/* Is this address the alias itself? */
static bool is_itself(const struct alias_reader *r, struct str local, struct str domain)
{
    return str_ieq(local, r->name) && str_ieq(domain, r->f->d.name);
}

static void add_name(struct alias_reader *r, struct str target)
{
    bool is_mailbox = target.p[0] == '\\';
    struct str name = is_mailbox ? str_skip(target, 1) : target;
    const char *error = value_user_error(name);
    if (error != NULL) {
        complain(r, target, error);
        return;
    }
    name = loader_lower(r->ld, name);
    bool is_self = is_mailbox || is_itself(r, name, r->f->d.name);
    add_target(
        r, &(struct alias_target){.kind = is_self ? ALIAS_SELF : ALIAS_ADDRESS, .text = in_domain(r, name)});
}

static void add_address(struct alias_reader *r, struct str target)
{
    struct address a;
    const char *error = address_parse(target, true, &a);
    if (error != NULL || (a.kind == DOMAIN_LITERAL && a.literal.kind == NETADDR_NONE)) {
        complain(r, target, "is no mail address");
        return;
    }
    bool is_self = is_itself(r, a.local, a.domain);
    add_target(r, &(struct alias_target){.kind = is_self ? ALIAS_SELF : ALIAS_ADDRESS,
                                         .text = loader_copy(r->ld, target)});
}

static void read_target(struct alias_reader *r, struct str target)
{
    luaenv_charge(r->L, 1);
    if (str_has_ctl(target))
        complain(r, target, "holds a control character");
    else if (target.p[0] == '|')
        add_program(r, target);
    else if (target.p[0] == '/')
        complain(r, target, "is a file: mail goes into a Maildir, which is a domain's deliver");
    else if (str_istarts(target, STR(":include:")))
        include(r, target);
    else if (target.p[0] == ':')
        complain(r, target, "is none of the words that begin with ':' (:include:FILE is)");
    else if (str_chr(target, '@') != STR_NPOS && target.p[0] != '\\')
        add_address(r, target);
    else
        add_name(r, target);
}

/* Takes one target off the front: up to a comma outside of quotes. *is_open: a quote is not closed. */
static struct str cut_target(struct str *rest, bool *is_open)
{
    bool is_quoted = false;
    size_t i = 0;
    for (; i < rest->n && (is_quoted || rest->p[i] != ','); i++) {
        if (rest->p[i] == '\\' && is_quoted)
            i++;
        else if (rest->p[i] == '"')
            is_quoted = !is_quoted;
    }
    struct str target = str_trim(str_slice(*rest, 0, i));
    *rest = str_skip(*rest, i + 1);
    *is_open = is_quoted;
    return target;
}

/* "text" as a whole, with \" and \\ in it; a front of '|' may stand before it, as in |"/bin/prog word". */
static struct str unquote(struct alias_reader *r, struct str target)
{
    size_t bar = str_starts(target, STR("|\"")) ? 1 : 0;
    if (target.n < bar + 2 || target.p[bar] != '"' || target.p[target.n - 1] != '"')
        return target;
    for (size_t i = bar + 1; i + 1 < target.n; i++) { /* "a"@b and "a" "b" are no whole */
        if (target.p[i] == '\\')
            i++;
        else if (target.p[i] == '"')
            return target;
    }
    char *p = loader_alloc(r->ld, target.n, 1);
    size_t n = 0;
    if (bar > 0)
        p[n++] = '|';
    for (size_t i = bar + 1; i + 1 < target.n; i++) {
        bool is_escape =
            target.p[i] == '\\' && i + 2 < target.n && (target.p[i + 1] == '"' || target.p[i + 1] == '\\');
        p[n++] = target.p[is_escape ? ++i : i];
    }
    return str_trim(str_of(p, n));
}

static void read_targets(struct alias_reader *r, struct str text)
{
    while (text.n > 0 && !has_had_enough(r)) {
        bool is_open;
        struct str raw = cut_target(&text, &is_open);
        struct str target = is_open ? raw : unquote(r, raw);
        if (is_open)
            complain(r, raw, "has a quote that is not closed");
        else if (target.n > 0)
            read_target(r, target);
        else if (raw.n > 0)
            complain(r, raw, "is empty");
    }
}

/* ---- aliases ----------------------------------------------------------------------------------- */

/* The alias at work is whole. */
static void finish(struct alias_reader *r)
{
    struct loader *ld = r->ld;
    if (r->name.n == 0)
        return;
    struct alias_fact *fact = loader_alloc(ld, 1, sizeof *fact);
    struct alias_target *targets = loader_alloc(ld, r->n + 1, sizeof *targets);
    size_t n = 0;
    for (const struct target_node *node = r->first; node != NULL; node = node->next)
        targets[n++] = node->target;
    if (n == 0 && ld->report->n_errors == r->errors)
        report_error(ld->report, r->at_name, "alias \"%.*s\" leads to nobody",
                     STR_FMT(report_brief(r->name)));
    fact->alias = (struct alias){.name = r->name, .targets = targets, .n_targets = n};
    fact->at = r->at_name;
    *r->f->aliases_end = fact;
    r->f->aliases_end = &fact->next;
    r->f->n_aliases++;
    r->name = STR_NIL;
}

static void begin(struct alias_reader *r, struct str name)
{
    const char *error = value_user_error(name);
    finish(r);
    r->first = r->last = NULL;
    r->n = r->n_pipes = 0;
    r->at_name = r->at;
    if (error != NULL)
        report_error(r->ld->report, r->at, "alias \"%.*s\" %s", STR_FMT(report_brief(name)), error);
    r->name = error != NULL ? STR_NIL : loader_lower(r->ld, name);
}

/* name: or "name": off the front; false: there is none. */
static bool cut_name(struct str *line, struct str *name)
{
    bool is_quoted = str_starts(*line, STR("\""));
    size_t end = str_chr(str_skip(*line, is_quoted ? 1 : 0), is_quoted ? '"' : ':');
    if (end == STR_NPOS)
        return false;
    *name = is_quoted ? str_slice(*line, 1, 1 + end) : str_trim(str_slice(*line, 0, end));
    struct str rest = str_trim(str_skip(*line, is_quoted ? end + 2 : end));
    *line = str_skip(rest, 1);
    return str_starts(rest, STR(":"));
}

static void read_file(struct alias_reader *r, const struct value *v)
{
    struct str text = v->text, line, name;
    bool is_bad_alias = false;
    r->at = (struct place){v->path, 0};
    while (value_next_line(&text, &line) && !has_had_enough(r)) {
        r->at.line++;
        luaenv_charge(r->L, LINE_STEPS);
        if (is_empty_line(line))
            continue;
        if (line.p[0] != ' ' && line.p[0] != '\t') {
            if (!cut_name(&line, &name)) {
                report_error(r->ld->report, r->at, "this is no alias: NAME: TARGET, TARGET, ...");
                name = STR_NIL;
                finish(r);
            } else {
                begin(r, name);
            }
            is_bad_alias = r->name.n == 0;
        } else if (r->name.n == 0 && !is_bad_alias) {
            report_error(r->ld->report, r->at, "this line goes on with an alias, but none stands before it");
        }
        if (r->name.n > 0)
            read_targets(r, line);
    }
    finish(r);
}

/* "a" or { "a", "b" } on top of the stack. */
static void read_value(struct alias_reader *r, const struct site *site)
{
    struct str text;
    if (lua_type(r->L, -1) != LUA_TTABLE) {
        if (facts_text(r->L, -1, site, &text) == GOT_IT)
            read_targets(r, text);
        return;
    }
    lua_Unsigned n = lua_rawlen(r->L, -1);
    for (lua_Unsigned i = 1; i <= n && !has_had_enough(r); i++) {
        (void)lua_rawgeti(r->L, -1, (lua_Integer)i);
        if (facts_text(r->L, -1, site, &text) == GOT_IT)
            read_targets(r, text);
        lua_pop(r->L, 1);
    }
}

static int compare_names(const void *pa, const void *pb)
{
    const struct str *a = pa, *b = pb;
    return str_cmp(*a, *b);
}

/* In order of the names: lua_next() has an order of its own each run. */
static void read_table(struct alias_reader *r, const struct site *site)
{
    lua_State *L = r->L;
    size_t n = 0, i = 0;
    int t = lua_absindex(L, -1);
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1))
        n++;
    luaenv_charge(L, n * LOADER_KEY_STEPS);
    struct str *names = loader_alloc(r->ld, n + 1, sizeof *names);
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        size_t len;
        if (lua_type(L, -2) != LUA_TSTRING) {
            facts_error(L, site, "takes NAME = \"TARGET\": a value stands without its name");
            lua_pop(L, 2);
            return;
        }
        const char *p = lua_tolstring(L, -2, &len);
        names[i++] = str_of(p, len); /* lives in the table */
    }
    if (n > 0)
        qsort(names, n, sizeof *names, compare_names);
    r->at = facts_place(L, site);
    for (i = 0; i < n && !has_had_enough(r); i++) {
        begin(r, names[i]);
        lua_pushlstring(L, names[i].p, names[i].n);
        (void)lua_rawget(L, t);
        if (r->name.n > 0)
            read_value(r, site);
        lua_pop(L, 1);
    }
    finish(r);
}

void aliases_read(lua_State *L, struct domain_fact *f, const struct site *site)
{
    struct loader *ld = loader_of(L);
    struct value *v = value_at(L, -1);
    struct alias_reader r = {.L = L, .ld = ld, .f = f, .errors = ld->report->n_errors};
    if (luaenv_is_unknown(L, -1) || (v != NULL && v->is_bad)) {
        f->is_bad = true;
    } else if (str_eq(f->d.name, STR("*"))) {
        facts_error(L, site, "can't stand in the domain \"*\", which has no names of its own");
    } else if (v != NULL && v->kind == VALUE_FILE && !v->is_passwd) {
        read_file(&r, v);
    } else if (lua_type(L, -1) == LUA_TTABLE) {
        read_table(&r, site);
    } else {
        facts_error(L, site, "must be file \"FILE\" or { NAME = \"TARGET\", ... }");
    }
}

/* ---- order, doubles, owners -------------------------------------------------------------------- */

static int compare_facts(const void *pa, const void *pb)
{
    struct alias_fact *const *a = pa, *const *b = pb;
    int c = str_icmp((*a)->alias.name, (*b)->alias.name);
    return c != 0 ? c : (*a)->at.line - (*b)->at.line;
}

void aliases_settle(struct loader *ld, struct domain_fact *f)
{
    static const char prefix[] = "owner-";
    struct alias_fact **sorted = loader_alloc(ld, f->n_aliases + 1, sizeof(struct alias_fact *));
    struct alias *list = loader_alloc(ld, f->n_aliases + 1, sizeof *list);
    size_t n = 0;
    for (struct alias_fact *a = f->aliases; a != NULL; a = a->next)
        sorted[n++] = a;
    if (n > 0)
        qsort(sorted, n, sizeof(struct alias_fact *), compare_facts);
    for (size_t i = 0; i < n; i++) {
        list[i] = sorted[i]->alias;
        if (i > 0 && str_eq(list[i].name, list[i - 1].name))
            report_error(ld->report, sorted[i]->at,
                         "alias \"%.*s\" is given twice (the first is in %.*s, line %d)",
                         STR_FMT(report_brief(list[i].name)), STR_FMT(report_brief(sorted[i - 1]->at.file)),
                         sorted[i - 1]->at.line);
    }
    f->d.aliases = list;
    f->d.n_aliases = n;
    for (size_t i = 0; i < n; i++) {
        if (!str_starts(list[i].name, str_from_c(prefix)))
            continue;
        const struct alias *of = policy_alias(&f->d, str_skip(list[i].name, sizeof prefix - 1));
        char mem[SMTP_PATH_MAX + SMTP_DOMAIN_MAX];
        struct buf owner;
        buf_init_fixed(&owner, mem, sizeof mem);
        address_format(list[i].name, f->d.name, &owner);
        if (of != NULL)
            list[of - list].owner = loader_copy(ld, buf_str(&owner));
    }
}

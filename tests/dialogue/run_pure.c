/* tests/dialogue/run_pure.c: plays the scripts of a folder with the session in memory and prints TAP: a test
 * for each script and way of cutting its input, then one for each row of the tables that the scripts must
 * reach.
 */
#include "base/log.h"
#include "base/mem.h"
#include "tests/dialogue/pure.h"
#include "tests/dialogue/script.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCRIPTS_MAX = 500,
    VERBS_MAX = 64,
    SPLIT_OCTETS_MAX = 3 * 1024 * 1024,
    WHY_MAX = 600,
    PATH_LENGTH_MAX = 4096
};

struct tally {
    unsigned n_tests, n_failed;
    bool replies[SMTP_REPLY_ROWS];
    bool verbs[VERBS_MAX], keywords[VERBS_MAX];
};

static void result(struct tally *t, bool good, const char *name, const char *how, const char *why)
{
    t->n_tests++;
    t->n_failed += good ? 0 : 1;
    printf("%s %u - %s%s\n", good ? "ok" : "not ok", t->n_tests, name, how);
    if (!good)
        printf("# %s\n", why);
}

/* ---- playing a script ---------------------------------------------------------------------------------- */

static bool conf_greet(struct str conf, enum smtp_reply_id *out)
{
    *out = R_GREETING;
    while (conf.n > 0) {
        struct str word = str_cut(&conf, ' ');
        if (str_starts(word, STR("greet=")))
            *out = smtp_reply_by_name(str_skip(word, 6));
    }
    return *out != R_NONE;
}

static bool add_answer(struct pure *p, const struct step *st)
{
    struct str arg = st->text;
    struct str id = str_cut(&arg, ' ');
    struct pure_answer a = {.id = smtp_reply_by_name(id), .arg = arg};
    int kind = pure_kind(st->word);
    if (kind == 0 || a.id == R_NONE || p->n_answers == PURE_ANSWERS_MAX)
        return false;
    a.kind = (enum smtp_event_kind)kind;
    p->answers[p->n_answers++] = a;
    return true;
}

/* Where the input is cut: chunk 0 is never, 1 is at each octet; split cuts once at this octet of the whole
 * input. */
struct cut {
    size_t chunk, split;
};

static void send(struct pure *p, struct str octets, const struct cut *cut, size_t *at)
{
    while (octets.n > 0) {
        size_t n = octets.n;
        if (cut->chunk > 0 && n > cut->chunk)
            n = cut->chunk;
        if (*at < cut->split && cut->split - *at < n)
            n = cut->split - *at;
        pure_feed(p, str_slice(octets, 0, n));
        *at += n;
        octets = str_skip(octets, n);
    }
}

/* Sends run together until something other than the client's octets or the server's lines stands in the
 * script, as a client that pipelines everything would send them. */
static bool play(struct pure *p, const struct script *s, const struct cut *cut)
{
    struct buf run;
    size_t at = 0;
    bool good = true;
    buf_init(&run, 16 * 1024 * 1024);
    for (size_t i = 0; i <= s->n_steps && good; i++) {
        const struct step *st = i < s->n_steps ? &s->steps[i] : NULL;
        if (st != NULL && (st->kind == STEP_LINE || st->kind == STEP_LINES_TO || st->kind == STEP_EVENT))
            continue;
        if (st != NULL && st->kind == STEP_SEND) {
            buf_put(&run, st->text);
            continue;
        }
        send(p, buf_str(&run), cut, &at);
        buf_reset(&run);
        if (st == NULL)
            break;
        if (st->kind == STEP_ANSWER)
            good = add_answer(p, st);
        else if (st->kind == STEP_TICK)
            pure_tick(p, st->n);
        else if (st->kind == STEP_EOF)
            pure_eof(p);
        else if (st->kind == STEP_SECURED)
            good = pure_secured(p);
        else if (st->kind == STEP_CLOSE)
            pure_close(p, smtp_reply_by_name(st->text));
        else if (st->kind == STEP_CLOSED)
            good = p->is_closed && smtp_server_phase(&p->server) == SMTP_SERVER_CLOSED;
    }
    buf_fini(&run);
    return good;
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static bool next_line(struct str *out, struct str *line)
{
    size_t n = str_find(*out, STR("\r\n"));
    if (n == STR_NPOS)
        return false;
    *line = str_slice(*out, 0, n);
    *out = str_skip(*out, n + 2);
    return true;
}

static bool compare_lines(const struct script *s, struct str out, char *why)
{
    for (size_t i = 0; i < s->n_steps; i++) {
        const struct step *st = &s->steps[i];
        struct str line = STR_NIL;
        bool good = true;
        if (st->kind == STEP_LINE) {
            for (uint64_t k = 0; k < st->n && good; k++)
                good = next_line(&out, &line) && line.n + 2 <= SMTP_REPLY_LINE_MAX &&
                       glob_matches(st->text, line);
        } else if (st->kind == STEP_LINES_TO) {
            do
                good = next_line(&out, &line);
            while (good && !glob_matches(st->text, line));
        }
        if (!good) {
            (void)snprintf(why, WHY_MAX, "line %u wants '%.*s', got '%.*s'", st->line, STR_FMT(st->text),
                           STR_FMT(line));
            return false;
        }
    }
    if (out.n > 0)
        (void)snprintf(why, WHY_MAX, "more replies than the script has: '%.200s'", out.p);
    return out.n == 0;
}

static bool names_kind(const struct script *s, struct str kind)
{
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->steps[i].kind == STEP_EVENT && str_eq(s->steps[i].word, kind))
            return true;
    }
    return false;
}

/* The next event whose kind the script names. */
static bool next_event(const struct script *s, struct str *events, struct str *kind, struct str *what)
{
    while (events->n > 0) {
        *what = str_cut(events, '\n');
        *kind = str_cut(what, ' ');
        if (names_kind(s, *kind))
            return true;
    }
    return false;
}

static bool event_matches(const struct step *st, struct str kind, struct str what)
{
    if (!str_eq(st->word, kind))
        return false;
    if (st->text.n == 0)
        return true;
    if (!str_eq(kind, STR("message")))
        return glob_matches(st->text, what);
    struct buf quoted;
    buf_init(&quoted, 16 * 1024 * 1024);
    log_quote(&quoted, st->text);
    bool same = str_eq(buf_str(&quoted), what);
    buf_fini(&quoted);
    return same;
}

static bool compare_events(const struct script *s, struct str events, char *why)
{
    struct str kind = STR_NIL, what = STR_NIL;
    for (size_t i = 0; i < s->n_steps; i++) {
        const struct step *st = &s->steps[i];
        if (st->kind != STEP_EVENT)
            continue;
        kind = what = STR_NIL;
        if (!next_event(s, &events, &kind, &what) || !event_matches(st, kind, what)) {
            (void)snprintf(why, WHY_MAX, "line %u wants event '%.*s %.*s', got '%.*s %.*s'", st->line,
                           STR_FMT(st->word), STR_FMT(str_slice(st->text, 0, 100)), STR_FMT(kind),
                           STR_FMT(str_slice(what, 0, 100)));
            return false;
        }
    }
    bool more = next_event(s, &events, &kind, &what);
    if (more)
        (void)snprintf(why, WHY_MAX, "one event more: '%.*s %.*s'", STR_FMT(kind),
                       STR_FMT(str_slice(what, 0, 100)));
    return !more;
}

/* ---- coverage ------------------------------------------------------------------------------------------ */

/* Does the first line of a reply come from this row? */
static bool row_matches(const struct smtp_reply_row *row, struct str line)
{
    char mem[600];
    struct buf glob;
    buf_init_fixed(&glob, mem, sizeof mem);
    buf_printf(&glob, "%u?", (unsigned)row->code);
    if (row->esc.class != 0)
        buf_printf(&glob, "%u.%u.%u ", (unsigned)row->esc.class, (unsigned)row->esc.subject,
                   (unsigned)row->esc.detail);
    struct str text = str_of(row->text, row->text_n);
    size_t hole = str_find(text, STR("{}"));
    buf_put(&glob, str_slice(text, 0, hole));
    if (hole != STR_NPOS) {
        buf_putc(&glob, '*');
        buf_put(&glob, str_skip(text, hole + 2));
    }
    return !glob.failed && glob_matches(buf_str(&glob), line);
}

/* Of several rows that match a line the most specific is meant: "{}" matches much. */
static unsigned weight(int id)
{
    if (id == 0)
        return 0;
    const struct smtp_reply_row *row = smtp_reply_row((enum smtp_reply_id)id);
    return row->text_n + (row->esc.class != 0 ? 1000u : 0u);
}

static void count_replies(struct tally *t, struct str out)
{
    struct str line;
    bool is_first = true;
    while (next_line(&out, &line)) {
        int best = 0;
        for (int i = 1; i < SMTP_REPLY_ROWS && is_first; i++) {
            if (row_matches(smtp_reply_row((enum smtp_reply_id)i), line) && weight(i) > weight(best))
                best = i;
        }
        t->replies[best] = true;
        is_first = line.n > 3 && line.p[3] == ' ';
        struct str word = str_skip(line, 4);
        word = str_cut(&word, ' ');
        for (size_t k = 0; smtp_server_keyword(k).n > 0; k++)
            t->keywords[k] |= str_starts(line, STR("250")) && str_eq(word, smtp_server_keyword(k));
    }
}

static void count_verbs(struct tally *t, const struct script *s)
{
    for (size_t i = 0; i < s->n_steps; i++) {
        struct str text = s->steps[i].text;
        if (s->steps[i].kind != STEP_SEND)
            continue;
        for (size_t v = 0; smtp_server_verb(v).n > 0; v++) {
            struct str verb = smtp_server_verb(v);
            t->verbs[v] |= str_istarts(text, verb) && text.n > verb.n &&
                           (text.p[verb.n] == ' ' || text.p[verb.n] == '\r');
        }
    }
}

static void report_coverage(struct tally *t)
{
    char name[100];
    for (int i = 1; i < SMTP_REPLY_ROWS; i++) {
        (void)snprintf(name, sizeof name, "reply %s", smtp_reply_row((enum smtp_reply_id)i)->name);
        result(t, t->replies[i], name, " is reached", "no script brings it about");
    }
    for (size_t v = 0; smtp_server_verb(v).n > 0; v++) {
        (void)snprintf(name, sizeof name, "command %.*s", STR_FMT(smtp_server_verb(v)));
        result(t, t->verbs[v], name, " is used", "no script sends it");
    }
    for (size_t k = 0; smtp_server_keyword(k).n > 0; k++) {
        (void)snprintf(name, sizeof name, "keyword %.*s", STR_FMT(smtp_server_keyword(k)));
        result(t, t->keywords[k], name, " is offered", "no script sees it");
    }
}

/* ---- all ----------------------------------------------------------------------------------------------- */

static bool play_once(struct tally *t, const struct script *s, const struct cut *cut, char *why)
{
    static const char unfit[] = "a header, an answer or 'closed' does not fit";
    enum smtp_reply_id greet;
    struct pure *p = mem_must_new(struct pure);
    bool good = conf_greet(s->conf, &greet) && pure_init(p, s->lmtp, s->relay, s->conf);
    memcpy(why, unfit, sizeof unfit);
    if (good) {
        pure_greet(p, greet);
        good = play(p, s, cut);
        struct str out = buf_str(&p->out);
        bool same = compare_lines(s, out, why) && compare_events(s, buf_str(&p->events), why);
        good = good && same;
        if (t != NULL)
            count_replies(t, out);
        pure_fini(p);
    }
    mem_free(p);
    return good;
}

static void play_all_ways(struct tally *t, const struct script *s, const char *name)
{
    char why[WHY_MAX];
    size_t total = 0;
    for (size_t i = 0; i < s->n_steps; i++)
        total += s->steps[i].kind == STEP_SEND ? s->steps[i].text.n : 0;
    bool good = play_once(t, s, &(struct cut){0}, why);
    result(t, good, name, " (whole)", why);
    if (!good)
        return;
    result(t, play_once(NULL, s, &(struct cut){.chunk = 1}, why), name, " (octet by octet)", why);
    /* the longest scripts are cut at fewer points, evenly spread */
    size_t step = total / (SPLIT_OCTETS_MAX / (total + 1) + 1) + 1;
    for (size_t at = 1; at < total && good; at += step) {
        good = play_once(NULL, s, &(struct cut){.split = at}, why);
        if (!good)
            printf("# split at octet %zu\n", at);
    }
    result(t, good, name, " (split at each point)", why);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the scripts, sorted. */
static size_t list_scripts(const char *folder, char **names)
{
    DIR *d = opendir(folder);
    size_t n = 0;
    if (d == NULL)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL && n < SCRIPTS_MAX;) {
        if (str_ends(str_from_c(e->d_name), STR(".smtp"))) {
            size_t size = strlen(e->d_name) + 1;
            names[n] = mem_must_alloc(size);
            memcpy(names[n++], e->d_name, size);
        }
    }
    closedir(d);
    qsort(names, n, sizeof names[0], by_name);
    return n;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    char **names = mem_must_alloc(SCRIPTS_MAX * sizeof *names);
    struct tally *t = mem_must_new(struct tally);
    struct script *s = mem_must_new(struct script);
    size_t n = list_scripts(folder, names);
    for (size_t i = 0; i < n; i++) {
        char path[PATH_LENGTH_MAX];
        bool is_wanted = argc < 3 || strcmp(names[i], argv[2]) == 0;
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (is_wanted && !script_load(s, path)) {
            result(t, false, names[i], " (reading)", "malformed");
        } else if (is_wanted && !s->only_real) {
            count_verbs(t, s);
            play_all_ways(t, s, names[i]);
        }
        if (is_wanted)
            script_free(s);
        mem_free(names[i]);
    }
    if (argc < 3)
        report_coverage(t);
    printf("1..%u\n", t->n_tests);
    bool failed = t->n_failed > 0 || n == 0;
    mem_free(names);
    mem_free(t);
    mem_free(s);
    return failed ? 1 : 0;
}

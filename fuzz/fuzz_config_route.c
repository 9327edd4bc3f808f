/* An address against a configuration: what it becomes, where it goes, which path and which words of a program
 * come of it. Nothing of an address climbs out of a Maildir's template or becomes an option of a program. */
#include "base/limits.h"
#include "base/mem.h"
#include "config_run.h"

enum { TEXT_MAX = 16384 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char lua[] =
    "hostname \"mx.example.org\" postmaster \"admin@example.org\" resolver \"system\"\n"
    "listen { port = 25 }\n"
    "domain \"example.org\" { users = { \"admin\", \"joe\" }, aliases = { team = { \"joe\", "
    "\"ann@example.net\", "
    "\"|/bin/prog a\" }, [\"owner-team\"] = \"admin\", loop = \"pool\", pool = \"loop\" },\n"
    "  catchall = \"info@example.net\", deliver = maildir \"/m/%d/%u\" }\n"
    "domain \"example.net\" { users = any, deliver = pipe { \"/bin/prog\", \"%u\", \"%t\", \"-f%s\", \"%r\", "
    "user = "
    "\"mail\" } }\n"
    "domain \"b\\xc3\\xbccher.example\" { relay = \"mx\", recipients = any }\n"
    "domain \"same.example\" { same_as = \"example.org\" }\n";

static void check_route(const struct policy_conf *p, struct str sender, const struct rcpt *rcpt)
{
    char text_mem[TEXT_MAX];
    struct buf text, path, site;
    struct route r;
    struct route_ask ask = {.sender = sender, .rcpt = rcpt};
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    buf_init(&path, TEXT_MAX);
    buf_init(&site, TEXT_MAX);
    policy_route(p, &ask, &text, &r);
    policy_site(p, &r, &site);
    if (r.kind == ROUTE_MAILDIR && policy_maildir(r.deliver, r.user, r.domain, r.home, &path)) {
        struct str rest = buf_str(&path);
        unsigned n_slashes = 0;
        for (size_t i = 0; i < rest.n; i++)
            n_slashes += rest.p[i] == '/';
        must(str_starts(rest, STR("/m/")) && n_slashes == 3 && !str_has_ctl(rest));
    }
    struct pipe_facts facts = {r.user, r.domain, r.detail, sender, r.rcpt};
    for (size_t i = 0; r.kind == ROUTE_PIPE && i < r.deliver->n_argv; i++) {
        buf_reset(&path);
        if (policy_pipe_word(r.deliver, i, &facts, &path) == NULL)
            must(!str_has_ctl(buf_str(&path)) &&
                 (path.n == 0 || path.p[0] != '-' || str_eq(r.deliver->argv[i], STR("-f%s"))));
    }
    buf_fini(&site);
    buf_fini(&path);
}

static void check_rcpt(const struct policy_conf *p, struct arena *a, struct str sender, struct str rcpt_text)
{
    struct address address;
    struct expansion e;
    struct rcpt rcpt = {.address = rcpt_text};
    if (address_parse(rcpt_text, true, &address) != NULL)
        return;
    (void)policy_rcpt(p, false, &address);
    check_route(p, sender, &rcpt);
    must(policy_expand(p, &rcpt, a, &e));
    must((e.kind == EXPAND_ALIAS) == (e.n_targets > 0) || e.kind == EXPAND_FAILED);
    for (size_t i = 0; e.kind == EXPAND_ALIAS && i < e.n_targets; i++) {
        struct rcpt to = {
            .address = e.targets[i].address, .target = e.targets[i].target, .flags = e.targets[i].flags};
        check_route(p, e.targets[i].owner.n > 0 ? e.targets[i].owner : sender, &to);
    }
}

/* "SENDER RECIPIENT" */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size), lua_text = str_from_c(lua);
    struct config_run r;
    const struct config *c = config_run_load(&r, lua_text, lua_text, false);
    must(c != NULL);
    struct address a;
    struct str sender = str_cut(&text, ' ');
    if (sender.n > 0 && address_parse(sender, true, &a) != NULL)
        sender = STR_NIL;
    check_rcpt(&c->policy, &r.arena, sender, text);
    config_run_end(&r);
    return 0;
}

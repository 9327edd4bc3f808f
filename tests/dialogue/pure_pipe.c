/* tests/dialogue/pure_pipe.c: the session in memory as a program that reads a client's octets on standard
 * input and writes replies to standard output: for scripts whose runner is not in C. Arguments: --secure
 * for a session within TLS that takes logins, size_max, then local domains.
 */
#include "base/mem.h"
#include "tests/dialogue/pure.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_name(const void *a, const void *b)
{
    const struct local_domain *x = a, *y = b;
    return str_icmp(x->name, y->name);
}

static bool write_replies(struct pure *p)
{
    while (p->out.n > 0) {
        ssize_t n = write(STDOUT_FILENO, p->out.p, p->out.n);
        if (n <= 0)
            return false;
        buf_consume(&p->out, (size_t)n);
    }
    return true;
}

int main(int argc, char **argv)
{
    uint64_t size_max;
    bool is_secure = argc > 1 && strcmp(argv[1], "--secure") == 0;
    argc -= is_secure;
    argv += is_secure;
    if (argc < 3 || !str_to_u64(str_from_c(argv[1]), UINT32_MAX, &size_max))
        return EXIT_FAILURE;
    struct pure *p = mem_must_new(struct pure);
    if (!pure_init(p, false, false, STR_NIL))
        return EXIT_FAILURE;
    size_t n_domains = (size_t)argc - 2;
    struct local_domain *domains = mem_must_alloc(n_domains * sizeof *domains);
    for (size_t i = 0; i < n_domains; i++) {
        domains[i] = p->domain;
        domains[i].name = str_from_c(argv[i + 2]);
    }
    qsort(domains, n_domains, sizeof *domains, by_name);
    p->policy.domains = domains;
    p->policy.n_domains = n_domains;
    p->conf.size_max = size_max;
    p->conf.auth = p->is_secure = is_secure;
    char *mem = mem_must_alloc(65536);
    pure_greet(p, R_GREETING);
    bool good = write_replies(p);
    while (good && !p->is_closed) {
        ssize_t n = read(STDIN_FILENO, mem, 65536);
        if (n <= 0)
            break;
        pure_feed(p, str_of(mem, (size_t)n));
        buf_reset(&p->events);
        good = write_replies(p);
    }
    pure_fini(p);
    mem_free(mem);
    mem_free(domains);
    mem_free(p);
    return EXIT_SUCCESS;
}

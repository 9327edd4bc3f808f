#include "crypto/secret.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <string.h>

bool secret_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void secret_wipe(void *p, size_t n)
{
    if (n > 0)
        OPENSSL_cleanse(p, n);
}

void secret_wipe_buf(struct buf *b)
{
    secret_wipe(b->p, b->cap);
    buf_reset(b);
}

bool secret_copy(struct str s, struct str *out)
{
    *out = STR_NIL;
    if (s.n == 0)
        return true;
    char *p = mem_alloc(s.n);
    if (p == NULL)
        return false;
    memcpy(p, s.p, s.n);
    *out = str_of(p, s.n);
    return true;
}

void secret_free(struct str *s)
{
    if (s->n > 0) {
        char *p = (char *)(uintptr_t)s->p; /* ours, and only lent out as constant */
        secret_wipe(p, s->n);
        mem_free(p);
    }
    *s = STR_NIL;
}

struct str secret_line(struct str octets)
{
    size_t end = str_chr(octets, '\n');
    struct str line = end == STR_NPOS ? octets : str_slice(octets, 0, end);
    if (str_ends(line, STR("\r")))
        line.n--;
    return line;
}
